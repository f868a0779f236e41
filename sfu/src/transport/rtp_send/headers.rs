//! `Headers`: how a slot's packets begin: RTP headers with those extensions that the subscriber negotiated.
//!
//! In: a header's fields, and values of extensions where a packet has them. Out: the header's bytes. Time: none. Limit: the
//! layout of the last header is kept: nearly all packets of a stream carry the same extensions, so that a header is a copy
//! with its values filled in. Headers are as long as the longest before: packets of equal payloads are equal in length then,
//! whatever an extension comes in, and leave in one run.

use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, HeaderTemplate, RtpHeader, SeqNo};

use super::plaintext::Plaintext;

/// The extensions that may be written.
const WRITTEN: [Extension; 4] = [
    Extension::TransportSequence,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
];

/// The values of a packet's extensions; `None` where it has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values {
    /// The transport-wide number.
    pub(super) transport: Option<SeqNo>,
    /// How loud it is (RFC 6464).
    pub(super) audio_level: Option<u8>,
    /// How the camera is held.
    pub(super) orientation: Option<u8>,
    /// How long to wait before it is played.
    pub(super) playout: Option<[u8; 3]>,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Headers {
    /// As negotiated, in the order of [`WRITTEN`].
    ids: [Option<ExtensionId>; 4],
    /// The last header's layout, and which extensions it has, a bit each.
    template: Option<(u8, HeaderTemplate)>,
    /// How many words the longest block of extensions took.
    words: usize,
}

impl Headers {
    /// Headers with the extensions of `negotiated`.
    pub(super) fn new(negotiated: &ExtensionMap) -> Self {
        Self { ids: WRITTEN.map(|extension| negotiated.id(extension)), template: None, words: 0 }
    }

    /// Whether there are transport-wide numbers.
    pub(super) fn is_numbered(&self) -> bool {
        self.ids[0].is_some()
    }

    /// Begins a packet with such a header; values that were not negotiated are left out.
    pub(super) fn write(&mut self, header: &RtpHeader, values: Values, out: &mut Plaintext) {
        let transport = values.transport.map(|number| number.0.to_be_bytes());
        let values: [Option<&[u8]>; 4] = [
            transport.as_ref().map(<[u8; 2]>::as_slice),
            values.audio_level.as_ref().map(core::slice::from_ref),
            values.orientation.as_ref().map(core::slice::from_ref),
            values.playout.as_ref().map(<[u8; 3]>::as_slice),
        ];
        let (mut carried, mut bits) = ([(ExtensionId(0), &[][..]); 4], 0);
        let mut count = 0;
        for (place, (id, value)) in self.ids.iter().zip(values).enumerate() {
            if let (Some(id), Some(value)) = (id, value) {
                carried[count] = (*id, value);
                count += 1;
                bits |= 1 << place;
            }
        }
        let carried = &carried[..count];
        if self.template.as_ref().is_none_or(|(last, _)| *last != bits) {
            self.lay_out(bits, carried);
        }
        let Some((_, template)) = &self.template else { return };
        out.put_header(|out| template.write(header, carried.iter().map(|(_, value)| *value), out));
    }

    fn lay_out(&mut self, bits: u8, carried: &[(ExtensionId, &[u8])]) {
        let mut lengths = [(ExtensionId(0), 0); 4];
        for (length, (id, value)) in lengths.iter_mut().zip(carried) {
            *length = (*id, value.len());
        }
        // Four short values fit, whatever their identifiers.
        self.template = HeaderTemplate::new(&lengths[..carried.len()], self.words).map(|template| {
            self.words = self.words.max(template.words());
            (bits, template)
        });
    }
}

#[cfg(test)]
mod tests {
    use proto::rtp::{PayloadType, RtpView, Ssrc};

    use super::*;

    fn written(headers: &mut Headers, values: Values) -> Vec<u8> {
        let header = RtpHeader {
            payload_type: PayloadType(96),
            marker: true,
            seq: SeqNo(7),
            timestamp: 8,
            ssrc: Ssrc(9),
        };
        let mut out = Plaintext::default();
        headers.write(&header, values, &mut out);
        assert_eq!(out.header().len(), out.len());
        out.contiguous().to_vec()
    }

    #[test]
    fn headers_carry_what_was_negotiated_and_do_not_get_shorter() {
        let mut negotiated = ExtensionMap::default();
        for (extension, id) in [(Extension::TransportSequence, 3), (Extension::VideoOrientation, 4)] {
            negotiated.set(extension, ExtensionId(id));
        }
        let mut headers = Headers::new(&negotiated);
        assert!(headers.is_numbered());
        let plain = Values { transport: Some(SeqNo(0x0102)), audio_level: Some(5), ..Values::default() };
        let turned = Values { orientation: Some(1), ..plain };
        for (name, values, length, orientation) in [
            ("as usual", plain, 20, None),
            ("once more", plain, 20, None),
            ("with another extension", turned, 24, Some(&[1][..])),
            ("as usual again", plain, 24, None),
        ] {
            let bytes = written(&mut headers, values);
            let view = RtpView::parse(&bytes).unwrap();
            assert_eq!(bytes.len(), length, "{name}");
            assert_eq!(view.extension(ExtensionId(3)), Some(&[1, 2][..]), "{name}");
            assert_eq!(view.extension(ExtensionId(4)), orientation, "{name}");
            assert_eq!(view.extensions().count(), 1 + usize::from(orientation.is_some()), "{name}");
        }
        assert_eq!(
            written(&mut Headers::new(&ExtensionMap::default()), turned).len(),
            12,
            "nothing negotiated"
        );
    }
}
