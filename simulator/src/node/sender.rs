//! A media sender: camera and microphone, pacer, send history, and an estimator that tells them how fast.
//!
//! In: feedback ([`Payload::Datagram`] with RTCP: reports by TWCC or RFC 8888, NACK, PLI). Out: media packets, facts. Time: `now`, monotonic; `poll_timeout`.
//! Chance: one seed at construction. Limit: that of the pacer, the history and the repair cache.
//!
//! The estimator's rate is shared so: sound has its full rate whether or not somebody speaks, repair what it took
//! lately, headers what they take, and the encoder the rest. The encoder follows. Only a picture that would wait longer
//! than `BACKLOG_MAX` in the pacer is left out, before it is encoded: it has no number, and none refers to it. Where the
//! estimator bounds frames, the encoder aims at what can leave within the picture's interval, a key picture's four, and
//! the second picture in a row for which there is next to no room is left out.
//!
//! Nothing happens before the plan's start and after its stop; in a pause the source makes nothing, and what is queued,
//! probes and padding go on. Packets of a flow capable of ECN are marked ECT(1): links here mark by L4S's step (RFC 9331).

mod feedback;
mod meter;
pub(crate) mod protection;
mod repair;
mod timed;

use std::collections::VecDeque;
use std::time::Duration;

use cc::history::{Departure, SendHistory};
use cc::pacer::{Paced, Pacer};
use cc::{Ecn, Estimator, PacketClass, ProbeCluster, Target, Transition};
use proto::path_class::PathClass;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

use self::feedback::Reader;
use self::meter::Meter;
use self::protection::{PathNow, Protection};
use self::repair::Repair;
use self::timed::Timed;
use super::{Fact, Node};
use crate::media::camera::{Camera, Frame};
use crate::media::microphone::Microphone;
use crate::media::{HEADERS, Packetizer};
use crate::packet::{FlowId, FramePart, MediaPacket, NodeId, Packet, Payload};
use crate::scenario::FlowPlan;

/// No picture is encoded that would wait longer than this in the pacer: it would come too late for a conversation, for
/// which ITU-T G.114 counts 400 ms as the most.
const BACKLOG_MAX: Duration = Duration::from_millis(500);

/// In how many intervals a key picture may leave, which is about as many times larger than others: what is cut from it
/// makes it worse for as long as others refer to it.
const KEY_INTERVALS: u32 = 4;

/// No picture is made smaller than this for want of room, headers included; nor than a quarter of what it should have.
const FRAME_FLOOR: DataSize = DataSize::bytes(400);

/// What the pacer holds waits for the window, not for its turn, when it waits longer than this: key pictures do not.
const HELD_BACK: Duration = Duration::from_millis(100);

/// How many packets of sound there are a second.
const SOUNDS: u64 = 50;

/// What a sender is made of beside its estimator and its chance.
#[derive(Debug, Clone)]
pub struct SenderSetup {
    /// What its packets are counted with.
    pub flow: FlowId,
    /// Who gets them.
    pub receiver: NodeId,
    /// What it sends and when.
    pub plan: FlowPlan,
    /// A clock in nanoseconds to tell what the estimator costs; it changes no decision.
    pub stopwatch: Option<fn() -> u64>,
}

/// What a plan's times bring; of two at one instant the one named first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Start,
    Resume,
    Pause,
    Stop,
}

/// What the estimator wants after it was told something.
struct Decision {
    target: Target,
    state: &'static str,
    /// Whether probes asked for before are called off.
    abort: bool,
    probe: Option<ProbeCluster>,
}

/// See the module's description.
pub struct Sender {
    flow: FlowId,
    receiver: NodeId,
    ecn: Ecn,
    changes: VecDeque<(Instant, Change)>,
    is_on: bool,
    estimator: Timed,
    target: Target,
    state: Option<&'static str>,
    class: PathClass,
    camera: Camera,
    packetizer: Packetizer,
    microphone: Option<Microphone>,
    /// What sound takes with its headers.
    sound_rate: Bitrate,
    pacer: Pacer<MediaPacket>,
    /// How many packets the pacer had dropped when the last picture was taken.
    dropped: u64,
    /// How many pictures in a row found next to no room in the pacer.
    cramped: u32,
    history: SendHistory,
    /// All that left.
    sent: Meter,
    reader: Reader,
    protection: Option<Box<dyn Protection>>,
    /// The next numbers of the streams: sound, pictures, padding.
    next_sound: u64,
    next_picture: u64,
    next_padding: u64,
    facts: VecDeque<Fact>,
}

