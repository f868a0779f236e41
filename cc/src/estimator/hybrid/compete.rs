//! Competing: a queue that others fill, and keep full.
//!
//! In: the queue, the rates, losses. Out: whether somebody else fills the queue, and the rate to hold one's own with.
//!
//! **Entry.** A queue of our own, or of constant traffic, falls for as long as less is sent than was delivered. One that
//! a loss-based rival fills falls for one round trip at most: then the rival has noticed that there is room. So the
//! queue must stand, window after window, though [`SMALL`] of what we had is sent, for longer than a round trip.
//!
//! **Law.** What the rival does, in rates: CUBIC's curve (RFC 9438) back to where the last loss was and then beyond,
//! with the round trip of that loss. So the rate does not rise merely because the queue falls, and when the rival has
//! gone the queue empties.

use core::time::Duration;

use proto::time::Instant;

use super::{Hybrid, Phase, Report};

/// Who sends more than this share of what it had has not yet made room.
const SMALL: f64 = 0.7;
/// What is sent of it to ask, if the queue stands while more is sent.
const ASK: f64 = 0.6;
/// Sending more than so many times what is delivered is not making room.
const OVERFLOW: f64 = 1.1;
/// The queue is looked at so often: has it fallen?
const LOOK: Duration = Duration::from_millis(400);
/// A queue that falls by less than this share of the time stands.
const FALL: f64 = 0.04;
/// Growth, in packets per cubed second: a little more than CUBIC's 0.4 (RFC 9438 §5), for the queue that shrinks after a
/// loss gives a window more rate back than this law takes.
const CUBIC: f64 = 0.5;
/// Before the first loss the rate doubles each round trip, as a rival's does that starts.
const CLIMB: f64 = 0.7;
/// No loss takes it below this share of what we had before the rival came: it came with losses of its own making.
const FLOOR: f64 = 0.3;
/// A packet, in bits.
const PACKET: f64 = 9_600.0;
/// What a loss leaves of the rate. CUBIC keeps 0.7 of its window, but the queue that then shrinks gives most of the rate
/// back.
const KEPT: f64 = 0.83;
/// Losses while the queue is shorter than this share of the longest are not the buffer's.
const FULL: f64 = 0.5;
/// An empty queue lets the rate grow faster, by so much each second, in logarithms.
const REFILL: f64 = 1.5;
/// How long the queue must be empty for that, and to leave: longer than the bottom of a rival's saw-tooth, for who came
/// after the rival has never seen less. It is known at once if the delay is shorter than ever by so many milliseconds.
const CALM: Duration = Duration::from_millis(500);
const EMPTY: Duration = Duration::from_millis(2_500);
const NEW_LOW_MS: f64 = 15.0;
/// So many cuts, each as soon as the one before could show, and the buffer still overflows: who fills it does not yield.
const CUTS_MAX: u32 = 3;
/// A saw-tooth's bottom is this share of the round trip below its top (CUBIC keeps 0.7): a queue that has been longer
/// than this was measured from below, and when it is gone the rival is.
const SWING: f64 = 0.4;
/// After a cut, or so long after the last one, the rate is held to see whether somebody takes the room.
const ASK_EVERY: Duration = Duration::from_secs(8);
/// If what was withheld shows in the queue to this share, nobody did.
const UNTAKEN: f64 = 0.4;
/// For so long it is left alone.
const PEACE: Duration = Duration::from_secs(20);
/// A queue longer than the scene bears is not added to: the rate falls by this share each second, down to this share of
/// what we had.
const BOUND_FALL: f64 = 0.3;
const BOUND_FLOOR: f64 = 0.3;
/// Rivals fill the buffer until it overflows; what does not for so long is no buffer.
const LOSSLESS: Duration = Duration::from_secs(20);
/// For so long after leaving, a rival is expected back.
const MEMORY: Duration = Duration::from_secs(15);

/// What is known of others.
#[derive(Debug, Default)]
pub(super) struct Rivalry {
    /// What we had before the queue stood.
    onset: f64,
    /// The last look: when, and how long the queue was.
    look: Option<(Instant, f64)>,
    /// For how long the queue has stood.
    stood: Duration,
    was_here: Option<Instant>,
    calm_since: Option<Instant>,
    /// Where CUBIC's curve is flat, and when.
    origin: f64,
    origin_at: f64,
    cut_at: Instant,
    curve_s: f64,
    /// The round trip of the last loss, in seconds.
    round_s: f64,
    longest_ms: f64,
    /// When the buffer last overflowed.
    lossy_at: Instant,
    /// Cuts in a row.
    cuts: u32,
    /// Whether the rival has been seen to yield.
    is_proven: bool,
    peace_until: Instant,
    /// The room that was made last, while it is not known whether somebody takes it.
    asking: Option<Asking>,
    /// When somebody was last asked so.
    heard_at: Instant,
    /// Whether no loss has been met yet.
    climbs: bool,
    /// The base delay when it began.
    base_ms: f64,
}

