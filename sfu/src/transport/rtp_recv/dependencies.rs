//! `Dependencies`: what a stream's dependency descriptors say of its pictures' temporal layers.
//!
//! In: descriptors in the order in which their packets arrive. Out: [`Temporal`] for each. Time: none. Limit: one structure,
//! the newest that came.
//!
//! A picture *joins* its layer if who went without that layer may take it from here on. A descriptor does not say that of
//! the picture itself but of what came before: whoever has a frame that is a decode target's switching point (`S`) can
//! decode all that follows of it. So a target is *open* to those who go without its highest layer from a switching point in
//! a layer below, until a frame of the highest one comes on which others lean. It is told too late rather than too early.

use proto::codec::{Codec, Temporal};
use proto::rtp::dependency::{Descriptor, Indication, Structure};
use proto::rtp::extension::Extension;

use super::Arrival;
use crate::transport::packet::Described;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// The newest structure, and the number of the packet that brought it.
    structure: Option<(u64, Structure)>,
    newest: Option<Newest>,
    /// The targets that are open, a bit each.
    open: u32,
}

/// The newest frame.
#[derive(Debug, Clone, Copy)]
struct Newest {
    /// Its first packet that came.
    seq: u64,
    frame: u16,
    joins: bool,
}

impl Dependencies {
    /// The descriptor of a packet with this extended sequence number, and what it says.
    ///
    /// Only AV1's are looked at and go to subscribers: payloads of the other codecs tell of their layers themselves, and a
    /// receiver that gets descriptors waits for the packet that brought their structure before it looks at any other
    /// (libwebrtc keeps a hundred meanwhile, and then forgets all of them).
    pub(super) fn describe<'a>(&mut self, arrival: &Arrival<'a>, codec: Codec, seq: u64) -> Described<'a> {
        let id = arrival.extensions.id(Extension::DependencyDescriptor).filter(|_| codec == Codec::Av1);
        let Some(descriptor) = id.and_then(|id| arrival.view.extension(id)) else {
            return Described::default();
        };
        Described { descriptor, temporal: self.handle_descriptor(seq, descriptor) }
    }

    /// What is newer is told by sequence numbers: those of frames go on in all layers of a simulcast, so that one which rests
    /// for minutes comes back with any.
    fn handle_descriptor(&mut self, seq: u64, descriptor: &[u8]) -> Option<Temporal> {
        let known = self.structure.as_ref().map(|(_, structure)| structure);
        let (own, brought) = Descriptor::read(descriptor, known).ok()?;
        if let Some(structure) = brought
            && self.structure.as_ref().is_none_or(|(at, _)| seq > *at)
        {
            self.structure = Some((seq, structure));
            self.open = 0;
        }
        let is_same = self.newest.is_some_and(|newest| newest.frame == own.frame);
        if !is_same && self.newest.is_none_or(|newest| seq > newest.seq) {
            let joins = self.follow(&own);
            self.newest = Some(Newest { seq, frame: own.frame, joins });
        }
        // What comes late is not looked at again: nobody begins with it.
        let joins = self.newest.is_some_and(|newest| newest.frame == own.frame && newest.joins);
        Some(Temporal { layer: own.layer.temporal, joins })
    }

    /// Whether the newest frame joins its layer; notes what it means to those that follow.
    fn follow(&mut self, own: &Descriptor) -> bool {
        let Some((_, structure)) = &self.structure else { return false };
        let temporal = own.layer.temporal;
        let mut joins = true;
        for (place, target) in structure.targets().iter().enumerate() {
            let (bit, indication) = (1 << place, own.indication(place));
            let is_top = target.layer.temporal == temporal;
            if is_top && indication != Indication::NotPresent {
                joins &= indication == Indication::Switch || self.open & bit != 0;
            }
            let opens = match indication {
                Indication::NotPresent => continue,
                Indication::Discardable if is_top => continue, // who has not had it misses nothing later
                Indication::Switch => !is_top || temporal == 0,
                // Everybody has the lowest layer, but not those between.
                Indication::Discardable | Indication::Required if temporal == 0 => continue,
                Indication::Discardable | Indication::Required => false,
            };
            self.open = if opens { self.open | bit } else { self.open & !bit };
        }
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first packet of a key frame in three temporal layers, as Chromium sends it with VP8. The layers of its templates
    /// are 0, 0, 0, 1, 1, 2, 2, and what they are to the targets: `SSS SSS SRR -SS -DS --D --D`.
    const KEY_FRAME: [u8; 23] = [
        0x80, 0x00, 0x00, 0x80, 0x02, 0x04, 0x4e, 0xaa, 0xaf, 0x28, 0x60, 0x41, 0x4d, 0x34, 0x53, 0x8a, 0x09,
        0x40, 0x40, 0xb3, 0xc1, 0x3f, 0xc0,
    ];

    fn told(dependencies: &mut Dependencies, template: u8, frame: u8) -> Option<Temporal> {
        dependencies.handle_descriptor(u64::from(frame), &[0xc0 | template, 0, frame])
    }

    #[test]
    fn layers_are_joined_where_nothing_that_was_left_out_is_leaned_on() {
        let mut dependencies = Dependencies::default();
        assert_eq!(told(&mut dependencies, 1, 0), None, "nothing is known before a key frame");
        let first = dependencies.handle_descriptor(0, &KEY_FRAME);
        assert_eq!(first, Some(Temporal { layer: 0, joins: true }));
        for (template, frame, layer, joins, claim) in [
            (5, 1, 2, true, "after a switching point of the lowest layer"),
            (3, 2, 1, true, "a switching point itself"),
            (6, 3, 2, true, "after one of the layer between"),
            (2, 4, 0, true, "the lowest is never left out"),
            (4, 6, 1, false, "it leans on what came before in its own layer"),
            (5, 5, 2, false, "it comes late"),
            (6, 7, 2, true, "after a switching point of the layer between"),
            (6, 7, 2, true, "another packet of the same"),
            (1, 8, 0, true, "a switching point of all"),
            (4, 10, 1, true, "nothing of its layer came since"),
            (4, 12, 1, true, "and nothing that others lean on"),
        ] {
            let own = told(&mut dependencies, template, frame);
            assert_eq!(own, Some(Temporal { layer, joins }), "frame {frame}: {claim}");
        }
        assert_eq!(told(&mut dependencies, 7, 13), None, "no such template");
    }

    #[test]
    fn a_layer_that_rested_while_others_went_on_is_known_at_once() {
        let mut dependencies = Dependencies::default();
        dependencies.handle_descriptor(0, &KEY_FRAME);
        let mut again = KEY_FRAME;
        again[1..3].copy_from_slice(&40_000_u16.to_be_bytes());
        let back = dependencies.handle_descriptor(1, &again);
        assert_eq!(back, Some(Temporal { layer: 0, joins: true }));
        assert_eq!(dependencies.structure.as_ref().map(|(at, _)| *at), Some(1));
    }

    #[test]
    fn an_old_key_frame_that_comes_late_does_not_replace_a_newer_structure() {
        let mut dependencies = Dependencies::default();
        let mut newer = KEY_FRAME;
        newer[2] = 9;
        dependencies.handle_descriptor(9, &newer);
        let late = dependencies.handle_descriptor(0, &KEY_FRAME);
        assert_eq!(late, Some(Temporal { layer: 0, joins: false }));
        assert_eq!(dependencies.structure.as_ref().map(|(at, _)| *at), Some(9));
        assert_eq!(
            dependencies.handle_descriptor(10, &[0x80, 0, 0, 0xff]),
            None,
            "what cannot be read says nothing"
        );
        assert!(dependencies.structure.is_some());
    }
}
