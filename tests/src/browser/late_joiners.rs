//! Late joiners: from joining to the first picture for viewers who come back to back into a room where a picture flows.
//!
//! One page comes, sees the first frame, leaves and comes again without a pause: thirty at once would measure the machine.
//! How far behind a viewer is who begins with pictures of the past is measured apart: it comes a second after another one
//! for whom a key frame was made, stays for some seconds, and says how long frames wait for their display then.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::first_frame::{empty_page, median};
use super::stage::Stage;
use crate::chromium::Page;
use crate::media::Camera;

const JOINERS: usize = 30;
const P95_MAX_MS: f64 = 400.0;
const PICTURE_FLOWS: Duration = Duration::from_millis(2_500); // connected, the encoder is warm, its first key frame is old
const STAYS: usize = 5;
const AFTER_ANOTHER: Duration = Duration::from_millis(700); // what came since that one's key frame is this old, and a join
const SETTLED: Duration = Duration::from_millis(1_500); // what comes then is as it stays
const WATCHED_MS: u32 = 1_500;

/// The environment that switches instant start off.
pub const WITHOUT: (&str, &str) = ("LIANMAI_DOWNLINK__INSTANT_START", "false");

/// What was measured of viewers who came late.
#[derive(Debug, Clone, PartialEq)]
pub struct LateJoiners {
    /// Of each who came back to back, from its joining to its first frame, in milliseconds.
    pub first_ms: Vec<f64>,
    /// Of each who stayed: how long a frame waited for its display some time later, in the middle, in milliseconds.
    pub waits_ms: Vec<f64>,
    /// The freezes that those who stayed saw, all together.
    pub freezes: f64,
}

impl LateJoiners {
    /// The time within which so many in a hundred had their first frame.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.first_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median of how long frames wait for those who stay.
    pub fn wait_median_ms(&self) -> f64 {
        median(&self.waits_ms)
    }
}

#[derive(Debug, Deserialize)]
struct Seen {
    freezes: f64,
}

/// The claim: 95 in 100 within 400 ms, and who begins with the past sees no freeze for it.
pub async fn late_joiners(stage: &mut Stage) -> Result<String> {
    let late = measure(stage, JOINERS, |_| {}).await?;
    let (p50, p95) = (late.percentile_ms(50), late.percentile_ms(95));
    let report = format!(
        "p50 {p50:.0} ms, p95 {p95:.0} ms; frames wait {:.0} ms, {} freezes",
        late.wait_median_ms(),
        late.freezes
    );
    ensure!(p95 <= P95_MAX_MS && late.freezes == 0.0, "{report}; {late:?}");
    Ok(report)
}

/// Measures so many who come back to back, after one that is not counted, and then some who stay.
pub async fn measure(
    stage: &mut Stage,
    joiners: usize,
    mut progress: impl FnMut(&str) + Send,
) -> Result<LateJoiners> {
    stage.open(Camera::SMALL).await?;
    let publisher = empty_page(stage, "publisher").await?;
    let viewer = empty_page(stage, "viewer").await?;
    let another = empty_page(stage, "another").await?;
    publisher.run("await timing.enter('publisher', false)").await?;
    tokio::time::sleep(PICTURE_FLOWS).await;
    let mut late = LateJoiners { first_ms: Vec::new(), waits_ms: Vec::new(), freezes: 0.0 };
    for run in 0..=joiners {
        let time = come(&viewer).await.with_context(|| format!("joiner {run}"))?;
        progress(&format!("joiner {run}: {time:.0} ms"));
        late.first_ms.extend((run > 0).then_some(time));
        viewer.run("timing.leave()").await?;
    }
    for stay in 0..STAYS {
        tokio::time::sleep(PICTURE_FLOWS).await; // no key frame is recent
        come(&another).await?;
        tokio::time::sleep(AFTER_ANOTHER).await;
        let time = come(&viewer).await?;
        tokio::time::sleep(SETTLED).await;
        let waits: Vec<f64> = viewer.eval(&format!("timing.waits({WATCHED_MS})")).await?;
        let seen: Vec<Seen> = viewer.eval("probe.videos()").await?;
        let freezes: f64 = seen.iter().map(|seen| seen.freezes).sum();
        progress(&format!(
            "stay {stay}: {time:.0} ms, frames wait {:.0} ms, {freezes} freezes",
            median(&waits)
        ));
        late.waits_ms.push(median(&waits));
        late.freezes += freezes;
        for page in [&viewer, &another] {
            page.run("timing.leave()").await?;
        }
    }
    Ok(late)
}

/// Comes and sees the first frame, in milliseconds.
async fn come(viewer: &Page) -> Result<f64> {
    viewer.eval("timing.enter('viewer', true, false)").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let late = |count: u32| LateJoiners {
            first_ms: (1..=count).rev().map(f64::from).collect(),
            waits_ms: vec![3.0, 1.0, 2.0],
            freezes: 0.0,
        };
        for (count, percent, expected) in [(30, 95, 29.0), (30, 50, 15.0), (20, 95, 19.0), (1, 95, 1.0)] {
            assert!((late(count).percentile_ms(percent) - expected).abs() < 1e-9, "{percent} of {count}");
        }
        assert!((late(1).wait_median_ms() - 2.0).abs() < 1e-9);
    }
}
