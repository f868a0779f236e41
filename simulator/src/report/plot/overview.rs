//! All scenarios at a glance: for each a line, on it a dot for each estimator's mean.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Entry, GRID, Mark, Panel, PlotError, SCALE, estimator_color, stroke, svg, text, tick, word};
use crate::report::Row;
use crate::sweep::Metric;

/// The width on the page, in pixels.
const WIDTH: u32 = 980;
/// What of it the scenarios' names take.
const LEFT: u32 = 210;
/// The height of a line, of the headings and of the axes.
const LINE: u32 = 20;
/// See [`LINE`].
const HEAD: u32 = 26;
/// See [`LINE`].
const FOOT: u32 = 26;

/// Where a column's axis begins and ends, in the metric's unit.
enum Scale {
    /// Evenly.
    Linear(f64, f64),
    /// By powers of ten; what lies below the beginning is drawn there.
    Powers(f64, f64),
}

/// The columns.
const COLUMNS: [(&str, &str, Scale); 3] = [
    ("util", "utilization", Scale::Linear(0.0, 1.05)),
    ("q95_ms", "queue delay p95, ms", Scale::Powers(1.0, 2_000.0)),
    ("loss", "packets lost, %", Scale::Powers(0.01, 60.0)),
];

/// The overview of some rows.
pub(in crate::report) fn overview(rows: &[Row]) -> Result<Panel, PlotError> {
    let mut titles: Vec<String> = Vec::new();
    let mut estimators: Vec<&str> = Vec::new();
    for row in rows {
        if !titles.contains(&row.case.title()) {
            titles.push(row.case.title());
        }
        if !estimators.contains(&row.case.estimator.as_str()) {
            estimators.push(&row.case.estimator);
        }
    }
    let height = titles.len() as u32 * LINE + HEAD + FOOT;
    let svg = svg((WIDTH, height), "Utilization, queue delay and losses in all scenarios", |area| {
        for (number, title) in titles.iter().enumerate() {
            let middle = (HEAD + number as u32 * LINE + LINE / 2) * SCALE;
            word(area, title, ((LEFT - 8) * SCALE, middle), HPos::Right)?;
        }
        let width = (WIDTH - LEFT) / COLUMNS.len() as u32;
        for (number, (name, heading, scale)) in COLUMNS.iter().enumerate() {
            let metric = Metric::named(name).expect("a metric's name");
            let left = (LEFT + number as u32 * width) * SCALE;
            let column = Column { metric, heading, rows, titles: &titles };
            let place = area.clone().shrink((left, 0), (width * SCALE, height * SCALE));
            match scale {
                Scale::Linear(from, to) => column.draw(&place, *from..*to, *from)?,
                Scale::Powers(from, to) => column.draw(&place, (*from..*to).log_scale(), *from)?,
            }
        }
        Ok(())
    })?;
    let entry = |name: &&str| Entry::new(Mark::Dot, estimator_color(name), *name);
    Ok(Panel { title: "At a glance".to_owned(), legend: estimators.iter().map(entry).collect(), svg })
}

struct Column<'a> {
    metric: &'a Metric,
    heading: &'a str,
    rows: &'a [Row],
    titles: &'a [String],
}

impl Column<'_> {
    fn draw<X>(&self, area: &super::Area<'_>, range: X, least: f64) -> Result<(), PlotError>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let lines = self.titles.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_right(20 * SCALE)
            .margin_left(8 * SCALE)
            .margin_top(HEAD * SCALE)
            .x_label_area_size(FOOT * SCALE)
            .build_cartesian_2d(range, lines..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(6)
            .x_label_formatter(&|value| tick(*value))
            .label_style(text(12))
            .axis_style(stroke(GRID, 10))
            .bold_line_style(stroke(GRID, 10))
            .light_line_style(TRANSPARENT)
            .draw()?;
        // A thin line leads from each name to its dots; the axis lies half a line away from all.
        let range = chart.x_range();
        for place in 0..self.titles.len() {
            let height = place as f64 + 0.5;
            let line = [(range.start, height), (range.end, height)];
            chart.draw_series([PathElement::new(line, stroke(GRID, 10))])?;
        }
        word(area, self.heading, (8 * SCALE, HEAD / 2 * SCALE), HPos::Left)?;
        for row in self.rows {
            let place = self.titles.iter().position(|title| *title == row.case.title()).unwrap_or(0);
            let Some(value) = row.summary(self.metric).mean else { continue };
            let value = self.metric.in_unit(value).max(least);
            let color = estimator_color(&row.case.estimator).mix(0.85);
            chart.draw_series([Circle::new((value, place as f64 + 0.5), 9, color.filled())])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn every_mean_has_its_dot() {
        let rows = ["gcc", "bbr"].map(|name| Row::of(&made_up::group(name, 1..=2)));
        let panel = overview(&rows).unwrap();
        assert_eq!(panel.svg.matches("<circle").count(), 2 * COLUMNS.len());
        assert_eq!(panel.svg.matches("\nmade-up\n").count(), 1);
        assert_eq!(panel.legend.len(), 2);
    }
}
