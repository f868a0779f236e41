//! The pacer: when each packet leaves, so that short queues on the path do not overflow.
//!
//! In: packets by class, what the estimator allows, probe clusters. Out: `poll`, one packet at a time. Time: `now`,
//! monotonic; `poll_timeout`. Limit: `PACKETS_MAX` packets, a further one is refused; what waited `AGE_MAX` is dropped.
//!
//! **Order.** Classes leave in the order of [`PacketClass`], strictly but for one thing: of `REPAIRS_MAX` + 1 packets that
//! leave while pictures wait at least one is a picture. Repair is bounded by whoever makes it (a limiter of
//! retransmissions, a plan of redundancy); the pacer's rule only says that no fault there stops pictures for ever.
//!
//! **Rate.** Everything that leaves makes a debt that [`Target::pacing`] pays off. Without a burst, a packet leaves when
//! the debt is paid; with one, packets leave while less than [`Target::burst`] of it is left, and the pacer then asks to
//! be woken only when all of it is paid (as libwebrtc's does, whose bursts are 40 ms). Sound does not wait: it leaves at
//! once and the rest pays for it. A shell whose timers are late pays for `LATE_MAX` of it: timers of a millisecond would
//! otherwise cost a quarter of 4 Mbit/s. Time in which nothing waited is never saved up. [`Target::window`] holds back
//! all but sound, probes, and one packet each half a second without which a sender whose feedback was lost would never
//! hear of it again.
//!
//! **Probes.** A cluster starts with the next picture or repair packet, whatever is owed, and runs at its own rate, packet
//! by packet: with what is queued as long as there is something, then with padding. Where [`Target::padding`] allows
//! padding, a cluster that found nothing to start with for `ALONE_AFTER` starts with padding, so that a connection without
//! media, which has none because the estimate is low, learns of more. However late it starts or is polled, it does not
//! catch up: nowhere does it exceed its rate by more than a packet and `LATE_MAX`'s worth.
//!
//! **Padding** for [`Target::padding`] leaves only while nothing is queued and all that was sent has not used that rate up:
//! few packets of full size. The caller sends what is of use instead, if it has something, and says how much it was
//! ([`Pacer::note_padding_sent`]).

mod bucket;
mod probes;

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::{Instant, earliest};
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

/// The most debt that sound, what left at a higher rate, or large padding may leave to others (libwebrtc's
/// `kMaxDebtInTime`).
const DEBT_MAX: Duration = Duration::from_millis(500);

/// How late a packet may leave without the next one's leaving later for it: the grain of tokio's timers. At 9.6 Mbit/s
/// it is one packet of 1200 bytes, so two leave together only above that.
const LATE_MAX: Duration = Duration::from_millis(1);

/// How many packets of repair leave in a row while pictures wait.
const REPAIRS_MAX: u32 = 4;

/// A probe that found no media for so long, three pictures at 30 a second, starts without if there may be padding.
const ALONE_AFTER: Duration = Duration::from_millis(100);

/// The size of padding packets: what libwebrtc's are at most. 200 kbit/s are 20 of them a second.
const PADDING_SIZE: DataSize = DataSize::bytes(1_228);

/// Padding packets of a probe are smaller where the cluster would last longer for their size than it has to, down to this
/// (libwebrtc's smallest packet that starts a probe, with its headers).
const PADDING_MIN: DataSize = DataSize::bytes(252);

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
    /// Something without a place in the queue, which the caller makes: first what is of use, such as a packet of the
    /// retransmission cache, at last a packet without any.
    Padding {
        /// How large, with its IP and UDP headers. What is sent may have another size: see
        /// [`Pacer::note_padding_sent`].
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
    Padding(DataSize),
}

const CLASSES: usize = PacketClass::Padding as usize + 1;

/// The classes that wait, in the order in which they leave.
const PACED: [PacketClass; 4] =
    [PacketClass::Repair, PacketClass::Base, PacketClass::Video, PacketClass::Padding];

/// Those of pictures.
const PICTURES: [PacketClass; 2] = [PacketClass::Base, PacketClass::Video];

