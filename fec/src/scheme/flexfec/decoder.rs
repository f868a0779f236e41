//! Restores a publisher's lost packets from its `FlexFEC`-03 stream.
//!
//! In: media and repair packets in the clear. Out: `poll_restored`. Time: none. Limit: `MEDIA_MAX` media packets and
//! `REPAIRS_MAX` repair packets of at most 1500 bytes are kept, as in libwebrtc; the oldest make room.
//!
//! A repair packet restores the one packet of its mask that is missing, when only one is; the packet restored may be the
//! one that another repair packet waits for. Make the decoder when the first repair packet comes: until then it has no use.

use std::collections::VecDeque;

use proto::rtp::flexfec::{FlexFecError, FlexFecHeader, FlexFecView, HeaderXor, PLACES};
use proto::rtp::{MutableExtension, RtpError, RtpView, SeqNo, SeqUnwrapper, Ssrc, zero_mutable};

use super::{FIXED_LEN, PACKET_MAX, xor};

const MEDIA_MAX: usize = 192; // four blocks of 48 packets (libwebrtc, kMaxTrackedMediaPackets)
const REPAIRS_MAX: usize = 48; // libwebrtc, kMaxFecPackets

/// Why a packet is of no use to the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A repair packet's header is not one.
    #[error(transparent)]
    Header(#[from] FlexFecError),
    /// A media packet is not one.
    #[error(transparent)]
    Packet(#[from] RtpError),
    /// It belongs to, or protects, another stream.
    #[error("{0:?} is not the protected stream")]
    Stream(Ssrc),
    /// It is longer than any packet that may be protected.
    #[error("{0} bytes")]
    TooLong(usize),
    /// It protects packets more than 109 numbers ahead of the newest one, or no media has come yet.
    #[error("it protects what follows {0:?}, which is far ahead")]
    TooFar(SeqNo),
    /// It is, or protects, a packet too old to be kept.
    #[error("{0:?} is too old")]
    TooOld(SeqNo),
}

/// What a [`FlexFecDecoder`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecoderStats {
    /// Repair packets that came.
    pub repairs: u64,
    /// Packets restored.
    pub restored: u64,
    /// Repair packets that came when nothing was missing, or waited until nothing was.
    pub unneeded: u64,
    /// Repair packets given up because too much of what they protect was missing for too long.
    pub expired: u64,
    /// Packets refused as they came, for one of the reasons of [`Refusal`].
    pub refused: u64,
    /// Repair packets whose sum is of no packet: the length or header left over is impossible.
    pub inconsistent: u64,
}

/// The receiver's side of one media stream's `FlexFEC`.
#[derive(Debug)]
pub struct FlexFecDecoder {
    protected: Ssrc,
    mutable: Vec<MutableExtension>,
    unwrapper: SeqUnwrapper,
    newest: Option<u64>,
    media: Vec<Media>, // by extended number modulo `MEDIA_MAX`
    repairs: VecDeque<Repair>,
    restored: VecDeque<u64>,
    stats: DecoderStats,
}

/// A packet with its mutable extensions zeroed; number 0 is none, extended numbers begin at 2^16.
#[derive(Debug, Clone, Default)]
struct Media {
    seq: u64,
    bytes: Vec<u8>,
}

/// A repair packet that waits for all but one of the packets that it protects.
#[derive(Debug)]
struct Repair {
    base: u64,
    header: FlexFecHeader,
    missing: u128, // places of the mask
    body: Vec<u8>,
}

impl FlexFecDecoder {
    /// A decoder for the media stream `protected`, whose packets bear these extensions that change on the way.
    pub fn new(protected: Ssrc, mutable: &[MutableExtension]) -> Self {
        Self {
            protected,
            mutable: mutable.to_vec(),
            unwrapper: SeqUnwrapper::default(),
            newest: None,
            media: vec![Media::default(); MEDIA_MAX],
            repairs: VecDeque::new(),
            restored: VecDeque::new(),
            stats: DecoderStats::default(),
        }
    }

    /// A media packet came, as itself or from a retransmission, whole and in the clear.
    pub fn handle_media(&mut self, packet: &[u8]) -> Result<(), Refusal> {
        self.admit_media(packet).inspect_err(|_| self.stats.refused += 1)
    }

    /// A repair packet with this RTP payload came.
    pub fn handle_repair(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        self.stats.repairs += 1;
        self.admit_repair(payload).inspect_err(|_| self.stats.refused += 1)
    }

    /// The next packet restored, with zeros for the extensions that change on the way; poll until `None`.
    pub fn poll_restored(&mut self) -> Option<&[u8]> {
        let seq = loop {
            let seq = self.restored.pop_front()?;
            if self.has(seq) {
                break seq;
            }
        };
        Some(&self.media[slot(seq)].bytes)
    }

    /// Forgets all packets, as when the source restarts; the counters stay.
    pub fn reset(&mut self) {
        self.unwrapper = SeqUnwrapper::default();
        self.newest = None;
        self.media.iter_mut().for_each(|media| media.seq = 0);
        self.repairs.clear();
        self.restored.clear();
    }

    /// How many repair packets wait for more of what they protect.
    pub fn waiting(&self) -> usize {
        self.repairs.len()
    }

    /// What happened since the decoder was made.
    pub const fn stats(&self) -> DecoderStats {
        self.stats
    }