/// Room that somebody might take.
#[derive(Debug, Clone, Copy)]
struct Asking {
    /// When a rival has had a round trip to notice.
    from: Instant,
    /// The queue then.
    queue_ms: Option<f64>,
    /// For how long nobody has taken it.
    untaken: Duration,
}

impl Rivalry {
    /// Whether it was shown lately that nobody else fills the queue.
    pub(super) fn is_disproven(&self, now: Instant) -> bool {
        now < self.peace_until
    }
}

impl Hybrid {
    /// Looks whether the queue is somebody else's.
    pub(super) fn watch_rivals(&mut self, now: Instant, report: &Report) {
        if self.phase == Phase::Compete || !report.has_sample {
            return;
        }
        if report.queue_ms <= self.queue_max_ms() {
            self.rivalry.look = None;
            self.rivalry.stood = Duration::ZERO;
            if matches!(self.phase, Phase::Cruise | Phase::Startup) {
                self.rivalry.onset = self.rivalry.onset.max(report.rates.delivered);
                let decay = 0.1 * report.step;
                self.rivalry.onset += decay * (self.rate.min(report.rates.delivered) - self.rivalry.onset);
            }
            return;
        }
        let (since, queue_ms) = *self.rivalry.look.get_or_insert((now, report.queue_ms));
        let time = now.since(since);
        if time < LOOK {
            return;
        }
        self.rivalry.look = Some((now, report.queue_ms));
        let fallen_ms = queue_ms - report.queue_ms;
        let stands = fallen_ms < FALL * time.as_secs_f64() * 1e3 + self.delay.jitter_ms();
        let small = report.rates.sent < SMALL * self.rivalry.onset
            || self.rate <= self.settings.limits.min.as_bps() as f64 * 1.05;
        // While the buffer overflows it stands full whoever fills it.
        let overflows = report.rates.sent > OVERFLOW * report.rates.delivered;
        if !stands || overflows {
            self.rivalry.stood = Duration::ZERO;
            return;
        }
        if !small {
            if self.phase == Phase::Drain && now >= self.rivalry.peace_until {
                self.rate = self.rate.min(ASK * self.rivalry.onset);
            }
            return;
        }
        self.rivalry.stood += time;
        let again = self.rivalry.is_proven && self.rivalry.was_here.is_some_and(|at| now.since(at) < MEMORY);
        let patience = if again { LOOK } else { self.round() + LOOK };
        if self.rivalry.stood >= patience && now >= self.rivalry.peace_until {
            self.start_competing(now, report);
        }
    }

    fn start_competing(&mut self, now: Instant, report: &Report) {
        self.rivalry.calm_since = None;
        self.rivalry.asking = None;
        self.rivalry.climbs = true;
        self.rivalry.heard_at = now;
        self.rivalry.lossy_at = now;
        self.rivalry.cuts = 0;
        self.rivalry.is_proven = false;
        self.rivalry.base_ms = self.delay.base_ms();
        self.rivalry.longest_ms = report.queue_ms;
        self.rivalry.round_s = self.round_s(report);
        self.rivalry.origin = self.rivalry.onset.max(self.rate);
        self.rivalry.cut_at = now;
        self.start_curve();
        self.test = None;
        self.delay.set_frozen(true);
        self.enter(now, Phase::Compete, "the queue is others'");
    }

    /// CUBIC's curve begins at the rate, and is flat where the last loss was.
    fn start_curve(&mut self) {
        let packets = (self.rivalry.origin - self.rate).max(0.0) * self.rivalry.round_s / PACKET;
        self.rivalry.origin_at = (packets / CUBIC).cbrt();
        self.rivalry.curve_s = 0.0;
    }

    /// The round trip without the report's delay.
    fn round_s(&self, report: &Report) -> f64 {
        self.least_round_trip.clamp(0.01, 1.0) + report.queue_ms / 1e3
    }

