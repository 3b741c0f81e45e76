//! The provider document: what may stand in it, what becomes of it, and where an invite goes.
//!
//! [`Gate::check`] turns the text of `config/providers.toml` into findings and, if none of them is
//! an error, into a [`Configuration`]; whoever has a candidate document (the file, the API, the
//! command line) goes through it. [`Live`] holds the configuration that is in force. The process's
//! own settings (`config/gateway.toml`) are not here but in the command line, and what is particular
//! to a kind of provider is in that provider's crate.
#![warn(missing_docs)]

mod accounts;
mod base_url;
mod configuration;
mod diff;
mod document;
mod finding;
mod gate;
mod limits;
mod live;
#[cfg(test)]
mod made_up;
mod release;
mod routes;
mod schema;
mod secret;
mod size;
mod webhooks;

pub use accounts::Accounts;
pub use configuration::{Chosen, Configuration, Provider, RouteError};
pub use diff::diff;
pub use document::line_of;
pub use finding::{Finding, Severity};
pub use gate::{Checked, Gate, Rules};
pub use live::Live;
pub use release::Released;
pub use secret::{Environment, SecretChange, SecretOutcome, process_environment, read_secret};
