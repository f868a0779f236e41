use proptest::prelude::*;

use super::structure::Target;
use super::*;
use crate::codec::bits::tests::BitWriter;

/// The first packet of a key frame in three temporal layers, as Chromium sends it with VP8.
const KEY_FRAME: [u8; 23] = [
    0x80, 0x23, 0xc5, 0x80, 0x02, 0x04, 0x4e, 0xaa, 0xaf, 0x28, 0x60, 0x41, 0x4d, 0x34, 0x53, 0x8a, 0x09,
    0x40, 0x40, 0xb3, 0xc1, 0x3f, 0xc0,
];

fn structure() -> Structure {
    Descriptor::read(&KEY_FRAME, None).unwrap().1.unwrap()
}

#[test]
fn chromiums_key_frame_brings_three_targets() {
    let (own, brought) = Descriptor::read(&KEY_FRAME, None).unwrap();
    let structure = brought.unwrap();
    assert!(own.starts_frame && !own.ends_frame);
    assert_eq!((own.frame, own.layer, own.active), (0x23c5, FrameLayer::default(), Some(0b111)));
    assert_eq!((own.references(), own.chains()), (&[][..], &[][..]), "it leans on nothing");
    let targets: Vec<Target> =
        (0..3).map(|temporal| Target { layer: FrameLayer { spatial: 0, temporal }, chain: None }).collect();
    assert_eq!(structure.targets(), targets);
    assert_eq!((structure.chains(), structure.resolutions()), (0, &[(720, 1_280)][..]));
    assert_eq!(
        [0, 1, 2, 3].map(|target| own.indication(target) == Indication::NotPresent),
        [false, false, false, true]
    );
}

