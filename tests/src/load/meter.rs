//! What a process takes: processor time by thread, memory, how often its threads wake. Out of `/proc`, by proc(5).
//!
//! In: a process. Out: [`Usage`], to be subtracted from a later one. Limit: Linux.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What the server's media threads are called.
const MEDIA: &str = "media-";

/// What a process has taken since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of its media threads, in nanoseconds; of all threads if none is called so.
    pub media_ns: u64,
    /// Processor time of all its threads.
    pub all_ns: u64,
    /// How often its media threads went to sleep.
    pub sleeps: u64,
    /// Its resident memory, in bytes.
    pub memory: u64,
}

impl Usage {
    /// What the process has taken up to now.
    pub fn of(process: u32) -> Result<Self> {
        let folder = format!("/proc/{process}");
        let mut usage =
            Self { memory: field(&format!("{folder}/status"), "VmRSS:")? * 1_024, ..Self::default() };
        let mut named = false;
        for task in fs::read_dir(format!("{folder}/task")).context("the server has ended")? {
            let task = task?.path();
            let Ok(nanos) = run_time(&task) else { continue }; // a thread that has just ended
            usage.all_ns += nanos;
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            if name.starts_with(MEDIA) {
                named = true;
                usage.media_ns += nanos;
                let status = task.join("status");
                usage.sleeps += field(&status.to_string_lossy(), "voluntary_ctxt_switches:")?;
            }
        }
        if !named {
            usage.media_ns = usage.all_ns;
        }
        Ok(usage)
    }

    /// What was taken since `before`; memory is what it is now.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            media_ns: self.media_ns.saturating_sub(before.media_ns),
            all_ns: self.all_ns.saturating_sub(before.all_ns),
            sleeps: self.sleeps.saturating_sub(before.sleeps),
            memory: self.memory,
        }
    }
}

/// The time that a thread was on a processor, in nanoseconds (the first number of `schedstat`).
fn run_time(task: &Path) -> Result<u64> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    Ok(text.split_whitespace().next().context("an empty schedstat")?.parse()?)
}

/// The number behind a name in a `status` file.
fn field(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
    Ok(line.split_whitespace().next().context("an empty field")?.parse()?)
}

/// Puts the calling thread on one core.
pub(super) fn pin(core: usize) -> Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).with_context(|| format!("there is no core {core}"))
}

/// The share of one core that `taken` is in `time`.
pub(super) fn share(taken: Duration, time: Duration) -> f64 {
    taken.as_secs_f64() / time.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_takes_time_and_has_memory() {
        let mut busy =
            std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let before = Usage::of(busy.id()).expect("it runs");
        let clock = crate::load::clock::Clock::start();
        let mut taken = Usage::default();
        let until = clock.now() + Duration::from_secs(20);
        while taken.all_ns < 20_000_000 && clock.now() < until {
            clock.sleep_until(clock.now() + Duration::from_millis(20));
            taken = Usage::of(busy.id()).expect("it runs").since(before);
        }
        busy.kill().expect("it ran");
        busy.wait().expect("it was ours");
        let passed = clock.now().as_nanos() + 20_000_000;
        assert!((20_000_000..passed).contains(&taken.all_ns), "{taken:?}");
        assert_eq!(taken.media_ns, taken.all_ns, "no thread of it is called so");
        assert!(taken.memory > 100_000, "{taken:?}");
        assert!(Usage::of(u32::MAX).is_err());
    }
}
