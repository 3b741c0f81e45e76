//! TLS of the listener: its certificate and key, and which authorities issue the certificates that
//! callers have to show.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use invite_core::secret::read_to_end;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use secrecy::zeroize::Zeroizing;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The longest file that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The files of the listener's TLS, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by those up to its root (`server.tls_certificate`).
    pub certificate: PathBuf,
    /// Its private key (`server.tls_key`).
    pub key: PathBuf,
    /// The authorities one of which has to have issued a caller's certificate
    /// (`server.tls_client_ca`); without them callers need none.
    pub client_ca: Option<PathBuf>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

/// The TLS configuration that new connections get. Cloning shares it.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    live: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub async fn read(files: TlsFiles) -> Result<Self, String> {
        let contents = read(files.clone()).await?;
        let live = RwLock::new(configure(&files, &contents)?);
        Ok(Self(Arc::new(Shared { files, live })))
    }

    /// Looks at the files every second until `closing`. What they hold is used for new connections; while
    /// it cannot be used, what was last usable is.
    pub async fn watch(self, closing: CancellationToken) {
        let mut seen = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = closing.cancelled() => return,
            }
            let found = read(self.0.files.clone()).await;
            let is_first = seen.is_none();
            if seen.as_ref() == Some(&found) {
                continue;
            }
            let used = match &found {
                Ok(contents) => configure(&self.0.files, contents),
                Err(why) => Err(why.clone()),
            };
            match used {
                Ok(config) => {
                    *self.0.live.write().unwrap_or_else(PoisonError::into_inner) = config;
                    if !is_first {
                        tracing::info!("the TLS certificate, key or client CA was read again");
                    }
                }
                Err(why) => tracing::warn!(
                    why,
                    "the TLS files cannot be used; what was last read from them stays in use"
                ),
            }
            seen = Some(found);
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let live = self.0.live.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(live.clone())
    }
}

async fn read(files: TlsFiles) -> Result<Contents, String> {
    let read = move || {
        Ok(Contents {
            certificate: read_file(&files.certificate)?,
            key: read_file(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read_file).transpose()?,
        })
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| {
        Err("they could not be read, which is a defect of the gateway".to_owned())
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("cannot read {}: {why}", path.display());
    // Reading a pipe or a device could wait for ever.
    let file = std::fs::metadata(path)
        .and_then(|about| match about.is_file() {
            true => std::fs::File::open(path),
            false => Err(std::io::Error::other("it is no regular file")),
        })
        .map_err(|error| cannot(&error))?;
    let bytes = read_to_end(file, MAX_BYTES).map_err(|error| cannot(&error))?;
    bytes.ok_or_else(|| cannot(&format_args!("it is longer than {MAX_BYTES} bytes")))
}

fn configure(files: &TlsFiles, contents: &Contents) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    // The error could quote the file, which may be a key.
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| format!("{} holds no private key in PEM", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let builder = match (&files.client_ca, &contents.client_ca) {
        (Some(path), Some(pem)) => {
            let unusable = |why: String| format!("{} is no use: {why}", path.display());
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots.add(authority).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("the certificate {certificate} and the key {key} cannot be used together: {error}")
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{} holds no certificate in PEM", path.display())),
        Err(error) => Err(format!("{} holds no certificate in PEM: {error}", path.display())),
    }
}
