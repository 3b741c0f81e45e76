//! Which account a provider's invites go to, where its configuration does not say. The provider is asked once, and the
//! store remembers the answer, so that the rules for one destination hold over all names of the account.

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

/// How long the next question waits after one that was not answered.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Asks for a provider's account, unless that is known, or was asked for without an answer less than
/// [`ASK_AGAIN`] ago. Until it is known, any two providers of its kind at its base URL may be one account.
pub(crate) async fn learn_account(
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
    let account = door.call(&context, ask).await;
    // For most providers the configuration says it, and no request is made.
    if !matches!(account, Ok(None)) || !context.exchanges().is_empty() {
        door.finish(Operation::Account, None, &begun, account.as_ref().err()).await;
    }
    let again = match account {
        Ok(account) => {
            if let Some(account) = account {
                shared.store.remember_account(account).await?;
            }
            None
        }
        Err(_) => Some(Instant::now() + ASK_AGAIN),
    };
    lane.account.note(since, again);
    Ok(())
}

/// Whether another name may stand for the same destination as this call's.
fn overlaps(call: &PreparedCall) -> bool {
    call.account.is_some() || call.destination.is_provisional()
}

/// The people to lock for this claim: where another provider may be the same account, no unique index keeps one person
/// from being claimed twice.
pub(crate) fn people_to_lock(
    invites: &[InviteRecord],
    call: Option<&PreparedCall>,
) -> Vec<Address> {
    let people = || invites.iter().filter_map(|invite| invite.address.clone());
    if call.is_some_and(overlaps) { people().collect() } else { Vec::new() }
}

/// Wakes the lanes of the other providers of this kind once the outcome of a call is stored: an invite to the same
/// person may have waited there for that.
pub(crate) fn wake_others(shared: &Arc<Shared>, provider: &Provider, call: Option<&PreparedCall>) {
    if !call.is_some_and(overlaps) {
        return;
    }
    let document = shared.live.current();
    let kind = provider.kind.name;
    let is_other = |it: &&Arc<Provider>| it.kind.name == kind && it.name != provider.name;
    for other in document.providers().filter(is_other) {
        shared.lane(&other.name).wake_for_all();
    }
}
