//! What a caller says of an action.

use std::{collections::BTreeMap, sync::LazyLock};

use invite_core::{
    ActionKind, BatchId, Fault, Faults, ReasonCode, Status, pattern, schema::Schema,
};
use invite_store::ActionFilter;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    auth::{Caller, Scope},
    body::read_members,
    moment::Moment,
    problem::{Problem, codes},
    submission::bound_labels,
};

/// What to do to all invites that a filter matches.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAction {
    /// What is done to each.
    #[schemars(with = "ActionKind")]
    action: Option<ActionKind>,
    /// What a person found of the unknown ones; with `settle` only, which wants it.
    status: Option<FoundStatus>,
    /// To which; all conditions must hold. One for a single person is not taken: there is a call for each invite.
    #[schemars(with = "NewActionFilter")]
    filter: Option<NewActionFilter>,
    /// Only count.
    dry_run: Option<bool>,
    /// How many invites the filter matches, as a dry run says; wanted unless it is one. It is done to no more than that.
    confirm: Option<u64>,
    /// The moment of the count, as a dry run says; with `settle` only, which wants it. Left alone are invites that came into doubt later,
    /// or again, as nobody has looked at what became of those calls.
    #[schemars(with = "Option<Timestamp>")]
    as_of: Option<Moment>,
}

/// What a person found of an unknown invite.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FoundStatus {
    /// It exists at the provider.
    Pending,
    /// It does not.
    Failed,
}

/// Which invites an action is for, as in `GET /v1/invites`; with none, all to which it can be done.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewActionFilter {
    /// Those of one request.
    batch_id: Option<BatchId>,
    /// Those at one configured provider.
    #[schemars(length(max = 255), transform = pattern::handle)]
    provider: Option<String>,
    /// Those in one of these statuses, of those that the action can be done to: `withdraw` `queued`, `pending` and `sent`;
    /// `refresh` `unknown`, `awaiting_approval`, `pending` and `sent`; `settle` `unknown`; `retry` `failed`.
    #[schemars(length(min = 1, max = 12))]
    status: Option<Vec<Status>>,
    /// Those whose `error` has one of these codes.
    #[schemars(length(min = 1, max = 15))]
    error_code: Option<Vec<ReasonCode>>,
    /// Those with all of these labels.
    #[schemars(transform = bound_labels)]
    label: Option<BTreeMap<String, String>>,
    /// Accepted after this moment.
    #[schemars(with = "Option<Timestamp>")]
    created_after: Option<Moment>,
    /// Accepted before this moment.
    #[schemars(with = "Option<Timestamp>")]
    created_before: Option<Moment>,
    /// Changed after this moment.
    #[schemars(with = "Option<Timestamp>")]
    updated_after: Option<Moment>,
    /// Those of one tenant; needs the scope invites:all-tenants.
    #[schemars(length(max = 255), transform = pattern::handle)]
    tenant: Option<String>,
}

static NEW_ACTION: LazyLock<Schema> = LazyLock::new(Schema::of::<NewAction>);

/// What is wanted.
pub(super) struct Wanted {
    pub kind: ActionKind,
    pub settled_as: Option<Status>,
    pub filter: ActionFilter,
    /// None: it is only counted.
    pub confirm: Option<u64>,
}

