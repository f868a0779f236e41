//! The seeds of a comparison: a range with both ends, as `1..10`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// The most seeds that a range may have: more is a slip of the fingers.
const SEEDS_MAX: u64 = 10_000;

/// Consecutive seeds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    last: u64,
}

/// Why a text is not a range of seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedsError {
    /// It is neither `A..B` nor a number.
    #[error("seeds {0:?} are neither a number nor a range such as 1..10")]
    Malformed(String),
    /// It ends before it begins.
    #[error("seeds {first}..{last} end before they begin")]
    Empty {
        /// Where it begins.
        first: u64,
        /// Where it ends.
        last: u64,
    },
    /// It has too many.
    #[error("{0} seeds are more than {SEEDS_MAX}")]
    TooMany(u64),
}

impl Seeds {
    /// From `first` to `last`, both included.
    pub fn new(first: u64, last: u64) -> Result<Self, SeedsError> {
        if last < first {
            return Err(SeedsError::Empty { first, last });
        }
        let more = last - first;
        if more >= SEEDS_MAX {
            return Err(SeedsError::TooMany(more.saturating_add(1)));
        }
        Ok(Self { first, last })
    }

    /// One seed.
    pub const fn one(seed: u64) -> Self {
        Self { first: seed, last: seed }
    }

    /// All of them, ascending.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }

    /// How many there are, at least one.
    pub fn count(self) -> usize {
        (self.last - self.first) as usize + 1
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let malformed = || SeedsError::Malformed(text.to_owned());
        match text.split_once("..") {
            None => number(text).map(Self::one).ok_or_else(malformed),
            Some((first, last)) => {
                let last = last.strip_prefix('=').unwrap_or(last); // Rust's own notation means the same here
                Self::new(number(first).ok_or_else(malformed)?, number(last).ok_or_else(malformed)?)
            }
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

impl Serialize for Seeds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeedsVisitor)
    }
}

/// Takes `"1..10"`, `"7"` and `7`.
struct SeedsVisitor;

impl Visitor<'_> for SeedsVisitor {
    type Value = Seeds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a seed or a range such as \"1..10\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seeds, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, seed: u64) -> Result<Seeds, E> {
        Ok(Seeds::one(seed))
    }

    fn visit_i64<E: Error>(self, seed: i64) -> Result<Seeds, E> {
        u64::try_from(seed).map(Seeds::one).map_err(|_| E::custom(SeedsError::Malformed(seed.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_both_ends() {
        for (text, seeds) in
            [("1..3", vec![1, 2, 3]), ("7", vec![7]), ("5..=6", vec![5, 6]), (" 2 .. 2 ", vec![2])]
        {
            let parsed: Seeds = text.parse().unwrap();
            assert_eq!(parsed.iter().collect::<Vec<_>>(), seeds, "{text}");
            assert_eq!(parsed.count(), seeds.len(), "{text}");
        }
        assert_eq!("1..10".parse::<Seeds>().unwrap().to_string(), "1..10");
        assert_eq!(Seeds::one(7).to_string().parse(), Ok(Seeds::one(7)));
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        for (text, reason) in [
            ("5..1", "end before they begin"),
            ("1..", "neither a number nor a range"),
            ("a..b", "neither a number nor a range"),
            ("-1..2", "neither a number nor a range"),
            ("0..18446744073709551615", "more than 10000"),
            ("", "neither a number nor a range"),
        ] {
            let error = text.parse::<Seeds>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
