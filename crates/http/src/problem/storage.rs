//! What is wrong with the database, in words that any caller may read. The log says more.

use invite_store::Error;

use super::{Problem, codes};

/// The answer to a request whose change could not be stored.
pub(super) fn problem(error: &Error) -> Problem {
    if let Error::SlowList = error {
        tracing::warn!(%error, "a list was given up because the database is too slow for it");
        return Problem::new(&codes::NOT_READY, SLOW_LIST);
    }
    tracing::error!(%error, "the database cannot be used for a request");
    let code = if let Error::Full(_) = error { &codes::STORAGE_FULL } else { &codes::NOT_READY };
    Problem::new(code, format!("{}; nothing was stored: ask again later", describe(error)))
}

const SLOW_LIST: &str = "the list took longer than 5 s: narrow it by provider, status, batch_id, or the time when \
                         invites were made or changed, or ask for fewer with limit";

pub(crate) fn describe(error: &Error) -> &'static str {
    match error {
        Error::Full(_) => "the database has no room",
        Error::File { .. } => "the database's file is not the one that was opened",
        _ => "the database does not answer",
    }
}
