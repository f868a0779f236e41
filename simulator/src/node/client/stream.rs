//! One RTP stream of a publisher: numbers, clock and picture ids that begin anywhere, and what was sent, to send it again.
//!
//! In: frames. Out: packets, written when they leave; a packet is kept as what it says, not as its bytes, since its bytes
//! follow from that. Limit: `HISTORY` packets.

use std::collections::VecDeque;
use std::time::Duration;

use fec::retransmit::RetransmitLimiter;
use proto::rtcp::{Rtcp, SenderReport};
use proto::rtp::extension::Extension;
use proto::rtp::{ExtensionId, PayloadType, RtpHeader, SeqNo, Ssrc, rtx};
use proto::seed::Chance;
use proto::time::{Instant, NtpTime};
use proto::units::DataSize;

use super::offer::Dialect;
use super::payload::{self, LEAST, Picture, PictureIds, Stamp};

/// Packets kept: three seconds of the largest layer.
const HISTORY: usize = 1_024;

/// The longest payload, so that a packet with its header extensions stays within 1200 bytes, as Chromium's do.
pub const PAYLOAD_MAX: u64 = 1_140;

/// What a stream is, before its first packet.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The publisher's node.
    pub publisher: u16,
    /// The place of its media section in its offer.
    pub section: u8,
    /// Its layer's place, the largest first.
    pub layer: u8,
    /// Its name in simulcast.
    pub rid: Option<&'static str>,
    /// Whether it carries pictures.
    pub is_video: bool,
}

/// Something that was encoded.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// When it was captured.
    pub captured: Instant,
    /// How large it is, RTP headers not counted.
    pub size: DataSize,
    /// Whether it needs no earlier one.
    pub key: bool,
    /// Width and height.
    pub pixels: (u16, u16),
}

/// A packet that was made.
#[derive(Debug, Clone, Copy)]
struct Kept {
    timestamp: u32,
    marker: bool,
    stamp: Stamp,
    picture: Option<Picture>,
    length: u16,
    /// Whether it has left.
    sent: bool,
}

/// See the module's description.
#[derive(Debug)]
pub struct SendStream {
    origin: Origin,
    ssrc: Ssrc,
    rtx_ssrc: Ssrc,
    /// The next packet's number, without wrapping.
    next: u64,
    rtx_seq: SeqNo,
    clock_start: u32,
    frame: u32,
    ids: PictureIds,
    serial: u32,
    /// The packets up to `next`.
    history: VecDeque<Kept>,
    limiter: RetransmitLimiter,
    packets: u32,
    octets: u32,
}

impl SendStream {
    /// A stream that has sent nothing.
    pub fn new(origin: Origin, chance: &mut Chance) -> Self {
        Self {
            origin,
            ssrc: Ssrc(chance.number()),
            rtx_ssrc: Ssrc(chance.number()),
            // Near the wrap, so that every run crosses it.
            next: 65_535 - u64::from(chance.number() % 600),
            rtx_seq: SeqNo(chance.number() as u16 & 0x7fff),
            clock_start: chance.number(),
            frame: 0,
            ids: PictureIds { picture: 0x7fff - (chance.number() % 200) as u16, tl0: chance.number() as u8 },
            serial: 0,
            history: VecDeque::with_capacity(HISTORY),
            limiter: RetransmitLimiter::new(),
            packets: 0,
            octets: 0,
        }
    }

    /// Makes the packets of a picture or a sound and tells their numbers.
    pub fn packetize(&mut self, encoded: &Encoded) -> core::ops::Range<u64> {
        let bytes = encoded.size.as_bytes().max(LEAST as u64);
        let parts = bytes.div_ceil(PAYLOAD_MAX).min(u64::from(u16::MAX));
        let length = bytes.div_ceil(parts).clamp(LEAST as u64, PAYLOAD_MAX) as u16;
        let timestamp = self.clock_at(encoded.captured);
        let first = self.next;
        for part in 0..parts as u16 {
            let stamp = Stamp {
                publisher: self.origin.publisher,
                section: self.origin.section,
                layer: self.origin.layer,
                key: encoded.key,
                frame: self.frame,
                part,
                parts: parts as u16,
                serial: self.serial,
                captured: encoded.captured,
            };
            let is_last = part + 1 == parts as u16;
            let picture = self.origin.is_video.then_some(Picture { ids: self.ids, size: encoded.pixels });
            let marker = is_last && self.origin.is_video;
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(Kept { timestamp, marker, stamp, picture, length, sent: false });
            self.serial = self.serial.wrapping_add(1);
            self.next += 1;
        }
        self.frame = self.frame.wrapping_add(1);
        self.ids.picture = (self.ids.picture + 1) & 0x7fff;
        self.ids.tl0 = self.ids.tl0.wrapping_add(1);
        first..self.next
    }

