//! `Headers`: how a slot's packets begin: RTP headers with those extensions that the subscriber negotiated.
//!
//! In: a header's fields, and values of extensions where a packet has them. Out: the header's bytes. Time: none. Limit: the
//! layout of the last header is kept: nearly all packets of a stream carry the same extensions, so that a header is a copy
//! with its values filled in. Headers are as long as the longest before: packets of equal payloads are equal in length then,
//! whatever an extension comes in, and leave in one run.

use proto::rtp::dependency::{SHORT_LEN, frame_number, renumber};
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, HeaderTemplate, RtpHeader, SeqNo};

use super::plaintext::Plaintext;

/// How many extensions may be written,
const COUNT: usize = 5;

/// and which.
const WRITTEN: [Extension; COUNT] = [
    Extension::TransportSequence,
    Extension::AudioLevel,
    Extension::VideoOrientation,
    Extension::PlayoutDelay,
    Extension::DependencyDescriptor,
];

/// The longest descriptor that an extension has room for (RFC 8285 §4.3).
const DESCRIPTOR_MAX: usize = 255;

/// The values of a packet's extensions; `None` where it has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values<'a> {
    /// The transport-wide number.
    pub(super) transport: Option<SeqNo>,
    /// How loud it is (RFC 6464).
    pub(super) audio_level: Option<u8>,
    /// How the camera is held.
    pub(super) orientation: Option<u8>,
    /// How long to wait before it is played.
    pub(super) playout: Option<[u8; 3]>,
    /// The publisher's dependency descriptor; empty if there is none.
    pub(super) descriptor: &'a [u8],
    /// How its frame number is shifted.
    pub(super) frame_shift: u16,
}

impl Values<'_> {
    /// The descriptor with the subscriber's frame number, in `memory`.
    fn descriptor<'m>(&self, memory: &'m mut [u8]) -> Option<&'m [u8]> {
        let frame = frame_number(self.descriptor)?.wrapping_add(self.frame_shift);
        let own = memory.get_mut(..self.descriptor.len())?;
        own.copy_from_slice(self.descriptor);
        renumber(own, frame);
        Some(own)
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Headers {
    /// As negotiated, in the order of [`WRITTEN`].
    ids: [Option<ExtensionId>; COUNT],
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
    pub(super) fn write(&mut self, header: &RtpHeader, values: Values<'_>, out: &mut Plaintext) {
        if values.descriptor.len() > SHORT_LEN {
            return self.write_long(header, values, out);
        }
        let mut memory = [0; SHORT_LEN];
        let descriptor = values.descriptor(&mut memory);
        let transport = values.transport.map(|number| number.0.to_be_bytes());
        let (carried, count, bits) = self.carried(&values, transport.as_ref(), descriptor);
        let carried = &carried[..count];
        if self.template.as_ref().is_none_or(|(last, _)| *last != bits) {
            self.lay_out(bits, carried);
        }
        out.put_header(|out| match &self.template {
            Some((_, template)) => template.write(header, carried.iter().map(|(_, value)| *value), out),
            None => _ = header.write_padded(carried, self.words, out),
        });
    }

    /// The same for a descriptor of a length of its own, as a key frame's first packet has: no layout is kept of it.
    fn write_long(&mut self, header: &RtpHeader, values: Values<'_>, out: &mut Plaintext) {
        let mut memory = [0; DESCRIPTOR_MAX];
        let descriptor = values.descriptor(&mut memory);
        let transport = values.transport.map(|number| number.0.to_be_bytes());
        let (carried, count, _) = self.carried(&values, transport.as_ref(), descriptor);
        out.put_header(|out| {
            header.write_padded(&carried[..count], self.words, out);
        });
    }

    /// The values that were negotiated, how many they are, and which, a bit each.
    fn carried<'a>(
        &self,
        values: &'a Values<'_>,
        transport: Option<&'a [u8; 2]>,
        descriptor: Option<&'a [u8]>,
    ) -> ([(ExtensionId, &'a [u8]); COUNT], usize, u8) {
        let values: [Option<&[u8]>; COUNT] = [
            transport.map(<[u8; 2]>::as_slice),
            values.audio_level.as_ref().map(core::slice::from_ref),
            values.orientation.as_ref().map(core::slice::from_ref),
            values.playout.as_ref().map(<[u8; 3]>::as_slice),
            descriptor,
        ];
        let (mut carried, mut count, mut bits) = ([(ExtensionId(0), &[][..]); COUNT], 0, 0);
        for (place, (id, value)) in self.ids.iter().zip(values).enumerate() {
            if let (Some(id), Some(value)) = (id, value) {
                carried[count] = (*id, value);
                count += 1;
                bits |= 1 << place;
            }
        }
        (carried, count, bits)
    }

    fn lay_out(&mut self, bits: u8, carried: &[(ExtensionId, &[u8])]) {
        let mut lengths = [(ExtensionId(0), 0); COUNT];
        for (length, (id, value)) in lengths.iter_mut().zip(carried) {
            *length = (*id, value.len());
        }
        // Five short values fit, whatever their identifiers; what does not is written without a layout.
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

    fn written(headers: &mut Headers, values: Values<'_>) -> Vec<u8> {
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

    #[test]
    fn descriptors_go_on_as_they_are_but_for_their_frames_numbers() {
        let mut negotiated = ExtensionMap::default();
        for (extension, id) in [(Extension::TransportSequence, 3), (Extension::DependencyDescriptor, 12)] {
            negotiated.set(extension, ExtensionId(id));
        }
        let mut headers = Headers::new(&negotiated);
        let long: Vec<u8> = (0..40).collect();
        let middle: Vec<u8> = (0..5).collect();
        for (descriptor, length) in [
            (&[0xc1, 0xff, 0xfe][..], 24),
            (&long, 64),
            (&[0xc2, 0xff, 0xff], 24),
            (&middle, 28),
            (&[0xc3, 0, 0], 24),
            (&[], 24),
            (&[1, 2], 24),
        ] {
            let values =
                Values { transport: Some(SeqNo(7)), descriptor, frame_shift: 3, ..Values::default() };
            let bytes = written(&mut headers, values);
            let view = RtpView::parse(&bytes).unwrap();
            assert_eq!(view.extension(ExtensionId(3)), Some(&[0, 7][..]), "{descriptor:?}");
            let own = view.extension(ExtensionId(12));
            let Some(frame) = frame_number(descriptor) else {
                assert_eq!(own, None, "{descriptor:?} is none");
                continue;
            };
            let own = own.unwrap();
            assert_eq!(frame_number(own), Some(frame.wrapping_add(3)));
            assert_eq!((own[0], &own[3..]), (descriptor[0], &descriptor[3..]));
            assert_eq!(bytes.len(), length, "{descriptor:?}: a long one makes no later header longer");
        }
        let values = Values { descriptor: &long, ..Values::default() };
        assert_eq!(written(&mut Headers::new(&ExtensionMap::default()), values).len(), 12, "not negotiated");
    }
}
