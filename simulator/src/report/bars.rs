//! One image for the README: how much of each path estimators use, and at what price. It stands alone.
//!
//! In: rows. Out: SVG with its own background and fonts, legible at its own size on light and dark pages. A bar for each
//! estimator and scenario; who loses packets to queues or keeps a long queue is told so at the bar's end.

use std::fmt::Write as _;

use super::Row;
use super::goals::OURS;

/// Who is drawn, in the order of bars, with their colors and what they are called.
const DRAWN: [(&str, &str, &str); 5] = [
    (OURS, "#009e73", "Lianmai (hybrid)"),
    ("googcc", "#0072b2", "libwebrtc GoogCC"),
    ("gcc", "#d96c06", "webrtc-rs GCC"),
    ("bbr", "#c45f9e", "BBRv3"),
    ("nada", "#7a5cc9", "NADA"),
];

/// The most that are drawn: webrtc-rs' stands in for libwebrtc's where that is not built in.
const DRAWN_MAX: usize = 4;

/// The image: columns of scenarios, each a name, bars and room for words, in pixels.
const COLUMNS: usize = 2;
const NAME: f64 = 132.0;
const BAR: f64 = 290.0;
const WORDS: f64 = 112.0;
const HEAD: f64 = 74.0;
const FOOT: f64 = 30.0;
const MARGIN: f64 = 22.0;
const THICK: f64 = 9.0;
const BETWEEN: f64 = 9.0;

/// Losses to queues and policers worth a word, as a share, and the same of a queue's 95th percentile in milliseconds.
const LOSSY: f64 = 0.005;
const SLOW: f64 = 100.0;

/// The image of some rows; scenarios in the order of the rows.
pub fn svg(rows: &[Row]) -> String {
    let has = |name: &str| rows.iter().any(|row| row.case.estimator == name);
    let mut drawn: Vec<_> = DRAWN.into_iter().filter(|(name, ..)| has(name)).collect();
    if drawn.len() > DRAWN_MAX {
        drawn.retain(|(name, ..)| *name != "gcc");
    }
    let mut titles: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| row.mean("util").is_some()) {
        let title = row.case.title();
        let is_drawn = drawn.iter().any(|(name, ..)| *name == row.case.estimator);
        if is_drawn && !titles.contains(&title) {
            titles.push(title);
        }
    }
    let lines = titles.len().div_ceil(COLUMNS).max(1);
    let line = drawn.len() as f64 * THICK + BETWEEN;
    let column = NAME + BAR + WORDS;
    let (width, height) = (MARGIN * 2.0 + column * COLUMNS as f64, HEAD + line * lines as f64 + FOOT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui,-apple-system,Segoe UI,Roboto,Noto Sans,sans-serif\" role=\"img\" \
         aria-label=\"How much of each path congestion controls use\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"30\" font-size=\"17\" font-weight=\"600\" fill=\"#1c2026\">How much of each path is used\
         </text>\n"
    );
    legend(&mut out, &drawn);
    for (number, title) in titles.iter().enumerate() {
        let left = MARGIN + (number / lines) as f64 * column;
        let top = HEAD + (number % lines) as f64 * line;
        let bars: Vec<Bar<'_>> = (drawn.iter())
            .map(|(name, color, _)| {
                let found = rows.iter().find(|row| row.case.estimator == *name && row.case.title() == *title);
                Bar { color, row: found, is_ours: *name == OURS }
            })
            .collect();
        scenario(&mut out, (left, top), title, &bars);
    }
    for at in 0..COLUMNS {
        axis(&mut out, MARGIN + at as f64 * column + NAME, line * lines as f64);
    }
    out.push_str("</svg>\n");
    out
}

/// A bar to draw; nothing if the estimator was not played.
struct Bar<'a> {
    color: &'a str,
    row: Option<&'a Row>,
    is_ours: bool,
}

fn legend(out: &mut String, drawn: &[(&str, &str, &str)]) {
    let mut left = MARGIN;
    for (_, color, words) in drawn {
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"43\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"53\" font-size=\"12\" fill=\"#4c545f\">{words}</text>",
            left + 16.0
        );
        left += 36.0 + words.chars().count() as f64 * 6.6;
    }
    let words = "at a bar’s end: packets lost to full queues and policers, queue delay p95 from 100 ms on";
    let _ = writeln!(out, "<text x=\"{left:.1}\" y=\"53\" font-size=\"11\" fill=\"#6b7480\">{words}</text>");
}

