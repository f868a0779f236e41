//! The pacer: when each packet leaves, so that short queues on the path do not overflow.
//!
//! In: packets by [`Lane`], what the estimator allows, probe clusters. Out: `poll`, one packet at a time. Time: `now`,
//! monotonic; `poll_timeout`. Limit: `PACKETS_MAX` packets, a further one is refused; what waited two seconds is dropped.
//!
//! **Order.** Classes leave in the order of [`PacketClass`], pictures of a class by their priority and age: see
//! [`lanes`]. Repair is bounded by whoever makes it (a limiter of retransmissions, a plan of redundancy); the pacer only
//! sees to it that no fault there stops pictures for ever.
//!
//! **Rate.** Everything that leaves makes a debt that [`Target::pacing`] pays off. Without a burst, a packet leaves when
//! the debt is paid; with one, packets leave while less than [`Target::burst`] of it is left, and the pacer then asks to
//! be woken only when all of it is paid (as libwebrtc's does, whose bursts are 40 ms). Control and sound do not wait: they
//! leave at once and the rest pays for it, also for control that went past the queue ([`Pacer::note_passed`]). A shell whose timers are late pays for `LATE_MAX` of it: timers of a millisecond would
//! otherwise cost a quarter of 4 Mbit/s. Time in which nothing waited is never saved up. [`Target::window`] holds back
//! all but control, sound, probes, and one packet each half a second without which a sender whose feedback was lost would never
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
pub mod lanes;
mod probes;

use core::time::Duration;

use proto::scene::Priority;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

use self::bucket::{Bucket, Pace};
use self::lanes::{Lane, Lanes, Next, Queued};
use self::probes::Probes;
use crate::estimator::{ProbeCluster, Target};
use crate::packet::{PacketClass, ProbeId};

/// The most packets that wait: two seconds at 10 Mbit/s. A further one is given back.
pub const PACKETS_MAX: usize = 2048;

/// How often one packet leaves although the window is full (libwebrtc's `kCongestedPacketInterval`).
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// The most debt that sound, what left at a higher rate, or large padding may leave to others (libwebrtc's
/// `kMaxDebtInTime`).
const DEBT_MAX: Duration = Duration::from_millis(500);

/// How late a packet may leave without the next one's leaving later for it: the grain of tokio's timers. At 9.6 Mbit/s
/// it is one packet of 1200 bytes, so two leave together only above that.
const LATE_MAX: Duration = Duration::from_millis(1);

/// Less than so long a queue says nothing of how long a longer one takes.
const SETTLED: Duration = Duration::from_millis(50);

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

/// What may leave next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Packet(Next),
    Padding(DataSize),
}

/// See the module's description.
#[derive(Debug)]
#[repr(C)] // what each packet needs comes first, the lanes' own packets at the end
pub struct Pacer<P> {
    /// What is owed at the pacing rate, or at the probe's while one runs.
    debt: Bucket,
    /// Up to when what was sent has used [`USED_SHARE`] of the rate, and how fast that is used.
    used_until: Instant,
    used: Pace,
    last_sent: Option<Instant>,
    /// What of the last padding asked for was counted and not yet told otherwise.
    asked: DataSize,
    /// Whether the window kept back what was due at the last poll: what leaves next is then not late by a timer's fault.
    is_held: bool,
    target: Target,
    probes: Probes,
    lanes: Lanes<P>,
    /// What was sent that padding needs not fill.
    filled: Bucket,
}

impl<P> Pacer<P> {
    /// An empty pacer that allows `target`.
    pub fn new(target: Target) -> Self {
        let mut pacer = Self {
            target,
            lanes: Lanes::new(),
            debt: Bucket::default(),
            filled: Bucket::default(),
            asked: DataSize::ZERO,
            used_until: Instant::ZERO,
            used: Pace::of(target.rate.scaled(USED_SHARE)),
            last_sent: None,
            is_held: false,
            probes: Probes::default(),
        };
        pacer.debt.set_rate(Instant::ZERO, target.pacing);
        pacer.filled.set_rate(Instant::ZERO, target.padding);
        pacer
    }

