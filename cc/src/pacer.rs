//! The pacer: when each packet leaves, so that short queues on the path do not overflow.
//!
//! In: packets by class, what the estimator allows, probe clusters. Out: `poll`, one packet at a time. Time: `now`,
//! monotonic; `poll_timeout`. Limit: `PACKETS_MAX` packets, a further one is refused; what waited `AGE_MAX` is dropped.
//!
//! Everything that leaves makes a debt that [`Target::pacing`] pays off. Without a burst, a packet leaves when the debt
//! is paid; with one, packets leave while less than [`Target::burst`] of it is left, and the pacer then asks to be woken
//! only when all of it is paid (as libwebrtc's does, whose bursts are 40 ms). Sound does not wait: it leaves at once and
//! the rest pays for it. [`Target::window`] holds back all but sound, probes, and one packet each half a second without
//! which a sender whose feedback was lost would never hear of it again.
//!
//! A probe cluster starts with the next picture or repair packet, whatever is owed, and runs at its own rate: with what
//! is queued as long as there is something, then with padding. Padding for [`Target::padding`] leaves only while nothing
//! is queued and all that was sent has not used that rate up.

mod bucket;
mod probes;

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use self::bucket::Bucket;
use self::probes::Probes;
use crate::estimator::{ProbeCluster, Target};
use crate::packet::{PacketClass, ProbeId};

/// The most packets that wait: two seconds at 10 Mbit/s. A further one is given back.
pub const PACKETS_MAX: usize = 2048;

/// A packet that waited so long is of no use to a conversation any more.
const AGE_MAX: Duration = Duration::from_secs(2);

/// How often one packet leaves although the window is full (libwebrtc's `kCongestedPacketInterval`).
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// The most debt that sound may leave to others (libwebrtc's `kMaxDebtInTime`).
const SOUND_DEBT_MAX: Duration = Duration::from_millis(500);

/// How far apart padding packets should be, which decides their size (libwebrtc's `min_probe_delta`) within bounds.
const PADDING_SPACING: Duration = Duration::from_millis(2);
const PADDING_MIN: DataSize = DataSize::bytes(252);
const PADDING_MAX: DataSize = DataSize::bytes(1_228);

/// A sender is limited by its source when it uses less than this share of [`Target::rate`] (`GoogCC`'s 0.65 of its own
/// estimate is lower because its pacer is tighter)...
const USED_SHARE: f64 = 0.75;

/// ... for so long, which is three pictures at 30 a second. Half a share unused is seen within 300 ms.
const UNUSED_AFTER: Duration = Duration::from_millis(100);

/// What is remembered of time not used, so that a source that wakes up counts within 300 ms.
const UNUSED_MAX: Duration = Duration::from_millis(200);

/// What leaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paced<P> {
    /// A packet that was queued.
    Packet {
        /// What it carries.
        class: PacketClass,
        /// How large, as it was queued.
        size: DataSize,
        /// The probe cluster it belongs to.
        probe: Option<ProbeId>,
        /// It.
        packet: P,
    },
    /// A packet without use, which the caller makes.
    Padding {
        /// How large, with its IP and UDP headers.
        size: DataSize,
        /// The probe cluster it belongs to.
        probe: Option<ProbeId>,
    },
}

#[derive(Debug)]
struct Queued<P> {
    since: Instant,
    size: DataSize,
    packet: P,
}

/// What may leave next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Packet(PacketClass),
    Padding(Bitrate),
}

/// The classes that wait, in the order in which they leave.
const PACED: [PacketClass; 3] = [PacketClass::Repair, PacketClass::Video, PacketClass::Padding];

/// See the module's description.
#[derive(Debug)]
pub struct Pacer<P> {
    target: Target,
    /// By class, in the order of [`PacketClass`].
    queues: [VecDeque<Queued<P>>; 4],
    queued: DataSize,
    packets: usize,
    /// What is owed at the pacing rate, or at the probe's while one runs.
    debt: Bucket,
    /// What was sent that padding needs not fill.
    filled: Bucket,
    /// Up to when what was sent has used [`USED_SHARE`] of the rate.
    used_until: Instant,
    last_sent: Option<Instant>,
    probes: Probes,
    dropped: u64,
}

