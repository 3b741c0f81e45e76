//! An invite in the gateway's terms: its state, the tenancy that it is in, which alone may be asked about it, and whether
//! it is the one that a call made. `reconcile` says why one is missing.

use invite_core::{
    Cause, Destination, Doubt, Invitee, Observed, Outcome, ProviderError, Remote, Status,
    StatusSource, adapter::Operation,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::wire::{Invite, TENANCY};

/// The tenancy of a destination, if it is known.
pub fn tenancy_at(destination: &Destination) -> Option<&str> {
    (!destination.is_provisional()).then_some(destination.scope.as_str())
}

/// The tenancy that an invite is in: that of its destination, or else that of the token which showed it last.
pub fn tenancy_of(remote: &Remote) -> Option<&str> {
    tenancy_at(&remote.destination).or_else(|| remote.data.get(TENANCY)?.as_str())
}

/// The tenancy that a request needs a token of.
pub struct Required<'a> {
    account: &'a str,
    /// Outcome and cause of the error for a token of another tenancy, with which no request is made.
    otherwise: (Outcome, Cause),
}

impl<'a> Required<'a> {
    /// For an invite to the tenancy `account`, if it is known. The invite can be sent once the provider has a token of
    /// that tenancy.
    pub fn to_create(account: Option<&'a str>) -> Option<Self> {
        let otherwise = (Outcome::NotSent, Cause::Configuration);
        account.map(|account| Self { account, otherwise })
    }

    /// For a question about what is in the tenancy `account`, if it is known.
    pub fn to_ask(account: Option<&'a str>) -> Option<Self> {
        let otherwise = (Outcome::Rejected, Cause::NotFound);
        account.map(|account| Self { account, otherwise })
    }

    /// Checks the tenancy that a token shows.
    ///
    /// # Errors
    /// It is another one, or none.
    pub fn check(&self, operation: &Operation, shown: Option<&str>) -> Result<(), ProviderError> {
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

/// An invite that is there, in the tenancy `account`. RKVST has no statuses: it is pending until it lapses by the clock.
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

/// The message that a call sent, by its frozen body.
pub fn sent_message(doubt: &Doubt) -> Option<String> {
    let body: Value = serde_json::from_str(&doubt.call.body).ok()?;
    Some(body.get("message")?.as_str()?.trim().to_owned())
}

/// Whether an invite's message holds this reference.
pub fn carries(invite: &Invite, reference: &str) -> bool {
    invite.message.as_deref().is_some_and(|message| message.contains(reference))
}
