//! Which account a provider's invites go to, where its configuration does not say: asked for once, and
//! remembered in the store, which then keeps the rules for one place over all names of the account.

use std::{sync::Arc, time::Duration};

use invite_config::Provider;
use invite_core::{Address, Operation, PreparedCall, http::CallContext};
use invite_store::InviteRecord;
use tokio::time::Instant;

use crate::{
    door::{Door, Subject},
    lane::Lane,
    shared::Shared,
};

/// How long after a question that was not answered the next one comes.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Asks for a provider's account, unless that is known or was asked for in vain a moment ago. Until it
/// is known, its invites share the rules for one place with all others of the service.
pub(crate) async fn learn(
    shared: &Arc<Shared>,
    lane: &Lane,
    provider: &Provider,
) -> Result<(), invite_store::Error> {
    let since = provider.adapter_since;
    if !lane.account.is_due(since) {
        return Ok(());
    }
    let door = Door { shared, lane, provider, subject: Subject::default() };
    let (begun, context) = (door.begin(), door.context());
    let ask = async |context: &CallContext| provider.adapter.account(context).await;
    let account = door.make(&context, ask).await;
    // Of most the configuration says it, and nothing is asked.
    if !matches!(account, Ok(None)) || !context.exchanges().is_empty() {
        door.hear(Operation::Account, None, &begun, account.as_ref().err()).await;
    }
    let again = match account {
        Ok(account) => {
            if let Some(account) = account {
                shared.store.settle_account(account).await?;
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
pub(crate) fn wake_others(shared: &Arc<Shared>, provider: &Provider, call: Option<&PreparedCall>) {
    if !call.is_some_and(overlaps) {
        return;
    }
    let document = shared.live.current();
    let kind = provider.kind.name;
    let is_other = |it: &&Arc<Provider>| it.kind.name == kind && it.name != provider.name;
    for other in document.providers().filter(is_other) {
        shared.lane(&other.name).wake.notify_one();
    }
}
