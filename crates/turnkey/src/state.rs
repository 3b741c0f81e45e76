//! The state of one invite at Turnkey: by its activity, by the organization, or by all activities if the organization may
//! not be read. Also proves that an id is the invite's before that is deleted.

use invite_core::{
    Address, Observed, Outcome, ProviderError, Remote, Status, StatusSource, adapter::Operation,
    http::CallContext,
};
use serde_json::{Map, Value};

use crate::{
    activity::{self, Pages, Subject},
    client::Client,
    error,
    wire::{Activity, Invitation, STATUS_COMPLETED, STATUS_FAILED, STATUS_REJECTED},
};

/// The member of an invite's data that holds the id of the activity which is to delete it.
const DELETION: &str = "delete_activity_id";

/// What a failed activity left behind for each address: nothing, unless the organization shows an invitation. If the
/// organization may not be read, nothing is assumed.
///
/// # Errors
/// The outcome is unknown, because the organization does not answer or shows an address in another spelling.
pub async fn after_failure(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    activity: &Activity,
    subject: &Subject<'_>,
    addresses: &[&Address],
) -> Result<Vec<Option<Observed>>, ProviderError> {
    let asked = client.invitations(context, operation, subject.organization_id, false).await;
    let shown = asked.map_err(|_| {
        operation.outcome_unknown(
            "the activity failed, and the organization does not say what it left behind",
        )
    })?;
    let shown = shown.unwrap_or_default();
    let of = |address: &&Address| activity::effect_of_failed(activity, &shown, address, subject);
    addresses.iter().map(of).collect::<Result<_, _>>().map_err(|why| operation.outcome_unknown(why))
}

/// The state of an invite that has no id yet, by its activity.
pub async fn follow(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    remote: &Remote,
) -> Result<Observed, ProviderError> {
    let text = |name: &str| remote.data.get(name).and_then(Value::as_str);
    let Some(activity_id) = text("activity_id") else {
        return Err(operation.not_found("neither an invitation's nor an activity's id is known"));
    };
    let organization_id = remote.destination.scope.as_str();
    let activity = client.get_activity(context, operation, organization_id, activity_id).await?;
    let subject = Subject { organization_id, fingerprint: text("fingerprint"), count: None };
    // If it does not show what it was to create, it was to create this one at least.
    let invitations = activity.intended().map_or(remote.index + 1, <[_]>::len);
    let operation = &operation.clone().of_call(invitations);
    match activity::observe(&activity, &subject, operation) {
        Ok(mut all) => {
            // All invites of an activity that is under way are in the same state.
            let waiting = all.iter().position(|observed| observed.provider_ref.is_none());
            let place = waiting.unwrap_or(remote.index);
            let missing =
                || operation.outcome_unknown("the activity has no invitation at this place");
            (place < all.len()).then(|| all.swap_remove(place)).ok_or_else(missing)
        }
        Err(error) if error.outcome == Outcome::Rejected => {
            let mut effect = None;
            if activity.status.as_deref() == Some(STATUS_FAILED) {
                let address = [&remote.address];
                let effects =
                    after_failure(client, context, operation, &activity, &subject, &address);
                effect = effects.await?.pop().flatten();
            }
            Ok(effect.unwrap_or_else(|| activity::failed(error, &activity, &subject)))
        }
        Err(error) => Err(error),
    }
}

/// The state of an invite that has an id.
pub async fn read(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    remote: &Remote,
    id: &str,
) -> Result<Observed, ProviderError> {
    let Some(shown) =
        client.invitations(context, operation, &remote.destination.scope, true).await?
    else {
        return answered(client, context, operation, remote, id).await;
    };
    let mut observed = shown_in_organization(&shown, remote, id);
    if observed.status == Status::Revoked && observed.source == StatusSource::Inferred {
        let deletion = earlier_deletion(client, context, operation, remote).await?;
        if deletion.is_some_and(|activity| deleted_by(&activity, operation, remote, id).is_err()) {
            // Our delete was refused by its approvers, so whoever deleted the invitation, we did not.
            observed.status = Status::Pending;
        }
    }
    Ok(observed)
}

