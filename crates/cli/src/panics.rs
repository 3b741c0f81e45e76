//! Panics: defects, of which it is told where they are. Their words may quote what was being worked on (a
//! text that was cut in the middle of a character, a value that was another than expected), and with it a
//! person or a secret: they are told only where they stand in the program itself.

use std::panic::{PanicHookInfo, set_hook};

/// From now on a panic is told like that.
pub fn tell_without_data() {
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
    // What is put together with data is no such text.
    match panic.payload().downcast_ref::<&'static str>() {
        Some(words) => format!("thread {thread} panicked at {place}: {words}"),
        None => format!("thread {thread} panicked at {place}"),
    }
}
