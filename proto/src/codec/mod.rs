//! Codecs as an SFU sees them: which packet starts a key frame, how large the picture is, which counters to rewrite.

//!
//! In: RTP payloads of any content. Out: facts, and payloads with rewritten ids. Time: none. Limit: each file states its own.

mod av1;
pub(crate) mod bits;
mod h264;
pub mod opus;
mod picture_id;
mod vp8;
mod vp9;

pub use picture_id::{PictureIdOffsets, PictureIdRewriter, PictureIds};

use crate::signal::Kind;

/// A codec that Lianmai forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Redundant audio around Opus (RFC 2198).
    Red,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// AV1 (AOM's RTP payload format, version 1.0).
    Av1,
}

impl Codec {
    /// The encoding name of `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Red => "red",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// Sound or picture.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus | Self::Red => Kind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => Kind::Video,
        }
    }

    /// RTP timestamp ticks in a second.
    pub const fn clock_rate(self) -> u32 {
        match self.kind() {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        }
    }
}

/// Whether `payload` is the first packet of a key frame, from which a decoder can start.
///
/// VP8 and VP9 say so in their descriptors, H.264 by an SPS or an IDR picture's first slice (both packets, where they
/// are two), AV1 by a sequence header with the N bit. Audio has no key frames: always false.
pub fn starts_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => vp8::starts_key_frame(payload),
        Codec::Vp9 => vp9::starts_key_frame(payload),
        Codec::H264 => h264::starts_key_frame(payload),
        Codec::Av1 => av1::starts_key_frame(payload),
        Codec::Opus | Codec::Red => false,
    }
}

/// A picture's place among those of other rates (temporal scalability).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    /// Its layer: it leans on none of a higher one.
    pub layer: u8,
    /// Whether it leans on the lowest layer alone, or on none that came after that: a decoder that has not had its layer
    /// may take it from here on.
    pub joins: bool,
}

/// The temporal layer of the picture that `payload` belongs to, where its descriptor says it.
///
/// VP8 says it by TID and Y, VP9 by TID and U. H.264 has none here, and AV1's is in a header extension: see
/// [`crate::rtp::dependency`].
pub fn temporal(codec: Codec, payload: &[u8]) -> Option<Temporal> {
    match codec {
        Codec::Vp8 => vp8::temporal(payload),
        Codec::Vp9 => vp9::temporal(payload),
        Codec::H264 | Codec::Av1 | Codec::Opus | Codec::Red => None,
    }
}

/// Width and height in pixels, where the first packet of a key frame says them whole; neither is 0 then.
pub fn picture_size(codec: Codec, payload: &[u8]) -> Option<(u32, u32)> {
    match codec {
        Codec::Vp8 => vp8::picture_size(payload),
        Codec::Vp9 => vp9::picture_size(payload),
        Codec::H264 => h264::picture_size(payload),
        Codec::Av1 => av1::picture_size(payload),
        Codec::Opus | Codec::Red => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODECS: [Codec; 6] = [Codec::Opus, Codec::Red, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    /// Beginnings that lead deep into a parser.
    const HEADS: &[&[u8]] = &[
        &[],
        &[0x90, 0xff],
        &[0x10, 0, 0, 0, 0x9d, 1, 0x2a],
        &[0x8a],
        &[0xaa],
        &[0x08, 0x82, 0x49, 0x83, 0x42],
        &[0x67, 100, 0, 31],
        &[0x67, 66, 0, 31],
        &[0x78, 0, 9, 0x67, 244],
        &[0x7c, 0x87, 100],
        &[0x7b, 0, 0, 0, 30],
        &[0x18, 0x08],
        &[0x08, 30, 0x0a],
        &[0x28, 12, 0x0c],
    ];

    #[test]
    fn audio_has_no_key_frames_and_no_size() {
        for payload in
            [&[0x10, 0x50, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1][..], &[0x88, 0], &[0x67, 0x42], &[]]
        {
            for codec in [Codec::Opus, Codec::Red] {
                assert!(!starts_key_frame(codec, payload));
                assert_eq!(picture_size(codec, payload), None);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn arbitrary_payloads_are_read_without_panic_and_consistently(
            head in prop::sample::select(HEADS),
            tail in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(0xff)], 0..120),
        ) {
            let payload = [head, &tail].concat();
            let mut rewriter = PictureIdRewriter::default();
            for codec in CODECS {
                let size = picture_size(codec, &payload);
                let temporal = temporal(codec, &payload);
                prop_assert!(temporal.is_none_or(|own| own.layer < 8), "{codec:?}: {temporal:?}");
                prop_assert!(size.is_none() || starts_key_frame(codec, &payload), "{codec:?}: a size without key frame");
                prop_assert!(size.is_none_or(|(width, height)| width.min(height) > 0), "{codec:?}: {size:?}");
                let mut out = Vec::new();
                rewriter.switch();
                let ids = PictureIds::read(codec, &payload);
                let offsets = rewriter.follow(ids);
                offsets.rewrite(ids, &payload, &mut out);
                prop_assert!((payload.len()..=payload.len() + 1).contains(&out.len()), "{codec:?}");
                prop_assert!(offsets.alter(ids) || out == payload, "{codec:?}: what changes nothing says so");
            }
        }
    }
}
