//! How good a call was: from its samples to the numbers of a row.
//!
//! In: a [`Recording`]. Out: a [`Score`] over what was measured of it. Pure. A frame's delay is the time from when the
//! publisher's page got it from its camera to when the viewer's page got it from the decoder; both read the number in
//! its bar code, and numbers repeat each four seconds ([`FRAMES`]), so longer delays would be taken for shorter ones.

use serde::Serialize;

use super::call::{Frame, Path, Sample, Sent};
use super::plan::Plan;
use crate::media::FRAMES;

/// Frames whose mean distance decides what a freeze is (<https://w3c.github.io/webrtc-stats/>, `freezeCount`).
const FREEZE_WINDOW: usize = 30;
/// A freeze is at least so much longer than the mean distance, and at least [`FREEZE_TIMES`] as long.
const FREEZE_EXTRA_MS: f64 = 150.0;
/// See [`FREEZE_EXTRA_MS`].
const FREEZE_TIMES: f64 = 3.0;
/// The camera gives a frame each 33 ms; a page that gets none for so long had no processor.
const STARVED_AFTER_MS: f64 = 100.0;

/// A call, sample by sample.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    /// What the network was like.
    pub(super) plan: Plan,
    /// How media got to the viewer.
    pub(super) path: Path,
    /// From the first frame on.
    pub(super) samples: Vec<Sample>,
    /// The sample at which measuring began; it lasts to the last one.
    pub(super) from: usize,
}

/// How good it was. Rates are kbit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Score {
    /// Received video: the bytes of the frames that came to the decoder.
    pub(super) kbps: f64,
    /// Received payload without retransmissions, as packet counters have it: forward error correction counts as video.
    pub(super) payload_kbps: f64,
    /// How long the picture stood still, a freeze at the end included.
    pub(super) freeze_s: f64,
    /// How often.
    pub(super) freezes: f64,
    /// The time from camera to decoder that one frame in twenty exceeds.
    pub(super) delay_p95_ms: Option<f64>,
    /// The same for every second frame.
    pub(super) delay_p50_ms: Option<f64>,
    /// Frames decoded each second.
    pub(super) fps: f64,
    /// The mean width of these frames in pixels.
    pub(super) width_mean: f64,
    /// Received payload beyond these: forward error correction, retransmissions, probes made of them.
    pub(super) repair_kbps: f64,
    /// Everything on the link, with all headers.
    pub(super) wire_kbps: f64,
    /// The share of packets that the link dropped.
    pub(super) loss: f64,
    /// How long packets waited for the link on average.
    pub(super) queue_mean_ms: f64,
    /// For how long the publisher's processor limited an encoding.
    pub(super) cpu_limited_s: f64,
    /// How late the emulator itself was on average.
    pub(super) emulator_late_ms: f64,
    /// For how long the publisher's page got nothing from its camera, settling included.
    pub(super) starved_s: f64,
}

