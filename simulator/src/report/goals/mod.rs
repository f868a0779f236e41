//! What our controller must reach, beside what it did.
//!
//! In: rows. Out: a [`Judged`] for each bound, the text table of them. A bound is kept if the mean over the seeds keeps
//! it; the worst seed must not be below the mean of the best of others on the row's first metric: the best that was
//! measured elsewhere (a constant of [`table`]) and, if others are in the same run, the best of those. Somebody who
//! breaks another bound of the row by more than [`FAR`] times, or whose pictures take or stand still so many times as
//! long as ours, is no measure. Pure.

mod table;

use proto::scene::Scene;

use super::Row;
use super::table::{self as text, Align};
use crate::sweep::{Better, Metric};

/// Whose rows are judged.
pub const OURS: &str = "hybrid";

/// Those who are told the capacity take no part in the contest.
const TOLD: [&str; 2] = ["oracle", "fixed"];

/// By how many times others may break a bound and still be a measure for the worst seed.
const FAR: f64 = 2.5;

/// The shortest stall that there is, in seconds a minute: to have fewer is nobody's merit.
const SHORTEST_STALL: f64 = 0.2;

/// To be behind by less than this on a share, and by this share of other values, is to be equal: rows round.
const HAIR: f64 = 0.0005;

/// What a metric must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The metric's name.
    pub metric: &'static str,
    /// Whether `must` is the least or the most.
    pub better: Better,
    /// What must be reached.
    pub must: f64,
    /// What is aimed at.
    pub aim: Option<f64>,
}

/// What a scenario must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The scene for which it holds.
    pub scene: Scene,
    /// What the recorded link's file has in its name, for the scenario `trace`.
    pub trace: Option<&'static str>,
    /// What the best of others was measured to do, on the first bound's metric.
    pub anchor: Option<f64>,
    /// On which metrics it must be ahead of whoever is in the same run.
    pub ahead: &'static [&'static str],
    /// What else must hold.
    pub bounds: &'static [Bound],
}

/// How far a bound is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Not even what must be.
    Short,
    /// What must be.
    Kept,
    /// What was aimed at.
    Aimed,
    /// There is nothing to judge by: nobody to be ahead of, or no value.
    Open,
}

impl Mark {
    /// How tables write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "SHORT",
            Self::Kept => "ok",
            Self::Aimed => "ok, aim",
            Self::Open => "?",
        }
    }
}

/// A bound, and what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The row, as tables call it.
    pub title: String,
    /// What is demanded, in words: a metric's heading, or whose mean the worst seed is held against.
    pub what: String,
    /// The metric's name.
    pub metric: &'static str,
    /// Whether others, in the same run or elsewhere, are the measure.
    pub is_against_others: bool,
    /// What was measured, as text.
    pub measured: String,
    /// What must be, as text.
    pub must: String,
    /// What is aimed at, as text; empty if nothing is.
    pub aim: String,
    /// The verdict.
    pub mark: Mark,
}

/// Judges what rows there are of ours; the rows of others are what to be ahead of.
pub fn judge(rows: &[Row]) -> Vec<Judged> {
    let ours: Vec<&Row> = rows.iter().filter(|row| row.case.estimator == OURS).collect();
    let mut judged: Vec<Judged> = ours.iter().flat_map(|row| of_row(row, rows)).collect();
    judged.extend(padding(&ours));
    judged
}

/// The scenarios that have goals, with the scenes in which they have them.
pub fn scenarios() -> impl Iterator<Item = (&'static str, Scene)> {
    let plain = table::GOALS.iter().filter(|goal| goal.trace.is_none());
    plain.map(|goal| (goal.scenario, goal.scene))
}

