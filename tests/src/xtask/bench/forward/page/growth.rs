//! Processor time against packets put out, with the line through them.

use serde_json::Value;

use super::super::growth::Line;
use super::super::row::Row;
use super::svg::{Anchor, Scale, Svg};

/// The image's parts, in pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// `None` if growth was not measured.
pub(super) fn draw(rows: &[Row]) -> Option<String> {
    let row = rows.iter().find(|row| row.case == "growth")?;
    let points: Vec<(f64, f64)> = row.more.get("points")?.as_array()?.iter().filter_map(point).collect();
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max) * 1.05;
    let x = Scale { from: LEFT, to: WIDTH - RIGHT, top: most(|point| point.0) };
    let y = Scale { from: HEIGHT - BOTTOM, to: TOP, top: most(|point| point.1 * 100.0) };
    let mut svg = Svg::new(WIDTH, HEIGHT);
    for tick in x.ticks() {
        svg.line("grid", (x.at(tick), y.from), (x.at(tick), y.to));
        svg.text("soft", (x.at(tick), y.from + 18.0), Anchor::Middle, &tick.to_string());
    }
    for tick in y.ticks() {
        svg.line("grid", (x.from, y.at(tick)), (x.to, y.at(tick)));
        let percent = (tick * 100.0).round() / 100.0;
        svg.text("soft", (x.from - 8.0, y.at(tick) + 4.5), Anchor::End, &format!("{percent} %"));
    }
    svg.text("soft", (x.to, HEIGHT - 6.0), Anchor::End, "packets put out a second");
    svg.text("soft", (x.from + 8.0, y.to + 10.0), Anchor::Start, "of one core");
    let line = Line::through(&points);
    let height = |x: f64| (line.offset + line.slope * x) * 100.0;
    svg.line("fit", (x.from, y.at(height(0.0))), (x.at(x.top), y.at(height(x.top))));
    for (packets, time) in &points {
        svg.circle("data", (x.at(*packets), y.at(time * 100.0)), 5.0);
    }
    let words = format!("{:.1} µs a packet, R² {:.4}", line.slope * 1e6, line.r_squared);
    svg.text("", (x.at(x.top * 0.55), y.at(y.top * 0.3)), Anchor::Start, &words);
    Some(svg.finish())
}

fn point(value: &Value) -> Option<(f64, f64)> {
    Some((value.get(0)?.as_f64()?, value.get(1)?.as_f64()?))
}