impl Sender {
    /// A sender that does what its plan says and sends as fast as `estimator` allows.
    pub fn new(setup: SenderSetup, mut estimator: Box<dyn Estimator>, seed: &Seed) -> Self {
        let SenderSetup { flow, receiver, plan, stopwatch } = setup;
        let start = Instant::ZERO + plan.start;
        let sound_rate = plan.microphone.as_ref().map(|microphone| {
            let headers = Bitrate::bps(HEADERS.as_bits() * SOUNDS);
            microphone.rate + headers
        });
        let target = estimator.as_mut().target();
        Self {
            flow,
            receiver,
            ecn: if plan.ecn { Ecn::Capable1 } else { Ecn::NotCapable },
            changes: changes(&plan),
            is_on: false,
            estimator: Timed::new(estimator, stopwatch),
            target,
            state: None,
            class: PathClass::default(),
            packetizer: Packetizer::default(),
            camera: Camera::new(plan.camera, start, &seed.fork("camera")),
            microphone: plan
                .microphone
                .map(|microphone| Microphone::new(microphone, start, &seed.fork("microphone"))),
            sound_rate: sound_rate.unwrap_or_default(),
            pacer: Pacer::new(target),
            dropped: 0,
            cramped: 0,
            history: SendHistory::new(),
            sent: Meter::default(),
            reader: Reader::default(),
            protection: plan.repair.then(|| Box::<Repair>::default() as Box<dyn Protection>),
            next_sound: 0,
            next_picture: 0,
            next_padding: 0,
            facts: VecDeque::new(),
        }
    }

    /// The same sender with something else against losses than answers to NACKs.
    pub(crate) fn protected(self, protection: Box<dyn Protection>) -> Self {
        Self { protection: Some(protection), ..self }
    }

    fn change(&mut self, now: Instant, change: Change) {
        match change {
            Change::Start => {
                self.is_on = true;
                self.consult(now, |_| {});
            }
            Change::Pause => {
                self.camera.pause();
                self.microphone.iter_mut().for_each(Microphone::pause);
            }
            Change::Resume => {
                self.camera.resume(now);
                self.microphone.iter_mut().for_each(|microphone| microphone.resume(now));
            }
            Change::Stop => {
                self.is_on = false;
                self.pacer.clear(now);
                self.facts.extend(self.estimator.cost(now, self.flow));
            }
        }
    }

    /// Tells the estimator something and does what it says.
    fn consult(&mut self, now: Instant, tell: impl FnOnce(&mut dyn Estimator)) {
        let mut decision = self.estimator.call(|estimator| {
            tell(estimator);
            let abort = estimator.poll_probe_abort();
            Decision { abort, ..decide(estimator) }
        });
        if decision.abort {
            self.pacer.abort_probes(now);
        }
        while let Some(cluster) = decision.probe {
            self.pacer.handle_probe(now, cluster);
            decision = self.estimator.call(decide);
        }
        self.facts.extend(self.estimator.cost(now, self.flow));
        self.tell_phases();
        let Decision { target, state, .. } = decision;
        if self.state.is_some() && target == self.target && self.state == Some(state) {
            return;
        }
        if self.state != Some(state) || target.rate != self.target.rate {
            self.facts.push_back(Fact::Target { flow: self.flow, rate: target.rate, state });
        }
        (self.target, self.state) = (target, Some(state));
        self.pacer.set_target(now, target);
        self.set_encoder(now);
    }

    /// Tells why phases changed and what the path is taken for.
    fn tell_phases(&mut self) {
        let flow = self.flow;
        while let Some(Transition { from, to, reason, .. }) = self.estimator.poll_transition() {
            self.facts.push_back(Fact::Phase { flow, from, to, reason });
        }
        let class = self.estimator.path_class();
        if class != std::mem::replace(&mut self.class, class) {
            self.facts.push_back(Fact::PathClass { flow, class });
        }
    }

