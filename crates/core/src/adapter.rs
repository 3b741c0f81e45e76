//! What adapters have in common: the service and the secret that it is asked with ([`Service`]), errors that say what
//! was being done ([`Operation`]), when a look-up gives up ([`Failures`]), what callers may add to a request ([`extra`]), and
//! what they may see of a stored exchange ([`excerpt`]). Nothing here knows a provider.

mod base_url;
pub mod excerpt;
pub mod extra;
mod lookup;
mod operation;
mod service;

pub use base_url::BaseUrl;
pub use lookup::{Failures, TOO_EARLY, seen_or, unfinished};
pub use operation::{Operation, Refusal, without_effect};
pub use service::{Reply, Service};
