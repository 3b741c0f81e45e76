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
use tokio::sync::watch;

pub use accounts::Account;
pub use fault::FaultScript;

use exchange::Exchange;
use server::Listener;
use simulator::Simulator;

/// How the simulators are started.
#[derive(Debug, Default)]
pub struct Options {
    /// The addresses to listen on, in the order of the simulators: Securegate, RKVST, Turnkey. Those that are missing
    /// get a free port of the loopback.
    pub listen: Vec<SocketAddr>,
    /// The fault rules that hold from the start.
    pub faults: Option<FaultScript>,
}

/// Why the simulators could not be started, or their faults not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{given} addresses for {simulators} simulators")]
    TooManyAddresses { given: usize, simulators: usize },
    /// The message names the line and the column.
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
fn simulators() -> Vec<Box<dyn Simulator>> {
    vec![securegate::simulator(), rkvst::simulator(), turnkey::simulator()]
}

/// How each simulator is reached, in the order of the simulators.
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
    /// How each simulator is reached, and its base URL without a slash at its end, in the order of the simulators.
    pub fn simulators(&self) -> impl Iterator<Item = (&'static Account, String)> {
        self.simulated.iter().map(|(account, it)| (*account, format!("http://{}", it.address)))
    }

    /// The base URL of the simulator of this kind, without a slash at its end.
    #[must_use]
    pub fn url(&self, kind: &str) -> Option<String> {
        self.simulators().find(|(account, _)| account.kind == kind).map(|(_, url)| url)
    }

    /// A provider document in which `{KIND_URL}` and, for the members of an [`Account`], `{KIND_MEMBER}` are replaced by
    /// what leads to these simulators.
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

    /// Accepts no more connections, gives the requests that are being answered two seconds to end, and returns when
    /// every listener is closed.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for (_, listener) in self.simulated.drain(..) {
            // It cannot fail: a listener's task neither panics nor is aborted.
            let _ = listener.task.await;
        }
    }
}
