//! What look-ups at the made-up provider show.

use async_trait::async_trait;
use invite_core::{
    Lookup, Observed, ProviderError, Recipient, Reconciliation, Sighting, Status,
    http::{CallContext, HttpClient},
};

use crate::fake::{World, observed};

pub struct ByAddress {
    pub world: World,
    pub http: HttpClient,
    pub lookup: Lookup,
}

#[async_trait]
impl Reconciliation for ByAddress {
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        self.world.ask_peer("reconcile", &self.http, context).await?;
        let waits_for = {
            let mut world = self.world.lock();
            world.lookups += 1;
            world.lookup_waits_for.take()
        };
        if let Some(waits_for) = waits_for {
            waits_for.notified().await;
        }
        let mut world = self.world.lock();
        if let Some(error) = world.lookups_fail.as_ref().or(world.silence.as_ref()) {
            return Err(error.clone());
        }
        for doubt in &self.lookup.doubts {
            world.first_attempts.push(doubt.first_attempts.clone());
            world.absence_counts.push(doubt.absence_counts.clone());
        }
        let sight = |recipient: &Recipient| {
            let to = recipient.address.as_str();
            let is_shown = |address: &str| address == to && !world.is_respelling;
            let found = world.effects.iter().filter(|(address, _)| is_shown(address));
            let mut exact: Vec<_> =
                found.map(|(_, id)| observed(id, to, Status::Pending)).collect();
            if let (Some(error), true) = (&world.ended, exact.is_empty()) {
                let failure = Some(error.clone());
                exact.push(Observed { failure, ..Observed::new(None, Status::Failed) });
            }
            if world.is_working && exact.is_empty() {
                exact.push(Observed::new(None, Status::Sending));
            }
            let gap = world.is_blind.then(|| "the fake shows nothing".to_owned());
            Sighting { exact, near: world.similar.clone(), gap }
        };
        let doubts = self.lookup.doubts.iter();
        Ok(Some(doubts.map(|d| d.recipients.iter().map(sight).collect()).collect()))
    }
}
