//! The tests of the classes, in the order of their importance.
//!
//! In: [`Signs`]. Out: a class. Pure.
//!
//! Several may hold at once; the first in this order is the verdict. What forbids redundancy comes first (policed,
//! shallow), then what decides whose the queue is (competed; but a cell's queue moves by itself, and looks like that),
//! then what asks for repair (bursty, random), then what asks for patience (cellular, stalls, lost reports, a long
//! buffer, a long round trip). Whoever needs the facts behind it has [`Facts`](super::Facts).
//!
//! Each threshold is easier to stay beyond than to get beyond: a class that is the path's is tested at [`STAY`] of it.

use proto::path_class::PathClass;

/// How much of a threshold suffices for the class that the path has.
const STAY: f64 = 0.5;
/// Losses at a shallow buffer follow a delay beyond the usual by so many milliseconds; a policer has no queue, so what
/// rises before its losses is chance: measured up to 4 ms, and 11 ms and more at a buffer of 10 ms.
const RISE_MS: f64 = 6.0;
/// Without a ceiling so much says that the buffer is shallow, as start-up found it: it stays what it is.
const RISE_TOLD_MS: f64 = 8.0;
/// Drops behind a longer queue than that are no shallow buffer's: 50 ms, and 25 ms for jitter in its base.
const SHALLOW_MS: f64 = 75.0;
/// Losses of so many packets, at least, tell what precedes them.
const TOLD_BY: f64 = 6.0;
/// A ceiling that is gone for a moment, because probes passed, is not forgotten while it stood for this share of the window: a
/// token bucket lets bursts pass.
const LIMITED: f64 = 0.2;
/// Others fill the queue for this share of the window (references §4.5).
const COMPETED: f64 = 0.2;
/// Losses of so many packets and of this share of all are the path's own if no queue precedes them: references §4.5 has
/// 0.3 % for the most that a clean path loses.
const LOSSES: f64 = 8.0;
const LOSS: f64 = 0.004;
/// Once a test has shown the path to lose whatever is sent, so many suffice.
const LOSSES_TESTED: f64 = 3.0;
const LOSS_TESTED: f64 = 0.002;
/// No queue precedes losses if the delay before them is the usual one to so many milliseconds; behind a test to so many.
const EVEN_MS: f64 = 6.0;
const EVEN_TESTED_MS: f64 = 20.0;
/// Losses behind so long a queue, in milliseconds, are the buffer's, though the usual delay is as long by then (a cell's outage).
const DEEP_MS: f64 = 120.0;
/// Losses come in runs if a loss is so much likelier after a loss than the mean (0.33 is a mean run of 1.5 packets,
/// references §4.5, but a window has few): by chance it is not likelier at all.
const RUNS: f64 = 0.2;
/// A ceiling's drops come when it is probed: random losses are spread at least so evenly, and behind a ceiling that was a
/// misjudgment they go on.
const EVENNESS: f64 = 0.45;
/// This share of pairs of bins with a queue jumps in a cell, whose queue is gone in between; a line has less than 0.1, a rival
/// that comes and goes 0.2.
const JUMPINESS: f64 = 0.2;
/// A delay that does not go down to the base for more than [`BUSY`] of the time is jitter's (20 ms jump up to 0.45) or TCP's
/// (up to 0.3): then it takes more, up to this share for one that never does.
const JUMPINESS_BUSY: f64 = 0.5;
const BUSY: f64 = 0.5;
/// So many pairs of bins tell.
const PAIRS: f64 = 6.0;
/// So many stalls in 10 s (references §4.5); one more where the delay never goes down to the base, for jitter of 20 ms has some.
const STALLS: f64 = 2.0;
/// This share of packets is in no report (references §4.5).
const SILENCE: f64 = 0.05;
/// A round trip so long (references §4.5), in milliseconds.
const LONG_MS: f64 = 200.0;

