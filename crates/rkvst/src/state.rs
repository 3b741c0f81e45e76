//! An invite as the gateway sees it: its state, the tenancy that it is in and that alone may be asked
//! about it, and whose it is. Why one is missing is not told here.

use invite_core::{
    Cause, Destination, Doubt, Invitee, Observed, Outcome, ProviderError, Remote, Status,
    StatusSource, adapter::Operation,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::wire::{Invite, TENANCY};

/// The tenancy that a destination is, if that is known.
pub fn tenancy_at(destination: &Destination) -> Option<&str> {
    (!destination.is_provisional()).then_some(destination.scope.as_str())
}

/// The tenancy that an invite is in: that of its destination, or the one that the token which last
/// showed it said.
pub fn tenancy_of(remote: &Remote) -> Option<&str> {
    tenancy_at(&remote.destination).or_else(|| remote.data.get(TENANCY)?.as_str())
}

/// The tenancy whose tokens alone will do for a request.
pub struct Only<'a> {
    account: &'a str,
    /// What a token of another one means: no request is made with it.
    otherwise: (Outcome, Cause),
}

impl<'a> Only<'a> {
    /// For an invite to the tenancy `account`, if that is known: it can still be sent once the provider
    /// has a token of that tenancy.
    pub fn to_create(account: Option<&'a str>) -> Option<Self> {
        let otherwise = (Outcome::NotSent, Cause::Configuration);
        account.map(|account| Self { account, otherwise })
    }

    /// For a request about what is in the tenancy `account`, if that is known.
    pub fn there(account: Option<&'a str>) -> Option<Self> {
        let otherwise = (Outcome::Rejected, Cause::NotFound);
        account.map(|account| Self { account, otherwise })
    }

    /// Lets a token that shows this tenancy be used.
    ///
    /// # Errors
    /// It shows another one, or none.
    pub fn require(&self, operation: &Operation, shown: Option<&str>) -> Result<(), ProviderError> {
        let wanted = self.account;
        let whose = match shown {
            Some(shown) if shown == wanted => return Ok(()),
            Some(shown) => format!("now belongs to tenancy {shown}"),
            None => "does not show its tenancy any more".into(),
        };
        let why = format!(
            "it belongs to tenancy {wanted}, but the credential {whose}, so nothing was sent; give \
             the provider a credential of {wanted} again"
        );
        let (outcome, cause) = self.otherwise;
        Err(operation.failed(outcome, &why).caused_by(cause))
    }
}

/// An invite that is there, in the tenancy `account`: pending, or lapsed by the clock. RKVST has no word
/// for either.
pub fn observe(invite: &Invite, account: Option<&str>, now: Timestamp) -> Observed {
    let lapsed = invite.expiry_time.is_some_and(|at| at <= now);
    let (status, source) = match lapsed {
        true => (Status::Expired, StatusSource::Inferred),
        false => (Status::Pending, StatusSource::Provider),
    };
    let identity = std::iter::once(("identity", invite.identity.as_str()));
    let data = identity.chain(account.map(|account| (TENANCY, account)));
    Observed {
        source,
        expires_at: invite.expiry_time,
        data: data.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        invitee: invite.email.clone().map(|email| Invitee {
            email,
            message: invite.message.clone(),
            ..Invitee::default()
        }),
        ..Observed::new(Some(invite.identity.clone()), status)
    }
}

/// The message as it was sent, which is what the frozen body says.
pub fn sent_message(doubt: &Doubt) -> Option<String> {
    let body: Value = serde_json::from_str(&doubt.call.body).ok()?;
    Some(body.get("message")?.as_str()?.trim().to_owned())
}

/// Whether an invite's message holds the reference that was sent with it.
pub fn carries(invite: &Invite, reference: &str) -> bool {
    invite.message.as_deref().is_some_and(|message| message.contains(reference))
}
