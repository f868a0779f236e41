//! Loss recovery under congestion control at a glance: for each scenario a line, on it a dot for each contender.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, COLORS, Entry, GRID, INK, Mark, Panel, PlotError, SCALE, stroke, svg, text, tick, word};
use crate::protected::{Contender, Outcome, Row};

/// The width on the page, in pixels, and what of it the scenarios' names take; the heights of a line, of headings and axes.
const WIDTH: u32 = 980;
const LEFT: u32 = 170;
const LINE: u32 = 24;
const HEAD: u32 = 26;
const FOOT: u32 = 26;

/// Contenders keep their color; others share one.
const CONTENDERS: [RGBColor; 7] =
    [COLORS[2], COLORS[0], COLORS[3], COLORS[1], COLORS[4], COLORS[5], COLORS[6]];

/// A column: its heading and an outcome's value. Each begins at nothing.
type Column = (&'static str, fn(&Outcome) -> f64);

const COLUMNS: [Column; 4] = [
    ("picture p95, ms", |one| one.frame_p95_ms),
    ("still, s a minute", |one| one.stall_s_per_min),
    ("redundancy, %", |one| one.redundancy * 100.0),
    ("pictures, Mbit/s", |one| one.media_kbps / 1e3),
];

/// The overview of some rows.
pub(in crate::report) fn overview(rows: &[Row]) -> Result<Panel, PlotError> {
    let mut titles: Vec<String> = Vec::new();
    for title in rows.iter().map(Row::title) {
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    let height = titles.len() as u32 * LINE + HEAD + FOOT;
    let svg = svg((WIDTH, height), "Delays, stills, redundancy and rates in all scenarios", |area| {
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
    let mut legend: Vec<Entry> = Vec::new();
    for row in rows {
        if !legend.iter().any(|entry| entry.label == row.policy) {
            legend.push(Entry::new(Mark::Dot, color(&row.policy), row.policy.clone()));
        }
    }
    Ok(Panel { title: "At a glance".to_owned(), legend, svg })
}

fn color(policy: &str) -> RGBColor {
    let place = Contender::ALL.iter().position(|known| *known == policy);
    place.and_then(|place| CONTENDERS.get(place)).copied().unwrap_or(INK)
}

fn draw(area: &Area<'_>, column: &Column, rows: &[Row], titles: &[String]) -> Result<(), PlotError> {
    let (heading, value) = column;
    let most = rows.iter().map(|row| value(&row.median)).fold(0.0, f64::max);
    let end = if most > 0.0 { most * 1.05 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin_right(16 * SCALE)
        .margin_left(8 * SCALE)
        .margin_top(HEAD * SCALE)
        .x_label_area_size(FOOT * SCALE)
        .build_cartesian_2d(0.0..end, titles.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(4)
        .x_label_formatter(&|value| tick(*value))
        .label_style(text(12))
        .axis_style(stroke(GRID, 10))
        .bold_line_style(stroke(GRID, 10))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for place in 0..titles.len() {
        let height = place as f64 + 0.5;
        chart.draw_series([PathElement::new([(0.0, height), (end, height)], stroke(GRID, 10))])?;
    }
    word(area, heading, (8 * SCALE, HEAD / 2 * SCALE), HPos::Left)?;
    for row in rows {
        let Some(place) = titles.iter().position(|title| *title == row.title()) else { continue };
        let at = (value(&row.median), place as f64 + 0.5);
        chart.draw_series([Circle::new(at, 10, color(&row.policy).mix(0.85).filled())])?;
    }
    Ok(())
}
