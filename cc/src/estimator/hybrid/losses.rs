//! Losses: how many, in how many episodes, how fast a full buffer empties, and the share that the path loses whatever
//! is sent.
//!
//! In: reports. Out: counts over the last seconds, and what is learnt. Limit: `REPORTS_MAX`.
//!
//! Losses that come in bursts tell less than as many that come one by one: a count of n packets weighs as n ÷ Σk²/Σk
//! (k: packets lost in an episode), which is how much the variance of a compound Poisson count exceeds its mean.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;

use crate::packet::{PacketResult, SentPacket};

/// 8 s of reports, one each 20 ms.
const REPORTS_MAX: usize = 400;
const KEPT: Duration = Duration::from_secs(8);
/// Losses that are clearly many are found soon, and few over a longer time.
const SOON: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(6);
/// Losses no farther apart than that are one episode: a burst, counted once.
const EPISODE_GAP: u64 = 6;
/// No episode is longer: a buffer that overflows all the time would be one.
const EPISODE_MAX: f64 = 8.0;
/// What was learnt fades, to a part in e, in so many seconds.
const MEMORY: f64 = 25.0;
/// Watching may raise what a test has shown by that factor; beyond it another test must.
const DRIFT_MAX: f64 = 1.5;
/// A smaller share is none.
const NONE: f64 = 0.001;
/// Drops farther apart than that do not tell that the buffer was full between them.
const FULL_GAP: Duration = Duration::from_millis(80);

/// A count of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    /// All of them.
    pub(super) packets: f64,
    /// Those lost.
    pub(super) lost: f64,
    /// In so many episodes.
    pub(super) episodes: f64,
    /// The sum of the squares of the episodes' sizes.
    pub(super) squares: f64,
}

impl Tally {
    /// The share that was lost.
    pub(super) fn share(&self) -> f64 {
        if self.packets > 0.0 { self.lost / self.packets } else { 0.0 }
    }

    /// The share that is lost at least, as far as so few losses can tell.
    pub(super) fn least_share(&self) -> f64 {
        ((self.lost - self.lost.sqrt()) / self.packets.max(1.0)).max(0.0)
    }

    /// How many packets an episode loses on the average, at least one.
    pub(super) fn burst(&self) -> f64 {
        if self.episodes > 0.0 { (self.lost / self.episodes).max(1.0) } else { 1.0 }
    }

    /// How much more the count varies than one of single losses.
    pub(super) fn dispersion(&self) -> f64 {
        if self.lost > 0.0 { (self.squares / self.lost).max(1.0) } else { 1.0 }
    }

    /// Adds another count.
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.episodes += other.episodes;
        self.squares += other.squares;
    }

    /// What is left without a part of it.
    fn less(&self, part: &Self) -> Self {
        Self {
            packets: self.packets - part.packets,
            lost: self.lost - part.lost,
            episodes: self.episodes - part.episodes,
            squares: self.squares - part.squares,
        }
    }

    fn scale(&mut self, by: f64) {
        self.packets *= by;
        self.lost *= by;
        self.episodes *= by;
        self.squares *= by;
    }
}

/// Tells episodes apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    last_lost: Option<u64>,
    size: f64,
}

impl Counter {
    /// Adds a packet to a tally.
    pub(super) fn count(&mut self, tally: &mut Tally, result: &PacketResult) {
        tally.packets += 1.0;
        if result.received.is_none() {
            self.count_lost(tally, result.sent.number);
        }
    }

    fn count_lost(&mut self, tally: &mut Tally, number: u64) {
        tally.lost += 1.0;
        let is_apart = self.last_lost.is_none_or(|last| number > last + EPISODE_GAP);
        if is_apart || self.size >= EPISODE_MAX {
            tally.episodes += 1.0;
            self.size = 0.0;
        }
        tally.squares += 2.0 * self.size + 1.0;
        self.size += 1.0;
        self.last_lost = Some(number);
    }
}

/// What a full buffer, or an empty bucket, accepted: between two drops it was full, so what it took is what left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Accepted {
    bytes: f64,
    packets: f64,
    seconds: f64,
}

