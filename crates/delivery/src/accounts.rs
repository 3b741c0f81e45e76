//! Which account a provider's invites go to, where its configuration does not say: asked for once, and
//! remembered in the store, which then keeps the rules for one place over all names of the account.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use invite_config::Provider;
use invite_core::{Address, PreparedCall, http::CallContext};
use invite_store::InviteRecord;
use tokio::time::Instant;

use crate::{
    door::{Door, Subject},
    engine::Inner,
    lane::Lane,
};

/// How long after a question that was not answered the next one comes.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// For which adapter, by its revision, the account was asked for, and when to ask again if that was not
/// answered.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Option<(i64, Option<Instant>)>>);

impl Asked {
    fn is_due(&self, adapter_since: i64) -> bool {
        let asked = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Some((since, again)) if since == adapter_since => {
                again.is_some_and(|again| again <= Instant::now())
            }
            _ => true,
        }
    }

    fn note(&self, adapter_since: i64, again: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((adapter_since, again));
    }
}

/// Asks for a provider's account, unless that is known or was asked for in vain a moment ago. Until it
/// is known, its invites share the rules for one place with all others of the service.
pub(crate) async fn learn(
    engine: &Arc<Inner>,
    lane: &Lane,
    provider: &Provider,
) -> Result<(), invite_store::Error> {
    let since = provider.adapter_since;
    if !lane.account.is_due(since) {
        return Ok(());
    }
    let door = Door { engine, lane, provider, subject: Subject::default() };
    let (begun, context) = (door.begin(), door.context());
    let ask = async |context: &CallContext| provider.adapter.account(context).await;
    let account = door.make(&context, ask).await;
    // Of most the configuration says it, and nothing is asked.
    if !matches!(account, Ok(None)) || !context.exchanges().is_empty() {
        door.hear("account", None, &begun, account.as_ref().err()).await;
    }
    let again = match account {
        Ok(account) => {
            if let Some(account) = account {
                engine.store.settle_account(account).await?;
            }
            None
        }
        Err(_) => Some(Instant::now() + ASK_AGAIN),
    };
    lane.account.note(since, again);
    Ok(())
}

/// A call's destination may be one place with others of other names.
fn overlaps(call: &PreparedCall) -> bool {
    call.account.is_some() || call.destination.is_provisional()
}

/// The people of a call whose destination may be one place with another one, so that no index keeps
/// other replicas from bringing invites to them into doubt at the same moment.
pub(crate) fn overlapping(invites: &[InviteRecord], call: Option<&PreparedCall>) -> Vec<Address> {
    let people = || invites.iter().filter_map(|invite| invite.address.clone());
    if call.is_some_and(overlaps) { people().collect() } else { Vec::new() }
}

/// Has the other providers of its kind look for work, once something was learnt of a call: an invite to
/// the same person may have waited there for just that.
pub(crate) fn wake_others(engine: &Arc<Inner>, provider: &Provider, call: Option<&PreparedCall>) {
    if !call.is_some_and(overlaps) {
        return;
    }
    let document = engine.live.current();
    let kind = provider.kind.name();
    let is_other = |it: &&Arc<Provider>| it.kind.name() == kind && it.name != provider.name;
    for other in document.providers().filter(is_other) {
        engine.lane(&other.name).wake.notify_one();
    }
}