impl<P> Pacer<P> {
    /// An empty pacer that allows `target`.
    pub fn new(target: Target) -> Self {
        let mut pacer = Self {
            target,
            queues: core::array::from_fn(|_| VecDeque::new()),
            queued: DataSize::ZERO,
            packets: 0,
            debt: Bucket::default(),
            filled: Bucket::default(),
            used_until: Instant::ZERO,
            last_sent: None,
            probes: Probes::default(),
            dropped: 0,
        };
        pacer.set_target(Instant::ZERO, target);
        pacer
    }

    /// The estimator allows something else from now on.
    pub fn set_target(&mut self, now: Instant, target: Target) {
        self.target = target;
        if self.probes.running().is_none() {
            self.debt.set_rate(now, target.pacing);
        }
        self.filled.set_rate(now, target.padding);
    }

    /// The estimator wants to know whether the path carries more.
    pub fn handle_probe(&mut self, now: Instant, cluster: ProbeCluster) {
        self.probes.ask(now, cluster);
        self.start_probe(now);
    }

    /// A packet of `size`, IP and UDP headers included, wants to leave. It comes back if [`PACKETS_MAX`] wait already.
    pub fn enqueue(&mut self, now: Instant, class: PacketClass, size: DataSize, packet: P) -> Result<(), P> {
        self.expire(now);
        if self.packets >= PACKETS_MAX {
            return Err(packet);
        }
        self.queues[class as usize].push_back(Queued { since: now, size, packet });
        self.queued += size;
        self.packets += 1;
        self.start_probe(now);
        Ok(())
    }

    /// What leaves now, given what is in flight; to be asked until there is nothing.
    pub fn poll(&mut self, now: Instant, in_flight: DataSize) -> Option<Paced<P>> {
        self.expire(now);
        let (at, step) = self.next(in_flight)?;
        let early = if self.probes.running().is_none() && !self.is_blocked(in_flight) {
            self.target.burst
        } else {
            Duration::ZERO
        };
        match step {
            Step::Packet(class) if at <= now || at < now + early => self.take(now, class),
            Step::Padding(rate) if at <= now => {
                let size = (rate * PADDING_SPACING).clamp(PADDING_MIN, PADDING_MAX);
                Some(Paced::Padding { size, probe: self.note(now, size) })
            }
            Step::Packet(_) | Step::Padding(_) => None,
        }
    }

    /// When to poll next if nothing changes before, given what is in flight then.
    pub fn poll_timeout(&self, in_flight: DataSize) -> Option<Instant> {
        self.next(in_flight).map(|(at, _)| at)
    }