impl Accepted {
    /// The rate, in bits a second, if enough packets tell of it.
    pub(super) fn rate(&self, packets: f64) -> Option<f64> {
        (self.packets >= packets && self.seconds > 0.0).then(|| self.bytes * 8.0 / self.seconds)
    }

    /// How many packets tell of it.
    pub(super) fn packets(&self) -> f64 {
        self.packets
    }
}

/// Adds up what is accepted between drops.
#[derive(Debug, Default)]
struct Full {
    last_drop: Option<Instant>,
    open: Accepted,
    sum: Accepted,
}

impl Full {
    /// Something dropped.
    fn handle_drop(&mut self, sent: Instant) {
        let Some(last) = self.last_drop.replace(sent) else { return };
        let open = core::mem::take(&mut self.open);
        let apart = sent.since(last);
        if apart <= FULL_GAP {
            self.sum.bytes += open.bytes;
            self.sum.packets += open.packets;
            self.sum.seconds += apart.as_secs_f64();
        }
    }

    /// Packets of so many bytes were accepted.
    fn handle_accepted(&mut self, packets: u64, bytes: u64) {
        if self.last_drop.is_some() {
            self.open.bytes += bytes as f64;
            self.open.packets += packets as f64;
        }
    }
}

/// What losses were found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A full buffer's, or a policer's.
    Overflow,
    /// The path's own, whatever is sent.
    Own,
}

/// The verdicts so far, for who asks what kind of path it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Verdicts {
    /// How many tests found a full buffer, when the last did, and how long the queue was when drops began, in
    /// milliseconds: none to speak of is a policer's, or a very shallow buffer's.
    pub(super) overflow: u32,
    pub(super) overflow_at: Option<Instant>,
    pub(super) overflow_queue_ms: f64,
    /// How many found the path's own losses, and when the last did.
    pub(super) own: u32,
    pub(super) own_at: Option<Instant>,
}

/// Where among the reports those of the last time begin: it only moves on, so none is looked at twice.
#[derive(Debug, Default)]
struct Recent {
    first: usize,
}