/// What the tests go by.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Signs {
    /// The share of packets lost, how many they are, and how probable a loss is after a loss.
    pub(super) loss: f64,
    pub(super) losses: f64,
    pub(super) loss_after_loss: f64,
    /// How evenly they are spread over the window: about 1 if they come by chance.
    pub(super) evenness: f64,
    /// How many losses the next two are means of.
    pub(super) told_by: f64,
    /// By how much the delay before a loss exceeds the usual one and the base, in milliseconds.
    pub(super) rise_ms: f64,
    pub(super) depth_ms: f64,
    /// Whether a test has shown losses that come whatever is sent.
    pub(super) is_tested: bool,
    /// Whether a rate stands beyond which drops begin.
    pub(super) has_ceiling: bool,
    /// The share of the time in which one stood.
    pub(super) limited: f64,
    /// The share of the time in which others filled the queue.
    pub(super) competed: f64,
    /// The share of jumps, and of how many pairs of bins.
    pub(super) jumpiness: f64,
    pub(super) pairs: f64,
    /// The share of bins in which the delay exceeds the base throughout.
    pub(super) busy: f64,
    /// How many stalls.
    pub(super) stalls: f64,
    /// The share of packets in no report.
    pub(super) silence: f64,
    /// Whether a very long queue was seen lately.
    pub(super) is_bloated: bool,
    /// The least round trip, in milliseconds.
    pub(super) round_trip_ms: f64,
}

/// The class of a path that shows these signs and had that class so far.
pub(super) fn classify(signs: &Signs, so_far: PathClass) -> PathClass {
    let holds = |class: PathClass, value: f64, threshold: f64| {
        value >= if class == so_far { STAY * threshold } else { threshold }
    };
    let is_queue_others = holds(PathClass::Competed, signs.competed, COMPETED);
    let busy = ((signs.busy - BUSY) / (1.0 - BUSY)).clamp(0.0, 1.0);
    let jumpiness = JUMPINESS + busy * (JUMPINESS_BUSY - JUMPINESS);
    let is_cell = signs.pairs >= PAIRS && holds(PathClass::Cellular, signs.jumpiness, jumpiness);
    let is_competed = is_queue_others && !is_cell;
    let is_own = is_own_loss(signs, so_far);
    let is_shallow = signs.told_by >= 1.0 && signs.depth_ms < SHALLOW_MS;
    let was_limited = matches!(so_far, PathClass::Shallow | PathClass::Policed) && signs.limited >= LIMITED;
    let was_told = signs.told_by >= TOLD_BY && signs.rise_ms >= RISE_TOLD_MS;
    if (signs.has_ceiling || was_limited || was_told) && is_shallow && !is_competed && !is_own {
        return which_ceiling(signs, so_far);
    }
    if is_competed {
        return PathClass::Competed;
    }
    if is_own {
        let runs = signs.loss_after_loss - signs.loss;
        let in_runs = holds(PathClass::Bursty, runs, RUNS);
        return if in_runs { PathClass::Bursty } else { PathClass::Random };
    }
    let rest = [
        (PathClass::Cellular, is_cell),
        (PathClass::WifiStalls, holds(PathClass::WifiStalls, signs.stalls, STALLS + busy)),
        (PathClass::LossyFeedback, holds(PathClass::LossyFeedback, signs.silence, SILENCE)),
        (PathClass::Bloated, signs.is_bloated),
        (PathClass::LongRtt, signs.round_trip_ms > LONG_MS),
    ];
    rest.iter().find(|(_, holds)| *holds).map_or(PathClass::Clean, |(class, _)| *class)
}

/// A buffer that fills before it drops, or a policer that drops without one.
fn which_ceiling(signs: &Signs, so_far: PathClass) -> PathClass {
    let rise_ms = match so_far {
        PathClass::Shallow => RISE_MS - 1.0,
        PathClass::Policed => RISE_MS + 1.0,
        PathClass::Unknown
        | PathClass::Clean
        | PathClass::Random
        | PathClass::Bursty
        | PathClass::Bloated
        | PathClass::WifiStalls
        | PathClass::Cellular
        | PathClass::Competed
        | PathClass::LossyFeedback
        | PathClass::LongRtt => RISE_MS,
    };
    if signs.rise_ms >= rise_ms { PathClass::Shallow } else { PathClass::Policed }
}

/// Whether losses come whatever is sent: no queue precedes them.
fn is_own_loss(signs: &Signs, so_far: PathClass) -> bool {
    let ease = if matches!(so_far, PathClass::Random | PathClass::Bursty) { STAY } else { 1.0 };
    let enough = |losses: f64, loss: f64| signs.losses >= ease * losses && signs.loss >= ease * loss;
    let is_at_ceiling = signs.has_ceiling && signs.evenness < ease * EVENNESS;
    if is_at_ceiling || signs.depth_ms >= DEEP_MS {
        return false;
    }
    if signs.is_tested && !signs.has_ceiling {
        return enough(LOSSES_TESTED, LOSS_TESTED) && signs.rise_ms < EVEN_TESTED_MS;
    }
    enough(LOSSES, LOSS) && signs.told_by >= TOLD_BY && signs.rise_ms < EVEN_MS
}
