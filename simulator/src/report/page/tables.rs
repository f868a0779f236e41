//! The page's tables and numbers.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{anchor, present};
use crate::report::table::{self, heading, show};
use crate::report::{Group, Row};
use crate::sweep::{Better, METRICS, Metric};
use crate::timeline::{Timeline, Transition};

/// The metrics that a page about one estimator in one scenario shows large.
const TILES: [&str; 8] =
    ["util", "q95_ms", "loss", "frame_p95_ms", "stall_s_per_min", "converge_s", "overshoot", "own_share"];

/// Those who are told the capacity take no part in the contest.
const TOLD: [&str; 2] = ["oracle", "fixed"];

/// Numbers that matter most, large.
pub(super) fn tiles(row: &Row) -> Markup {
    let metrics = TILES.into_iter().filter_map(Metric::named);
    html! {
        ul.tiles {
            @for metric in metrics {
                @if let Some(mean) = row.summary(metric).mean {
                    li {
                        span.value { (metric.show(mean)) @if !metric.unit().is_empty() { span.unit { (metric.unit()) } } }
                        span.name { (metric.heading) }
                        @if row.runs > 1 { span.worst { "worst " (show(metric, row.summary(metric).worst)) } }
                    }
                }
            }
        }
    }
}

/// Every metric with what it is, for a page about one run.
pub(super) fn all_metrics(rows: &[Row]) -> Markup {
    html! {
        details.metrics {
            summary { "All metrics" }
            div.scroll {
                table {
                    thead { tr { th.word { "metric" } th { "value" } th.word { "unit" } th.word { "what it is" } } }
                    tbody {
                        @for row in rows {
                            @for metric in present(rows) {
                                tr {
                                    th.word scope="row" { (metric.heading) }
                                    td { (show(metric, row.summary(metric).mean)) }
                                    td.word { (metric.unit()) }
                                    td.word { (metric.about) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A line for each scenario and estimator; in each scenario the best of each column is marked.
pub(super) fn results(cases: &[(String, Vec<&Group>)], rows: &[Row]) -> Markup {
    let metrics = table::shown(rows);
    let broken = rows.iter().any(|row| row.violations > 0);
    html! {
        p.note {
            "Means over seeds, the worst seed of the utilization beside it. In each scenario the "
            strong.best { "best" } " of a column is marked; " code { (TOLD[0]) } " and " code { (TOLD[1]) } " are told the capacity and take no part."
        }
        div.scroll.wide {
            table.results {
                thead {
                    tr {
                        th.word { "estimator" }
                        @for metric in &metrics {
                            th title=(metric.about) { (metric.heading) @if !metric.unit().is_empty() { span.unit { (metric.unit()) } } }
                            @if metric.name == "util" { th title="the worst seed" { "worst" } }
                        }
                        @if broken { th { "violations" } }
                    }
                }
                @for (title, groups) in cases {
                    @let of_case: Vec<Row> = groups.iter().map(|group| Row::of(group)).collect();
                    tbody {
                        tr.case { th.word colspan=(metrics.len() + 2 + usize::from(broken)) scope="rowgroup" {
                            a href={ "#" (anchor("case", &[title])) } { (title) }
                            span.seeds { "seeds " (groups.first().map(|group| group.seeds.to_string()).unwrap_or_default()) }
                        } }
                        @for row in &of_case { (result(row, &metrics, &of_case, broken)) }
                    }
                }
            }
        }
    }
}

fn result(row: &Row, metrics: &[&'static Metric], of_case: &[Row], broken: bool) -> Markup {
    html! {
        tr {
            th.word scope="row" { (row.case.estimator) }
            @for metric in metrics {
                td.best[is_best(row, metric, of_case)] { (show(metric, row.summary(metric).mean)) }
                @if metric.name == "util" { td.worst { (show(metric, row.summary(metric).worst)) } }
            }
            @if broken { td.broken[row.violations > 0] { (row.violations) } }
        }
    }
}

fn competes(row: &Row) -> bool {
    !TOLD.contains(&row.case.estimator.as_str())
}

/// Whether nobody in the contest shows a better number; with nobody to compare with there is no best.
fn is_best(row: &Row, metric: &Metric, of_case: &[Row]) -> bool {
    let contest = of_case.iter().filter(|row| competes(row));
    let values: Vec<f64> = contest.filter_map(|row| row.summary(metric).mean).collect();
    let best = values.iter().copied().reduce(|a, b| match metric.better {
        Better::Higher => a.max(b),
        Better::Lower => a.min(b),
    });
    let (Some(best), Some(own)) = (best, row.summary(metric).mean) else { return false };
    let all_alike = values.iter().all(|value| metric.show(*value) == metric.show(best));
    metric.ranked && competes(row) && !all_alike && metric.show(own) == metric.show(best)
}

/// The most changes of phase that are listed: more than anybody reads.
const LISTED_MAX: usize = 400;

/// Why phases changed: how often for each reason, and each change with its time.
pub(super) fn transitions(timeline: &Timeline) -> Markup {
    let all: Vec<(&str, &Transition)> = (timeline.flows.iter())
        .flat_map(|flow| flow.transitions.iter().map(|transition| (flow.name.as_str(), transition)))
        .collect();
    let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (_, Transition { from, to, reason, .. }) in &all {
        *counts.entry((from, to, reason)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let several = timeline.flows.len() > 1;
    html! {
        @if !all.is_empty() {
            div.reasons {
                ul { @for ((from, to, reason), count) in &counts {
                    li { span.count { (count) "×" } " " (from) " → " (to) span.why { (reason) } }
                } }
                details {
                    summary { "Each change of phase (" (all.len()) ")" }
                    div.scroll.list {
                        table {
                            thead { tr { th { "s" } @if several { th.word { "flow" } } th.word { "from" } th.word { "to" } th.word { "because" } } }
                            tbody {
                                @for (flow, Transition { at, from, to, reason }) in all.iter().take(LISTED_MAX) {
                                    tr {
                                        td { (format!("{at:.3}")) }
                                        @if several { td.word { (flow) } }
                                        td.word { (from) } td.word { (to) } td.word { (reason) }
                                    }
                                }
                            }
                        }
                        @if all.len() > LISTED_MAX { p.note { "and " (all.len() - LISTED_MAX) " more" } }
                    }
                }
            }
        }
    }
}

/// How to read the spreads.
pub(super) fn spread_note() -> Markup {
    html! { p.note { "A dot for each seed, a tick at the mean." } }
}

/// What the metrics are.
pub(super) fn glossary() -> Markup {
    html! {
        section #metrics {
            h2 { "Metrics" }
            p.note { "Means and worst values are taken over the seeds in which a metric has a meaning; the worst is the least "
                "of what should be high and the greatest of what should be low." }
            dl.glossary {
                @for metric in &METRICS { div { dt { (heading(metric)) } dd { (metric.about) " " code { (metric.name) } } } }
            }
        }
    }
}