/// See the module's description.
#[derive(Debug)]
pub struct Pacer<P> {
    target: Target,
    /// By class, in the order of [`PacketClass`].
    queues: [VecDeque<Queued<P>>; CLASSES],
    queued: DataSize,
    packets: usize,
    /// How many packets of repair left since a picture did or none waited.
    repairs: u32,
    /// What is owed at the pacing rate, or at the probe's while one runs.
    debt: Bucket,
    /// What was sent that padding needs not fill.
    filled: Bucket,
    /// What of the last padding asked for was counted and not yet told otherwise.
    asked: DataSize,
    /// Up to when what was sent has used [`USED_SHARE`] of the rate.
    used_until: Instant,
    last_sent: Option<Instant>,
    /// Whether the window kept back what was due at the last poll: what leaves next is then not late by a timer's fault.
    is_held: bool,
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
            repairs: 0,
            debt: Bucket::default(),
            filled: Bucket::default(),
            asked: DataSize::ZERO,
            used_until: Instant::ZERO,
            last_sent: None,
            is_held: false,
            probes: Probes::default(),
            dropped: 0,
        };
        pacer.debt.set_rate(Instant::ZERO, target.pacing);
        pacer.filled.set_rate(Instant::ZERO, target.padding);
        pacer
    }

    /// The estimator allows something else from now on.
    pub fn set_target(&mut self, now: Instant, target: Target) {
        let slower = target.pacing < self.target.pacing;
        self.target = target;
        if self.probes.running().is_none() {
            self.debt.set_rate(now, target.pacing);
            if slower {
                self.debt.forgive(now, DEBT_MAX);
            }
        }
        self.filled.set_rate(now, target.padding);
        self.filled.forgive(now, DEBT_MAX);
    }

    /// The estimator wants to know whether the path carries more.
    pub fn handle_probe(&mut self, now: Instant, cluster: ProbeCluster) {
        self.probes.ask(now, cluster);
        self.start_probe(now);
    }

    /// Calls off the probe that runs and those that wait: what is queued goes on at the pacing rate.
    pub fn abort_probes(&mut self, now: Instant) {
        if self.probes.running().is_some() {
            self.debt.set_rate(now, self.target.pacing);
            self.debt.forgive(now, DEBT_MAX);
        }
        self.probes.clear();
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
        if self.alone_at().is_some_and(|at| at <= now) {
            self.begin_probe(now);
        }
        let (at, step) = self.next(in_flight)?;
        let blocked = self.is_blocked(in_flight);
        let early =
            if self.probes.running().is_none() && !blocked { self.target.burst } else { Duration::ZERO };
        match step {
            Step::Packet(class) if at <= now || at < now + early => self.take(now, at, class),
            Step::Padding(size) if at <= now => {
                let probe = self.note(now, size, now.since(at));
                self.asked = size;
                Some(Paced::Padding { size, probe })
            }
            Step::Packet(_) | Step::Padding(_) => {
                self.is_held = blocked;
                None
            }
        }
    }

    /// What was really sent for the last [`Paced::Padding`], in all its packets: retransmissions have sizes of their own.
    ///
    /// Without this call what was asked for counts as sent; each further call counts as more. Less than 252 bytes count
    /// as so many, and if nothing could be sent, the next time comes as if it had been: what cannot be sent must not be
    /// asked for without end.
    pub fn note_padding_sent(&mut self, now: Instant, size: DataSize) {
        let asked = core::mem::take(&mut self.asked);
        let counted = if size == DataSize::ZERO { asked } else { size.max(PADDING_MIN.min(asked)) };
        let (more, less) = (counted - asked, asked - counted);
        self.debt.add(now, more);
        self.filled.add(now, more);
        if more > DataSize::ZERO {
            self.debt.forgive(now, DEBT_MAX);
            self.filled.forgive(now, DEBT_MAX);
        }
        self.debt.remove(now, less);
        self.filled.remove(now, less);
        self.use_up(now, size - asked);
        self.used_until = self.used_until - (asked - size) / self.target.rate.scaled(USED_SHARE);
    }

    /// When to poll next if nothing changes before, given what is in flight then.
    pub fn poll_timeout(&self, in_flight: DataSize) -> Option<Instant> {
        earliest(self.next(in_flight).map(|(at, _)| at), self.alone_at())
    }

    /// Forgets what is queued and what was to be probed.
    pub fn clear(&mut self, now: Instant) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.queued = DataSize::ZERO;
        self.packets = 0;
        self.abort_probes(now);
    }

    /// Keeps only those queued packets of which `keep` says so by size and content.
    pub fn retain(&mut self, mut keep: impl FnMut(DataSize, &P) -> bool) {
        let (queued, packets) = (&mut self.queued, &mut self.packets);
        for queue in &mut self.queues {
            queue.retain(|waiting| {
                let kept = keep(waiting.size, &waiting.packet);
                if !kept {
                    *queued -= waiting.size;
                    *packets -= 1;
                }
                kept
            });
        }
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

    /// How much of a picture made now could leave within `interval`, the time until the next one, headers included.
    ///
    /// That is what pacing allows in that time with its burst, and what the window has room for now plus what the path
    /// takes away until then, which is taken for [`Target::rate`]; less what waits already. Nothing, if the window has
    /// held something back for longer than an interval: the path takes less away than is believed. Whoever makes no
    /// larger pictures, and none where this is next to nothing, has at most two pictures in the queue.
    pub fn frame_budget(&self, now: Instant, interval: Duration, in_flight: DataSize) -> DataSize {
        let Target { rate, pacing, burst, window, .. } = self.target;
        if self.is_blocked(in_flight) && self.queue_delay(now) > interval {
            return DataSize::ZERO;
        }
        let paced = pacing * interval.saturating_add(burst) - self.debt.left(now);
        let room = window.map_or(paced, |window| window + rate * interval - in_flight);
        paced.min(room) - self.queued
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
        let blocked = self.is_blocked(in_flight);
        match (self.next_class(), self.probes.running()) {
            (Some(class), Some(_)) => Some((paid, Step::Packet(class))),
            (None, Some(cluster)) => Some((paid, Step::Padding(probe_padding(cluster)))),
            (Some(class), None) => {
                let kept = self.last_sent.filter(|_| blocked).map(|last| last + KEEP_ALIVE);
                Some((kept.map_or(paid, |kept| kept.max(paid)), Step::Packet(class)))
            }
            (None, None) if blocked || self.target.padding == Bitrate::ZERO => None,
            (None, None) => Some((self.filled.empty_at()?.max(paid), Step::Padding(PADDING_SIZE))),
        }
    }

    /// Of which class the next packet is that has to wait for its turn.
    fn next_class(&self) -> Option<PacketClass> {
        let waits = |class: &PacketClass| !self.queues[*class as usize].is_empty();
        let picture = PICTURES.into_iter().find(waits);
        picture.filter(|_| self.repairs >= REPAIRS_MAX).or_else(|| PACED.into_iter().find(waits))
    }

    fn is_blocked(&self, in_flight: DataSize) -> bool {
        self.target.window.is_some_and(|window| in_flight >= window)
    }

    /// A packet of `class`, due at `due`, leaves.
    fn take(&mut self, now: Instant, due: Instant, class: PacketClass) -> Option<Paced<P>> {
        let Queued { since, size, packet } = self.queues[class as usize].pop_front()?;
        self.queued -= size;
        self.packets -= 1;
        let passes = class == PacketClass::Repair
            && PICTURES.iter().any(|class| !self.queues[*class as usize].is_empty());
        self.repairs = if passes { self.repairs + 1 } else { 0 };
        let due = if class == PacketClass::Audio { now } else { due.max(since) };
        let probe = self.note(now, size, now.since(due));
        if class == PacketClass::Audio {
            self.debt.forgive(now, DEBT_MAX);
        }
        Some(Paced::Packet { class, size, probe, packet })
    }

    /// Something leaves, so much later than it might have: whom it counts for.
    fn note(&mut self, now: Instant, size: DataSize, late: Duration) -> Option<ProbeId> {
        self.use_up(now, size);
        self.last_sent = Some(now);
        let excused = core::mem::take(&mut self.is_held) || self.probes.is_fresh();
        self.debt.add_late(now, if excused { Duration::ZERO } else { late.min(LATE_MAX) }, size);
        self.filled.add(now, size);
        self.filled.forgive(now, DEBT_MAX);
        self.asked = DataSize::ZERO;
        let probe = self.probes.running()?.id;
        if self.debt.empty_at().is_some_and(|next| self.probes.finish(now, next)) {
            let next = self.probes.start(now); // at once, as libwebrtc's
            self.debt.set_rate(now, next.unwrap_or(self.target.pacing));
        }
        Some(probe)
    }

    /// So much of the rate is used.
    fn use_up(&mut self, now: Instant, size: DataSize) {
        let from = if self.last_sent.is_none() { now } else { self.used_until.max(now - UNUSED_MAX) };
        self.used_until = (from + size / self.target.rate.scaled(USED_SHARE)).min(now + UNUSED_AFTER);
    }

    /// Starts a probe that waits, if there is something useful to start it with.
    fn start_probe(&mut self, now: Instant) {
        if self.has_useful() {
            self.begin_probe(now);
        }
    }

    fn begin_probe(&mut self, now: Instant) {
        if let Some(rate) = self.probes.start(now) {
            self.debt.forgive(now, Duration::ZERO);
            self.debt.set_rate(now, rate);
        }
    }

    /// When a probe starts although nothing useful waits.
    fn alone_at(&self) -> Option<Instant> {
        if self.probes.running().is_some() || self.target.padding == Bitrate::ZERO {
            return None;
        }
        self.probes.waits_since().map(|since| since + ALONE_AFTER)
    }

    /// Whether pictures or repair wait.
    fn has_useful(&self) -> bool {
        let useful = [PacketClass::Repair, PacketClass::Base, PacketClass::Video];
        useful.into_iter().any(|class| !self.queues[class as usize].is_empty())
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

/// How large the padding of a probe is, so that the cluster has its packets when its time is over and not much later.
fn probe_padding(cluster: &ProbeCluster) -> DataSize {
    (cluster.rate * cluster.duration / u64::from(cluster.packets.max(1))).clamp(PADDING_MIN, PADDING_SIZE)
}

#[cfg(test)]
mod tests;
