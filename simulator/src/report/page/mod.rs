//! One page of HTML that stands alone: what was played, how good it was, and plots.
//!
//! Nothing is loaded from elsewhere and nothing is scripted; it suits light and dark screens, and phones. A page about
//! one run shows that run; a page about many has a table with the best marked, all scenarios at a glance, and how each
//! metric spreads over the seeds.

pub mod protected;
pub mod recovery;
mod style;
mod tables;

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot::{self, Entry, Mark, Panel, PlotError, overview, run, strip};
use super::{Group, Row};
use crate::sweep::{METRICS, Metric};

/// The metrics whose spread over seeds is drawn.
const SPREAD: [&str; 8] =
    ["util", "q95_ms", "loss", "frame_p95_ms", "stall_s_per_min", "converge_s", "jain", "own_share"];

/// The place of the phases among a run's panels: what they changed for stands below them.
const PHASES: usize = 1;

/// The most scenarios whose spreads are open from the start.
const OPEN_MAX: usize = 6;

/// What a page is about.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Its title.
    pub title: String,
    /// What it is for, in a sentence or more.
    pub about: String,
    /// The command that makes it again.
    pub command: String,
    /// What was chosen: names and values.
    pub parameters: Vec<(String, String)>,
    /// What was played; runs with a timeline are plotted.
    pub groups: &'a [Group],
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> Result<String, PlotError> {
        let rows: Vec<Row> = self.groups.iter().map(Row::of).collect();
        let cases = Cases::of(self.groups);
        let single = self.groups.len() == 1 && rows.iter().all(|row| row.runs <= 1);
        let spreads = if single {
            html! {}
        } else {
            cases.spreads()?
        };
        let glance = if cases.0.len() > 1 { Some(overview::overview(&rows)?) } else { None };
        let runs = self.runs()?;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Lianmai simulator" }
                    style { (PreEscaped(style::sheet())) }
                }
                body {
                    (self.header())
                    main {
                        (cases.contents(single, runs.is_some()))
                        @if let [row] = rows.as_slice() { (tables::tiles(row)) }
                        @if single { (tables::all_metrics(&rows)) }
                        @else { section #results { h2 { "Results" } (tables::results(&cases.0, &rows)) } }
                        @if let Some(panel) = &glance { section #glance { (figure(panel, "h2")) } }
                        @if !single { section #seeds { h2 { "Across seeds" } (tables::spread_note()) (spreads) } }
                        @if let Some(runs) = runs { section #runs { @if !single { h2 { "Runs" } } (runs) } }
                        @if !single { (tables::glossary()) }
                    }
                    footer { p { "Made by Lianmai’s simulator with " code { (self.command) } "." } }
                }
            }
        };
        Ok(page.into_string())
    }

    fn header(&self) -> Markup {
        html! {
            header {
                p.kicker { "Lianmai simulator" }
                h1 { (self.title) }
                @if !self.about.is_empty() { p.about { (self.about) } }
                dl.parameters {
                    @for (name, value) in &self.parameters { div { dt { (name) } dd { (value) } } }
                }
                p.command { code { (self.command) } }
            }
        }
    }

    /// The plots of all runs that were recorded.
    fn runs(&self) -> Result<Option<Markup>, PlotError> {
        let mut all = html! {};
        let mut recorded = 0;
        for group in self.groups {
            for run in &group.runs {
                let Some(timeline) = &run.timeline else { continue };
                recorded += 1;
                let name = format!("{} with {}, seed {}", group.case.title(), group.case.estimator, run.seed);
                let panels = run::panels(timeline, &name)?;
                all = html! {
                    (all)
                    article id=(anchor("run", &[&group.case.title(), &group.case.estimator])) {
                        h3 { (name) }
                        p.replay { "Again: " code { "sim replay \"" (group.case.replay(run.seed)) "\"" } }
                        @for (number, panel) in panels.iter().enumerate() {
                            (figure(panel, "h4"))
                            @if number == PHASES { (tables::transitions(timeline)) }
                        }
                    }
                };
            }
        }
        Ok((recorded > 0).then_some(all))
    }
}

/// The groups by scenario and what was set in it, in the order in which they come.
struct Cases<'a>(Vec<(String, Vec<&'a Group>)>);

impl<'a> Cases<'a> {
    fn of(groups: &'a [Group]) -> Self {
        let mut cases: Vec<(String, Vec<&Group>)> = Vec::new();
        for group in groups {
            let title = group.case.title();
            match cases.iter_mut().find(|(other, _)| *other == title) {
                Some((_, groups)) => groups.push(group),
                None => cases.push((title, vec![group])),
            }
        }
        Self(cases)
    }

    /// Links to the page's sections.
    fn contents(&self, single: bool, has_runs: bool) -> Markup {
        if single {
            return html! {};
        }
        html! {
            nav aria-label="Contents" {
                a href="#results" { "Results" }
                @if self.0.len() > 1 { a href="#glance" { "At a glance" } }
                a href="#seeds" { "Across seeds" }
                @if has_runs { a href="#runs" { "Runs" } }
                a href="#metrics" { "Metrics" }
            }
        }
    }

