//! Rooms from seeds: how large they are, what their paths carry, what is seen in them.
//!
//! In: an instance's name, a seed, settings. Out: a [`Problem`]. Rates are lognormal: paths differ by factors.

use anyhow::Context as _;
use proto::seed::{Chance, Seed};
use proto::units::Bitrate;
use sfu::control::visc::problem::{
    Decode, Layout, Offer, Publisher, PublisherKey, Role, Slot, Source, SourceKey, Subscriber, SubscriberKey,
    Weight,
};
use sfu::control::visc::{PixelRate, Problem, Tier};

use super::settings::Settings;

/// A room of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// Nine who see each other.
    NineGrid,
    /// Two teams of six.
    SixVSix,
    /// Four who sing, forty who listen.
    FourByForty,
    /// Four who publish, six who watch.
    FourBySix,
    /// Two hosts, nine who watch.
    TwoByNine,
    /// Twelve who see each other: for the time that planning takes.
    TwelveByTwelve,
    /// Eighteen who publish, a hundred who watch: the same.
    EighteenByHundred,
}

impl Name {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::NineGrid,
        Self::SixVSix,
        Self::FourByForty,
        Self::FourBySix,
        Self::TwoByNine,
        Self::TwelveByTwelve,
        Self::EighteenByHundred,
    ];

    /// As people write it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::NineGrid => "nine-grid",
            Self::SixVSix => "6v6",
            Self::FourByForty => "4x40",
            Self::FourBySix => "4x6",
            Self::TwoByNine => "2x9",
            Self::TwelveByTwelve => "12x12",
            Self::EighteenByHundred => "18x100",
        }
    }

    /// Whether it is there for the time that planning takes, and not for how good plans are.
    pub(super) const fn is_timed_only(self) -> bool {
        matches!(self, Self::TwelveByTwelve | Self::EighteenByHundred)
    }

    /// How many publish and how many watch, and whether these are the same people.
    const fn size(self) -> (u64, u64, bool) {
        match self {
            Self::NineGrid => (9, 9, true),
            Self::SixVSix | Self::TwelveByTwelve => (12, 12, true),
            Self::FourByForty => (4, 40, false),
            Self::FourBySix => (4, 6, false),
            Self::TwoByNine => (2, 9, false),
            Self::EighteenByHundred => (18, 100, false),
        }
    }

    /// The share of a screen's sides that a picture takes, and what it is, to somebody who watches.
    fn place(self, publisher: u64, subscriber: u64) -> (f64, Role) {
        let is_lead = publisher == 0 || (self == Self::SixVSix && publisher == 6);
        let is_rival = (publisher < 6) != (subscriber < 6);
        let share = match self {
            Self::NineGrid => 1.0 / 3.0,
            Self::SixVSix => match (is_lead, is_rival) {
                (true, _) => 1.0 / 3.0,
                (false, true) => 0.25,
                (false, false) => 0.2,
            },
            Self::FourByForty if is_lead => 0.75,
            Self::FourByForty | Self::TwelveByTwelve => 0.25,
            Self::FourBySix | Self::TwoByNine => 0.5,
            Self::EighteenByHundred => {
                if is_lead {
                    0.6
                } else {
                    0.2
                }
            }
        };
        let speaks = is_lead && matches!(self, Self::FourByForty | Self::EighteenByHundred);
        (share, if speaks { Role::Speaker } else { Role::Grid })
    }
}

impl std::str::FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|name| name.text() == text);
        found.with_context(|| {
            format!("`{text}` is no instance; there are {}", Self::ALL.map(Self::text).join(", "))
        })
    }
}

/// What a weak device decodes: four pictures of 640 × 360.
const WEAK: PixelRate = PixelRate(4 * 640 * 360 * 30);

/// The screens of those who watch, and how often each is met, of eight.
const SCREENS: [((u32, u32), u32); 3] = [((1_920, 1_080), 4), ((1_280, 720), 2), ((2_560, 1_440), 2)];

/// The room of a seed.
pub(super) fn problem(name: Name, seed: u64, settings: &Settings) -> Problem {
    let seed = Seed::from_number(seed).fork(name.text());
    let (publishers, subscribers, same) = name.size();
    let mut chance = seed.fork("uplinks").generator();
    let publishers: Vec<Publisher> = (0..publishers)
        .map(|key| {
            let uplink = rate(settings.uplink, settings.uplink_spread, &mut chance);
            publisher(key, uplink, settings)
        })
        .collect();
    let mut downlinks = seed.fork("downlinks").generator();
    let mut devices = seed.fork("devices").generator();
    let subscribers = (0..subscribers).map(|key| {
        let seen = (0..publishers.len() as u64).filter(|publisher| !same || *publisher != key);
        let screen = screen(&mut devices);
        let is_weak = share(&mut devices) < settings.weak;
        let slot =
            |publisher: u64| slot(name, (publisher, key), screen, share(&mut devices) >= settings.hidden);
        let slots = seen.map(slot).collect();
        let pixel_rate = if is_weak { WEAK } else { PixelRate::MAX };
        Subscriber {
            key: SubscriberKey(key),
            downlink: rate(settings.downlink, settings.downlink_spread, &mut downlinks),
            decode: Decode { pixel_rate, streams: usize::MAX },
            layout: Layout { slots },
        }
    });
    Problem { subscribers: subscribers.collect(), publishers }
}

fn publisher(key: u64, uplink: Bitrate, settings: &Settings) -> Publisher {
    let offer = |tier: &Tier| Offer::unmeasured(*tier, settings.layers);
    let offers = settings.ladder.tiers().iter().map(offer).collect();
    let source = Source { key: SourceKey(key), streams: settings.streams, offers };
    Publisher { key: PublisherKey(key), uplink, pixel_rate: PixelRate::MAX, sources: vec![source] }
}

fn slot(name: Name, (publisher, subscriber): (u64, u64), screen: (u32, u32), visible: bool) -> Slot {
    let (share, role) = name.place(publisher, subscriber);
    let side = |pixels: u32| (f64::from(pixels) * share).round() as u32;
    let (width, height) = (side(screen.0), side(screen.1));
    Slot { source: SourceKey(publisher), width, height, role, weight: Weight::USUAL, fps_max: None, visible }
}

fn screen(chance: &mut Chance) -> (u32, u32) {
    let mut drawn = chance.number() % SCREENS.iter().map(|(_, often)| often).sum::<u32>();
    for (size, often) in SCREENS {
        if drawn < often {
            return size;
        }
        drawn -= often;
    }
    SCREENS[0].0
}

/// A number from 0 to 1, both left out.
pub(super) fn share(chance: &mut Chance) -> f64 {
    (f64::from(chance.number()) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// A lognormal rate (Box and Muller).
fn rate(median: f64, spread: f64, chance: &mut Chance) -> Bitrate {
    let (one, two) = (share(chance), share(chance));
    let normal = (-2.0 * one.ln()).sqrt() * (core::f64::consts::TAU * two).cos();
    Bitrate::bps((median * 1e6 * (spread * normal).exp()).round() as u64)
}