fn goal_of(row: &Row) -> Option<Goal> {
    let case = &row.case;
    if case.scenario.starts_with("tiers-") {
        let bounds = if is_constant(&case.scenario) { table::TIERS } else { &table::TIERS[..1] };
        return Some(Goal {
            scenario: "tiers",
            scene: case.scene,
            trace: None,
            anchor: None,
            ahead: &["right_tier_share"],
            bounds,
        });
    }
    let fits = |goal: &&Goal| {
        let trace_fits = goal.trace.is_none_or(|name| case.set.contains(name));
        goal.scenario == case.scenario && goal.scene == case.scene && trace_fits
    };
    table::GOALS.iter().find(fits).copied()
}

/// Whether a scenario's capacity stays as it is.
fn is_constant(tiers: &str) -> bool {
    !["step", "rfc8867-5.1", "rfc8867-5.2", "rfc8867-5.3", "cbr", "trace"]
        .iter()
        .any(|part| tiers.contains(part))
}

fn of_row(row: &Row, rows: &[Row]) -> Vec<Judged> {
    let Some(goal) = goal_of(row) else { return Vec::new() };
    let mut judged: Vec<Judged> = goal.bounds.iter().map(|bound| of_bound(row, bound)).collect();
    let others = || rows.iter().filter(|other| is_opponent(row, other));
    judged.extend(worst_seed(row, &goal, others()));
    let measures = || others().filter(|other| goal.is_measure(row, other));
    judged.extend(goal.ahead.iter().filter_map(|name| lead(row, name, measures())));
    judged
}

/// The best of others in the same scenario on the goal's first metric: of those who are a measure, if there are some.
pub fn best_of_others<'a>(row: &Row, rows: &'a [Row]) -> Option<&'a Row> {
    let goal = goal_of(row)?;
    let first = goal.bounds.first().map(|bound| bound.metric).or_else(|| goal.ahead.first().copied());
    let metric = Metric::named(first?)?;
    let others =
        || rows.iter().filter(|other| is_opponent(row, other) && other.summary(metric).mean.is_some());
    let better = |a: &'a Row, b: &'a Row| match (a.summary(metric).mean, b.summary(metric).mean) {
        (Some(of_a), Some(of_b)) if metric.is_worse(of_a, of_b) => b,
        _ => a,
    };
    others().filter(|other| goal.is_measure(row, other)).reduce(better).or_else(|| others().reduce(better))
}

/// Whether another row is somebody to be compared with: scenes are ours alone.
fn is_opponent(row: &Row, other: &Row) -> bool {
    let name = other.case.estimator.as_str();
    name != OURS
        && !TOLD.contains(&name)
        && (&other.case.scenario, &other.case.set) == (&row.case.scenario, &row.case.set)
}

fn of_bound(row: &Row, bound: &Bound) -> Judged {
    let metric = Metric::named(bound.metric).expect("bounds name metrics");
    let mean = row.summary(metric).mean;
    let mark = match (mean, bound.aim) {
        (None, _) => Mark::Open,
        (Some(mean), Some(aim)) if bound.keeps(mean) && keeps(bound.better, mean, aim) => Mark::Aimed,
        (Some(mean), _) if bound.keeps(mean) => Mark::Kept,
        (Some(_), _) => Mark::Short,
    };
    let sign = sign(bound.better);
    Judged {
        title: row.case.title(),
        what: text::heading(metric),
        metric: metric.name,
        is_against_others: false,
        measured: text::show(metric, mean),
        must: format!("{sign} {}", metric.show(bound.must)),
        aim: bound.aim.map(|aim| format!("{sign} {}", metric.show(aim))).unwrap_or_default(),
        mark,
    }
}

