//! Loss recovery at a glance: for each cell a line, on it a dot for each policy.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{
    Area, COLORS, Entry, GRID, INK, Mark, Panel, PlotError, SCALE, SHADE, stroke, svg, text, tick, word,
};
use crate::recovery::Row;

/// The width on the page, in pixels, and what of it the cells' names take; the heights of a line, of headings and axes.
const WIDTH: u32 = 980;
const LEFT: u32 = 230;
const LINE: u32 = 20;
const HEAD: u32 = 26;
const FOOT: u32 = 26;
/// The most cells that are drawn: the table has them all.
const CELLS_MAX: usize = 150;

/// Policies keep their color.
const POLICIES: [(&str, RGBColor); 9] = [
    ("lianmai-native", COLORS[2]),
    ("lianmai-browser", COLORS[0]),
    ("opt", INK),
    ("hairpin", COLORS[3]),
    ("libwebrtc", COLORS[1]),
    ("fixed-15", COLORS[4]),
    ("fixed-25", COLORS[5]),
    ("fixed-35", COLORS[6]),
    ("nack", SHADE),
];

/// A column: its heading, its range by powers of ten, and a row's value.
type Column = (&'static str, (f64, f64), fn(&Row) -> Option<f64>);

/// The columns; what lies below a range is drawn at its beginning.
const COLUMNS: [Column; 3] = [
    ("redundancy, %", (0.5, 400.0), |row| Some(row.redundancy * 100.0)),
    ("blocks not whole", (1e-5, 1.0), |row| Some(row.residual)),
    ("p99 of repair, ms", (1.0, 1_000.0), |row| row.p99_ms),
];

/// The overview of some rows.
pub(in crate::report) fn overview(rows: &[Row]) -> Result<Panel, PlotError> {
    let mut titles: Vec<String> = Vec::new();
    for row in rows {
        if titles.last() != Some(&row.title()) && !titles.contains(&row.title()) {
            titles.push(row.title());
        }
        if titles.len() == CELLS_MAX {
            break;
        }
    }
    let height = titles.len() as u32 * LINE + HEAD + FOOT;
    let svg = svg((WIDTH, height), "Redundancy, residual and repair time in all cells", |area| {
        for (number, title) in titles.iter().enumerate() {
            let middle = (HEAD + number as u32 * LINE + LINE / 2) * SCALE;
            word(area, title, ((LEFT - 8) * SCALE, middle), HPos::Right)?;
        }
        let width = (WIDTH - LEFT) / COLUMNS.len() as u32;
        for (number, column) in COLUMNS.iter().enumerate() {
            let left = (LEFT + number as u32 * width) * SCALE;
            draw(&area.clone().shrink((left, 0), (width * SCALE, height * SCALE)), column, rows, &titles)?;
        }
        Ok(())
    })?;
    let is_there = |name: &str| rows.iter().any(|row| row.policy == name);
    let shown = POLICIES.iter().filter(|(name, _)| is_there(name));
    let legend = shown.map(|(name, color)| Entry::new(Mark::Dot, *color, *name)).collect();
    Ok(Panel { title: "At a glance".to_owned(), legend, svg })
}

fn draw(area: &Area<'_>, column: &Column, rows: &[Row], titles: &[String]) -> Result<(), PlotError> {
    let (heading, (from, to), value) = column;
    let mut chart = ChartBuilder::on(area)
        .margin_right(20 * SCALE)
        .margin_left(8 * SCALE)
        .margin_top(HEAD * SCALE)
        .x_label_area_size(FOOT * SCALE)
        .build_cartesian_2d((*from..*to).log_scale(), titles.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(5)
        .x_label_formatter(&|value| if *value < 1e-3 { format!("{value:.0e}") } else { tick(*value) })
        .label_style(text(12))
        .axis_style(stroke(GRID, 10))
        .bold_line_style(stroke(GRID, 10))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for place in 0..titles.len() {
        let height = place as f64 + 0.5;
        chart.draw_series([PathElement::new([(*from, height), (*to, height)], stroke(GRID, 10))])?;
    }
    word(area, heading, (8 * SCALE, HEAD / 2 * SCALE), HPos::Left)?;
    for row in rows {
        let Some(place) = titles.iter().position(|title| *title == row.title()) else { continue };
        let Some(value) = value(row) else { continue };
        let color = POLICIES.iter().find(|(name, _)| *name == row.policy).map_or(INK, |(_, color)| *color);
        let at = (value.clamp(*from, *to), place as f64 + 0.5);
        chart.draw_series([Circle::new(at, 9, color.mix(0.85).filled())])?;
    }
    Ok(())
}
