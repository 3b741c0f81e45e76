//! Warnings: what an invite says that its provider's kind has no place for. It is stored, and not sent.

use std::sync::Arc;

use invite_core::{Fault, Faults, Invitee, ProviderKind};
use invite_store::{InviteRecord, NewItem, Placement};

use crate::problem::{FaultView, list_faults};

/// The warnings about an invite at a provider of this kind. Pointers are relative to the invite.
fn warnings(kind: &ProviderKind, invitee: &Invitee) -> impl Iterator<Item = Fault> + use<> {
    let members = [
        ("first_name", &invitee.first_name),
        ("last_name", &invitee.last_name),
        ("phone", &invitee.phone),
        ("message", &invitee.message),
    ];
    let name = kind.name;
    let fields = &kind.capabilities.create.fields;
    let lost = members.map(|(member, value)| {
        (value.is_some() && !fields.iter().any(|field| field == member)).then_some(member)
    });
    lost.into_iter().flatten().map(move |member| {
        let detail = format!("{name} has no place for `{member}`: it is stored, and not sent");
        Fault::new(format!("/{member}"), "not-sent-on", detail)
    })
}

/// The warnings about one invite, with pointers from it on.
pub(crate) fn of_invite(kind: Option<&Arc<ProviderKind>>, invitee: &Invitee) -> Vec<FaultView> {
    let found = kind.into_iter().flat_map(|kind| warnings(kind, invitee));
    list_faults(found.map(|fault| fault.under("#")).collect())
}

/// The warnings about what a request would become.
pub(crate) fn of_new(kinds: &[Arc<ProviderKind>], items: &[NewItem]) -> Vec<FaultView> {
    let bound = items.iter().filter_map(|item| match &item.placement {
        Placement::Bound { kind, .. } => Some((item.index, kind.as_str(), &item.invitee)),
        Placement::Refused { .. } => None,
    });
    of_request(kinds, bound)
}

/// The warnings about what a request became.
pub(crate) fn of_stored(kinds: &[Arc<ProviderKind>], invites: &[InviteRecord]) -> Vec<FaultView> {
    let bound = invites
        .iter()
        .filter_map(|invite| Some((invite.index, invite.kind.as_deref()?, &invite.facts.invitee)));
    of_request(kinds, bound)
}

fn of_request<'a>(
    kinds: &[Arc<ProviderKind>],
    bound: impl Iterator<Item = (usize, &'a str, &'a Invitee)>,
) -> Vec<FaultView> {
    let mut found = Faults::default();
    for (index, name, invitee) in bound {
        if found.is_full() {
            break;
        }
        let Some(kind) = kinds.iter().find(|kind| kind.name == name) else { continue };
        let at = format!("#/invites/{index}");
        for warning in warnings(kind, invitee).map(|fault| fault.under(&at)) {
            // The item may go to several providers of one kind.
            if !found.contains(&warning) {
                found.push(warning);
            }
        }
    }
    list_faults(found.into_vec())
}
