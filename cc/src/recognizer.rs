//! The recognizer: what kind of weakness a path shows, from what its packets and congestion control tell (references §4.5).
//!
//! In: reports, and an [`Observation`] of what congestion control knows by then. Out: a [`PathClass`], and the [`Facts`]
//! behind it. Time: `now`, monotonic; without reports the class stays. Limit: constant memory, no allocation.
//!
//! Evidence is counted over 10 s (`window`), except what is too rare for that: what precedes a loss (`losses`, the last
//! 40 losses) and how what is delivered jumps while a queue stands (`arrivals`, the last 50 pairs of bins). The tests, their
//! thresholds and the order in which they count are in `verdict`. The first verdict takes [`FIRST`]; another class must
//! hold for [`HOLD`], and comes no sooner than [`DWELL`] after the last change.
//!
//! Jitter alone is clean, up to 20 ms: it has no gaps of 40 ms but by chance, loses nothing, and a playout buffer that
//! measures it itself needs no class for it.

mod arrivals;
mod losses;
#[cfg(test)]
mod tests;
mod verdict;
mod window;

use core::time::Duration;

use proto::path_class::PathClass;
use proto::time::Instant;

use self::arrivals::Arrivals;
use self::losses::Losses;
use self::verdict::Signs;
use self::window::{Counts, Window};
use crate::packet::PacketResult;

/// The first verdict comes after so much time with reports, and so many packets: 4 s, to be there within 5.
const FIRST: Duration = Duration::from_secs(4);
const PACKETS_MIN: i64 = 50;
/// Another class must hold for so long: a second's slot of the window that comes or goes does not change it and back.
const HOLD: Duration = Duration::from_secs(1);
/// It changes no sooner again (references §4.5).
const DWELL: Duration = Duration::from_secs(3);
/// A queue of that length is a bloated buffer's (references §4.5), if it lasts for so many seconds of the window: what is
/// shorter is a stall.
const BLOATED: Duration = Duration::from_millis(400);
const BLOATED_SECONDS: f64 = 0.5;
/// A buffer stays what it is: for so long it is remembered.
const BLOATED_MEMORY: Duration = Duration::from_secs(60);
/// One report tells of no more time than that.
const STEP_MAX: Duration = Duration::from_secs(1);
/// One hole is of no more packets than that: numbers that jump farther are a liar's.
const HOLE_MAX: u64 = 1_000;

/// What congestion control knows when a report has come, beyond the packets that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observation {
    /// The queue, as far as jitter is no part of it.
    pub queue: Duration,
    /// The least round trip so far; zero if unknown.
    pub round_trip: Duration,
    /// A test has shown the path to lose packets whatever is sent.
    pub loses_by_itself: bool,
    /// A rate stands beyond which drops were shown to begin.
    pub has_ceiling: bool,
    /// Others are taken to fill the queue.
    pub is_competing: bool,
}

