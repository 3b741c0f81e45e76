//! What every adapter does alike, so that each holds only what is its provider's own: where its service
//! is and with which secret it is asked ([`Service`]), what is being done and what came of it
//! ([`Operation`]), how a look-up goes on ([`Failures`]), and what of a stored exchange is shown
//! ([`excerpt`]). Nothing here knows a provider.

mod base_url;
pub mod excerpt;
mod lookup;
mod operation;
mod service;

pub use base_url::BaseUrl;
pub use lookup::{Failures, seen_or, unfinished};
pub use operation::{Operation, Said, without_effect};
pub use service::{Reply, Service};
