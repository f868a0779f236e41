//! A run over time: rates, queue delay, losses, the estimator's phases, pictures and freezes, one above the other.

use std::ops::Range;

use plotters::prelude::*;

use super::phases::{self, Palette};
use super::{
    ALARM, Area, COLORS, Entry, GRID, INK, Mark, Panel, PlotError, SCALE, SHADE, label, round_up, stroke,
    svg, text, thin, thin_dots, tick,
};
use crate::timeline::{SPAN_MS, Timeline};

/// The width of all panels on the page, in pixels.
pub(super) const WIDTH: u32 = 980;
/// What of it the labels of the ordinate take: so the panels' times stand under each other.
pub(super) const LEFT: u32 = 64;
/// The margin on the right: half of the last label of time.
pub(super) const RIGHT: u32 = 18;
/// How many columns of pixels the data have.
pub(super) const COLUMNS: usize = (WIDTH - LEFT - RIGHT) as usize;

/// In how many spans losses are counted.
const LOSS_BINS: usize = 150;

/// How many columns dots are thinned to: each is an element of its own.
const DOT_COLUMNS: usize = 600;

/// Over how many spans rates are averaged where several flows cross each other.
const SMOOTH_SPANS: usize = 5;

/// By how many times the greatest rate a capacity may exceed it and still set the scale.
const CAPACITY_IN_SIGHT: f64 = 2.5;

/// The colors of a single flow's target, sent and received rates.
const TARGET: RGBColor = COLORS[1];
/// See [`TARGET`].
const SENT: RGBColor = COLORS[4];
/// See [`TARGET`].
const RECEIVED: RGBColor = COLORS[0];

/// Losses by cause.
const CAUSES: [(&str, RGBColor); 3] =
    [("queue full", COLORS[1]), ("chance", COLORS[0]), ("policer or outage", COLORS[3])];

/// A chart with time from left to right.
type TimeChart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// All panels of a run; `name` is what they are about.
pub(in crate::report) fn panels(timeline: &Timeline, name: &str) -> Result<Vec<Panel>, PlotError> {
    let plot = Plot { timeline, name, end: timeline.capacity.len() as f64 * SPAN_MS as f64 / 1e3 };
    if timeline.capacity.is_empty() {
        return Ok(Vec::new());
    }
    let phases = phases::phases(timeline, name, plot.end)?;
    Ok(vec![plot.rates()?, phases, plot.queue()?, plot.losses()?, plot.pictures()?])
}

struct Plot<'a> {
    timeline: &'a Timeline,
    name: &'a str,
    /// The end of the run, in seconds.
    end: f64,
}

