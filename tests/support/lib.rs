//! What the tests of the whole share: a gateway as a process with simulated providers behind it,
//! a client that checks every answer against the gateway's own OpenAPI document, and a witness
//! that searches everything the gateway wrote for what it must never write.
//!
//! Nothing here knows what a gateway should do; that is for the tests to say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

mod binary;
mod client;
mod gateway;
mod openapi;
mod people;
mod postgres;
mod proxy;
mod simulators;
mod witness;

use std::time::Duration;

pub use binary::{Binary, terminate};
pub use client::{Answer, Client, Request, plain_client};
pub use gateway::{Builder, Database, Gateway};
pub use people::{invites, person};
pub use proxy::Proxy;
pub use simulators::Simulators;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until the answer is there, and fails after [`PATIENCE`].
///
/// For what happens in another process and tells nobody; a test waits in no other way.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}
