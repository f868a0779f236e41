//! What a client receives, slot by slot: it records every packet, asks again for lost ones, and shows frames as a
//! decoder would, noting as a fault whatever a decoder could not stand.
//!
//! In: decrypted RTP and RTCP. Out: RTCP. Time: `poll_timeout`.

use std::collections::BTreeMap;
use std::time::Duration;

use fec::scheme::flexfec::FlexFecDecoder;
use fec::scheme::red::{RedDecoder, Taken};
use proto::ids::Mid;
use proto::rtcp::{ReceiverReport, ReportBlock, Rtcp};
use proto::rtp::extension::Extension;
use proto::rtp::{ExtensionId, MutableExtension, PayloadType, RtpView, SeqNo, SeqUnwrapper, Ssrc, rtx};
use proto::signal::Kind;
use proto::time::{Instant, NtpTime, earliest};
use sfu::transport::arrivals::ArrivalLog;

use super::offer::{Answered, Dialect, Sound};
use super::stamp::{PictureIds, Stamp, read};

const FRAME_INTERVAL: Duration = Duration::from_millis(40); // the sender's
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const NACK_REPEAT: Duration = Duration::from_millis(100);
const NACK_TRIES: u32 = 10; // Chromium's limit
const STILL_BEFORE_PLI: Duration = Duration::from_millis(300); // Chromium waits 200 ms where it lacks a key frame
const PLI_REPEAT: Duration = Duration::from_secs(1);

/// A packet as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// Extended.
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) stamp: Stamp,
    pub(crate) ids: Option<PictureIds>,
    /// Its dependency descriptor; empty without.
    descriptor: Vec<u8>,
    /// By a retransmission, or by redundancy.
    pub(crate) by_rtx: bool,
    /// Whether repair packets restored it.
    pub(crate) by_repair: bool,
    /// Its number in the stream that brought it.
    pub(crate) own_seq: SeqNo,
    pub(crate) payload: Vec<u8>,
    /// When it was captured by the sender reports known now, in nanoseconds of the server's clock.
    pub(crate) heard_of: Option<i64>,
}

/// A frame that was shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    pub(crate) stamp: Stamp,
}

/// A slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) kind: Kind,
    pub(crate) ssrc: Ssrc,
    pub(crate) rtx: Option<Ssrc>,
    repair: Option<(Ssrc, FlexFecDecoder)>,
    descriptor_id: ExtensionId,
    /// How many repair packets came.
    pub(crate) repairs: usize,
    pub(crate) seen: Vec<Seen>,
    pub(crate) shown: Vec<Shown>,
    /// What a decoder could not stand.
    pub(crate) faults: Vec<String>,
    /// How often a key frame was asked for.
    pub(crate) plis: usize,
    /// The lost packets asked for.
    pub(crate) nacked: Vec<u64>,
    pub(crate) reports: Vec<(Instant, NtpTime, u32)>,
    red: Option<RedDecoder>,
    unwrapper: SeqUnwrapper,
    highest: Option<u64>,
    holes: BTreeMap<u64, (Instant, u32)>,
    waiting: BTreeMap<u64, Seen>,
    next: Option<u64>,
    last: Option<Seen>,
    pli_at: Option<Instant>,
    /// When packets began to come after a time without any.
    began: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) slots: BTreeMap<Mid, Slot>,
    /// Packets of streams that no answer named.
    pub(crate) strangers: usize,
    /// Packets of sound that came as RED.
    pub(crate) reds: usize,
    /// Whether lost packets are asked for.
    pub(crate) asks: bool,
    /// Whether arrivals are told of packets that carry transport-wide numbers.
    pub(crate) tells: bool,
    /// Packets that carried one, and their bytes.
    pub(crate) numbered: usize,
    /// By the streams of retransmissions: packets of nothing but padding, and those that nobody asked for.
    pub(crate) padded: Vec<(Instant, usize)>,
    dialect: Dialect,
    transport_id: Option<ExtensionId>,
    arrivals: ArrivalLog,
    report_at: Option<Instant>,
}