/// What lies behind a class, for those who repair and allocate. All of it is what the last 10 s showed unless it says
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Facts {
    /// The share of packets lost, 0 to 1, whatever the reason.
    pub loss: f64,
    /// The share of packets that the path loses whatever is sent, 0 to 1: zero where losses are a buffer's or a policer's.
    pub inherent_loss: f64,
    /// How many packets in a row are lost on average; at least one.
    pub mean_burst: f64,
    /// The share of packets that no report covers, 0 to 1.
    pub feedback_loss: f64,
    /// How many times the path stood still.
    pub stalls: u32,
    /// What about 95 % of stalls did not exceed since the beginning; zero if there was none.
    pub stall_p95: Duration,
    /// How much delay the buffer adds before it drops, by the last 40 losses; `None` as long as too few told.
    pub buffer: Option<Duration>,
    /// The share of tenths of a second that delivered much more or less than the one before, while a queue stood,
    /// 0 to 1; `None` as long as too few told. A line has less than 0.1, a cell more than 0.2.
    pub capacity_variation: Option<f64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Recognizer {
    window: Window,
    arrivals: Arrivals,
    losses: Losses,
    /// The number behind the highest that a report spoke of.
    next: Option<u64>,
    first_report: Option<Instant>,
    last_report: Option<Instant>,
    bloated_at: Option<Instant>,
    class: PathClass,
    changed_at: Option<Instant>,
    /// Another class that holds, and since when.
    candidate: Option<(PathClass, Instant)>,
}

impl Recognizer {
    /// Takes in a report, with what congestion control made of it.
    pub fn handle_report(&mut self, now: Instant, results: &[PacketResult], observation: &Observation) {
        let first = *self.first_report.get_or_insert(now);
        let step = self.last_report.map_or(Duration::ZERO, |last| now.since(last).min(STEP_MAX));
        let step = step.as_nanos() as i64;
        self.last_report = Some(now);
        let mut counts = Counts { nanos: step, packets: results.len() as i64, ..Counts::default() };
        if observation.is_competing {
            counts.competing = step;
        }
        if observation.has_ceiling {
            counts.limited = step;
        }
        if observation.queue >= BLOATED {
            counts.bloated = step;
        }
        self.handle_results(&mut counts, results);
        if counts.lost > 0 {
            self.losses.handle_lossy_report(&mut counts, now);
        }
        self.window.add(now, &counts);
        if self.window.sum().bloated_s() >= BLOATED_SECONDS {
            self.bloated_at = Some(now);
        }
        if now.since(first) >= FIRST && self.window.sum().packets >= PACKETS_MIN {
            let signs = self.signs(now, observation);
            self.settle(now, verdict::classify(&signs, self.class));
        }
    }

    /// What the path is.
    pub fn class(&self) -> PathClass {
        self.class
    }

    /// What lies behind the class.
    pub fn facts(&self) -> Facts {
        let sum = self.window.sum();
        let is_own = matches!(self.class, PathClass::Random | PathClass::Bursty);
        let time = |ms: f64| Duration::from_secs_f64(ms.clamp(0.0, 60_000.0) / 1e3);
        Facts {
            loss: sum.loss(),
            inherent_loss: if is_own { sum.loss() } else { 0.0 },
            mean_burst: sum.run(),
            feedback_loss: sum.silence(),
            stalls: sum.stalls as u32,
            stall_p95: time(self.arrivals.stall_p95_ms()),
            buffer: self.losses.tells().then(|| time(self.losses.rise_ms())),
            capacity_variation: self.arrivals.tells().then(|| self.arrivals.jumpiness()),
        }
    }

    /// Takes in runs of packets that follow each other and arrived, as nearly all do, and what is between them.
    fn handle_results(&mut self, counts: &mut Counts, mut results: &[PacketResult]) {
        while let Some(first) = results.first() {
            let next = self.next.unwrap_or(first.sent.number);
            let follows = |(place, result): &(usize, &PacketResult)| {
                result.sent.number == next.wrapping_add(*place as u64) && result.received.is_some()
            };
            let (run, rest) = results.split_at(results.iter().enumerate().take_while(follows).count());
            self.arrivals.handle_run(counts, run);
            self.next = Some(next.saturating_add(run.len() as u64));
            let Some((odd, rest)) = rest.split_first() else { return };
            self.handle_odd(counts, odd);
            results = rest;
        }
    }

    /// Takes in a packet that was lost, or is not the one behind the one before.
    fn handle_odd(&mut self, counts: &mut Counts, result: &PacketResult) {
        let number = result.sent.number;
        let next = self.next.unwrap_or(number);
        let is_late = number < next;
        if is_late {
            // It was told of late, or is only now known to be lost: it was no hole.
            counts.unheard -= 1;
        } else {
            if number > next {
                self.arrivals.handle_hole();
                counts.unheard += (number - next).min(HOLE_MAX) as i64;
            }
            self.next = Some(number.saturating_add(1));
        }
        if result.received.is_none() {
            let (usual, base) = (self.arrivals.beyond_level_ms(), self.arrivals.beyond_base_ms());
            self.losses.handle_loss(counts, number, usual, base);
        } else if !is_late {
            self.arrivals.handle_run(counts, core::slice::from_ref(result));
        }
    }

    fn signs(&self, now: Instant, observation: &Observation) -> Signs {
        let sum = self.window.sum();
        Signs {
            loss: sum.loss(),
            losses: sum.lost as f64,
            loss_after_loss: sum.loss_after_loss(),
            evenness: sum.evenness(),
            told_by: self.losses.weight(),
            rise_ms: self.losses.rise_ms(),
            depth_ms: self.losses.depth_ms(),
            is_tested: observation.loses_by_itself,
            has_ceiling: observation.has_ceiling,
            limited: sum.limited(),
            competed: sum.competed(),
            jumpiness: self.arrivals.jumpiness(),
            pairs: self.arrivals.pairs(),
            busy: sum.busy_share(),
            stalls: sum.stalls as f64,
            silence: sum.silence(),
            is_bloated: self.bloated_at.is_some_and(|at| now.since(at) <= BLOATED_MEMORY),
            round_trip_ms: observation.round_trip.as_secs_f64() * 1e3,
        }
    }

    /// Lets a class become the path's once it has held for long enough.
    fn settle(&mut self, now: Instant, class: PathClass) {
        if class == self.class {
            self.candidate = None;
            return;
        }
        let since = match self.candidate {
            Some((candidate, since)) if candidate == class => since,
            Some(_) | None => now,
        };
        self.candidate = Some((class, since));
        let is_first = self.class == PathClass::Unknown;
        let is_due = self.changed_at.is_none_or(|at| now.since(at) >= DWELL);
        if is_first || is_due && now.since(since) >= HOLD {
            self.class = class;
            self.changed_at = Some(now);
            self.candidate = None;
        }
    }
}