    pub(super) fn compete(&mut self, now: Instant, report: &Report) {
        self.rivalry.was_here = Some(now);
        if report.queue_ms < self.dial.queue_ms {
            return self.find_empty(now, report);
        }
        if now.since(self.rivalry.lossy_at) > LOSSLESS {
            self.rebase(now);
            return self.leave(now, "nobody's queue: the path is longer");
        }
        self.rivalry.calm_since = None;
        let is_full = report.queue_ms >= FULL * self.rivalry.longest_ms;
        self.rivalry.longest_ms = self.rivalry.longest_ms.max(report.queue_ms);
        let pause = self.round() + self.round() / 4;
        if is_full && now.since(self.rivalry.cut_at) >= pause {
            let recent = self.losses.since(now - self.round() / 4);
            if recent.lost - self.losses.inherent() * recent.packets >= 1.0 {
                return self.yield_room(now, report, pause);
            }
        }
        if self.rivalry.climbs && self.rate >= self.rivalry.origin {
            self.rivalry.climbs = false;
            self.start_curve();
        }
        if report.queue_ms > self.dial.compete_ms {
            // The scene bears no more: what is left is a small share of a short queue, or of none.
            let least = BOUND_FLOOR * self.rivalry.onset;
            self.rate = (self.rate * (1.0 - BOUND_FALL * report.step)).max(least.min(self.rate));
            return;
        }
        if self.rivalry.asking.is_some() {
            return self.hear(now, report);
        }
        if now.since(self.rivalry.cut_at.max(self.rivalry.heard_at)) >= ASK_EVERY {
            return self.make_room(now, report);
        }
        self.follow_curve(report);
    }

    /// Sends less, to see whether somebody takes the room.
    fn make_room(&mut self, now: Instant, report: &Report) {
        self.rivalry.cut_at = now;
        self.rivalry.origin = self.rate;
        self.rivalry.round_s = self.round_s(report);
        let floor = (FLOOR * self.rivalry.onset).min(self.rate);
        self.rivalry.climbs &= self.rate < FLOOR * self.rivalry.onset;
        self.rate = (KEPT * self.rate).max(floor);
        self.start_curve();
        if self.rivalry.climbs || now.since(self.rivalry.heard_at) < ASK_EVERY {
            return;
        }
        self.rivalry.heard_at = now;
        self.rivalry.asking =
            Some(Asking { from: now + self.round() + LOOK / 2, queue_ms: None, untaken: Duration::ZERO });
    }

    /// Looks whether somebody has taken the room.
    fn hear(&mut self, now: Instant, report: &Report) {
        // A rival that had to cut as well is silent for a round trip.
        let patience = self.round() + LOOK;
        let Some(asking) = &mut self.rivalry.asking else { return };
        if now < asking.from {
            return;
        }
        let before = *asking.queue_ms.get_or_insert(report.queue_ms);
        let time = now.since(asking.from);
        if time < LOOK {
            return;
        }
        let withheld = (1.0 - KEPT) * time.as_secs_f64() * 1e3;
        let untaken = asking.untaken + time;
        if before - report.queue_ms < UNTAKEN * withheld {
            self.rivalry.asking = None;
        } else if untaken >= patience {
            self.leave(now, "nobody takes the room");
            self.start_drain(now, report);
        } else {
            *asking = Asking { from: now, queue_ms: Some(report.queue_ms), untaken };
        }
    }

    /// The buffer overflows: both make room.
    fn yield_room(&mut self, now: Instant, report: &Report, pause: Duration) {
        let in_a_row = now.since(self.rivalry.cut_at) < pause * 2;
        let counts = !self.rivalry.climbs;
        self.rivalry.cuts = if in_a_row { self.rivalry.cuts + u32::from(counts) } else { 1 };
        self.rivalry.is_proven |= !in_a_row;
        self.rivalry.lossy_at = now;
        if self.rivalry.cuts > CUTS_MAX {
            self.rivalry.peace_until = now + PEACE;
            self.rivalry.is_proven = false;
            self.leave(now, "the others do not yield");
            return self.start_drain(now, report);
        }
        self.rivalry.longest_ms = report.queue_ms;
        self.make_room(now, report);
    }

    fn follow_curve(&mut self, report: &Report) {
        if self.rivalry.climbs {
            let rounds = report.step / self.round_s(report);
            self.rate =
                (self.rate * (CLIMB * rounds).exp()).min((1.5 * report.rates.delivered).max(self.rate));
            return;
        }
        self.rivalry.curve_s += report.step;
        let time = self.rivalry.curve_s - self.rivalry.origin_at;
        let growth = self.settings.weight * CUBIC * time.powi(3) * PACKET / self.rivalry.round_s;
        let most = (1.5 * report.rates.delivered).max(self.rate);
        self.rate = (self.rivalry.origin + growth).min(most);
    }

