//! Panics, which are defects. The text of a panic may quote what was being worked on (a value that was not the
//! expected one, say), and with it a person or a secret, so only a text that is a constant of the program is shown.

use std::panic::{PanicHookInfo, set_hook};

/// Shows from here on where a panic was, with its text if that is a constant.
pub fn install_hook() {
    set_hook(Box::new(|panic| {
        let told = describe(panic);
        if tracing::dispatcher::has_been_set() {
            tracing::error!("{told}; this is a defect of the gateway");
        } else {
            crate::tell(&told);
        }
    }));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    // A text that was put together with data is no `&'static str`.
    match panic.payload().downcast_ref::<&'static str>() {
        Some(words) => format!("thread {thread} panicked at {place}: {words}"),
        None => format!("thread {thread} panicked at {place}"),
    }
}
