//! An invite as it is stored: what never changes about it, and the columns of both that and its state.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{Arc, LazyLock},
};

use invite_core::{
    Address, BatchId, Destination, InviteId, Invitee, RouteTaken, Status, StatusSource,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    Error,
    connection::Connection,
    debug::debug_only,
    phase::{phase_values, read_phase},
    state::InviteState,
    statement::{Fields, Statement, chunks},
    values::Value,
};

/// One invite. All times are whole milliseconds. Its facts are read as its own fields.
#[derive(Clone, PartialEq)]
pub struct InviteRecord {
    /// Shared by all copies of the record, of which there are many while it is sent.
    pub facts: Arc<InviteFacts>,
    /// How often it was written since it was accepted: as long as it is the same, so is all the rest.
    pub version: u64,
    #[expect(missing_docs, reason = "its name says all")]
    pub state: InviteState,
}

/// What never changes about an invite, but for what is erased.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, PartialEq)]
pub struct InviteFacts {
    pub id: InviteId,
    /// The request that it came with.
    pub batch_id: BatchId,
    /// Its item's place in that request.
    pub index: usize,
    pub tenant: String,
    /// The configured provider; none for an item that was refused before it was bound to one.
    pub provider: Option<String>,
    pub kind: Option<String>,
    /// The account and the container there that it goes to.
    pub destination: Option<Destination>,
    /// Invites of equal destination and call key may share a call.
    pub call_key: Option<String>,
    /// What the adapter recorded when the invite was bound to it.
    pub params: Json,
    /// None where its request named the provider itself.
    pub route: Option<RouteTaken>,
    /// The revision of the provider document that it was bound under.
    pub config_revision: i64,
    /// The canonical address; none for an item that was refused for its address.
    pub address: Option<Address>,
    pub invitee: Invitee,
    /// The caller's own id for it.
    pub external_id: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
    /// All that may tell of its person was erased, and nothing about it changes any more.
    pub is_erased: bool,
}

impl Deref for InviteRecord {
    type Target = InviteFacts;

    fn deref(&self) -> &InviteFacts {
        &self.facts
    }
}

impl InviteRecord {
    /// The status at `now`, and how it is known: an invite that is open at the provider past its `expires_at` has expired.
    pub fn status_at(&self, now: Timestamp) -> (Status, StatusSource) {
        let lapsed = self.state.expires_at.is_some_and(|at| at <= now);
        match self.state.status() {
            open if lapsed && open.is_open_at_provider() => {
                (Status::Expired, StatusSource::Inferred)
            }
            status => (status, self.state.source),
        }
    }
}

debug_only!(InviteRecord: id, batch_id, index, provider, state);

/// Invites that have not ended, as in the index `invites_live`. One in a status that this version does not know counts as
/// one.
pub(crate) const LIVE: &str =
    "status NOT IN ('accepted', 'declined', 'expired', 'revoked', 'failed')";
/// Invites that have ended.
pub(crate) const FINAL: &str = "status IN ('accepted', 'declined', 'expired', 'revoked', 'failed')";
/// Invites whose call is still to be made, under way or in doubt: a caller who waits, waits for these.
pub(crate) const UNSETTLED: &str = "status IN ('queued', 'sending', 'unknown')";
/// Invites that are open at their provider: those that may still be accepted, or lapse at `expires_at`.
pub(crate) const OPEN: &str = "status IN ('awaiting_approval', 'pending', 'sent')";
/// Invites that expired by the clock and are still to be asked about, as in the index `invites_lapsed`.
pub(crate) const UNCONFIRMED: &str = "unconfirmed = 1 AND status = 'expired'";
/// Invites that an attempt holds, as in the unique index `invites_in_doubt`.
pub(crate) const HAS_HOLDER: &str = "status IN ('sending', 'unknown')";
/// Those, and invites in a status that this version does not know.
pub(crate) const MAY_HAVE_HOLDER: &str = "status NOT IN ('queued', 'awaiting_approval', 'pending', \
     'sent', 'accepted', 'declined', 'expired', 'revoked', 'failed')";

impl<'a> Statement<'a> {
    /// The condition that an invite is [`LIVE`] at this time: its `expires_at` is not over, if it is open.
    pub(crate) fn live_at(self, now: Timestamp) -> Self {
        let open = self.text(LIVE).text(" AND (expires_at IS NULL OR expires_at > ").bind(now);
        open.text(" OR ").text(UNSETTLED).text(")")
    }
}

