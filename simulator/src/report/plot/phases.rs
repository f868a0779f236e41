//! What an estimator did and took its path for: bands in colors that stay the same from one report to the next.

use std::collections::BTreeSet;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::run::{COLUMNS, LEFT, RIGHT, WIDTH};
use super::{
    ALARM, COLORS, Entry, GRID, INK, Mark, Panel, PlotError, SCALE, SHADE, label, stroke, svg, text, tick,
    word,
};
use crate::timeline::{FlowTimeline, Timeline};

/// How high a lane is with one flow, and with several.
const LANES: (u32, u32) = (24, 15);
/// The height of the axis.
const FOOT: u32 = 26;
/// Between the lanes of two flows.
const GAP: f64 = 0.35;

/// How strong a color is, first and after all were used once: no estimator has twice as many phases.
const STRENGTHS: (f64, f64) = (0.85, 0.4);

/// Phases and kinds of paths that keep their color, by what their name contains.
const KNOWN: [(&str, RGBColor); 24] = [
    ("start", COLORS[6]),
    ("cruise", COLORS[2]),
    ("probe", COLORS[4]),
    ("drain", COLORS[1]),
    ("back", ALARM),
    ("test", COLORS[3]),
    ("shallow", COLORS[5]),
    ("compete", COLORS[0]),
    ("limited", SHADE),
    ("hold", SHADE),
    ("starved", INK),
    ("unknown", GRID),
    ("clean", COLORS[2]),
    ("policed", COLORS[1]),
    ("random", COLORS[3]),
    ("bursty", ALARM),
    ("bloated", COLORS[6]),
    ("wifi", COLORS[4]),
    ("cellular", COLORS[0]),
    ("lossy", INK),
    ("long", SHADE),
    ("decrease", ALARM),
    ("increase", COLORS[4]),
    ("refill", COLORS[5]),
];

