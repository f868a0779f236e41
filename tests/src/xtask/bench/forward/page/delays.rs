//! A histogram of how long packets were under way, on a logarithmic scale.

use super::super::row::Row;
use super::svg::{Anchor, Scale, Svg};

/// The image's parts, in pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 44.0;

/// Between which delays, in ms: what is less or more stands at the edge.
const LEAST: f64 = 0.03;
const MOST: f64 = 30.0;

/// Where numbers stand below.
const TICKS: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// `None` if residence was not measured.
pub(super) fn draw(rows: &[Row]) -> Option<String> {
    let row = rows.iter().find(|row| row.case == "residence")?;
    let buckets = row.more.get("delays")?.as_array()?;
    let buckets: Vec<(f64, f64)> =
        buckets.iter().filter_map(|one| Some((one.get(0)?.as_f64()?, one.get(1)?.as_f64()?))).collect();
    let all: f64 = buckets.iter().map(|bucket| bucket.1).sum();
    let most = buckets.iter().map(|bucket| bucket.1 / all * 100.0).fold(0.0, f64::max);
    let place = |ms: f64| {
        let share = (ms.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
        LEFT + (WIDTH - RIGHT - LEFT) * share
    };
    let y = Scale { from: HEIGHT - BOTTOM, to: TOP, top: most.max(1.0) * 1.05 };
    let mut svg = Svg::new(WIDTH, HEIGHT);
    for tick in y.ticks() {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick)));
        svg.text("soft", (LEFT - 8.0, y.at(tick) + 4.5), Anchor::End, &format!("{tick} %"));
    }
    for (bound, count) in buckets {
        let (from, to) = (place(bound / 0.25_f64.exp2()), place(bound));
        let top = y.at(count / all * 100.0);
        svg.rect("data", (from + 0.5, top), (to - from - 1.0, y.from - top));
    }
    for tick in TICKS {
        svg.line("grid", (place(tick), y.from), (place(tick), y.from + 5.0));
        svg.text("soft", (place(tick), y.from + 18.0), Anchor::Middle, &tick.to_string());
    }
    for (name, title) in [("p50_ms", "half within"), ("p99_ms", "99 of 100 within")] {
        let Some(at) = row.more.get(name).and_then(serde_json::Value::as_f64) else { continue };
        svg.line("limit", (place(at), y.to - 6.0), (place(at), y.from));
        // Words stay within the image, and the median's out of the way of the other's.
        let is_left = name == "p50_ms" || place(at) > WIDTH * 0.75;
        let (beside, anchor) = if is_left { (-5.0, Anchor::End) } else { (5.0, Anchor::Start) };
        svg.text("", (place(at) + beside, y.to - 10.0), anchor, &format!("{title} {at} ms"));
    }
    svg.text("soft", (WIDTH - RIGHT, HEIGHT - 6.0), Anchor::End, "milliseconds");
    svg.text("soft", (LEFT, TOP - 10.0), Anchor::Start, "of packets");
    Some(svg.finish())
}
