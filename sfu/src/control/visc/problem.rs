//! The problem: who can send what, who sees whom how large, and what every path and device carries.
//!
//! In: layouts, estimates and abilities, as the worker knows them. Out: a checked [`Problem`]. Limit: the maxima below;
//! what is beyond them is an error, not a slow answer.
//!
//! Sound is not part of it: it is always sent, and the caller takes what it needs out of the rates stated here, as it does
//! with what redundancy and probing need.

use proto::units::Bitrate;

use super::ladder::{self, LadderError, PixelRate, Tier};

/// People who publish pictures in one room.
pub const PUBLISHERS_MAX: usize = 64;

/// Pictures that one of them may publish.
pub const SOURCES_MAX: usize = 4;

/// People who see pictures.
pub const SUBSCRIBERS_MAX: usize = 1_024;

/// Slots of a layout.
pub const SLOTS_MAX: usize = 32;

/// Pairs of a source and a subscriber that sees it.
pub const PAIRS_MAX: usize = 8_192;

/// A publisher's number, which stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherKey(pub u64);

/// A source's number, which stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(pub u64);

/// A subscriber's number, which stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberKey(pub u64);

/// Who sends: their paths, their devices, their pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Who it is.
    pub key: PublisherKey,
    /// What its path carries of pictures.
    pub uplink: Bitrate,
    /// What its device encodes.
    pub pixel_rate: PixelRate,
    /// Its pictures, the most important first: where the path does not carry the smallest tiers of all, the last go first.
    pub sources: Vec<Source>,
}

/// A picture that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Which it is.
    pub key: SourceKey,
    /// How many tiers it may be sent in at once: three in browsers, four and more in native clients.
    pub streams: usize,
    /// The tiers that it can be sent in, the smallest first.
    pub offers: Vec<Offer>,
}

/// A tier that a picture can be sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What it looks like, and the rate it is made for: what its quality is judged by.
    pub tier: Tier,
    /// What it takes with all headers, as measured or stated; else the tier's. Where a smaller tier is measured to take
    /// more, this one is taken to need as much.
    pub rate: Bitrate,
    /// Its temporal layers.
    pub layers: TemporalLayers,
}

impl Offer {
    /// A tier that nobody has measured.
    pub const fn unmeasured(tier: Tier, layers: TemporalLayers) -> Self {
        Self { tier, rate: tier.rate, layers }
    }
}

/// Temporal layers of a stream: a subscriber may have the lower ones alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemporalLayers {
    /// Every picture or none.
    One,
    /// Half of the pictures for 60 % of the rate.
    Two,
    /// A quarter of the pictures for 40 %, half of them for 60 %.
    Three,
}

impl TemporalLayers {
    /// The rate up to each layer as a share of the whole: libwebrtc's allocation for VP8.
    pub const fn rate_shares(self) -> &'static [f64] {
        match self {
            Self::One => &[1.0],
            Self::Two => &[0.6, 1.0],
            Self::Three => &[0.4, 0.6, 1.0],
        }
    }

    /// The pictures up to each layer as a share of all.
    pub const fn picture_shares(self) -> &'static [f64] {
        match self {
            Self::One => &[1.0],
            Self::Two => &[0.5, 1.0],
            Self::Three => &[0.25, 0.5, 1.0],
        }
    }
}

/// Who sees: their paths, their devices, what is in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// Who it is.
    pub key: SubscriberKey,
    /// What its path carries of pictures.
    pub downlink: Bitrate,
    /// What its device decodes.
    pub decode: Decode,
    /// What it sees.
    pub layout: Layout,
}

/// What a device decodes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decode {
    /// Pixels a second of all pictures.
    pub pixel_rate: PixelRate,
    /// How many pictures.
    pub streams: usize,
}

impl Decode {
    /// A device whose limits nobody knows.
    pub const UNKNOWN: Self = Self { pixel_rate: PixelRate::MAX, streams: usize::MAX };
}

/// What somebody sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Its slots. A source that nobody publishes is left out; of two slots of one source the first in sight counts.
    pub slots: Vec<Slot>,
}

/// A picture's place in a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose picture it is.
    pub source: SourceKey,
    /// In device pixels.
    pub width: u32,
    /// In device pixels.
    pub height: u32,
    /// What it is to whoever sees it.
    pub role: Role,
    /// How much it matters among those of its role and size.
    pub weight: Weight,
    /// The most pictures a second that are of use, if anybody has said.
    pub fps_max: Option<u32>,
    /// Whether it is in sight.
    pub visible: bool,
}