    /// Gives the encoder its share of the rate.
    fn set_encoder(&mut self, now: Instant) {
        let allowed = self.target.rate - self.sound_rate;
        let wire = self.protection.as_mut().map_or(allowed, |own| own.media_rate(now, allowed));
        self.camera.set_rate(now, self.packetizer.payload_rate(wire, self.camera.fps()));
    }

    /// Takes in what the source has made by now.
    fn make(&mut self, now: Instant) {
        while let Some(sound) = self.microphone.as_mut().and_then(|microphone| microphone.poll_packet(now)) {
            let packet = waiting(PacketClass::Audio, self.next_sound, None);
            let queued = self.pacer.enqueue(now, PacketClass::Audio, sound.size + HEADERS, packet);
            self.next_sound += u64::from(queued.is_ok());
        }
        if self.camera.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.pacer.dropped() > self.dropped {
            self.dropped = self.pacer.dropped();
            self.camera.request_key_frame(); // what follows refers to what was dropped
        }
        if self.wait(now) > BACKLOG_MAX {
            self.camera.skip(now);
        }
        self.set_encoder(now); // what headers and repair take changes without the estimator's doing
        let limit = self.limit(now);
        while let Some(frame) = self.camera.poll_frame_within(now, limit) {
            self.packetize(now, &frame);
        }
    }

    /// How large the next picture may be without its headers; skips it where the pacer has had no room for two.
    fn limit(&mut self, now: Instant) -> DataSize {
        if !self.estimator.bounds_frames() {
            return DataSize::bytes(u64::MAX);
        }
        let fps = self.camera.fps();
        let interval = Duration::from_secs(1) / fps;
        let span = if self.camera.is_key_next() { interval * KEY_INTERVALS } else { interval };
        let budget = self.pacer.frame_budget(now, span, self.history.in_flight());
        let floor = FRAME_FLOOR.min(self.target.rate * interval / 4);
        self.cramped = if budget < floor { self.cramped + 1 } else { 0 };
        if self.cramped > 1 {
            self.camera.skip(now);
        }
        let share = self.protection.as_ref().map_or(1.0, |own| own.picture_share());
        let wire = Bitrate::of(budget.scaled(share).max(floor), interval).unwrap_or(Bitrate::MAX);
        self.packetizer.payload_rate(wire, fps) * interval
    }

    /// How long a picture taken now would wait in the pacer.
    fn wait(&mut self, now: Instant) -> Duration {
        let (turn, waited) = (self.pacer.queue_time(), self.pacer.queue_delay(now));
        if waited > HELD_BACK {
            turn.max(waited).max(self.pacer.queued() / self.sent.rate(now))
        } else {
            turn
        }
    }

    fn packetize(&mut self, now: Instant, frame: &Frame) {
        let parts = self.packetizer.parts(frame.size);
        let count = parts.len() as u16;
        let mut size = DataSize::ZERO;
        for (index, payload) in parts.enumerate() {
            let &Frame { number, key, captured, .. } = frame;
            let part = FramePart { frame: number, index: index as u16, parts: count, key, captured };
            let packet = waiting(PacketClass::Video, self.next_picture, Some(part));
            size += payload + HEADERS;
            let queued = self.pacer.enqueue(now, PacketClass::Video, payload + HEADERS, packet);
            self.next_picture += u64::from(queued.is_ok());
        }
        self.facts.push_back(Fact::FrameSent { flow: self.flow, frame: frame.number, size, key: frame.key });
    }

    fn handle_feedback(&mut self, now: Instant, datagram: &[u8]) {
        let heard = self.reader.read(datagram);
        if heard.key_wanted {
            self.camera.request_key_frame();
        }
        if let Some(protection) = &mut self.protection {
            self.history.smoothed_rtt().into_iter().for_each(|rtt| protection.set_rtt(rtt));
            protection.handle_nack(now, &heard.lost);
        }
        let tells_arrivals = !heard.arrivals.is_empty();
        self.queue_repair(now);
        if tells_arrivals {
            self.handle_arrivals(now);
            self.queue_repair(now);
        }
    }

    fn handle_arrivals(&mut self, now: Instant) {
        let mut history = std::mem::take(&mut self.history); // the results stay its own while the rest is told
        let results = history.handle_arrivals(now, self.reader.arrivals());
        if !results.is_empty() {
            self.consult(now, |estimator| estimator.handle_feedback(now, results));
            if let Some(protection) = &mut self.protection {
                let path = PathNow { class: self.class, target: self.target.rate };
                protection.handle_results(now, results, &path);
            }
        }
        self.history = history;
    }

