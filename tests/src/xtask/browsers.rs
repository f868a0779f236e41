//! The claims about browsers, tried one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use proto::seed::Seed;

use super::cargo::Counts;
use crate::browser::stage::Stage;
use crate::browser::{self, Case};
use crate::clock;

const ENDS_WITHIN: Duration = Duration::from_secs(150); // the longest takes a minute on a quiet machine

/// Plays the cases whose name contains `only`; prints a line for each and a summary.
pub(super) async fn run(only: Option<&str>, number: u64) -> Result<Counts> {
    let seed = Seed::from_number(number).fork("browsers");
    let cases: Vec<Case> =
        browser::all().into_iter().filter(|case| only.is_none_or(|only| case.name.contains(only))).collect();
    let mut counts = Counts::default();
    let mut summary = Vec::new();
    for (place, case) in cases.iter().enumerate() {
        println!("browser {} ({} of {}): {} …", case.name, place + 1, cases.len(), case.claim);
        let started = clock::now();
        let passed = play(case, seed.fork(case.name)).await?;
        counts.add(passed);
        let verdict = if passed { "ok" } else { "FAILED" };
        summary.push(format!(
            "  {:>6} {:5.1} s  {}: {}",
            verdict,
            started.elapsed().as_secs_f64(),
            case.name,
            case.claim
        ));
    }
    if !summary.is_empty() {
        println!("browsers:\n{}", summary.join("\n"));
    }
    Ok(counts)
}

async fn play(case: &Case, seed: Seed) -> Result<bool> {
    let mut stage = Stage::new(super::media_folder()?, seed);
    let played = tokio::time::timeout(ENDS_WITHIN, (case.play)(&mut stage)).await;
    let played = played.unwrap_or_else(|_| anyhow::bail!("not over within {ENDS_WITHIN:?}"));
    let played = played.and_then(|measured| stage.check_calm().map(|()| measured)).context(case.claim);
    match played {
        Ok(measured) => println!("browser {} ... ok: {measured}", case.name),
        Err(error) => {
            println!("browser {} ... FAILED: {error:#}", case.name);
            print!("{}", stage.remains());
            return Ok(false);
        }
    }
    Ok(true)
}