/// What a picture is to whoever sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A shared screen.
    Screen,
    /// Who speaks, or whose room it is.
    Speaker,
    /// One among equals.
    Grid,
    /// One at the margin.
    Thumbnail,
}

/// How much a slot matters, in percent of the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(pub u16);

impl Weight {
    /// As much as others.
    pub const USUAL: Self = Self(100);
}

/// A room at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// Who sends.
    pub publishers: Vec<Publisher>,
    /// Who sees.
    pub subscribers: Vec<Subscriber>,
}

/// Why a problem is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    /// Too many publishers.
    #[error("{0} publishers, at most {PUBLISHERS_MAX}")]
    TooManyPublishers(usize),
    /// Too many pictures of one publisher.
    #[error("{sources} sources of publisher {publisher}, at most {SOURCES_MAX}", publisher = publisher.0)]
    TooManySources {
        /// Whose.
        publisher: PublisherKey,
        /// How many.
        sources: usize,
    },
    /// Too many subscribers.
    #[error("{0} subscribers, at most {SUBSCRIBERS_MAX}")]
    TooManySubscribers(usize),
    /// Too large a layout.
    #[error("{slots} slots of subscriber {subscriber}, at most {SLOTS_MAX}", subscriber = subscriber.0)]
    TooManySlots {
        /// Whose.
        subscriber: SubscriberKey,
        /// How many.
        slots: usize,
    },
    /// Too many pairs of source and subscriber.
    #[error("{0} slots in all layouts, at most {PAIRS_MAX}")]
    TooManyPairs(usize),
    /// A publisher, a source or a subscriber is there twice.
    #[error("{what} {key} is there twice")]
    Twice {
        /// Which kind.
        what: &'static str,
        /// Its number.
        key: u64,
    },
    /// A source's tiers are none.
    #[error("source {source_key}: {error}", source_key = key.0)]
    Ladder {
        /// Which.
        key: SourceKey,
        /// Why.
        error: LadderError,
    },
    /// A tier that takes nothing.
    #[error("source {source_key}: tier {tier} takes no rate", source_key = key.0)]
    Free {
        /// Which source.
        key: SourceKey,
        /// The tier's place.
        tier: usize,
    },
}

impl Problem {
    /// Whether it can be planned for.
    pub fn check(&self) -> Result<(), ProblemError> {
        if self.publishers.len() > PUBLISHERS_MAX {
            return Err(ProblemError::TooManyPublishers(self.publishers.len()));
        }
        if self.subscribers.len() > SUBSCRIBERS_MAX {
            return Err(ProblemError::TooManySubscribers(self.subscribers.len()));
        }
        for Publisher { key, sources, .. } in &self.publishers {
            if sources.len() > SOURCES_MAX {
                return Err(ProblemError::TooManySources { publisher: *key, sources: sources.len() });
            }
            sources.iter().try_for_each(check_source)?;
        }
        for Subscriber { key, layout, .. } in &self.subscribers {
            if layout.slots.len() > SLOTS_MAX {
                return Err(ProblemError::TooManySlots { subscriber: *key, slots: layout.slots.len() });
            }
        }
        let pairs: usize = self.subscribers.iter().map(|subscriber| subscriber.layout.slots.len()).sum();
        if pairs > PAIRS_MAX {
            return Err(ProblemError::TooManyPairs(pairs));
        }
        once("publisher", self.publishers.iter().map(|publisher| publisher.key.0))?;
        once("source", self.sources().map(|source| source.key.0))?;
        once("subscriber", self.subscribers.iter().map(|subscriber| subscriber.key.0))
    }

    /// All pictures, publisher by publisher.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.publishers.iter().flat_map(|publisher| &publisher.sources)
    }
}

fn once(what: &'static str, keys: impl Iterator<Item = u64>) -> Result<(), ProblemError> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(ProblemError::Twice { what, key });
        }
    }
    Ok(())
}

fn check_source(source: &Source) -> Result<(), ProblemError> {
    let key = source.key;
    ladder::check(source.offers.iter().map(|offer| offer.tier))
        .map_err(|error| ProblemError::Ladder { key, error })?;
    let free = source.offers.iter().position(|offer| offer.rate == Bitrate::ZERO);
    free.map_or(Ok(()), |tier| Err(ProblemError::Free { key, tier }))
}
