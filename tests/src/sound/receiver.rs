//! Who listens: a playout buffer of constant length, and libopus behind it.
//!
//! In: RTP packets as they arrive. Out: what was missing, and how it sounds against the same without losses. Time: arrivals,
//! without what all packets take alike. Limit: the whole play is kept.

use std::time::Duration;

use anyhow::Result;
use fec::scheme::red::{RedDecoder, Taken};
use libopus::{Decoder, Opus, has_redundancy};
use proto::rtp::RtpView;
use proto::time::Instant;

use super::Policy;
use super::play::{INTERVAL, Play};
use super::sender::{OPUS, RED, Sent};
use super::voice::FRAME;

/// How long after the earliest that a frame can be there it is played: three packets.
const BUFFER: Duration = Duration::from_millis(60);

/// From here on down sound is not missed, in −dBov.
const QUIET: u8 = 60;

/// A frame, as it was sent and as it is known.
struct Frame {
    sent: Vec<u8>,
    loudness: u8,
    there: Option<Vec<u8>>,
}

/// See the module's description.
pub(super) struct Receiver {
    /// The timestamp of the first.
    first: Option<u32>,
    red: RedDecoder,
    frames: Vec<Frame>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { first: None, red: RedDecoder::new(OPUS), frames: Vec::new() }
    }

    /// A packet leaves, to arrive or not.
    pub(super) fn note_sent(&mut self, sent: &Sent, loudness: u8) {
        let view = RtpView::parse(&sent.rtp).expect("our own packet");
        self.first.get_or_insert(view.timestamp());
        self.frames.push(Frame { sent: sent.opus.clone(), loudness, there: None });
    }

    /// A packet arrives.
    pub(super) fn handle_packet(&mut self, now: Instant, rtp: &[u8]) {
        let view = RtpView::parse(rtp).expect("our own packet");
        let (first, frames) = (self.first.expect("it was sent"), &mut self.frames);
        let mut take = |taken: Taken<'_>| {
            let place = taken.timestamp.wrapping_sub(first) / FRAME as u32;
            if now <= Instant::ZERO + INTERVAL * place + BUFFER {
                frames[place as usize].there = Some(taken.payload.to_vec());
            }
        };
        if view.payload_type() == RED {
            self.red.decode(view.seq(), view.timestamp(), view.payload(), take).expect("our own RED");
        } else {
            self.red.note(view.seq());
            take(Taken { seq: view.seq(), timestamp: view.timestamp(), payload: view.payload() });
        }
    }

    /// Decodes what there is.
    pub(super) fn hear(&self, opus: &Opus, policy: Policy, play: &mut Play) -> Result<()> {
        let (mut decoder, mut whole) = (opus.decoder()?, opus.decoder()?);
        let (mut heard, mut reference) = ([0; FRAME], [0; FRAME]);
        let mut run = 0;
        for (place, frame) in self.frames.iter().enumerate() {
            let next = self.frames.get(place + 1).and_then(|next| next.there.as_deref());
            let way = Way::of(frame.there.as_deref(), next.filter(|_| policy == Policy::InBand));
            way.decode(&mut decoder, &mut heard)?;
            whole.decode(&frame.sent, &mut reference)?;
            for (heard, reference) in heard.iter().zip(reference) {
                play.signal += f64::from(reference).powi(2);
                play.noise += (f64::from(reference) - f64::from(*heard)).powi(2);
            }
            play.missing += u64::from(way == Way::Missing);
            let is_concealed = matches!(way, Way::Missing | Way::Bare(_));
            play.concealed += u64::from(is_concealed);
            play.audible += u64::from(is_concealed && frame.loudness < QUIET);
            play.gaps += u64::from(is_concealed && run == 0);
            run = if is_concealed { run + 1 } else { 0 };
            play.longest = play.longest.max(run);
        }
        Ok(())
    }
}

/// How a frame is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way<'a> {
    /// It is there.
    There(&'a [u8]),
    /// The next packet has it, too.
    Redundant(&'a [u8]),
    /// The next packet might have had it.
    Bare(&'a [u8]),
    /// Nothing is there.
    Missing,
}

impl<'a> Way<'a> {
    fn of(own: Option<&'a [u8]>, next: Option<&'a [u8]>) -> Self {
        match (own, next) {
            (Some(own), _) => Self::There(own),
            (None, Some(next)) if has_redundancy(next) => Self::Redundant(next),
            (None, Some(next)) => Self::Bare(next),
            (None, None) => Self::Missing,
        }
    }

    fn decode(self, decoder: &mut Decoder, heard: &mut [i16]) -> Result<()> {
        match self {
            Self::There(packet) => decoder.decode(packet, heard)?,
            Self::Redundant(next) | Self::Bare(next) => decoder.decode_redundancy(next, heard)?,
            Self::Missing => decoder.conceal(heard)?,
        };
        Ok(())
    }
}
