//! One slot of a subscriber: from packets to pictures that are shown, or to sound.
//!
//! In: RTP of the slot's stream and of its retransmissions. Out: NACKs and key-frame requests, reports, facts. Time:
//! `poll_timeout`. What breaks a rule of [`super::order`] is told as [`Fact::Violated`].

use std::collections::VecDeque;
use std::time::Duration;

use fec::nack::NackGenerator;
use proto::ids::Mid;
use proto::rtcp::{ReportBlock, SenderReport};
use proto::rtp::{RtpView, SeqNo, SeqUnwrapper, Ssrc, rtx};
use proto::signal::Kind;
use proto::time::{Instant, earliest};
use sfu::transport::reception::Reception;

use super::assembly::{Assembly, Complete};
use super::order::{Breach, PictureOrder, SoundOrder};
use super::payload::{self, Content, Picture, Stamp};
use crate::media::playout::{Decoding, Playout, PlayoutEvent, PlayoutFrame};
use crate::node::Fact;
use crate::packet::{FlowId, FramePart};

/// How long before and after a slot is given to another track packets may come that do not fit what was told: media and
/// messages take different ways.
const HANDOVER: Duration = Duration::from_secs(2);

/// See the module's description.
pub(super) struct Slot {
    pub(super) mid: Mid,
    flow: FlowId,
    ssrc: Ssrc,
    rtx: Option<Ssrc>,
    seqs: SeqUnwrapper,
    reception: Reception,
    /// Whose track it carries by what the client was told.
    bound: Option<u16>,
    /// Since when it brings somebody else's.
    strange_since: Option<Instant>,
    media: Media,
    facts: VecDeque<Fact>,
}

/// What a slot is for.
enum Media {
    Sound(SoundOrder),
    Pictures(Box<Pictures>),
}

/// A slot for pictures.
struct Pictures {
    flow: FlowId,
    nack: NackGenerator,
    ids: PictureIds,
    order: PictureOrder,
    assembly: Assembly,
    playout: Playout,
    /// Whether the client shows it.
    shown: bool,
    /// The last key frame's publisher and height.
    height: Option<(u16, u32)>,
    wants_key_frame: bool,
    facts: VecDeque<Fact>,
}

impl Slot {
    /// A slot whose pictures are told of as `flow`.
    pub(super) fn new(mid: Mid, kind: Kind, (ssrc, rtx): (Ssrc, Option<Ssrc>), flow: FlowId) -> Self {
        let media = match kind {
            Kind::Audio => Media::Sound(SoundOrder::default()),
            Kind::Video => Media::Pictures(Box::new(Pictures {
                flow,
                nack: NackGenerator::new(),
                ids: PictureIds::default(),
                order: PictureOrder::default(),
                assembly: Assembly::default(),
                playout: Playout::new(Decoding::Chained),
                shown: false,
                height: None,
                wants_key_frame: false,
                facts: VecDeque::new(),
            })),
        };
        let (seqs, reception) = (SeqUnwrapper::default(), Reception::new(ssrc));
        let (bound, strange_since, facts) = (None, None, VecDeque::new());
        Self { mid, flow, ssrc, rtx, seqs, reception, bound, strange_since, media, facts }
    }

    /// What the slot carries from now on, and whether the client shows it.
    pub(super) fn bind(&mut self, publisher: Option<u16>, shown: bool) {
        if self.bound != publisher {
            self.bound = publisher;
            self.strange_since = None;
        }
        if let Media::Pictures(pictures) = &mut self.media
            && pictures.shown != shown
        {
            pictures.show(shown);
        }
    }

    /// A packet of the slot's stream, or of its retransmissions.
    pub(super) fn handle_rtp(&mut self, now: Instant, view: &RtpView<'_>) {
        let by_rtx = self.rtx == Some(view.ssrc());
        let (seq, payload) = if by_rtx {
            let Some((seq, payload)) = rtx::unwrap(view.payload()) else { return };
            (self.seqs.peek(seq), payload)
        } else {
            let rate = if matches!(self.media, Media::Sound(_)) { 48_000 } else { 90_000 };
            self.reception.handle_packet(now, view.seq(), view.timestamp(), rate);
            (self.seqs.unwrap(view.seq()), view.payload())
        };
        if payload.is_empty() {
            return;
        }
        let is_video = matches!(self.media, Media::Pictures(_));
        let Some(content) = payload::read(payload, is_video) else {
            return self.tell(("contents-are-whole", format!("packet {seq} of slot {}", self.mid)));
        };
        if !by_rtx {
            self.check_publisher(now, &content.stamp);
        }
        let result = match (&mut self.media, content) {
            (Media::Sound(order), Content { stamp, .. }) => order.check(seq, view.timestamp(), &stamp),
            (Media::Pictures(pictures), Content { stamp, picture: Some(picture) }) => {
                let arrival = Arrival { seq, timestamp: view.timestamp(), stamp, picture, by_rtx };
                pictures.handle_arrival(now, &arrival)
            }
            (Media::Pictures(_), Content { picture: None, .. }) => Ok(()),
        };
        if let Err(breach) = result {
            self.tell(breach);
        }
    }

    /// The server's sender report on the slot's stream.
    pub(super) fn handle_sender_report(&mut self, now: Instant, report: &SenderReport) {
        self.reception.handle_sender_report(now, report.ntp, report.rtp_timestamp);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Media::Pictures(pictures) = &mut self.media {
            pictures.handle_timeout(now);
        }
    }

