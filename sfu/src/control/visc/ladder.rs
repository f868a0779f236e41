//! The ladder: the tiers in which a room's pictures may be published.
//!
//! In: tiers, or a text that lists them. Out: a checked [`Ladder`], the smallest tier first. Limit: [`TIERS_MAX`].
//! Source: the ten tiers are those of Volcengine's RTC (volcengine.com/docs/6348/70139).

use core::fmt;
use core::str::FromStr;

use proto::units::Bitrate;

/// Tiers that a ladder may have: the seeds' layouts have up to ten.
pub const TIERS_MAX: usize = 10;

/// The longest side of a picture, in pixels: what H.264's highest levels and VP8's headers can say.
const SIDE_MAX: u32 = 16_383;

/// The most pictures a second.
const FPS_MAX: u32 = 240;

/// One way to encode a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second.
    pub fps: u32,
    /// What it is made for; what a stream takes may be another rate.
    pub rate: Bitrate,
}

impl Tier {
    /// Its pixels.
    pub const fn area(&self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Its pixels a second.
    pub const fn pixel_rate(&self) -> PixelRate {
        PixelRate(self.area() * self.fps as u64)
    }
}

/// Pixels a second: what encoding or decoding takes, or a device can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PixelRate(pub u64);

impl PixelRate {
    /// More than any device can do: no limit.
    pub const MAX: Self = Self(u64::MAX);
}

/// Writes `1280x720@30=1200`: width, height, pictures a second, kbit/s.
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}={}", self.width, self.height, self.fps, self.rate.as_bps() / 1_000)
    }
}

impl FromStr for Tier {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let malformed = || LadderError::Malformed(text.chars().take(40).collect());
        let (size, rest) = text.trim().split_once('@').ok_or_else(malformed)?;
        let (width, height) = size.split_once('x').ok_or_else(malformed)?;
        let (fps, rate) = rest.split_once('=').ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| malformed());
        let rate = Bitrate::kbps(u64::from(number(rate)?));
        Ok(Self { width: number(width)?, height: number(height)?, fps: number(fps)?, rate })
    }
}

/// Why tiers are no ladder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LadderError {
    /// There is nothing to send.
    #[error("a ladder without tiers")]
    Empty,
    /// More than anybody needs.
    #[error("{0} tiers, at most {TIERS_MAX}")]
    TooMany(usize),
    /// This is not how a tier is written.
    #[error(
        "`{0}` is no tier; a tier is written 1280x720@30=1200 (width, height, pictures a second, kbit/s)"
    )]
    Malformed(String),
    /// A tier of no size, rate or pictures, or of too many.
    #[error(
        "{0}: sides are from 1 to {SIDE_MAX}, pictures a second from 1 to {FPS_MAX}, the rate is above 0"
    )]
    OutOfRange(Tier),
    /// A tier that is not above the one before it.
    #[error(
        "{upper} after {lower}: each tier has more pixels and a higher rate than the one before, and no fewer pictures a second"
    )]
    NotAscending {
        /// The one before.
        lower: Tier,
        /// The one that is not above it.
        upper: Tier,
    },
}

/// Checked tiers, the smallest first: pixels and rates ascend, pictures a second do not descend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    tiers: Vec<Tier>,
}

impl Ladder {
    /// A ladder of these tiers, the smallest first.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, LadderError> {
        check(tiers.iter().copied())?;
        Ok(Self { tiers })
    }

    /// Its tiers, the smallest first.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Those tiers that a picture captured at `width` × `height` can be sent in without being enlarged; the smallest always.
    pub fn within(&self, width: u32, height: u32) -> &[Tier] {
        let fits = |tier: &&Tier| tier.width <= width && tier.height <= height;
        let count = self.tiers.iter().take_while(fits).count();
        &self.tiers[..count.max(1)]
    }
}

