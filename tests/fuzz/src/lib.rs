//! What the fuzzer calls: one function for each kind of input that outsiders decide, which reads it as
//! the gateway does and then says what has to hold whatever it was. They are plain functions, so that
//! the stored corpora run on any compiler (`tests/corpora.rs`); `tests/fuzz/run` lets the fuzzer look
//! for more.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a target ends where something does not hold"
)]

mod adapter;
mod address;
mod api;
mod document;

use invite_core::text::is_unseen;
use serde_json::Value;

pub use adapter::{rkvst, securegate, turnkey};
pub use address::addresses;
pub use api::{bodies, headers, queries};
pub use document::document;

/// Reads one input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its binary and of the folder of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("addresses", addresses),
    ("bodies", bodies),
    ("document", document),
    ("headers", headers),
    ("queries", queries),
    ("rkvst", rkvst),
    ("securegate", securegate),
    ("turnkey", turnkey),
];

/// One of these by a byte of the input.
fn choose<T: Copy>(byte: u8, among: &[T]) -> T {
    among[usize::from(byte) % among.len()]
}

/// A text that people read on one line, in a terminal as well as in a browser.
#[track_caller]
fn assert_plain(what: &str, text: &str) {
    assert!(!text.contains(is_unseen), "{what} holds what is not seen: {text:?}");
}

/// Every text and every name in a value.
fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(members) => {
            for (name, value) in members {
                into.push(name);
                texts(value, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
