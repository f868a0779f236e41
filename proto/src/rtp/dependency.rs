//! The dependency descriptor (AV1's RTP payload format 1.0, appendix A): which layer a picture's frame is of, and which
//! others it leans on, whatever the codec and its encryption.
//!
//! In: the extension's value, and the [`Structure`] that the stream sent last. Out: [`Descriptor`], and a new structure, which
//! comes with key frames. Time: none. Limit: [`TEMPLATES_MAX`] templates, [`TARGETS_MAX`] decode targets,
//! [`REFERENCES_MAX`] references; nothing is allocated but for a new structure.
//!
//! A forwarder sends descriptors on as they are, but for one field: where it joins streams their frame numbers must go on
//! rising, see [`renumber`].

mod structure;

pub use structure::{Structure, Target};

use structure::Template;

use crate::codec::bits::{BitReader, Escapes};

/// The most templates: their numbers have six bits.
pub const TEMPLATES_MAX: usize = 64;

/// The most decode targets: their count has five bits.
pub const TARGETS_MAX: usize = 32;

/// The most frames that one leans on directly: AV1 keeps eight (`NUM_REF_FRAMES`), other codecs fewer.
pub const REFERENCES_MAX: usize = 8;

/// The fields that every descriptor has, in bytes.
pub const SHORT_LEN: usize = 3;

/// How many flags a longer one has, and which optional fields they tell of.
const FLAGS: u32 = 5;
const HAS_STRUCTURE: u32 = 1 << 4;
const HAS_ACTIVE: u32 = 1 << 3;
const HAS_INDICATIONS: u32 = 1 << 2;
const HAS_REFERENCES: u32 = 1 << 1;
const HAS_CHAINS: u32 = 1;

/// Why a descriptor cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// It ends before its last field.
    #[error("cut short")]
    Truncated,
    /// The stream has sent no structure that would explain it.
    #[error("no structure is known")]
    NoStructure,
    /// The structure has no such template.
    #[error("template {0} is none of the structure's")]
    UnknownTemplate(u8),
    /// A structure has more than [`TEMPLATES_MAX`] templates, four spatial layers or eight temporal ones.
    #[error("more templates or layers than there can be")]
    TooManyLayers,
    /// A frame leans on more than [`REFERENCES_MAX`] others.
    #[error("more references than there can be")]
    TooManyReferences,
}

/// What a frame is to a decode target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indication {
    /// It is no part of it.
    NotPresent,
    /// No other of its frames leans on this one.
    Discardable,
    /// Who can decode this frame can decode all that follow of the target.
    Switch,
    /// Others lean on it.
    Required,
}

/// A frame's place among the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameLayer {
    /// By size, 0 to 3.
    pub spatial: u8,
    /// By rate, 0 to 7.
    pub temporal: u8,
}

/// What a frame is to each decode target, two bits a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Indications(u64);

impl Indications {
    fn read(bits: &mut BitReader<'_>, targets: usize) -> Result<Self, DependencyError> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(number(bits, 2)?) << (2 * target);
        }
        Ok(Self(all))
    }

    fn of(self, target: usize) -> Indication {
        match self.0.checked_shr(2 * target as u32).unwrap_or(0) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }
}

/// How many frames back those are that one leans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct References {
    distances: [u16; REFERENCES_MAX],
    count: u8,
}

impl References {
    fn push(&mut self, distance: u32) -> Result<(), DependencyError> {
        let place = self.distances.get_mut(usize::from(self.count));
        *place.ok_or(DependencyError::TooManyReferences)? = distance as u16; // 4096 at most
        self.count += 1;
        Ok(())
    }
}

/// What a packet's descriptor says of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether the packet is its frame's first.
    pub starts_frame: bool,
    /// Whether it is the last.
    pub ends_frame: bool,
    /// The frame's number, which wraps.
    pub frame: u16,
    /// The frame's layer.
    pub layer: FrameLayer,
    /// The decode targets that are sent from here on, a bit each; `None` if that does not change.
    pub active: Option<u32>,
    indications: Indications,
    references: References,
    chains: [u8; TARGETS_MAX],
    chain_count: u8,
}

