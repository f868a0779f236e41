//! Every parser, fuzzed for a while; as many at a time as there are processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::seed::Seed;

use super::cargo::Counts;
use crate::fuzz::{self, Outcome, Target};

/// Fuzzes the targets whose name contains `only`, each for `time`; prints a line for each.
pub(super) fn run(only: Option<&str>, number: u64, time: Duration) -> Counts {
    let seed = Seed::from_number(number).fork("fuzz");
    let targets: Vec<Target> =
        fuzz::all().into_iter().filter(|target| only.is_none_or(|only| target.name.contains(only))).collect();
    if targets.is_empty() {
        return Counts::default();
    }
    println!("fuzzing {} parsers for {} s each, seed {number}", targets.len(), time.as_secs());
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Counts::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let passed = report(target, &fuzz::fuzz(target, &seed, time), number);
                    counts.lock().expect("no thread panics while it counts").add(passed);
                }
            });
        }
    });
    counts.into_inner().expect("as before")
}

fn report(target: &Target, outcome: &Outcome, number: u64) -> bool {
    let Some(finding) = &outcome.finding else {
        println!("fuzz {} ... ok ({} inputs)", target.name, outcome.inputs);
        return true;
    };
    println!("fuzz {} ... FAILED after {} inputs, seed {number}", target.name, outcome.inputs);
    println!("  {}", finding.what.replace('\n', "\n  "));
    println!("  input: {}", fuzz::to_hex(&finding.input));
    match fuzz::store(target, finding) {
        Ok(path) => println!("  stored in {}", path.display()),
        Err(error) => println!("  not stored: {error}"),
    }
    false
}