/// Whether tiers are a ladder.
pub(super) fn check(tiers: impl ExactSizeIterator<Item = Tier>) -> Result<(), LadderError> {
    match tiers.len() {
        0 => return Err(LadderError::Empty),
        1..=TIERS_MAX => {}
        count => return Err(LadderError::TooMany(count)),
    }
    let mut below: Option<Tier> = None;
    for tier in tiers {
        let sides = (1..=SIDE_MAX).contains(&tier.width) && (1..=SIDE_MAX).contains(&tier.height);
        if !sides || !(1..=FPS_MAX).contains(&tier.fps) || tier.rate == Bitrate::ZERO {
            return Err(LadderError::OutOfRange(tier));
        }
        let ascends =
            |lower: &Tier| tier.area() > lower.area() && tier.rate > lower.rate && tier.fps >= lower.fps;
        if let Some(lower) = below.filter(|lower| !ascends(lower)) {
            return Err(LadderError::NotAscending { lower, upper: tier });
        }
        below = Some(tier);
    }
    Ok(())
}

/// The ten tiers of the default.
impl Default for Ladder {
    fn default() -> Self {
        let tier = |(width, height, fps, kbps)| Tier { width, height, fps, rate: Bitrate::kbps(kbps) };
        let tiers = [
            (160, 90, 15, 100),
            (256, 144, 15, 200),
            (320, 180, 15, 300),
            (480, 270, 15, 400),
            (640, 360, 30, 600),
            (800, 450, 30, 800),
            (960, 540, 30, 900),
            (1_120, 630, 30, 1_000),
            (1_280, 720, 30, 1_200),
            (1_920, 1_080, 30, 3_000),
        ];
        Self { tiers: tiers.map(tier).to_vec() }
    }
}

/// Reads tiers, the smallest first, with commas or line breaks between them.
impl FromStr for Ladder {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let tiers: Result<Vec<Tier>, LadderError> = entries.take(TIERS_MAX + 1).map(str::parse).collect();
        Self::new(tiers?)
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, tier) in self.tiers.iter().enumerate() {
            write!(f, "{}{tier}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_ladder_and_survives_its_text() {
        let ladder = Ladder::default();
        assert_eq!(ladder.tiers().len(), TIERS_MAX);
        assert_eq!(Ladder::new(ladder.tiers().to_vec()), Ok(ladder.clone()));
        assert_eq!(ladder.to_string().parse(), Ok(ladder));
    }

    #[test]
    fn what_is_no_ladder_is_said_clearly() {
        for (text, error) in [
            ("", "a ladder without tiers"),
            ("720p", "`720p` is no tier"),
            ("1280x720@30", "`1280x720@30` is no tier"),
            ("1280x-720@30=1200", "is no tier"),
            ("0x720@30=1200", "sides are from 1"),
            ("1280x720@30=0", "the rate is above 0"),
            ("1280x720@30=1200, 640x360@30=600", "640x360@30=600 after 1280x720@30=1200"),
            ("640x360@30=600, 1280x720@30=600", "a higher rate"),
            ("640x360@30=600, 1280x720@15=1200", "no fewer pictures"),
        ] {
            let said = text.parse::<Ladder>().expect_err(text).to_string();
            assert!(said.contains(error), "{text}: {said}");
        }
        let many = (1..=11).map(|step| format!("{0}x{0}@30={0}", step * 16)).collect::<Vec<_>>().join(",");
        assert_eq!(many.parse::<Ladder>(), Err(LadderError::TooMany(11)));
    }

    #[test]
    fn a_small_capture_is_not_enlarged() {
        let ladder = Ladder::default();
        for (claim, size, expected) in [
            ("all of it", (1_920, 1_080), 10),
            ("720p", (1_280, 720), 9),
            ("a portrait picture", (720, 1_280), 5),
            ("the smallest always", (80, 45), 1),
        ] {
            assert_eq!(ladder.within(size.0, size.1).len(), expected, "{claim}");
        }
    }
}
