//! Paging of RKVST's lists, whose page tokens carry the filter with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::simulator::Call;

/// The part of a list that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The position in the whole list; the first is 0.
    pub from: usize,
    pub size: usize,
    pub email: Option<String>,
}

/// What a page token says. Its encoding has `+`, `/` and `=` in it, so that a caller has to escape it.
#[derive(Serialize, Deserialize)]
struct Token {
    list: String,
    from: usize,
    email: Option<String>,
}

/// A page of a list.
pub(super) struct Cut<T> {
    pub items: Vec<T>,
    pub next_token: String,
    /// The length of the whole list.
    pub total: usize,
}

impl Page {
    /// Reads the parameters of paging. A filter beside a token is ignored, because the vendor's own client sends the
    /// filter with the first page only.
    pub fn asked(call: &Call, list: &str, cap: usize) -> Result<Self, String> {
        let size = match call.query_value("page_size") {
            None => cap,
            Some(text) => match text.parse::<i32>() {
                Ok(0) => cap,
                Ok(size) if size > 0 => cap.min(usize::try_from(size).unwrap_or(cap)),
                _ => return Err(format!("page_size: {text:?} is no size of a page")),
            },
        };
        match call.query_value("page_token").filter(|token| !token.is_empty()) {
            None => Ok(Self { from: 0, size, email: call.query_value("email") }),
            Some(token) => {
                let read = STANDARD.decode(token).ok();
                let token = read.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
                match token.filter(|token| token.list == list) {
                    Some(token) => Ok(Self { from: token.from, size, email: token.email }),
                    None => Err("page_token: not a token of this list".to_owned()),
                }
            }
        }
    }

    /// Takes the page from the items of a list, each of which comes with its position in the whole list.
    pub fn cut<T>(&self, list: &str, items: impl Iterator<Item = (usize, T)>) -> Cut<T> {
        let (mut total, mut on_page, mut next) = (0, Vec::new(), None);
        for (position, item) in items {
            total += 1;
            if position < self.from {
                continue;
            }
            if on_page.len() < self.size {
                on_page.push(item);
            } else {
                next.get_or_insert(position);
            }
        }
        let next_token = next.map(|from| self.token(list, from)).unwrap_or_default();
        Cut { items: on_page, next_token, total }
    }

    fn token(&self, list: &str, from: usize) -> String {
        let token = Token { list: list.to_owned(), from, email: self.email.clone() };
        STANDARD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }
}