impl Descriptor {
    /// Reads a descriptor by the structure that it brings, or else by the one that is `known`.
    pub fn read(
        value: &[u8],
        known: Option<&Structure>,
    ) -> Result<(Self, Option<Structure>), DependencyError> {
        let mut bits = BitReader::new(value, Escapes::None);
        let (starts_frame, ends_frame) = (flag(&mut bits)?, flag(&mut bits)?);
        let id = number(&mut bits, 6)? as u8;
        let frame = number(&mut bits, 16)? as u16;
        let flags = if value.len() > SHORT_LEN { number(&mut bits, FLAGS)? } else { 0 };
        let has = |flag: u32| flags & flag != 0;
        let brought = has(HAS_STRUCTURE).then(|| Structure::read(&mut bits)).transpose()?;
        let structure = brought.as_ref().or(known).ok_or(DependencyError::NoStructure)?;
        let targets = structure.targets().len();
        let all = (u64::MAX >> (64 - targets.clamp(1, TARGETS_MAX))) as u32;
        let mut active = brought.as_ref().map(|_| all);
        if has(HAS_ACTIVE) {
            active = Some(number(&mut bits, targets as u32)?);
        }
        let template = structure.template(id).ok_or(DependencyError::UnknownTemplate(id))?;
        let Template { layer, mut indications, mut references, mut chains } = *template;
        let chain_count = structure.chains();
        if has(HAS_INDICATIONS) {
            indications = Indications::read(&mut bits, targets)?;
        }
        if has(HAS_REFERENCES) {
            references = frame_references(&mut bits)?;
        }
        if has(HAS_CHAINS) {
            for chain in &mut chains[..usize::from(chain_count)] {
                *chain = number(&mut bits, 8)? as u8;
            }
        }
        let own = Self {
            starts_frame,
            ends_frame,
            frame,
            layer,
            active,
            indications,
            references,
            chains,
            chain_count,
        };
        Ok((own, brought))
    }

    /// What the frame is to a decode target of the structure.
    pub fn indication(&self, target: usize) -> Indication {
        self.indications.of(target)
    }

    /// How many frames back those are that it leans on, 1 to 4096; none for a key frame.
    pub fn references(&self) -> &[u16] {
        &self.references.distances[..usize::from(self.references.count)]
    }

    /// By chain: how many frames back the chain's last frame before this one is; 0 at its beginning. Who has had that one
    /// has missed nothing of the decode targets that the chain protects.
    pub fn chains(&self) -> &[u8] {
        &self.chains[..usize::from(self.chain_count)]
    }
}

/// Gives the frame of a descriptor another number; what is no descriptor is left alone.
pub fn renumber(value: &mut [u8], frame: u16) {
    if let Some(field) = value.get_mut(1..SHORT_LEN) {
        field.copy_from_slice(&frame.to_be_bytes());
    }
}

/// Whether a descriptor brings a structure: a receiver can begin with such a one alone.
pub fn brings_structure(value: &[u8]) -> bool {
    value.get(SHORT_LEN).is_some_and(|flags| u32::from(*flags >> (8 - FLAGS)) & HAS_STRUCTURE != 0)
}

/// The number of a descriptor's frame; `None` for what is no descriptor.
pub fn frame_number(value: &[u8]) -> Option<u16> {
    let &[_, high, low, ..] = value else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// `frame_fdiffs()`: distances of four, eight or twelve bits.
fn frame_references(bits: &mut BitReader<'_>) -> Result<References, DependencyError> {
    let mut references = References::default();
    loop {
        match number(bits, 2)? {
            0 => return Ok(references),
            size => references.push(number(bits, 4 * size)? + 1)?,
        }
    }
}

fn flag(bits: &mut BitReader<'_>) -> Result<bool, DependencyError> {
    bits.flag().ok_or(DependencyError::Truncated)
}

fn number(bits: &mut BitReader<'_>, count: u32) -> Result<u32, DependencyError> {
    bits.bits(count).ok_or(DependencyError::Truncated)
}

#[cfg(test)]
mod tests;
