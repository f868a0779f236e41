//! Quantities as people write them in plans and on command lines: `2.5mbit`, `40ms`, `30kB`, `50packets`.
//!
//! In: a text. Out: a quantity, or why not. Units are case-insensitive, decimals are allowed, and a number without a
//! unit is refused: nobody should have to guess. What reports print ("4.00 Mbit/s", "30.0 kB") is read, too.
//! Limit: [`RATE_MAX`], [`TIME_MAX`], [`SIZE_MAX`].

use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use super::plan::Depth;
use super::work::RATE_MAX;

/// No time in a plan is longer: a year.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// No size in a plan is greater: 1 TB.
pub const SIZE_MAX: DataSize = DataSize::bytes(1_000_000_000_000);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number at its beginning.
    #[error("{0:?} does not begin with a number; write it like {1}")]
    NoNumber(String, &'static str),
    /// It is below zero.
    #[error("{0:?} is negative")]
    Negative(String),
    /// Its unit is not known or not of this kind.
    #[error("{0:?} has no unit that fits here; write it like {1}")]
    WrongUnit(String, &'static str),
    /// It is more than anything can be.
    #[error("{0:?} is too large; at most {1}")]
    TooLarge(String, &'static str),
}

const RATES: &str = "\"4mbit\", \"2500kbit\" or \"64000bit\"";
const TIMES: &str = "\"25ms\", \"2.5s\" or \"400us\"";
const SIZES: &str = "\"1500B\" or \"30kB\"";
const DEPTHS: &str = "\"300ms\", \"30kB\" or \"50packets\"";

/// A rate: bits a second with `bit`, `kbit`, `mbit` or `gbit` (also `k`, `kbps`, `kbit/s` and so on).
pub fn parse_rate(text: &str) -> Result<Bitrate, UnitError> {
    let (number, unit) = split(text, RATES)?;
    let unit = unit.strip_suffix("/s").unwrap_or(&unit);
    let scale = match unit {
        "bit" | "bits" | "bps" => 1.0,
        "k" | "kbit" | "kbps" => 1e3,
        "m" | "mbit" | "mbps" => 1e6,
        "g" | "gbit" | "gbps" => 1e9,
        _ => return Err(UnitError::WrongUnit(text.to_owned(), RATES)),
    };
    scaled(text, number, scale, RATE_MAX.as_bps(), "1 Pbit/s").map(Bitrate::bps)
}

/// A length of time: `ns`, `us`, `ms`, `s`, `min` or `h`.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, TIMES)?;
    let scale = nanos_of(&unit).ok_or_else(|| UnitError::WrongUnit(text.to_owned(), TIMES))?;
    scaled(text, number, scale, TIME_MAX.as_nanos() as u64, "a year").map(Duration::from_nanos)
}

/// A size: `B`, `kB`, `MB` or `GB`, in thousands.
pub fn parse_size(text: &str) -> Result<DataSize, UnitError> {
    let (number, unit) = split(text, SIZES)?;
    let scale = bytes_of(&unit).ok_or_else(|| UnitError::WrongUnit(text.to_owned(), SIZES))?;
    scaled(text, number, scale, SIZE_MAX.as_bytes(), "1 TB").map(DataSize::bytes)
}

/// A queue's depth: a time, a size, or a number of packets.
pub fn parse_depth(text: &str) -> Result<Depth, UnitError> {
    let (number, unit) = split(text, DEPTHS)?;
    if matches!(unit.as_str(), "packet" | "packets" | "pkt" | "pkts" | "p") {
        let whole = scaled(text, number, 1.0, 1_000_000_000, "a billion packets")?;
        return Ok(Depth::Packets(whole as usize));
    }
    match (nanos_of(&unit), bytes_of(&unit)) {
        (Some(_), _) => parse_time(text).map(Depth::Time),
        (None, Some(_)) => parse_size(text).map(Depth::Bytes),
        (None, None) => Err(UnitError::WrongUnit(text.to_owned(), DEPTHS)),
    }
}

/// A share of the whole: a number from 0 to 1, or a percentage like `2.5%`.
pub fn parse_share(text: &str) -> Result<f64, UnitError> {
    const SHARES: &str = "0.025 or \"2.5%\"";
    let (number, unit) = split(text, SHARES)?;
    let share = match unit.as_str() {
        "" => number,
        "%" => number / 100.0,
        _ => return Err(UnitError::WrongUnit(text.to_owned(), SHARES)),
    };
    if share > 1.0 { Err(UnitError::TooLarge(text.to_owned(), "1, which is 100%")) } else { Ok(share) }
}

fn nanos_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1.0),
        "us" | "µs" => Some(1e3),
        "ms" => Some(1e6),
        "s" | "sec" => Some(1e9),
        "min" => Some(60e9),
        "h" => Some(3_600e9),
        _ => None,
    }
}

