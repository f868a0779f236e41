//! Quantities of the wire as types: sizes in bytes, rates in bits a second, shares.
//!
//! A rate times a time is a size, a size over a rate is a time; everything is integer arithmetic, so that the same
//! seed gives the same trace on every machine.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};
use core::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DataSize(u64);

impl DataSize {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 1000 bytes.
    pub const fn kilobytes(kilobytes: u64) -> Self {
        Self(kilobytes * 1_000)
    }

    /// How many bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// How many bits.
    pub const fn as_bits(self) -> u64 {
        self.0 * 8
    }

    /// What is left when `other` is taken away, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `factor` times as much, rounded to the byte; a negative factor is taken for zero.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as u64)
    }
}

/// Bits a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing at all.
    pub const ZERO: Self = Self(0);
    /// More than any link has.
    pub const MAX: Self = Self(u64::MAX);

    /// So many bits a second.
    pub const fn bps(bits: u64) -> Self {
        Self(bits)
    }

    /// So many times 1000 bits a second.
    pub const fn kbps(kilobits: u64) -> Self {
        Self(kilobits * 1_000)
    }

    /// So many times 1 000 000 bits a second.
    pub const fn mbps(megabits: u64) -> Self {
        Self(megabits * 1_000_000)
    }

    /// How many bits a second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// `factor` times as fast, rounded to a bit a second; a negative factor is taken for zero.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as u64)
    }

    /// What is left when `other` is taken away, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The rate at which `size` took `time`; `None` if it took none.
    pub fn of(size: DataSize, time: Duration) -> Option<Self> {
        let nanos = time.as_nanos();
        (nanos > 0).then(|| Self(clamp(u128::from(size.0) * 8 * NANOS / nanos)))
    }

    /// This rate over `other`; 0 if the other is nothing.
    pub fn ratio(self, other: Self) -> f64 {
        if other.0 == 0 { 0.0 } else { self.0 as f64 / other.0 as f64 }
    }
}

fn clamp(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

impl Mul<Duration> for Bitrate {
    type Output = DataSize;

    fn mul(self, time: Duration) -> DataSize {
        DataSize(clamp(u128::from(self.0) * time.as_nanos() / (8 * NANOS)))
    }
}

impl Div<Bitrate> for DataSize {
    type Output = Duration;

    /// How long this size takes at a rate, rounded up to a nanosecond; the longest time there is if the rate is zero.
    fn div(self, rate: Bitrate) -> Duration {
        if rate.0 == 0 {
            return Duration::MAX;
        }
        Duration::from_nanos(clamp((u128::from(self.0) * 8 * NANOS).div_ceil(u128::from(rate.0))))
    }
}

macro_rules! arithmetic {
    ($($name:ident),*) => {$(
        impl Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;

            /// At least nothing: these quantities have no sign.
            fn sub(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;

            fn mul(self, times: u64) -> Self {
                Self(self.0.saturating_mul(times))
            }
        }

        impl Div<u64> for $name {
            type Output = Self;

            fn div(self, parts: u64) -> Self {
                Self(self.0 / parts)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self(0), Add::add)
            }
        }
    )*};
}

arithmetic!(DataSize, Bitrate);

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000 => write!(f, "{} B", self.0),
            10_000..10_000_000 => write!(f, "{:.1} kB", self.0 as f64 / 1e3),
            _ => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
        }
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..10_000 => write!(f, "{} bit/s", self.0),
            10_000..1_000_000 => write!(f, "{:.0} kbit/s", self.0 as f64 / 1e3),
            _ => write!(f, "{:.2} Mbit/s", self.0 as f64 / 1e6),
        }
    }
}

impl fmt::Debug for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_times_time_is_size_and_back() {
        let (rate, size) = (Bitrate::mbps(10), DataSize::bytes(1_250));
        assert_eq!(size / rate, Duration::from_millis(1));
        assert_eq!(rate * Duration::from_millis(1), size);
        assert_eq!(Bitrate::of(size, Duration::from_millis(1)), Some(rate));
        assert_eq!(Bitrate::of(size, Duration::ZERO), None);
    }

    #[test]
    fn extremes_stay_in_range() {
        assert_eq!(DataSize::bytes(1) / Bitrate::ZERO, Duration::MAX);
        assert_eq!(Bitrate::MAX + Bitrate::bps(1), Bitrate::MAX);
        assert_eq!(DataSize::ZERO - DataSize::bytes(1), DataSize::ZERO);
        assert_eq!(Bitrate::kbps(5).scaled(-1.0), Bitrate::ZERO);
        assert_eq!(Bitrate::kbps(5).ratio(Bitrate::ZERO).to_bits(), 0);
    }

    #[test]
    fn quantities_print_with_their_unit() {
        for (text, shown) in [
            (DataSize::ZERO.to_string(), "0 B"),
            (DataSize::kilobytes(30).to_string(), "30.0 kB"),
            (Bitrate::kbps(150).to_string(), "150 kbit/s"),
            (Bitrate::kbps(2_500).to_string(), "2.50 Mbit/s"),
        ] {
            assert_eq!(text, shown);
        }
    }
}
