//! A [`RtpRecvPipeline`] whose packets come from another worker, recovered and in the clear.
//!
//! In: packets, what its home says of it. Out: whether a packet goes on. Its history and its newest key frame are here; whether
//! it is sent, how fast, and how often its pictures come are told, for it may not flow here.

use core::time::Duration;

use proto::sdp::SectionCodec;
use proto::time::Instant;
use proto::units::Bitrate;

use super::gop::NewestKeyFrame;
use super::{RtpRecvPipeline, Way};
use crate::transport::connection::relayed::StreamState;
use crate::transport::packet::SourcePacket;

/// What is told of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Relayed {
    pub(super) is_alive: bool,
    pub(super) rate: Option<Bitrate>,
    /// Whether packets come here.
    flows: bool,
    /// Whether packets may be asked for again: then they are kept.
    keeps: bool,
}

impl RtpRecvPipeline {
    /// A stream of which nothing has come here yet.
    pub fn relayed(now: Instant, state: &StreamState, codec: &SectionCodec) -> Self {
        let (clock, origin) = (state.clock, state.origin.clone());
        let relayed = Relayed { keeps: codec.nack, ..Relayed::default() };
        let own = Self::new(now, clock.at, state.id, origin, codec, clock.rtp);
        Self { nack: None, relayed: Some(Box::new(relayed)), ..own }
    }

    /// Its home says what it is like, and how far its publisher is.
    pub fn set_state(&mut self, state: &StreamState, round_trip: Option<Duration>) {
        let Some(relayed) = &mut self.relayed else { return };
        (relayed.is_alive, relayed.rate) = (state.is_alive, state.rate);
        self.picture_interval = state.picture_interval;
        self.size = state.size.or(self.size);
        self.clock = state.clock;
        if let Some(round_trip) = round_trip {
            self.set_rtt(round_trip);
        }
    }

    /// It begins to flow, with its newest key frame and what came since, if that could be had: `began` is when.
    pub fn begin_relayed(&mut self, now: Instant, began: Instant, packets: Vec<SourcePacket>) {
        self.end_relayed();
        let Some(relayed) = &mut self.relayed else { return };
        relayed.flows = true;
        for packet in packets {
            if packet.is_key_frame() {
                self.newest_key_frame.handle_start(began, &packet);
            }
            self.cache.insert(now, packet.seq, packet);
        }
    }

    /// A packet; whether it is news.
    pub fn handle_relayed(&mut self, now: Instant, packet: &SourcePacket) -> bool {
        let Some(relayed) = self.relayed.as_ref().filter(|relayed| relayed.flows) else { return false };
        if relayed.keeps {
            if self.cache.get(packet.seq).is_some() {
                return false;
            }
            self.cache.insert(now, packet.seq, packet.clone());
        }
        self.last_arrival = now;
        self.clock = packet.clock;
        self.count(packet, Way::Itself);
        if packet.is_key_frame() {
            if let Some(key_frames) = &mut self.key_frames {
                key_frames.handle_key_frame(now);
            }
            self.newest_key_frame.handle_start(now, packet);
            self.size = proto::codec::picture_size(packet.codec, packet.payload()).or(self.size);
        }
        true
    }

    /// It flows no more: nobody may begin with what is here.
    pub fn end_relayed(&mut self) {
        if let Some(relayed) = &mut self.relayed {
            relayed.flows = false;
        }
        self.cache.clear();
        self.newest_key_frame = NewestKeyFrame::default();
    }
}