impl Recent {
    /// Another report came, and so many are forgotten.
    fn advance(&mut self, reports: &VecDeque<(Instant, Tally)>, forgotten: usize, from: Instant) {
        self.first = self.first.saturating_sub(forgotten);
        while reports.get(self.first).is_some_and(|(at, _)| *at < from) {
            self.first += 1;
        }
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Losses {
    verdicts: Verdicts,
    counter: Counter,
    /// When reports came, and what all before each had counted. Counts are whole numbers, so differences are exact.
    reports: VecDeque<(Instant, Tally)>,
    soon: Recent,
    long: Recent,
    all: Tally,
    /// What the last report counted.
    latest: Tally,
    full: Full,
    /// What tests, and watching since, have shown of losses that come whatever is sent; fades.
    learnt: Tally,
    /// The share that the last test has shown.
    tested: f64,
    last: Option<Instant>,
    /// Packets sent before that are not counted: what they lost is answered.
    answered: Instant,
}

impl Losses {
    /// Takes in a report.
    pub(super) fn handle_report(&mut self, now: Instant, results: &[PacketResult]) {
        let tally = self.count(results);
        self.reports.push_back((now, self.all));
        self.all.add(&tally);
        self.latest = tally;
        let mut forgotten = 0;
        while self.reports.len() > REPORTS_MAX
            || self.reports.front().is_some_and(|(at, _)| now.since(*at) > KEPT)
        {
            self.reports.pop_front();
            forgotten += 1;
        }
        self.soon.advance(&self.reports, forgotten, now - SOON);
        self.long.advance(&self.reports, forgotten, now - LONG);
        let step = self.last.map_or(0.0, |last| now.since(last).as_secs_f64());
        self.last = Some(now);
        if self.learnt.packets > 0.0 {
            self.learnt.scale((-step / MEMORY).exp());
        }
    }

    fn count(&mut self, results: &[PacketResult]) -> Tally {
        let mut tally = Tally::default();
        // Of those that arrived there are many, and they are but counted.
        let (mut packets, mut accepted, mut bytes) = (0_u32, 0, 0_u64);
        for result in results {
            let SentPacket { number, size, sent, .. } = result.sent;
            let counts = sent >= self.answered;
            packets += u32::from(counts);
            if result.received.is_some() {
                accepted += 1;
                bytes = bytes.saturating_add(size.as_bytes());
                continue;
            }
            self.full.handle_accepted(core::mem::take(&mut accepted), core::mem::take(&mut bytes));
            self.full.handle_drop(sent);
            if counts {
                self.counter.count_lost(&mut tally, number);
            }
        }
        self.full.handle_accepted(accepted, bytes);
        tally.packets = f64::from(packets);
        tally
    }

    /// What was counted in reports since `from`.
    pub(super) fn since(&self, from: Instant) -> Tally {
        self.behind(self.reports.partition_point(|(at, _)| *at < from))
    }

    /// What was counted in the last second, as of the last report.
    pub(super) fn soon(&self) -> Tally {
        self.behind(self.soon.first)
    }

    /// What was counted in the last seconds, as of the last report.
    pub(super) fn long(&self) -> Tally {
        self.behind(self.long.first)
    }

    /// What was counted in reports from one on.
    fn behind(&self, first: usize) -> Tally {
        self.reports.get(first).map_or_else(Tally::default, |(_, before)| self.all.less(before))
    }

    /// The share that the path loses whatever is sent.
    pub(super) fn inherent(&self) -> f64 {
        let share = self.learnt.share().min(DRIFT_MAX * self.tested);
        if share < NONE { 0.0 } else { share }
    }

    /// Whether these are clearly more than what the path loses whatever is sent: by `sure` deviations of the difference.
    pub(super) fn is_excess(&self, tally: &Tally, sure: f64) -> bool {
        let inherent = self.inherent();
        let excess = tally.share() - inherent;
        if inherent <= 0.0 || excess <= 0.0 || tally.packets <= 0.0 {
            return excess > 0.0;
        }
        let both = (tally.lost + self.learnt.lost) / (tally.packets + self.learnt.packets);
        let variance = both * (1.0 - both) * (1.0 / tally.packets + 1.0 / self.learnt.packets.max(1.0));
        excess > sure * (variance * self.learnt.dispersion()).sqrt()
    }

    /// A test has shown what the path loses whatever is sent.
    pub(super) fn learn(&mut self, tally: &Tally) {
        self.learnt = *tally;
        self.tested = tally.share();
    }

    /// A test came to an end.
    pub(super) fn note_verdict(&mut self, now: Instant, verdict: Verdict, queue_ms: f64) {
        let all = &mut self.verdicts;
        match verdict {
            Verdict::Overflow => {
                all.overflow += 1;
                all.overflow_at = Some(now);
                all.overflow_queue_ms = queue_ms;
            }
            Verdict::Own => {
                all.own += 1;
                all.own_at = Some(now);
            }
        }
    }

    /// The verdicts so far.
    #[cfg_attr(not(test), allow(dead_code, reason = "for who tells what kind of path it is"))]
    pub(super) fn verdicts(&self) -> Verdicts {
        self.verdicts
    }

    /// The last report's losses were no surprise: they tell more precisely what is lost whatever is sent.
    pub(super) fn watch(&mut self) {
        if self.tested <= 0.0 {
            return;
        }
        if !self.reports.is_empty() {
            self.learnt.add(&self.latest);
        }
        if self.learnt.share() < NONE {
            self.tested = 0.0;
        }
    }

    /// How much more losses vary than single ones, at least 1.
    pub(super) fn dispersion(&self) -> f64 {
        self.learnt.dispersion()
    }

    /// What a full buffer has accepted since it was last taken.
    pub(super) fn accepted(&self) -> Accepted {
        self.full.sum
    }

    /// Takes what a full buffer has accepted since the last time.
    pub(super) fn take_accepted(&mut self) -> Accepted {
        self.full.open = Accepted::default();
        self.full.last_drop = None;
        core::mem::take(&mut self.full.sum)
    }

    /// Forgets the counts, not what was learnt.
    pub(super) fn clear(&mut self) {
        self.reports.clear();
        (self.soon, self.long) = (Recent::default(), Recent::default());
    }

    /// What has been lost of packets sent until now is answered: it is not counted any more.
    pub(super) fn answer(&mut self, now: Instant) {
        self.clear();
        self.answered = now;
    }
}

#[cfg(test)]
mod tests {
    use proto::units::DataSize;

    use super::*;
    use crate::packet::{Ecn, PacketClass};

    /// Packets of 1000 bytes, one a millisecond: 8 Mbit/s; `#` is lost.
    fn results(pattern: &str) -> Vec<PacketResult> {
        let result = |(number, letter): (usize, char)| {
            let sent = Instant::from_millis(1_000 + number as u64);
            PacketResult {
                sent: SentPacket {
                    number: number as u64,
                    size: DataSize::bytes(1_000),
                    sent,
                    class: PacketClass::Video,
                    probe: None,
                    in_flight: DataSize::ZERO,
                    app_limited: false,
                },
                received: (letter != '#').then(|| sent + Duration::from_millis(20)),
                ecn: Ecn::NotCapable,
            }
        };
        pattern.chars().enumerate().map(result).collect()
    }

    fn counted(pattern: &str) -> Tally {
        let (mut counter, mut tally) = (Counter::default(), Tally::default());
        for result in results(pattern) {
            counter.count(&mut tally, &result);
        }
        tally
    }

    #[test]
    fn losses_close_to_each_other_are_one_episode_and_weigh_less() {
        // (packets, lost, episodes, dispersion)
        let cases = [
            ("..........", 0.0, 0.0, 1.0),
            ("#.........#", 2.0, 2.0, 1.0),
            ("#.....#", 2.0, 1.0, 2.0),
            ("####......", 4.0, 1.0, 4.0),
            // All lost is no single episode, or nothing would ever be suspicious.
            ("################", 16.0, 2.0, 8.0),
        ];
        for (pattern, lost, episodes, dispersion) in cases {
            let tally = counted(pattern);
            assert_eq!(
                (tally.lost, tally.episodes, tally.dispersion()),
                (lost, episodes, dispersion),
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_a_full_buffer_accepts_is_the_capacity() {
        let mut losses = Losses::default();
        // Every fourth is dropped of 8 Mbit/s.
        losses.handle_report(Instant::from_millis(1_200), &results(&"...#".repeat(10)));
        let rate = losses.take_accepted().rate(20.0);
        assert!(rate.is_some_and(|rate| (rate - 6e6).abs() < 1e5), "{rate:?}");
        assert_eq!(losses.take_accepted().rate(1.0), None, "taken once");
        // Drops far apart say nothing of what is between them.
        let apart = format!("#{}#", ".".repeat(200));
        losses.handle_report(Instant::from_millis(1_400), &results(&apart));
        assert_eq!(losses.take_accepted().rate(1.0), None);
    }

    #[test]
    fn only_clearly_more_than_what_was_learnt_is_excess() {
        let mut losses = Losses::default();
        let tally = |packets, lost| Tally { packets, lost, episodes: lost, squares: lost };
        assert!(losses.is_excess(&tally(400.0, 4.0), 4.0), "nothing is known yet");
        losses.learn(&tally(1_000.0, 20.0));
        assert!(!losses.is_excess(&tally(400.0, 14.0), 4.0), "chance");
        assert!(losses.is_excess(&tally(400.0, 40.0), 4.0), "no chance");
        assert!(!losses.is_excess(&tally(400.0, 0.0), 4.0), "less is no excess");
    }

    #[test]
    fn what_was_answered_is_not_counted_again() {
        let mut losses = Losses::default();
        losses.answer(Instant::from_millis(1_010));
        losses.handle_report(Instant::from_millis(1_100), &results(&"#".repeat(20)));
        let tally = losses.since(Instant::ZERO);
        assert_eq!((tally.packets, tally.lost), (10.0, 10.0));
    }
}
