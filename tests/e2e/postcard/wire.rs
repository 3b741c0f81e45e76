//! The post office's JSON in its own names, and which status a card's state stands for. No HTTP.

use invite_core::{Address, Invitee, Observed, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::Motif;

/// The body of `POST /cards`.
#[derive(Serialize)]
pub struct NewCard<'a> {
    /// The address.
    pub to: &'a str,
    /// Whom the card greets.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The motif.
    pub motif: Motif,
    /// By which the caller knows the card again.
    pub reference: String,
}

/// A card.
#[derive(Clone, Deserialize)]
pub struct Card {
    /// The post office's id.
    pub id: String,
    /// The address.
    pub to: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// By which the caller knows it again.
    pub reference: Option<String>,
    /// Where it stands.
    pub state: Option<String>,
}

/// The reply to `GET /cards`.
#[derive(Deserialize)]
pub struct CardList {
    /// The cards.
    pub cards: Vec<Card>,
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// The post office's code.
    pub code: Option<String>,
    /// A sentence.
    pub text: String,
}

impl Card {
    /// The card as the gateway sees it.
    pub fn observed(self) -> Observed {
        let status = match self.state.as_deref() {
            Some("mailed") => Status::Sent,
            Some("accepted") => Status::Accepted,
            Some("declined") => Status::Declined,
            Some("cancelled") => Status::Revoked,
            _ => Status::Pending,
        };
        let reference = self.reference.map(Value::from);
        Observed {
            provider_status: self.state,
            data: Map::from_iter(reference.map(|reference| ("reference".to_owned(), reference))),
            invitee: self.to.map(|email| Invitee {
                email,
                message: self.text,
                ..Invitee::default()
            }),
            ..Observed::new(Some(self.id), status)
        }
    }

    /// Whether the card shows this address.
    pub fn is_to(&self, address: &Address) -> bool {
        self.to.as_deref().map(Address::shown).as_ref() == Some(address)
    }
}
