//! What would be sent: the dry run.

use std::collections::HashMap;

use invite_core::{Destination, Recipient, http::CallContext};
use invite_store::{NewItem, Placement};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::shared::Engine;

/// One call that would be made. It holds no credential: those are headers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedCall {
    /// The configured provider.
    pub provider: String,
    /// Its kind.
    pub kind: String,
    /// The HTTP method.
    pub method: &'static str,
    /// The full address.
    pub url: String,
    /// The body, in the provider's own form.
    pub body: Value,
    /// The request's items that it carries.
    pub indices: Vec<usize>,
}

struct Group<'a> {
    provider: &'a str,
    destination: &'a Destination,
    members: Vec<(usize, Recipient)>,
}

impl Engine {
    /// The calls that these items would become if nothing else were queued.
    pub async fn plan(&self, items: &[NewItem]) -> Vec<PlannedCall> {
        let document = self.live().current();
        let mut groups: Vec<Group<'_>> = Vec::new();
        // By what a call's invites share, the call that still has room.
        let mut open: HashMap<(&str, &Destination, &str), usize> = HashMap::new();
        for item in items {
            let Placement::Bound { provider, destination, call_key, params, .. } = &item.placement
            else {
                continue;
            };
            let Some(address) = item.address.clone() else { continue };
            let recipient = Recipient {
                id: item.id,
                invitee: item.invitee.clone(),
                address,
                destination: destination.clone(),
                params: params.clone(),
            };
            let max = document.provider(provider).map_or(1, |p| p.limits.max_batch);
            let key = (provider.as_str(), destination, call_key.as_str());
            let group = open.get(&key).copied();
            let group = group.filter(|group| groups[*group].members.len() < max as usize);
            let group = group.unwrap_or_else(|| {
                groups.push(Group { provider, destination, members: Vec::new() });
                open.insert(key, groups.len() - 1);
                groups.len() - 1
            });
            groups[group].members.push((item.index, recipient));
        }
        let mut plan = Vec::with_capacity(groups.len());
        for group in groups {
            plan.extend(self.plan_call(&document, group).await);
            // Nothing here waits for anything, so others are served between two calls.
            tokio::task::yield_now().await;
        }
        plan
    }

    async fn plan_call(
        &self,
        document: &invite_config::Configuration,
        group: Group<'_>,
    ) -> Option<PlannedCall> {
        let provider = document.provider(group.provider)?;
        let (indices, recipients): (Vec<_>, Vec<_>) = group.members.into_iter().unzip();
        let context = CallContext::offline();
        let at = self.shared.clock.wall();
        let (url, body) = match provider.adapter.prepare(&context, &recipients, at).await {
            Ok(call) => {
                let body = serde_json::from_str(&call.body).unwrap_or(Value::String(call.body));
                (format!("{}{}", group.destination.base_url, call.path), body)
            }
            Err(error) => (group.destination.base_url.clone(), Value::String(error.to_string())),
        };
        Some(PlannedCall {
            provider: provider.name.clone(),
            kind: group.destination.kind.clone(),
            method: "POST",
            url,
            body,
            indices,
        })
    }
}