impl Receiver {
    pub(crate) fn new(own: Ssrc, dialect: &Dialect) -> Self {
        let transport_id = dialect.extensions.id(Extension::TransportSequence);
        Self {
            slots: BTreeMap::new(),
            strangers: 0,
            reds: 0,
            dialect: dialect.clone(),
            asks: true,
            tells: true,
            numbered: 0,
            padded: Vec::new(),
            transport_id,
            arrivals: ArrivalLog::new(own, own),
            report_at: None,
        }
    }

    /// The slots of an answer; known ones stay as they are.
    pub(crate) fn handle_answer(&mut self, answered: &Answered, kind_of: impl Fn(&Mid) -> Kind) {
        for (mid, section) in &answered.sections {
            let Some(ssrc) = section.ssrc.filter(|_| section.direction == "sendonly") else { continue };
            let kind = kind_of(mid);
            let mutable: Vec<_> = self.transport_id.into_iter().map(MutableExtension::whole).collect();
            let repair = section.repair.map(|repair| (repair, FlexFecDecoder::new(ssrc, &mutable)));
            let id = self.dialect.extensions.id(Extension::DependencyDescriptor).expect("all are set");
            let made = || Slot { repair, ..Slot::new(kind, id, (ssrc, section.rtx)) };
            let slot = self.slots.entry(mid.clone()).or_insert_with(made);
            assert_eq!((slot.ssrc, slot.rtx), (ssrc, section.rtx), "a slot keeps its streams");
        }
    }

    pub(crate) fn handle_rtp(&mut self, now: Instant, wall_start: NtpTime, bytes: &[u8]) {
        let view = RtpView::parse(bytes).expect("the server's RTP can be read");
        let Some(slot) = self.slots.values_mut().find(|slot| slot.is_of(view.ssrc())) else {
            self.strangers += 1;
            return;
        };
        self.report_at.get_or_insert(now + Duration::from_millis(200));
        let number = self.transport_id.and_then(|id| view.extension(id));
        if let Some(number) = number.and_then(|number| number.first_chunk::<2>()) {
            self.numbered += 1;
            if self.tells {
                self.arrivals.handle_arrival(now, SeqNo(u16::from_be_bytes(*number)));
            }
        }
        if view.payload_type() == self.dialect.red {
            assert_ne!(self.dialect.sound, Sound::Opus, "nobody negotiated RED");
            self.reds += 1;
            slot.handle_red(now, &view, self.dialect.opus);
        } else if !slot.handle_packet(now, wall_start, &view, bytes) {
            self.padded.push((now, bytes.len()));
        }
    }

    pub(crate) fn handle_rtcp(&mut self, now: Instant, packet: &Rtcp) {
        let Rtcp::SenderReport(report) = packet else { return };
        let slot = self.slots.values_mut().find(|slot| slot.ssrc == report.ssrc);
        let slot = slot.expect("the server reports on streams that it named");
        slot.reports.push((now, report.ntp, report.rtp_timestamp));
    }

    /// Asks for what is due; `wanted` says of a slot whether its picture should move.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        own: Ssrc,
        wanted: impl Fn(&Mid) -> bool,
    ) -> Vec<Rtcp> {
        let mut out = Vec::new();
        self.arrivals.handle_timeout(now);
        out.extend(std::iter::from_fn(|| self.arrivals.poll_feedback()).map(Rtcp::TransportFeedback));
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_INTERVAL);
            let reports: Vec<ReportBlock> = self.slots.values().filter_map(|slot| slot.report(now)).collect();
            out.push(Rtcp::ReceiverReport(ReceiverReport { ssrc: own, reports }));
        }
        for (mid, slot) in &mut self.slots {
            if slot.kind == Kind::Audio {
                continue;
            }
            let lost = slot.due_nacks(now);
            if !lost.is_empty() && self.asks {
                out.push(Rtcp::Nack { sender: own, media: slot.ssrc, lost });
            }
            if slot.wants_key_frame(now) && wanted(mid) {
                slot.plis += 1;
                out.push(Rtcp::Pli { sender: own, media: slot.ssrc });
            }
        }
        out
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = earliest(self.report_at, self.arrivals.poll_timeout());
        self.slots.values().fold(own, |at, slot| earliest(at, slot.poll_timeout()))
    }
}