/// The columns of an invite, in the order that [`read_invite`] reads and [`invite_values`] writes.
pub(crate) const COLUMNS: &str = "id, version, batch_id, item_index, tenant, provider, kind, destination, \
     call_key, params, route, config_revision, address, invitee, external_id, labels, created_at, \
     erased, status, next_attempt_at, lease_until, holder, ended_at, absent_since, lookups, \
     status_source, provider_ref, provider_status, provider_data, second_effects, shown_fingerprint, \
     expires_at, checked_at, sent_at, attempt_count, group_id, error, duplicate_effect, revoke_sent, \
     queued_at, found_absent, unconfirmed, updated_at";

/// Invites that are set aside, as in the index `invites_set_aside`.
pub(crate) const SET_ASIDE: &str = "(unreadable IS NOT NULL OR status NOT IN ('queued', 'sending', \
     'unknown', 'awaiting_approval', 'pending', 'sent', 'accepted', 'declined', 'expired', 'revoked', \
     'failed'))";

/// The same as a subquery, so that a planner begins with these few rows.
pub(crate) static AMONG_SET_ASIDE: LazyLock<String> =
    LazyLock::new(|| format!("id IN (SELECT id FROM invites WHERE {SET_ASIDE})"));

/// Sets the state from rows of `id` and [`state_values`].
pub(crate) const SET_STATE: &str = "UPDATE invites SET version = invites.version + 1, status = v.column2, \
     next_attempt_at = v.column3, lease_until = v.column4, holder = v.column5, ended_at = v.column6, \
     absent_since = v.column7, lookups = v.column8, status_source = v.column9, \
     provider_ref = v.column10, provider_status = v.column11, provider_data = v.column12, \
     second_effects = v.column13, shown_fingerprint = v.column14, expires_at = v.column15, \
     checked_at = v.column16, sent_at = v.column17, attempt_count = v.column18, \
     group_id = v.column19, error = v.column20, duplicate_effect = v.column21, \
     revoke_sent = v.column22, queued_at = v.column23, found_absent = v.column24, \
     unconfirmed = v.column25, updated_at = v.column26, final_since = CASE \
     WHEN v.column2 IN ('accepted', 'declined', 'expired', 'revoked', 'failed') \
     THEN CASE WHEN final_since < v.column26 THEN final_since ELSE v.column26 END \
     WHEN v.column2 IN ('awaiting_approval', 'pending', 'sent') THEN v.column15 END";

/// The level of `erased` from which on the person is erased.
pub(crate) const PERSON_GONE: i64 = 2;

pub(crate) fn read_invite(fields: &mut Fields<'_>) -> Result<InviteRecord, Error> {
    let id = fields.parsed()?;
    let version = fields.count()?;
    let facts = InviteFacts {
        id,
        batch_id: fields.parsed()?,
        index: fields.count()?,
        tenant: fields.string()?,
        provider: fields.optional_string()?,
        kind: fields.optional_string()?,
        destination: fields.optional_parsed()?,
        call_key: fields.optional_string()?,
        params: fields.optional_json()?.unwrap_or_default(),
        route: fields.optional_json()?,
        config_revision: fields.number()?,
        address: Some(fields.string()?).filter(|text| !text.is_empty()).map(Address::stored),
        invitee: fields.json()?,
        external_id: fields.optional_string()?,
        labels: fields.json()?,
        created_at: fields.time()?,
        is_erased: fields.number()? >= PERSON_GONE,
    };
    Ok(InviteRecord {
        facts: Arc::new(facts),
        version,
        state: InviteState {
            phase: read_phase(fields)?,
            source: fields.parsed()?,
            provider_ref: fields.optional_string()?,
            provider_status: fields.optional_string()?,
            provider_data: fields.json()?,
            second_effects: fields.optional_json()?.unwrap_or_default(),
            shown_fingerprint: fields.optional_string()?,
            expires_at: fields.optional_time()?,
            checked_at: fields.optional_time()?,
            sent_at: fields.optional_time()?,
            attempt_count: fields.count()?,
            group_id: fields.optional_string()?,
            error: fields.optional_json()?,
            duplicate_effect: fields.flag()?,
            revoke_sent: fields.flag()?,
            queued_at: fields.time()?,
            found_absent: fields.count()?,
            is_unconfirmed: fields.flag()?,
            updated_at: fields.time()?,
        },
    })
}

