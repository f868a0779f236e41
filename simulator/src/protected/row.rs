//! Rows: what one contender came to in one scenario, the median over seeds.

use proto::scene::Scene;
use serde::Serialize;

use super::contender::Contender;
use super::tally::Outcome;
use crate::report::table::{self, Align};
use crate::sweep::Seeds;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// The contender.
    pub policy: String,
    /// What people do.
    pub scene: &'static str,
    /// What was set, empty for nothing.
    pub set: String,
    /// The seeds.
    pub seeds: Seeds,
    /// The median of each number.
    #[serde(flatten)]
    pub median: Outcome,
}

/// A number of an outcome: what tables call it, how, by what factor and with how many digits they show it.
pub struct Number {
    /// Its heading, with its unit.
    pub heading: &'static str,
    /// It.
    pub of: fn(&Outcome) -> f64,
    /// What it is multiplied by.
    pub scale: f64,
    /// Digits behind the point.
    pub digits: usize,
}

const fn number(heading: &'static str, of: fn(&Outcome) -> f64, scale: f64, digits: usize) -> Number {
    Number { heading, of, scale, digits }
}

/// All numbers, in the order of tables.
pub const NUMBERS: [Number; 10] = [
    number("still, s/min", |one| one.stall_s_per_min, 1.0, 2),
    number("stills/min", |one| one.stalls_per_min, 1.0, 1),
    number("frame p50, ms", |one| one.frame_p50_ms, 1.0, 0),
    number("frame p95, ms", |one| one.frame_p95_ms, 1.0, 0),
    number("incomplete, %", |one| one.incomplete, 100.0, 2),
    number("redundancy, %", |one| one.redundancy, 100.0, 1),
    number("parity, %", |one| one.parity, 100.0, 1),
    number("media, kbit/s", |one| one.media_kbps, 1.0, 0),
    number("lost, %", |one| one.loss, 100.0, 2),
    number("paid twice, %", |one| one.paid_twice, 100.0, 1),
];

impl Number {
    /// How a table shows it.
    pub fn show(&self, outcome: &Outcome) -> String {
        format!("{:.*}", self.digits, (self.of)(outcome) * self.scale)
    }
}

impl Row {
    /// The row of some runs of a contender, at least one.
    pub fn new(
        scenario: &str,
        contender: &Contender,
        (scene, set): (Scene, String),
        seeds: Seeds,
        runs: &[Outcome],
    ) -> Self {
        let (scenario, policy) = (scenario.to_owned(), contender.to_string());
        Self { scenario, policy, scene: scene.name(), set, seeds, median: median(runs) }
    }

    /// Where it was played.
    pub fn title(&self) -> String {
        let set = if self.set.is_empty() { String::new() } else { format!(" {}", self.set) };
        format!("{}{set} ({})", self.scenario, self.scene)
    }
}

/// The median of each number, the lower one of two.
fn median(runs: &[Outcome]) -> Outcome {
    let of = |number: fn(&Outcome) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(number).collect();
        all.sort_by(f64::total_cmp);
        let value = all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        (value * 1e6).round() / 1e6
    };
    Outcome {
        stall_s_per_min: of(|one| one.stall_s_per_min),
        stalls_per_min: of(|one| one.stalls_per_min),
        frame_p50_ms: of(|one| one.frame_p50_ms),
        frame_p95_ms: of(|one| one.frame_p95_ms),
        incomplete: of(|one| one.incomplete),
        redundancy: of(|one| one.redundancy),
        parity: of(|one| one.parity),
        media_kbps: of(|one| one.media_kbps),
        loss: of(|one| one.loss),
        paid_twice: of(|one| one.paid_twice),
        trace_hash: 0,
    }
}

/// The table of some rows.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let mut columns = vec![("scenario".to_owned(), Align::Left), ("policy".to_owned(), Align::Left)];
    columns.extend(NUMBERS.iter().map(|number| (number.heading.to_owned(), Align::Right)));
    let cells = rows.iter().map(|row| {
        let mut cells = vec![row.title(), row.policy.clone()];
        cells.extend(NUMBERS.iter().map(|number| number.show(&row.median)));
        cells
    });
    table::lines(&columns, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_by_number() {
        let run =
            |stall, delay| Outcome { stall_s_per_min: stall, frame_p95_ms: delay, ..Outcome::default() };
        let all = [run(0.0, 90.0), run(9.0, 70.0), run(1.0, 80.0)];
        let contender: Contender = Contender::OURS.parse().expect("it is known");
        let row = Row::new(
            "random-5",
            &contender,
            (Scene::Pk, String::new()),
            Seeds::new(1, 3).expect("three"),
            &all,
        );
        assert_eq!((row.median.stall_s_per_min, row.median.frame_p95_ms), (1.0, 80.0));
        let json = serde_json::to_value(&row).expect("it is an object");
        assert_eq!(json["frame_p95_ms"], 80.0);
        assert_eq!(json["policy"], "hybrid+plan");
        assert!(json.get("trace_hash").is_none());
        let lines = lines(&[row]);
        assert!(lines[1].starts_with("random-5 (pk)  hybrid+plan          1.00"), "{}", lines[1]);
    }
}
