//! Bars: the ratio of each row, its runs as dots, and its goal.

use super::super::row::Row;
use super::svg::{Anchor, Scale, Svg};

/// The image's parts, in pixels.
const WIDTH: f64 = 900.0;
const NAMES: f64 = 190.0;
const WORDS: f64 = 150.0;
const LINE: f64 = 34.0;
const BAR: f64 = 12.0;
const AXIS: f64 = 26.0;

/// Rows whose ratio is ours by the reference, or the other way round; `None` if there are none.
pub(super) fn draw(rows: &[Row], inverse: bool) -> Option<String> {
    let is_ratio = |row: &&Row| row.inverse == inverse && row.goal.is_some() | row.reference().is_finite();
    let rows: Vec<&Row> = rows.iter().filter(is_ratio).filter(|row| row.case != "growth").collect();
    let most = rows.iter().flat_map(|row| row.ratios().chain(row.goal)).fold(1.0, f64::max);
    let height = LINE * rows.len() as f64;
    let scale = Scale { from: NAMES, to: WIDTH - WORDS, top: most * 1.02 };
    let mut svg = Svg::new(WIDTH, height + AXIS);
    for tick in scale.ticks() {
        svg.line("grid", (scale.at(tick), 0.0), (scale.at(tick), height));
        let text = (tick * 100.0).round() / 100.0;
        svg.text("soft", (scale.at(tick), height + 18.0), Anchor::Middle, &text.to_string());
    }
    svg.line("limit", (scale.at(1.0), 0.0), (scale.at(1.0), height));
    for (place, row) in rows.iter().enumerate() {
        bar(&mut svg, row, scale, LINE * (place as f64 + 0.5));
    }
    (!rows.is_empty()).then(|| svg.finish())
}

fn bar(svg: &mut Svg, row: &Row, scale: Scale, middle: f64) {
    let ratio = row.ratio();
    let is_met = row.goal.map(|goal| if row.inverse { ratio >= goal } else { ratio <= goal });
    let class = is_met.map_or("data", |is_met| if is_met { "good" } else { "bad" });
    svg.text("", (scale.from - 10.0, middle + 4.5), Anchor::End, &row.title());
    svg.rect(class, (scale.from, middle - BAR / 2.0), (scale.at(ratio) - scale.from, BAR));
    for (place, one) in row.ratios().enumerate() {
        let beside = [-4.0, 0.0, 4.0][place % 3]; // dots that are alike are told apart
        svg.circle("run", (scale.at(one), middle + beside), 3.0);
    }
    if let Some(goal) = row.goal {
        svg.line(
            "goal",
            (scale.at(goal), middle - LINE / 2.0 + 4.0),
            (scale.at(goal), middle + LINE / 2.0 - 4.0),
        );
    }
    let goal = row.goal.map_or(String::new(), |goal| format!(" (goal {goal})"));
    svg.text("", (scale.to + 12.0, middle + 4.5), Anchor::Start, &format!("{ratio:.2}{goal}"));
}