    /// Gives the pacer what repairs losses. A full one refuses: the receiver will ask again.
    fn queue_repair(&mut self, now: Instant) {
        let Some(protection) = &mut self.protection else { return };
        while let Some((packet, size)) = protection.poll(now) {
            let _ = self.pacer.enqueue(now, PacketClass::Repair, size, packet);
        }
    }

    /// Writes down that a packet leaves, and hands it to the world.
    fn depart(&mut self, now: Instant, departure: Departure, media: MediaPacket) -> Packet {
        let sent = self.history.handle_sent(now, departure);
        self.sent.add(now, sent.size);
        let media = MediaPacket { transport_seq: sent.number, ..media };
        if let Some(protection) = &mut self.protection {
            protection.note_sent(now, &media, sent.size);
            self.queue_repair(now);
        }
        self.estimator.note_packet();
        self.consult(now, |estimator| estimator.handle_sent(now, &sent));
        Packet {
            number: 0, // the world gives it one
            flow: self.flow,
            from: NodeId(0), // the world knows
            to: self.receiver,
            size: sent.size,
            ecn: self.ecn,
            sent: now,
            payload: Payload::Media(media),
        }
    }
}

impl Node for Sender {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        match packet.payload {
            Payload::Datagram(datagram) if self.is_on => self.handle_feedback(now, &datagram),
            Payload::Datagram(_) | Payload::Filler | Payload::Media(_) | Payload::Message(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(_, change)) = self.changes.front().filter(|(at, _)| *at <= now) {
            self.changes.pop_front();
            self.change(now, change);
        }
        if !self.is_on {
            return;
        }
        self.history.handle_timeout(now);
        if self.estimator.poll_timeout().is_some_and(|at| at <= now) {
            self.consult(now, |estimator| estimator.handle_timeout(now));
        }
        if let Some(protection) = &mut self.protection {
            protection.handle_timeout(now);
            self.queue_repair(now);
        }
        self.make(now);
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        if !self.is_on {
            return None;
        }
        let app_limited = self.pacer.is_app_limited(now);
        let (class, size, probe, media) = match self.pacer.poll(now, self.history.in_flight())? {
            Paced::Packet { class, size, probe, packet } => (class, size, probe, packet),
            Paced::Padding { size, probe } => {
                self.next_padding += 1;
                let packet = waiting(PacketClass::Padding, self.next_padding - 1, None);
                (PacketClass::Padding, size, probe, packet)
            }
        };
        Some(self.depart(now, Departure { size, class, probe, app_limited }, media))
    }

    fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let change = self.changes.front().map(|(at, _)| *at);
        if !self.is_on {
            return change;
        }
        let source =
            earliest(self.camera.poll_timeout(), self.microphone.as_ref().and_then(Microphone::poll_timeout));
        let sending =
            earliest(self.pacer.poll_timeout(self.history.in_flight()), self.history.poll_timeout());
        let repair = self.protection.as_ref().and_then(|own| own.poll_timeout());
        earliest(earliest(change, self.estimator.poll_timeout()), earliest(earliest(source, repair), sending))
    }
}

/// When what begins and ends.
fn changes(plan: &FlowPlan) -> VecDeque<(Instant, Change)> {
    let mut changes = vec![(plan.start, Change::Start)];
    for &(from, to) in &plan.pauses {
        changes.extend([(from, Change::Pause), (to, Change::Resume)]);
    }
    changes.extend(plan.stop.map(|stop| (stop, Change::Stop)));
    changes.sort_unstable();
    changes.into_iter().map(|(at, change)| (Instant::ZERO + at, change)).collect()
}

/// A packet that has yet to leave, which is when it gets its transport-wide number.
fn waiting(class: PacketClass, seq: u64, part: Option<FramePart>) -> MediaPacket {
    MediaPacket { transport_seq: 0, seq, class, part, parity: None }
}

fn decide(estimator: &mut dyn Estimator) -> Decision {
    let probe = estimator.poll_probe();
    Decision { target: estimator.target(), state: estimator.state(), abort: false, probe }
}

#[cfg(test)]
mod tests;
