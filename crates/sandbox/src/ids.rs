//! Random ids of the simulators: all of them are made here.

use jiff::Timestamp;
use uuid::{NoContext, Uuid};

/// A random UUID, as most providers have.
#[expect(clippy::disallowed_methods, reason = "the simulators' one source of randomness")]
pub(crate) fn random() -> Uuid {
    Uuid::new_v4()
}

/// A UUIDv7 of the time `at`, as Turnkey's activities have.
pub(crate) fn ordered(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1_000, nanos))
}

/// `length` (at most 16) random characters of `A-Z0-9`, as in Securegate's session codes.
pub(crate) fn code(length: usize) -> String {
    const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random = random();
    random
        .as_bytes()
        .iter()
        .take(length)
        .map(|byte| ALPHABET[*byte as usize % 36] as char)
        .collect()
}
