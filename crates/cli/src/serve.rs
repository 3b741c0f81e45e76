//! `serve`: the gateway as a process.

use std::{io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use invite_core::Clock;
use invite_delivery::Engine;
use invite_http::{Bounds, Gateway, KeyState, Listener, Tls};
use invite_store::{Lock, Store};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    args::ServeArgs,
    compose, descriptors, exposure,
    failure::Failure,
    settings::{self, Settings},
    telemetry,
    watch::{self, DocumentWatch},
};

/// How long connections may take to close after the last call is recorded.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

pub async fn run(settings: &Settings, args: ServeArgs) -> Result<(), Failure> {
    telemetry::start(&settings.log).map_err(Failure::wrong)?;
    tell_settings(settings);
    warn_of_proxies();
    exposure::warn(settings);
    let gateway = Running::start(settings).await?;
    // The signal is caught before anybody hears that the gateway is ready, and may send it.
    let told_to_stop = told_to_stop();
    tracing::info!(replica = gateway.engine.replica(), "listening on {}", gateway.url());
    tell_keys(gateway.store()).await?;
    if let Some(path) = &args.ready_file {
        write_ready_file(path, gateway.url())?;
    }
    told_to_stop.await;
    tracing::info!("stopping: no more is accepted, calls under way are finished");
    gateway.stop().await;
    Ok(())
}

/// Logs which program this is, and which files say how it runs.
fn tell_settings(settings: &Settings) {
    let version = env!("CARGO_PKG_VERSION");
    let files = settings.files.iter().filter(|file| file.exists());
    let files = files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    match files.as_str() {
        "" => tracing::info!(version, "invite-gateway {version} starts with its default settings"),
        _ => tracing::info!(
            version,
            settings.files = files,
            "invite-gateway {version} starts with the settings in {files}"
        ),
    }
}

/// Logs who can call: without a key nobody can, which somebody who starts it for the first time may not know.
async fn tell_keys(store: &Store) -> Result<(), Failure> {
    let now = store.clock().now();
    let (keys, _) = store.keys(None).await.map_err(Failure::store)?;
    match keys.iter().filter(|key| KeyState::of(key, now) == KeyState::Active).count() {
        0 => tracing::warn!("no API key is valid, so nobody can call: `keys create` makes one"),
        valid => tracing::info!(keys = valid, "{valid} API keys are valid"),
    }
    Ok(())
}

/// Warns that providers are called directly, which whoever set these variables for all programs may not expect.
#[expect(clippy::disallowed_methods, reason = "the composition root reads the environment")]
fn warn_of_proxies() {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let names =
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let set: Vec<&str> = names.iter().copied().filter(|name| is_set(name)).collect();
    if !set.is_empty() {
        tracing::warn!("providers are called directly: {} is ignored", set.join(", "));
    }
}

/// Warns that released secrets can be sent anywhere by whoever may put a provider document in force, unless
/// the hosts are named.
fn warn_of_released_secrets(settings: &Settings) {
    let Settings { secrets, providers, .. } = settings;
    let is_released = !secrets.directories.is_empty() || !secrets.env_prefixes.is_empty();
    if is_released && providers.allowed_hosts.is_empty() {
        tracing::warn!(
            "whoever holds a key with the scope config:write can send the secrets that secrets.directories \
             and secrets.env_prefixes release to any host: name the providers' hosts in \
             providers.allowed_hosts"
        );
    }
}

pub struct Running {
    url: String,
    engine: Engine,
    store: Store,
    closing: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    /// Keeps a second process off the database.
    _lock: Option<Lock>,
}

