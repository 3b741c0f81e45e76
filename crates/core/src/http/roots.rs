//! The TLS roots that are trusted: the system's, and no others.

use rustls::{ClientConfig, client::Resumption};
use rustls_platform_verifier::ConfigVerifierExt;

/// The system's TLS roots as they were when they were read. Reading takes milliseconds, so several clients share
/// one reading.
#[derive(Clone, Debug)]
pub struct TlsRoots(ClientConfig);

impl TlsRoots {
    /// Reads the roots.
    ///
    /// # Errors
    /// They cannot be read, or there are none.
    pub fn read() -> Result<Self, String> {
        // Fails where it is installed already, which is just as well: there is no other.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = ClientConfig::with_platform_verifier()
            .map_err(|error| format!("cannot read the system's TLS roots: {error}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(config))
    }

    /// The settings of one client, which resumes no session of another one.
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = self.0.clone();
        config.resumption = Resumption::default();
        config
    }
}