    /// The estimator allows something else from now on.
    pub fn set_target(&mut self, now: Instant, target: Target) {
        let slower = target.pacing < self.target.pacing;
        if target.rate != self.target.rate {
            self.used = Pace::of(target.rate.scaled(USED_SHARE));
        }
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
    pub fn enqueue(
        &mut self,
        now: Instant,
        lane: impl Into<Lane>,
        size: DataSize,
        packet: P,
    ) -> Result<(), P> {
        self.lanes.expire(now);
        if self.lanes.len() >= PACKETS_MAX {
            return Err(packet);
        }
        self.lanes.push(now, lane.into(), size, packet);
        self.start_probe(now);
        Ok(())
    }

    /// Whether a packet of `class` would leave as soon as it came, given what is in flight.
    pub fn passes(&self, now: Instant, class: PacketClass, in_flight: DataSize) -> bool {
        let is_free = self.is_empty() && self.probes.is_idle();
        is_free && (is_at_once(class) || !self.is_blocked(in_flight) && self.is_paid(now))
    }

    /// A packet of `size` leaves as soon as it came, as [`Self::passes`] says it may: the same as [`Self::enqueue`] and
    /// [`Self::poll`], without a place in the queue.
    pub fn pass(&mut self, now: Instant, class: PacketClass, size: DataSize) {
        self.note(now, size, Duration::ZERO);
        if is_at_once(class) {
            self.debt.forgive(now, DEBT_MAX);
        }
    }

    /// Whether there is nothing to poll for, now or later, if nothing comes: no packet, no probe, no padding.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.probes.is_idle() && self.target.padding == Bitrate::ZERO
    }

    /// Something of `size` leaves past the queue, as control may that another layer writes: others pay for it.
    pub fn note_passed(&mut self, now: Instant, size: DataSize) {
        self.use_up(now, size);
        self.debt.add(now, size);
        self.debt.forgive(now, DEBT_MAX);
        self.fill(now, size);
    }

    /// What leaves now, given what is in flight; to be asked until there is nothing.
    pub fn poll(&mut self, now: Instant, in_flight: DataSize) -> Option<Paced<P>> {
        self.lanes.expire(now);
        if self.alone_at().is_some_and(|at| at <= now) {
            self.begin_probe(now);
        }
        let (at, step) = self.next(in_flight)?;
        let blocked = self.is_blocked(in_flight);
        let early =
            if self.probes.running().is_none() && !blocked { self.target.burst } else { Duration::ZERO };
        match step {
            Step::Packet(next) if at <= now || at < now + early => self.take(now, at, next),
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
        self.used_until = self.used_until - self.used.time(asked - size);
    }

    /// When to poll next if nothing changes before, given what is in flight then.
    pub fn poll_timeout(&self, in_flight: DataSize) -> Option<Instant> {
        earliest(self.next(in_flight).map(|(at, _)| at), self.alone_at())
    }

    /// Forgets what is queued and what was to be probed.
    pub fn clear(&mut self, now: Instant) {
        self.lanes.clear();
        self.abort_probes(now);
    }

    /// Whether nothing waits and nothing has left for so long.
    pub fn is_idle_for(&self, now: Instant, time: Duration) -> bool {
        self.is_empty() && self.last_sent.is_none_or(|at| now.since(at) >= time)
    }

    /// Gives back the memory that its queues have grown to.
    pub fn shrink(&mut self) {
        self.lanes.shrink();
    }

    /// Keeps only those queued packets of which `keep` says so by size and content.
    pub fn retain(&mut self, keep: impl FnMut(DataSize, &P) -> bool) {
        self.lanes.retain(keep);
    }

    /// Gives queued packets another size, because their content has changed; `None` leaves one as it is.
    pub fn resize(&mut self, resize: impl FnMut(&mut P) -> Option<DataSize>) {
        self.lanes.resize(resize);
    }

    /// Gives queued pictures another priority; `None` leaves one as it is.
    pub fn prioritize(&mut self, priority: impl FnMut(&P) -> Option<Priority>) {
        self.lanes.prioritize(priority);
    }

    /// The queued packets and their sizes, by lane and then in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (DataSize, &P)> {
        self.lanes.iter().map(|queued| (queued.size, &queued.packet))
    }

    /// What leaves before a packet that comes to this lane now, if nothing comes to those before it.
    pub fn ahead(&self, lane: Lane) -> DataSize {
        self.lanes.ahead(lane)
    }

