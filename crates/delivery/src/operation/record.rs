//! The attempt that a call about one invite is, for the record.

use invite_config::Provider;
use invite_core::{AttemptId, ProviderError, http::Exchange};
use invite_store::{AttemptEnd, Change, Decision, InviteRecord, InviteState, NewAttempt};
use jiff::Timestamp;

use super::outcome;
use crate::Engine;

/// Ends the attempt of one call about one invite.
pub(super) fn conclude(
    invite: &InviteRecord,
    (begin, end): (NewAttempt, AttemptEnd),
    decide: impl Fn(&mut InviteState, Timestamp) -> Decision + Send + Sync + 'static,
) -> Change {
    let decide = move |_, _: &InviteRecord, state: &mut _, now: Timestamp| decide(state, now);
    Change { begin: Some(begin), end: Some(end), ..Change::of(vec![invite.id], decide) }
}

/// The attempt of one call about one invite, which has ended.
pub(crate) fn ended(
    engine: &Engine,
    provider: &Provider,
    operation: &'static str,
    started_at: Timestamp,
    error: Option<&ProviderError>,
    exchange: Exchange,
) -> (NewAttempt, AttemptEnd) {
    let id = AttemptId::generate();
    let begin = NewAttempt {
        id,
        provider: provider.name.clone(),
        operation,
        call: None,
        config_revision: provider.revision,
        traceparent: engine.1.as_deref().map(str::to_owned),
        started_at,
    };
    let end = AttemptEnd {
        id,
        finished_at: engine.0.clock.now(),
        outcome: outcome(error).to_owned(),
        http_status: exchange.status,
        detail: error.map(|error| error.message.clone()),
        target: Some(exchange.target),
        request: exchange.request,
        reply: exchange.reply,
        unpaired: Vec::new(),
    };
    (begin, end)
}
