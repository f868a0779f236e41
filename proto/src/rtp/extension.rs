//! The header extensions that we know, by URI, and which identifier a session gave each (RFC 8285 §5).
//!
//! In: `a=extmap` lines. Out: identifiers. Time: none. Limit: one identifier an extension.

use super::ExtensionId;

/// A header extension that we read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extension {
    /// The media section that a packet belongs to (RFC 9143 §15.1): text.
    Mid,
    /// The encoding that a packet belongs to (RFC 8852 §3.1): text.
    Rid,
    /// The encoding that a retransmission repairs (RFC 8852 §3.2): text.
    RepairedRid,
    /// The packet's number on its connection (draft-holmer-rmcat-transport-wide-cc-extensions-01): 16 bits.
    TransportSequence,
    /// When the packet left its sender, in seconds as 6.18 fixed point: 24 bits.
    AbsSendTime,
    /// How loud the packet is and whether it is voice (RFC 6464): 8 bits.
    AudioLevel,
    /// How the picture is to be turned (3GPP TS 26.114 §7.4.5): 8 bits.
    VideoOrientation,
    /// How long the receiver shall hold pictures at least and at most, in units of 10 ms: 12 bits each
    /// (webrtc.googlesource.com, docs/native-code/rtp-hdrext/playout-delay).
    PlayoutDelay,
    /// Which layer a frame is of, and which others it leans on (AV1's RTP payload format 1.0, appendix A): 3 bytes, and
    /// many more with key frames; see [`super::dependency`].
    DependencyDescriptor,
}

impl Extension {
    /// Every extension, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportSequence,
        Self::AbsSendTime,
        Self::AudioLevel,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::DependencyDescriptor,
    ];

    /// The name in session descriptions.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    /// The extension of that name, if we know it.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}

/// Which identifier each extension has in one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    ids: [Option<ExtensionId>; Extension::ALL.len()],
}

impl ExtensionMap {
    /// States an extension's identifier; one stated before is forgotten.
    pub fn set(&mut self, extension: Extension, id: ExtensionId) {
        self.ids[extension as usize] = Some(id);
    }

    /// The extension's identifier, if it was negotiated.
    pub fn id(&self, extension: Extension) -> Option<ExtensionId> {
        self.ids[extension as usize]
    }

    /// The extension with that identifier; the first in order of declaration if several have it.
    pub fn extension(&self, id: ExtensionId) -> Option<Extension> {
        Extension::ALL.into_iter().find(|&extension| self.id(extension) == Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uri_names_its_extension() {
        for (place, extension) in Extension::ALL.into_iter().enumerate() {
            assert_eq!(Extension::from_uri(extension.uri()), Some(extension));
            assert_eq!(extension as usize, place, "the map is indexed by it");
        }
        assert_eq!(Extension::from_uri("urn:ietf:params:rtp-hdrext:sdes:MID"), None);
        assert_eq!(Extension::from_uri(""), None);
    }

    #[test]
    fn the_map_knows_what_was_set_and_nothing_else() {
        let mut map = ExtensionMap::default();
        assert_eq!(map.id(Extension::Mid), None);
        map.set(Extension::Mid, ExtensionId(4));
        map.set(Extension::Rid, ExtensionId(10));
        map.set(Extension::Mid, ExtensionId(5));
        assert_eq!(map.id(Extension::Mid), Some(ExtensionId(5)), "the last one counts");
        assert_eq!(map.id(Extension::RepairedRid), None);
        assert_eq!(map.extension(ExtensionId(10)), Some(Extension::Rid));
        assert_eq!(map.extension(ExtensionId(4)), None);
    }
}
