//! What must hold in every room, watched on the wire all along. Every packet says in its payload which one it is, so the
//! SFU's work is checked without a look inside it:
//!
//! - `one-stream-a-layer`: a publisher sends each layer of each track in one stream.
//! - `served-is-sent`: nobody is served a layer that its publisher does not send.
//! - `joins-have-no-gap`, `joins-at-key-frames`: where a slot's stream switches, its numbers go on, and pictures begin with
//!   a key frame's first packet.
//! - `nothing-swallowed`: between two packets of a stream that a slot got, it got all that reached the SFU as themselves
//!   since the slot joined the stream. (A repair may reach it after it was given up. And where a slot joins at a key frame
//!   that was lost and came late, what came before the repair is not forwarded: the subscriber must ask for it.)
//! - `nothing-twice`: no packet is sent twice but as a retransmission.
//! - `recovery`: when the network has healed, every picture that is shown moves.
//!
//! and, as [`Fact::Violated`], what the nodes see: contents whole, numbers, times and picture ids in order, slots that
//! carry what they name, no wake-up in the past, outputs that come to an end.
//!
//! In: events. Out: [`Violation`]s, at most [`VIOLATIONS_MAX`]. Limit: `SEGMENTS_MAX` joins and `MISSING_MAX` missing
//! packets remembered for each slot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proto::rtp::{PayloadType, RtpView, SeqUnwrapper, Ssrc, rtx};
use proto::time::Instant;
use sfu::network::demux::{PacketKind, classify};

use super::tally::Tallies;
use super::{RoomPlan, SERVER};
use crate::checker::Violation;
use crate::node::Fact;
use crate::node::client::payload::{self, Stamp};
use crate::node::worker::flow_of_slot;
use crate::packet::{NodeId, Packet, Payload};
use crate::world::{Event, Observer};

/// The most violations that a run keeps: what follows the first ones is mostly their consequence.
const VIOLATIONS_MAX: usize = 10;

/// How long after a publisher's last packet of a layer a subscriber may still get one: flight and queue.
const ALIVE: Duration = Duration::from_secs(5);

/// Joins of a slot's stream that late packets may still be from.
const SEGMENTS_MAX: usize = 8;

/// Packets that the SFU may still get by repair.
const MISSING_MAX: usize = 1_024;

/// How long after a client's last check of its path the SFU takes packets from there (RFC 7675; less than its 10 s, since
/// a check may have been lost).
const CONSENT: Duration = Duration::from_secs(9);

/// How long a packet may wait in the SFU's pacer: what comes out of order waits behind what came before it.
const PACED_MAX: Duration = Duration::from_millis(500);

/// Serial numbers of a stream that are remembered as received.
const RECEIVED_MAX: usize = 4_096;

/// When the network has healed, a picture moves that was shown so lately.
pub(super) const MOVING: Duration = Duration::from_secs(1);

/// A layer of a publisher's track: node, media section, layer.
type Source = (u16, u8, u8);

/// A layer as its publisher sends it.
struct SourceStream {
    ssrc: Ssrc,
    sent_at: Instant,
    /// Which packet the SFU got when, by serial number modulo the length.
    received: Vec<Option<(u32, Instant)>>,
}

/// A run of packets of one source in a slot's stream.
struct Segment {
    source: Source,
    /// The outgoing number less the serial number.
    shift: u64,
    since: Instant,
    highest: u32,
    missing: BTreeSet<u32>,
}

/// A slot's stream as the SFU sends it.
#[derive(Default)]
struct SlotStream {
    seqs: SeqUnwrapper,
    highest: u64,
    segments: VecDeque<Segment>,
}

/// What a media packet is, by its payload type: every client uses one of two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Sound,
    Picture,
    Repair,
}

/// See the module's description.
#[derive(Default)]
pub(super) struct RoomChecker {
    sources: BTreeMap<Source, SourceStream>,
    slots: BTreeMap<(NodeId, Ssrc), SlotStream>,
    /// When the SFU last got a client's check of its path.
    checked: BTreeMap<NodeId, Instant>,
    tallies: Tallies,
    violations: Vec<Violation>,
}