    /// The packet that the other side lost, if it has left before, is still there, and may be sent again.
    pub fn repair_of(&mut self, now: Instant, lost: SeqNo, rtt: Duration) -> Option<u64> {
        let behind = SeqNo(self.next as u16).distance(lost);
        let seq = self.next.checked_sub(u64::try_from(behind).ok().filter(|behind| *behind > 0)?)?;
        let length = self.kept_mut(seq).filter(|kept| kept.sent)?.length;
        self.limiter.set_rtt(rtt);
        self.limiter.admit(now, seq, length.into()).then_some(seq)
    }

    /// Writes a packet as it leaves for the first time; empty if it is too old.
    pub fn write(
        &mut self,
        now: Instant,
        (seq, transport): (u64, u16),
        dialect: &Dialect,
        out: &mut Vec<u8>,
    ) {
        let Some(kept) = self.kept_mut(seq) else { return };
        kept.sent = true;
        let kept = *kept;
        self.limiter.note_media(now, kept.length.into());
        let payload_type = if self.origin.is_video { dialect.vp8 } else { dialect.opus };
        let rid = self.origin.rid.map(|rid| (dialect.id(Extension::Rid), rid.as_bytes()));
        let header = header(&kept, payload_type, SeqNo(seq as u16), self.ssrc);
        self.write_header(&header, rid, transport, dialect, out);
        payload::write(&kept.stamp, kept.picture, kept.length.into(), out);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(kept.length.into());
    }

    /// Writes a packet again, as a retransmission (RFC 4588); empty if it is too old.
    pub fn write_again(&mut self, seq: u64, transport: u16, dialect: &Dialect, out: &mut Vec<u8>) {
        let Some(kept) = self.kept_mut(seq).copied() else { return };
        let rid = self.origin.rid.map(|rid| (dialect.id(Extension::RepairedRid), rid.as_bytes()));
        let header = header(&kept, dialect.vp8_rtx, self.rtx_seq, self.rtx_ssrc);
        self.rtx_seq = self.rtx_seq.plus(1);
        self.write_header(&header, rid, transport, dialect, out);
        rtx::write(SeqNo(seq as u16), &[], out);
        payload::write(&kept.stamp, kept.picture, kept.length.into(), out);
    }

    /// How far the stream has been sent (RFC 3550 §6.4.1).
    pub fn report(&self, now: Instant, wall: NtpTime) -> Rtcp {
        Rtcp::SenderReport(SenderReport {
            ssrc: self.ssrc,
            ntp: wall,
            rtp_timestamp: self.clock_at(now),
            packets: self.packets,
            octets: self.octets,
            reports: Vec::new(),
        })
    }

    /// Its number on the wire.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The newest packet's number.
    pub fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Whether anything was sent yet.
    pub fn has_begun(&self) -> bool {
        self.packets > 0
    }

    /// The size of a packet's payload.
    pub fn length(&mut self, seq: u64) -> DataSize {
        DataSize::bytes(self.kept_mut(seq).map_or(0, |kept| kept.length.into()))
    }

    fn kept_mut(&mut self, seq: u64) -> Option<&mut Kept> {
        let behind = usize::try_from(self.next.checked_sub(seq)?).ok()?;
        let index = self.history.len().checked_sub(behind)?;
        self.history.get_mut(index)
    }

    fn clock_at(&self, at: Instant) -> u32 {
        let rate = if self.origin.is_video { 90_000 } else { 48_000 };
        let ticks = u128::from(at.as_nanos()) * rate / 1_000_000_000;
        self.clock_start.wrapping_add(ticks as u32)
    }

