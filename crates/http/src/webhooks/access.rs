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
    let id: WebhookId = id.parse().map_err(|_| Problem::not_found("webhook"))?;
    let webhook = gateway.store().webhook(id).await?;
    let webhook = webhook.filter(|webhook| may_manage(caller, webhook));
    webhook.ok_or_else(|| Problem::not_found("webhook"))
}

pub(super) async fn apply(
    gateway: &Gateway,
    caller: &Caller,
    id: WebhookId,
    action: &'static str,
    change: impl Fn(&mut Webhook, Timestamp) + Send + Sync + 'static,
) -> Result<Webhook, Problem> {
    let (store, actor) = (gateway.store().clone(), caller.actor());
    let changing =
        crate::run_to_completion(
            async move { store.change_webhook(id, &actor, action, change).await },
        );
    changing.await??.ok_or_else(|| Problem::not_found("webhook"))
}
