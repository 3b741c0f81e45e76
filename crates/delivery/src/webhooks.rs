//! Sends events to webhooks. One replica at a time does so, with a task for each webhook, so that a slow one holds up no other.
//! Step by step: `docs/loops/webhooks.md`.

mod endpoint;
mod sending;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use invite_core::{Fault, WebhookId, http::HttpClient};
use invite_store::{Event, Webhook, WebhookAttempt};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    shared::{Engine, Shared, catch_panic},
    tasks::sole::Sole,
};

use sending::{Payload, send};

/// How often it is looked for webhooks that were made, changed or removed.
const EVERY: Duration = Duration::from_secs(1);
const LANE: &str = "#webhooks";
const LEASE: Duration = Duration::from_secs(10);

/// Makes the body of a request of an event, as JSON.
pub type Render = dyn Fn(&Webhook, Event) -> Vec<u8> + Send + Sync;

/// What sends.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    client: HttpClient,
    render: Arc<Render>,
}

impl Engine {
    /// Starts to send events to webhooks, until shutdown.
    ///
    /// # Errors
    /// What is wrong with this machine's TLS roots.
    pub fn start_webhooks(&self, render: Arc<Render>) -> Result<(), String> {
        let shared = self.shared.clone();
        let sender = Sender { client: shared.webhook_client()?, shared, render };
        self.shared.tasks.spawn(run(Arc::new(sender)));
        Ok(())
    }

    /// Checks where a webhook is to be sent to, as the gate checks where providers are.
    ///
    /// # Errors
    /// What is wrong with it. The pointer is empty.
    pub fn check_webhook_url(&self, url: &str) -> Result<(), Fault> {
        self.shared.document.gate().check_webhook_url(url)
    }

    /// Sends a body to a webhook at once, and tells what came of it. Nothing is stored of that.
    ///
    /// # Errors
    /// What is wrong with this machine's TLS roots.
    pub async fn test_webhook(
        &self,
        webhook: &Webhook,
        event: invite_core::EventId,
        body: Vec<u8>,
    ) -> Result<WebhookAttempt, String> {
        let client = self.shared.webhook_client()?;
        let payload = Payload { event, number: 1, body };
        Ok(send(&self.shared, &client, webhook, payload).await.0)
    }
}

impl Shared {
    fn webhook_client(&self) -> Result<HttpClient, String> {
        if let Some(client) = self.webhook_client.get() {
            return Ok(client.clone());
        }
        let client = self.document.gate().webhook_client()?;
        Ok(self.webhook_client.get_or_init(|| client).clone())
    }
}

/// A webhook that is worked.
struct Worked {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

async fn run(sender: Arc<Sender>) {
    let shared = sender.shared.clone();
    let mut sole = Sole::new(LANE, LEASE);
    let mut worked = BTreeMap::new();
    while !shared.stopping.is_cancelled() {
        let ends_at = sole.ends_at();
        let looking = catch_panic(look(&sender, &mut sole, &mut worked));
        tokio::select! {
            looked = looking => if let Err(error) = looked {
                tracing::error!(%error, "cannot look for webhooks; trying again");
            },
            () = ended(ends_at) => {}
        }
        if sole.ends_at().is_some_and(|end| end <= Instant::now()) {
            sole.lose();
            // Without any it was not to be renewed.
            if !worked.is_empty() {
                tracing::warn!(
                    "the lease {LANE} could not be renewed in time; sending to webhooks stops until it is"
                );
            }
            worked.values().for_each(|worked| worked.stop.cancel());
        }
        shared.pause(EVERY).await;
    }
    let tasks = worked.into_values().map(|Worked { task, stop }| {
        stop.cancel();
        task
    });
    futures::future::join_all(tasks).await;
    sole.give_back(&shared).await;
}

/// Returns when a lease ends that is not renewed; never if none was had.
async fn ended(ends_at: Option<Instant>) {
    match ends_at {
        Some(ends_at) => sleep_until(ends_at).await,
        None => std::future::pending().await,
    }
}

/// Makes sure that each enabled webhook has a task, and no other, while this replica has the lease.
async fn look(
    sender: &Arc<Sender>,
    sole: &mut Sole,
    worked: &mut BTreeMap<WebhookId, Worked>,
) -> Result<(), invite_store::Error> {
    let shared = &sender.shared;
    // The lease is renewed before anything else that may take long, and nobody takes it while nothing is to be sent.
    if !worked.is_empty() {
        sole.has_lease(shared).await?;
    }
    let mut enabled = shared.store.enabled_webhooks().await?;
    if !enabled.is_empty() && !sole.has_lease(shared).await? {
        enabled.clear();
    }
    worked.retain(|id, Worked { task, stop }| {
        if !enabled.contains(id) {
            stop.cancel();
        }
        // One that is stopped may still have requests under way, and no other begins before they have ended.
        !task.is_finished()
    });
    for id in enabled {
        worked.entry(id).or_insert_with(|| {
            let stop = shared.stopping.child_token();
            let task = endpoint::work(sender.clone(), id, stop.clone());
            Worked { task: shared.tasks.spawn(task), stop }
        });
    }
    Ok(())
}