pub(super) fn read_new(
    body: Value,
    caller: &Caller,
    now: Timestamp,
    mut faults: Faults,
) -> Result<Wanted, Problem> {
    let new: NewAction = read_members(body, &NEW_ACTION, &mut faults);
    let (Some(kind), Some(given)) = (new.action, new.filter) else {
        return Err(Problem::invalid(faults.into_vec()));
    };
    if (kind == ActionKind::Settle) != new.status.is_some() {
        let detail = "`settle` wants `pending` (found at the provider) or `failed` (found absent); no other action \
                      takes it";
        faults.push(Fault::new("#/status", "invalid", detail));
    }
    let is_dry_run = new.dry_run.unwrap_or_default();
    if !is_dry_run && new.confirm.is_none() {
        let detail = "give the number that `dry_run` names, so that no more is done than is meant";
        faults.push(Fault::new("#/confirm", "required", detail));
    }
    let as_of = read_as_of(kind, new.as_of, is_dry_run, now, &mut faults);
    let filter = read_filter(kind, given, caller, &mut faults)?;
    let filter = ActionFilter { in_doubt_before: as_of, ..filter };
    if !faults.is_empty() {
        return Err(Problem::invalid(faults.into_vec()));
    }
    let settled_as = new.status.map(|status| match status {
        FoundStatus::Pending => Status::Pending,
        FoundStatus::Failed => Status::Failed,
    });
    let confirm = new.confirm.filter(|_| !is_dry_run);
    Ok(Wanted { kind, settled_as, filter, confirm })
}

/// The moment before which the calls of invites that are settled have to have come into doubt. A dry run sets it.
fn read_as_of(
    kind: ActionKind,
    given: Option<Moment>,
    is_dry_run: bool,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Timestamp> {
    let mut refuse = |code, detail| {
        faults.push(Fault::new("#/as_of", code, detail));
        None
    };
    match (kind, given) {
        (ActionKind::Settle, None) if is_dry_run => Some(now),
        (ActionKind::Settle, None) => refuse(
            "required",
            "give the moment that `dry_run` names, so that no invite is settled that came into doubt later",
        ),
        (ActionKind::Settle, Some(Moment(Some(at)))) if at <= now => Some(at),
        (ActionKind::Settle, Some(Moment(Some(_)))) => {
            refuse("invalid", "this is yet to come: give the moment that `dry_run` names")
        }
        (ActionKind::Settle, Some(Moment(None))) => {
            refuse("invalid", "expected a time such as 2026-01-31T12:00:00Z")
        }
        (_, Some(_)) => refuse("invalid", "only `settle` takes it"),
        (_, None) => None,
    }
}

/// What the key may not see is filtered out, and asking for it by name is refused.
fn read_filter(
    kind: ActionKind,
    given: NewActionFilter,
    caller: &Caller,
    faults: &mut Faults,
) -> Result<ActionFilter, Problem> {
    if given.tenant.is_some() {
        caller.require(Scope::InvitesAllTenants)?;
    }
    if caller.providers().is_some_and(<[String]>::is_empty) {
        let detail = "this key may use no provider";
        return Err(Problem::new(&codes::PROVIDER_NOT_ALLOWED, detail));
    }
    if let Some(provider) = &given.provider {
        caller.require_provider(provider)?;
    }
    let statuses = given.status.unwrap_or_else(|| kind.statuses().to_vec());
    for (place, status) in statuses.iter().enumerate() {
        if !kind.statuses().contains(status) {
            let detail = format!("`{kind}` is not for invites that are {status}");
            faults.push(Fault::new(format!("#/filter/status/{place}"), "not-allowed", detail));
        }
    }
    let mut moment = |name: &str, given: Option<Moment>| {
        let at = given.and_then(|Moment(at)| at);
        if given.is_some() && at.is_none() {
            let detail = "expected a time such as 2026-01-31T12:00:00Z";
            faults.push(Fault::new(format!("#/filter/{name}"), "invalid", detail));
        }
        at
    };
    let own = || Some(caller.tenant().to_owned());
    Ok(ActionFilter {
        tenant: if caller.sees_all_tenants() { given.tenant } else { own() },
        batch_id: given.batch_id,
        providers: match given.provider {
            Some(provider) => vec![provider],
            None => caller.providers().unwrap_or_default().to_vec(),
        },
        statuses,
        error_codes: given.error_code.unwrap_or_default(),
        labels: given.label.unwrap_or_default().into_iter().collect(),
        created_after: moment("created_after", given.created_after),
        created_before: moment("created_before", given.created_before),
        updated_after: moment("updated_after", given.updated_after),
        in_doubt_before: None,
    })
}
