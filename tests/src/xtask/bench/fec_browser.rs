//! `cargo xtask bench fec-browser`: loss recovery towards a real Chromium, codec by codec, with time for another round and
//! without.
//!
//! In: a network of `bench cc-browser`, by default 5 % lost by chance at a round trip of 200 ms. Out: a row for each codec and
//! scene: frames sent and decoded, freezes, and what repair cost in packets. The viewer has default settings. `--check` holds
//! rows against the goals.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use proto::scene::Scene;
use proto::seed::Seed;
use serde::Serialize;

use super::cc_browser::call::{Call, Pages, Path, Preference, Sample, Source};
use super::cc_browser::plan::{self, Plan};
use super::cc_browser::{BETWEEN_RUNS, SAMPLE_EVERY};
use crate::browser::stage::Stage;
use crate::media::{Camera, Detail};
use crate::xtask::{cargo, install};

/// The share of frames that must be decoded.
const DECODED_MIN: f64 = 0.998;
/// Frames under way when counting begins or ends.
const FRAMES_TOLERANCE: f64 = 1.0;

/// What to measure, and for how long.
#[derive(Debug, Args)]
pub(in crate::xtask) struct Options {
    /// These codecs only: vp8, h264, vp9, av1.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', default_value = "vp8,h264,vp9,av1")]
    codec: Vec<String>,
    /// These scenes only: watch has time for another round trip, game has not.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', default_value = "watch,game")]
    scene: Vec<Scene>,
    /// The network, one of `bench cc-browser`.
    #[arg(long, value_name = "NAME", default_value = "random-5-rtt-200")]
    plan: String,
    /// How long a call lasts before it is measured, in seconds.
    #[arg(long, value_name = "N", default_value_t = 12)]
    settle: u32,
    /// How long it is measured, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The seed of the links' chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints a JSON object for each codec and scene.
    #[arg(long)]
    json: bool,
    /// Fails if a row misses its goals.
    #[arg(long)]
    check: bool,
}

/// A codec in a scene.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    bench: &'static str,
    plan: &'static str,
    codec: String,
    scene: &'static str,
    frames_sent: f64,
    frames_decoded: f64,
    /// Of those sent.
    decoded: f64,
    freezes: f64,
    freeze_s: f64,
    /// Repair packets over media packets.
    redundancy: f64,
    /// Of it, parity.
    parity: f64,
    /// Packets restored without being asked for, or rather whose answers were spared.
    spared: f64,
    loss: f64,
    kbps: f64,
}

