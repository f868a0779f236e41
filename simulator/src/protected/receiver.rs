//! A browser that receives pictures with repair packets: it reports arrivals, restores, asks, and shows.
//!
//! In: [`Payload::Media`]. Out: RTCP in [`Payload::Datagram`], facts. Time: `now`. Limit: that of its parts.
//!
//! Reports, assembly and playout are those of [`crate::node::receiver`]; `requests` and `decoder` are a browser's.

use std::collections::VecDeque;
use std::time::Duration;

use cc::{Ecn, PacketClass};
use proto::rtcp::{self, Rtcp};
use proto::rtp::SeqNo;
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::DataSize;

use super::decoder::Decoder;
use super::requests::Requests;
use crate::media::playout::{Decoding, Playout, PlayoutEvent, PlayoutFrame};
use crate::node::receiver::assembly::{Assembly, Complete};
use crate::node::receiver::reports::{Clock, Reports};
use crate::node::receiver::{OWN_SSRC, PICTURES_SSRC};
use crate::node::{Fact, Node};
use crate::packet::{FlowId, FramePart, IP_UDP_HEADERS, MediaPacket, NodeId, Packet, Payload};
use crate::scenario::FeedbackPlan;

/// How long a picture is waited for once a later one has begun to come: then a key picture is asked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a receiver is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    /// What its packets and facts are counted with: the sender's flow.
    pub(super) flow: FlowId,
    /// Who sends, and gets reports.
    pub(super) sender: NodeId,
    /// How it reports arrivals.
    pub(super) plan: FeedbackPlan,
    /// The round trip as RTCP tells it.
    pub(super) rtt: Duration,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Receiver {
    setup: Setup,
    reports: Reports,
    requests: Requests,
    decoder: Decoder,
    assembly: Assembly,
    playout: Playout,
    datagrams: VecDeque<Vec<u8>>,
    facts: VecDeque<Fact>,
}

impl Receiver {
    /// A receiver; its clock comes from the seed.
    pub(super) fn new(setup: Setup, seed: &Seed) -> Self {
        Self {
            setup,
            reports: Reports::new(setup.plan, Clock::new(seed)),
            requests: Requests::new(setup.rtt),
            decoder: Decoder::default(),
            assembly: Assembly::new(PATIENCE),
            playout: Playout::new(Decoding::Chained),
            datagrams: VecDeque::new(),
            facts: VecDeque::new(),
        }
    }

    fn handle_media(&mut self, now: Instant, media: &MediaPacket, ecn: Ecn) {
        self.reports.handle_arrival(now, media.transport_seq, ecn);
        if let Some(parity) = &media.parity {
            self.decoder.handle_parity(parity);
        }
        if let Some(part) = media.part {
            let repaired = media.class == PacketClass::Repair;
            if repaired {
                self.requests.handle_recovered(media.seq);
            } else {
                self.requests.handle_packet(now, media.seq);
            }
            self.decoder.handle_packet(media.seq);
            self.handle_part(now, part, repaired);
        }
        while let Some((seq, part)) = self.decoder.poll_restored() {
            self.requests.handle_recovered(seq);
            self.handle_part(now, part, true);
        }
    }

    fn handle_part(&mut self, now: Instant, part: FramePart, repaired: bool) {
        let Some(complete) = self.assembly.handle_part(now, &part, repaired) else { return };
        let Complete { frame, key, captured, repaired } = complete;
        let delay = now.since(captured);
        self.facts.push_back(Fact::FrameComplete { flow: self.setup.flow, frame, delay, repaired });
        self.playout.handle_frame(now, PlayoutFrame { number: frame, key, captured });
    }

    /// Hands on what the parts have to say.
    fn drain(&mut self, now: Instant) {
        let flow = self.setup.flow;
        while let Some(frame) = self.assembly.poll_lost() {
            self.facts.push_back(Fact::FrameLost { flow, frame });
            self.playout.handle_lost(now, frame);
        }
        let mut asks = Vec::new();
        while let Some(event) = self.playout.poll_event() {
            match event {
                PlayoutEvent::Shown(frame) => {
                    let delay = now.since(frame.captured);
                    self.facts.push_back(Fact::FrameShown { flow, frame: frame.number, delay });
                }
                PlayoutEvent::Froze(length) => self.facts.push_back(Fact::Froze { flow, length }),
                PlayoutEvent::KeyFrameWanted => {
                    asks.push(Rtcp::Pli { sender: OWN_SSRC, media: PICTURES_SSRC });
                }
            }
        }
        if let Some(lost) = self.requests.poll_request(now) {
            let lost = lost.into_iter().map(|seq| SeqNo(seq as u16)).collect();
            asks.push(Rtcp::Nack { sender: OWN_SSRC, media: PICTURES_SSRC, lost });
        }
        if !asks.is_empty() {
            self.datagrams.push_back(rtcp::write(&asks));
        }
    }
}

impl Node for Receiver {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        if let Payload::Media(media) = &packet.payload {
            self.handle_media(now, media, packet.ecn);
            self.drain(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.reports.handle_timeout(now, &mut self.datagrams);
        self.assembly.handle_timeout(now);
        self.playout.handle_timeout(now);
        self.drain(now);
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        let bytes = self.datagrams.pop_front()?;
        Some(Packet {
            number: 0, // the world's to give, as is who sent it
            flow: self.setup.flow,
            from: NodeId(0),
            to: self.setup.sender,
            size: DataSize::bytes(bytes.len() as u64 + IP_UDP_HEADERS),
            ecn: Ecn::NotCapable,
            sent: now,
            payload: Payload::Datagram(bytes),
        })
    }

    fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let pictures = earliest(self.assembly.poll_timeout(), self.playout.poll_timeout());
        earliest(earliest(self.reports.poll_timeout(), self.requests.poll_timeout()), pictures)
    }
}
