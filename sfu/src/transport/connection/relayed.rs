//! A [`ConnectionPipeline`] whose client is connected elsewhere: its streams are fed by packets that come in the clear.
//!
//! In: what the streams are, packets of those that flow. Out: which media sections are concerned, wishes for key frames. Time:
//! `now`, the receiver's. Limit: as many streams as the client's own pipeline has.

use core::time::Duration;

use proto::codec::Codec;
use proto::time::Instant;
use proto::units::Bitrate;

use super::{ConnectionPipeline, ReceiveSection};
use crate::transport::clock::RtpClock;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rtp_recv::{RtpRecvPipeline, StreamOrigin};

/// What a stream is like where its publisher is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its name.
    pub id: StreamId,
    /// Where it comes from.
    pub origin: StreamOrigin,
    /// What it is coded with.
    pub codec: Codec,
    /// Its clock, as well as it is known.
    pub clock: RtpClock,
    /// Width and height of its pictures.
    pub size: Option<(u32, u32)>,
    /// Whether packets have come of late.
    pub is_alive: bool,
    /// The usual time between two of its pictures.
    pub picture_interval: Duration,
    /// What a copy takes with all headers.
    pub rate: Option<Bitrate>,
}

impl ConnectionPipeline {
    /// The media sections in which the client sends, by their place in the offer.
    pub fn sections(&self) -> &[Option<ReceiveSection>] {
        &self.sections
    }

    /// What a stream is like, to be told elsewhere; `None` if it is not there or its codec is not known.
    pub fn state(&self, now: Instant, id: StreamId) -> Option<StreamState> {
        let stream = self.streams.get(&id)?;
        Some(StreamState {
            id,
            origin: stream.origin().clone(),
            codec: stream.codec()?,
            clock: stream.clock(),
            size: stream.size(),
            is_alive: stream.is_alive(now),
            picture_interval: stream.picture_interval(),
            rate: stream.rate(now),
        })
    }

    /// Makes the streams what they are where the client is connected, in full; the media sections that have new ones.
    pub fn mirror_streams(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        states: Vec<StreamState>,
    ) -> Vec<usize> {
        self.streams.retain(|id, _| states.iter().any(|state| state.id == *id));
        let mut changed = Vec::new();
        for state in states {
            let section = state.origin.section;
            if !self.streams.contains_key(&state.id) {
                let offered = self.sections.get(section).and_then(Option::as_ref);
                let codec = offered
                    .and_then(|offered| offered.codecs.iter().find(|codec| codec.codec == Some(state.codec)));
                let Some(codec) = codec else { continue };
                self.streams.insert(state.id, RtpRecvPipeline::relayed(now, &state, codec));
                changed.push(section);
            }
            if let Some(stream) = self.streams.get_mut(&state.id) {
                stream.set_state(&state, round_trip);
            }
        }
        changed.dedup();
        changed
    }

    /// A stream begins to flow, with packets of which the first came at `began`; its media section.
    pub fn begin_relayed(
        &mut self,
        now: Instant,
        id: StreamId,
        (began, packets): (Instant, Vec<SourcePacket>),
    ) -> Option<usize> {
        let stream = self.streams.get_mut(&id)?;
        stream.begin_relayed(now, began, packets);
        Some(stream.origin().section)
    }

    /// A packet of a stream that flows; its media section, `None` if it goes no further.
    pub fn handle_relayed(&mut self, now: Instant, id: StreamId, packet: &SourcePacket) -> Option<usize> {
        let stream = self.streams.get_mut(&id)?;
        stream.handle_relayed(now, packet).then_some(stream.origin().section)
    }

    /// A stream flows no more: what is here of it is of no use.
    pub fn end_relayed(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.end_relayed();
        }
    }

    /// A stream of which a key frame is to be asked for now.
    pub fn poll_wish(&mut self) -> Option<StreamId> {
        self.streams.values_mut().find_map(|stream| stream.poll_key_frame_request().then(|| stream.id()))
    }
}
