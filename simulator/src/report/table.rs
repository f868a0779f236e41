//! Tables of text: columns as wide as their widest cell, numbers aligned at the right.

use super::Row;
use crate::sweep::{METRICS, Metric};

/// What stands where a number has no meaning.
pub const NOTHING: &str = "–";

/// Where a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lines of a table with a heading; every row has as many cells as there are columns.
pub fn lines(columns: &[(String, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(place, (heading, _))| {
            let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| width(cell));
            cells.chain([width(heading)]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &String>| {
        let mut line = String::new();
        for ((cell, width_max), (_, align)) in cells.zip(&widths).zip(columns) {
            let blanks = " ".repeat(width_max.saturating_sub(width(cell)));
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.extend([cell.as_str(), &blanks]),
                Align::Right => line.extend([blanks.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    };
    let heading = line(&mut columns.iter().map(|(heading, _)| heading));
    std::iter::once(heading).chain(rows.iter().map(|row| line(&mut row.iter()))).collect()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// The table of some rows: the metrics that at least one of them has, and the worst utilization beside the mean.
pub fn of_rows(rows: &[Row]) -> Vec<String> {
    let metrics = shown(rows);
    let has_sets = rows.iter().any(|row| !row.case.set.is_empty());
    let mut columns = vec![("scenario".to_owned(), Align::Left)];
    columns.extend(has_sets.then(|| ("set".to_owned(), Align::Left)));
    columns.push(("estimator".to_owned(), Align::Left));
    for metric in &metrics {
        columns.push((heading(metric), Align::Right));
        columns.extend((metric.name == "util").then(|| ("worst".to_owned(), Align::Right)));
    }
    let cells = |row: &Row| {
        let mut cells = vec![row.case.scenario.clone()];
        cells.extend(has_sets.then(|| row.case.set.clone()));
        cells.push(row.case.estimator.clone());
        for metric in &metrics {
            let summary = row.summary(metric);
            cells.push(show(metric, summary.mean));
            cells.extend((metric.name == "util").then(|| show(metric, summary.worst)));
        }
        cells
    };
    lines(&columns, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// The metrics of tables that at least one row has.
pub fn shown(rows: &[Row]) -> Vec<&'static Metric> {
    let in_tables = METRICS[..crate::sweep::IN_TABLES].iter();
    in_tables.filter(|metric| rows.iter().any(|row| row.summary(metric).mean.is_some())).collect()
}

/// A metric's heading with its unit.
pub fn heading(metric: &Metric) -> String {
    match metric.unit() {
        "" => metric.heading.to_owned(),
        unit => format!("{}, {unit}", metric.heading),
    }
}

/// A value, or the sign for none.
pub fn show(metric: &Metric, value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| metric.show(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn numbers_stand_under_each_other() {
        let columns = [("name".to_owned(), Align::Left), ("ms".to_owned(), Align::Right)];
        let rows = [vec!["long name".to_owned(), "1.0".to_owned()], vec!["–".to_owned(), "100.0".to_owned()]];
        assert_eq!(lines(&columns, &rows), ["name          ms", "long name    1.0", "–          100.0"]);
    }

    #[test]
    fn only_columns_with_a_meaning_are_shown() {
        let rows = [Row::of(&made_up::group("gcc", 1..=3)), Row::of(&made_up::group("bbr", 1..=3))];
        let lines = of_rows(&rows);
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with("scenario  estimator   util  worst  queue p95, ms  loss, %"),
            "{}",
            lines[0]
        );
        assert!(!lines[0].contains("TCP") && !lines[0].contains("set"), "{}", lines[0]);
        assert!(lines[1].starts_with("made-up   gcc        0.9"), "{}", lines[1]);
        let ends: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "the last column is numbers: {ends:?}");
    }
}