impl Goal {
    /// Whether somebody who reaches this much has not paid for it elsewhere by far. Where the first metric is bounded
    /// from both sides, more of it is not better, and nobody is a measure.
    fn is_measure(&self, ours: &Row, other: &Row) -> bool {
        let first = self.bounds.first().map(|bound| bound.metric);
        let sides = self.bounds.iter().filter(|bound| Some(bound.metric) == first).count();
        let far = |name: &str, least: f64| match (ours.mean(name), other.mean(name)) {
            (Some(ours), Some(other)) => other > FAR * ours.max(least),
            (None, _) | (_, None) => false,
        };
        let is_late = far("frame_p95_ms", 0.0) || far("stall_s_per_min", SHORTEST_STALL);
        // Of what must not be at all nothing is by far too much; stalls are looked at anyway.
        let rest = self.bounds.iter().skip(1).filter(|bound| bound.must > 0.0);
        let excesses = rest.filter_map(|bound| other.mean(bound.metric).map(|value| bound.excess(value)));
        sides < 2 && !is_late && excesses.into_iter().all(|excess| excess <= FAR)
    }
}

impl Bound {
    fn keeps(&self, value: f64) -> bool {
        keeps(self.better, value, self.must)
    }

    /// By how many times a value breaks it: 1 at the bound; of shares that should be high what is missing to all counts.
    fn excess(&self, value: f64) -> f64 {
        match self.better {
            Better::Lower => value / self.must.max(HAIR),
            Better::Higher => (1.0 - value) / (1.0 - self.must).max(HAIR),
        }
    }
}

fn keeps(better: Better, value: f64, bound: f64) -> bool {
    match better {
        Better::Higher => value >= bound - HAIR * bound.max(1.0),
        Better::Lower => value <= bound + HAIR * bound,
    }
}

fn sign(better: Better) -> &'static str {
    match better {
        Better::Higher => "≥",
        Better::Lower => "≤",
    }
}

/// The worst seed against the best of others on the first bound's metric.
fn worst_seed<'a>(row: &Row, goal: &Goal, others: impl Iterator<Item = &'a Row>) -> Option<Judged> {
    let first = goal.bounds.first()?;
    let metric = Metric::named(first.metric)?;
    let played = others
        .filter(|other| goal.is_measure(row, other))
        .filter_map(|other| Some((other.summary(metric).mean?, other.case.estimator.clone())));
    let known = goal.anchor.map(|anchor| (anchor, "others".to_owned()));
    let better = |a: (f64, String), b: (f64, String)| if metric.is_worse(a.0, b.0) { b } else { a };
    let (best, who) = played.chain(known).reduce(better)?;
    let worst = row.summary(metric).worst;
    Some(Judged {
        title: row.case.title(),
        what: format!("worst seed, {}", metric.heading),
        metric: metric.name,
        is_against_others: true,
        measured: text::show(metric, worst),
        must: format!("{} {} ({who})", sign(metric.better), metric.show(best)),
        aim: String::new(),
        mark: worst.map_or(Mark::Open, |worst| {
            if keeps(metric.better, worst, best) { Mark::Kept } else { Mark::Short }
        }),
    })
}

/// The mean against the best of others in the same run.
fn lead<'a>(row: &Row, name: &str, others: impl Iterator<Item = &'a Row>) -> Option<Judged> {
    let metric = Metric::named(name)?;
    let own = row.summary(metric).mean?;
    let means = others.filter_map(|other| Some((other.summary(metric).mean?, other.case.estimator.as_str())));
    let best = means.reduce(|a, b| if metric.is_worse(a.0, b.0) { b } else { a });
    let mark =
        |(best, _): (f64, &str)| if keeps(metric.better, own, best) { Mark::Kept } else { Mark::Short };
    Some(Judged {
        title: row.case.title(),
        what: format!("ahead on {}", metric.heading),
        metric: metric.name,
        is_against_others: true,
        measured: metric.show(own),
        must: best.map_or_else(
            || "nobody was played".to_owned(),
            |(best, who)| format!("{} {} ({who})", sign(metric.better), metric.show(best)),
        ),
        aim: String::new(),
        mark: best.map_or(Mark::Open, mark),
    })
}

