//! A dry run: which invites would be duplicates, and the calls that would be made for the others.

use std::collections::HashMap;

use invite_core::{Fault, InviteId};
use invite_store::{NewItem, OnDuplicate, Placement};

use crate::{
    Gateway,
    problem::{Problem, list_faults},
    views::{DuplicateView, Plan},
    warnings,
};

/// What would become of these items if they were accepted now and nothing else were queued. Whether their
/// providers have room for them is not checked.
pub(crate) async fn plan(
    gateway: &Gateway,
    tenant: &str,
    on_duplicate: OnDuplicate,
    items: Vec<NewItem>,
    errors: Vec<Fault>,
) -> Result<Plan, Problem> {
    let found = match on_duplicate {
        OnDuplicate::Send => HashMap::new(),
        _ => gateway.store().new_duplicates(tenant, &items).await?,
    };
    let places: HashMap<InviteId, usize> = items.iter().map(|item| (item.id, item.index)).collect();
    let (mut duplicates, mut sent) = (Vec::new(), Vec::new());
    for item in items {
        match (&item.placement, found.get(&item.id)) {
            (Placement::Refused { .. }, _) => {}
            (Placement::Bound { .. }, None) => sent.push(item),
            (Placement::Bound { provider, .. }, Some(existing)) => {
                let earlier_index = places.get(existing).copied();
                let invite_id = Some(*existing).filter(|_| earlier_index.is_none());
                let (index, provider) = (item.index, provider.clone());
                duplicates.push(DuplicateView { index, provider, invite_id, earlier_index });
            }
        }
    }
    let warnings = warnings::of_new(&gateway.kinds, &sent);
    let plan = gateway.engine.plan(&sent).await;
    Ok(Plan { plan, duplicates, warnings, errors: list_faults(errors) })
}
