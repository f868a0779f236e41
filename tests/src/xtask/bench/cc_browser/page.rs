//! A page of its own with every run over time: rate against capacity, delay of each frame, freezes; the server's runs on
//! the left, direct ones on the right, on the same scales.

use std::fmt::Write as _;
use std::path::Path as File;
use std::time::Duration;

use anyhow::{Context, Result};
use plotters::prelude::*;

use super::call::Path;
use super::plan::Plan;
use super::score::Recording;
use super::{COLUMNS, Case};

const SIZE: (u32, u32) = (620, 240);
const RATE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
const DELAY: RGBColor = RGBColor(0xD9, 0x6C, 0x06);
const CAPACITY: RGBColor = RGBColor(0x8D, 0x96, 0xA3);
const FREEZE: RGBColor = RGBColor(0xD8, 0x1B, 0x3C);
/// Steps of the capacity's curve.
const CAPACITY_STEPS: u32 = 90;
/// Delays are drawn up to twice what all but one in fifty do not exceed: a single one must not flatten the rest.
const DELAY_SHARE: f64 = 0.98;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>Lianmai: Chromium on bad networks</title>\n\
    <style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 82rem; margin: 2rem auto; padding: 0 1rem }\n\
    td, th { padding: 0 .8rem; text-align: right } td:first-child, th:first-child { text-align: left }\n\
    .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 1rem }\n\
    h2 { margin-top: 2.5rem } h3 { margin: 1rem 0 0 } svg { max-width: 100%; height: auto }</style>\n\
    <h1>Chromium on bad networks</h1>\n";