    fn admit_media(&mut self, packet: &[u8]) -> Result<(), Refusal> {
        let view = RtpView::parse_protected(packet)?;
        if view.ssrc() != self.protected {
            return Err(Refusal::Stream(view.ssrc()));
        }
        if packet.len() > PACKET_MAX {
            return Err(Refusal::TooLong(packet.len()));
        }
        let seq = self.unwrapper.unwrap(view.seq());
        let newest = self.newest.map_or(seq, |newest| newest.max(seq));
        if seq + MEDIA_MAX as u64 <= newest {
            return Err(Refusal::TooOld(view.seq()));
        }
        self.newest = Some(newest);
        if self.has(seq) {
            return Ok(());
        }
        let media = &mut self.media[slot(seq)];
        media.seq = seq;
        media.bytes.clear();
        media.bytes.extend_from_slice(packet);
        zero_mutable(&mut media.bytes, &self.mutable);
        if !self.repairs.is_empty() {
            self.expire(newest);
            self.note_present(seq);
            self.restore();
        }
        Ok(())
    }

    fn admit_repair(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let view = FlexFecView::parse(payload)?;
        let header = *view.header();
        if header.protected != self.protected {
            return Err(Refusal::Stream(header.protected));
        }
        if view.body().len() > PACKET_MAX - FIXED_LEN {
            return Err(Refusal::TooLong(view.body().len()));
        }
        let newest = self.newest.ok_or(Refusal::TooFar(header.base))?;
        let base = self.unwrapper.peek(header.base);
        if base > newest + u64::from(PLACES) {
            return Err(Refusal::TooFar(header.base));
        }
        if oldest(base, header) + MEDIA_MAX as u64 <= newest {
            return Err(Refusal::TooOld(header.base));
        }
        let missing = header.mask.places().filter(|&place| !self.has(base + u64::from(place)));
        let missing = missing.fold(0_u128, |missing, place| missing | 1 << place);
        if missing == 0 {
            self.stats.unneeded += 1;
            return Ok(());
        }
        let mut body = Vec::new();
        if self.repairs.len() == REPAIRS_MAX {
            self.stats.expired += 1;
            body = self.repairs.pop_front().map_or(body, |oldest| oldest.body);
        }
        body.clear();
        body.extend_from_slice(view.body());
        self.repairs.push_back(Repair { base, header, missing, body });
        self.restore();
        Ok(())
    }

    /// Drops repair packets whose oldest protected packet makes room for `newest`.
    fn expire(&mut self, newest: u64) {
        let before = self.repairs.len();
        self.repairs.retain(|repair| oldest(repair.base, repair.header) + MEDIA_MAX as u64 > newest);
        self.stats.expired += (before - self.repairs.len()) as u64;
    }

    /// Tells the repair packets that a packet is there, and drops those that miss none any more.
    fn note_present(&mut self, seq: u64) {
        let before = self.repairs.len();
        self.repairs.retain_mut(|repair| {
            let place = seq.checked_sub(repair.base).filter(|&place| place < 128);
            repair.missing &= !place.map_or(0, |place| 1 << place);
            repair.missing != 0
        });
        self.stats.unneeded += (before - self.repairs.len()) as u64;
    }

    /// Restores packets for as long as some repair packet misses one alone; each round uses one of them up.
    fn restore(&mut self) {
        while let Some(index) = self.repairs.iter().position(|repair| repair.missing.is_power_of_two()) {
            let Some(mut repair) = self.repairs.remove(index) else { return };
            let seq = repair.base + u64::from(repair.missing.trailing_zeros());
            let Some(fields) = self.take_others_away(&mut repair) else {
                self.stats.inconsistent += 1;
                continue;
            };
            // A media packet of that number never came, so its slot has an older one, which is let go.
            let media = &mut self.media[slot(seq)];
            media.bytes.resize(FIXED_LEN, 0);
            if let Some(header) = media.bytes.first_chunk_mut() {
                fields.restore(SeqNo(seq as u16), self.protected, header);
            }
            media.bytes.extend_from_slice(&repair.body[..fields.rest_len()]);
            if RtpView::parse(&media.bytes).is_err() {
                media.seq = 0;
                self.stats.inconsistent += 1;
                continue;
            }
            media.seq = seq;
            self.stats.restored += 1;
            self.newest = self.newest.max(Some(seq));
            if self.restored.len() == REPAIRS_MAX {
                self.restored.pop_front();
            }
            self.restored.push_back(seq);
            self.note_present(seq);
        }
    }

    /// Takes the packets that are there out of a repair packet's sum, which leaves the one missing; `None` if what is
    /// left is no packet.
    fn take_others_away(&self, repair: &mut Repair) -> Option<HeaderXor> {
        let mut fields = repair.header.fields;
        let others = repair.header.mask.places().filter(|&place| repair.missing >> place & 1 == 0);
        for place in others {
            let seq = repair.base + u64::from(place);
            let media = Some(&self.media[slot(seq)]).filter(|media| media.seq == seq)?;
            let rest = &media.bytes[FIXED_LEN..];
            if rest.len() > repair.body.len() {
                return None;
            }
            fields.add(&media.bytes)?;
            xor(&mut repair.body, rest);
        }
        (fields.rest_len() <= repair.body.len()).then_some(fields)
    }

    fn has(&self, seq: u64) -> bool {
        self.media[slot(seq)].seq == seq
    }
}

/// The first packet that a repair packet protects.
fn oldest(base: u64, header: FlexFecHeader) -> u64 {
    base + u64::from(header.mask.bits().trailing_zeros())
}

/// Where a packet is kept.
const fn slot(seq: u64) -> usize {
    (seq % MEDIA_MAX as u64) as usize
}
