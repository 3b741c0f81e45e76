//! Where the fault campaign (`tests/faults`) gets its hands into the process: labelled places at which
//! it dies, freezes or panics, a rule of the engine that it breaks to prove that the campaign would notice, and
//! the clocks of a machine whose time is set, or that is suspended.
//!
//! Only debug builds have any of it. In a release build every function here is empty.

#[cfg(debug_assertions)]
use std::{
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Every label that [`crash_point`] is called with.
pub const CRASH_POINTS: &[&str] = &[
    "accept-before-commit",
    "accept-after-commit",
    "claim-before-commit",
    "claim-after-commit",
    "create-before-request",
    "create-after-reply",
    "create-after-record",
    "follow-after-renewal",
    "reconcile-before-request",
    "reconcile-after-reply",
    "reconcile-after-record",
    "operation-before-request",
    "operation-after-reply",
];

#[cfg(debug_assertions)]
static CRASH: OnceLock<Crash> = OnceLock::new();
#[cfg(debug_assertions)]
static BLIND_RESEND: OnceLock<()> = OnceLock::new();
#[cfg(debug_assertions)]
static CLOCKS: OnceLock<Clocks> = OnceLock::new();

#[cfg(debug_assertions)]
struct Crash {
    label: String,
    left: AtomicU32,
    how: How,
}

#[cfg(debug_assertions)]
enum How {
    /// At once and without cleaning up.
    Dies,
    /// Until somebody sends it SIGCONT.
    Freezes,
    /// With these words, as of a text that was cut in the middle of a character.
    Panics(String),
}

/// A file that says by how much the machine's clocks are off, and what it said last.
#[cfg(debug_assertions)]
struct Clocks {
    file: PathBuf,
    said: Mutex<(i64, i64)>,
}

/// Arms the process: `crash` is `label:n`, to die when `label` is reached for the `n`th time, or
/// `label:n:freeze`, to stop as if by SIGSTOP, or `label:n:panic=words`, to panic with these words.
///
/// # Errors
/// A label that is none, or an `n` that is no number from 1.
#[cfg(debug_assertions)]
pub fn arm(crash: Option<&str>, blind_resend: bool) -> Result<(), String> {
    if let Some(text) = crash {
        let (label, n) = text.split_once(':').unwrap_or((text, "1"));
        if !CRASH_POINTS.contains(&label) {
            return Err(format!("`{label}` is no crash point"));
        }
        let (n, how) = match n.split_once(":panic=") {
            Some((n, words)) => (n, How::Panics(words.to_owned())),
            None => n.strip_suffix(":freeze").map_or((n, How::Dies), |n| (n, How::Freezes)),
        };
        let n = n.parse().ok().filter(|n| *n > 0).ok_or(format!("`{n}` is no number from 1"))?;
        // The first to arm wins; there is only one.
        let _ = CRASH.set(Crash { label: label.to_owned(), left: AtomicU32::new(n), how });
    }
    if blind_resend {
        let _ = BLIND_RESEND.set(());
    }
    Ok(())
}

/// Dies here, at once and without cleaning up, freezes or panics, if armed for it.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "empty in release builds"))]
#[cfg_attr(debug_assertions, expect(clippy::panic, reason = "this is what it is armed for"))]
pub fn crash_point(label: &'static str) {
    #[cfg(debug_assertions)]
    if let Some(crash) = CRASH.get()
        && crash.label == label
        && crash.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        match &crash.how {
            How::Dies => std::process::abort(),
            How::Panics(words) => std::panic::panic_any(words.clone()),
            How::Freezes => {}
        }
        // Returns once it goes on. Should there be no shell, the test sees that nothing froze.
        let _ = std::process::Command::new("/bin/sh").args(["-c", "kill -STOP $PPID"]).status();
        // The signal reaches each thread when it reaches it: this one must not run ahead of it.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Whether the engine is to send again without grounds.
pub fn resends_blindly() -> bool {
    #[cfg(debug_assertions)]
    let blindly = BLIND_RESEND.get().is_some();
    #[cfg(not(debug_assertions))]
    let blindly = false;
    blindly
}

/// From now on the machine's clocks are off by what this file holds, whenever it is read: one whole
/// number, the milliseconds that are added to the wall clock, or two of them, the second for the clock
/// that counts from boot on. The file may be written to while the process runs:
///
/// - `90000000`: somebody set the clock 25 hours ahead. `-90000000`: behind. `0`: right again.
/// - `60000 60000`: the machine was suspended for a minute, which the monotonic clock does not count.
///
/// A file that is not there, or holds something else, changes nothing. Whoever writes it puts it in its
/// place whole, by renaming it.
#[cfg(debug_assertions)]
pub fn arm_clocks(file: PathBuf) {
    // The first to arm wins; there is only one.
    let _ = CLOCKS.set(Clocks { file, said: Mutex::default() });
}

/// What is to be added to the wall clock, and to the one that counts from boot on, in milliseconds.
pub fn clocks_off_by() -> (i64, i64) {
    #[cfg(debug_assertions)]
    if let Some(clocks) = CLOCKS.get() {
        let mut said = clocks.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::fs::read_to_string(&clocks.file).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse);
        if let Some(Ok(wall)) = numbers.next() {
            *said = (wall, numbers.next().and_then(Result::ok).unwrap_or(0));
        }
        return *said;
    }
    (0, 0)
}