impl RoomChecker {
    /// What was broken and what was seen, the run having ended at `now`, the network healthy for long enough.
    pub(super) fn finish(mut self, now: Instant, plan: &RoomPlan) -> (Vec<Violation>, Tallies) {
        for (number, person) in plan.people.iter().enumerate() {
            let wanted = plan.pictures_shown(number, plan.duration);
            let node = super::Person(number).node();
            let moves = |slot: &usize| {
                let tally = self.tallies.pictures.get(&flow_of_slot(node, *slot));
                tally.and_then(|tally| tally.last).is_some_and(|last| now.since(last) <= MOVING)
            };
            let found = (0..person.client.slots).filter(moves).count();
            if found < wanted {
                let who = &person.client.identity;
                let detail = format!("{who}: {found} of {wanted} pictures move after the network has healed");
                self.report(now, "recovery", detail);
            }
        }
        (self.violations, self.tallies)
    }

    fn report(&mut self, at: Instant, rule: &'static str, detail: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { at, rule, detail });
        }
    }

    /// A publisher sent a packet to the SFU.
    fn handle_published(&mut self, now: Instant, view: &RtpView<'_>, content: Content) {
        let Some(stamp) = read(view, content).filter(|_| content != Content::Repair) else { return };
        let stream = self.sources.entry(source(&stamp)).or_insert_with(|| SourceStream {
            ssrc: view.ssrc(),
            sent_at: now,
            received: vec![None; RECEIVED_MAX],
        });
        stream.sent_at = now;
        if stream.ssrc != view.ssrc() {
            let detail = format!("{:?} comes as {:?} and {:?}", source(&stamp), stream.ssrc, view.ssrc());
            self.report(now, "one-stream-a-layer", detail);
        }
    }

    /// The SFU got a packet of a publisher.
    fn handle_received(&mut self, now: Instant, view: &RtpView<'_>, content: Content) {
        let Some(stamp) = read(view, content).filter(|_| content != Content::Repair) else { return };
        let checked = self.checked.get(&NodeId(stamp.publisher.into()));
        if checked.is_none_or(|at| now.since(*at) >= CONSENT) {
            return; // the SFU may not listen any more
        }
        if let Some(stream) = self.sources.get_mut(&source(&stamp)) {
            let place = &mut stream.received[stamp.serial as usize % RECEIVED_MAX];
            if place.is_none_or(|(serial, _)| serial != stamp.serial) {
                *place = Some((stamp.serial, now));
            }
        }
    }

    /// The SFU sent a packet to a subscriber.
    fn handle_served(&mut self, now: Instant, to: NodeId, view: &RtpView<'_>, content: Content) {
        let Some(stamp) = read(view, content) else { return };
        let alive =
            self.sources.get(&source(&stamp)).is_some_and(|stream| now.since(stream.sent_at) <= ALIVE);
        if !alive {
            self.report(now, "served-is-sent", format!("{to:?} gets {stamp:?}"));
        }
        if content == Content::Repair {
            return;
        }
        let slot = self.slots.entry((to, view.ssrc())).or_default();
        let seq = slot.seqs.unwrap(view.seq());
        let received = self.sources.get(&source(&stamp)).map_or(&[][..], |stream| &stream.received);
        if let Err((rule, what)) = slot.handle_packet(now, (seq, &stamp), content, received) {
            self.report(now, rule, format!("{what}: {to:?} gets {seq}, {stamp:?}"));
        }
    }

    /// A subscriber heard something.
    fn handle_heard(&mut self, now: Instant, by: NodeId, view: &RtpView<'_>) {
        if let Some(stamp) = read(view, Content::Sound) {
            let pair = (by, NodeId(stamp.publisher.into()));
            self.tallies.sound.entry(pair).or_default().count(now.since(stamp.captured));
        }
    }
}

