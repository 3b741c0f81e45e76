//! What became of calls whose outcome is unknown: the cards to each address, one request a step.

use std::sync::Arc;

use async_trait::async_trait;
use invite_core::{Lookup, ProviderError, Reconciliation, Sighting, http::CallContext};

use super::{client::Client, wire::Card};

/// A lookup under way.
pub struct CardLookup {
    client: Arc<Client>,
    lookup: Lookup,
    /// For each doubt in order, for each of its recipients in order, as far as they were asked for.
    seen: Vec<Vec<Sighting>>,
}

impl CardLookup {
    /// A lookup of which nothing was asked yet.
    pub fn new(client: Arc<Client>, lookup: Lookup) -> Self {
        let seen = lookup.doubts.iter().map(|_| Vec::new()).collect();
        Self { client, lookup, seen }
    }
}

#[async_trait]
impl Reconciliation for CardLookup {
    async fn step(
        &mut self,
        context: &CallContext,
    ) -> Result<Option<Vec<Vec<Sighting>>>, ProviderError> {
        let mut doubts = self.lookup.doubts.iter().zip(&mut self.seen);
        let open = doubts.find(|(doubt, seen)| seen.len() < doubt.recipients.len());
        if let Some((doubt, seen)) = open {
            let recipient = &doubt.recipients[seen.len()];
            let operation = self.client.service.operation("looking for a card");
            let operation = operation.about(recipient.invitee.personal_data());
            self.client.check_destination(&operation, &self.lookup.destination)?;
            let to = Some(recipient.invitee.email.as_str());
            let cards = self.client.list_cards(context, &operation, to).await?;
            let reference = recipient.id.to_string();
            let is_exact = |card: &Card| card.reference.as_ref() == Some(&reference);
            let exact = cards.into_iter().filter(is_exact).map(Card::observed).collect();
            // A card with another reference is another invite's beyond doubt.
            seen.push(Sighting { exact, ..Sighting::default() });
        }
        let counts = self.lookup.doubts.iter().zip(&self.seen);
        let ends = counts.into_iter().all(|(doubt, seen)| seen.len() == doubt.recipients.len());
        Ok(ends.then(|| std::mem::take(&mut self.seen)))
    }
}
