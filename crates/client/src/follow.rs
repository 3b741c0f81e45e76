//! Following the feed.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{Call, Client, Error, Event};

impl Client {
    /// The events that meet these filters, behind the one that was the [place](Events::place) of an earlier reader, or
    /// from the first one that is kept.
    pub fn events(&self, filters: &[(&str, &str)], after: Option<&str>) -> Events<'_> {
        let filters = filters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let (filters, after) = (filters.collect(), after.map(str::to_owned));
        Events { client: self, filters, after, has_more: true }
    }
}

/// How long is waited where the gateway does not.
const WITHOUT_WAIT: Duration = Duration::from_secs(5);

/// The feed, from one place on. None is missed: whoever keeps the [place](Self::place) together with what was made of the
/// events, and begins there after a crash, gets every event once.
#[derive(Debug)]
pub struct Events<'c> {
    client: &'c Client,
    filters: Vec<(String, String)>,
    after: Option<String>,
    /// Whether there was more when it was last read.
    has_more: bool,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Event>,
    next_after: String,
    has_more: bool,
}

impl Events<'_> {
    /// The next events, oldest first; it waits for the next one for up to a minute, and is empty then.
    ///
    /// # Errors
    /// As [`Client::read`]; called again it goes on. The [problem](Error::problem) `events-removed` says that events behind the
    /// place are kept no more: read all invites, and begin anew.
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        let began = Instant::now();
        let events = self.page("wait=60").await?;
        // A gateway that has too many waiting, or is about to stop, answers at once.
        if events.is_empty() && !self.has_more && began.elapsed() < WITHOUT_WAIT {
            sleep(WITHOUT_WAIT).await;
        }
        Ok(events)
    }

    /// The same without waiting; none once all were read that there were.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub async fn read(&mut self) -> Result<Option<Vec<Event>>, Error> {
        if !self.has_more {
            return Ok(None);
        }
        self.page("wait=0").await.map(Some)
    }

    async fn page(&mut self, prefer: &'static str) -> Result<Vec<Event>, Error> {
        let filters = self.filters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let after = self.after.as_deref().map(|after| ("after", after));
        let call = Call::get("/v1/events").query(filters.chain(after));
        let prefer = HeaderValue::from_static(prefer);
        let call = call.header(HeaderName::from_static("prefer"), prefer);
        let page: Page = self.client.read(call).await?;
        self.after = Some(page.next_after);
        self.has_more = page.has_more;
        Ok(page.events)
    }

    /// Where it goes on: all events before were answered. `None` before the first.
    pub fn place(&self) -> Option<&str> {
        self.after.as_deref()
    }
}
