//! Plots as SVG, drawn by plotters, to be set into a page of HTML.
//!
//! Colors that stand for data are the same on a light and on a dark page; [`INK`], [`GRID`] and [`SHADE`] are marks that
//! the page's style replaces by what suits. Everything is drawn at twice its size on the page: the backend knows whole
//! pixels only.

pub(super) mod overview;
mod phases;
pub(super) mod protected;
pub(super) mod recovery;
pub(super) mod run;
pub(super) mod strip;

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// How much larger than on the page things are drawn.
const SCALE: u32 = 2;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x3A, 0x3F, 0x47);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(0xE1, 0xE4, 0xE8);
/// Areas behind data.
pub(super) const SHADE: RGBColor = RGBColor(0x8D, 0x96, 0xA3);
/// What went wrong: freezes.
pub(super) const ALARM: RGBColor = RGBColor(0xD8, 0x1B, 0x3C);

/// Colors that people with any color vision can tell apart (Okabe and Ito 2008), darker where white paper needs it.
pub(super) const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD9, 0x6C, 0x06),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xC4, 0x5F, 0x9E),
    RGBColor(0x4D, 0xA9, 0xE0),
    RGBColor(0xC9, 0xA4, 0x00),
    RGBColor(0x7A, 0x5C, 0xC9),
];

/// Colors that are too dark for a dark page, with the names of what the page's style has for them.
pub(super) const ADAPTED: [(RGBColor, &str); 3] =
    [(INK, "--soft"), (COLORS[0], "--blue"), (COLORS[6], "--violet")];

/// Estimators keep their color from one report to the next, whoever else is in it.
const ESTIMATORS: [(&str, RGBColor); 8] = [
    ("hybrid", COLORS[2]),
    ("gcc", COLORS[1]),
    ("googcc", COLORS[0]),
    ("googcc-40ms", COLORS[4]),
    ("bbr", COLORS[3]),
    ("nada", COLORS[6]),
    ("oracle", COLORS[5]),
    ("fixed", SHADE),
];

/// The color of an estimator.
pub(super) fn estimator_color(name: &str) -> RGBColor {
    let known = ESTIMATORS.iter().find(|(known, _)| *known == name);
    known.map_or(INK, |(_, color)| *color)
}

/// Why a plot cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("drawing a plot: {0}")]
pub struct PlotError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// Where plots are drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot with what explains it.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    /// Its heading.
    pub(super) title: String,
    /// What its colors mean.
    pub(super) legend: Vec<Entry>,
    /// The plot; empty if there is nothing to show, which the heading then says.
    pub(super) svg: String,
}

/// A color and its meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// How it is drawn.
    pub(super) mark: Mark,
    /// The color.
    pub(super) color: RGBColor,
    /// The meaning.
    pub(super) label: String,
}

/// What a color fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A line.
    Line,
    /// A broken line.
    Dashes,
    /// A dot.
    Dot,
    /// An area.
    Area,
}

impl Entry {
    pub(super) fn new(mark: Mark, color: RGBColor, label: impl Into<String>) -> Self {
        Self { mark, color, label: label.into() }
    }
}

/// A color as pages write it, the page's own where it has one.
pub(super) fn css(color: RGBColor) -> String {
    let adapted = ADAPTED.iter().find(|(adapted, _)| *adapted == color);
    adapted.map_or_else(|| hex(color), |(_, name)| format!("var({name})"))
}

/// A color as plots write it.
pub(super) fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

/// Draws an SVG of a size on the page; `label` is for those who cannot see it.
pub(super) fn svg(
    size: (u32, u32),
    label: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 * SCALE, size.1 * SCALE)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    let start = svg.find('>').map_or(0, |end| end + 1);
    let head = format!(
        "<svg viewBox=\"0 0 {} {}\" style=\"--width:{}px\" role=\"img\" aria-label=\"{}\">",
        size.0 * SCALE,
        size.1 * SCALE,
        size.0,
        label.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;"),
    );
    // What is so anyway need not be said a thousand times.
    let body = svg[start..].replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    Ok(head + &body)
}