impl Recording {
    /// What was measured, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        let (first, last) = self.ends();
        (last.viewer.at_ms - first.viewer.at_ms) / 1e3
    }

    /// When measuring began, by the pages' clock.
    pub(super) fn start_ms(&self) -> f64 {
        self.ends().0.viewer.at_ms
    }

    /// How good what was measured is.
    pub(super) fn score(&self) -> Score {
        let (first, last) = self.ends();
        let seconds = self.seconds();
        let (old, new) =
            (first.viewer.received.unwrap_or_default(), last.viewer.received.unwrap_or_default());
        let kbps = |bytes: f64| bytes * 8.0 / 1e3 / seconds;
        let media = new.decodable - old.decodable;
        let shown = self.shown();
        let frozen =
            |sample: &Sample, ended_s: f64| ended_s + running_freeze_ms(&shown, sample.viewer.at_ms) / 1e3;
        let delays = self.delays();
        let mut sorted: Vec<f64> = delays.iter().map(|(_, delay)| *delay).collect();
        sorted.sort_by(f64::total_cmp);
        let measured = || shown.iter().filter(|frame| frame.0 >= first.viewer.at_ms);
        let widths: f64 = measured().map(|frame| f64::from(frame.2)).sum();
        let (before, after) = (first.link, last.link);
        let passed = (after.passed - before.passed).max(1) as f64;
        let cpu = |sample: &Sample| {
            sample.publisher.sent.iter().map(|sent: &Sent| sent.cpu_limited_s).fold(0.0, f64::max)
        };
        Score {
            kbps: kbps(media),
            payload_kbps: kbps(new.bytes - old.bytes - (new.retransmitted_bytes - old.retransmitted_bytes)),
            freeze_s: frozen(last, new.frozen_s) - frozen(first, old.frozen_s),
            freezes: new.freezes - old.freezes,
            delay_p95_ms: percentile(&sorted, 0.95),
            delay_p50_ms: percentile(&sorted, 0.5),
            fps: (new.decoded - old.decoded) / seconds,
            width_mean: widths / measured().count().max(1) as f64,
            repair_kbps: kbps((new.bytes - old.bytes - media).max(0.0)),
            wire_kbps: kbps((after.passed_bytes - before.passed_bytes) as f64),
            loss: (after.dropped - before.dropped) as f64 / (after.arrived - before.arrived).max(1) as f64,
            queue_mean_ms: (after.queued_s - before.queued_s) * 1e3 / passed,
            cpu_limited_s: cpu(last) - cpu(first),
            emulator_late_ms: (after.late_s - before.late_s) * 1e3 / passed,
            starved_s: starved_ms(&self.captured()) / 1e3,
        }
    }

    /// The delay of each frame that was shown while it was measured: when by the pages' clock, and how long.
    pub(super) fn delays(&self) -> Vec<(f64, f64)> {
        let start = self.start_ms();
        let delays = delays(&self.captured(), &self.shown());
        delays.into_iter().filter(|(at, _)| *at >= start).collect()
    }

    /// Received video between one sample and the next: when it ended, and kbit/s.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        let of = |sample: &Sample| {
            let received = sample.viewer.received.unwrap_or_default();
            (sample.viewer.at_ms, received.decodable)
        };
        let pairs = self.samples[self.from..].windows(2).map(|pair| (of(&pair[0]), of(&pair[1])));
        pairs.map(|((old, before), (new, after))| (new, (after - before) * 8.0 / (new - old))).collect()
    }

    /// When the picture stood still, by the pages' clock.
    pub(super) fn freezes(&self) -> Vec<(f64, f64)> {
        let mut shown = self.shown();
        let last = self.ends().1.viewer.at_ms;
        if running_freeze_ms(&shown, last) > 0.0 {
            shown.push(Frame(last, None, 0));
        }
        let start = self.start_ms();
        let spans = (1..shown.len()).filter(|place| {
            is_freeze(&shown[..*place], shown[*place].0 - shown[place - 1].0) && shown[*place].0 > start
        });
        spans.map(|place| (shown[place - 1].0.max(start), shown[place].0)).collect()
    }

    fn captured(&self) -> Vec<Frame> {
        self.samples.iter().flat_map(|sample| &sample.publisher.frames).copied().collect()
    }

    fn shown(&self) -> Vec<Frame> {
        self.samples.iter().flat_map(|sample| &sample.viewer.frames).copied().collect()
    }

    fn ends(&self) -> (&Sample, &Sample) {
        let last = self.samples.last().expect("measuring takes a sample at its beginning and at its end");
        (&self.samples[self.from], last)
    }
}

/// For each frame shown whose number was readable: when, and how long ago the camera gave it.
fn delays(captured: &[Frame], shown: &[Frame]) -> Vec<(f64, f64)> {
    let mut by_number: Vec<Vec<f64>> = vec![Vec::new(); FRAMES as usize];
    for frame in first_of_each(captured) {
        if let Some(times) = frame.1.and_then(|number| by_number.get_mut(number as usize)) {
            times.push(frame.0);
        }
    }
    let delay = |frame: Frame| {
        let times = by_number.get(frame.1? as usize)?;
        let captured = times[..times.partition_point(|time| *time <= frame.0)].last()?;
        Some((frame.0, frame.0 - captured))
    };
    first_of_each(shown).filter_map(delay).collect()
}

