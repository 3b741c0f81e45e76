//! What processes have cost so far, as Linux counts it in /proc: of a process and all that descend from it.

use std::collections::BTreeMap;
use std::fs;

/// Linux shows processor time in hundredths of a second.
const TICK_US: f64 = 10_000.0;

/// The processes below one, it included.
#[derive(Clone, Copy)]
pub struct Processes(pub u32);

/// What they had cost at one moment.
#[derive(Default)]
pub struct Reading {
    ticks: u64,
    /// Voluntary and other switches of each task that was alive.
    switches: BTreeMap<String, (u64, u64)>,
    written: u64,
    peak_kb: u64,
    resident_kb: u64,
}

/// What they cost between two moments.
#[derive(Default)]
pub struct Cost {
    pub cpu_us: f64,
    pub voluntary: u64,
    pub involuntary: u64,
    pub written: u64,
    /// Of the whole time until the second moment.
    pub peak_kb: u64,
}

impl Processes {
    pub fn read(self) -> Reading {
        let mut reading = Reading::default();
        for pid in self.tree() {
            // A process that ends just now is counted by its parent.
            let Some(stat) = stat(pid) else { continue };
            // Its own time, and that of its children that have ended.
            reading.ticks += stat[11..=14].iter().sum::<u64>();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            reading.peak_kb += member(&status, "VmHWM:");
            reading.resident_kb += member(&status, "VmRSS:");
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            reading.written += member(&io, "write_bytes:");
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let path = task.path().join("status");
                let Ok(status) = fs::read_to_string(&path) else { continue };
                let counts = (
                    member(&status, "voluntary_ctxt_switches:"),
                    member(&status, "nonvoluntary_ctxt_switches:"),
                );
                reading.switches.insert(path.display().to_string(), counts);
            }
        }
        reading
    }

    fn tree(self) -> Vec<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            if let Some(stat) = stat(pid) {
                children.entry(stat[1] as u32).or_default().push(pid);
            }
        }
        let mut tree = vec![self.0];
        let mut at = 0;
        while let Some(pid) = tree.get(at) {
            tree.extend(children.remove(pid).unwrap_or_default());
            at += 1;
        }
        tree
    }
}

impl Reading {
    /// What they hold in memory.
    pub fn resident_mb(&self) -> f64 {
        self.resident_kb as f64 / 1024.0
    }

    /// What they cost since an earlier moment. The switches of a task that ended meanwhile are lost.
    pub fn since(&self, earlier: &Self) -> Cost {
        let mut cost = Cost {
            cpu_us: self.ticks.saturating_sub(earlier.ticks) as f64 * TICK_US,
            written: self.written.saturating_sub(earlier.written),
            peak_kb: self.peak_kb,
            ..Cost::default()
        };
        for (task, (voluntary, involuntary)) in &self.switches {
            let before = earlier.switches.get(task).copied().unwrap_or_default();
            cost.voluntary += voluntary.saturating_sub(before.0);
            cost.involuntary += involuntary.saturating_sub(before.1);
        }
        cost
    }
}

/// The numbers of /proc/PID/stat from the state on, which is no number and stands as 0. The name before them may hold
/// anything.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let numbers: Vec<u64> =
        rest.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect();
    (numbers.len() > 14).then_some(numbers)
}

fn member(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
