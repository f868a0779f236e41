//! The rows as a page: bars with their goals, what each seed gave, uplinks, times.
//!
//! In: rows with their runs. Out: a file.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

use super::row::{Algorithm, HEAD, Row, uplink_goal};

const SIZE: (u32, u32) = (900, 340);

const COLORS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(255, 127, 14), RGBColor(140, 140, 140)];

/// What is drawn of each instance: values by algorithm, and a goal if there is one.
struct Column<'a> {
    name: &'a str,
    values: Vec<(usize, f64)>,
    goal: Option<f64>,
}

/// Writes the page.
pub(super) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Lianmai: which tiers are sent</title>\n\
         <style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }\n\
         pre { overflow-x: auto; font-size: 80% } svg { max-width: 100%; height: auto }</style>\n\
         <h1>Which tiers are sent</h1>\n<p>Blue: lianmai; orange: kmr-style; gray: three layers with dynacast. Red lines are goals.</p>\n",
    );
    let rated: Vec<&Row> = rows.iter().filter(|row| !row.name.is_timed_only()).collect();
    section(
        &mut html,
        "Utility, mean over seeds, as a share of the optimum",
        &columns(&rated, |_| Some(0.985), |row| vec![row.utility_mean]),
        (0.5, 1.0),
    )?;
    section(
        &mut html,
        "Utility, seed by seed",
        &columns(
            &rated,
            |_| Some(0.95),
            |row| row.runs.iter().map(|run| run.share(row.algorithm, run.optimum)).collect(),
        ),
        (0.3, 1.05),
    )?;
    section(
        &mut html,
        "Uplinks, as a share of three layers'; ours at no less utility than theirs",
        &columns(&rated, |row| uplink_goal(row.name), |row| vec![row.uplink_ratio]),
        (0.0, 1.6),
    )?;
    let ours: Vec<&Row> = rows.iter().filter(|row| row.algorithm == Algorithm::Lianmai).collect();
    section(
        &mut html,
        "Time to plan, 99th percentile, milliseconds of one core",
        &columns(&ours, |_| None, |row| vec![row.plan_ms_p99]),
        (0.0, 10.0),
    )?;
    section(
        &mut html,
        "What a better plan could be better by, at most",
        &columns(&ours, |_| Some(0.03), |row| row.runs.iter().map(|run| run.gap).collect()),
        (0.0, 0.1),
    )?;
    writeln!(html, "<pre>{HEAD}")?;
    for row in rows {
        writeln!(html, "{}", row.line())?;
    }
    html.push_str("</pre>\n</html>\n");
    std::fs::write(file, html).with_context(|| format!("writing {}", file.display()))
}

/// A column for each instance; rows of one follow one another.
fn columns<'a>(
    rows: &[&'a Row],
    goal: impl Fn(&Row) -> Option<f64>,
    values: impl Fn(&Row) -> Vec<f64>,
) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    for row in rows {
        if columns.last().is_none_or(|last| last.name != row.name.text()) {
            columns.push(Column { name: row.name.text(), values: Vec::new(), goal: goal(row) });
        }
        let algorithm = Algorithm::ALL.iter().position(|one| *one == row.algorithm).unwrap_or_default();
        if let Some(column) = columns.last_mut() {
            column.values.extend(values(row).into_iter().map(|value| (algorithm, value)));
        }
    }
    columns
}

/// A heading and its plot: a bar where an algorithm has one value, dots where it has one for each seed.
fn section(html: &mut String, title: &str, columns: &[Column<'_>], (bottom, top): (f64, f64)) -> Result<()> {
    let top =
        columns.iter().flat_map(|column| &column.values).map(|(_, value)| value * 1.05).fold(top, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(-0.5..(columns.len() as f64 - 0.5).max(0.5), bottom..top)?;
        let name = |at: &f64| {
            let named = columns.get(at.round().max(0.0) as usize).filter(|_| at.fract().abs() < 1e-6);
            named.map_or(String::new(), |column| column.name.to_owned())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(columns.len().max(1) * 2 + 1)
            .x_label_formatter(&name)
            .draw()?;
        for (place, column) in columns.iter().enumerate() {
            let left = |algorithm: usize| place as f64 - 0.36 + 0.24 * algorithm as f64;
            let is_bars = (0..3)
                .all(|one| column.values.iter().filter(|(algorithm, _)| *algorithm == one).count() <= 1);
            for (algorithm, value) in &column.values {
                let (from, color) = (left(*algorithm), COLORS[*algorithm]);
                if is_bars {
                    let bar = [(from, bottom), (from + 0.22, value.max(bottom))];
                    chart.draw_series([Rectangle::new(bar, color.filled())])?;
                } else {
                    chart.draw_series([Circle::new((from + 0.11, value.max(bottom)), 3, color.filled())])?;
                }
            }
            if let Some(goal) = column.goal {
                let line = [(place as f64 - 0.45, goal), (place as f64 + 0.45, goal)];
                chart.draw_series([PathElement::new(line.to_vec(), RED.stroke_width(2))])?;
            }
        }
        root.present()?;
    }
    writeln!(html, "<h2>{title}</h2>\n{svg}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use simulator::sweep::Seeds;

    use super::*;
    use crate::xtask::bench::visc::instances::Name;
    use crate::xtask::bench::visc::row::Run;

    #[test]
    fn a_page_has_a_bar_for_each_algorithm_and_a_dot_for_each_seed() {
        let run = Run {
            ours: 0.9,
            kmr: 0.8,
            three_layer: 0.7,
            optimum: 1.0,
            bound: 1.0,
            gap: 0.01,
            uplink: [1.0, 3.0, 2.0],
            ..Run::default()
        };
        let runs = vec![run.clone(), Run { ours: 1.0, ..run }];
        let row = |algorithm| Row::new(Name::NineGrid, algorithm, Seeds::one(1), &runs);
        let rows: Vec<Row> = Algorithm::ALL.into_iter().map(row).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("page.html");
        write(&rows, &file).expect("written");
        let page = std::fs::read_to_string(file).expect("readable");
        assert_eq!(page.matches("<circle").count(), 3 * 2 + 2, "utilities of all, gaps of ours");
        assert_eq!(page.matches("nine-grid").count(), 5 + 3, "in each plot, in each line");
    }
}
