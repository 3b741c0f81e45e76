//! A client of a running gateway, as its own command line uses it.
//!
//! It does what every service that calls the gateway has to do: it repeats what may be repeated while the gateway cannot be
//! reached or asks to be left alone, goes through pages, and follows the feed without missing an event. What the API means
//! is in `docs/http-api.md`.
//!
//! ```no_run
//! # async fn example() -> Result<(), invite_client::Error> {
//! use invite_client::Client;
//! use serde_json::json;
//!
//! let client = Client::new("https://invites.example.org", "igw_…")?;
//! let invites = json!({ "to": "berlin-summit", "invites": [{ "email": "ada@example.org" }] });
//! // The key belongs to this request: after a crash the same request with the same key sends nothing twice.
//! let created = client.create(&invites, "order-4711").await?;
//! println!("{} is {}", created.invites[0].id, created.invites[0].status);
//!
//! let mut events = client.events(&[("type", "invite.accepted")], None);
//! loop {
//!     for event in events.next().await? {
//!         println!("{} accepted", event.subject);
//!     }
//!     // Kept with what was made of the events, it is where the next start goes on.
//!     let _place = events.place();
//! }
//! # }
//! ```

mod call;
mod client;
mod error;
mod follow;
mod model;
mod pages;

pub use call::{Answer, Call};
pub use client::Client;
pub use error::{Error, Problem};
pub use follow::Events;
pub use model::{Batch, Created, Event, EventData, Invite};
pub use pages::Pages;
