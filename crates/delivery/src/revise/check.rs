//! Asking the gate about a document: what it says depends on where the document comes from.

use std::collections::BTreeMap;

use invite_config::{Checked, Configuration, Finding, Gate, Severity};
use invite_core::Fault;
use invite_store::Actor;

use super::{
    LiveDocument, Review, audit,
    review::{self, Candidate, operator_errors},
};

impl LiveDocument {
    /// What would become of a document that comes over the network if it went live now; nothing changes. `probe`
    /// also checks the credential of each provider that is new or has other settings, without side effects. That, and
    /// that it names secrets which it may not use, is recorded before anything is sent.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn review(
        &self,
        text: &str,
        probe: bool,
        actor: Actor,
    ) -> Result<Review, invite_store::Error> {
        let live = self.live.current();
        let checked = self.check_from_network(text, &live).await?;
        let diff = review::difference(&live, text).await;
        let before = self.accounts(&live).await?;
        let candidate = Candidate { text, checked, diff, is_file: false };
        let mut review = Review::of(candidate, &live, &before, &self.store).await?;
        let is_withheld = review.findings.iter().any(|finding| finding.for_operator.is_some());
        if is_withheld {
            tracing::warn!(
                audit.actor = actor.name,
                "a provider document from the network that was to be checked names secrets that cannot be used: {}",
                operator_errors(&review.findings)
            );
        }
        if probe || is_withheld {
            let probed = if probe { review.to_be_probed() } else { BTreeMap::new() };
            let entry = audit::checked(actor, live.revision(), &review.findings, &probed);
            self.store.record_audit(entry).await?;
        }
        if probe && review.passes() {
            let _only_one = self.probing.lock().await;
            review.probe(|provider| self.budget(provider)).await;
        }
        Ok(review)
    }

    /// Runs the gate on a document of this machine, or on one that has been in force.
    pub(super) async fn check(&self, text: &str) -> Checked {
        let text = text.to_owned();
        self.aside(move |gate| gate.check(&text)).await
    }

    /// Runs the gate on a document that comes over the network.
    pub(super) async fn check_from_network(
        &self,
        text: &str,
        live: &Configuration,
    ) -> Result<Checked, invite_store::Error> {
        // Where an older document stands in for the newest, it may name secrets that have been withdrawn since.
        let in_force = match self.store.latest_revision().await? {
            Some(newest) if newest.revision > live.revision() => newest.document,
            _ => live.text().to_owned(),
        };
        let text = text.to_owned();
        Ok(self.aside(move |gate| gate.check_from_network(&text, &in_force)).await)
    }

    /// Runs the gate, which blocks to read secrets, on a thread of its own. One document at a time, since each takes memory
    /// and time for all of its providers.
    async fn aside(&self, check: impl FnOnce(&Gate) -> Checked + Send + 'static) -> Checked {
        let gate = self.gate.clone();
        let _only_one = self.checking.lock().await;
        tokio::task::spawn_blocking(move || check(&gate)).await.unwrap_or_else(|_| {
            let detail = "the document could not be checked, which is a defect of the gateway; its \
                          log says more";
            let fault = Fault::new("", "unchecked", detail);
            let findings = vec![Finding::unplaced(Severity::Error, fault)];
            Checked { findings, configuration: None }
        })
    }
}
