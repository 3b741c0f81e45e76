//! Following the feed.

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::{Call, Client, Error, Event};

/// The feed, from one place on. None is missed: whoever keeps the [place](Self::place) together with what was made of the
/// events, and begins there after a crash, gets every event once.
#[derive(Debug)]
pub struct Events<'c> {
    client: &'c Client,
    filters: Vec<(String, String)>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Event>,
    next_after: String,
}

impl<'c> Events<'c> {
    pub(crate) fn of(client: &'c Client, filters: &[(&str, &str)], after: Option<&str>) -> Self {
        let filters = filters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { client, filters: filters.collect(), after: after.map(str::to_owned) }
    }

    /// The next events, oldest first; it waits for the next one for up to a minute, and is empty then.
    ///
    /// # Errors
    /// As [`Client::read`]; called again it goes on. The [problem](Error::problem) `events-removed` says that events behind the
    /// place are kept no more: read all invites, and begin anew.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        let filters = self.filters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let after = self.after.as_deref().map(|after| ("after", after));
        let call = Call::get("/v1/events").query(filters.chain(after));
        let wait = HeaderValue::from_static("wait=60");
        let page: Page =
            self.client.read(call.header(HeaderName::from_static("prefer"), wait)).await?;
        self.after = Some(page.next_after);
        Ok(page.events)
    }

    /// Where it goes on: all events before were answered. `None` before the first.
    pub fn place(&self) -> Option<&str> {
        self.after.as_deref()
    }
}
