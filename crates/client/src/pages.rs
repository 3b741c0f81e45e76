//! Going through a list page by page.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Call, Client, Error, Invite};

impl Client {
    /// The invites that meet these filters, newest first, in pages.
    pub fn invites(&self, filters: &[(&str, &str)]) -> Pages<'_, Invite> {
        self.pages("/v1/invites", "invites", filters)
    }

    /// Any list that comes in pages; `member` holds the entries.
    pub fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        member: &'static str,
        filters: &[(&str, &str)],
    ) -> Pages<'_, T> {
        let filters = filters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let (filters, next) = (filters.collect(), Some(Cursor::Start));
        Pages { client: self, path: path.to_owned(), member, filters, next, entries: PhantomData }
    }
}

/// A list, page by page.
#[derive(Debug)]
pub struct Pages<'c, T> {
    client: &'c Client,
    path: String,
    member: &'static str,
    filters: Vec<(String, String)>,
    /// `None`: the last page was read.
    next: Option<Cursor>,
    entries: PhantomData<T>,
}

#[derive(Debug)]
enum Cursor {
    Start,
    At(String),
}

impl<T: DeserializeOwned> Pages<'_, T> {
    /// Whether there may be more behind what was read.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// The entries of the next page; none once all were read. A page may be empty although another follows.
    ///
    /// # Errors
    /// As [`Client::read`]; called again it reads the same page again.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, Error> {
        let Some(cursor) = &self.next else { return Ok(None) };
        let filters = self.filters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut call = Call::get(&self.path).query(filters);
        if let Cursor::At(cursor) = cursor {
            call = call.query([("cursor", cursor.as_str())]);
        }
        let mut page: Map<String, Value> = self.client.read(call).await?;
        let entries = page.remove(self.member).unwrap_or_default();
        let entries = serde_json::from_value(entries)
            .map_err(|error| self.client.unreadable(&self.path, &error))?;
        let next = page.get("next_cursor").and_then(Value::as_str);
        self.next = next.map(|cursor| Cursor::At(cursor.to_owned()));
        Ok(Some(entries))
    }
}
