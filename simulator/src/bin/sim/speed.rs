//! `sim speed`: how much faster than real time runs are, and that their cost grows with packets alone.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use proto::scene::Scene;
use proto::units::Bitrate;
use serde_json::json;
use simulator::link::plan::Rate;
use simulator::report::Case;
use simulator::report::table::{self, Align};
use simulator::run;
use simulator::scenario::{self, Scenario};

use crate::output::print;
use crate::{clock, play};

/// How many flows are played beside each other.
const FLOWS: [u64; 4] = [1, 2, 4, 8];

/// How often each case is played; the median counts.
const REPEATS: usize = 5;

/// With what: the estimator that costs next to nothing, so that the simulator itself is measured.
const ESTIMATOR: &str = "oracle";

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Prints a JSON object a line for each case; the table goes to the standard error
    #[arg(long)]
    json: bool,
}

/// What a case took.
struct Measured {
    case: String,
    simulated: Duration,
    taken: Duration,
    packets: u64,
}

/// Measures one core's work: cases are played one after another.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let base = scenario::find("fixed-4m").context("the catalog has fixed-4m")?;
    let mut cases: Vec<Scenario> = FLOWS.iter().map(|flows| beside(&base, *flows)).collect();
    cases.extend(scenario::find("nine-grid"));
    let measured = cases.iter().map(measure).collect::<Result<Vec<_>>>()?;
    for line in rows(&measured) {
        if options.json { eprintln!("{line}") } else { print(&line)? }
    }
    if options.json {
        for case in &measured {
            print(&case.json().to_string())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The same flow so many times, on a link with so many times its rate.
fn beside(base: &Scenario, flows: u64) -> Scenario {
    let mut scenario = base.clone();
    scenario.name = format!("{flows} flow{}", if flows == 1 { "" } else { "s" });
    scenario.flows = (0..flows).flat_map(|_| base.flows.clone()).collect();
    scenario.links[0].1.rate = Rate::Constant(Bitrate::mbps(4) * flows);
    scenario
}

fn measure(scenario: &Scenario) -> Result<Measured> {
    let case = Case {
        scenario: scenario.name.clone(),
        estimator: ESTIMATOR.to_owned(),
        scene: Scene::default(),
        set: String::new(),
    };
    let mut runs = Vec::new();
    for _ in 0..REPEATS {
        let mut options = play::options(&case, 1, false);
        options.stopwatch = None;
        let begin = clock::now();
        let result = run::run(scenario, &options)?;
        runs.push((clock::now().duration_since(begin), result.packets));
    }
    runs.sort_unstable();
    let (taken, packets) = runs[runs.len() / 2];
    let simulated = scenario.duration + simulator::checker::HEALING;
    Ok(Measured { case: scenario.name.clone(), simulated, taken, packets })
}

impl Measured {
    fn real_time_factor(&self) -> f64 {
        self.simulated.as_secs_f64() / self.taken.as_secs_f64()
    }

    fn nanos_per_packet(&self) -> f64 {
        self.taken.as_nanos() as f64 / self.packets as f64
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "bench": "sim-speed",
            "case": self.case,
            "real_time_factor": self.real_time_factor().round(),
            "ns_per_packet": self.nanos_per_packet().round(),
            "packets": self.packets,
        })
    }
}

fn rows(measured: &[Measured]) -> Vec<String> {
    let columns = [
        ("case", Align::Left),
        ("× real time", Align::Right),
        ("packets", Align::Right),
        ("ns a packet", Align::Right),
    ];
    let row = |case: &Measured| {
        vec![
            case.case.clone(),
            format!("{:.0}", case.real_time_factor()),
            case.packets.to_string(),
            format!("{:.0}", case.nanos_per_packet()),
        ]
    };
    let rows: Vec<Vec<String>> = measured.iter().map(row).collect();
    table::lines(&columns.map(|(heading, align)| (heading.to_owned(), align)), &rows)
}