/// Padding over all rows that have goals.
fn padding(ours: &[&Row]) -> Option<Judged> {
    let bound = table::PADDING;
    let shares: Vec<f64> = ours.iter().filter_map(|row| row.mean(bound.metric)).collect();
    if shares.len() < 2 {
        return None;
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let metric = Metric::named(bound.metric)?;
    let mark = match (bound.keeps(mean), bound.aim.is_some_and(|aim| keeps(bound.better, mean, aim))) {
        (_, true) => Mark::Aimed,
        (true, false) => Mark::Kept,
        (false, false) => Mark::Short,
    };
    Some(Judged {
        title: "all of these".to_owned(),
        what: text::heading(metric),
        metric: metric.name,
        is_against_others: false,
        measured: metric.show(mean),
        must: format!("≤ {}", metric.show(bound.must)),
        aim: bound.aim.map(|aim| format!("≤ {}", metric.show(aim))).unwrap_or_default(),
        mark,
    })
}

/// The table of what was judged, and a line with the count.
pub fn lines(judged: &[Judged]) -> Vec<String> {
    let left = |name: &str| (name.to_owned(), Align::Left);
    let right = |name: &str| (name.to_owned(), Align::Right);
    let columns = [left("scenario"), left("what"), right("measured"), left("must"), left("aim"), left("")];
    let mut last = "";
    let mut cells = Vec::new();
    for one in judged {
        let title = if one.title == last { String::new() } else { one.title.clone() };
        last = &one.title;
        let Judged { what, measured, must, aim, mark, .. } = one.clone();
        cells.push(vec![title, what, measured, must, aim, mark.name().to_owned()]);
    }
    let mut lines = text::lines(&columns, &cells);
    let count = |wanted: &[Mark]| judged.iter().filter(|one| wanted.contains(&one.mark)).count();
    lines.push(format!(
        "{} of {} goals kept, {} short, {} open",
        count(&[Mark::Kept, Mark::Aimed]),
        judged.len(),
        count(&[Mark::Short]),
        count(&[Mark::Open]),
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(estimator: &str, scenario: &str, values: &serde_json::Value) -> Row {
        let mut json = serde_json::json!({ "scenario": scenario, "estimator": estimator, "seeds": "1..5" });
        for (key, value) in values.as_object().unwrap() {
            json[key] = value.clone();
        }
        serde_json::from_value(json).unwrap()
    }

    fn marks(rows: &[Row]) -> Vec<(String, Mark)> {
        judge(rows).into_iter().map(|one| (one.what, one.mark)).collect()
    }

    #[test]
    fn every_goal_names_a_scenario_and_metrics_that_there_are() {
        for goal in table::GOALS {
            let known = goal.scenario == "trace" || crate::scenario::find(goal.scenario).is_some();
            assert!(known, "{}", goal.scenario);
            let named = goal.bounds.iter().map(|bound| bound.metric).chain(goal.ahead.iter().copied());
            for name in named.chain(table::TIERS.iter().map(|bound| bound.metric)) {
                assert!(Metric::named(name).is_some(), "{}: {name}", goal.scenario);
            }
            for bound in goal.bounds {
                let reached = bound.aim.is_none_or(|aim| bound.keeps(aim));
                assert!(reached, "{}: whoever aims at it misses what must be", goal.scenario);
            }
        }
    }

    #[test]
    fn bounds_are_kept_by_the_mean_and_the_anchor_by_the_worst_seed() {
        for (name, util, worst, q95, expected) in [
            ("as aimed", 0.975, 0.95, 14.0, [Mark::Aimed, Mark::Aimed, Mark::Kept]),
            ("as must be", 0.96, 0.93, 20.0, [Mark::Kept, Mark::Kept, Mark::Kept]),
            ("too little", 0.95, 0.93, 20.0, [Mark::Short, Mark::Kept, Mark::Kept]),
            ("too much queue", 0.97, 0.93, 21.0, [Mark::Aimed, Mark::Short, Mark::Kept]),
            ("a bad seed", 0.97, 0.92, 14.0, [Mark::Aimed, Mark::Aimed, Mark::Short]),
        ] {
            let values = serde_json::json!({ "util": util, "util_worst": worst, "q95_ms": q95 });
            let found: Vec<Mark> =
                marks(&[row(OURS, "fixed-4m", &values)]).into_iter().map(|(_, mark)| mark).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_best_of_the_run_is_the_measure_unless_it_cheats() {
        let ours = row(
            OURS,
            "shallow-10",
            &serde_json::json!({ "util": 0.96, "util_worst": 0.95, "loss": 0.0, "frames_hit": 0.0 }),
        );
        for (name, util, loss, mark) in [
            ("worse", 0.90, 0.0, Mark::Kept),
            ("better", 0.97, 0.0, Mark::Short),
            ("better, at 4 % loss", 0.98, 0.04, Mark::Kept),
        ] {
            let other = row("gcc", "shallow-10", &serde_json::json!({ "util": util, "loss": loss }));
            let found = marks(&[ours.clone(), other]);
            assert_eq!(found[3], ("worst seed, util".to_owned(), mark), "{name}");
        }
    }

    #[test]
    fn being_ahead_needs_somebody_to_be_ahead_of() {
        let ours = row(OURS, "rfc8867-5.8", &serde_json::json!({ "util": 0.96, "jain": 0.98 }));
        let other = |util: f64| row("bbr", "rfc8867-5.8", &serde_json::json!({ "util": util, "jain": 0.9 }));
        let told = row("oracle", "rfc8867-5.8", &serde_json::json!({ "util": 0.99, "jain": 1.0 }));
        for (others, util) in [
            (vec![], Mark::Open),
            (vec![told], Mark::Open),
            (vec![other(0.9)], Mark::Kept),
            (vec![other(0.97)], Mark::Short),
        ] {
            let rows: Vec<Row> = std::iter::once(ours.clone()).chain(others).collect();
            assert_eq!(marks(&rows)[0], ("ahead on util".to_owned(), util));
        }
    }

    #[test]
    fn scenes_and_traces_choose_their_goals_and_others_have_none() {
        let values = serde_json::json!({ "util": 0.94, "util_worst": 0.94, "q95_ms": 11.0, "scene": "game" });
        assert!(marks(&[row(OURS, "fixed-4m", &values)]).iter().all(|(_, mark)| *mark == Mark::Kept));
        let values = serde_json::json!({ "util": 0.56, "util_worst": 0.5, "q95_ms": 11.0, "set": "trace=/a/Verizon-LTE-short.down" });
        assert_eq!(marks(&[row(OURS, "trace", &values)]).len(), 3);
        assert!(marks(&[row(OURS, "bloat-1s", &serde_json::json!({}))]).is_empty());
        assert!(marks(&[row("gcc", "fixed-4m", &serde_json::json!({ "util": 1.0 }))]).is_empty());
    }

    #[test]
    fn padding_is_judged_over_all_rows_together() {
        let padded = |share: f64| row(OURS, "bloat-1s", &serde_json::json!({ "padding_share": share }));
        for (shares, mark) in
            [([0.0, 0.003], Mark::Aimed), ([0.001, 0.008], Mark::Kept), ([0.01, 0.01], Mark::Short)]
        {
            let rows = shares.map(padded);
            assert_eq!(judge(&rows).last().map(|one| one.mark), Some(mark));
        }
        assert!(judge(&[padded(0.5)]).is_empty(), "one row is no average");
    }

    #[test]
    fn the_table_names_a_scenario_once_and_counts() {
        let values = serde_json::json!({ "util": 0.95, "util_worst": 0.94, "q95_ms": 14.0 });
        let lines = lines(&judge(&[row(OURS, "fixed-4m", &values)]));
        assert_eq!(lines.iter().filter(|line| line.contains("fixed-4m")).count(), 1, "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "2 of 3 goals kept, 1 short, 0 open");
    }
}