    /// How long a packet waits that comes to this lane now: as long as what is ahead of it takes to leave at the pacing
    /// rate, or, if that is longer, as those before it have waited. The latter tells of a path that stands still, and of a
    /// lane that others pass.
    pub fn wait(&self, now: Instant, lane: Lane) -> Duration {
        if self.is_empty() {
            return Duration::ZERO;
        }
        let ahead = self.lanes.ahead(lane);
        let paced = if ahead == DataSize::ZERO { Duration::ZERO } else { ahead / self.target.pacing };
        paced.max(self.lanes.as_before(now, lane, self.target.pacing * SETTLED))
    }

    /// How long the first packet of this lane has waited; nothing if none does.
    pub fn waited(&self, now: Instant, lane: Lane) -> Duration {
        self.lanes.waits_since(lane).map_or(Duration::ZERO, |since| now.since(since))
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
        paced.min(room) - self.queued()
    }

    /// How long the oldest packet has waited.
    pub fn queue_delay(&self, now: Instant) -> Duration {
        self.lanes.oldest().map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long what is queued takes to leave at the pacing rate; the longest time there is if that is zero.
    pub fn queue_time(&self) -> Duration {
        let queued = self.queued();
        if queued == DataSize::ZERO { Duration::ZERO } else { queued / self.target.pacing }
    }

    /// How many bytes wait.
    pub fn queued(&self) -> DataSize {
        self.lanes.size()
    }

    /// How many packets wait, at most [`PACKETS_MAX`].
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.len() == 0
    }

    /// How many packets were dropped because they had waited too long.
    pub fn dropped(&self) -> u64 {
        self.lanes.dropped()
    }

    /// What leaves next, and when at the latest.
    fn next(&self, in_flight: DataSize) -> Option<(Instant, Step)> {
        if let Some(next) = self.lanes.at_once() {
            return Some((next.since, Step::Packet(next)));
        }
        let paid = self.debt.empty_at()?;
        let blocked = self.is_blocked(in_flight);
        match (self.lanes.paced(), self.probes.running()) {
            (Some(next), Some(_)) => Some((paid, Step::Packet(next))),
            (None, Some(cluster)) => Some((paid, Step::Padding(probe_padding(cluster)))),
            (Some(next), None) => {
                let kept = self.last_sent.filter(|_| blocked).map(|last| last + KEEP_ALIVE);
                Some((kept.map_or(paid, |kept| kept.max(paid)), Step::Packet(next)))
            }
            (None, None) if blocked || self.target.padding == Bitrate::ZERO => None,
            (None, None) => Some((self.filled.empty_at()?.max(paid), Step::Padding(PADDING_SIZE))),
        }
    }

    /// Whether so little is owed that more may leave.
    fn is_paid(&self, now: Instant) -> bool {
        self.debt.empty_at().is_some_and(|paid| paid <= now || paid < now + self.target.burst)
    }

    fn is_blocked(&self, in_flight: DataSize) -> bool {
        self.target.window.is_some_and(|window| in_flight >= window)
    }

    /// The packet that is next, due at `due`, leaves.
    fn take(&mut self, now: Instant, due: Instant, next: Next) -> Option<Paced<P>> {
        let Queued { since, size, packet, .. } = self.lanes.take(next)?;
        let class = next.class;
        let due = if is_at_once(class) { now } else { due.max(since) };
        let probe = self.note(now, size, now.since(due));
        if is_at_once(class) {
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
        self.fill(now, size);
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
        self.used_until = (from + self.used.time(size)).min(now + UNUSED_AFTER);
    }

    /// So much needs no padding.
    fn fill(&mut self, now: Instant, size: DataSize) {
        if self.target.padding > Bitrate::ZERO {
            self.filled.add(now, size);
            self.filled.forgive(now, DEBT_MAX);
        }
    }

    /// Starts a probe that waits, if there is something useful to start it with.
    fn start_probe(&mut self, now: Instant) {
        if self.lanes.has_useful() {
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
}

/// What waits for nothing but its turn.
fn is_at_once(class: PacketClass) -> bool {
    matches!(class, PacketClass::Control | PacketClass::Audio)
}

/// How large the padding of a probe is, so that the cluster has its packets when its time is over and not much later.
fn probe_padding(cluster: &ProbeCluster) -> DataSize {
    (cluster.rate * cluster.duration / u64::from(cluster.packets.max(1))).clamp(PADDING_MIN, PADDING_SIZE)
}

#[cfg(test)]
mod tests;