/// The frames without those that repeat the number of the one before.
fn first_of_each(frames: &[Frame]) -> impl Iterator<Item = Frame> {
    let earlier = std::iter::once(None).chain(frames.iter().map(|frame| frame.1));
    frames.iter().zip(earlier).filter(|(frame, earlier)| frame.1 != *earlier).map(|(frame, _)| *frame)
}

/// For how long the picture has stood still at `now`; zero as long as it may still come in time.
fn running_freeze_ms(shown: &[Frame], now: f64) -> f64 {
    let shown = &shown[..shown.partition_point(|frame| frame.0 <= now)];
    let Some(newest) = shown.last() else { return 0.0 };
    let waited = now - newest.0;
    if is_freeze(shown, waited) { waited } else { 0.0 }
}

/// Whether `waited` milliseconds after the last of these frames are a freeze.
fn is_freeze(shown: &[Frame], waited: f64) -> bool {
    let recent = &shown[shown.len().saturating_sub(FREEZE_WINDOW + 1)..];
    let [oldest, .., newest] = recent else { return false };
    let mean = (newest.0 - oldest.0) / (recent.len() - 1) as f64;
    waited >= (FREEZE_TIMES * mean).max(mean + FREEZE_EXTRA_MS)
}

/// For how long no frame came, where that was too long.
fn starved_ms(captured: &[Frame]) -> f64 {
    let gaps = captured.windows(2).map(|pair| pair[1].0 - pair[0].0);
    gaps.filter(|gap| *gap > STARVED_AFTER_MS).sum()
}