    /// The queue is empty, or as short as it has ever been while the rival filled it.
    fn find_empty(&mut self, now: Instant, report: &Report) {
        let since = *self.rivalry.calm_since.get_or_insert(now);
        let is_low = self.delay.base_ms() < self.rivalry.base_ms - NEW_LOW_MS;
        let is_untaken = self.rivalry.asking.as_ref().is_some_and(|asking| !asking.untaken.is_zero());
        let calm = now.since(since);
        let is_deep = self.rivalry.longest_ms > SWING * 1e3 * self.rivalry.round_s;
        if calm >= EMPTY || (is_low || is_deep || is_untaken) && calm >= CALM {
            return self.leave(now, "the queue is gone");
        }
        if calm < CALM {
            return self.follow_curve(report);
        }
        let most = (1.5 * report.rates.delivered).max(self.rate);
        self.rate = (self.rate * (REFILL * report.step).exp()).min(most);
        self.rivalry.origin = self.rivalry.origin.max(self.rate);
        self.start_curve();
    }

    /// The queue of others that packets in flight wait in.
    pub(super) fn rivals_queue(&self) -> Duration {
        let queue_ms = if self.phase == Phase::Compete { self.rivalry.longest_ms } else { 0.0 };
        Duration::from_secs_f64(queue_ms.clamp(0.0, 2_000.0) / 1e3)
    }

    fn leave(&mut self, now: Instant, reason: &'static str) {
        self.delay.set_frozen(false);
        self.rivalry.look = None;
        self.rivalry.stood = Duration::ZERO;
        self.capacity = None;
        self.losses.clear();
        self.enter(now, Phase::Cruise, reason);
    }
}

#[cfg(test)]
mod tests {
    use proto::scene::Scene;
    use proto::seed::Seed;
    use proto::units::Bitrate;

    use super::super::super::RateLimits;
    use super::super::super::model::{Model, Path, Rival, Source};
    use super::super::Settings;
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// 4 Mbit/s with 300 ms of queue, alone for 15 s.
    fn settled() -> Model<Hybrid> {
        let limits =
            RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };
        let settings = Settings { limits, scene: Scene::Pk, weight: 1.0 };
        let hybrid = Hybrid::new(settings, &Seed::from_number(1));
        let mut model = Model::new(hybrid, Path::new(Bitrate::mbps(4)), Source::Frames(Bitrate::mbps(10)));
        model.run(secs(15));
        model
    }

    /// The share of rows in which it competed.
    fn competed(model: &Model<Hybrid>, from: Duration, to: Duration) -> f64 {
        let all = model.between(from, to).count();
        let rows = model.between(from, to).filter(|row| row.state == "compete").count();
        rows as f64 / all as f64
    }

    #[test]
    fn a_greedy_rival_gets_its_share_and_leaves_ours() {
        let mut model = settled();
        assert!(model.utilization(secs(10), secs(15)) > 0.9);
        assert!(competed(&model, secs(0), secs(15)) == 0.0);
        model.rival = Some(Rival::Greedy);
        model.run(secs(60));
        let share = model.utilization(secs(30), secs(75));
        let rivals = model.take_rivals().as_bytes() as f64 / (Bitrate::mbps(4) * secs(60)).as_bytes() as f64;
        assert!((0.2..0.65).contains(&rivals), "{rivals}");
        assert!((0.35..0.78).contains(&share), "{share}");
        assert!(competed(&model, secs(30), secs(75)) > 0.7);
        model.rival = None;
        model.run(secs(10));
        assert!(model.utilization(secs(78), secs(85)) > 0.9);
        assert!(model.wait(0.95, secs(78), secs(85)) < Duration::from_millis(60));
        assert!(competed(&model, secs(78), secs(85)) == 0.0);
    }

    #[test]
    fn constant_traffic_is_no_rival() {
        for kbps in [1_000, 2_500] {
            let mut model = settled();
            model.rival = Some(Rival::Constant(Bitrate::kbps(kbps)));
            model.run(secs(20));
            let rate = model.utilization(secs(22), secs(35)) * 4_000.0;
            let rest = 4_000.0 - kbps as f64;
            assert!((0.8 * rest..1.02 * rest).contains(&rate), "{rate} beside {kbps}");
            let all = competed(&model, secs(15), secs(35));
            assert!(all < 0.02, "beside {kbps}");
            assert!(model.wait(0.95, secs(22), secs(35)) < Duration::from_millis(60), "beside {kbps}");
        }
    }

    #[test]
    fn a_path_that_shrinks_is_no_rival() {
        for kbps in [1_000, 2_000] {
            let mut model = settled();
            model.path.rate = Bitrate::kbps(kbps);
            model.run(secs(20));
            let all = competed(&model, secs(15), secs(35));
            assert!(all < 0.02, "at {kbps}");
        }
    }
}
