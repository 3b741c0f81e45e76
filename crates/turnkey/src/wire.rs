//! Turnkey's JSON in its own names, by the public API's swagger
//! (<https://docs.turnkey.com/api-reference/overview/intro>). Reading is tolerant: every member may be missing, `null` or
//! beside others. `activity` and `error` say what the words mean.

use invite_core::moment;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::config::AccessType;

pub const CREATE_INVITATIONS: &str = "/public/v1/submit/create_invitations";

pub const TYPE_CREATE: &str = "ACTIVITY_TYPE_CREATE_INVITATIONS";
pub const TYPE_ACCEPT: &str = "ACTIVITY_TYPE_ACCEPT_INVITATION";
pub const TYPE_ACCEPT_V2: &str = "ACTIVITY_TYPE_ACCEPT_INVITATION_V2";
pub const TYPE_DELETE: &str = "ACTIVITY_TYPE_DELETE_INVITATION";

/// The only status of an activity that took effect.
pub const STATUS_COMPLETED: &str = "ACTIVITY_STATUS_COMPLETED";
pub const STATUS_FAILED: &str = "ACTIVITY_STATUS_FAILED";
/// The status of an activity that its approvers refused as a whole.
pub const STATUS_REJECTED: &str = "ACTIVITY_STATUS_REJECTED";

/// The body of a submission. The order of members is part of the fingerprint.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission<'a, P> {
    pub r#type: &'a str,
    /// Milliseconds since 1970.
    pub timestamp_ms: String,
    pub organization_id: &'a str,
    pub parameters: P,
}

#[derive(Serialize)]
pub struct CreateInvitations<'a> {
    pub invitations: Vec<InvitationParams<'a>>,
}

/// One invitation to create. All members are required.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationParams<'a> {
    pub receiver_user_name: &'a str,
    pub receiver_user_email: &'a str,
    pub receiver_user_tags: &'a [String],
    pub access_type: AccessType,
    pub sender_user_id: &'a str,
    /// What the caller adds.
    #[serde(flatten)]
    pub extra: &'a Map<String, Value>,
}

/// The parameters of deleting an invitation, and what the result of accepting or deleting one says.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvitationId {
    pub invitation_id: String,
}

/// The body of `whoami` and `get_organization`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationQuery<'a> {
    pub organization_id: &'a str,
}

/// The body of `get_activity`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityQuery<'a> {
    pub organization_id: &'a str,
    pub activity_id: &'a str,
}

/// The body of `list_activities`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivitiesQuery<'a> {
    pub organization_id: &'a str,
    /// Empty for all statuses.
    pub filter_by_status: &'a [&'a str],
    pub filter_by_type: &'a [&'a str],
    pub pagination_options: Pagination<'a>,
}

/// A page of a list, by the id of an object before or after it.
#[derive(Serialize)]
pub struct Pagination<'a> {
    pub limit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<&'a str>,
}

/// The reply of `whoami`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Whoami {
    pub user_id: Option<String>,
    pub organization_id: Option<String>,
    pub organization_name: Option<String>,
}

/// The reply of a submission and of `get_activity`.
#[derive(Deserialize)]
pub struct ActivityReply {
    pub activity: Option<Activity>,
}

/// The reply of `list_activities`.
#[derive(Deserialize)]
pub struct ActivitiesReply {
    pub activities: Option<Vec<Activity>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    pub id: Option<String>,
    pub organization_id: Option<String>,
    pub status: Option<String>,
    pub intent: Option<Intent>,
    pub result: Option<ActivityResult>,
    /// The name that Turnkey gives to the submitted body.
    pub fingerprint: Option<String>,
    pub created_at: Time,
    pub failure: Option<RpcStatus>,
    /// Who approved it and who refused it, as far as its approval is awaited.
    #[serde(deserialize_with = "if_readable")]
    pub votes: Option<Vec<Vote>>,
    /// Whether the user of our key may approve it.
    #[serde(deserialize_with = "if_readable")]
    pub can_approve: Option<bool>,
    #[serde(deserialize_with = "if_readable")]
    pub can_reject: Option<bool>,
}

/// One user's vote on an activity. What else a vote holds is left out: it repeats the whole call and names the voter.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Vote {
    pub user_id: Option<String>,
    /// `VOTE_SELECTION_APPROVED` or `VOTE_SELECTION_REJECTED`.
    pub selection: Option<String>,
    pub created_at: Time,
}

