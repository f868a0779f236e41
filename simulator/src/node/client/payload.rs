//! What a synthetic packet says of itself inside its payload, so that every receiver knows exactly what it got.
//!
//! In: a [`Stamp`] and a length. Out: the payload, and the stamp read again. Limit: a payload has at least
//! [`LEAST`] bytes. VP8 payloads are true ones as far as an SFU may look (RFC 7741 §4.2, §4.3; RFC 6386 §9.1): the
//! descriptor with picture id, TL0PICIDX and TID, and the frame header, for a key frame with its size. Then comes the
//! stamp; the rest is one byte repeated, so that damage is seen.

use proto::time::Instant;

/// Which packet of whom this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The publisher's node.
    pub publisher: u16,
    /// The place of its media section in its offer.
    pub section: u8,
    /// Its layer's place, the largest first; 0 for sound.
    pub layer: u8,
    /// Whether it is of a key frame; sound never is.
    pub key: bool,
    /// Counts the frames of the stream.
    pub frame: u32,
    /// Counts the packets of the frame.
    pub part: u16,
    /// How many packets the frame has.
    pub parts: u16,
    /// Counts the packets of the stream.
    pub serial: u32,
    /// When it was captured.
    pub captured: Instant,
}

/// The numbers that a VP8 descriptor carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureIds {
    /// 15 bits.
    pub picture: u16,
    /// TL0PICIDX.
    pub tl0: u8,
}

/// What a VP8 packet says beyond its stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// The descriptor's numbers.
    pub ids: PictureIds,
    /// Width and height; in what is read, zero except in a key frame's first packet.
    pub size: (u16, u16),
}

/// A packet's payload read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The stamp.
    pub stamp: Stamp,
    /// What is said of the picture, if it is one.
    pub picture: Option<Picture>,
}

const MAGIC: [u8; 2] = *b"LM";
const STAMP_BYTES: usize = 2 + 2 + 1 + 1 + 1 + 4 + 2 + 2 + 4 + 8;
const DESCRIPTOR_BYTES: usize = 6;
const KEY_HEADER_BYTES: usize = 10;
const DELTA_HEADER_BYTES: usize = 3;

/// The first byte of an Opus packet: 20 ms of full-band stereo by CELT, one frame (RFC 6716 §3.1).
const OPUS_TOC: u8 = 0xfc;

/// The shortest payload that holds a stamp, in bytes.
pub const LEAST: usize = DESCRIPTOR_BYTES + KEY_HEADER_BYTES + STAMP_BYTES;

/// Appends a payload of `length` bytes, at least [`LEAST`]; sound if there is no `picture`.
pub fn write(stamp: &Stamp, picture: Option<Picture>, length: usize, out: &mut Vec<u8>) {
    let start = out.len();
    write_head(stamp, picture, out);
    out.resize(start + length.max(LEAST), filler(stamp));
}

/// Reads a payload; `None` if it is not one of ours and whole.
pub fn read(payload: &[u8], is_video: bool) -> Option<Content> {
    let at = match is_video {
        false => 1,
        true if payload.first()? & 0x10 == 0 => DESCRIPTOR_BYTES,
        true if payload.get(DESCRIPTOR_BYTES)? & 1 == 0 => DESCRIPTOR_BYTES + KEY_HEADER_BYTES,
        true => DESCRIPTOR_BYTES + DELTA_HEADER_BYTES,
    };
    let bytes = payload.get(at..at + STAMP_BYTES)?;
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let stamp = Stamp {
        publisher: half(2),
        section: bytes[4],
        layer: bytes[5],
        key: bytes[6] == 1,
        frame: word(7),
        part: half(11),
        parts: half(13),
        serial: word(15),
        captured: Instant::from_nanos(u64::from(word(19)) << 32 | u64::from(word(23))),
    };
    let picture = is_video.then(|| {
        let ids =
            PictureIds { picture: u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff, tl0: payload[4] };
        let is_key_start = at == DESCRIPTOR_BYTES + KEY_HEADER_BYTES;
        let side = |at: usize| u16::from_le_bytes([payload[at], payload[at + 1]]);
        Picture { ids, size: if is_key_start { (side(12), side(14)) } else { (0, 0) } }
    });
    is_whole(&stamp, picture, payload).then_some(Content { stamp, picture })
}

/// Whether a payload is what its stamp says, to the last byte.
fn is_whole(stamp: &Stamp, picture: Option<Picture>, payload: &[u8]) -> bool {
    let mut head = [0; LEAST];
    let length = Head::new(&mut head).write(stamp, picture);
    let Some((start, rest)) = payload.split_at_checked(length) else { return false };
    // All bytes are the same if the first is right and each is as the one before it.
    start == &head[..length]
        && rest.first().is_none_or(|first| *first == filler(stamp))
        && rest.get(1..).is_none_or(|after| after == &rest[..after.len()])
}

