//! Where webhooks may be: where a provider may, of any host; which hosts may be private is said for webhooks alone.

use invite_core::{
    Fault,
    http::{AddressGuard, HttpClient},
};

use crate::{base_url, gate::Gate};

impl Gate {
    /// Checks where a webhook is to be sent to.
    ///
    /// # Errors
    /// What is wrong with it. The pointer is empty.
    pub fn check_webhook_url(&self, url: &str) -> Result<(), Fault> {
        base_url::check_webhook(url, &self.rules.webhook_private_hosts)
    }

    /// A client for webhooks, which connects where [`check_webhook_url`](Self::check_webhook_url) lets it, whatever a name
    /// resolves to by then.
    ///
    /// # Errors
    /// What is wrong with this machine's TLS roots.
    pub fn webhook_client(&self) -> Result<HttpClient, String> {
        HttpClient::new(AddressGuard::new(&self.rules.webhook_private_hosts))
    }
}
