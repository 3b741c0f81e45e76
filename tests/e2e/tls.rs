//! TLS of the listener, where it is needed, and what a proxy before the gateway tells it.

use std::sync::Arc;
use std::time::Duration;

use invite_tests::{Binary, Gateway, eventually, terminate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

const NAME: &str = "gateway.example";
const TLS: &str = "tls_certificate = \"tls.pem\"\ntls_key = \"tls.key\"\n";
const SOON: Duration = Duration::from_secs(15);

/// Who issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut about = CertificateParams::new(Vec::new()).unwrap();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = about.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(about, key), pem }
    }

    /// A new certificate and its key, in PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let about = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What is needed to serve, with these settings of the server.
fn folder(server: &str) -> Binary {
    let binary = Binary::in_empty_folder();
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[storage]\nurl = \"sqlite://invites.db\"\n\
         [providers]\nfile = \"providers.toml\"\n"
    );
    binary.write("gateway.toml", &settings);
    binary.write("providers.toml", "# none\n");
    binary
}

fn use_certificate(binary: &Binary, (certificate, key): &(String, String)) {
    binary.write("tls.key", key);
    binary.write("tls.pem", certificate);
}

const SERVE: [&str; 3] = ["--config", "gateway.toml", "serve"];

/// Starts it, and returns it and where it listens.
async fn serve(binary: &Binary) -> (Child, String) {
    let child = binary.spawn(&[&SERVE[..], &["--ready-file", "ready"]].concat(), "gateway");
    let url = eventually("the gateway starts", async || {
        std::fs::read_to_string(binary.path("ready")).ok().filter(|url| url.ends_with('\n'))
    })
    .await;
    (child, url.trim().to_owned())
}

/// Asks `/livez`, as a caller who trusts this authority. Returns the answer and the certificate that was shown.
async fn ask(
    url: &str,
    trusted: &Authority,
    own: Option<&(String, String)>,
) -> std::io::Result<(String, CertificateDer<'static>)> {
    ask_for("/livez", url, trusted, own).await
}

/// The same for another path.
async fn ask_for(
    path: &str,
    url: &str,
    trusted: &Authority,
    own: Option<&(String, String)>,
) -> std::io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(url.strip_prefix("https://").unwrap()).await?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer, shown))
}