fn write_head(stamp: &Stamp, picture: Option<Picture>, out: &mut Vec<u8>) {
    let mut head = [0; LEAST];
    let length = Head::new(&mut head).write(stamp, picture);
    out.extend_from_slice(&head[..length]);
}

fn filler(stamp: &Stamp) -> u8 {
    (stamp.serial as u8).wrapping_mul(31).wrapping_add(stamp.layer << 6) ^ stamp.publisher as u8
}

/// Writes what comes before the filler, without allocation.
struct Head<'a> {
    bytes: &'a mut [u8; LEAST],
    at: usize,
}

impl<'a> Head<'a> {
    fn new(bytes: &'a mut [u8; LEAST]) -> Self {
        Self { bytes, at: 0 }
    }

    fn write(mut self, stamp: &Stamp, picture: Option<Picture>) -> usize {
        match picture {
            None => self.put(&[OPUS_TOC]),
            Some(Picture { ids, size }) => self.put_picture(stamp, ids, size),
        }
        self.put(&MAGIC);
        self.put(&stamp.publisher.to_be_bytes());
        self.put(&[stamp.section, stamp.layer, u8::from(stamp.key)]);
        self.put(&stamp.frame.to_be_bytes());
        self.put(&stamp.part.to_be_bytes());
        self.put(&stamp.parts.to_be_bytes());
        self.put(&stamp.serial.to_be_bytes());
        self.put(&stamp.captured.as_nanos().to_be_bytes());
        self.at
    }

    fn put_picture(&mut self, stamp: &Stamp, ids: PictureIds, (width, height): (u16, u16)) {
        let start = stamp.part == 0;
        self.put(&[0x80 | u8::from(start) << 4, 0xe0]);
        self.put(&(0x8000 | ids.picture).to_be_bytes());
        self.put(&[ids.tl0, 0]);
        if start && stamp.key {
            self.put(&[0x10, 0, 0, 0x9d, 0x01, 0x2a]);
            self.put(&width.to_le_bytes());
            self.put(&height.to_le_bytes());
        } else if start {
            self.put(&[0x11, 0, 0]);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use proto::codec::{Codec, picture_size, starts_key_frame};

    use super::*;

    const STAMP: Stamp = Stamp {
        publisher: 3,
        section: 1,
        layer: 2,
        key: true,
        frame: 70_000,
        part: 0,
        parts: 2,
        serial: 1 << 20,
        captured: Instant::from_millis(1_234),
    };
    const IDS: PictureIds = PictureIds { picture: 0x7ffe, tl0: 9 };

    #[test]
    fn payloads_are_read_as_they_were_written_and_any_damage_is_seen() {
        let sized = Some(Picture { ids: IDS, size: (320, 180) });
        let unsized_ = Some(Picture { ids: IDS, size: (0, 0) });
        for (claim, stamp, picture) in [
            ("a key frame's first packet", STAMP, sized),
            ("its second", Stamp { part: 1, ..STAMP }, unsized_),
            ("a delta frame's first packet", Stamp { key: false, ..STAMP }, unsized_),
            ("sound", Stamp { key: false, layer: 0, parts: 1, ..STAMP }, None),
        ] {
            for length in [LEAST, LEAST + 1, 1_100] {
                let mut payload = Vec::new();
                write(&stamp, picture, length, &mut payload);
                assert_eq!(payload.len(), length, "{claim}");
                assert_eq!(read(&payload, picture.is_some()), Some(Content { stamp, picture }), "{claim}");
                for at in 0..length {
                    let mut damaged = payload.clone();
                    damaged[at] ^= 4;
                    let content = read(&damaged, picture.is_some());
                    assert_ne!(content, Some(Content { stamp, picture }), "{claim}: byte {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn an_sfu_sees_key_frames_and_their_size() {
        let mut payload = Vec::new();
        write(&STAMP, Some(Picture { ids: IDS, size: (320, 180) }), 500, &mut payload);
        assert!(starts_key_frame(Codec::Vp8, &payload));
        assert_eq!(picture_size(Codec::Vp8, &payload), Some((320, 180)));
        let mut delta = Vec::new();
        let stamp = Stamp { key: false, ..STAMP };
        write(&stamp, Some(Picture { ids: IDS, size: (320, 180) }), 500, &mut delta);
        assert!(!starts_key_frame(Codec::Vp8, &delta));
    }
}