impl Plot<'_> {
    fn rates(&self) -> Result<Panel, PlotError> {
        let Timeline { capacity, others, flows, .. } = self.timeline;
        let greatest =
            |series: &[f64]| series.iter().copied().filter(|rate| rate.is_finite()).fold(0.0, f64::max);
        let own = flows.iter().flat_map(|flow| [&flow.target, &flow.sent, &flow.received]);
        let own = own.chain([others]).map(|series| greatest(series)).fold(0.0, f64::max);
        let top = round_up(own.max(greatest(capacity).min(own * CAPACITY_IN_SIGHT)) * 1.05);
        let has_others = others.iter().any(|rate| *rate > 0.0);
        let mut legend = vec![Entry::new(Mark::Area, SHADE, "capacity")];
        legend.extend(has_others.then(|| Entry::new(Mark::Line, SHADE, "others’ traffic")));
        match flows.as_slice() {
            [_] => legend.extend([
                Entry::new(Mark::Dashes, TARGET, "target"),
                Entry::new(Mark::Line, SENT, "sent"),
                Entry::new(Mark::Line, RECEIVED, "received"),
            ]),
            several => {
                legend.extend(several.iter().enumerate().map(|(number, flow)| {
                    Entry::new(Mark::Line, flow_color(number), format!("{} received", flow.name))
                }));
                legend.push(Entry::new(Mark::Dashes, INK, "targets, in the flows’ colors"));
            }
        }
        let spans = if flows.len() > 1 { SMOOTH_SPANS } else { 1 };
        let svg = svg((WIDTH, 300), &label("Rates", self.name), |area| {
            let mut chart = self.chart(area, 0.0..top, "Mbit/s")?;
            if let [flow] = flows.as_slice() {
                let palette = Palette::of_phases(self.timeline);
                chart.draw_series(phases::background(flow, &palette, (self.end, top)))?;
            }
            Self::area(&mut chart, capacity, top, SHADE, 0.18)?;
            Self::line(&mut chart, capacity, top, stroke(SHADE, 10))?;
            if has_others {
                Self::line(&mut chart, others, top, stroke(SHADE, 18))?;
            }
            for (number, flow) in flows.iter().enumerate() {
                if flows.len() == 1 {
                    Self::line(&mut chart, &flow.sent, top, stroke(SENT, 15))?;
                    Self::line(&mut chart, &flow.received, top, stroke(RECEIVED, 20))?;
                    Self::dashes(&mut chart, &flow.target, top, stroke(TARGET, 15))?;
                } else {
                    let color = flow_color(number);
                    Self::line(&mut chart, &smooth(&flow.received, spans), top, stroke(color, 18))?;
                    Self::dashes(&mut chart, &smooth(&flow.target, spans), top, stroke(color, 10))?;
                }
            }
            Ok(())
        })?;
        let means = tick(spans as f64 * SPAN_MS as f64 / 1e3);
        let title = format!("Rates and capacity, means of {means} s");
        Ok(Panel { title, legend, svg })
    }

    fn queue(&self) -> Result<Panel, PlotError> {
        let queue = &self.timeline.queue_ms;
        let greatest = queue.iter().copied().filter(|delay| delay.is_finite()).fold(0.0, f64::max);
        let top = round_up((greatest * 1.05).max(10.0));
        let svg = svg((WIDTH, 180), &label("Queue delay", self.name), |area| {
            let mut chart = self.chart(area, 0.0..top, "ms")?;
            Self::area(&mut chart, queue, top, COLORS[0], 0.2)?;
            Self::line(&mut chart, queue, top, stroke(COLORS[0], 15))
        })?;
        let title = format!("Queue delay at the bottleneck, greatest in {SPAN_MS} ms");
        Ok(Panel { title, legend: Vec::new(), svg })
    }

    fn losses(&self) -> Result<Panel, PlotError> {
        let spans = self.timeline.capacity.len();
        let width = spans.div_ceil(LOSS_BINS).max(1);
        let bins = self.loss_bins(width);
        let greatest = bins.iter().map(|causes| causes.iter().sum::<u32>()).max().unwrap_or(0);
        if greatest == 0 {
            return Ok(Panel {
                title: "No packet was lost".to_owned(),
                legend: Vec::new(),
                svg: String::new(),
            });
        }
        let top = round_up((f64::from(greatest) * 1.05).max(4.0));
        let seconds = width as f64 * SPAN_MS as f64 / 1e3;
        let svg = svg((WIDTH, 160), &label("Losses", self.name), |area| {
            let mut chart = self.chart(area, 0.0..top, "packets")?;
            for (number, causes) in bins.iter().enumerate() {
                let (from, to) = (number as f64 * seconds, (number as f64 + 0.85) * seconds);
                let mut below = 0.0;
                for (count, (_, color)) in causes.iter().zip(CAUSES).filter(|(count, _)| **count > 0) {
                    let above = below + f64::from(*count);
                    let bar = Rectangle::new([(from, above), (to.min(self.end), below)], color.filled());
                    chart.draw_series([bar])?;
                    below = above;
                }
            }
            Ok(())
        })?;
        let seen = |cause: usize| bins.iter().any(|causes| causes[cause] > 0);
        let causes = CAUSES.into_iter().enumerate().filter(|(cause, _)| seen(*cause));
        let legend = causes.map(|(_, (name, color))| Entry::new(Mark::Area, color, name)).collect();
        Ok(Panel { title: format!("Packets lost in {} s, by cause", tick(seconds)), legend, svg })
    }

    /// Packets of all flows lost by each of [`CAUSES`], in spans of `width` values.
    fn loss_bins(&self, width: usize) -> Vec<[u32; CAUSES.len()]> {
        let mut bins = vec![[0; CAUSES.len()]; self.timeline.capacity.len().div_ceil(width)];
        for flow in &self.timeline.flows {
            let series = [&flow.lost_overflow, &flow.lost_random, &flow.lost_policer];
            for (cause, series) in series.into_iter().enumerate() {
                for (span, lost) in series.iter().enumerate() {
                    if let Some(bin) = bins.get_mut(span / width) {
                        bin[cause] += lost;
                    }
                }
            }
        }
        bins
    }

    fn pictures(&self) -> Result<Panel, PlotError> {
        let flows = &self.timeline.flows;
        let delays = || flows.iter().flat_map(|flow| &flow.frames).map(|(_, delay)| *delay);
        if delays().next().is_none() {
            return Ok(Panel {
                title: "No picture arrived".to_owned(),
                legend: Vec::new(),
                svg: String::new(),
            });
        }
        let top = round_up((delays().fold(0.0, f64::max) * 1.05).max(50.0));
        let frozen = flows.iter().any(|flow| !flow.freezes.is_empty());
        let mut legend: Vec<Entry> = match flows.as_slice() {
            [_] => vec![Entry::new(Mark::Dot, RECEIVED, "picture complete")],
            several => (several.iter().enumerate())
                .map(|(number, flow)| Entry::new(Mark::Dot, flow_color(number), flow.name.as_str()))
                .collect(),
        };
        let name = if flows.len() > 1 { "frozen, a lane for each flow" } else { "frozen" };
        legend.extend(frozen.then(|| Entry::new(Mark::Area, ALARM, name)));
        let svg = svg((WIDTH, 240), &label("Pictures", self.name), |area| {
            let mut chart = self.chart(area, 0.0..top, "ms")?;
            for (number, flow) in flows.iter().enumerate() {
                let lane = |share: f64| top * (number as f64 + share) / flows.len() as f64;
                chart.draw_series(flow.freezes.iter().map(|(from, to)| {
                    // At least two pixels wide, or short ones would not be seen.
                    let to = to.max(from + 2.0 * self.end / COLUMNS as f64).min(self.end);
                    Rectangle::new([(*from, lane(0.0)), (to, lane(1.0))], ALARM.mix(0.3).filled())
                }))?;
            }
            for (number, flow) in flows.iter().enumerate() {
                let color = if flows.len() == 1 { RECEIVED } else { flow_color(number) };
                let dots = thin_dots(&flow.frames, DOT_COLUMNS / flows.len());
                chart
                    .draw_series(dots.into_iter().map(|dot| Circle::new(dot, 3, color.mix(0.65).filled())))?;
            }
            Ok(())
        })?;
        Ok(Panel { title: "Pictures: from taking to completion".to_owned(), legend, svg })
    }

    /// A chart over the whole run, with axes and grid.
    fn chart<'a, 'b>(
        &self,
        area: &'a Area<'b>,
        range: Range<f64>,
        unit: &str,
    ) -> Result<TimeChart<'a, 'b>, PlotError> {
        let mut chart = ChartBuilder::on(area)
            .margin_top(8 * SCALE)
            .margin_right(RIGHT * SCALE)
            .x_label_area_size(26 * SCALE)
            .y_label_area_size(LEFT * SCALE)
            .build_cartesian_2d(0.0..self.end, range)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(12)
            .y_labels(6)
            .x_label_formatter(&|second| format!("{} s", tick(*second)))
            .y_label_formatter(&|value| tick(*value))
            .label_style(text(12))
            .axis_desc_style(text(12))
            .axis_style(stroke(GRID, 10))
            .bold_line_style(stroke(GRID, 10))
            .light_line_style(TRANSPARENT)
            .y_desc(unit)
            .draw()?;
        Ok(chart)
    }

    /// A series as points in time, thinned, cut off at the top of the chart.
    fn points(series: &[f64], top: f64) -> Vec<(f64, f64)> {
        let point = |(span, value): (usize, &f64)| {
            let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, top) };
            ((span as f64 + 0.5) * SPAN_MS as f64 / 1e3, value)
        };
        thin(&series.iter().enumerate().map(point).collect::<Vec<_>>(), COLUMNS)
    }

    fn line(
        chart: &mut TimeChart<'_, '_>,
        series: &[f64],
        top: f64,
        style: ShapeStyle,
    ) -> Result<(), PlotError> {
        chart.draw_series(LineSeries::new(Self::points(series, top), style))?;
        Ok(())
    }

    fn dashes(
        chart: &mut TimeChart<'_, '_>,
        series: &[f64],
        top: f64,
        style: ShapeStyle,
    ) -> Result<(), PlotError> {
        let points = Self::points(series, top);
        chart.draw_series(DashedLineSeries::new(points, 5 * SCALE, 3 * SCALE, style))?;
        Ok(())
    }

    fn area(
        chart: &mut TimeChart<'_, '_>,
        series: &[f64],
        top: f64,
        color: RGBColor,
        strength: f64,
    ) -> Result<(), PlotError> {
        let mut outline = Self::points(series, top);
        let (first, last) =
            (outline.first().map_or(0.0, |point| point.0), outline.last().map_or(0.0, |point| point.0));
        outline.extend([(last, 0.0), (first, 0.0)]);
        chart.draw_series([Polygon::new(outline, color.mix(strength).filled())])?;
        Ok(())
    }
}