/// The style of text in plots, in pixels of the page.
fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", f64::from(size * SCALE) * 1.24).into_font().color(&INK) // the backend divides by 1.24
}

/// A line's style, in tenths of a pixel of the page.
fn stroke(color: RGBColor, tenths: u32) -> ShapeStyle {
    color.stroke_width((tenths * SCALE).div_ceil(10))
}

/// Writes a word so that it ends or begins at a place, in drawn pixels.
fn word(area: &Area<'_>, word: &str, (x, y): (u32, u32), side: HPos) -> Result<(), PlotError> {
    let style = text(12).pos(Pos::new(side, VPos::Center));
    Ok(area.draw(&Text::new(word.to_owned(), (x as i32, y as i32), style))?)
}

/// Numbers on axes: as few digits as tell them apart.
fn tick(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 10.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A round number not below `value`, for the upper end of an axis.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let scale = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * scale >= value * (1.0 - 1e-9));
    step.unwrap_or(10.0) * scale
}

/// A series thinned to so many columns: of each column the least and the greatest value stay, in their order.
fn thin(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * columns {
        return points.to_vec();
    }
    let mut thinned = Vec::with_capacity(2 * columns);
    for column in points.chunks(points.len().div_ceil(columns)) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (least, greatest) = (column.iter().min_by(by_value), column.iter().max_by(by_value));
        if let (Some(least), Some(greatest)) = (least, greatest) {
            let (first, second) = if least.0 <= greatest.0 { (least, greatest) } else { (greatest, least) };
            thinned.push(*first);
            if first != second {
                thinned.push(*second);
            }
        }
    }
    thinned
}

/// Dots thinned to so many columns: of each column the first stays, for the crowd, and the greatest.
fn thin_dots(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * columns {
        return points.to_vec();
    }
    let mut thinned = Vec::with_capacity(2 * columns);
    for column in points.chunks(points.len().div_ceil(columns)) {
        let greatest = column.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        thinned.extend(column.first());
        thinned.extend(greatest.filter(|greatest| Some(*greatest) != column.first()));
    }
    thinned
}

/// What a plot is called aloud: its heading and the name it is about.
fn label(title: &str, about: impl Display) -> String {
    format!("{title}: {about}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_extremes_and_the_order() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), f64::from(at % 7))).collect();
        points[5_003].1 = 99.0;
        points[7_001].1 = -99.0;
        let thinned = thin(&points, 100);
        assert!(thinned.len() <= 200 && thinned.len() >= 100, "{}", thinned.len());
        assert!(thinned.contains(&points[5_003]) && thinned.contains(&points[7_001]));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thin(&points[..150], 100), &points[..150], "what fits stays");
        let dots = thin_dots(&points, 100);
        assert!(dots.len() <= 200 && dots.contains(&points[5_003]) && dots.contains(&points[0]));
        assert_eq!(thin_dots(&points[..150], 100), &points[..150]);
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in [(0.0, 1.0), (0.97, 1.0), (4.4, 5.0), (5.3, 6.0), (130.0, 150.0), (0.011, 0.012)]
        {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}: {}", round_up(value));
        }
        for (value, shown) in
            [(0.0, "0"), (0.5, "0.5"), (12.0, "12"), (0.05, "0.05"), (100.0, "100"), (1.0, "1")]
        {
            assert_eq!(tick(value), shown);
        }
    }

    #[test]
    fn an_svg_names_no_resource_and_is_balanced() {
        let svg =
            svg((10, 10), "a \"quoted\" <label>", |area| word(area, "a<b", (0, 0), HPos::Left)).unwrap();
        assert!(!svg.contains("http") && svg.contains("a&lt;b"), "{svg}");
        assert!(svg.contains("aria-label=\"a &quot;quoted&quot; &lt;label>\""), "{svg}");
        assert_eq!((svg.matches("<svg").count(), svg.matches("</svg>").count()), (1, 1));
    }
}