    /// Forgets what is queued and what was to be probed.
    pub fn clear(&mut self, now: Instant) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.queued = DataSize::ZERO;
        self.packets = 0;
        self.probes.clear();
        self.debt.set_rate(now, self.target.pacing);
    }

    /// Whether the source has offered less than [`Target::rate`] allows for a while, and nothing waits for its turn.
    ///
    /// "Less" is under three quarters, "a while" is 100 ms worth of rate that nobody used; padding counts as use. A path
    /// may carry more than what such a sender sees of it.
    pub fn is_app_limited(&self, now: Instant) -> bool {
        self.last_sent.is_some()
            && now.since(self.used_until) > UNUSED_AFTER
            && self.queue_delay(now) <= UNUSED_AFTER
    }

    /// How long the oldest packet has waited.
    pub fn queue_delay(&self, now: Instant) -> Duration {
        let oldest = self.queues.iter().filter_map(|queue| queue.front()).map(|queued| queued.since).min();
        oldest.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long what is queued takes to leave at the pacing rate; the longest time there is if that is zero.
    pub fn queue_time(&self) -> Duration {
        if self.queued == DataSize::ZERO { Duration::ZERO } else { self.queued / self.target.pacing }
    }

    /// How many bytes wait.
    pub fn queued(&self) -> DataSize {
        self.queued
    }

    /// How many packets wait, at most [`PACKETS_MAX`].
    pub fn len(&self) -> usize {
        self.packets
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// How many packets were dropped because they had waited too long.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What leaves next, and when at the latest.
    fn next(&self, in_flight: DataSize) -> Option<(Instant, Step)> {
        if let Some(sound) = self.queues[PacketClass::Audio as usize].front() {
            return Some((sound.since, Step::Packet(PacketClass::Audio)));
        }
        let paid = self.debt.empty_at()?;
        let class = PACED.into_iter().find(|&class| !self.queues[class as usize].is_empty());
        let blocked = self.is_blocked(in_flight);
        match (class, self.probes.running()) {
            (Some(class), Some(_)) => Some((paid, Step::Packet(class))),
            (None, Some(cluster)) => Some((paid, Step::Padding(cluster.rate))),
            (Some(class), None) => {
                let kept = self.last_sent.filter(|_| blocked).map(|last| last + KEEP_ALIVE);
                Some((kept.map_or(paid, |kept| kept.max(paid)), Step::Packet(class)))
            }
            (None, None) if blocked || self.last_sent.is_none() || self.target.padding == Bitrate::ZERO => {
                None
            }
            (None, None) => Some((self.filled.empty_at()?.max(paid), Step::Padding(self.target.padding))),
        }
    }

    fn is_blocked(&self, in_flight: DataSize) -> bool {
        self.target.window.is_some_and(|window| in_flight >= window)
    }

    fn take(&mut self, now: Instant, class: PacketClass) -> Option<Paced<P>> {
        let Queued { size, packet, .. } = self.queues[class as usize].pop_front()?;
        self.queued -= size;
        self.packets -= 1;
        let probe = self.note(now, size);
        if class == PacketClass::Audio {
            self.debt.forgive(now, SOUND_DEBT_MAX);
        }
        Some(Paced::Packet { class, size, probe, packet })
    }

    /// Something leaves: whom it counts for.
    fn note(&mut self, now: Instant, size: DataSize) -> Option<ProbeId> {
        let used_from = if self.last_sent.is_none() { now } else { self.used_until.max(now - UNUSED_MAX) };
        let used = size / self.target.rate.scaled(USED_SHARE);
        self.used_until = (used_from + used).min(now + UNUSED_AFTER);
        self.last_sent = Some(now);
        self.debt.add(now, size);
        self.filled.add(now, size);
        let probe = self.probes.running()?.id;
        if self.debt.empty_at().is_some_and(|next| self.probes.finish(next)) {
            let next = self.probes.start(now); // at once, as libwebrtc's
            self.debt.set_rate(now, next.unwrap_or(self.target.pacing));
        }
        Some(probe)
    }

    /// Starts a probe that waits, if there is something useful to start it with.
    fn start_probe(&mut self, now: Instant) {
        let useful = [PacketClass::Repair, PacketClass::Video];
        if useful.into_iter().all(|class| self.queues[class as usize].is_empty()) {
            return;
        }
        if let Some(rate) = self.probes.start(now) {
            self.debt.forgive(now, Duration::ZERO);
            self.debt.set_rate(now, rate);
        }
    }

    /// Drops what has waited for too long.
    fn expire(&mut self, now: Instant) {
        for queue in &mut self.queues {
            while queue.front().is_some_and(|queued| now.since(queued.since) > AGE_MAX) {
                let Some(Queued { size, .. }) = queue.pop_front() else { break };
                self.queued -= size;
                self.packets -= 1;
                self.dropped += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PacketClass::{Audio, Padding, Repair, Video};

    const SIZE: DataSize = DataSize::bytes(1_000);
    const NONE: DataSize = DataSize::ZERO;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// 8 Mbit/s: a packet of [`SIZE`] takes a millisecond.
    fn target() -> Target {
        Target {
            rate: Bitrate::mbps(8),
            pacing: Bitrate::mbps(8),
            burst: Duration::ZERO,
            window: None,
            padding: Bitrate::ZERO,
        }
    }

    fn filled(target: Target, packets: u32) -> Pacer<u32> {
        let mut pacer = Pacer::new(target);
        for packet in 0..packets {
            pacer.enqueue(ms(0), Video, SIZE, packet).expect("room");
        }
        pacer
    }

    /// What leaves when, with nothing in flight, until `end`: microseconds, and the packet or the size of padding.
    fn run<P>(pacer: &mut Pacer<P>, mut now: Instant, end: Instant) -> Vec<(u64, Paced<P>)> {
        let mut left = Vec::new();
        while now <= end {
            while let Some(paced) = pacer.poll(now, NONE) {
                left.push((now.as_micros(), paced));
            }
            let Some(next) = pacer.poll_timeout(NONE) else { break };
            assert!(next > now, "no busy wake-ups");
            now = next;
        }
        left
    }

    fn packets<P: Copy>(left: &[(u64, Paced<P>)]) -> Vec<(u64, P)> {
        let packet = |&(at, paced): &(u64, Paced<P>)| match paced {
            Paced::Packet { packet, .. } => Some((at, packet)),
            Paced::Padding { .. } => None,
        };
        left.iter().filter_map(packet).collect()
    }

    /// Bytes of padding, and of probes.
    fn padding<P>(left: &[(u64, Paced<P>)]) -> u64 {
        let size = |(_, paced): &(u64, Paced<P>)| match paced {
            Paced::Padding { size, .. } => size.as_bytes(),
            Paced::Packet { .. } => 0,
        };
        left.iter().map(size).sum()
    }

    #[test]
    fn without_a_burst_packets_leave_exactly_at_the_rate() {
        let mut pacer = filled(target(), 4);
        let left = run(&mut pacer, ms(0), ms(100));
        assert_eq!(packets(&left), [(0, 0), (1_000, 1), (2_000, 2), (3_000, 3)]);
        assert!(pacer.is_empty());
        pacer.enqueue(ms(50), Video, SIZE, 4).expect("room");
        assert_eq!(packets(&run(&mut pacer, ms(50), ms(100))), [(50_000, 4)], "idle time is not saved up");
    }

    #[test]
    fn a_new_rate_counts_for_what_is_owed() {
        let mut pacer = filled(target(), 3);
        assert!(pacer.poll(ms(0), NONE).is_some());
        pacer.set_target(Instant::from_nanos(500_000), Target { pacing: Bitrate::mbps(2), ..target() });
        assert_eq!(
            packets(&run(&mut pacer, Instant::from_nanos(500_000), ms(100))),
            [(2_500, 1), (6_500, 2)]
        );
    }

    #[test]
    fn classes_leave_in_their_order_and_sound_at_once() {
        let mut pacer = Pacer::new(target());
        for class in [Padding, Video, Repair, Audio, Video, Audio] {
            pacer.enqueue(ms(0), class, SIZE, class).expect("room");
        }
        let left = packets(&run(&mut pacer, ms(0), ms(100)));
        let order =
            [(0, Audio), (0, Audio), (2_000, Repair), (3_000, Video), (4_000, Video), (5_000, Padding)];
        assert_eq!(left, order, "sound is paid for by the rest");
    }

    #[test]
    fn sound_leaves_at_most_half_a_second_of_debt() {
        let mut pacer = Pacer::new(Target { pacing: Bitrate::kbps(80), ..target() });
        for packet in 0..20 {
            pacer.enqueue(ms(0), Audio, SIZE, packet).expect("room");
        }
        pacer.enqueue(ms(0), Video, SIZE, 20).expect("room");
        assert_eq!(packets(&run(&mut pacer, ms(0), ms(5_000))).last(), Some(&(500_000, 20)));
    }

    #[test]
    fn a_burst_of_40_ms_lets_40_ms_worth_go_at_once() {
        let mut pacer = filled(Target { burst: Duration::from_millis(40), ..target() }, 100);
        let left = packets(&run(&mut pacer, ms(0), ms(100)));
        let at = |micros: u64| left.iter().filter(|(at, _)| *at == micros).count();
        assert_eq!((at(0), at(40_000), at(80_000), left.len()), (40, 40, 20, 100));
    }

    #[test]
    fn the_window_holds_back_all_but_sound_and_a_sign_of_life() {
        let window = Some(SIZE * 2);
        let mut pacer = filled(Target { window, padding: Bitrate::mbps(1), ..target() }, 3);
        assert!(pacer.poll(ms(0), SIZE).is_some(), "one packet of room is enough");
        assert!(pacer.poll(ms(20), SIZE * 2).is_none());
        assert_eq!(pacer.poll_timeout(SIZE * 2), Some(ms(500)));
        assert_eq!(pacer.poll_timeout(SIZE), Some(ms(1)), "with room at once");
        pacer.enqueue(ms(30), Audio, SIZE, 9).expect("room");
        assert!(matches!(pacer.poll(ms(30), SIZE * 9), Some(Paced::Packet { class: Audio, .. })));
        assert!(pacer.poll(ms(529), SIZE * 9).is_none());
        assert!(matches!(pacer.poll(ms(530), SIZE * 9), Some(Paced::Packet { packet: 1, .. })));
        assert!(pacer.poll(ms(532), SIZE * 9).is_none());
        assert!(pacer.poll(ms(532), NONE).is_some(), "and room again lets all go");
        assert_eq!(pacer.poll_timeout(SIZE * 2), None, "no padding without room");
    }

    #[test]
    fn a_probe_is_as_fast_and_as_long_as_it_should_and_marked() {
        for (name, media, rate, duration, count) in [
            ("short, all padding but one", 1, 900, 15, 5),
            ("long, with media in front", 30, 12_000, 100, 5),
            ("slow", 2, 300, 100, 5),
            ("many packets", 3, 4_000, 5, 40),
        ] {
            let mut pacer = filled(Target { pacing: Bitrate::kbps(200), ..target() }, media);
            let (rate, duration) = (Bitrate::kbps(rate), Duration::from_millis(duration));
            pacer.handle_probe(ms(0), ProbeCluster { id: ProbeId(4), rate, duration, packets: count });
            let left = run(&mut pacer, ms(0), ms(1_000));
            let marked: Vec<_> = left
                .iter()
                .filter_map(|(at, paced)| match paced {
                    Paced::Packet { probe: Some(ProbeId(4)), .. } => Some((*at, SIZE)),
                    Paced::Padding { probe: Some(ProbeId(4)), size } => Some((*at, *size)),
                    Paced::Packet { .. } | Paced::Padding { .. } => None,
                })
                .collect();
            let span = Duration::from_micros(marked.last().expect("some").0 - marked[0].0);
            let size: DataSize = marked[1..].iter().map(|(_, size)| *size).sum();
            let last = marked.last().expect("some").1;
            let measured = Bitrate::of(size - last + marked[0].1, span).expect("time passed");
            assert!((0.95..1.05).contains(&measured.ratio(rate)), "{name}: {measured} of {rate}");
            assert!(marked.len() >= count as usize && span + last / rate >= duration, "{name}: {span:?}");
            let over = duration + PADDING_MAX / rate;
            assert!(marked.len() == count as usize || span <= over, "{name}: no longer than it must be");
            assert_eq!(packets(&left).len(), media as usize, "{name}: media is not lost");
            assert_eq!(
                left[..marked.len()].iter().map(|(at, _)| *at).max(),
                marked.last().map(|(at, _)| *at)
            );
        }
    }

    #[test]
    fn probes_wait_for_media_follow_each_other_and_grow_old() {
        let cluster = |id| ProbeCluster {
            id: ProbeId(id),
            rate: Bitrate::mbps(4),
            duration: Duration::from_millis(5),
            packets: 2,
        };
        let mut pacer = Pacer::new(target());
        pacer.handle_probe(ms(0), cluster(0));
        pacer.handle_probe(ms(4_000), cluster(1));
        pacer.handle_probe(ms(4_000), cluster(2));
        pacer.enqueue(ms(4_000), Audio, SIZE, ()).expect("room");
        assert!(matches!(pacer.poll(ms(4_000), NONE), Some(Paced::Packet { probe: None, .. })));
        assert_eq!(pacer.poll_timeout(NONE), None, "sound does not start one");
        pacer.enqueue(ms(5_001), Video, SIZE, ()).expect("room");
        let mut ids: Vec<_> = run(&mut pacer, ms(5_001), ms(6_000))
            .iter()
            .map(|(_, paced)| match paced {
                Paced::Packet { probe, .. } | Paced::Padding { probe, .. } => probe.map(|id| id.0),
            })
            .collect();
        ids.dedup();
        assert_eq!(ids, [Some(1), Some(2)], "the first one is too old");
    }

    #[test]
    fn padding_only_fills_what_media_leaves_free() {
        for (name, media_kbps, padding_kbps, expected_kbps) in [
            ("nothing asked", 500, 0, 0),
            ("half of it is media", 500, 1_000, 500),
            ("media is more", 2_000, 1_000, 0),
            ("hardly any media", 10, 1_000, 990),
        ] {
            let padding_rate = Bitrate::kbps(padding_kbps);
            let mut pacer = Pacer::new(Target { padding: padding_rate, ..target() });
            let mut left = Vec::new();
            for tick in 0..1_000 {
                let size = DataSize::bytes(media_kbps * 10 / 8);
                pacer.enqueue(ms(10 * tick), Video, size, ()).expect("room");
                left.extend(run(&mut pacer, ms(10 * tick), ms(10 * tick + 10) - Duration::from_nanos(1)));
            }
            let kbps = padding(&left) * 8 / 10_000;
            assert!(kbps.abs_diff(expected_kbps) <= 10, "{name}: {kbps} kbit/s");
            assert_eq!(left.iter().filter(|(_, paced)| matches!(paced, Paced::Packet { .. })).count(), 1_000);
        }
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_age() {
        let mut pacer = filled(Target { pacing: Bitrate::bps(1), ..target() }, PACKETS_MAX as u32);
        assert_eq!(pacer.enqueue(ms(1), Audio, SIZE, 77), Err(77));
        assert_eq!((pacer.len(), pacer.queued()), (PACKETS_MAX, SIZE * PACKETS_MAX as u64));
        assert!(pacer.poll(ms(1_000), NONE).is_some());
        assert_eq!(pacer.queue_delay(ms(2_000)), Duration::from_secs(2));
        assert!(pacer.poll(ms(2_000), NONE).is_none());
        assert_eq!((pacer.len(), pacer.dropped()), (PACKETS_MAX - 1, 0));
        assert!(pacer.poll(ms(2_001), NONE).is_none());
        assert_eq!((pacer.len(), pacer.dropped()), (0, PACKETS_MAX as u64 - 1));
        assert_eq!((pacer.queued(), pacer.queue_time()), (DataSize::ZERO, Duration::ZERO));
    }

    #[test]
    fn the_queue_tells_how_long_it_takes() {
        let mut pacer = filled(target(), 5);
        assert_eq!(pacer.queue_time(), Duration::from_millis(5));
        assert!(pacer.poll(ms(0), NONE).is_some());
        assert_eq!(
            (pacer.queue_time(), pacer.queue_delay(ms(3))),
            (Duration::from_millis(4), Duration::from_millis(3))
        );
        pacer.clear(ms(3));
        assert_eq!((pacer.poll_timeout(NONE), pacer.queued()), (None, DataSize::ZERO));
    }

    #[test]
    fn a_source_is_the_limit_when_it_uses_little_of_the_rate_for_a_while() {
        for (name, percent, window, limited) in [
            ("it follows", 100, None, false),
            ("it makes nearly as much", 80, None, false),
            ("it makes two thirds", 66, None, true),
            ("it makes little", 10, None, true),
            ("it makes enough but may not send", 100, Some(NONE), false),
        ] {
            let mut pacer = Pacer::new(Target { pacing: Bitrate::mbps(10), window, ..target() });
            assert!(!pacer.is_app_limited(ms(0)));
            for frame in 0..30 {
                for _ in 0..10 {
                    let size = DataSize::bytes(33 * percent);
                    pacer.enqueue(ms(33 * frame), Video, size, ()).expect("room");
                }
                run(&mut pacer, ms(33 * frame), ms(33 * frame + 32));
            }
            assert_eq!(pacer.is_app_limited(ms(33 * 30)), limited, "{name}");
        }
    }
}