/// A series with each value replaced by the mean of so many around it.
fn smooth(series: &[f64], spans: usize) -> Vec<f64> {
    let half = spans / 2;
    let mean = |place: usize| {
        let around = &series[place.saturating_sub(half)..(place + half + 1).min(series.len())];
        around.iter().sum::<f64>() / around.len() as f64
    };
    (0..series.len()).map(mean).collect()
}

fn flow_color(number: usize) -> RGBColor {
    COLORS[number % COLORS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn every_panel_is_drawn_for_one_flow_and_for_many() {
        for flows in [1, 5] {
            let panels = panels(&made_up::timeline(flows, 3), "made-up").unwrap();
            assert_eq!(panels.len(), 5);
            for panel in &panels {
                assert!(panel.svg.ends_with("</svg>\n"), "{}", panel.title);
                assert!(panel.svg.len() < 200_000, "{}: {} bytes", panel.title, panel.svg.len());
            }
            assert_eq!(panels[1].legend.len(), 4 + 2, "each phase and kind of path once");
            assert_eq!(panels[3].legend.len(), 3, "each cause once");
        }
    }

    #[test]
    fn a_run_without_losses_pictures_or_length_is_told_so() {
        let mut timeline = made_up::timeline(1, 3);
        timeline.flows[0].frames.clear();
        for series in ["overflow", "random", "policer"] {
            let flow = &mut timeline.flows[0];
            match series {
                "overflow" => flow.lost_overflow.clear(),
                "random" => flow.lost_random.clear(),
                _ => flow.lost_policer.clear(),
            }
        }
        let panels = panels(&timeline, "made-up").unwrap();
        assert_eq!(panels[3].title, "No packet was lost");
        assert_eq!(panels[4].title, "No picture arrived");
        assert!(super::panels(&Timeline::default(), "nothing").unwrap().is_empty());
    }

    #[test]
    fn smoothing_keeps_the_length_and_the_level() {
        assert_eq!(smooth(&[0.0, 0.0, 5.0, 0.0, 0.0], 5), [5.0 / 3.0, 1.25, 1.0, 1.25, 5.0 / 3.0]);
        assert_eq!(smooth(&[1.0, 2.0], 1), [1.0, 2.0]);
        assert!(smooth(&[], 5).is_empty());
    }
}
