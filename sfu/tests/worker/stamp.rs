//! What a synthetic packet says of itself inside its payload, so that a receiver knows exactly what it got.
//!
//! VP8 payloads are true ones as far as an SFU may look (RFC 7741 §4.2, §4.3): the descriptor with picture id,
//! TL0PICIDX and TID, and the frame header of a key frame with its size. The stamp follows; the rest is filler.

use proto::time::Instant;

/// Which packet of whom this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// The peer's number in the net.
    pub(crate) publisher: u16,
    /// The place of its media section in its offer.
    pub(crate) section: u8,
    /// Its simulcast layer's place in [`RIDS`]; 0 if there is one stream.
    pub(crate) layer: u8,
    /// Counts the frames of the stream.
    pub(crate) frame: u32,
    /// Counts the packets of the frame.
    pub(crate) part: u8,
    /// How many packets the frame has.
    pub(crate) parts: u8,
    /// Whether it is a key frame; sound never is.
    pub(crate) key: bool,
    /// When it was captured.
    pub(crate) captured: Instant,
}

/// The layers, from large to small.
pub(crate) const RIDS: [&str; 3] = ["h", "m", "l"];

/// Their sizes.
pub(crate) const SIZES: [(u16, u16); 3] = [(1280, 720), (640, 360), (320, 180)];

const MAGIC: [u8; 4] = *b"Lian";
const BYTES: usize = 4 + 2 + 1 + 1 + 4 + 1 + 1 + 1 + 8;
const DESCRIPTOR_BYTES: usize = 6;
const PAYLOAD_BYTES: usize = 160; // enough to differ, little to encrypt

/// What follows where packets are to be larger.
pub(crate) const MORE: u8 = 0x55;

/// The numbers that a VP8 descriptor carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureIds {
    /// 15 bits.
    pub(crate) picture: u16,
    /// TL0PICIDX.
    pub(crate) tl0: u8,
}

/// A packet's payload read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadPayload {
    /// The stamp.
    pub(crate) stamp: Stamp,
    /// The descriptor's numbers, if it is video.
    pub(crate) ids: Option<PictureIds>,
}

/// The descriptor of a key frame's first packet, as Chromium sends it with VP8: it brings the structure that the others are
/// read by.
const KEY_DESCRIPTOR: [u8; 23] = [
    0x80, 0x00, 0x00, 0x80, 0x02, 0x04, 0x4e, 0xaa, 0xaf, 0x28, 0x60, 0x41, 0x4d, 0x34, 0x53, 0x8a, 0x09,
    0x40, 0x40, 0xb3, 0xc1, 0x3f, 0xc0,
];

impl Stamp {
    /// The packet's dependency descriptor.
    pub(crate) fn descriptor(&self) -> Vec<u8> {
        let (starts, ends) = (self.part == 0, self.part + 1 == self.parts);
        let mut bytes = if self.key && starts { KEY_DESCRIPTOR.to_vec() } else { vec![2, 0, 0] };
        bytes[0] = bytes[0] & 0x3f | u8::from(starts) << 7 | u8::from(ends) << 6;
        bytes[1..3].copy_from_slice(&(self.frame as u16).to_be_bytes());
        bytes
    }

    /// The payload of a VP8 packet.
    pub(crate) fn video(&self, ids: PictureIds, (width, height): (u16, u16)) -> Vec<u8> {
        let start = self.part == 0;
        let mut out = vec![0x80 | u8::from(start) << 4, 0xe0];
        out.extend_from_slice(&(0x8000 | ids.picture).to_be_bytes());
        out.extend_from_slice(&[ids.tl0, 0]);
        if start && self.key {
            out.extend_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a]);
            out.extend_from_slice(&width.to_le_bytes());
            out.extend_from_slice(&height.to_le_bytes());
        } else if start {
            out.extend_from_slice(&[0x11, 0, 0]);
        }
        self.write(&mut out);
        out
    }

    /// The payload of an Opus packet.
    pub(crate) fn audio(&self) -> Vec<u8> {
        let mut out = vec![0x78];
        self.write(&mut out);
        out.truncate(PAYLOAD_BYTES / 2);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.publisher.to_be_bytes());
        out.extend_from_slice(&[self.section, self.layer]);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[self.part, self.parts, u8::from(self.key)]);
        out.extend_from_slice(&self.captured.as_nanos().to_be_bytes());
        let filler =
            (self.frame as u8).wrapping_mul(31).wrapping_add(self.part).wrapping_add(self.layer << 6);
        out.resize(PAYLOAD_BYTES, filler);
    }
}

/// Reads a payload, which must be one of ours and whole.
pub(crate) fn read(payload: &[u8]) -> Option<ReadPayload> {
    let at = payload.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let [_, _, _, _, p0, p1, section, layer, f0, f1, f2, f3, part, parts, key, time @ ..] =
        payload.get(at..at + BYTES)?
    else {
        return None;
    };
    let stamp = Stamp {
        publisher: u16::from_be_bytes([*p0, *p1]),
        section: *section,
        layer: *layer,
        frame: u32::from_be_bytes([*f0, *f1, *f2, *f3]),
        part: *part,
        parts: *parts,
        key: *key == 1,
        captured: Instant::from_nanos(u64::from_be_bytes(time.try_into().ok()?)),
    };
    let is_video = at >= DESCRIPTOR_BYTES;
    let ids = is_video.then(|| PictureIds {
        picture: u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff,
        tl0: payload[4],
    });
    let whole = match ids {
        Some(ids) => stamp.video(ids, SIZES[usize::from(layer % 3)]),
        None => stamp.audio(),
    };
    let more = payload.strip_prefix(&whole[..])?;
    more.iter().all(|byte| *byte == MORE).then_some(ReadPayload { stamp, ids })
}

#[test]
fn a_stamp_is_read_as_it_was_written_and_damage_is_seen() {
    let stamp = Stamp {
        publisher: 3,
        section: 1,
        layer: 2,
        frame: 70_000,
        part: 0,
        parts: 2,
        key: true,
        captured: Instant::from_millis(1234),
    };
    let ids = PictureIds { picture: 0x7ffe, tl0: 9 };
    let mut video = stamp.video(ids, SIZES[2]);
    assert_eq!(read(&video), Some(ReadPayload { stamp, ids: Some(ids) }));
    assert!(proto::codec::starts_key_frame(proto::codec::Codec::Vp8, &video));
    assert_eq!(proto::codec::picture_size(proto::codec::Codec::Vp8, &video), Some((320, 180)));
    video[100] ^= 1;
    assert_eq!(read(&video), None);
    let sound = Stamp { key: false, layer: 0, ..stamp };
    assert_eq!(read(&sound.audio()), Some(ReadPayload { stamp: sound, ids: None }));
}