impl SlotStream {
    fn handle_packet(
        &mut self,
        now: Instant,
        (seq, stamp): (u64, &Stamp),
        content: Content,
        received: &[Option<(u32, Instant)>],
    ) -> Result<(), (&'static str, &'static str)> {
        let (source, shift) = (source(stamp), seq.wrapping_sub(stamp.serial.into()));
        // What goes beyond the newest number belongs to the newest segment, or begins one.
        let candidates = if seq > self.highest { self.segments.len().saturating_sub(1) } else { 0 };
        let mut segments = self.segments.iter_mut().skip(candidates).rev();
        let known = segments.find(|segment| (segment.source, segment.shift) == (source, shift));
        let highest = self.highest;
        self.highest = highest.max(seq);
        if let Some(segment) = known {
            return segment.handle_packet(now, stamp.serial, received);
        }
        let is_first = self.segments.is_empty();
        if self.segments.len() == SEGMENTS_MAX {
            self.segments.pop_front();
        }
        let (highest_serial, missing) = (stamp.serial, BTreeSet::new());
        self.segments.push_back(Segment { source, shift, since: now, highest: highest_serial, missing });
        if !is_first && seq != highest + 1 {
            return Err(("joins-have-no-gap", "not the next number"));
        }
        if content == Content::Picture && !(stamp.key && stamp.part == 0) {
            return Err(("joins-at-key-frames", "not a beginning"));
        }
        Ok(())
    }
}

impl Segment {
    fn handle_packet(
        &mut self,
        now: Instant,
        serial: u32,
        received: &[Option<(u32, Instant)>],
    ) -> Result<(), (&'static str, &'static str)> {
        if serial <= self.highest {
            let was_missing = self.missing.remove(&serial);
            return if was_missing { Ok(()) } else { Err(("nothing-twice", "it was sent before")) };
        }
        self.missing.extend(self.highest + 1..serial);
        while self.missing.len() > MISSING_MAX {
            self.missing.pop_first();
        }
        self.highest = serial;
        let swallowed = self.missing.iter().copied().find(|missing| {
            let place = received.get(*missing as usize % RECEIVED_MAX).copied().flatten();
            place.is_some_and(|(serial, at)| {
                serial == *missing && at > self.since && now.since(at) > PACED_MAX
            })
        });
        let Some(swallowed) = swallowed else { return Ok(()) };
        self.missing.remove(&swallowed);
        Err(("nothing-swallowed", "the SFU had one before it"))
    }
}

impl Observer for RoomChecker {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) => match media(packet) {
                Some((view, content)) if packet.from == SERVER => {
                    self.handle_served(now, packet.to, &view, content);
                }
                Some((view, content)) => self.handle_published(now, &view, content),
                None => {}
            },
            Event::Delivered(packet) if packet.to == SERVER && is_check(packet) => {
                self.checked.insert(packet.from, now);
            }
            Event::Delivered(packet) => match media(packet) {
                Some((view, content)) if packet.to == SERVER => self.handle_received(now, &view, content),
                Some((view, Content::Sound)) => self.handle_heard(now, packet.to, &view),
                Some((_, Content::Picture | Content::Repair)) | None => {}
            },
            Event::Fact { fact: Fact::Violated { flow, rule, detail }, .. } => {
                self.report(now, rule, format!("{flow:?}: {detail}"));
            }
            Event::Fact { fact, .. } => self.tallies.handle_fact(now, fact),
            Event::Spinning(entity) => {
                self.report(now, "progress", format!("{entity:?} is due again and again"));
            }
            Event::WokenLate(entity) => {
                self.report(now, "no-wake-up-in-the-past", format!("{entity:?}"));
            }
            Event::Flooding(node) => self.report(now, "outputs-come-to-an-end", format!("{node:?}")),
            Event::Unroutable(packet) => {
                self.report(now, "route", format!("from {:?} to {:?}", packet.from, packet.to));
            }
            Event::Dropped { .. } | Event::Passed { .. } | Event::Replanned { .. } => {}
        }
    }
}

