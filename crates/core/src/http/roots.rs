//! Whose certificates are trusted: the system's roots, and nobody else's.

use rustls::{ClientConfig, client::Resumption};
use rustls_platform_verifier::ConfigVerifierExt;

/// The system's TLS roots as they were when they were read, for any number of clients: to read them
/// takes milliseconds. Cloning shares them.
#[derive(Clone, Debug)]
pub struct TlsRoots(ClientConfig);

impl TlsRoots {
    /// Reads the roots.
    ///
    /// # Errors
    /// If there are none.
    pub fn read() -> Result<Self, String> {
        // Whoever comes first installs the one provider of cryptography there is.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = ClientConfig::with_platform_verifier()
            .map_err(|error| format!("cannot read the system's TLS roots: {error}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(config))
    }

    /// The settings of one client, which remembers sessions of its own.
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = self.0.clone();
        config.resumption = Resumption::default();
        config
    }
}