pub(crate) fn invite_values(invite: &InviteRecord) -> impl Iterator<Item = Value<'_>> {
    let fixed: [Value<'_>; 18] = [
        invite.id.to_string().into(),
        Value::Number(i64::try_from(invite.version).ok()),
        invite.batch_id.to_string().into(),
        place(invite.index),
        (&invite.tenant).into(),
        invite.provider.as_deref().into(),
        invite.kind.as_deref().into(),
        invite.destination.as_ref().map(Destination::to_string).into(),
        invite.call_key.as_deref().into(),
        Some(&invite.params).filter(|p| !p.is_null()).map(Json::to_string).into(),
        invite.route.as_ref().map_or(Value::Text(None), json),
        invite.config_revision.into(),
        invite.address.as_ref().map_or("", Address::as_str).into(),
        json(&invite.invitee),
        invite.external_id.as_deref().into(),
        json(&invite.labels),
        invite.created_at.into(),
        0.into(),
    ];
    fixed.into_iter().chain(state_values(&invite.state))
}

/// The state's values, in the order of [`SET_STATE`].
pub(crate) fn state_values(state: &InviteState) -> impl Iterator<Item = Value<'_>> {
    let second_effects = Some(&state.second_effects).filter(|ids| !ids.is_empty());
    let others: [Value<'_>; 18] = [
        state.source.as_str().into(),
        state.provider_ref.as_deref().into(),
        state.provider_status.as_deref().into(),
        json(&state.provider_data),
        second_effects.map_or(Value::Text(None), json),
        state.shown_fingerprint.as_deref().into(),
        state.expires_at.into(),
        state.checked_at.into(),
        state.sent_at.into(),
        i64::from(state.attempt_count).into(),
        state.group_id.as_deref().into(),
        state.error.as_ref().map_or(Value::Text(None), json),
        state.duplicate_effect.into(),
        state.revoke_sent.into(),
        state.queued_at.into(),
        i64::from(state.found_absent).into(),
        state.is_unconfirmed.into(),
        state.updated_at.into(),
    ];
    phase_values(&state.phase).into_iter().chain(others)
}

pub(crate) fn place(index: usize) -> Value<'static> {
    Value::Number(i64::try_from(index).ok())
}

pub(crate) fn json(value: &impl Serialize) -> Value<'static> {
    serde_json::to_string(value).expect("texts and maps of texts are always JSON").into()
}

/// `SELECT … FROM invites`, to be continued.
pub(crate) fn select_invites() -> Statement<'static> {
    Statement::new("SELECT ").text(COLUMNS).text(", unreadable FROM invites")
}

/// These invites in the order asked for, without those that do not exist or cannot be read. `lock` is put at the end of the
/// SELECT.
pub(crate) async fn read_invites(
    connection: &mut Connection,
    ids: &[InviteId],
    lock: &str,
) -> Result<Vec<InviteRecord>, Error> {
    // Sorted, so that two replicas that lock rows do not wait for each other.
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let mut found = HashMap::with_capacity(ids.len());
    for chunk in chunks(&sorted) {
        let invites = select_invites()
            .text(" WHERE id")
            .one_of(chunk.iter().map(|id| Value::from(id.to_string())))
            .text(" ORDER BY id")
            .text(lock)
            .all(connection, |fields| Ok(read_invite(fields).ok()))
            .await?;
        found.extend(invites.into_iter().flatten().map(|invite| (invite.id, invite)));
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(test: &str, wanted: impl Fn(Status) -> bool) -> String {
        let words: Vec<String> =
            Status::ALL.iter().filter(|s| wanted(**s)).map(|s| format!("'{s}'")).collect();
        format!("status {test} ({})", words.join(", "))
    }

    #[test]
    fn the_statuses_written_in_sql_are_those_of_the_domain() {
        assert_eq!(LIVE, sql("NOT IN", Status::is_final));
        assert_eq!(FINAL, sql("IN", Status::is_final));
        assert!(SET_STATE.contains(&format!("WHEN v.column2 IN {}", &FINAL["status IN ".len()..])));
        assert!(SET_STATE.contains(&format!("WHEN v.column2 IN {}", &OPEN["status IN ".len()..])));
        assert_eq!(UNSETTLED, sql("IN", |s| !s.is_settled()));
        assert_eq!(OPEN, sql("IN", Status::is_open_at_provider));
        let in_doubt = |s| matches!(s, Status::Sending | Status::Unknown);
        assert_eq!(HAS_HOLDER, sql("IN", in_doubt));
        assert_eq!(MAY_HAVE_HOLDER, sql("NOT IN", |s| !in_doubt(s)));
        assert_eq!(SET_ASIDE, format!("(unreadable IS NOT NULL OR {})", sql("NOT IN", |_| true)));
    }
}