impl Slot {
    fn new(kind: Kind, descriptor_id: ExtensionId, (ssrc, rtx): (Ssrc, Option<Ssrc>)) -> Self {
        Self {
            kind,
            ssrc,
            rtx,
            repair: None,
            descriptor_id,
            repairs: 0,
            seen: Vec::new(),
            shown: Vec::new(),
            faults: Vec::new(),
            plis: 0,
            nacked: Vec::new(),
            reports: Vec::new(),
            red: None,
            unwrapper: SeqUnwrapper::default(),
            highest: None,
            holes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: None,
            last: None,
            pli_at: None,
            began: Instant::ZERO,
        }
    }

    /// The packets received at `from` or later.
    pub(crate) fn since(&self, from: Instant) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(move |seen| seen.at >= from)
    }

    /// The frames shown at `from` or later.
    pub(crate) fn shown_since(&self, from: Instant) -> impl Iterator<Item = &Shown> {
        self.shown.iter().filter(move |shown| shown.at >= from)
    }

    /// The layer of the last packet.
    pub(crate) fn layer(&self) -> Option<u8> {
        self.seen.last().map(|seen| seen.stamp.layer)
    }

    /// The longest time without a new frame between two moments.
    pub(crate) fn longest_still(&self, from: Instant, to: Instant) -> Duration {
        let inside = self.shown.iter().map(|shown| shown.at).filter(|at| (from..=to).contains(at));
        let mut last = from;
        let mut longest = Duration::ZERO;
        for at in inside.chain([to]) {
            longest = longest.max(at.since(last));
            last = at;
        }
        longest
    }

    /// Takes a RED packet apart; what is out of others has neither marker nor reports.
    fn handle_red(&mut self, now: Instant, view: &RtpView<'_>, opus: PayloadType) {
        let decoder = self.red.get_or_insert_with(|| RedDecoder::joining(opus, view.seq()));
        let mut taken = Vec::new();
        let take = |one: Taken<'_>| taken.push((one.seq, one.timestamp, one.payload.to_vec()));
        decoder
            .decode(view.seq(), view.timestamp(), view.payload(), take)
            .expect("the server's RED can be read");
        for (own_seq, timestamp, payload) in taken {
            let seq = self.unwrapper.unwrap(own_seq);
            let Some(read) = read(&payload) else {
                self.faults.push(format!("packet {seq}: RED around what nobody sent"));
                continue;
            };
            let (stamp, ids) = (read.stamp, read.ids);
            let (marker, by_rtx, heard_of) = (false, own_seq != view.seq(), None);
            self.seen.push(Seen {
                at: now,
                seq,
                timestamp,
                marker,
                stamp,
                ids,
                descriptor: Vec::new(),
                by_rtx,
                by_repair: false,
                own_seq,
                payload,
                heard_of,
            });
        }
    }

    fn is_of(&self, ssrc: Ssrc) -> bool {
        let repair = self.repair.as_ref().map(|(repair, _)| *repair);
        self.ssrc == ssrc || [self.rtx, repair].contains(&Some(ssrc))
    }

    /// Whether the packet is of use, or is at least no padding: not empty, and not one that was here.
    fn handle_packet(&mut self, now: Instant, wall_start: NtpTime, view: &RtpView<'_>, bytes: &[u8]) -> bool {
        let Some((ssrc, mut decoder)) = self.repair.take() else {
            return self.handle_rtp(now, wall_start, view, false);
        };
        let is_of_use = if view.ssrc() == ssrc {
            self.repairs += 1;
            decoder.handle_repair(view.payload()).expect("the server's repair can be read");
            true
        } else {
            if view.ssrc() == self.ssrc {
                decoder.handle_media(bytes).expect("the server's media can be read");
            }
            self.handle_rtp(now, wall_start, view, false)
        };
        while let Some(restored) = decoder.poll_restored() {
            let view = RtpView::parse(restored).expect("what was restored can be read");
            self.handle_rtp(now, wall_start, &view, true);
        }
        self.repair = Some((ssrc, decoder));
        is_of_use
    }

    fn handle_rtp(&mut self, now: Instant, wall_start: NtpTime, view: &RtpView<'_>, by_repair: bool) -> bool {
        let by_rtx = self.rtx == Some(view.ssrc());
        let (seq, payload) = if by_rtx {
            let Some(repaired) = rtx::unwrap(view.payload()) else { return false };
            repaired
        } else {
            (view.seq(), view.payload())
        };
        if let Some(red) = self.red.as_mut().filter(|_| !by_rtx) {
            red.note(seq);
        }
        let seq = if by_rtx { self.unwrapper.peek(seq) } else { self.unwrapper.unwrap(seq) };
        let Some(read) = read(payload) else {
            self.faults.push(format!("packet {seq}: a payload that nobody sent"));
            return true;
        };
        let is_padding = by_rtx && self.seen.iter().rev().take(2_000).any(|seen| seen.seq == seq);
        let rate = if self.kind == Kind::Video { 90_000_i64 } else { 48_000 };
        let heard_of = self.reports.last().map(|(_, ntp, rtp)| {
            let ticks = i64::from(view.timestamp().wrapping_sub(*rtp) as i32);
            ntp.nanos_since(wall_start) + ticks * 1_000_000_000 / rate
        });
        let seen = Seen {
            at: now,
            seq,
            timestamp: view.timestamp(),
            marker: view.marker(),
            stamp: read.stamp,
            ids: read.ids,
            descriptor: view.extension(self.descriptor_id).unwrap_or_default().to_vec(),
            by_rtx,
            by_repair,
            own_seq: view.seq(),
            payload: payload.to_vec(),
            heard_of,
        };
        self.note_holes(now, seq);
        if self.seen.last().is_none_or(|last| now.since(last.at) >= STILL_BEFORE_PLI) {
            self.began = now;
        }
        self.seen.push(seen.clone());
        if self.next.is_none_or(|next| seq >= next) {
            self.waiting.insert(seq, seen);
        }
        self.play(now);
        !is_padding
    }

    fn note_holes(&mut self, now: Instant, seq: u64) {
        self.holes.remove(&seq);
        if let Some(highest) = self.highest {
            for missing in highest + 1..seq {
                self.holes.insert(missing, (now, 0));
            }
        }
        self.highest = self.highest.max(Some(seq));
    }

    fn due_nacks(&mut self, now: Instant) -> Vec<SeqNo> {
        let mut lost = Vec::new();
        for (seq, (at, tries)) in &mut self.holes {
            if *at <= now {
                (*at, *tries) = (now + NACK_REPEAT, *tries + 1);
                self.nacked.push(*seq);
                lost.push(SeqNo(*seq as u16));
            }
        }
        self.holes.retain(|_, (_, tries)| *tries < NACK_TRIES);
        lost.truncate(60);
        lost
    }

    /// Takes what is in order; across a hole only to a key frame.
    fn play(&mut self, now: Instant) {
        loop {
            let next = self.next.filter(|next| self.waiting.contains_key(next)).or_else(|| {
                let starts_key =
                    |seen: &Seen| self.kind == Kind::Audio || seen.stamp.key && seen.stamp.part == 0;
                self.waiting.iter().find(|(_, seen)| starts_key(seen)).map(|(seq, _)| *seq)
            });
            let Some(seq) = next else { return };
            let jumped = self.next != Some(seq);
            self.waiting = self.waiting.split_off(&seq);
            self.holes = self.holes.split_off(&seq);
            let seen = self.waiting.remove(&seq).expect("it was found there");
            self.next = Some(seq + 1);
            if let Some(last) = self.last.take().filter(|_| !jumped || self.kind == Kind::Video) {
                self.check(&last, &seen, jumped);
            }
            if seen.stamp.part + 1 == seen.stamp.parts {
                self.shown.push(Shown { at: now, stamp: seen.stamp });
                self.pli_at = None;
            }
            self.last = Some(seen);
        }
    }

    /// What a decoder demands of two packets, one after the other.
    fn check(&mut self, last: &Seen, seen: &Seen, jumped: bool) {
        let stream = |stamp: &Stamp| (stamp.publisher, stamp.section, stamp.layer);
        let same_stream = stream(&last.stamp) == stream(&seen.stamp);
        // A track that was published anew counts its frames anew.
        let passed = seen.stamp.captured.since(last.stamp.captured);
        let same_frame = same_stream && last.stamp.frame == seen.stamp.frame && passed.is_zero();
        let ticks = seen.timestamp.wrapping_sub(last.timestamp) as i32;
        let mut fault = |what: String| {
            self.faults.push(format!("at {:?}, {:?} after {:?}: {what}", seen.at, seen.stamp, last.stamp));
        };
        if same_frame && ticks != 0 || !same_frame && ticks <= 0 {
            fault(format!("{ticks} ticks"));
        }
        if jumped {
            return;
        }
        if seen.marker != (self.kind == Kind::Video && seen.stamp.part + 1 == seen.stamp.parts) {
            fault("the marker is wrong".to_owned());
        }
        if self.kind == Kind::Audio {
            return;
        }
        let starts_key = seen.stamp.key && seen.stamp.part == 0;
        let continues = if same_frame {
            seen.stamp.part == last.stamp.part + 1
        } else {
            let next = seen.stamp.frame == last.stamp.frame + 1 && passed < FRAME_INTERVAL * 2;
            seen.stamp.part == 0 && same_stream && next
        };
        if !continues && !starts_key {
            fault("neither the next packet nor a key frame".to_owned());
        }
        if !seen.descriptor.is_empty() {
            fault("VP8 tells of its layers itself, and a descriptor might be waited for".to_owned());
        }
        if let (Some(one), Some(two)) = (last.ids, seen.ids) {
            let picture = two.picture.wrapping_sub(one.picture) & 0x7fff;
            let tl0 = two.tl0.wrapping_sub(one.tl0);
            if (picture, tl0) != (u16::from(!same_frame), u8::from(!same_frame)) {
                fault(format!("picture id {picture} on, TL0PICIDX {tl0} on"));
            }
        }
    }

    fn wants_key_frame(&mut self, now: Instant) -> bool {
        let Some(arrived) = self.seen.last().map(|seen| seen.at) else { return false };
        // Packets without a picture: a time without packets is the network's or the server's will.
        let moved = self.shown.last().map_or(self.began, |shown| shown.at.max(self.began));
        let still = arrived.since(moved) >= STILL_BEFORE_PLI && now.since(arrived) < STILL_BEFORE_PLI;
        let due = self.pli_at.is_none_or(|at| at <= now);
        if still && due {
            self.pli_at = Some(now + PLI_REPEAT);
        }
        still && due
    }

    fn report(&self, now: Instant) -> Option<ReportBlock> {
        let highest = self.highest?;
        let (last_sr, delay_since_last_sr) = self.reports.last().map_or((0, 0), |(at, ntp, _)| {
            (ntp.compact(), (now.since(*at).as_nanos() * 65_536 / 1_000_000_000) as u32)
        });
        let highest_seq = (highest - 65_536) as u32;
        let (fraction_lost, lost, jitter) = (0, self.holes.len() as i32, 0);
        let ssrc = self.ssrc;
        Some(ReportBlock { ssrc, fraction_lost, lost, highest_seq, jitter, last_sr, delay_since_last_sr })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.holes.values().fold(None, |at, (due, _)| earliest(at, Some(*due)))
    }
}
