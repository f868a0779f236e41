//! The page about loss recovery: what each policy sent beyond the media, and what it did not save.

use maud::{DOCTYPE, PreEscaped, html};

use super::{figure, style};
use crate::recovery::Row;
use crate::report::plot::{PlotError, recovery};
use crate::report::table::NOTHING;

/// The page of some rows, made by this command.
pub fn html(rows: &[Row], command: &str) -> Result<String, PlotError> {
    let panel = recovery::overview(rows)?;
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Loss recovery · Lianmai simulator" }
                style { (PreEscaped(style::sheet())) }
            }
            body {
                header {
                    p.kicker { "Lianmai simulator" }
                    h1 { "Loss recovery" }
                    p.about { "Blocks of packets over lossy paths: what is sent beyond the media so that they are whole in time, and how many are not." }
                    p.command { code { (command) } }
                }
                main {
                    (figure(&panel, "h2"))
                    section {
                        h2 { "Results" }
                        div.scroll { table {
                            thead { tr {
                                @for heading in HEADINGS { th { (heading) } }
                            } }
                            tbody { @for row in rows { tr {
                                td { (row.title()) }
                                td { (row.rounds) }
                                td { (row.policy) }
                                td { (number(Some(row.redundancy * 100.0), 1)) }
                                td { (number(row.feasible.then_some(row.opt_redundancy * 100.0), 1)) }
                                td { (number(Some(row.capacity * 100.0), 1)) }
                                td { (format!("{:.1e}", row.residual)) }
                                td { (number(row.p99_ms, 0)) }
                                td { (number(row.paid_twice.map(|share| share * 100.0), 0)) }
                            } } }
                        } }
                    }
                }
                footer { p { "Made by Lianmai’s simulator with " code { (command) } "." } }
            }
        }
    };
    Ok(page.into_string())
}

const HEADINGS: [&str; 9] = [
    "cell",
    "rounds",
    "policy",
    "redundancy, %",
    "optimum, %",
    "capacity, %",
    "residual",
    "p99, ms",
    "paid twice, %",
];
