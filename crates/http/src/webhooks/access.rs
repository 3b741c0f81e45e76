//! Which webhooks a caller may manage, and changing one.

use invite_core::WebhookId;
use invite_store::Webhook;
use jiff::Timestamp;

use crate::{
    Gateway,
    auth::{Caller, Scope},
    problem::Problem,
};

/// Whether the caller may do something about a webhook: it can get no more than the caller may see.
pub(super) fn may_manage(caller: &Caller, webhook: &Webhook) -> bool {
    let is_within = |names: &[String]| {
        !webhook.providers.is_empty() && webhook.providers.iter().all(|name| names.contains(name))
    };
    caller.sees(&webhook.tenant) && caller.providers().is_none_or(is_within)
}

/// Whoever says where events go gets to know what they tell.
pub(super) fn require(caller: &Caller) -> Result<(), Problem> {
    caller.require(Scope::WebhooksWrite)?;
    caller.require(Scope::InvitesRead)
}

pub(super) async fn find(gateway: &Gateway, caller: &Caller, id: &str) -> Result<Webhook, Problem> {
    require(caller)?;
    let id = id.parse().map_err(|_| Problem::not_found("webhook"))?;
    find_manageable(gateway, caller, id).await
}

/// The webhook as it is once the body was read, which may have come slowly.
pub(super) async fn find_again(
    gateway: &Gateway,
    caller: &Caller,
    webhook: &Webhook,
) -> Result<Webhook, Problem> {
    find_manageable(gateway, caller, webhook.id).await
}

async fn find_manageable(
    gateway: &Gateway,
    caller: &Caller,
    id: WebhookId,
) -> Result<Webhook, Problem> {
    let webhook = gateway.store().webhook(id).await?;
    let webhook = webhook.filter(|webhook| may_manage(caller, webhook));
    webhook.ok_or_else(|| Problem::not_found("webhook"))
}

/// Changes a webhook, if the caller may manage it still as it is then: somebody else may have changed it since it was found.
pub(super) async fn apply(
    gateway: &Gateway,
    caller: &Caller,
    id: WebhookId,
    action: &'static str,
    change: impl Fn(&mut Webhook, Timestamp) + Send + Sync + 'static,
) -> Result<Webhook, Problem> {
    let (store, actor, caller) = (gateway.store().clone(), caller.actor(), caller.clone());
    let change = move |webhook: &mut Webhook, now: Timestamp| {
        let may = may_manage(&caller, webhook);
        if may {
            change(webhook, now);
        }
        may
    };
    let changing =
        crate::run_to_completion(
            async move { store.change_webhook(id, &actor, action, change).await },
        );
    changing.await??.ok_or_else(|| Problem::not_found("webhook"))
}
