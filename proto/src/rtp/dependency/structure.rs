//! The templates that a stream's frames are made after, and the decode targets that one may choose from.
//!
//! In: bits of a descriptor. Out: [`Structure`]. Time: none. Limit: see [`super::TEMPLATES_MAX`], [`super::TARGETS_MAX`].

use super::{
    DependencyError, FrameLayer, Indication, Indications, References, TARGETS_MAX, TEMPLATES_MAX, flag,
    number,
};
use crate::codec::bits::BitReader;

/// The most spatial layers: AV1's, and libwebrtc's limit.
const SPATIAL_MAX: u8 = 4;

/// The most temporal layers, likewise.
const TEMPORAL_MAX: u8 = 8;

/// Something to decode: all frames up to a size and a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// The highest layers that its frames are of.
    pub layer: FrameLayer,
    /// The chain that protects it: none is missing as long as none of the chain is.
    pub chain: Option<u8>,
}

/// What the frames made after a template have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Template {
    pub(super) layer: FrameLayer,
    pub(super) indications: Indications,
    pub(super) references: References,
    pub(super) chains: [u8; TARGETS_MAX],
}

/// A stream's structure; it holds until the next key frame brings another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The number of the first template.
    offset: u8,
    templates: Vec<Template>,
    targets: Vec<Target>,
    chains: u8,
    resolutions: Vec<(u32, u32)>,
}

impl Structure {
    /// What there is to choose from, as the sender numbers it: 1 to 32.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// How many chains there are; 0 if the sender keeps none.
    pub fn chains(&self) -> u8 {
        self.chains
    }

    /// Width and height in pixels by spatial layer, 1 to 65 536 each; empty if the sender does not say them.
    pub fn resolutions(&self) -> &[(u32, u32)] {
        &self.resolutions
    }

    /// The template of that number, which wraps at [`TEMPLATES_MAX`].
    pub(super) fn template(&self, id: u8) -> Option<&Template> {
        let place = (usize::from(id) + TEMPLATES_MAX - usize::from(self.offset)) % TEMPLATES_MAX;
        self.templates.get(place)
    }

    /// `template_dependency_structure()`.
    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, DependencyError> {
        let offset = number(bits, 6)? as u8;
        let count = number(bits, 5)? as usize + 1;
        let mut templates = read_layers(bits)?;
        for template in &mut templates {
            template.indications = Indications::read(bits, count)?;
        }
        for template in &mut templates {
            while flag(bits)? {
                template.references.push(number(bits, 4)? + 1)?;
            }
        }
        let mut targets = vec![Target::default(); count];
        let chains = below(bits, count as u32 + 1)? as u8;
        if chains > 0 {
            for target in &mut targets {
                target.chain = Some(below(bits, u32::from(chains))? as u8);
            }
            for template in &mut templates {
                for chain in &mut template.chains[..usize::from(chains)] {
                    *chain = number(bits, 4)? as u8;
                }
            }
        }
        for (place, target) in targets.iter_mut().enumerate() {
            target.layer = highest(&templates, place);
        }
        let sizes = templates.last().map_or(0, |last| last.layer.spatial + 1); // templates go by spatial layer
        let mut resolutions = Vec::new();
        if flag(bits)? {
            for _ in 0..sizes {
                resolutions.push((number(bits, 16)? + 1, number(bits, 16)? + 1));
            }
        }
        Ok(Self { offset, templates, targets, chains, resolutions })
    }
}

/// `template_layers()`: each template is of the same layer as the one before, the next temporal one, or the lowest of the
/// next spatial one.
fn read_layers(bits: &mut BitReader<'_>) -> Result<Vec<Template>, DependencyError> {
    let (mut templates, mut layer) = (Vec::new(), FrameLayer::default());
    loop {
        if templates.len() == TEMPLATES_MAX || layer.spatial >= SPATIAL_MAX || layer.temporal >= TEMPORAL_MAX
        {
            return Err(DependencyError::TooManyLayers);
        }
        templates.push(Template { layer, ..Template::default() });
        match number(bits, 2)? {
            0 => {}
            1 => layer.temporal += 1,
            2 => layer = FrameLayer { spatial: layer.spatial + 1, temporal: 0 },
            _ => return Ok(templates),
        }
    }
}

/// `decode_target_layers()`: the highest layers of the templates that a target has.
fn highest(templates: &[Template], target: usize) -> FrameLayer {
    let own = templates.iter().filter(|own| own.indications.of(target) != Indication::NotPresent);
    own.fold(FrameLayer::default(), |highest, Template { layer, .. }| FrameLayer {
        spatial: highest.spatial.max(layer.spatial),
        temporal: highest.temporal.max(layer.temporal),
    })
}

/// `ns(n)`: a number below `count`, 1 to 33, in as few bits as may be (AV1 §4.10.7).
fn below(bits: &mut BitReader<'_>, count: u32) -> Result<u32, DependencyError> {
    let width = u32::BITS - count.leading_zeros();
    let short = (1 << width) - count;
    let value = number(bits, width - 1)?;
    if value < short {
        return Ok(value);
    }
    Ok((value << 1) - short + number(bits, 1)?)
}
