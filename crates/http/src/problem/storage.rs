//! What is wrong with the database, for anybody to read: the log says more.

use invite_store::Error;

use super::{Problem, codes};

/// The problem of a request whose change was not stored.
pub(super) fn problem(error: &Error) -> Problem {
    if let Error::SlowList = error {
        tracing::warn!(%error, "a list is too slow");
        return Problem::new(&codes::NOT_READY, SLOW_LIST);
    }
    tracing::error!(%error, "the database does not do its part");
    let code = match error {
        Error::Full(_) => &codes::STORAGE_FULL,
        _ => &codes::NOT_READY,
    };
    Problem::new(code, format!("{}; nothing was stored: ask again later", describe(error)))
}

/// How to have a list that is too slow.
const SLOW_LIST: &str = "the list took longer than 5 s: narrow it by provider, status, batch_id, or the time when \
                         invites were made or changed, or ask for fewer with limit";

/// What the database does, in a few words.
pub(crate) fn describe(error: &Error) -> &'static str {
    match error {
        Error::Full(_) => "the database has no room",
        Error::File { .. } => "the database's file is not the one that was opened",
        _ => "the database does not answer",
    }
}
