//! The rows as a page: the ratio of every run, case by case.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

use super::row::Row;

/// Writes the page.
pub(super) fn write(rows: &[Row], file: &Path) -> Result<()> {
    let svg = plot(rows)?;
    let mut table = String::new();
    for row in rows {
        let more: Vec<String> = row.more.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(
            table,
            "<tr><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{}</td><td>{:.3}</td><td class=\"more\">{}</td></tr>",
            row.case,
            row.ours(),
            row.reference(),
            row.unit,
            row.ratio(),
            more.join("<br>").replace('"', "")
        )?;
    }
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Lianmai: what forwarding costs</title>\n\
         <style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}\n\
         td, th {{ padding: 0 1rem; text-align: right; vertical-align: top }} .more {{ text-align: left }}\n\
         svg {{ max-width: 100%; height: auto }}</style>\n<h1>What forwarding costs</h1>\n\
         <p>Each run compares both in turns; the table has medians.</p>\n{svg}\n\
         <table><tr><th>case</th><th>ours</th><th>reference</th><th>unit</th><th>ratio</th><th>more</th></tr>\n\
         {table}</table>\n</html>\n"
    );
    std::fs::write(file, html).with_context(|| format!("writing {}", file.display()))
}

/// A column of dots for each case: the ratio of each run.
fn plot(rows: &[Row]) -> Result<String> {
    let ratios = |row: &Row| -> Vec<f64> {
        let ratio = |(ours, reference): &(f64, f64)| {
            if row.inverse { reference / ours } else { ours / reference }
        };
        row.runs.iter().map(ratio).filter(|ratio| ratio.is_finite()).collect()
    };
    let columns: Vec<(&str, Vec<f64>)> = rows.iter().map(|row| (row.case, ratios(row))).collect();
    let top = columns.iter().flat_map(|(_, ratios)| ratios).copied().fold(1.0, f64::max) * 1.1;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 400)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(-0.5..columns.len() as f64 - 0.5, 0.0..top)?;
        let name = |column: &f64| {
            let named = columns.get(column.round().max(0.0) as usize).filter(|_| column.fract().abs() < 1e-6);
            named.map_or(String::new(), |(case, _)| (*case).to_owned())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(columns.len().max(1) * 2 + 1)
            .x_label_formatter(&name)
            .y_desc("ratio of each run")
            .draw()?;
        for (column, (_, ratios)) in columns.iter().enumerate() {
            let dots = ratios.iter().map(|ratio| Circle::new((column as f64, *ratio), 4, BLUE.filled()));
            chart.draw_series(dots)?;
        }
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_row_and_every_run() {
        let mut row = Row::new("core", "ns").with("batch", 4);
        row.runs = vec![(3.0, 2.0), (4.0, 2.0)];
        let mut none = Row::new("residence", "subscribers");
        none.runs = vec![(300.0, f64::NAN)];
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("page.html");
        write(&[row, none], &file).expect("written");
        let page = std::fs::read_to_string(file).expect("readable");
        assert_eq!(page.matches("<tr><td>").count(), 2);
        assert_eq!(page.matches("<circle").count(), 2, "runs without a ratio have no dot");
        assert!(page.contains("batch 4"));
    }
}
