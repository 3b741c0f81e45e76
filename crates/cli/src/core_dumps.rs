//! Core dumps: a crash must not write the memory of the process, which holds secrets and people, to a
//! disk.

use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on the process leaves no core dump. Where that cannot be had, it is left to the machine.
pub fn refuse() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // The limit is not asked where the system hands core dumps to a program.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
