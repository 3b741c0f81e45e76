#![doc = include_str!("../README.md")]

pub mod accounts;
mod clock;
mod control;
mod exchange;
mod fault;
mod ids;
mod journal;
mod rkvst;
mod securegate;
mod server;
mod settings;
mod simulator;
mod spelling;
mod turnkey;
mod wait;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;

pub use fault::FaultScript;

use exchange::Exchange;
use server::Listener;
use simulator::Simulator;

/// How to start the simulators.
#[derive(Debug, Default)]
pub struct Options {
    /// Up to three addresses, in the order Securegate, RKVST, Turnkey. A missing one is a free
    /// port of the loopback.
    pub listen: Vec<SocketAddr>,
    /// The fault rules in force from the start.
    pub faults: Option<FaultScript>,
}

/// Why the simulators could not be started or told something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// More addresses than simulators.
    #[error("{0} addresses for 3 simulators")]
    TooManyAddresses(usize),
    /// A fault script that cannot be used; the message names the line and the column.
    #[error("fault script: {0}")]
    FaultScript(String),
}

/// The running simulators. They stop when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    listeners: Vec<Listener>,
    stop: watch::Sender<bool>,
}

/// Starts the three simulators, each on its own address.
///
/// # Errors
/// If an address cannot be listened on, or if there are more than three.
pub async fn start(options: Options) -> Result<Sandbox, Error> {
    let simulators: [Arc<dyn Simulator>; 3] = [
        Arc::new(securegate::Securegate::default()),
        Arc::new(rkvst::Rkvst::default()),
        Arc::new(turnkey::Turnkey::default()),
    ];
    if options.listen.len() > simulators.len() {
        return Err(Error::TooManyAddresses(options.listen.len()));
    }
    let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let addresses = options.listen.into_iter().chain(std::iter::repeat(free_port));
    let (stop, stopped) = watch::channel(false);
    let mut listeners = Vec::new();
    for (simulator, address) in simulators.into_iter().zip(addresses) {
        let exchange = Exchange::new(simulator, options.faults.as_ref());
        listeners.push(server::listen(address, exchange, stopped.clone()).await?);
    }
    Ok(Sandbox { listeners, stop })
}

impl Sandbox {
    /// The base URL of the Securegate simulator, without a trailing slash.
    #[must_use]
    pub fn securegate_url(&self) -> String {
        self.url(0)
    }

    /// The base URL of the RKVST simulator, without a trailing slash.
    #[must_use]
    pub fn rkvst_url(&self) -> String {
        self.url(1)
    }

    /// The base URL of the Turnkey simulator, without a trailing slash.
    #[must_use]
    pub fn turnkey_url(&self) -> String {
        self.url(2)
    }

    /// Stops accepting, lets the requests that are being answered end (for two seconds at most),
    /// and returns when every listener is closed.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for listener in self.listeners.drain(..) {
            // A listener's task neither panics nor is aborted.
            let _ = listener.task.await;
        }
    }

    fn url(&self, index: usize) -> String {
        self.listeners.get(index).map_or_else(String::new, |l| format!("http://{}", l.address))
    }
}