#[tokio::test]
async fn tls_is_spoken_with_the_certificate_in_the_file_and_with_the_next_one_after_a_change() {
    let (authority, binary) = (Authority::new(), folder(TLS));
    let (first, second) = (authority.issue(), authority.issue());
    use_certificate(&binary, &first);
    let (mut gateway, url) = serve(&binary).await;
    let der = |pem: &(String, String)| CertificateDer::from_pem_slice(pem.0.as_bytes()).unwrap();
    let (answer, shown) = ask(&url, &authority, None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let only_with_tls = "\r\nstrict-transport-security: max-age=63072000; includeSubDomains\r\n";
    assert!(answer.contains(only_with_tls), "{answer}");
    assert_eq!(shown, der(&first));
    // A key of another certificate is not taken, and stops nothing.
    binary.write("tls.key", &second.1);
    eventually("the log says that they do not belong together", async || {
        let log = std::fs::read_to_string(binary.path("gateway.log")).unwrap();
        log.contains("the TLS files cannot be used").then_some(())
    })
    .await;
    assert_eq!(ask(&url, &authority, None).await.unwrap().1, der(&first));
    // Whoever may read the key can listen in.
    let log = std::fs::read_to_string(binary.path("gateway.log")).unwrap();
    assert!(log.contains("others than its owner may use file tls.key (mode 644)"), "{log}");
    use_certificate(&binary, &second);
    eventually("the new certificate is shown", async || {
        let (_, shown) = ask(&url, &authority, None).await.ok()?;
        (shown == der(&second)).then_some(())
    })
    .await;
    assert!(terminate(&mut gateway).await.success());
}

#[tokio::test]
async fn a_caller_needs_a_certificate_where_an_authority_for_them_is_named() {
    let (authority, callers, others) = (Authority::new(), Authority::new(), Authority::new());
    let binary = folder(&format!("{TLS}tls_client_ca = \"callers.pem\"\n"));
    use_certificate(&binary, &authority.issue());
    binary.write("callers.pem", &callers.pem);
    let (mut gateway, url) = serve(&binary).await;
    let good = ask(&url, &authority, Some(&callers.issue())).await.unwrap().0;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    assert!(ask(&url, &authority, None).await.is_err());
    assert!(ask(&url, &authority, Some(&others.issue())).await.is_err());
    assert!(terminate(&mut gateway).await.success());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_to_an_end_is_closed_in_time() {
    let (authority, binary) =
        (Authority::new(), folder(&format!("{TLS}head_timeout = \"300ms\"\n")));
    use_certificate(&binary, &authority.issue());
    let (mut gateway, url) = serve(&binary).await;
    let mut silent = TcpStream::connect(url.strip_prefix("https://").unwrap()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = timeout(SOON, silent.read_to_end(&mut bytes)).await.expect("it is closed");
    assert!(terminate(&mut gateway).await.success());
}

#[tokio::test]
async fn the_address_of_the_metrics_speaks_tls_alone_too() {
    // Free once it is dropped.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let authority = Authority::new();
    let binary = folder(&format!("{TLS}metrics_listen = \"{free}\"\n"));
    let issued = authority.issue();
    use_certificate(&binary, &issued);
    let (mut gateway, _) = serve(&binary).await;
    let url = format!("https://{free}");
    let (answer, shown) = ask_for("/metrics", &url, &authority, None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("http_connections"), "{answer}");
    assert_eq!(shown, CertificateDer::from_pem_slice(issued.0.as_bytes()).unwrap());
    let mut plain = TcpStream::connect(free).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // Whether it ends or breaks off says nothing of what came.
    let _ = plain.read_to_end(&mut bytes).await;
    let bytes = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!bytes.contains("HTTP/1.1 200") && !bytes.contains("http_connections"), "{bytes}");
    assert!(terminate(&mut gateway).await.success());
}

#[tokio::test]
async fn files_that_are_no_certificate_and_key_are_refused_at_the_start() {
    let (authority, binary) = (Authority::new(), folder(TLS));
    let (certificate, key) = authority.issue();
    for (pem, key, complaint) in [
        ("", key.as_str(), "tls.pem holds no certificate"),
        (&certificate, &certificate, "tls.key holds no private key"),
        (&certificate, &authority.issue().1, "cannot be used together"),
    ] {
        use_certificate(&binary, &(pem.to_owned(), key.to_owned()));
        let output = binary.run(&SERVE).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
}

#[tokio::test]
async fn an_address_that_other_machines_reach_wants_tls_or_a_proxy_that_speaks_it() {
    for setting in ["listen", "metrics_listen"] {
        let mut binary = folder("");
        binary.set_variable(
            &format!("INVITE_GATEWAY__SERVER__{}", setting.to_uppercase()),
            "0.0.0.0:0",
        );
        let output = binary.run(&SERVE).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("server.{setting} (in the environment variable")), "{said}");
        assert!(said.contains(") is 0.0.0.0:0"), "{said}");
        assert!(said.contains("server.behind_tls_proxy"), "{said}");
        binary.set_variable("INVITE_GATEWAY__SERVER__BEHIND_TLS_PROXY", "true");
        let (mut gateway, _) = serve(&binary).await;
        assert!(terminate(&mut gateway).await.success());
    }
}

#[tokio::test]
async fn the_callers_address_is_in_the_log_and_a_proxy_is_believed_only_if_it_is_trusted() {
    for (trusted, expected) in [("", "127.0.0.1"), ("127.0.0.0/8", "198.51.100.7")] {
        let builder = Gateway::builder();
        let builder = match trusted {
            "" => builder,
            network => builder.setting("server.trusted_proxies", network),
        };
        let gateway = builder.start().await;
        let request = gateway.client().request("GET", "/v1/invites");
        let request = request.header("x-forwarded-for", "192.0.2.1, 198.51.100.7");
        request.header("x-request-id", "forwarded").send().await.expect(200);
        eventually("the request is in the log", async || {
            let log = gateway.log();
            let line = log.lines().find(|line| line.contains("forwarded"))?.to_owned();
            assert!(line.contains(&format!("client.address=\"{expected}\"")), "{line}");
            Some(())
        })
        .await;
        gateway.finish().await;
    }
}

#[tokio::test]
async fn failed_authentications_are_warnings_counted_by_reason_and_slowed_down_by_address() {
    let gateway = Gateway::start().await;
    let stranger = gateway.client().with_key("igk_nobody");
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let began = Instant::now();
        stranger.get("/v1/invites").await.expect(401);
        slowest = slowest.max(began.elapsed());
    }
    // Failures are forgotten while their answers are held back, so that the longest wait is not reached.
    assert!(slowest >= Duration::from_millis(400), "{slowest:?}");
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        gateway.client().get("/v1/invites").await.expect(200);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < slowest / 2, "{quickest:?} after {slowest:?}");
    gateway.client().without_key().get("/v1/invites").await.expect(401);
    let metrics = gateway.client().get("/metrics").await.expect(200).text;
    for counted in ["{reason=\"unknown\"} 30", "{reason=\"missing\"} 1"] {
        let line = format!("http_authentication_failures_total{counted}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    let warned = gateway.log();
    let warned = warned.lines().filter(|line| {
        line.contains("WARN")
            && line.contains("an authentication failed")
            && line.contains("client.address=\"127.0.0.1\"")
    });
    assert_eq!(warned.count(), 31);
    gateway.finish().await;
}
