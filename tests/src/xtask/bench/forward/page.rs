//! The rows as a page: ratios against their goals with every run, cost against packets, delays, and all numbers.
//!
//! In: rows. Out: one file that needs no other. It is legible on light and on dark pages.

mod delays;
mod growth;
mod ratios;
mod svg;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::row::{Row, plain};

/// Colors and sizes; what is drawn names them by class.
const STYLE: &str = "\
:root { --ink: #22262b; --soft: #5b6470; --grid: #e1e4e8; --paper: #ffffff; --good: #009e73; --bad: #d96c06; --data: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa4b1; --grid: #343a42; --paper: #15181c; --data: #4da9e0 }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper) }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2rem 0 .25rem } p { margin: .25rem 0 .75rem; color: var(--soft) }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif }
svg text { fill: var(--ink) } svg .soft { fill: var(--soft) }
svg .grid { stroke: var(--grid) } svg .goal { stroke: var(--ink); stroke-width: 2 } svg .limit { stroke: var(--soft); stroke-dasharray: 4 3 }
svg .good { fill: var(--good) } svg .bad { fill: var(--bad) } svg .data { fill: var(--data) }
svg .run { fill: var(--ink); fill-opacity: .6; stroke: var(--paper); stroke-width: .75 } svg .fit { stroke: var(--bad); stroke-width: 2 }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
td, th { padding: .3rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--grid) }
td:first-child, th:first-child, .more, .unit { text-align: left } td:first-child { white-space: nowrap } .more { color: var(--soft); font-size: .8rem }
";

/// Writes the page.
pub(super) fn write(rows: &[Row], file: &Path) -> Result<()> {
    std::fs::write(file, html(rows)?).with_context(|| format!("writing {}", file.display()))
}

fn html(rows: &[Row]) -> Result<String> {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n<title>Lianmai: what forwarding costs</title>\n");
    writeln!(page, "<style>\n{STYLE}</style>\n<h1>What forwarding costs</h1>")?;
    for (title, words, image) in [
        (
            "Ours by the reference",
            "Processor time a packet: a bar is the median of turns that both took on the same core, a dot is a turn, the mark is the \
             goal. Less is better; 1 is as cheap as the reference.",
            ratios::draw(rows, false),
        ),
        (
            "Janus by ours",
            "Processor time a packet of the whole process, Janus's by ours. More is better.",
            ratios::draw(rows, true),
        ),
        (
            "Cost against packets",
            "Processor time of the media thread, for 8 to 512 subscribers of one publisher; the line is the nearest straight one.",
            growth::draw(rows),
        ),
        (
            "How long packets are under way",
            "From the publisher's sending to the kernel's time stamp at the subscriber, at half of the most subscribers that one core \
             serves.",
            delays::draw(rows),
        ),
    ] {
        if let Some(image) = image {
            writeln!(page, "<h2>{title}</h2>\n<p>{words}</p>\n{image}")?;
        }
    }
    page.push_str("<h2>All of it</h2>\n");
    page.push_str(&table(rows)?);
    page.push_str("</html>\n");
    Ok(page)
}

fn table(rows: &[Row]) -> Result<String> {
    let mut table = String::from(
        "<table>\n<tr><th>case</th><th>ours</th><th>reference</th><th class=\"unit\">unit</th><th>ratio</th><th class=\"more\">more</th></tr>\n",
    );
    for row in rows {
        let more = row.more.iter().filter(|(_, value)| !value.is_array());
        let more: Vec<String> = more.map(|(name, value)| format!("{name} {}", plain(value))).collect();
        writeln!(
            table,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"unit\">{}</td><td>{}</td><td class=\"more\">{}</td></tr>",
            row.title(),
            number(row.ours(), 2),
            number(row.reference(), 2),
            row.unit,
            number(row.ratio(), 3),
            more.join(", ")
        )?;
    }
    table.push_str("</table>\n");
    Ok(table)
}

/// A number with so many digits behind the point; nothing where there is none.
fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_every_row_every_run_and_every_plot_that_there_is_something_for() {
        let mut row = Row::new("core", "ns").with("batch", 4);
        (row.runs, row.goal) = (vec![(3.0, 2.0), (4.0, 2.0)], Some(1.5));
        let mut none = Row::new("residence", "subscribers").with("delays", json!([[0.5, 3], [1.0, 1]]));
        none.runs = vec![(300.0, f64::NAN)];
        let mut growth =
            Row::new("growth", "r_squared").with("points", json!([[480.0, 0.01], [960.0, 0.02]]));
        growth.runs = vec![(1.0, 1.0)];
        let page = html(&[row.clone(), none, growth]).expect("it can be written");
        assert_eq!(page.matches("<tr><td>").count(), 3);
        assert_eq!(page.matches("class=\"run\"").count(), 2, "runs without a ratio have no dot");
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("batch 4") && !page.contains("NaN") && !page.contains("Janus by"));
        assert_eq!(html(&[row]).expect("it can be written").matches("<svg").count(), 1);
    }
}
