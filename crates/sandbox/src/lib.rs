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

pub use accounts::Account;
pub use fault::FaultScript;

use exchange::Exchange;
use server::Listener;
use simulator::Simulator;

/// How to start the simulators.
#[derive(Debug, Default)]
pub struct Options {
    /// Addresses in the order of the simulators: Securegate, RKVST, Turnkey. A missing one is a
    /// free port of the loopback.
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
    #[error("{given} addresses for {simulators} simulators")]
    TooManyAddresses {
        /// How many were given.
        given: usize,
        /// How many there are.
        simulators: usize,
    },
    /// A fault script that cannot be used; the message names the line and the column.
    #[error("fault script: {0}")]
    FaultScript(String),
}

/// The running simulators. They stop when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    simulated: Vec<(&'static Account, Listener)>,
    stop: watch::Sender<bool>,
}

/// Every simulator there is. Adding one is a line here.
fn simulators() -> Vec<Arc<dyn Simulator>> {
    vec![
        Arc::new(securegate::Securegate::default()),
        Arc::new(rkvst::Rkvst::default()),
        Arc::new(turnkey::Turnkey::default()),
    ]
}

/// How each simulator is reached, in their order.
pub fn accounts() -> Vec<&'static Account> {
    simulators().iter().map(|simulator| simulator.account()).collect()
}

/// Starts the simulators, each on its own address.
///
/// # Errors
/// If an address cannot be listened on, or if there are more than simulators.
pub async fn start(options: Options) -> Result<Sandbox, Error> {
    let (simulators, given) = (simulators(), options.listen.len());
    if given > simulators.len() {
        return Err(Error::TooManyAddresses { given, simulators: simulators.len() });
    }
    let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let addresses = options.listen.into_iter().chain(std::iter::repeat(free_port));
    let (stop, stopped) = watch::channel(false);
    let mut simulated = Vec::new();
    for (simulator, address) in simulators.into_iter().zip(addresses) {
        let account = simulator.account();
        let exchange = Exchange::new(simulator, options.faults.as_ref());
        simulated.push((account, server::listen(address, exchange, stopped.clone()).await?));
    }
    Ok(Sandbox { simulated, stop })
}

impl Sandbox {
    /// The simulators in their order: how each is reached, and its base URL without a trailing slash.
    pub fn simulators(&self) -> impl Iterator<Item = (&'static Account, String)> {
        self.simulated.iter().map(|(account, it)| (*account, format!("http://{}", it.address)))
    }

    /// The base URL of the simulator of this kind, without a trailing slash; none if there is no such.
    #[must_use]
    pub fn url(&self, kind: &str) -> Option<String> {
        self.simulators().find(|(account, _)| account.kind == kind).map(|(_, url)| url)
    }

    /// A provider document with what leads here in place of the words in braces: for each kind
    /// `{KIND_URL}`, and `{KIND_MEMBER}` for the members of its [`Account`].
    #[must_use]
    pub fn fill_in(&self, document: &str) -> String {
        let mut filled = document.to_owned();
        for (account, url) in self.simulators() {
            let members = account.members().chain([("url", url.as_str())]);
            for (name, value) in members {
                let word = format!("{{{}_{}}}", account.kind, name).to_uppercase();
                filled = filled.replace(&word, value);
            }
        }
        filled
    }

    /// Stops accepting, lets the requests that are being answered end (for two seconds at most),
    /// and returns when every listener is closed.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for (_, listener) in self.simulated.drain(..) {
            // A listener's task neither panics nor is aborted.
            let _ = listener.task.await;
        }
    }
}