/// Reads what only callers are shown; of another form than is known it is none, and costs nothing else of the reply.
fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

/// What an activity was asked to do.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Intent {
    create_invitations_intent: Option<CreateIntent>,
    accept_invitation_intent: Option<InvitationId>,
    accept_invitation_intent_v2: Option<InvitationId>,
    delete_invitation_intent: Option<InvitationId>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct CreateIntent {
    invitations: Option<Vec<IntendedInvitation>>,
}

/// An invitation as an activity's intent repeats it.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntendedInvitation {
    pub receiver_user_email: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActivityResult {
    create_invitations_result: Option<CreateResult>,
    accept_invitation_result: Option<InvitationId>,
    delete_invitation_result: Option<InvitationId>,
    /// A second activity, which the vendor's page shows in here and recorded replies do not.
    activity: Option<Box<Activity>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreateResult {
    invitation_ids: Option<Vec<String>>,
}

impl Activity {
    /// The activity with the members of a nested one in their place.
    pub fn flattened(mut self) -> Self {
        let Some(nested) = self.result.as_mut().and_then(|result| result.activity.take()) else {
            return self;
        };
        let nested = nested.flattened();
        Self {
            id: self.id.or(nested.id),
            organization_id: self.organization_id.or(nested.organization_id),
            status: self.status.or(nested.status),
            intent: self.intent.or(nested.intent),
            result: nested.result,
            fingerprint: self.fingerprint.or(nested.fingerprint),
            created_at: Time(self.created_at.0.or(nested.created_at.0)),
            failure: self.failure.or(nested.failure),
            votes: self.votes.or(nested.votes),
            can_approve: self.can_approve.or(nested.can_approve),
            can_reject: self.can_reject.or(nested.can_reject),
        }
    }

    /// The ids of the invitations that it created, in their order.
    pub fn invitation_ids(&self) -> Option<&[String]> {
        self.result.as_ref()?.create_invitations_result.as_ref()?.invitation_ids.as_deref()
    }

    /// The invitations that it was to create.
    pub fn intended(&self) -> Option<&[IntendedInvitation]> {
        self.intent.as_ref()?.create_invitations_intent.as_ref()?.invitations.as_deref()
    }

    /// The invitation that it accepted.
    pub fn accepted(&self) -> Option<&str> {
        let result = self.result.as_ref().and_then(|r| r.accept_invitation_result.as_ref());
        let intent = self.intent.as_ref().and_then(|i| {
            i.accept_invitation_intent.as_ref().or(i.accept_invitation_intent_v2.as_ref())
        });
        result.or(intent).map(|named| named.invitation_id.as_str())
    }

    /// The invitation that it deleted.
    pub fn deleted(&self) -> Option<&str> {
        let result = self.result.as_ref().and_then(|r| r.delete_invitation_result.as_ref());
        let intent = self.intent.as_ref().and_then(|i| i.delete_invitation_intent.as_ref());
        result.or(intent).map(|named| named.invitation_id.as_str())
    }
}

/// The reply of `get_organization`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationReply {
    pub organization_data: Option<OrganizationData>,
}

/// An organization, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct OrganizationData {
    pub invitations: Option<Vec<Invitation>>,
}

/// An invitation as `get_organization` shows it.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Invitation {
    pub invitation_id: String,
    pub receiver_user_name: Option<String>,
    /// The address, which requests call `receiverUserEmail`.
    pub receiver_email: Option<String>,
    pub status: Option<String>,
    pub created_at: Time,
}

/// An error as gRPC's HTTP gateway writes it, with Turnkey's own code.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RpcStatus {
    /// The code by gRPC.
    pub code: Option<i64>,
    pub message: Option<String>,
    pub details: Option<Vec<Value>>,
    /// The code by Turnkey, which may be empty, or be in the details only.
    pub turnkey_error_code: Option<String>,
}

/// A moment: `{"seconds": "…", "nanos": "…"}` as recorded, or a text as on the vendor's page. None if it cannot be read, or
/// cannot be a moment of an invitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub struct Time(pub Option<Timestamp>);

