//! What holds for every call of every check: it ends in time, its error is one line, and nothing
//! that it says or records shows a secret or a person.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use invite_core::{
    Invitee, ProviderError,
    http::{CallContext, Exchange},
};

use crate::{people::shows, wire::Wire};

/// What a busy machine may add to a call that ends at its deadline.
const SLACK: Duration = Duration::from_secs(2);

/// Keeps what was said during a check.
#[derive(Default)]
pub struct Audit {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    operations: BTreeSet<String>,
    /// What may be logged: no secrets in it, and no people.
    said: Vec<String>,
    /// What may be stored: no secrets in it.
    recorded: Vec<String>,
    /// The exchanges of the last call.
    last: Vec<Exchange>,
    people: Vec<Invitee>,
    secrets: BTreeSet<String>,
}

impl Audit {
    /// Notes a call that ended.
    pub fn call<T: Debug>(
        &self,
        operation: &str,
        context: &CallContext,
        (took, timeout): (Duration, Duration),
        result: &Result<T, ProviderError>,
    ) {
        assert!(took <= timeout + SLACK, "{operation} took {took:?}, its time was {timeout:?}");
        self.operation(operation);
        self.says(&format!("{result:?}"));
        if let Err(error) = result {
            self.error(error);
        }
        let exchanges = context.exchanges();
        let mut kept = self.kept();
        kept.recorded.extend(exchanges.iter().map(|exchange| format!("{exchange:?}")));
        kept.last = exchanges;
    }

    /// Notes that an operation of the contract was used.
    pub fn operation(&self, operation: &str) {
        self.kept().operations.insert(operation.to_owned());
    }

    /// Notes what an error says.
    pub fn error(&self, error: &ProviderError) {
        let message = &error.message;
        let is_one_line = !message.trim().is_empty() && !message.contains(['\n', '\r']);
        assert!(is_one_line && message.chars().count() < 800, "no message of one line: {message}");
        self.says(&format!("{error} {error:?} {:?} {:?}", error.code, error.items));
    }

    /// Notes a text that may be logged.
    pub fn says(&self, text: &str) {
        self.kept().said.push(text.to_owned());
    }

    /// Somebody who must not be named.
    pub fn person(&self, person: &Invitee) {
        self.kept().people.push(person.clone());
    }

    /// Something that must not be told.
    pub fn secret(&self, secret: &str) {
        let encoded = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        self.kept().secrets.extend([secret.to_owned(), encoded]);
    }

    /// The exchanges that the last call recorded.
    pub fn last_exchanges(&self) -> Vec<Exchange> {
        self.kept().last.clone()
    }

    /// At the end of a check: nothing leaked, and the operations that it claims to cover were used.
    pub fn finish(&self, wire: &Wire, covers: &[&str]) {
        for request in wire.requests() {
            for name in ["x-api-key", "authorization", "x-stamp"] {
                let credential = request.header(name).unwrap_or_default();
                let bare = credential.strip_prefix("Bearer ").unwrap_or(credential);
                if !bare.is_empty() {
                    self.secret(bare);
                }
            }
        }
        let kept = self.kept();
        for text in kept.said.iter().chain(&kept.recorded) {
            let leaked = kept.secrets.iter().find(|secret| text.contains(*secret));
            assert!(leaked.is_none(), "the secret {leaked:?} shows in: {text}");
        }
        for text in &kept.said {
            let named = kept.people.iter().any(|person| shows(text, person));
            assert!(!named, "personal data shows in: {text}");
        }
        for covered in covers.iter().filter(|covered| !covered.contains('.')) {
            assert!(kept.operations.contains(*covered), "the check does not use {covered}");
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
