//! What the fault campaign (`tests/faults`) makes go wrong inside the process: it dies, freezes or panics at a
//! labelled failpoint, breaks a rule of the engine (to prove that the campaign notices), or sees clocks that were
//! set or stood still.
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

/// Every label that [`failpoint`] is called with.
pub const FAILPOINTS: &[&str] = &[
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
    "webhook-before-request",
    "webhook-after-reply",
    "webhook-after-record",
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
    /// How often the failpoint is still to be passed, this time included, until it acts.
    left: AtomicU32,
    how: How,
}

#[cfg(debug_assertions)]
enum How {
    Dies,
    Freezes,
    Panics(String),
}

#[cfg(debug_assertions)]
struct Clocks {
    file: PathBuf,
    /// What the file said when it could be read last: wall clock, and the clock that counts from boot on.
    last: Mutex<(i64, i64)>,
}

/// Arms the process. `crash` is one of
///
/// - `label:n`: the process aborts when the failpoint `label` is reached for the `n`th time.
/// - `label:n:freeze`: it stops there as by SIGSTOP, until somebody sends it SIGCONT.
/// - `label:n:panic=words`: it panics there with these words.
///
/// # Errors
/// There is no such failpoint, or `n` is no number from 1.
#[cfg(debug_assertions)]
pub fn arm(crash: Option<&str>, blind_resend: bool) -> Result<(), String> {
    if let Some(text) = crash {
        let (label, n) = text.split_once(':').unwrap_or((text, "1"));
        if !FAILPOINTS.contains(&label) {
            return Err(format!("`{label}` is no failpoint"));
        }
        let (n, how) = match n.split_once(":panic=") {
            Some((n, words)) => (n, How::Panics(words.to_owned())),
            None => n.strip_suffix(":freeze").map_or((n, How::Dies), |n| (n, How::Freezes)),
        };
        let n = n.parse().ok().filter(|n| *n > 0).ok_or(format!("`{n}` is no number from 1"))?;
        // A process is armed once, before anything else starts.
        let _ = CRASH.set(Crash { label: label.to_owned(), left: AtomicU32::new(n), how });
    }
    if blind_resend {
        let _ = BLIND_RESEND.set(());
    }
    Ok(())
}

/// Aborts, freezes or panics here, if the process is armed for this label.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "empty in release builds"))]
#[cfg_attr(debug_assertions, expect(clippy::panic, reason = "this is what it is armed for"))]
pub fn failpoint(label: &'static str) {
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
        // The call returns when the process goes on. Without a shell nothing freezes, which the campaign sees.
        let _ = std::process::Command::new("/bin/sh").args(["-c", "kill -STOP $PPID"]).status();
        // The signal may reach this thread later than others; it must not run on until then.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Whether the engine is to send calls of unknown outcome again without looking them up, which sends some twice.
pub fn resends_blindly() -> bool {
    #[cfg(debug_assertions)]
    let blindly = BLIND_RESEND.get().is_some();
    #[cfg(not(debug_assertions))]
    let blindly = false;
    blindly
}

/// From now on the machine's clocks are off by what this file holds, which is read anew each time: the
/// milliseconds that are added to the wall clock, and perhaps those that are added to the clock which counts
/// from boot on.
///
/// - `90000000`: somebody set the clock 25 hours ahead. `-90000000`: behind. `0`: right again.
/// - `60000 60000`: the machine was suspended for a minute, which the monotonic clock does not count.
///
/// While the file is missing or holds something else, what it held before stays. Whoever changes it replaces it
/// as a whole, by renaming.
#[cfg(debug_assertions)]
pub fn arm_clocks(file: PathBuf) {
    // As with `arm`.
    let _ = CLOCKS.set(Clocks { file, last: Mutex::default() });
}

/// Milliseconds to add to the wall clock, and to the clock that counts from boot on.
pub fn clocks_off_by() -> (i64, i64) {
    #[cfg(debug_assertions)]
    if let Some(clocks) = CLOCKS.get() {
        let mut last = clocks.last.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::fs::read_to_string(&clocks.file).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse);
        if let Some(Ok(wall)) = numbers.next() {
            *last = (wall, numbers.next().and_then(Result::ok).unwrap_or(0));
        }
        return *last;
    }
    (0, 0)
}