impl From<Value> for Time {
    fn from(value: Value) -> Self {
        let number = |value: &Value| match value {
            Value::String(text) => text.parse::<i64>().ok(),
            other => other.as_i64(),
        };
        Self(match &value {
            Value::String(text) => moment::read(text),
            Value::Object(parts) => parts.get("seconds").and_then(number).and_then(|seconds| {
                let nanos = parts.get("nanos").and_then(number).unwrap_or(0);
                moment::plausible(Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()?)
            }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn activity(value: Value) -> Activity {
        serde_json::from_value::<Activity>(value).unwrap().flattened()
    }

    #[test]
    fn the_recorded_and_the_documented_shape_say_the_same() {
        let recorded = activity(json!({
            "id": "a", "organizationId": "o", "status": STATUS_COMPLETED, "type": TYPE_CREATE,
            "intent": {"createInvitationsIntent": {"invitations": [{"receiverUserEmail": "ada@example.org"}]}},
            "result": {"createInvitationsResult": {"invitationIds": ["i"]}},
            "fingerprint": "sha256:00", "createdAt": {"seconds": "1754952030", "nanos": "0"},
            "votes": [], "appProofs": [], "canReject": true, "failure": null, "brandNew": {"x": 1},
        }));
        let documented = activity(json!({
            "id": "a", "status": STATUS_COMPLETED, "type": TYPE_CREATE, "organizationId": "o",
            "timestampMs": "1746736509954",
            "result": {"activity": {
                "id": "a", "organizationId": "o", "status": "x", "type": TYPE_CREATE,
                "intent": {"createInvitationsIntent": {"invitations": [{"receiverUserEmail": "ada@example.org"}]}},
                "result": {"createInvitationsResult": {"invitationIds": ["i"]}},
                "votes": "<array>", "fingerprint": "sha256:00", "canApprove": "<boolean>",
                "createdAt": "2025-08-11T22:40:30Z", "updatedAt": "<string>",
            }},
        }));
        for a in [recorded, documented] {
            assert_eq!(a.invitation_ids(), Some(&["i".to_owned()][..]));
            assert_eq!(
                a.intended().unwrap()[0].receiver_user_email.as_deref(),
                Some("ada@example.org")
            );
            assert_eq!(a.fingerprint.as_deref(), Some("sha256:00"));
            assert_eq!(a.status.as_deref(), Some(STATUS_COMPLETED));
            assert_eq!(a.created_at.0, Some("2025-08-11T22:40:30Z".parse().unwrap()));
        }
    }

    #[test]
    fn anything_may_be_missing_or_null() {
        for value in
            [json!({}), json!({"result": null, "intent": null, "createdAt": null, "failure": null})]
        {
            let activity = activity(value);
            assert!(activity.invitation_ids().is_none() && activity.created_at.0.is_none());
        }
        assert!(
            activity(json!({"result": {"createInvitationsResult": null}}))
                .invitation_ids()
                .is_none()
        );
    }

    #[test]
    fn moments_are_read_in_every_form_and_nonsense_is_none() {
        let time = |value| serde_json::from_value::<Time>(value).unwrap().0.map(|t| t.as_second());
        let known = 1_754_952_030;
        assert_eq!(time(json!({"seconds": known.to_string(), "nanos": "0"})), Some(known));
        assert_eq!(time(json!({"seconds": known})), Some(known));
        assert_eq!(time(json!("2025-08-11T22:40:30Z")), Some(known));
        for nonsense in [
            json!("<string>"),
            json!(5),
            json!({}),
            json!({"seconds": "9e99"}),
            json!(["x"]),
            json!({"seconds": "0", "nanos": "0"}),
            json!({"seconds": "-62135596800"}),
            json!({"seconds": "253402300800"}),
            json!("0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(nonsense), None);
        }
    }

    #[test]
    fn who_was_answered_is_read_from_the_result_else_from_the_intent() {
        let id = json!({"invitationId": "i"});
        for (member, name) in [
            ("result", "acceptInvitationResult"),
            ("intent", "acceptInvitationIntent"),
            ("intent", "acceptInvitationIntentV2"),
        ] {
            assert_eq!(activity(json!({member: {name: id}})).accepted(), Some("i"));
        }
        for (member, name) in
            [("result", "deleteInvitationResult"), ("intent", "deleteInvitationIntent")]
        {
            assert_eq!(activity(json!({member: {name: id}})).deleted(), Some("i"));
        }
    }
}