impl Running {
    pub async fn start(settings: &Settings) -> Result<Self, Failure> {
        let (store, lock) = compose::store_to_serve(settings).await?;
        let gate = Arc::new(compose::gate(settings, store.clock())?);
        warn_of_released_secrets(settings);
        let file = DocumentWatch::new(&settings.providers.file).await?;
        let document = compose::document(settings, gate.clone(), &store).await?;
        let tls = match settings.server.tls() {
            None => None,
            Some(files) => Some(Tls::read(files).await.map_err(|why| {
                Failure::wrong(format!("cannot serve TLS (server.tls_certificate): {why}"))
            })?),
        };
        let server = &settings.server;
        let (listener, address) = listen("server.listen", &server.listen, server).await?;
        let metrics = match server.metrics_listen.as_str() {
            "" => None,
            address => Some(listen("server.metrics_listen", address, server).await?.0),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let engine = compose::engine(settings, document).await?;
        let bounds = bounds(server);
        let gateway = Gateway::new(
            engine.clone(),
            gate.kinds().to_vec(),
            store.clock(),
            invite_http::Limits {
                max_invites_per_request: settings.server.max_invites_per_request,
                max_body_bytes: settings.server.max_body_bytes,
                idempotency_retention: settings.idempotency.retention,
                // The other connections are left for requests that do not wait.
                max_waiting: bounds.max_connections / 4,
            },
        )
        .map_err(|error| Failure::failed(format!("cannot start the HTTP API: {error}")))?;
        gateway
            .start_webhooks()
            .map_err(|error| Failure::failed(format!("cannot start sending webhooks: {error}")))?;
        gateway.start_actions();
        let closing = CancellationToken::new();
        let proxies = server.trusted_proxies.clone();
        let server = Listener::new(bounds, tls.clone(), proxies);
        let serve =
            |socket, router| tokio::spawn(server.clone().serve(socket, router, closing.clone()));
        let mut servers = vec![serve(listener, gateway.router())];
        if let Some(listener) = metrics {
            servers.push(serve(listener, gateway.metrics_router()));
        }
        if let Some(tls) = tls {
            servers.push(tokio::spawn(tls.watch(closing.clone())));
        }
        servers.push(tokio::spawn(watch::secrets(engine.clone(), closing.clone())));
        servers.push(tokio::spawn(file.run(engine.clone(), closing.clone())));
        Ok(Self { url, engine, store, closing, servers, _lock: lock })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stops in this order: nothing more is accepted, waiting callers are answered, calls under way are
    /// finished and recorded.
    pub async fn stop(self) {
        self.closing.cancel();
        self.engine.shutdown().await;
        // A connection that is still open then is one that its caller keeps, which is not worth waiting for.
        let closed = async {
            for server in self.servers {
                let _ = server.await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_WITHIN, closed).await;
        self.store.close().await;
    }
}

/// Listens at the address that this setting names. Without TLS this has to be an address that other
/// machines cannot reach, unless the settings say that a proxy speaks TLS.
async fn listen(
    setting: &str,
    address: &str,
    server: &settings::Server,
) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot listen on {address} ({setting}): {error}");
        match error.kind() {
            std::io::ErrorKind::InvalidInput => Failure::wrong(message),
            _ => Failure::failed(message),
        }
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    if server.tls().is_none() && !server.behind_tls_proxy && !bound.ip().is_loopback() {
        return Err(Failure::wrong(format!(
            "{setting} is {address}, which other machines reach, and API keys would cross the network \
             unencrypted: set server.tls_certificate and server.tls_key, or server.behind_tls_proxy if \
             a proxy before the gateway speaks TLS"
        )));
    }
    Ok((listener, bound))
}

/// The bounds of connections as set, but no more connections than there are file descriptors for.
fn bounds(server: &settings::Server) -> Bounds {
    let room = descriptors::for_connections();
    if room < server.max_connections {
        tracing::warn!(
            max_connections = room,
            "server.max_connections is {}, and the process may not have so many files open: raise its \
             limit (ulimit -n, LimitNOFILE=)",
            server.max_connections
        );
    }
    Bounds {
        max_connections: server.max_connections.min(room),
        max_connections_per_address: server.max_connections_per_address,
        head_timeout: server.head_timeout,
        body_timeout: server.body_timeout,
        answer_timeout: server.answer_timeout,
        idle_timeout: server.idle_timeout,
    }
}

fn write_ready_file(path: &Path, url: &str) -> Result<(), Failure> {
    let write = || {
        // A new file takes the name over, so that a link or a pipe that somebody put there is not opened.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(format!("{url}\n").as_bytes())?;
        file.persist(path).map(|_| ()).map_err(|error| error.error)
    };
    write().map_err(|error| {
        Failure::failed(format!("cannot write the ready file {}: {error}", path.display()))
    })
}

/// Catches SIGTERM from here on, and returns once it or Ctrl-C comes.
pub fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    async {
        let terminated = async {
            match terminate {
                Ok(mut terminate) => terminate.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
        }
    }
}
