//! A receiver of plain media: reports arrivals, asks for what is missing, puts pictures together and shows them.
//!
//! In: [`Payload::Media`]. Out: RTCP in [`Payload::Datagram`], facts. Time: `now`, and a clock of its own with another
//! zero and pace for reports. Limit: see `reports`, `assembly`, [`crate::media::playout`] and [`fec::nack`].
//!
//! Reports speak of transport sequence numbers whichever format they have: RFC 8888 counts in streams, so it gets one
//! stream, [`PICTURES_SSRC`], that stands for the whole flow. Arrivals are noted before any buffer. Only pictures are
//! asked for again: sound is not worth a round trip. Padding and sound count for reports and for nothing else.

pub(crate) mod assembly;
pub(crate) mod reports;

use std::collections::VecDeque;
use std::time::Duration;

use cc::{Ecn, PacketClass};
use fec::nack::NackGenerator;
use proto::rtcp::{self, Rtcp};
use proto::rtp::{SeqNo, Ssrc};
use proto::seed::Seed;
use proto::time::{Instant, earliest};
use proto::units::DataSize;

use self::assembly::{Assembly, Complete};
use self::reports::{Clock, Reports};
use crate::media::playout::{Decoding, Playout, PlayoutEvent, PlayoutFrame};
use crate::node::{Fact, Node};
use crate::packet::{FlowId, IP_UDP_HEADERS, MediaPacket, NodeId, Packet, Payload};
use crate::scenario::FeedbackPlan;

/// What a receiver calls itself in RTCP.
pub const OWN_SSRC: Ssrc = Ssrc(1);

/// What a receiver calls the sender's pictures in RTCP, and the whole flow in reports.
pub const PICTURES_SSRC: Ssrc = Ssrc(2);

/// How long a picture is waited for when nothing is sent again: for reordering only. NR-BPDV of RFC 8868 stays within.
const REORDER_PATIENCE: Duration = Duration::from_millis(100);

/// How long a picture is waited for when it is sent again: as long as [`NackGenerator`] asks.
const REPAIR_PATIENCE: Duration = Duration::from_secs(1);

/// What a receiver is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverSetup {
    /// What its packets and facts are counted with: the sender's flow.
    pub flow: FlowId,
    /// Who sends, and gets reports.
    pub sender: NodeId,
    /// How it reports arrivals.
    pub plan: FeedbackPlan,
    /// Whether it asks for lost packets.
    pub repair: bool,
    /// What its pictures need in order to be shown.
    pub decoding: Decoding,
}

/// See the module's description.
#[derive(Debug)]
pub struct Receiver {
    setup: ReceiverSetup,
    reports: Reports,
    nack: Option<Nack>,
    assembly: Assembly,
    playout: Playout,
    datagrams: VecDeque<Vec<u8>>,
    facts: VecDeque<Fact>,
}

impl Receiver {
    /// A receiver; its clock comes from the seed.
    pub fn new(setup: ReceiverSetup, seed: &Seed) -> Self {
        Self {
            setup,
            reports: Reports::new(setup.plan, Clock::new(seed)),
            nack: setup.repair.then(Nack::default),
            assembly: Assembly::new(if setup.repair { REPAIR_PATIENCE } else { REORDER_PATIENCE }),
            playout: Playout::new(setup.decoding),
            datagrams: VecDeque::new(),
            facts: VecDeque::new(),
        }
    }

    fn handle_media(&mut self, now: Instant, media: &MediaPacket, ecn: Ecn) {
        self.reports.handle_arrival(now, media.transport_seq, ecn);
        let Some(part) = media.part else { return };
        let repaired = media.class == PacketClass::Repair;
        if let Some(nack) = &mut self.nack {
            nack.handle_arrival(now, media.seq, repaired);
        }
        if let Some(complete) = self.assembly.handle_part(now, &part, repaired) {
            self.complete(now, complete);
        }
    }

    fn complete(&mut self, now: Instant, complete: Complete) {
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
        let mut asks = Vec::new(); // allocates nothing unless there is something to ask for
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
        while let Some(lost) = self.nack.as_mut().and_then(|nack| nack.poll(now)) {
            asks.push(Rtcp::Nack { sender: OWN_SSRC, media: PICTURES_SSRC, lost });
        }
        if !asks.is_empty() {
            self.datagrams.push_back(rtcp::write(&asks));
        }
    }
}

impl Node for Receiver {
    fn handle_packet(&mut self, now: Instant, packet: Packet) {
        if let Payload::Media(media) = packet.payload {
            self.handle_media(now, &media, packet.ecn);
            self.drain(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.reports.handle_timeout(now, &mut self.datagrams);
        self.assembly.handle_timeout(now);
        self.playout.handle_timeout(now);
        if let Some(nack) = &mut self.nack {
            nack.generator.handle_timeout(now);
        }
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
        let nack = self.nack.as_ref().and_then(|nack| nack.generator.poll_timeout());
        let pictures = earliest(self.assembly.poll_timeout(), self.playout.poll_timeout());
        earliest(earliest(self.reports.poll_timeout(), nack), pictures)
    }
}

/// The product's NACK generator, and the round trip that it wants to know: from asking to what comes of it.
#[derive(Debug, Default)]
struct Nack {
    generator: NackGenerator,
    /// No packet from here on has been asked for.
    unasked: u64,
    /// A packet that was asked for once, and when.
    probe: Option<(u64, Instant)>,
    rtt: Option<Duration>,
}

impl Nack {
    fn handle_arrival(&mut self, now: Instant, seq: u64, repaired: bool) {
        if !repaired {
            self.generator.handle_arrival(now, seq);
            return;
        }
        self.generator.handle_recovered(now, seq);
        if let Some((_, asked)) = self.probe.take_if(|(probe, _)| *probe == seq) {
            let sample = now.since(asked);
            let rtt = self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8); // RFC 6298 §2
            self.rtt = Some(rtt);
            self.generator.set_rtt(rtt);
        }
    }

    fn poll(&mut self, now: Instant) -> Option<Vec<SeqNo>> {
        let batch = self.generator.poll_nack()?;
        // What comes of a packet that was asked for again may answer either time (Karn's rule).
        self.probe.take_if(|(seq, asked)| batch.contains(seq) || now.since(*asked) > REPAIR_PATIENCE);
        if let Some(&newest) = batch.last()
            && newest >= self.unasked
        {
            self.unasked = newest + 1;
            self.probe.get_or_insert((newest, now));
        }
        Some(batch.into_iter().map(|seq| SeqNo(seq as u16)).collect())
    }
}

#[cfg(test)]
mod tests;
