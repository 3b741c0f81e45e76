//! What a queued invite waits for, where neither the invite nor its provider's state shows it.

use invite_core::Status;
use invite_store::InviteRecord;
use serde_json::{Value, json};

use crate::{Engine, lane::in_doubt_to};

impl Engine {
    /// What holds up a queued invite as a problem: its provider is no longer configured, or the
    /// outcome of another invite to the same person at the same place is awaited. That one is named
    /// if it is of this tenant, or of any where none is given; else nothing is told of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn waits_for(
        &self,
        invite: &InviteRecord,
        tenant: Option<&str>,
    ) -> Result<Option<Value>, invite_store::Error> {
        if invite.state.status != Status::Queued {
            return Ok(None);
        }
        let (code, detail) = if let Err(gone) = self.provider_of(invite) {
            ("provider-gone", format!("{gone}; it waits until the provider is there again"))
        } else if let Some(other) = in_doubt_to(&self.0, invite, tenant).await? {
            let detail =
                format!("waits for {other}, to the same person at the same place, to settle");
            ("waiting", detail)
        } else {
            return Ok(None);
        };
        Ok(Some(
            json!({ "code": code, "detail": detail, "origin": "gateway", "outcome": "not_sent" }),
        ))
    }
}