/// The RTP packet in a packet, if there is one.
fn media(packet: &Packet) -> Option<(RtpView<'_>, Content)> {
    let Payload::Datagram(bytes) = &packet.payload else { return None };
    if classify(bytes) != PacketKind::Rtp {
        return None;
    }
    let view = RtpView::parse(bytes).ok()?;
    let content = match view.payload_type() {
        PayloadType(110 | 111) => Content::Sound,
        PayloadType(96 | 120) => Content::Picture,
        PayloadType(_) => Content::Repair,
    };
    Some((view, content))
}

fn is_check(packet: &Packet) -> bool {
    matches!(&packet.payload, Payload::Datagram(bytes) if classify(bytes) == PacketKind::Stun)
}

fn read(view: &RtpView<'_>, content: Content) -> Option<Stamp> {
    let payload = match content {
        Content::Sound | Content::Picture => view.payload(),
        Content::Repair => rtx::unwrap(view.payload())?.1,
    };
    payload::read(payload, content != Content::Sound).map(|content| content.stamp)
}

fn source(stamp: &Stamp) -> Source {
    (stamp.publisher, stamp.section, stamp.layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(layer: u8, serial: u32, key: bool) -> Stamp {
        let (publisher, section, frame, part, parts, captured) = (1, 0, 0, 0, 1, Instant::ZERO);
        Stamp { publisher, section, layer, key, frame, part, parts, serial, captured }
    }

    /// The rules that packets break, given by outgoing number, layer, serial number and whether they start a key frame,
    /// when the SFU has received `received` of all layers.
    fn broken(packets: &[(u64, u8, u32, bool)], received: &[u32]) -> Vec<&'static str> {
        let mut slot = SlotStream::default();
        let mut has = vec![None; RECEIVED_MAX];
        for &serial in received {
            has[serial as usize] = Some((serial, Instant::from_millis(1)));
        }
        let results = packets.iter().enumerate().map(|(place, &(seq, layer, serial, key))| {
            let now = Instant::from_millis(place as u64 * 600);
            slot.handle_packet(now, (seq, &stamp(layer, serial, key)), Content::Picture, &has)
        });
        results.filter_map(|result| result.err().map(|(rule, _)| rule)).collect()
    }

    #[test]
    fn rules_are_broken_by_what_breaks_them_and_by_nothing_else() {
        for (claim, packets, received, rules) in [
            ("in order", &[(10, 0, 5, true), (11, 0, 6, false)][..], &[5, 6][..], &[][..]),
            ("a loss before the SFU", &[(10, 0, 5, true), (12, 0, 7, false)], &[5, 7], &[]),
            ("and its repair", &[(10, 0, 5, true), (12, 0, 7, false), (11, 0, 6, false)], &[5, 7], &[]),
            ("twice", &[(10, 0, 5, true), (10, 0, 5, true)], &[5], &["nothing-twice"]),
            ("swallowed", &[(10, 0, 5, true), (12, 0, 7, false)], &[5, 6, 7], &["nothing-swallowed"]),
            ("a switch", &[(10, 0, 5, true), (11, 1, 90, true), (12, 1, 91, false)], &[], &[]),
            (
                "late from before it",
                &[(10, 0, 5, true), (12, 0, 7, false), (13, 1, 9, true), (11, 0, 6, false)],
                &[],
                &[],
            ),
            (
                "there and back, by chance with the old shift",
                &[(10, 0, 5, true), (11, 1, 90, true), (12, 0, 7, true)],
                &[5, 6, 7],
                &[],
            ),
            ("a switch with a gap", &[(10, 0, 5, true), (12, 1, 90, true)], &[], &["joins-have-no-gap"]),
            ("one in mid-stream", &[(10, 0, 5, true), (11, 1, 90, false)], &[], &["joins-at-key-frames"]),
            ("numbers that leap", &[(10, 0, 5, true), (12, 0, 6, true)], &[], &["joins-have-no-gap"]),
        ] {
            assert_eq!(broken(packets, received), rules, "{claim}");
        }
    }
}
