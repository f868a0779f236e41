//! What estimators cost: each is told of the same packets and what became of them, in a loop without anything else.
//!
//! What the loop itself takes, and the translation of reports for somebody else's estimator, is measured beside each and
//! taken off: it would draw all ratios towards one.

use std::process::ExitCode;

use anyhow::Result;
use cc::Estimator;
use serde_json::json;
use simulator::baseline;
use simulator::baseline::load::{CASES, Load};
use simulator::report::Row;
use simulator::report::goals::OURS;
use simulator::report::table::{self, Align};

use crate::clock;
use crate::output::print;

/// Whose cost is the measure.
const MEASURE: &str = "gcc";

/// Who is measured unless somebody is named.
const ESTIMATORS: [&str; 4] = [OURS, MEASURE, "bbr", "nada"];

/// How often each case is played with each estimator, in turns; the median counts, also of the ratios within a turn, in
/// which the processor is equally fast for all.
const ROUNDS: usize = 15;

/// How often in one measurement: a minute of packets takes an estimator a few milliseconds.
const REPEATS: u32 = 5;

/// What an estimator costs.
struct Cost {
    estimator: String,
    /// Nanoseconds a packet's result.
    nanos: f64,
    /// Over that of the measure, if it was measured.
    ratio: Option<f64>,
}

/// A case with what each estimator costs.
type Measured = (&'static str, Vec<Cost>);

/// Measures some estimators, or those that matter.
pub(crate) fn run(estimators: &[String], is_json: bool) -> Result<ExitCode> {
    let names: Vec<String> =
        if estimators.is_empty() { ESTIMATORS.map(str::to_owned).into() } else { estimators.to_vec() };
    let mut measured: Vec<Measured> = Vec::new();
    for (case, load) in CASES {
        measured.push((case, measure(&load(), &names)?));
    }
    for line in lines(&measured) {
        if is_json { eprintln!("{line}") } else { print(&line)? }
    }
    if is_json {
        for (case, costs) in &measured {
            for Cost { estimator, nanos, ratio } in costs {
                let row = json!({
                    "bench": "cc-cpu",
                    "case": case,
                    "estimator": estimator,
                    "cpu_ns_per_packet": (nanos * 10.0).round() / 10.0,
                    "ratio": ratio.map(|ratio| (ratio * 1e3).round() / 1e3),
                });
                print(&row.to_string())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(load: &Load, names: &[String]) -> Result<Vec<Cost>> {
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for _ in 0..ROUNDS {
        for (name, rounds) in names.iter().zip(&mut rounds) {
            let setup = load.setup(clock::epoch());
            let (mut nanos, mut around) = (0, 0);
            for _ in 0..REPEATS {
                nanos += played(load, baseline::make(name, &setup)?.as_mut());
                around += played(load, baseline::surroundings(name, &setup).as_mut());
            }
            let nanos = nanos.saturating_sub(around);
            rounds.push(nanos as f64 / f64::from(REPEATS) / load.results() as f64);
        }
    }
    let measure = names.iter().position(|name| name == MEASURE).map(|place| rounds[place].clone());
    let cost = |(estimator, own): (&String, &Vec<f64>)| {
        let ratios = measure.as_ref().map(|measure| own.iter().zip(measure).map(|(own, other)| own / other));
        let ratio = ratios.map(|ratios| median(ratios.collect()));
        Cost { estimator: estimator.clone(), nanos: median(own.clone()), ratio }
    };
    Ok(names.iter().zip(&rounds).map(cost).collect())
}

/// How long an estimator is at it.
fn played(load: &Load, estimator: &mut dyn Estimator) -> u64 {
    let before = clock::stopwatch();
    load.play(estimator);
    clock::stopwatch() - before
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn lines(measured: &[Measured]) -> Vec<String> {
    let columns = [
        ("case", Align::Left),
        ("estimator", Align::Left),
        ("ns a packet's result", Align::Right),
        ("of gcc’s", Align::Right),
    ];
    let rows = measured.iter().flat_map(|(case, costs)| {
        costs.iter().map(|Cost { estimator, nanos, ratio }| {
            let ratio = ratio.map_or_else(|| table::NOTHING.to_owned(), |ratio| format!("{ratio:.2}"));
            vec![(*case).to_owned(), estimator.clone(), format!("{nanos:.1}"), ratio]
        })
    });
    table::lines(&columns.map(|(name, align)| (name.to_owned(), align)), &rows.collect::<Vec<_>>())
}

/// What ours cost in rows, against the measure in the same scenarios; `None` unless both were played.
pub(crate) fn ratio(rows: &[Row]) -> Option<String> {
    let cost = |name: &str, row: &Row| {
        let same = rows.iter().find(|other| {
            other.case.estimator == name
                && (&other.case.scenario, &other.case.set) == (&row.case.scenario, &row.case.set)
        });
        same.and_then(|row| row.mean("cpu_ns_per_packet"))
    };
    let pairs: Vec<(f64, f64)> = (rows.iter())
        .filter(|row| row.case.estimator == OURS)
        .filter_map(|row| Some((row.mean("cpu_ns_per_packet")?, cost(MEASURE, row)?)))
        .collect();
    let count = pairs.len() as f64;
    let (own, measure): (f64, f64) =
        pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / count, sum.1 + pair.1 / count));
    (measure > 0.0).then(|| {
        format!(
            "CPU: {OURS} {own:.0} ns a packet, {MEASURE} {measure:.0} ns, ratio {:.2} (the stopwatch's time taken off)",
            own / measure
        )
    })
}