#[test]
fn later_frames_are_read_by_the_structure_that_came_before() {
    let structure = structure();
    let mut layers = Vec::new();
    for template in 0..9 {
        let short = [0xc0 | template, 1, 2];
        assert_eq!(Descriptor::read(&short, None), Err(DependencyError::NoStructure));
        match Descriptor::read(&short, Some(&structure)) {
            Ok((own, brought)) => {
                assert!(own.starts_frame && own.ends_frame && brought.is_none());
                assert_eq!((own.frame, own.active), (0x0102, None));
                assert_eq!(own.references().is_empty(), template == 0, "template {template}");
                layers.push(own.layer.temporal);
            }
            Err(error) => assert_eq!(error, DependencyError::UnknownTemplate(template)),
        }
    }
    assert_eq!(layers, [0, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn what_is_cut_short_or_too_much_is_refused() {
    for length in 0..KEY_FRAME.len() - 1 {
        let error =
            if length == SHORT_LEN { DependencyError::NoStructure } else { DependencyError::Truncated };
        assert_eq!(Descriptor::read(&KEY_FRAME[..length], None), Err(error), "{length} bytes");
    }
    let header = |bits: BitWriter| bits.bits(8, 0xc0).bits(16, 1).bits(5, 0b10000).bits(6, 0).bits(5, 0);
    let templates = |steps: &[u64]| {
        let bits = steps.iter().fold(header(BitWriter::default()), |bits, step| bits.bits(2, *step));
        bits.bits(32, 0).bits(32, 0).finish()
    };
    for (claim, steps) in [
        ("a fifth spatial layer", vec![2; 4]),
        ("a ninth temporal layer", vec![1; 8]),
        ("a 65th template", vec![0; 64]),
    ] {
        let error = Err(DependencyError::TooManyLayers);
        assert_eq!(Descriptor::read(&templates(&steps), None), error, "{claim}");
    }
    let nine = (0..9).fold(header(BitWriter::default()).bits(2, 3).bits(2, 0), |bits, _| bits.bits(5, 0x10));
    let nine = nine.bits(32, 0).finish();
    assert_eq!(Descriptor::read(&nine, None), Err(DependencyError::TooManyReferences));
}

#[test]
fn a_frame_is_given_another_number_and_keeps_all_else() {
    let mut bytes = KEY_FRAME;
    renumber(&mut bytes, 0xffff);
    let (before, after) =
        (Descriptor::read(&KEY_FRAME, None).unwrap(), Descriptor::read(&bytes, None).unwrap());
    assert_eq!(frame_number(&bytes), Some(0xffff));
    assert_eq!((Descriptor { frame: 0x23c5, ..after.0 }, after.1), before);
    let mut short = [1, 2];
    renumber(&mut short, 7);
    assert_eq!((short, frame_number(&short)), ([1, 2], None), "that was no descriptor");
}

/// A template: the step to the next one's layer (0 to 2), its indications, references and chains.
#[derive(Debug, Clone)]
struct Made(u8, Vec<u8>, Vec<u8>, Vec<u8>);

/// A structure and one frame, as a sender has them.
#[derive(Debug, Clone)]
struct Sent {
    offset: u8,
    templates: Vec<Made>,
    targets: usize,
    protected_by: Vec<u8>,
    chains: usize,
    has_sizes: bool,
    template: usize,
    active: Option<u32>,
    indications: Option<Vec<u8>>,
    references: Option<Vec<u16>>,
    distances: Option<Vec<u8>>,
}

fn sent() -> impl Strategy<Value = Sent> {
    (1_usize..=32, 1_usize..=8).prop_flat_map(|(targets, templates)| {
        (0..=targets).prop_flat_map(move |chains| {
            let indications = prop::collection::vec(0_u8..4, targets);
            let template = (
                0_u8..3,
                indications.clone(),
                prop::collection::vec(1_u8..=16, 0..=REFERENCES_MAX),
                prop::collection::vec(0_u8..16, chains),
            )
                .prop_map(|(step, indications, references, chains)| {
                    Made(step, indications, references, chains)
                });
            (
                (0_u8..64, prop::collection::vec(template, templates)),
                prop::collection::vec(0..chains.max(1) as u8, targets),
                (any::<bool>(), 0..templates),
                prop::option::of(any::<u32>()),
                prop::option::of(indications),
                prop::option::of(prop::collection::vec(1_u16..=4_096, 0..=REFERENCES_MAX)),
                prop::option::of(prop::collection::vec(any::<u8>(), chains)),
            )
                .prop_map(
                    move |(head, protected_by, frame, active, indications, references, distances)| Sent {
                        offset: head.0,
                        templates: head.1,
                        targets,
                        protected_by,
                        chains,
                        has_sizes: frame.0,
                        template: frame.1,
                        active: active.map(|active| active & (u64::MAX >> (64 - targets)) as u32),
                        indications,
                        references,
                        distances,
                    },
                )
        })
    })
}

impl Sent {
    /// The templates' layers; `None` if there are more than there can be.
    fn layers(&self) -> Option<Vec<FrameLayer>> {
        let mut layer = FrameLayer::default();
        let mut layers = Vec::new();
        for Made(step, ..) in &self.templates {
            layers.push(layer);
            match step {
                1 => layer.temporal += 1,
                2 => layer = FrameLayer { spatial: layer.spatial + 1, temporal: 0 },
                _ => {}
            }
        }
        layers.iter().all(|layer| layer.spatial < 4 && layer.temporal < 8).then_some(layers)
    }

    fn write(&self) -> Vec<u8> {
        let numbers = |bits: BitWriter, width: u32, all: &[u8]| {
            all.iter().fold(bits, |bits, number| bits.bits(width, u64::from(*number)))
        };
        let id = (usize::from(self.offset) + self.template) % TEMPLATES_MAX;
        let mut bits = BitWriter::default().bits(2, 2).bits(6, id as u64).bits(16, 77).bits(1, 1);
        let flags = [self.active.is_some(), self.indications.is_some(), self.references.is_some()];
        for flag in flags.into_iter().chain([self.distances.is_some()]) {
            bits = bits.bits(1, u64::from(flag));
        }
        bits = bits.bits(6, u64::from(self.offset)).bits(5, self.targets as u64 - 1);
        for (place, Made(step, ..)) in self.templates.iter().enumerate() {
            let is_last = place + 1 == self.templates.len();
            bits = bits.bits(2, if is_last { 3 } else { u64::from(*step) });
        }
        for Made(_, indications, ..) in &self.templates {
            bits = numbers(bits, 2, indications);
        }
        for Made(_, _, references, _) in &self.templates {
            bits =
                references.iter().fold(bits, |bits, distance| bits.bits(5, 0x10 | u64::from(distance - 1)));
            bits = bits.bits(1, 0);
        }
        bits = below(bits, self.chains as u64, self.targets as u64 + 1);
        if self.chains > 0 {
            for chain in &self.protected_by {
                bits = below(bits, u64::from(*chain), self.chains as u64);
            }
            for Made(.., chains) in &self.templates {
                bits = numbers(bits, 4, chains);
            }
        }
        bits = bits.bits(1, u64::from(self.has_sizes));
        let sizes = self.layers().and_then(|layers| layers.last().map(|last| last.spatial + 1)).unwrap_or(0);
        for size in 0..sizes * u8::from(self.has_sizes) {
            bits = bits.bits(16, u64::from(size)).bits(16, 0xffff);
        }
        if let Some(active) = self.active {
            bits = bits.bits(self.targets as u32, u64::from(active));
        }
        bits = numbers(bits, 2, self.indications.as_deref().unwrap_or_default());
        if let Some(references) = &self.references {
            for distance in references {
                let size = (u16::BITS - (distance - 1).leading_zeros()).div_ceil(4).max(1);
                bits = bits.bits(2, u64::from(size)).bits(4 * size, u64::from(distance - 1));
            }
            bits = bits.bits(2, 0);
        }
        numbers(bits, 8, self.distances.as_deref().unwrap_or_default()).finish()
    }
}

/// `ns(n)` the other way round (AV1 §4.10.7).
fn below(bits: BitWriter, value: u64, count: u64) -> BitWriter {
    let width = u64::BITS - count.leading_zeros();
    let short = (1 << width) - count;
    if value < short { bits.bits(width - 1, value) } else { bits.bits(width, value + short) }
}

proptest! {
    #[test]
    fn what_a_sender_says_is_read(sent in sent()) {
        let Some(layers) = sent.layers() else {
            prop_assert_eq!(Descriptor::read(&sent.write(), None), Err(DependencyError::TooManyLayers));
            return Ok(());
        };
        let (own, structure) = Descriptor::read(&sent.write(), None).unwrap();
        let structure = structure.unwrap();
        let Made(_, indications, references, chains) = &sent.templates[sent.template];
        prop_assert_eq!((own.starts_frame, own.ends_frame, own.frame), (true, false, 77));
        prop_assert_eq!(own.layer, layers[sent.template]);
        let all = (u64::MAX >> (64 - sent.targets)) as u32;
        prop_assert_eq!(own.active, Some(sent.active.unwrap_or(all)));
        let references: Vec<u16> = references.iter().map(|distance| u16::from(*distance)).collect();
        prop_assert_eq!(own.references(), &sent.references.clone().unwrap_or(references)[..]);
        prop_assert_eq!(own.chains(), &sent.distances.clone().unwrap_or(chains.clone())[..]);
        let indications = sent.indications.as_ref().unwrap_or(indications);
        for (target, indication) in indications.iter().enumerate() {
            prop_assert_eq!(own.indication(target) as u8, *indication);
        }
        prop_assert_eq!((structure.targets().len(), usize::from(structure.chains())), (sent.targets, sent.chains));
        for (place, target) in structure.targets().iter().enumerate() {
            prop_assert_eq!(target.chain, (sent.chains > 0).then(|| sent.protected_by[place]));
            let of = |layer: fn(FrameLayer) -> u8| {
                let present = layers.iter().zip(&sent.templates).filter(|(_, template)| template.1[place] != 0);
                present.map(|(own, _)| layer(*own)).max().unwrap_or(0)
            };
            prop_assert_eq!(target.layer, FrameLayer { spatial: of(|own| own.spatial), temporal: of(|own| own.temporal) });
        }
        let sizes: Vec<_> = (1..=u32::from(layers.last().unwrap().spatial) + 1).map(|width| (width, 0x1_0000)).collect();
        prop_assert_eq!(structure.resolutions(), if sent.has_sizes { &sizes[..] } else { &[] });
    }

    #[test]
    fn whatever_comes_is_read_without_panic_and_within_limits(
        head in prop::sample::select(vec![&KEY_FRAME[..], &KEY_FRAME[..8], &[0x80, 0, 0, 0x80], &[]]),
        tail in prop::collection::vec(any::<u8>(), 0..80), flips in prop::collection::vec((0_usize..40, any::<u8>()), 0..4),
    ) {
        let mut bytes = [head, &tail].concat();
        for (place, flip) in flips {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= flip;
            }
        }
        for known in [None, Some(structure())] {
            let Ok((own, brought)) = Descriptor::read(&bytes, known.as_ref()) else { continue };
            let structure = brought.or(known).unwrap();
            prop_assert!((1..=TARGETS_MAX).contains(&structure.targets().len()));
            prop_assert!(structure.targets().iter().all(|own| own.chain.is_none_or(|chain| chain < structure.chains())));
            prop_assert_eq!(own.chains().len(), usize::from(structure.chains()));
            prop_assert!(own.references().iter().all(|distance| (1..=4_096).contains(distance)));
            prop_assert!(own.layer.spatial < 4 && own.layer.temporal < 8);
        }
    }
}