/// Measures.
pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    install::chromium()?;
    cargo::build_server()?;
    let plan = plan::named(&options.plan).map_err(anyhow::Error::msg)?;
    let mut rows = Vec::new();
    for scene in &options.scene {
        for codec in &options.codec {
            let row = measure(options, &plan, (*scene, codec))
                .await
                .with_context(|| format!("{codec}, {scene}"))?;
            eprintln!("{}", row.told());
            if options.json {
                println!("{}", serde_json::to_string(&row)?);
            }
            rows.push(row);
        }
    }
    let missed: Vec<String> = rows.iter().filter_map(Row::missed).collect();
    for missed in &missed {
        eprintln!("missed: {missed}");
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(options: &Options, plan: &Plan, (scene, codec): (Scene, &str)) -> Result<Row> {
    let seed = Seed::from_number(options.seed).fork(scene.name());
    let source = Source {
        camera: Camera { detail: Detail::Rich, ..Camera::LARGE },
        codec: codec.to_owned(),
        top_kbps: 2_500,
        preference: Preference::Default,
    };
    let mut stage = Stage::new(crate::xtask::media_folder()?, seed.fork("stage"));
    stage.serve_with(&[("LIANMAI_ROOM__SCENE", scene.name())]).await?;
    let pages = Pages::open(&mut stage, &source).await?;
    let call = Call::start(&stage, &pages, &source, (Path::Sfu, plan), &seed).await?;
    tokio::time::sleep(SAMPLE_EVERY * options.settle).await;
    let first = call.sample().await?;
    tokio::time::sleep(SAMPLE_EVERY * options.seconds).await;
    let last = call.sample().await?;
    call.hang_up().await?;
    tokio::time::sleep(BETWEEN_RUNS).await;
    Ok(Row::of(plan, (scene, codec), &first, &last))
}

impl Row {
    fn of(plan: &Plan, (scene, codec): (Scene, &str), first: &Sample, last: &Sample) -> Self {
        let old = first.viewer.received.unwrap_or_default();
        let new = last.viewer.received.unwrap_or_default();
        let (sent, decoded) = (frames_sent(last) - frames_sent(first), new.decoded - old.decoded);
        let grown = |name: &str| total(last, name) - total(first, name);
        let media = grown("lianmai_packets_forwarded_total").max(1.0);
        let parity = grown("lianmai_fec_packets_total") / media;
        let again = grown("lianmai_packets_retransmitted_total") / media;
        let arrived = last.link.arrived - first.link.arrived;
        let millis = last.viewer.at_ms - first.viewer.at_ms;
        Self {
            bench: "fec-browser",
            plan: plan.name,
            codec: codec.to_owned(),
            scene: scene.name(),
            frames_sent: sent,
            frames_decoded: decoded,
            decoded: (decoded / sent.max(1.0)).min(1.0),
            freezes: new.freezes - old.freezes,
            freeze_s: new.frozen_s - old.frozen_s,
            redundancy: parity + again,
            parity,
            spared: grown("lianmai_retransmissions_spared_total"),
            loss: (last.link.dropped - first.link.dropped) as f64 / arrived.max(1) as f64,
            kbps: (new.decodable - old.decodable) * 8.0 / millis,
        }
    }

    fn told(&self) -> String {
        format!(
            "{:6} {:6} {:4.0} of {:4.0} frames decoded, {} freezes of {:.2} s, redundancy {:4.1} % (parity {:4.1} %), loss {:.1} %, \
             {:.0} kbit/s",
            self.scene,
            self.codec,
            self.frames_decoded,
            self.frames_sent,
            self.freezes,
            self.freeze_s,
            self.redundancy * 100.0,
            self.parity * 100.0,
            self.loss * 100.0,
            self.kbps
        )
    }

    /// Which goals it misses, if it does.
    fn missed(&self) -> Option<String> {
        let redundancy_max = if self.scene == Scene::Game.name() { 0.6 } else { 0.2 };
        let missing = self.frames_sent - self.frames_decoded;
        let mut missed = Vec::new();
        if missing > (self.frames_sent * (1.0 - DECODED_MIN)).max(FRAMES_TOLERANCE) {
            missed.push(format!("{missing:.0} frames are missing"));
        }
        if self.freezes > 0.0 {
            missed.push(format!("{} freezes", self.freezes));
        }
        if self.redundancy > redundancy_max {
            missed.push(format!("redundancy {:.3} above {redundancy_max}", self.redundancy));
        }
        (!missed.is_empty()).then(|| format!("{} {}: {}", self.scene, self.codec, missed.join(", ")))
    }
}

/// Frames that were sent of the largest encoding.
fn frames_sent(sample: &Sample) -> f64 {
    let largest = sample.publisher.sent.iter().max_by_key(|sent| sent.width);
    largest.map_or(0.0, |sent| sent.frames)
}

/// A counter of the server's, summed over its workers.
fn total(sample: &Sample, name: &str) -> f64 {
    let of = |(full, value): (&String, &f64)| full.starts_with(name).then_some(*value);
    sample.server.iter().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_miss_their_goals_say_which() {
        let good = Row {
            bench: "fec-browser",
            plan: "random-5-rtt-200",
            codec: "vp8".to_owned(),
            scene: "watch",
            frames_sent: 300.0,
            frames_decoded: 299.5,
            decoded: 0.998,
            freezes: 0.0,
            freeze_s: 0.0,
            redundancy: 0.15,
            parity: 0.01,
            spared: 3.0,
            loss: 0.05,
            kbps: 2_000.0,
        };
        assert_eq!(good.missed(), None);
        let bad = Row { frames_decoded: 290.0, freezes: 1.0, redundancy: 0.21, ..good.clone() };
        let expected = "watch vp8: 10 frames are missing, 1 freezes, redundancy 0.210 above 0.2";
        assert_eq!(bad.missed().as_deref(), Some(expected));
        assert_eq!(Row { scene: "game", redundancy: 0.55, ..good }.missed(), None, "one round costs more");
    }
}
