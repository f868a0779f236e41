//! `sim replay`: a run again, with what happened around the rules that it broke.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use simulator::report::log;
use simulator::run::{run as play_run, run_logged};
use simulator::sweep::Seeds;

use crate::ask::{self, Ask, Shown};
use crate::output::{BROKEN, print};
use crate::play::{options as run_options, seconds};

/// What of the time before a violation is shown event by event.
const BEFORE: Duration = Duration::from_millis(100);

/// What of the time after it is.
const AFTER: Duration = Duration::from_millis(10);

/// Which run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// SCENARIO/ESTIMATOR/SEED, and /KEY=VALUE,… if something was set
    #[arg(value_name = "RUN")]
    name: String,
}

/// Plays it again.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let (ask, seed) = parse(&options.name)?;
    let job = ask.jobs(Seeds::one(seed), true)?.remove(0);
    let result = play_run(&job.scenario, &run_options(&job.case, seed, true))?;
    print(&format!("{}: {} packets, trace {:016x}", options.name, result.packets, result.trace_hash))?;
    let Some(first) = result.violations.first() else {
        print("no rule was broken")?;
        return Ok(ExitCode::SUCCESS);
    };
    for violation in &result.violations {
        print("")?;
        print(&format!("{} at {}: {}", violation.rule, seconds(violation.at), violation.detail))?;
        if let Some(timeline) = &result.timeline {
            log::around(timeline, violation.at).iter().try_for_each(|line| print(line))?;
        }
    }
    print("")?;
    print(&format!("every event around {}:", seconds(first.at)))?;
    let times = first.at - BEFORE..=first.at + AFTER;
    let (again, lines) = run_logged(&job.scenario, &run_options(&job.case, seed, false), times)?;
    lines.iter().try_for_each(|line| print(line))?;
    ensure!(
        again.trace_hash == result.trace_hash,
        "the second run was another one: something in it is not seeded"
    );
    Ok(ExitCode::from(BROKEN))
}

/// The parts of a run's name.
fn parse(name: &str) -> Result<(Ask, u64)> {
    let form = || format!("{name:?} is not of the form SCENARIO/ESTIMATOR/SEED[/KEY=VALUE,…]");
    let parts: Vec<&str> = name.split('/').collect();
    // Scenarios and traces may be files in folders: the seed is the first number behind a first and a second name.
    let place = (2..parts.len()).find(|place| parts[*place].parse::<u64>().is_ok()).with_context(form)?;
    let scenario = parts[..place - 1].join("/");
    let estimator = parts[place - 1].to_owned();
    let seed = parts[place].parse().with_context(form)?;
    let Shown { scene, trace, set } = ask::parse_set(&parts[place + 1..].join("/"))?;
    ask::check_estimator(&estimator)?;
    let ask = Ask {
        scenarios: vec![scenario],
        estimators: vec![estimator],
        scenes: vec![scene],
        trace,
        sets: vec![set],
    };
    Ok((ask, seed))
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;
    use simulator::report::Case;

    use super::*;

    #[test]
    fn a_run_is_found_by_what_a_violation_prints() {
        for (scene, set, trace) in [
            (Scene::Pk, "", None),
            (Scene::Game, "", None),
            (Scene::Pk, "rate=2000k", None),
            (Scene::Watch, "trace=/a/b.down,rate=2000k", Some("/a/b.down")),
        ] {
            let case = Case {
                scenario: "fixed-4m".to_owned(),
                estimator: "gcc".to_owned(),
                scene,
                set: set.to_owned(),
            };
            let (ask, seed) = parse(&case.replay(7)).unwrap();
            assert_eq!((ask.scenarios, ask.estimators, seed), (vec![case.scenario], vec![case.estimator], 7));
            assert_eq!(ask.scenes, [scene]);
            assert_eq!(ask.trace.as_deref(), trace.map(std::path::Path::new));
            assert_eq!(ask.sets[0].is_empty(), set.is_empty());
        }
        let (ask, seed) = parse("plans/evening.toml/gcc/7").unwrap();
        assert_eq!((ask.scenarios, seed), (vec!["plans/evening.toml".to_owned()], 7));
        for (name, reason) in [
            ("fixed-4m/gcc", "not of the form"),
            ("fixed-4m/gcc/x", "not of the form"),
            ("fixed-4m/gc/1", "no estimator"),
            ("fixed-4m/gcc/1/rat=2", "did you mean rate?"),
        ] {
            let error = format!("{:#}", parse(name).unwrap_err());
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
