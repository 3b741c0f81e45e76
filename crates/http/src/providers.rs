//! The configured providers and their kinds: what they can do and how they are doing.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use invite_config::{Configuration, Provider};
use invite_core::{Address, ListQuery, Observed, Outcome};
use invite_delivery::{LaneState, ProbeResult, ProviderStatus};
use invite_store::{LiveCounts, Replica};

use crate::{
    Gateway,
    auth::{Caller, Scope},
    openapi,
    problem::Problem,
    query::{Parameters, cursor, fitting, refuse_parameters},
    reads,
    segment::Segment,
    views::{
        configuration::redact,
        providers::{
            KindList, KindView, ProviderList, ProviderView, RemoteInviteList, RemoteInviteView,
        },
        shown::without_codes,
    },
};

/// The replicas. Why one does not serve the newest document is shown only to keys of all providers, as it
/// may be about providers that others may not use.
async fn find_replicas(gateway: &Gateway, caller: &Caller) -> Result<Vec<Replica>, Problem> {
    let mut replicas = gateway.store().replicas().await?;
    for replica in replicas.iter_mut().filter(|_| caller.providers().is_some()) {
        replica.refusal = None;
    }
    Ok(replicas)
}

/// `None` if the provider is gone, as the document was swapped since the request came.
async fn view(
    gateway: &Gateway,
    caller: &Caller,
    configuration: &Configuration,
    provider: &Provider,
    replicas: &[Replica],
    counts: &LiveCounts,
) -> Result<Option<ProviderView>, Problem> {
    let status = gateway.engine.provider_status(&provider.name, counts).await?;
    let status =
        status.map(
            |status| {
                if caller.sees_all_tenants() { status } else { without_provider_words(status) }
            },
        );
    Ok(status.map(|status| ProviderView::new(configuration, provider, status, replicas)))
}

/// The status with what went wrong in the gateway's own words: those of the provider may be about other
/// tenants' invites.
fn without_provider_words(mut status: ProviderStatus) -> ProviderStatus {
    let in_general = match status.state {
        LaneState::Paused => Some("no calls are made for now"),
        LaneState::Misconfigured => {
            Some("the provider refused the gateway's credential, or how it is configured")
        }
        LaneState::Slowed => Some("fewer calls than usual are made for a while"),
        LaneState::Ready | LaneState::Disabled => None,
    };
    status.reason = in_general.map(str::to_owned).or(status.reason);
    status.destinations.clear();
    if let Some(error) = &mut status.last_error {
        error.message = describe_failure(error.outcome).to_owned();
        error.code = None;
    }
    if let Some(probe) = &mut status.last_probe {
        probe.detail = describe_probe(probe.result).to_owned();
    }
    status
}

pub(crate) fn describe_failure(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotSent => "the provider could not be reached",
        Outcome::Throttled => "the provider asked to wait",
        Outcome::Rejected => "the provider refused a call",
        Outcome::Unknown => "the provider did not answer as it should",
    }
}

fn describe_probe(result: ProbeResult) -> &'static str {
    match result {
        ProbeResult::Accepted => "the provider accepted the gateway's credential",
        ProbeResult::Refused => "the provider refused the gateway's credential",
        ProbeResult::Unusable => {
            "the provider took the gateway's credential, and refused what it is to be used for"
        }
        ProbeResult::NotChecked => "the gateway's credential could not be checked",
    }
}