/// The activity of the last delete that was submitted for the invite, if Turnkey still knows it.
pub async fn earlier_deletion(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    remote: &Remote,
) -> Result<Option<Activity>, ProviderError> {
    let Some(id) = remote.data.get(DELETION).and_then(Value::as_str) else { return Ok(None) };
    match client.get_activity(context, operation, &remote.destination.scope, id).await {
        Ok(activity) => Ok(Some(activity)),
        Err(error) if error.http_status == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The state of an invite by the activity that deletes its invitation. While that waits for approval or is under way, the
/// invite stays as it was, and the activity's id is kept, so that a repeat submits no other.
///
/// # Errors
/// `Rejected` if the activity failed or its approvers refused it.
pub fn deleted_by(
    activity: &Activity,
    operation: &Operation,
    remote: &Remote,
    id: &str,
) -> Result<Observed, ProviderError> {
    let word = activity.status.as_deref().unwrap_or_default();
    let status = match word {
        STATUS_COMPLETED => Status::Revoked,
        STATUS_FAILED | STATUS_REJECTED => {
            return Err(error::ended(operation, word, activity.failure.as_ref()));
        }
        _ => remote.status,
    };
    let mut data = remote.data.clone();
    if let Some(id) = &activity.id {
        data.insert(DELETION.into(), id.as_str().into());
    }
    Ok(Observed {
        provider_status: activity.status.clone(),
        data,
        ..Observed::new(Some(id.to_owned()), status)
    })
}

/// The state of an invite by the activities that accept and delete invitations.
async fn answered(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    remote: &Remote,
    id: &str,
) -> Result<Observed, ProviderError> {
    let organization_id = &remote.destination.scope;
    let mut pages = Pages::new(organization_id, activity::ANSWERS, &[STATUS_COMPLETED]);
    let mut status = Status::Pending;
    while pages.end().is_none() && status == Status::Pending {
        let page = pages.next(client, context, operation).await?;
        let mut answers = page.iter().filter_map(activity::answer);
        status = answers.find(|(of, _)| *of == id).map_or(status, |(_, status)| status);
    }
    Ok(inferred(remote, id, status, None))
}

/// Checks that an invitation is this invite's and can be deleted. If it is over already, the state of the invite is
/// returned, and nothing is to be deleted. Whether an id that is not proven is gone, only an earlier delete of ours
/// shows.
///
/// # Errors
/// The id is not proven to be the invite's, and the delete is not forced.
pub async fn before_deleting(
    client: &Client,
    context: &CallContext,
    operation: &Operation,
    remote: &Remote,
    id: &str,
    force: bool,
) -> Result<Option<Observed>, ProviderError> {
    let organization_id = &remote.destination.scope;
    let unproven = |why: &str| {
        if force { Ok(None) } else { Err(operation.unproven(why)) }
    };
    let is_proven = remote.data.get("pairing").and_then(Value::as_str) == Some("proven");
    let Some(shown) = client.invitations(context, operation, organization_id, true).await? else {
        if is_proven {
            return Ok(None);
        }
        return unproven("get_organization cannot be read, so the id is not proven");
    };
    match find(&shown, id) {
        Some(invitation) if invitation.is_to(&remote.address) => {
            let observed = invitation.observe(organization_id, remote.data.clone());
            Ok(observed.status.is_final().then_some(observed))
        }
        Some(_) => unproven("Turnkey shows another address under the id"),
        None if !is_proven && !force => {
            unproven("Turnkey does not show the id, so it is not proven")
        }
        // Whoever deleted it, nothing is left to withdraw.
        None if is_proven || remote.revoke_sent => {
            Ok(Some(inferred(remote, id, Status::Revoked, Some("gone"))))
        }
        None => Ok(None),
    }
}

fn find<'a>(shown: &'a [Invitation], id: &str) -> Option<&'a Invitation> {
    shown.iter().find(|invitation| invitation.invitation_id == id)
}

/// The state of an invite by the organization's invitations, among which its own may be missing.
fn shown_in_organization(shown: &[Invitation], remote: &Remote, id: &str) -> Observed {
    let mut observed = match find(shown, id) {
        Some(invitation) if invitation.is_to(&remote.address) => {
            return invitation.observe(&remote.destination.scope, remote.data.clone());
        }
        Some(_) => inferred(remote, id, Status::Pending, None),
        None if remote.revoke_sent => {
            return inferred(remote, id, Status::Revoked, Some("gone"));
        }
        None => return inferred(remote, id, Status::Pending, Some("gone")),
    };
    // The id belongs to another person's invitation, whose status says nothing of this invite.
    observed.data.insert("pairing".into(), "unproven".into());
    observed
}

/// The state that was concluded of an invite with an id.
pub fn inferred(remote: &Remote, id: &str, status: Status, word: Option<&str>) -> Observed {
    Observed {
        source: StatusSource::Inferred,
        provider_status: word.map(str::to_owned),
        data: remote.data.clone(),
        ..Observed::new(Some(id.to_owned()), status)
    }
}

/// An invitation of the organization, as lists show it.
pub fn listed(invitation: &Invitation, organization_id: &str) -> Observed {
    let mut observed = invitation.observe(organization_id, Map::new());
    if let Some(name) = &invitation.receiver_user_name {
        observed.data.insert("receiver_user_name".into(), name.as_str().into());
    }
    observed
}