    /// The round trip to the server.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        if let Media::Pictures(pictures) = &mut self.media {
            pictures.nack.set_rtt(rtt);
        }
    }

    /// The lost packets to ask for now.
    pub(super) fn poll_nack(&mut self) -> Option<Vec<SeqNo>> {
        let Media::Pictures(pictures) = &mut self.media else { return None };
        let lost = pictures.nack.poll_nack()?;
        Some(lost.into_iter().map(|seq| SeqNo(seq as u16)).collect())
    }

    /// Whether to ask for a key frame now.
    pub(super) fn poll_key_frame_request(&mut self) -> bool {
        let Media::Pictures(pictures) = &mut self.media else { return false };
        std::mem::take(&mut pictures.wants_key_frame) && pictures.shown
    }

    /// How the stream is received.
    pub(super) fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        self.reception.report(now)
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        if let Media::Pictures(pictures) = &mut self.media
            && let Some(fact) = pictures.facts.pop_front()
        {
            return Some(fact);
        }
        self.facts.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let Media::Pictures(pictures) = &self.media else { return None };
        let assembly = earliest(pictures.assembly.poll_timeout(), pictures.playout.poll_timeout());
        earliest(pictures.nack.poll_timeout(), assembly)
    }

    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    fn check_publisher(&mut self, now: Instant, stamp: &Stamp) {
        if self.bound == Some(stamp.publisher) {
            self.strange_since = None;
        } else if now.since(*self.strange_since.get_or_insert(now)) > HANDOVER {
            let (mid, bound) = (&self.mid, self.bound);
            let detail = format!("slot {mid} carries {bound:?} and brings {}", stamp.publisher);
            self.tell(("slots-carry-what-they-name", detail));
        }
    }

    fn tell(&mut self, (rule, detail): Breach) {
        self.facts.push_back(Fact::Violated { flow: self.flow, rule, detail });
    }
}

/// A packet of a picture.
struct Arrival {
    seq: u64,
    timestamp: u32,
    stamp: Stamp,
    picture: Picture,
    by_rtx: bool,
}

impl Pictures {
    fn handle_arrival(&mut self, now: Instant, arrival: &Arrival) -> Result<(), Breach> {
        let Arrival { seq, stamp, .. } = arrival;
        if !arrival.by_rtx {
            self.nack.handle_arrival(now, *seq);
        } else if !self.nack.handle_recovered(now, *seq) {
            return Ok(()); // it came twice, or after it had been given up
        }
        let frame = self.ids.unwrap(arrival.picture.ids.picture);
        let (_, height) = arrival.picture.size;
        if height > 0 {
            let (publisher, to) = (stamp.publisher, u32::from(height));
            let before = self.height.replace((publisher, to));
            if let Some((_, from)) = before.filter(|(who, from)| *who == publisher && *from != to) {
                self.facts.push_back(Fact::LayerSwitched { flow: self.flow, from, to });
            }
        }
        let (index, parts, key, captured) = (stamp.part, stamp.parts, stamp.key, stamp.captured);
        let part = FramePart { frame, index, parts, key, captured };
        if let Some(Complete { part, repaired }) = self.assembly.handle_part(now, part, arrival.by_rtx) {
            let (flow, delay) = (self.flow, now.since(captured));
            self.facts.push_back(Fact::FrameComplete { flow, frame, delay, repaired });
            let frame = PlayoutFrame { number: part.frame, key, captured };
            self.playout.handle_frame(now, frame);
        }
        self.settle(now);
        self.order.check(frame, *seq, arrival.timestamp, stamp)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.nack.handle_timeout(now);
        self.assembly.handle_timeout(now);
        self.playout.handle_timeout(now);
        self.settle(now);
    }

    /// Shows the slot from now on, or shows it no more: then what was shown is nobody's concern any more.
    fn show(&mut self, shown: bool) {
        self.shown = shown;
        if !shown {
            self.assembly = Assembly::default();
            self.playout = Playout::new(Decoding::Chained);
            self.height = None;
        }
    }

    fn settle(&mut self, now: Instant) {
        let flow = self.flow;
        while let Some(frame) = self.assembly.poll_lost() {
            self.facts.push_back(Fact::FrameLost { flow, frame });
            self.playout.handle_lost(now, frame);
        }
        while let Some(event) = self.playout.poll_event() {
            match event {
                PlayoutEvent::Shown(PlayoutFrame { number: frame, captured, .. }) => {
                    self.facts.push_back(Fact::FrameShown { flow, frame, delay: now.since(captured) });
                }
                PlayoutEvent::Froze(length) => self.facts.push_back(Fact::Froze { flow, length }),
                PlayoutEvent::KeyFrameWanted => self.wants_key_frame = true,
            }
        }
    }
}

/// Picture ids of 15 bits without wrapping.
#[derive(Debug, Default)]
struct PictureIds {
    highest: Option<u64>,
}

impl PictureIds {
    fn unwrap(&mut self, id: u16) -> u64 {
        const CYCLE: u64 = 1 << 15;
        let id = u64::from(id);
        let extended = self.highest.map_or(CYCLE + id, |highest| {
            let ahead = (id + CYCLE - highest % CYCLE) % CYCLE;
            if ahead < CYCLE / 2 { highest + ahead } else { (highest + ahead).saturating_sub(CYCLE) }
        });
        self.highest = self.highest.max(Some(extended));
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_ids_go_on_across_the_wrap_and_back() {
        let mut ids = PictureIds::default();
        let first = ids.unwrap(0x7ffe);
        for (id, step) in [(0x7fff, 1), (1, 3), (0, 2), (2, 4), (0x7ffd, -1)] {
            assert_eq!(ids.unwrap(id) as i64 - first as i64, step, "{id:#x}");
        }
    }
}
