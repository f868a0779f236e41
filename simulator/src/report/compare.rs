//! One estimator against another, or yesterday's rows against today's: who wins where.
//!
//! A win is Pareto's: better on the primary metric (utilization) and on no secondary one worse by more than 5 %. To be
//! better by less than a hair, or worse by less than what a table shows, counts as equal.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use super::Row;
use super::table::{self, Align};
use crate::sweep::{Better, Metric};

/// What is compared first.
const PRIMARY: &str = "util";

/// Better by less than this on the primary metric is equal: it is the second digit of published tables, halved.
const PRIMARY_HAIR: f64 = 0.005;

/// How much worse a secondary metric may be, as a share.
const SECONDARY_SLACK: f64 = 0.05;

/// The secondary metrics, each with a difference that is too small to matter whatever its share.
const SECONDARY: [(&str, f64); 6] = [
    ("q95_ms", 2.0),          // two packets of 1200 bytes at 10 Mbit/s
    ("loss", 0.0005),         // a packet in 2000
    ("frame_p95_ms", 5.0),    // a third of a picture at 60 fps
    ("stall_s_per_min", 0.1), // half of the shortest stall
    ("jain", 0.01),
    ("tcp_share", 0.02),
];

/// Who won a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The first one is better on the primary metric and not worse on a secondary one.
    Win,
    /// The second one is.
    Loss,
    /// One is better on the primary metric, but worse on a secondary one.
    Trade,
    /// The primary metric is equal.
    Even,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Win => "win",
            Self::Loss => "loss",
            Self::Trade => "trade",
            Self::Even => "even",
        })
    }
}

/// Which rows are opposites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Those of the same scenario with the same values set.
    Scenario,
    /// Those of the same estimator as well.
    Estimator,
}

/// A scenario on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    /// The first side.
    pub a: &'a Row,
    /// The second side.
    pub b: &'a Row,
    /// Who won.
    pub verdict: Verdict,
    /// The secondary metrics on which the first side is worse, then those on which it is better.
    pub secondary: (Vec<&'static str>, Vec<&'static str>),
}

/// Both sides over all scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison<'a> {
    /// Scenarios that both have, in the order of the first side.
    pub pairs: Vec<Pair<'a>>,
    /// What only one of them has.
    pub alone: Vec<&'a Row>,
}

/// Compares two lists of rows.
pub fn compare<'a>(a: &'a [Row], b: &'a [Row], by: Match) -> Comparison<'a> {
    let is_opposite = |a: &Row, b: &Row| {
        let same_place = (&a.case.scenario, &a.case.set) == (&b.case.scenario, &b.case.set);
        same_place && (by == Match::Scenario || a.case.estimator == b.case.estimator)
    };
    let pairs = a.iter().filter_map(|a| b.iter().find(|b| is_opposite(a, b)).map(|b| judge(a, b)));
    let only_a = a.iter().filter(|a| !b.iter().any(|b| is_opposite(a, b)));
    let only_b = b.iter().filter(|b| !a.iter().any(|a| is_opposite(a, b)));
    Comparison { pairs: pairs.collect(), alone: only_a.chain(only_b).collect() }
}

/// How the rows of two files are opposites: by scenario if each file is about one estimator alone.
pub fn matching(a: &[Row], b: &[Row]) -> Match {
    let estimators =
        |rows: &[Row]| rows.iter().map(|row| row.case.estimator.clone()).collect::<BTreeSet<_>>().len();
    if estimators(a) == 1 && estimators(b) == 1 { Match::Scenario } else { Match::Estimator }
}

fn judge<'a>(a: &'a Row, b: &'a Row) -> Pair<'a> {
    let order = |name: &str, hair: f64, slack: f64| {
        let metric = Metric::named(name).expect("a metric's name");
        match (a.summary(metric).mean, b.summary(metric).mean) {
            (Some(a), Some(b)) if (a - b).abs() <= hair.max(slack * b.abs().min(a.abs())) => Ordering::Equal,
            (Some(a), Some(b)) if metric.better == Better::Higher => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (None, _) | (_, None) => Ordering::Equal,
        }
    };
    let secondary = |wanted: Ordering| -> Vec<&'static str> {
        let found = SECONDARY.iter().filter(|(name, hair)| order(name, *hair, SECONDARY_SLACK) == wanted);
        found.map(|(name, _)| *name).collect()
    };
    let (worse, better) = (secondary(Ordering::Less), secondary(Ordering::Greater));
    let verdict = match order(PRIMARY, PRIMARY_HAIR, 0.0) {
        Ordering::Equal => Verdict::Even,
        Ordering::Greater if worse.is_empty() => Verdict::Win,
        Ordering::Less if better.is_empty() => Verdict::Loss,
        Ordering::Greater | Ordering::Less => Verdict::Trade,
    };
    Pair { a, b, verdict, secondary: (worse, better) }
}