/// List the configured providers
///
/// To a tenant's key `state_reason`, `last_error` and `last_probe` say in general what is wrong; an
/// administrator's reads which call failed, and how.
#[utoipa::path(
    get, path = "/v1/providers", tag = "providers",
    responses(
        (status = 200, description = "Those that the key may use", body = ProviderList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_providers(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<ProviderList>, Problem> {
    caller.require(Scope::ProvidersRead)?;
    refuse_parameters(&uri)?;
    let configuration = gateway.live().current();
    let replicas = find_replicas(&gateway, &caller).await?;
    let counts = gateway.store().live_counts().await?;
    let mut providers = Vec::new();
    for provider in configuration.providers().filter(|provider| caller.may_use(&provider.name)) {
        providers
            .extend(view(&gateway, &caller, &configuration, provider, &replicas, &counts).await?);
    }
    let status = gateway.engine.document().status();
    let configuration = redact(status, &caller);
    Ok(Json(ProviderList { providers, configuration }))
}

/// The provider of this name, if the caller may use it.
pub(crate) fn find_provider(
    configuration: &Configuration,
    caller: &Caller,
    name: &str,
) -> Result<Arc<Provider>, Problem> {
    let provider = configuration.provider(name);
    let provider = provider.ok_or_else(|| Problem::not_found("provider"))?;
    caller.require_provider(name)?;
    Ok(provider.clone())
}

/// Read a configured provider
///
/// To a tenant's key `state_reason`, `last_error` and `last_probe` say in general what is wrong; an
/// administrator's reads which call failed, and how.
#[utoipa::path(
    get, path = "/v1/providers/{name}", tag = "providers",
    params(("name" = String, Path, description = "The provider's name", example = "treasury")),
    responses(
        (status = 200, description = "The provider", body = ProviderView),
        openapi::AnyCall, openapi::NotFound, openapi::Unprocessable,
    )
)]
pub(crate) async fn get_provider(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Json<ProviderView>, Problem> {
    caller.require(Scope::ProvidersRead)?;
    let configuration = gateway.live().current();
    let provider = find_provider(&configuration, &caller, &name)?;
    refuse_parameters(&uri)?;
    let replicas = find_replicas(&gateway, &caller).await?;
    let counts = gateway.store().live_counts().await?;
    let view = view(&gateway, &caller, &configuration, &provider, &replicas, &counts).await?;
    view.map(Json).ok_or_else(|| Problem::not_found("provider"))
}

/// List what a provider itself lists
///
/// Whoever made them; so it needs the scopes invites:read and invites:all-tenants.
#[utoipa::path(
    get, path = "/v1/providers/{name}/invites", tag = "providers",
    params(
        ("name" = String, Path, description = "The provider's name", example = "treasury"),
        ("email" = Option<String>, Query, description = "Only those to one address",
            format = "email"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]+$",
            description = "The `next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = RemoteInviteList),
        openapi::AnyCall, openapi::Stored, openapi::NotFound, openapi::Unprocessable,
        openapi::NotAnswered,
    )
)]
pub(crate) async fn list_provider_invites(
    State(gateway): State<Gateway>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Json<RemoteInviteList>, Problem> {
    caller.require(Scope::InvitesRead)?;
    caller.require(Scope::InvitesAllTenants)?;
    let kind = find_provider(&gateway.live().current(), &caller, &name)?.kind.clone();
    let mut parameters = Parameters::read(&uri, &["email", "cursor"]);
    let email = parameters.one("email");
    if email.as_ref().is_some_and(|email| email.parse::<Address>().is_err()) {
        parameters.fault("email", "invalid", "expected an email address");
    }
    // A cursor of one provider means nothing to another.
    let prefix = format!("{name}/");
    let after = parameters.cursor::<String>();
    let place = after.as_ref().and_then(|after| read_place(after.strip_prefix(&prefix)?));
    if after.is_some() && place.is_none() {
        parameters.fault("cursor", "invalid", "expected the `next_cursor` of an earlier answer");
    }
    let (shown, at) = place.unwrap_or_default();
    let query = ListQuery { email, cursor: at.clone(), scope: None };
    parameters.finish()?;
    reads::record(&gateway, &caller, "provider.read_invites", &name).await?;
    let page = gateway.engine.list_remote(&name, &query).await?;
    let view = |mut seen: Observed| {
        seen.data = without_codes(seen.data, Some(kind.name), &gateway, &caller);
        RemoteInviteView::new(seen)
    };
    let mut invites: Vec<_> = page.invites.into_iter().skip(shown).map(view).collect();
    let fit = fitting(&invites);
    let next = if fit < invites.len() {
        // The provider's page has more entries than ours may have: the next request asks for the same page again.
        Some((shown + fit, at.unwrap_or_default()))
    } else {
        page.next_cursor.map(|at| (0, at))
    };
    invites.truncate(fit);
    let next_cursor = next.map(|(shown, at)| cursor(format!("{prefix}{shown}:{at}")));
    Ok(Json(RemoteInviteList { invites, next_cursor }))
}

/// Reads a cursor: how many entries of a provider's page were shown, and the provider's own cursor of that page.
fn read_place(text: &str) -> Option<(usize, Option<String>)> {
    let (shown, at) = text.split_once(':')?;
    Some((shown.parse().ok()?, (!at.is_empty()).then(|| at.to_owned())))
}

/// List the kinds of providers
#[utoipa::path(
    get, path = "/v1/provider-kinds", tag = "providers",
    responses(
        (status = 200, description = "All kinds", body = KindList),
        openapi::AnyCall, openapi::Unprocessable,
    )
)]
pub(crate) async fn list_provider_kinds(
    State(gateway): State<Gateway>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<KindList>, Problem> {
    caller.require(Scope::ProvidersRead)?;
    refuse_parameters(&uri)?;
    let kinds = gateway.kinds.iter().map(|kind| KindView::new(kind));
    Ok(Json(KindList { kinds: kinds.collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_providers_list_is_that_of_its_page_and_one_in_it() {
        assert_eq!(read_place("0:second"), Some((0, Some("second".to_owned()))));
        assert_eq!(read_place("70:a:b"), Some((70, Some("a:b".to_owned()))));
        assert_eq!(read_place("70:"), Some((70, None)));
        for wrong in ["", "second", ":second", "-1:second", "x:second"] {
            assert_eq!(read_place(wrong), None, "{wrong}");
        }
    }
}
