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
        let (path, unreadable, place, entries) = (path.to_owned(), Vec::new(), None, PhantomData);
        Pages { client: self, path, member, filters, next, unreadable, place, entries }
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
    unreadable: Vec<Value>,
    place: Option<String>,
    entries: PhantomData<T>,
}

#[derive(Debug)]
enum Cursor {
    Start,
    At(String),
}

impl<T: DeserializeOwned> Pages<'_, T> {
    /// The rows on the last page that the gateway cannot read, which are no entries.
    pub fn unreadable(&self) -> &[Value] {
        &self.unreadable
    }

    /// The cursor behind the last page, if it has one: with `sort=updated` a later list goes on there (`cursor`).
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

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
        let unreadable = page.remove("unreadable").map(serde_json::from_value).transpose();
        self.unreadable = unreadable
            .map_err(|error| self.client.unreadable(&self.path, &error))?
            .unwrap_or_default();
        let next = page.get("next_cursor").and_then(Value::as_str);
        // A list by change has a cursor also where there is no more for now.
        let has_ended = page.get("has_more") == Some(&Value::Bool(false));
        self.place = next.map(str::to_owned);
        self.next = next.filter(|_| !has_ended).map(|cursor| Cursor::At(cursor.to_owned()));
        Ok(Some(entries))
    }
}