/// The value that a share of them does not exceed; they ascend.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::call::{End, Link, Received};
    use super::super::plan;
    use super::*;

    fn frame(at_ms: f64, number: u32) -> Frame {
        Frame(at_ms, Some(number), 640)
    }

    #[test]
    fn a_frame_is_matched_with_the_newest_one_of_its_number() {
        let film = |from: f64, frames: u32| {
            (0..frames).map(move |count| frame(from + f64::from(count) * 33.0, count % FRAMES))
        };
        let captured: Vec<Frame> = film(0.0, 300).collect();
        for (name, shown, delay) in [
            ("the first round", frame(10.0 * 33.0 + 80.0, 10), Some(80.0)),
            ("the second round", frame(130.0 * 33.0 + 250.0, 10), Some(250.0)),
            ("before its number was ever captured", frame(100.0, 90), None),
            ("unreadable", Frame(500.0, None, 640), None),
            ("no such number", frame(500.0, FRAMES), None),
        ] {
            let found: Vec<f64> = delays(&captured, &[shown]).into_iter().map(|(_, delay)| delay).collect();
            assert_eq!(found, Vec::from_iter(delay), "{name}");
        }
        let shown = [frame(80.0, 0), frame(113.0, 0), frame(146.0, 1)];
        let found = delays(&[frame(0.0, 0), frame(33.0, 0), frame(66.0, 1)], &shown);
        assert_eq!(found, [(80.0, 80.0), (146.0, 80.0)], "a repeated frame counts once, from its first time");
    }

    #[test]
    fn a_gap_is_a_freeze_by_the_frame_rate_around_it() {
        let steady = |count: u32, distance: f64| -> Vec<Frame> {
            (0..count).map(|number| frame(f64::from(number) * distance, number)).collect()
        };
        for (name, distance, waited, frozen) in [
            ("30 frames a second", 33.0, 180.0, 0.0),
            ("30 frames a second", 33.0, 190.0, 190.0),
            ("5 frames a second", 200.0, 590.0, 0.0),
            ("5 frames a second", 200.0, 610.0, 610.0),
        ] {
            let shown = steady(60, distance);
            let now = 59.0 * distance + waited;
            assert!((running_freeze_ms(&shown, now) - frozen).abs() < 1e-6, "{name} {waited}");
        }
        assert!(running_freeze_ms(&[], 1e6) < 1e-6);
        assert!(running_freeze_ms(&[frame(0.0, 0)], 1e6) < 1e-6, "there is no rate to compare with");
    }

    #[test]
    fn a_page_without_a_processor_is_found_out() {
        let at = |times: &[f64]| times.iter().map(|at| frame(*at, 0)).collect::<Vec<_>>();
        for (name, captured, starved) in [
            ("steady", at(&[0.0, 33.0, 67.0, 100.0]), 0.0),
            ("a late frame", at(&[0.0, 90.0, 100.0]), 0.0),
            ("twice without", at(&[0.0, 150.0, 183.0, 400.0]), 150.0 + 217.0),
            ("nothing", at(&[]), 0.0),
        ] {
            assert!((starved_ms(&captured) - starved).abs() < 1e-6, "{name}");
        }
    }

    #[test]
    fn percentiles_are_of_what_there_is() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([percentile(&hundred, 0.95), percentile(&hundred, 0.5)], [Some(95.0), Some(50.0)]);
        assert_eq!(percentile(&[7.0], 0.95), Some(7.0));
        assert_eq!(percentile(&[], 0.95), None);
    }

    /// Three samples a second apart: settled, then a second that flows, then one that stands still from its middle on.
    pub(in super::super) fn recording(path: Path) -> Recording {
        let sample = |second: u32, bytes: f64, frames: std::ops::Range<u32>| {
            let at_ms = 1e12 + f64::from(second) * 1e3;
            let time = |number: u32| 1e12 + f64::from(number) * 33.0;
            let shown = frames.clone().map(|number| frame(time(number) + 90.0, number)).collect();
            let received = Received {
                bytes,
                decodable: bytes * 0.9,
                retransmitted_bytes: bytes / 20.0,
                decoded: f64::from(frames.end),
                frozen_s: 0.3,
                ..Received::default()
            };
            let captured = frames.map(|number| frame(time(number), number)).collect();
            let passed = u64::from(second) * 100;
            Sample {
                viewer: End { at_ms, frames: shown, received: Some(received), ..End::default() },
                publisher: End { at_ms, frames: captured, ..End::default() },
                link: Link { arrived: passed * 5 / 4, dropped: passed / 4, passed, ..Link::default() },
                server: BTreeMap::new(),
            }
        };
        Recording {
            plan: plan::named("fixed-2m").unwrap(),
            path,
            samples: vec![
                sample(1, 100_000.0, 0..27),
                sample(2, 350_000.0, 27..57),
                sample(3, 475_000.0, 57..72),
            ],
            from: 0,
        }
    }

    #[test]
    fn a_score_is_of_what_was_measured() {
        let recording = recording(Path::Sfu);
        let score = recording.score();
        assert!((score.kbps - 1_350.0).abs() < 1e-6, "{score:?}");
        assert!((score.payload_kbps - 1_425.0).abs() < 1e-6, "{score:?}");
        assert!((score.repair_kbps - 150.0).abs() < 1e-6, "{score:?}");
        assert!((score.fps - 22.5).abs() < 1e-6, "{score:?}");
        assert!((score.loss - 0.2).abs() < 1e-6, "{score:?}");
        assert!(score.delay_p95_ms.is_some_and(|delay| (delay - 90.0).abs() < 0.01), "{score:?}");
        let stands_since = 71.0 * 33.0 + 90.0;
        assert!((score.freeze_s - (3_000.0 - stands_since) / 1e3).abs() < 1e-3, "{score:?}");
        let [(from, to)] = recording.freezes()[..] else { panic!("one freeze: {:?}", recording.freezes()) };
        assert!((from - 1e12 - stands_since).abs() < 1.0 && (to - 1e12 - 3_000.0).abs() < 1.0);
        let rates: Vec<f64> = recording.rates().into_iter().map(|(_, rate)| rate.round()).collect();
        assert_eq!(rates, [1_800.0, 900.0]);
        let later = Recording { from: 1, ..recording };
        assert!((later.score().kbps - 900.0).abs() < 1e-6, "what came before measuring does not count");
        assert!(later.delays().len() < 20);
    }
}