impl Comparison<'_> {
    /// How many scenarios have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.pairs.iter().filter(|pair| pair.verdict == verdict).count()
    }

    /// A table for people: each metric of both sides, the verdict and why, and the count at the end.
    pub fn lines(&self) -> Vec<String> {
        let rows: Vec<Row> = self.pairs.iter().flat_map(|pair| [pair.a.clone(), pair.b.clone()]).collect();
        let compared = |metric: &&&Metric| {
            metric.name == PRIMARY || SECONDARY.iter().any(|(name, _)| *name == metric.name)
        };
        let metrics: Vec<&Metric> = table::shown(&rows).iter().filter(compared).copied().collect();
        let mut columns = vec![("scenario".to_owned(), Align::Left), ("verdict".to_owned(), Align::Left)];
        for metric in &metrics {
            columns.push((table::heading(metric), Align::Right));
            columns.push(("against".to_owned(), Align::Right));
        }
        columns.push(("because".to_owned(), Align::Left));
        let cells = |pair: &Pair<'_>| {
            let mut cells = vec![pair.a.case.title(), pair.verdict.to_string()];
            for metric in &metrics {
                cells.push(table::show(metric, pair.a.summary(metric).mean));
                cells.push(table::show(metric, pair.b.summary(metric).mean));
            }
            cells.push(pair.because());
            cells
        };
        let mut lines = table::lines(&columns, &self.pairs.iter().map(cells).collect::<Vec<_>>());
        for row in &self.alone {
            lines.push(format!("{} with {} has no opposite", row.case.title(), row.case.estimator));
        }
        lines.push(format!(
            "{} wins, {} losses, {} trades, {} even",
            self.count(Verdict::Win),
            self.count(Verdict::Loss),
            self.count(Verdict::Trade),
            self.count(Verdict::Even)
        ));
        lines
    }
}

impl Pair<'_> {
    fn because(&self) -> String {
        let list =
            |what: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
        let (worse, better) = (list("worse", &self.secondary.0), list("better", &self.secondary.1));
        worse.into_iter().chain(better).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(estimator: &str, util: f64, q95_ms: f64, loss: f64) -> Row {
        let json = serde_json::json!({
            "scenario": "made-up", "estimator": estimator, "seeds": "1..5",
            "util": util, "q95_ms": q95_ms, "loss": loss,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn verdicts_are_paretos() {
        for (name, a, b, verdict) in [
            ("better on all", (0.95, 10.0, 0.0), (0.90, 20.0, 0.01), Verdict::Win),
            ("better, and hardly more queue", (0.95, 20.9, 0.0), (0.90, 20.0, 0.0), Verdict::Win),
            ("better, but 10 % more queue", (0.95, 110.0, 0.0), (0.90, 100.0, 0.0), Verdict::Trade),
            ("10 % more of a queue that is no queue", (0.95, 2.2, 0.0), (0.90, 2.0, 0.0), Verdict::Win),
            ("better, but it loses packets", (0.95, 10.0, 0.02), (0.90, 10.0, 0.0), Verdict::Trade),
            ("worse on all", (0.90, 20.0, 0.01), (0.95, 10.0, 0.0), Verdict::Loss),
            ("worse, but it has less queue", (0.90, 10.0, 0.0), (0.95, 40.0, 0.0), Verdict::Trade),
            ("a hair better", (0.904, 10.0, 0.0), (0.900, 99.0, 0.0), Verdict::Even),
        ] {
            let (a, b) = (row("a", a.0, a.1, a.2), row("b", b.0, b.1, b.2));
            assert_eq!(judge(&a, &b).verdict, verdict, "{name}");
            let mirrored = match verdict {
                Verdict::Win => Verdict::Loss,
                Verdict::Loss => Verdict::Win,
                Verdict::Trade => Verdict::Trade,
                Verdict::Even => Verdict::Even,
            };
            assert_eq!(judge(&b, &a).verdict, mirrored, "{name}, seen from the other side");
        }
    }

    #[test]
    fn rows_meet_their_opposites_and_the_count_is_told() {
        let (a, b) = ([row("a", 0.95, 10.0, 0.0)], [row("b", 0.90, 10.0, 0.0)]);
        assert_eq!(matching(&a, &b), Match::Scenario);
        let comparison = compare(&a, &b, Match::Scenario);
        assert_eq!((comparison.count(Verdict::Win), comparison.alone.len()), (1, 0));
        let lines = comparison.lines();
        assert_eq!(lines.last().unwrap(), "1 wins, 0 losses, 0 trades, 0 even");
        assert!(lines[1].starts_with("made-up   win      0.950    0.900"), "{lines:#?}");

        let mixed = [a[0].clone(), b[0].clone()];
        assert_eq!(matching(&mixed, &mixed), Match::Estimator);
        let comparison = compare(&mixed, &b, Match::Estimator);
        assert_eq!((comparison.count(Verdict::Even), comparison.alone), (1, vec![&a[0]]));
    }
}
