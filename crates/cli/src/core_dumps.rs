//! Core dumps, which a crash must not write: the memory of the process holds secrets and people.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Keeps the process from leaving a core dump, where the system lets it.
pub fn disable() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // A system that hands core dumps to a program ignores the limit.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