    /// How each metric spreads over the seeds, for each case.
    fn spreads(&self) -> Result<Markup, PlotError> {
        let mut all = html! {};
        for (title, groups) in &self.0 {
            let mut plots = Vec::new();
            for metric in SPREAD.into_iter().filter_map(Metric::named) {
                if let Some(svg) = strip::strip(groups, metric)? {
                    plots.push((super::table::heading(metric), svg));
                }
            }
            all = html! {
                (all)
                details.spread id=(anchor("case", &[title])) open[self.0.len() <= OPEN_MAX] {
                    summary { (title) }
                    div.strips {
                        @for (heading, svg) in &plots { figure { figcaption { (heading) } (PreEscaped(svg)) } }
                    }
                }
            };
        }
        Ok(all)
    }
}

/// A plot with its heading and legend.
fn figure(panel: &Panel, heading: &str) -> Markup {
    let title = html! {
        @if heading == "h2" { h2 { (panel.title) } } @else { h4 { (panel.title) } }
    };
    html! {
        figure {
            figcaption {
                (title)
                @if !panel.legend.is_empty() { ul.legend { @for entry in &panel.legend { li { (swatch(entry)) (entry.label) } } } }
            }
            @if !panel.svg.is_empty() { div.scroll { (PreEscaped(&panel.svg)) } }
        }
    }
}

fn swatch(entry: &Entry) -> Markup {
    let class = match entry.mark {
        Mark::Line => "line",
        Mark::Dashes => "dashes",
        Mark::Dot => "dot",
        Mark::Area => "area",
    };
    html! { span.swatch.(class) style={ "--color:" (plot::css(entry.color)) } {} }
}

/// The name of a place in the page.
fn anchor(kind: &str, parts: &[&str]) -> String {
    let mut anchor = kind.to_owned();
    for part in parts {
        anchor.push('-');
        anchor.extend(
            part.chars()
                .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }),
        );
    }
    anchor
}

/// The metrics that some rows have a value of, of all that there are.
fn present(rows: &[Row]) -> impl Iterator<Item = &'static Metric> {
    let names: BTreeSet<&str> = METRICS
        .iter()
        .filter(|metric| rows.iter().any(|row| row.summary(metric).mean.is_some()))
        .map(|metric| metric.name)
        .collect();
    METRICS.iter().filter(move |metric| names.contains(metric.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    fn page(groups: &[Group]) -> String {
        let page = Page {
            title: "Made up <&>".to_owned(),
            about: "Runs that never were.".to_owned(),
            command: "sim sweep \"plans/a.toml\"".to_owned(),
            parameters: vec![("seeds".to_owned(), "1..3".to_owned())],
            groups,
        };
        page.html().unwrap()
    }

    fn groups() -> Vec<Group> {
        let mut groups: Vec<Group> = ["gcc", "bbr", "oracle"].map(|name| made_up::group(name, 1..=5)).into();
        for name in ["gcc", "bbr"] {
            let mut group = made_up::group(name, 6..=10);
            group.case.scenario = "shallow-20".to_owned();
            group.runs.iter_mut().for_each(|run| run.timeline = None);
            groups.push(group);
        }
        groups
    }

    #[test]
    fn a_page_stands_alone() {
        for html in [page(&groups()), page(&[made_up::group("gcc", 7..=7)])] {
            for foreign in ["http:", "https:", "src=", "<link", "<script", "@import", "url("] {
                assert!(!html.contains(foreign), "{foreign}");
            }
            assert!(html.contains("Made up &lt;&amp;&gt;") && !html.contains("Made up <&>"));
        }
    }

    #[test]
    fn every_element_that_begins_ends() {
        let html = page(&groups());
        for element in
            ["svg", "figure", "section", "table", "details", "article", "div", "ul", "dl", "p", "td", "text"]
        {
            let begins =
                html.matches(&format!("<{element} ")).count() + html.matches(&format!("<{element}>")).count();
            assert!(begins > 0, "there is no {element}");
            assert_eq!(begins, html.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        let html = page(&groups());
        let targets = html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for target in targets {
            count += 1;
            assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
        }
        assert!(count > 5, "{count} links");
    }

    #[test]
    fn the_best_is_marked_once_a_column_and_the_oracle_never() {
        let html = page(&groups());
        let table = html.split("<table").nth(1).unwrap().split("</table>").next().unwrap();
        let oracle = table.split("<tr").find(|row| row.contains("oracle")).unwrap();
        assert!(!oracle.contains("class=\"best\""), "{oracle}");
        assert!(table.contains("class=\"best\""));
    }

    #[test]
    fn a_page_about_one_run_has_its_plots_and_no_spread() {
        let html = page(&[made_up::group("gcc", 7..=7)]);
        assert_eq!(html.matches("<svg").count(), 5);
        assert!(!html.contains("Across seeds") && html.contains("sim replay &quot;made-up/gcc/7&quot;"));
    }
}