fn scenario(out: &mut String, (left, top): (f64, f64), title: &str, bars: &[Bar<'_>]) {
    let middle = top + bars.len() as f64 * THICK / 2.0 + 4.0;
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{middle:.1}\" font-size=\"12\" text-anchor=\"end\" fill=\"#1c2026\">{}</text>",
        left + NAME - 8.0,
        escaped(title)
    );
    for (number, bar) in bars.iter().enumerate() {
        let Some((row, util)) = bar.row.and_then(|row| Some((row, row.mean("util")?))) else { continue };
        let (x, y) = (left + NAME, top + number as f64 * THICK);
        let width = util.clamp(0.0, 1.0) * BAR;
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\" fill-opacity=\"{}\"/>",
            THICK - 1.0,
            bar.color,
            if bar.is_ours { "1" } else { "0.75" },
        );
        let weight = if bar.is_ours { " font-weight=\"600\"" } else { "" };
        let price = price(row);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\"{weight} fill=\"#4c545f\">{:.2}<tspan fill=\"#b3152f\" \
             font-weight=\"400\">{price}</tspan></text>",
            x + width + 4.0,
            y + THICK - 1.5,
            util,
        );
    }
}

/// What the use of the path costs, where it is worth a word.
fn price(row: &Row) -> String {
    let overrun = row.mean("loss_overflow").unwrap_or(0.0) + row.mean("loss_policer").unwrap_or(0.0);
    let lost = (overrun >= LOSSY).then(|| format!("  {:.1} % lost", overrun * 100.0));
    let slow = row.mean("q95_ms").filter(|delay| *delay >= SLOW).map(|delay| format!("  {delay:.0} ms"));
    lost.into_iter().chain(slow).collect()
}

fn axis(out: &mut String, left: f64, height: f64) {
    for quarter in 0..=4 {
        let x = left + BAR * f64::from(quarter) / 4.0;
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#1c2026\" stroke-opacity=\"0.13\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\" fill=\"#6b7480\">{}</text>",
            HEAD - 5.0,
            HEAD + height,
            HEAD + height + 15.0,
            ["0", "¼", "½", "¾", "1"][quarter as usize],
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    fn row(estimator: &str, scenario: &str, values: &serde_json::Value) -> Row {
        let mut json = serde_json::to_value(Row::of(&made_up::group(estimator, 1..=2))).unwrap();
        json["scenario"] = scenario.into();
        for (key, value) in values.as_object().unwrap() {
            json[key] = value.clone();
        }
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_estimator_has_a_bar_in_each_scenario_and_its_price_is_told() {
        let none = serde_json::json!({ "q95_ms": 10.0 });
        let costly = serde_json::json!({ "loss_overflow": 0.026, "q95_ms": 264.0 });
        let rows = [
            row(OURS, "fixed-4m", &none),
            row("bbr", "fixed-4m", &costly),
            row(OURS, "shallow-20", &none),
            row("oracle", "fixed-4m", &none),
        ];
        let image = svg(&rows);
        assert_eq!(image.matches("fill-opacity=\"1\"").count(), 2, "ours");
        assert_eq!(image.matches("fill-opacity=\"0.75\"").count(), 1, "the oracle takes no part");
        assert_eq!(image.matches("2.6 % lost  264 ms").count(), 1);
        assert_eq!(image.matches(">fixed-4m<").count(), 1);
        assert!(image.starts_with("<svg xmlns=") && image.ends_with("</svg>\n"));
        for element in ["rect", "text", "svg", "line"] {
            let begins = image.matches(&format!("<{element} ")).count();
            let ends = image.matches(&format!("</{element}>")).count();
            assert!(begins > 0 && (ends == begins || ends == 0), "{element}: {begins} and {ends}");
        }
        let drawn_without_rows = svg(&[]);
        assert!(drawn_without_rows.ends_with("</svg>\n"));
    }
}