/// The colors of some names, each once; who is not known gets one by its place among those that are not.
pub(super) struct Palette(Vec<(&'static str, RGBColor, f64)>);

impl Palette {
    /// The colors of the phases of all flows.
    pub(super) fn of_phases(timeline: &Timeline) -> Self {
        Self::of(timeline.flows.iter().flat_map(|flow| &flow.states).map(|(_, state)| *state))
    }

    fn of(names: impl Iterator<Item = &'static str>) -> Self {
        let names: BTreeSet<&str> = names.collect();
        let mut unknown = 0;
        let colored = names.into_iter().map(|name| {
            let known = KNOWN.iter().find(|(part, _)| name.contains(part));
            known.map_or_else(
                || {
                    let place = unknown;
                    unknown += 1;
                    let strength = if place < COLORS.len() { STRENGTHS.0 } else { STRENGTHS.1 };
                    (name, COLORS[place % COLORS.len()], strength)
                },
                |(_, color)| (name, *color, STRENGTHS.0),
            )
        });
        Self(colored.collect())
    }

    /// The color of a name, and how strong it is.
    pub(super) fn color(&self, name: &str) -> (RGBColor, f64) {
        let found = self.0.iter().find(|(other, ..)| *other == name);
        found.map_or((SHADE, STRENGTHS.0), |(_, color, strength)| (*color, *strength))
    }

    fn legend(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.iter().map(|(name, color, _)| Entry::new(Mark::Area, *color, *name))
    }
}

/// A lane of bands and what it is called.
struct Lane<'a> {
    name: String,
    bands: Vec<(f64, f64, &'static str)>,
    palette: &'a Palette,
    /// Where it begins, in lanes.
    top: f64,
}

/// The bands of all flows: for each its phases and, if it took its path for something, kinds of paths.
pub(super) fn phases(timeline: &Timeline, name: &str, end: f64) -> Result<Panel, PlotError> {
    let flows = &timeline.flows;
    let phases = Palette::of_phases(timeline);
    let classes = Palette::of(flows.iter().flat_map(|flow| &flow.classes).map(|(_, class)| *class));
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    let mut top = 0.0;
    for flow in flows {
        let own = if flows.len() > 1 { flow.name.clone() } else { "phase".to_owned() };
        lanes.push(Lane { name: own, bands: bands(&flow.states, end).collect(), palette: &phases, top });
        top += 1.0;
        if !flow.classes.is_empty() {
            let bands = bands(&flow.classes, end).collect();
            lanes.push(Lane { name: "path".to_owned(), bands, palette: &classes, top });
            top += 1.0;
        }
        top += if flows.len() > 1 { GAP } else { 0.0 };
    }
    let row = if flows.len() > 1 { LANES.1 } else { LANES.0 };
    let height = (top.max(1.0) * f64::from(row)).round() as u32;
    let svg = svg((WIDTH, height + FOOT), &label("Phases of the estimator", name), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(RIGHT * SCALE)
            .x_label_area_size(FOOT * SCALE)
            .y_label_area_size(LEFT * SCALE)
            .build_cartesian_2d(0.0..end, top.max(1.0)..0.0)?;
        let least = 1.5 * end / COLUMNS as f64; // a phase of a few milliseconds is to be seen all the same
        for lane in &lanes {
            for (from, to, name) in &lane.bands {
                let (color, strength) = lane.palette.color(name);
                let to = to.max(from + least).min(end);
                let corners = [(*from, lane.top + 0.08), (to, lane.top + 0.92)];
                chart.draw_series([Rectangle::new(corners, color.mix(strength).filled())])?;
            }
            let middle = ((lane.top + 0.5) * f64::from(row * SCALE)).round() as u32;
            word(area, &lane.name, ((LEFT - 6) * SCALE, middle), HPos::Right)?;
        }
        let seconds = |second: &f64| format!("{} s", tick(*second));
        chart
            .configure_mesh()
            .disable_mesh()
            .y_labels(0)
            .x_labels(12)
            .axis_style(stroke(GRID, 10))
            .x_label_formatter(&seconds)
            .x_label_style(text(12))
            .draw()?;
        Ok(())
    })?;
    let has_classes = flows.iter().any(|flow| !flow.classes.is_empty());
    let title = if has_classes {
        "Phases of the estimator, and what it takes the path for"
    } else {
        "Phases of the estimator"
    };
    let legend = phases.legend().chain(classes.legend()).collect();
    Ok(Panel { title: title.to_owned(), legend, svg })
}

/// Names with their beginnings, as bands with beginnings and ends.
pub(super) fn bands(
    names: &[(f64, &'static str)],
    end: f64,
) -> impl Iterator<Item = (f64, f64, &'static str)> {
    let ends = names.iter().skip(1).map(|(from, _)| *from).chain([end]);
    let bands = names.iter().zip(ends).map(move |((from, name), to)| (*from, to.min(end), *name));
    bands.filter(|(from, to, _)| to > from)
}

/// The bands of a single flow's phases, faint, to lie behind its rates.
pub(super) fn background(
    flow: &FlowTimeline,
    palette: &Palette,
    (end, top): (f64, f64),
) -> Vec<Rectangle<(f64, f64)>> {
    let band = |(from, to, name): (f64, f64, &str)| {
        let (color, _) = palette.color(name);
        Rectangle::new([(from, 0.0), (to, top)], color.mix(0.10).filled())
    };
    bands(&flow.states, end).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_follow_each_other_to_the_end() {
        let names = [(0.0, "a"), (2.0, "b"), (2.0, "c")];
        assert_eq!(bands(&names, 5.0).collect::<Vec<_>>(), [(0.0, 2.0, "a"), (2.0, 5.0, "c")]);
    }

    #[test]
    fn known_phases_keep_their_color_whoever_else_is_there() {
        let alone = Palette::of(["cruise"].into_iter());
        let among = Palette::of(["cruise", "startup", "aha", "zzz"].into_iter());
        assert_eq!(alone.color("cruise"), among.color("cruise"));
        assert_ne!(among.color("aha"), among.color("zzz"));
        assert_eq!(among.legend().count(), 4, "each once");
    }

    #[test]
    fn lanes_are_as_many_as_flows_with_and_without_kinds_of_paths() {
        let mut timeline = crate::report::made_up::timeline(1, 3);
        let height = |panel: &Panel| panel.svg.split("viewBox=\"0 0 ").nth(1).unwrap()[5..8].to_owned();
        let with = phases(&timeline, "made-up", 60.0).unwrap();
        timeline.flows[0].classes.clear();
        let without = phases(&timeline, "made-up", 60.0).unwrap();
        assert!(with.svg.contains("\npath\n") && !without.svg.contains("\npath\n"));
        assert_ne!(height(&with), height(&without));
        let many = phases(&crate::report::made_up::timeline(3, 3), "made-up", 60.0).unwrap();
        assert_eq!(many.svg.matches("\npath\n").count(), 3);
    }
}
