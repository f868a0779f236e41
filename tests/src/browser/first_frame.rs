//! From joining to the first picture: through the server, against a direct `PeerConnection` between the same pages.
//!
//! Both begin with an open camera and loaded code, and end when the first decoded frame is presented. The runs
//! alternate, so that whatever else the machine does falls on both. Before a direct run the other page leaves the room,
//! so that nothing but that run encodes; before a run through the server it is there and its picture flows, as for
//! anybody who enters a room.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plotters::prelude::*;

use super::stage::Stage;
use crate::chromium::Page;
use crate::media::Camera;

const TIMING: &str = include_str!("first_frame.js");
const RUNS: usize = 10;
const RATIO_MAX: f64 = 2.0;
const PICTURE_FLOWS: Duration = Duration::from_millis(1_500); // connected, and the encoders are warm
const BETWEEN_RUNS: Duration = Duration::from_millis(500); // closed connections still occupy the processors

/// Every run's time in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// Through the server.
    pub sfu_ms: Vec<f64>,
    /// Directly.
    pub direct_ms: Vec<f64>,
}

impl Times {
    /// The median of the runs through the server.
    pub fn sfu_median_ms(&self) -> f64 {
        median(&self.sfu_ms)
    }

    /// The median of the direct runs.
    pub fn direct_median_ms(&self) -> f64 {
        median(&self.direct_ms)
    }

    /// How many times as long it takes through the server.
    pub fn ratio(&self) -> f64 {
        self.sfu_median_ms() / self.direct_median_ms()
    }
}

/// The claim: at most twice as long.
pub async fn first_frame(stage: &mut Stage) -> Result<String> {
    let times = measure(stage, RUNS, |_| {}).await?;
    let (sfu, direct, ratio) = (times.sfu_median_ms(), times.direct_median_ms(), times.ratio());
    let report = format!("{sfu:.0} ms through the server, {direct:.0} ms directly: ratio {ratio:.2}");
    ensure!(ratio <= RATIO_MAX, "{report}; {times:?}");
    Ok(report)
}

/// Measures `runs` times each way, after one run each way that is not counted.
pub async fn measure(stage: &mut Stage, runs: usize, mut progress: impl FnMut(&str) + Send) -> Result<Times> {
    stage.open(Camera::SMALL).await?;
    let other = empty_page(stage, "other").await?;
    let joining = empty_page(stage, "joining").await?;
    let mut times = Times { sfu_ms: Vec::new(), direct_ms: Vec::new() };
    for run in 0..=runs {
        let direct = direct(&other, &joining, run).await.context("directly")?;
        let sfu = through_the_server(&other, &joining).await.context("through the server")?;
        progress(&format!("run {run}: {sfu:.0} ms through the server, {direct:.0} ms directly"));
        if run > 0 {
            times.direct_ms.push(direct);
            times.sfu_ms.push(sfu);
        }
    }
    Ok(times)
}

pub(super) async fn empty_page(stage: &mut Stage, name: &str) -> Result<Arc<Page>> {
    let page = stage.page(name).await?;
    page.resize(640, 480).await?;
    page.open(&format!("http://{}/healthz", stage.server()?.http())).await?;
    let loaded = "document.readyState === 'complete' && location.pathname === '/healthz' && !!document.body";
    page.wait_for("loads an empty page", loaded, Duration::from_secs(10)).await?;
    page.eval::<serde_json::Value>(&format!("{{ {TIMING} }} null")).await?;
    page.run("await timing.openCamera()").await?;
    Ok(page)
}

async fn direct(other: &Page, joining: &Page, run: usize) -> Result<f64> {
    other.run(&format!("timing.answer('direct-{run}')")).await?;
    let time = joining.eval(&format!("timing.call('direct-{run}')")).await?;
    for page in [joining, other] {
        page.run("timing.hangUp()").await?;
    }
    tokio::time::sleep(BETWEEN_RUNS).await;
    Ok(time)
}

async fn through_the_server(other: &Page, joining: &Page) -> Result<f64> {
    other.run("await timing.enter('other', false)").await?;
    tokio::time::sleep(PICTURE_FLOWS).await;
    let time = joining.eval("timing.enter('joining', true)").await?;
    for page in [joining, other] {
        page.run("timing.leave()").await?;
    }
    tokio::time::sleep(BETWEEN_RUNS).await;
    Ok(time)
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A page of its own with every run plotted.
pub fn write_html(times: &Times, file: &Path) -> Result<()> {
    let svg = plot(times)?;
    let mut rows = String::new();
    for (run, (sfu, direct)) in times.sfu_ms.iter().zip(&times.direct_ms).enumerate() {
        writeln!(rows, "<tr><td>{}</td><td>{sfu:.0}</td><td>{direct:.0}</td></tr>", run + 1)?;
    }
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Lianmai: time to first frame</title>\n\
         <style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}\n\
         td, th {{ padding: 0 1rem; text-align: right }} svg {{ max-width: 100%; height: auto }}</style>\n\
         <h1>From joining to the first picture</h1>\n\
         <p>Median {:.0} ms through the server, {:.0} ms over a direct PeerConnection between the same two pages: \
         ratio {:.2}.</p>\n{svg}\n\
         <table><tr><th>run</th><th>server, ms</th><th>direct, ms</th></tr>\n{rows}</table>\n</html>\n",
        times.sfu_median_ms(),
        times.direct_median_ms(),
        times.ratio(),
    );
    std::fs::write(file, html).with_context(|| format!("writing {}", file.display()))
}

fn plot(times: &Times) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (800, 400)).into_drawing_area();
        let runs = times.sfu_ms.len();
        let top = times.sfu_ms.iter().chain(&times.direct_ms).copied().fold(1.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.5..runs as f64 + 0.5, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(runs)
            .x_label_formatter(&|run| format!("{run:.0}"))
            .x_desc("run")
            .y_desc("milliseconds to the first frame")
            .draw()?;
        for (name, values, color) in
            [("through the server", &times.sfu_ms, BLUE), ("direct", &times.direct_ms, RED)]
        {
            let points = || values.iter().enumerate().map(|(run, value)| ((run + 1) as f64, *value));
            chart
                .draw_series(LineSeries::new(points(), color))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
            chart.draw_series(points().map(|point| Circle::new(point, 4, color.filled())))?;
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        for (sfu_ms, direct_ms, ratio) in [
            (vec![300.0, 100.0, 200.0], vec![100.0], 2.0),
            (vec![100.0, 200.0], vec![50.0, 70.0, 900.0], 150.0 / 70.0),
        ] {
            let times = Times { sfu_ms, direct_ms };
            assert!((times.ratio() - ratio).abs() < 1e-9, "{times:?}");
        }
    }

    #[test]
    fn the_page_stands_alone_and_holds_every_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.html");
        let times = Times { sfu_ms: vec![211.0, 233.0], direct_ms: vec![155.0, 144.0] };
        write_html(&times, &file).unwrap();
        let html = std::fs::read_to_string(&file).unwrap();
        assert!(html.contains("<svg") && html.contains("<td>211</td><td>155</td>"), "{html}");
        assert!(!html.contains("src=") && !html.contains("<link"), "nothing is loaded from elsewhere");
    }
}
