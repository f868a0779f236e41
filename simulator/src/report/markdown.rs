//! The table of measured results for the README: ours beside the best of others in the same run, row by row.
//!
//! In: rows. Out: lines of Markdown: the table, the command that makes it again, and plainly where we are behind.

use super::Row;
use super::goals::{self, Judged, Mark, OURS};
use crate::sweep::Metric;

/// The metrics that have columns; what else a goal is about stands in a column of its own.
const COLUMNS: [&str; 3] = ["util", "q95_ms", "loss"];

/// Lines of Markdown about some rows, made by `command`.
pub fn lines(rows: &[Row], command: &str) -> Vec<String> {
    let mut lines = vec![
        "| scenario | hybrid: used · p95 queue · lost | and | best of others in the same run | must | |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let judged = goals::judge(rows);
    for row in rows.iter().filter(|row| row.case.estimator == OURS) {
        let of_row: Vec<&Judged> = judged.iter().filter(|one| one.title == row.case.title()).collect();
        if of_row.is_empty() {
            continue;
        }
        let best = goals::best_of_others(row, rows);
        let other =
            best.map_or_else(String::new, |best| format!("{}: {}", best.case.estimator, values(best)));
        let must: Vec<String> = bounds(&of_row).map(|one| format!("{} {}", one.what, one.must)).collect();
        let cells =
            [row.case.title(), values(row), further(row, &of_row), other, must.join(", "), mark(&of_row)];
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.push(String::new());
    let seeds = rows.first().map(|row| row.seeds.to_string()).unwrap_or_default();
    lines.push(format!("`{command}` (seeds {seeds}; means over the seeds)"));
    let short: Vec<&Judged> = judged.iter().filter(|one| one.mark == Mark::Short).collect();
    if !short.is_empty() {
        lines.extend([String::new(), "Still short:".to_owned()]);
    }
    for one in short {
        let Judged { title, what, measured, must, .. } = one;
        lines.push(format!("- {title}: {what} {measured}, must be {must}"));
    }
    lines
}

/// The three that have a column: `.965 · 17 ms · 0.02 %`.
fn values(row: &Row) -> String {
    let value = |name: &str| {
        let metric = Metric::named(name)?;
        row.summary(metric).mean.map(|mean| in_unit(metric, mean))
    };
    COLUMNS.into_iter().filter_map(value).collect::<Vec<_>>().join(" · ")
}

fn in_unit(metric: &Metric, value: f64) -> String {
    let unit = metric.unit();
    let space = if unit.is_empty() { "" } else { " " };
    format!("{}{space}{unit}", metric.show(value))
}

/// The bounds themselves, without comparisons with others.
fn bounds<'a>(of_row: &'a [&Judged]) -> impl Iterator<Item = &'a &'a Judged> {
    of_row.iter().filter(|one| !one.is_against_others)
}

/// What of a goal's metrics has no column.
fn further(row: &Row, of_row: &[&Judged]) -> String {
    let mut names: Vec<&str> =
        bounds(of_row).map(|one| one.metric).filter(|name| !COLUMNS.contains(name)).collect();
    names.dedup();
    let value = |name: &str| {
        let metric = Metric::named(name)?;
        row.summary(metric).mean.map(|mean| format!("{} {}", metric.heading, in_unit(metric, mean)))
    };
    names.into_iter().filter_map(value).collect::<Vec<_>>().join(", ")
}

fn mark(of_row: &[&Judged]) -> String {
    let has = |mark: Mark| of_row.iter().any(|one| one.mark == mark);
    if has(Mark::Short) { "short".to_owned() } else { "✓".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(estimator: &str, util: f64, q95_ms: f64) -> Row {
        let json = serde_json::json!({
            "scenario": "step-4-1-4", "estimator": estimator, "seeds": "1..10", "util": util, "util_worst": util,
            "q95_ms": q95_ms, "loss": 0.001, "recover_s": 2.1, "frame_p95_ms": 70.0,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_line_has_ours_and_the_best_of_others_and_the_end_says_what_is_short() {
        let rows =
            [row(OURS, 0.93, 20.0), row("gcc", 0.70, 30.0), row("bbr", 0.75, 40.0), row("oracle", 0.99, 5.0)];
        let lines = lines(&rows, "sim bench");
        assert_eq!(lines.iter().filter(|line| line.starts_with("| step-4-1-4 |")).count(), 1);
        assert!(
            lines[2].contains("| 0.930 · 20.0 ms · 0.10 % | recover 2.10 s, frame p95 70.0 ms |"),
            "{}",
            lines[2]
        );
        assert!(
            lines[2].contains("| bbr: 0.750 · 40.0 ms · 0.10 % |") && lines[2].ends_with("✓ |"),
            "{}",
            lines[2]
        );
        assert!(lines.last().unwrap().contains("`sim bench` (seeds 1..10"), "{lines:#?}");

        let lines = super::lines(&[row(OURS, 0.91, 20.0)], "sim bench");
        assert!(lines[2].ends_with("short |"), "{}", lines[2]);
        assert_eq!(lines.last().unwrap(), "- step-4-1-4: util 0.910, must be ≥ 0.920");
    }
}