fn bytes_of(unit: &str) -> Option<f64> {
    match unit {
        "b" | "byte" | "bytes" => Some(1.0),
        "kb" => Some(1e3),
        "mb" => Some(1e6),
        "gb" => Some(1e9),
        _ => None,
    }
}

/// The number that a text begins with, and its unit in lower case.
fn split(text: &str, example: &'static str) -> Result<(f64, String), UnitError> {
    let trimmed = text.trim();
    let end =
        trimmed.find(|c: char| !matches!(c, '0'..='9' | '.' | '_' | '-' | '+')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let number: f64 =
        number.replace('_', "").parse().map_err(|_| UnitError::NoNumber(text.to_owned(), example))?;
    if number < 0.0 {
        return Err(UnitError::Negative(text.to_owned()));
    }
    Ok((number, unit.trim().to_lowercase()))
}

fn scaled(text: &str, number: f64, scale: f64, most: u64, limit: &'static str) -> Result<u64, UnitError> {
    let value = (number * scale).round();
    if value > most as f64 {
        return Err(UnitError::TooLarge(text.to_owned(), limit));
    }
    Ok(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_and_reports_write_them() {
        for (text, bps) in [
            ("4mbit", 4_000_000),
            ("2500k", 2_500_000),
            ("1.5mbit", 1_500_000),
            ("1.5 Mbit/s", 1_500_000),
            ("64kbps", 64_000),
            ("1gbit", 1_000_000_000),
            ("0bit", 0),
        ] {
            assert_eq!(parse_rate(text), Ok(Bitrate::bps(bps)), "{text}");
        }
        for rate in [Bitrate::kbps(150), Bitrate::kbps(2_500), Bitrate::bps(900)] {
            assert_eq!(parse_rate(&rate.to_string()), Ok(rate));
        }
        for (text, nanos) in [
            ("25ms", 25_000_000),
            ("2.5s", 2_500_000_000),
            ("0.1s", 100_000_000),
            ("400us", 400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, depth) in [
            ("300ms", Depth::Time(Duration::from_millis(300))),
            ("30kB", Depth::Bytes(DataSize::kilobytes(30))),
            ("1500B", Depth::Bytes(DataSize::bytes(1_500))),
            ("50packets", Depth::Packets(50)),
            ("1 packet", Depth::Packets(1)),
        ] {
            assert_eq!(parse_depth(text), Ok(depth), "{text}");
        }
        for (text, share) in [("0.25", 0.25), ("25%", 0.25), ("0", 0.0), ("100%", 1.0)] {
            assert_eq!(parse_share(text).map(f64::to_bits), Ok(f64::to_bits(share)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_the_reason() {
        for (error, wanted) in [
            (parse_rate("-4mbit").unwrap_err(), "\"-4mbit\" is negative"),
            (parse_rate("4").unwrap_err(), "\"4\" has no unit that fits here"),
            (parse_rate("4ms").unwrap_err(), "\"4ms\" has no unit that fits here"),
            (parse_rate("fast").unwrap_err(), "\"fast\" does not begin with a number"),
            (parse_rate("").unwrap_err(), "\"\" does not begin with a number"),
            (parse_rate("1.2.3mbit").unwrap_err(), "\"1.2.3mbit\" does not begin with a number"),
            (parse_rate("9999999gbit").unwrap_err(), "too large; at most 1 Pbit/s"),
            (parse_time("25").unwrap_err(), "\"25\" has no unit that fits here"),
            (parse_time("9000h").unwrap_err(), "too large; at most a year"),
            (parse_depth("10mbit").unwrap_err(), "write it like \"300ms\", \"30kB\" or \"50packets\""),
            (parse_share("1.1").unwrap_err(), "too large; at most 1"),
            (parse_share("-1%").unwrap_err(), "is negative"),
        ] {
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
