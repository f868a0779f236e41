//! The page about loss recovery under congestion control: who stands still, whose pictures are late, and at what price.

use maud::{DOCTYPE, PreEscaped, html};

use super::{figure, style};
use crate::protected::check::Verdict;
use crate::protected::{NUMBERS, Row};
use crate::report::plot::{PlotError, protected};

/// The page of some rows and what they were held against, made by this command.
pub fn html(rows: &[Row], verdicts: &[Verdict], command: &str) -> Result<String, PlotError> {
    let panel = protected::overview(rows)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Loss recovery under congestion control · Lianmai simulator" }
                style { (PreEscaped(style::sheet())) }
            }
            body {
                header {
                    p.kicker { "Lianmai simulator" }
                    h1 { "Loss recovery under congestion control" }
                    p.about { "One stream of pictures over a bottleneck, towards a browser that restores, asks again and plays. Medians over the seeds." }
                    p.command { code { (command) } }
                }
                main {
                    (figure(&panel, "h2"))
                    section {
                        h2 { "Results" }
                        div.scroll { table {
                            thead { tr {
                                th { "scenario" }
                                th { "policy" }
                                @for number in &NUMBERS { th { (number.heading) } }
                            } }
                            tbody { @for row in rows { tr {
                                td { (row.title()) }
                                td { (row.policy) }
                                @for number in &NUMBERS { td { (number.show(&row.median)) } }
                            } } }
                        } }
                    }
                    @if !verdicts.is_empty() { section {
                        h2 { "Goals" }
                        div.scroll { table {
                            thead { tr { th { "goal" } th { "scenario" } th { "found" } th { "" } } }
                            tbody { @for verdict in verdicts { tr {
                                td { (verdict.goal) }
                                td { (verdict.place) }
                                td { (verdict.words) }
                                td { (if verdict.is_met { "reached" } else { "missed" }) }
                            } } }
                        } }
                    } }
                }
                footer { p { "Made by Lianmai’s simulator with " code { (command) } "." } }
            }
        }
    };
    Ok(page.into_string())
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;

    use super::*;
    use crate::protected::{Contender, Outcome, check};
    use crate::sweep::Seeds;

    #[test]
    fn every_row_and_goal_is_on_the_page() {
        let row = |policy: &str, delay| {
            let contender: Contender = policy.parse().expect("it is known");
            let outcome = Outcome { frame_p95_ms: delay, ..Outcome::default() };
            Row::new("random-5", &contender, (Scene::Pk, String::new()), Seeds::one(1), &[outcome])
        };
        let rows = [row(Contender::OURS, 61.0), row(Contender::PEER, 72.0)];
        let page = html(&rows, &check::judge(&rows), "sim recovery").expect("it is drawn");
        for expected in [Contender::OURS, Contender::PEER, "61.00 ms", "<td>72</td>", "<svg", "reached"] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(!page.contains("missed"));
    }
}
