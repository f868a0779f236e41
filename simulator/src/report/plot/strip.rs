//! How a metric spreads over seeds: a line for each estimator, a dot for each seed, a tick at the mean.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{GRID, INK, PlotError, SCALE, estimator_color, label, round_up, stroke, svg, text, tick, word};
use crate::report::Group;
use crate::report::table::heading;
use crate::sweep::Metric;

/// The size of a strip on the page, in pixels: two or three stand side by side, one on a phone.
const WIDTH: u32 = 330;
/// What of it names take.
const LEFT: u32 = 88;
/// The height of a line.
const LINE: u32 = 24;
/// The height of the axis.
const FOOT: u32 = 26;

/// A share below this ends the axis of shares at zero; else the axis begins near the least value.
const NEAR_ONE: f64 = 0.5;

/// The strip of a metric over groups of one scenario; `None` if no run has a value.
pub(in crate::report) fn strip(groups: &[&Group], metric: &Metric) -> Result<Option<String>, PlotError> {
    let values: Vec<(&str, Vec<f64>)> = (groups.iter())
        .map(|group| {
            let values = group.runs.iter().filter_map(|run| metric.of(&run.metrics));
            (group.case.estimator.as_str(), values.map(|value| metric.in_unit(value)).collect())
        })
        .filter(|(_, values): &(_, Vec<f64>)| !values.is_empty())
        .collect();
    let all = || values.iter().flat_map(|(_, values)| values.iter().copied());
    let Some(greatest) = all().reduce(f64::max) else { return Ok(None) };
    let least = all().fold(greatest, f64::min);
    let is_share = metric.unit().is_empty();
    let range = match (is_share, least > NEAR_ONE) {
        (true, true) => (least * 20.0 - 0.2).floor() / 20.0..1.0_f64.max(greatest),
        (true, false) => 0.0..1.0_f64.max(greatest),
        (false, _) => 0.0..round_up(greatest * 1.02).max(smallest_axis(metric)),
    };
    let height = values.len() as u32 * LINE + FOOT + 4;
    let svg = svg((WIDTH, height), &label(metric.heading, heading(metric)), |area| {
        let lines = values.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_top(4 * SCALE)
            .margin_right(14 * SCALE)
            .x_label_area_size(FOOT * SCALE)
            .y_label_area_size(LEFT * SCALE)
            .build_cartesian_2d(range, lines..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(5)
            .x_label_formatter(&|value| tick(*value))
            .label_style(text(12))
            .axis_style(stroke(GRID, 10))
            .bold_line_style(stroke(GRID, 10))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (number, (estimator, values)) in values.iter().enumerate() {
            let middle = number as f64 + 0.5;
            word(
                area,
                estimator,
                ((LEFT - 8) * SCALE, (4 + number as u32 * LINE + LINE / 2) * SCALE),
                HPos::Right,
            )?;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let color = estimator_color(estimator);
            // Seeds take turns above and below the line, so that equal values are seen as many.
            chart.draw_series(values.iter().enumerate().map(|(seed, value)| {
                let offset = (seed % 5) as f64 * 0.1 - 0.2;
                Circle::new((*value, middle + offset), 7, color.mix(0.6).filled())
            }))?;
            chart.draw_series([PathElement::new(
                [(mean, middle - 0.36), (mean, middle + 0.36)],
                stroke(INK, 20),
            )])?;
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

/// The least end of an axis that begins at zero: below it differences are of no interest.
fn smallest_axis(metric: &Metric) -> f64 {
    match metric.unit() {
        "ms" => 10.0,
        "%" | "s/min" => 0.5,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn a_strip_has_a_dot_for_each_seed_and_a_name_for_each_estimator() {
        let groups = [made_up::group("gcc", 1..=4), made_up::group("bbr", 1..=4)];
        let groups: Vec<&Group> = groups.iter().collect();
        let svg = strip(&groups, Metric::named("q95_ms").unwrap()).unwrap().unwrap();
        assert_eq!(svg.matches("<circle").count(), 8);
        assert!(svg.contains("\ngcc\n") && svg.contains("\nbbr\n"), "{svg}");
        assert_eq!(strip(&groups, Metric::named("tcp_share").unwrap()).unwrap(), None);
    }
}