    /// A header with the extensions that a browser sends.
    fn write_header(
        &self,
        header: &RtpHeader,
        rid: Option<(ExtensionId, &[u8])>,
        transport: u16,
        dialect: &Dialect,
        out: &mut Vec<u8>,
    ) {
        let section = self.origin.section;
        let digits = [b'0' + section / 10, b'0' + section % 10];
        let mid = if section < 10 { &digits[1..] } else { &digits[..] };
        let number = transport.to_be_bytes();
        let (mid_id, number_id) = (dialect.id(Extension::Mid), dialect.id(Extension::TransportSequence));
        let fourth = if self.origin.is_video {
            rid.unwrap_or((ExtensionId(0), &[])) // an identifier of 0 is left out
        } else {
            (dialect.id(Extension::AudioLevel), AUDIO_LEVEL)
        };
        header.write(&[(mid_id, mid), (number_id, &number), fourth], out);
    }
}

fn header(kept: &Kept, payload_type: PayloadType, seq: SeqNo, ssrc: Ssrc) -> RtpHeader {
    RtpHeader { payload_type, marker: kept.marker, seq, timestamp: kept.timestamp, ssrc }
}

/// Voice at -30 dBov (RFC 6464 §3).
const AUDIO_LEVEL: &[u8] = &[0x9e];

#[cfg(test)]
mod tests {
    use proto::rtp::RtpView;
    use proto::seed::Seed;

    use super::*;

    fn stream() -> SendStream {
        let origin = Origin { publisher: 7, section: 1, layer: 0, rid: Some("h"), is_video: true };
        SendStream::new(origin, &mut Seed::from_number(1).generator())
    }

    fn picture(size: u64) -> Encoded {
        let captured = Instant::from_millis(50);
        Encoded { captured, size: DataSize::bytes(size), key: true, pixels: (320, 180) }
    }

    #[test]
    fn a_picture_becomes_packets_of_its_size_that_fit_a_datagram() {
        for (size, parts) in [(1, 1), (1_140, 1), (1_141, 2), (60_000, 53)] {
            let mut stream = stream();
            let dialect = Dialect::new(0);
            let numbers = stream.packetize(&picture(size));
            assert_eq!(numbers.end - numbers.start, parts, "{size} bytes");
            let mut total = 0;
            for seq in numbers {
                let mut out = Vec::new();
                stream.write(Instant::ZERO, (seq, 9), &dialect, &mut out);
                assert!(out.len() <= 1_200, "{} bytes", out.len());
                let view = RtpView::parse(&out).expect("RTP");
                total += view.payload().len() as u64;
                assert_eq!(view.seq(), SeqNo(seq as u16));
                assert!(payload::read(view.payload(), true).is_some());
            }
            assert!(total >= size && total < size + parts + LEAST as u64, "{total} of {size}");
        }
    }

    #[test]
    fn a_packet_is_sent_again_as_it_was_but_not_twice_within_most_of_a_round_trip() {
        let (mut stream, dialect) = (stream(), Dialect::new(1));
        let first = stream.packetize(&picture(3_000)).start;
        let (mut once, mut again) = (Vec::new(), Vec::new());
        let (now, rtt) = (Instant::from_millis(100), Duration::from_millis(40));
        let lost = SeqNo(first as u16);
        assert_eq!(stream.repair_of(now, lost, rtt), None, "it has not left yet");
        stream.write(now, (first, 1), &dialect, &mut once);
        assert_eq!(stream.repair_of(now, lost, rtt), Some(first));
        assert_eq!(stream.repair_of(now + Duration::from_millis(34), lost, rtt), None);
        assert_eq!(stream.repair_of(now + Duration::from_millis(35), lost, rtt), Some(first));
        assert_eq!(stream.repair_of(now, lost.plus(5_000), rtt), None, "it was never sent");
        stream.write_again(first, 2, &dialect, &mut again);
        let (once, again) = (RtpView::parse(&once).expect("RTP"), RtpView::parse(&again).expect("RTP"));
        let (original, payload) = rtx::unwrap(again.payload()).expect("not padding");
        assert_eq!((original, payload), (lost, once.payload()));
        assert_ne!(once.ssrc(), again.ssrc());
    }
}