/// Writes the page.
pub(super) fn write(cases: &[Case<'_>], about: &str, file: &File) -> Result<()> {
    std::fs::write(file, html(cases, about)?).with_context(|| format!("writing {}", file.display()))
}

fn html(cases: &[Case<'_>], about: &str) -> Result<String> {
    let mut html = HEAD.to_owned();
    writeln!(
        html,
        "<p>Our server to Chromium (sfu) against Chromium to Chromium (direct), the same network before the viewer, the \
         same film: {about}. Grey is what the network could carry, red is where the picture stood still.</p>"
    )?;
    html.push_str(&table(cases));
    let mut plans: Vec<&Plan> = cases.iter().map(|case| case.plan).collect();
    plans.dedup_by_key(|plan| plan.name);
    for plan in plans {
        let of_plan: Vec<&Case<'_>> = cases.iter().filter(|case| case.plan.name == plan.name).collect();
        writeln!(html, "<h2>{}: {}</h2>", plan.name, plan.about)?;
        let scale = Scale::of(&of_plan);
        for run in 0..of_plan.iter().map(|case| case.runs.len()).max().unwrap_or(0) {
            html.push_str("<div class=\"pair\">\n");
            for case in &of_plan {
                let Some((recording, score)) = case.runs.get(run) else { continue };
                let name = match case.path {
                    Path::Sfu => "through the server",
                    Path::Direct => "direct",
                };
                let figures = super::told(score);
                writeln!(html, "<div><h3>{name}, run {}</h3><p>{figures}</p>", run + 1)?;
                writeln!(html, "{}\n{}</div>", rates(recording, &scale)?, delays(recording, &scale)?)?;
            }
            html.push_str("</div>\n");
        }
    }
    html.push_str("</html>\n");
    Ok(html)
}

fn table(cases: &[Case<'_>]) -> String {
    let mut html = "<table><tr><th>plan</th><th>path</th>".to_owned();
    for column in &COLUMNS {
        let _ = write!(html, "<th>{}</th>", column.heading);
    }
    html.push_str("</tr>\n");
    for case in cases {
        let _ = write!(html, "<tr><td>{}</td><td>{}</td>", case.plan.name, case.path.name());
        for column in &COLUMNS {
            let _ = write!(html, "<td>{}</td>", column.cell(case));
        }
        html.push_str("</tr>\n");
    }
    html + "</table>\n"
}

/// The upper ends of the axes that all runs of a plan share.
struct Scale {
    seconds: f64,
    kbps: f64,
    delay_ms: f64,
}

impl Scale {
    fn of(cases: &[&Case<'_>]) -> Self {
        let runs = || cases.iter().flat_map(|case| case.runs.iter().map(|(recording, _)| *recording));
        let greatest = |values: &mut dyn Iterator<Item = f64>| values.fold(1.0, f64::max);
        let mut delays: Vec<f64> = runs().flat_map(Recording::delays).map(|(_, delay)| delay).collect();
        delays.sort_by(f64::total_cmp);
        let most = delays.get((delays.len() as f64 * DELAY_SHARE) as usize).copied().unwrap_or(100.0);
        Self {
            seconds: greatest(&mut runs().map(Recording::seconds)),
            kbps: greatest(&mut runs().flat_map(Recording::rates).map(|(_, rate)| rate)) * 1.15,
            delay_ms: most * 2.0,
        }
    }
}

fn rates(recording: &Recording, scale: &Scale) -> Result<String> {
    let length = Duration::from_secs_f64(recording.seconds());
    let step = length / CAPACITY_STEPS;
    let capacity = (0..CAPACITY_STEPS).map(|count| {
        let (from, to) = (step * count, step * (count + 1));
        let kbps = recording.plan.capacity_kbps(from, to, length).min(scale.kbps);
        [(from.as_secs_f64(), kbps), (to.as_secs_f64(), kbps)]
    });
    let capacity: Vec<(f64, f64)> = capacity.flatten().collect();
    let start = recording.start_ms();
    let rates: Vec<(f64, f64)> =
        recording.rates().into_iter().map(|(at, rate)| ((at - start) / 1e3, rate)).collect();
    plot(recording, (scale.seconds, scale.kbps), "kbit/s", |chart| {
        let corners = [(scale.seconds, 0.0), (0.0, 0.0)];
        let outline: Vec<(f64, f64)> = capacity.iter().copied().chain(corners).collect();
        chart.draw_series([Polygon::new(outline, CAPACITY.mix(0.2).filled())])?;
        chart.draw_series(LineSeries::new(rates.iter().copied(), RATE.stroke_width(2)))?;
        Ok(())
    })
}

fn delays(recording: &Recording, scale: &Scale) -> Result<String> {
    let start = recording.start_ms();
    let dots: Vec<(f64, f64)> = (recording.delays().into_iter())
        .map(|(at, delay)| ((at - start) / 1e3, delay.min(scale.delay_ms)))
        .collect();
    plot(recording, (scale.seconds, scale.delay_ms), "delay of each frame, ms", |chart| {
        chart.draw_series(dots.iter().map(|dot| Circle::new(*dot, 1, DELAY.filled())))?;
        Ok(())
    })
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// A chart over time with the freezes behind what `draw` draws.
fn plot(
    recording: &Recording,
    (seconds, top): (f64, f64),
    ordinate: &str,
    draw: impl FnOnce(&mut Chart<'_, '_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..seconds, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|second| format!("{second:.0} s"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .y_desc(ordinate)
            .draw()?;
        let start = recording.start_ms();
        chart.draw_series(recording.freezes().into_iter().map(|(from, to)| {
            let [from, to] = [from, to].map(|at| (at - start) / 1e3);
            Rectangle::new([(from, 0.0), (to, top)], FREEZE.mix(0.25).filled())
        }))?;
        draw(&mut chart)?;
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::super::score::tests::recording;
    use super::*;

    #[test]
    fn the_page_stands_alone_with_both_paths_and_their_freezes() {
        let (sfu, direct) = (recording(Path::Sfu), recording(Path::Direct));
        let recordings = [direct, sfu];
        let cases = super::super::cases(&recordings);
        let html = html(&cases, "a <film>".replace('<', "&lt;").as_str()).unwrap();
        assert_eq!(html.matches("<svg").count(), 4, "rates and delays, of both");
        assert!(html.contains("through the server, run 1") && html.contains("direct, run 1"));
        assert!(html.contains("<td>fixed-2m</td><td>sfu</td><td>1350</td>"), "{html}");
        assert!(html.contains("#D81B3C"), "a freeze is drawn");
        assert!(!html.contains("src=") && !html.contains("<link"), "nothing is loaded from elsewhere");
    }
}
