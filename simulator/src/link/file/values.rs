//! The values in a link's table: quantities as texts, and keys that take more than one kind of value.
//!
//! Each is checked where it is read, so that the TOML reader knows the line. What serde derives says which keys there
//! are; what people may write in several ways has a visitor of its own, because untagged enums lose line and reason.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use proto::units::{Bitrate, DataSize};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::link::plan::{Depth, EcnMarking, Jitter, LteRate, Outage, Policer, Rate, Stalls, Wifi};
use crate::link::units::{self, UnitError};

use super::losses::Share;

/// A quantity that is written as a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<T>(pub(crate) T);

/// How a quantity is read.
pub(crate) trait Quantity: Sized {
    /// What should be there, for a value that is no text.
    const EXPECTED: &'static str;

    fn read(text: &str) -> Result<Self, String>;
}

pub(super) fn said<T>(result: Result<T, UnitError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Quantity for Bitrate {
    const EXPECTED: &'static str = "a rate like \"4mbit\"";

    fn read(text: &str) -> Result<Self, String> {
        said(units::parse_rate(text))
    }
}

impl Quantity for Duration {
    const EXPECTED: &'static str = "a time like \"25ms\"";

    fn read(text: &str) -> Result<Self, String> {
        said(units::parse_time(text))
    }
}

impl Quantity for DataSize {
    const EXPECTED: &'static str = "a size like \"30kB\"";

    fn read(text: &str) -> Result<Self, String> {
        said(units::parse_size(text))
    }
}

impl Quantity for Depth {
    const EXPECTED: &'static str = "a depth like \"300ms\", \"30kB\" or \"50packets\"";

    fn read(text: &str) -> Result<Self, String> {
        let depth = said(units::parse_depth(text))?;
        let nothing = match depth {
            Self::Bytes(size) => size == DataSize::ZERO,
            Self::Packets(packets) => packets == 0,
            Self::Time(time) => time.is_zero(),
        };
        if nothing { Err(format!("a queue of {text:?} has no room for anything")) } else { Ok(depth) }
    }
}

impl<'de, T: Quantity> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<T: Quantity> Visitor<'_> for Reader<T> {
            type Value = Written<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::read(text).map(Written).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// Steps as a list of `[time, rate]`.
#[derive(Debug, Clone)]
pub(crate) struct Steps(pub(crate) Vec<(Duration, Bitrate)>);

impl Steps {
    fn visit<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut steps: Vec<(Duration, Bitrate)> = Vec::new();
        while let Some((from, rate)) = list.next_element::<(Written<Duration>, Written<Bitrate>)>()? {
            match steps.last() {
                None if !from.0.is_zero() => {
                    return Err(A::Error::custom("the first step must be at \"0s\""));
                }
                Some((last, _)) if *last >= from.0 => {
                    let (at, last) = (from.0, *last);
                    return Err(A::Error::custom(format!(
                        "the step at {at:?} is not after the one at {last:?}"
                    )));
                }
                _ => steps.push((from.0, rate.0)),
            }
        }
        if steps.iter().all(|(_, rate)| *rate == Bitrate::ZERO) {
            return Err(A::Error::custom("the steps have zero capacity"));
        }
        Ok(Self(steps))
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RateSpec::Plan(Rate::Steps(steps)) = RateSpec::deserialize(deserializer)? else {
            return Err(D::Error::custom(
                "expected a list of steps like [[\"0s\", \"4mbit\"], [\"20s\", \"1mbit\"]]",
            ));
        };
        Ok(Self(steps))
    }
}

/// The rate of a link.
#[derive(Debug, Clone)]
pub(super) enum RateSpec {
    /// As it stands.
    Plan(Rate),
    /// In a file.
    Trace { trace: Spanned<String>, format: TraceFormat, seed: u64 },
}

/// The format of a rate's trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TraceFormat {
    Mahimahi,
    SecondsMbit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceTable {
    trace: Spanned<String>,
    format: TraceFormat,
    #[serde(default)]
    seed: u64,
}

impl<'de> Deserialize<'de> for RateSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = RateSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a rate like \"4mbit\", a list of [time, rate], or a table with `trace` and `format`",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "unlimited" {
                    return Ok(RateSpec::Plan(Rate::Unlimited));
                }
                let rate = Bitrate::read(text).map_err(E::custom)?;
                flowing(rate).map(|rate| RateSpec::Plan(Rate::Constant(rate)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Steps::visit(list).map(|steps| RateSpec::Plan(Rate::Steps(steps.0)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let TraceTable { trace, format, seed } =
                    TraceTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RateSpec::Trace { trace, format, seed })
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

fn flowing<E: Error>(rate: Bitrate) -> Result<Bitrate, E> {
    if rate == Bitrate::ZERO { Err(E::custom("a rate of zero never carries anything")) } else { Ok(rate) }
}

/// `CoDel`'s parameters; the defaults are RFC 8289's.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoDelSpec {
    #[serde(default = "CoDelSpec::target")]
    pub(super) target: Written<Duration>,
    #[serde(default = "CoDelSpec::interval")]
    pub(super) interval: Written<Duration>,
}

impl CoDelSpec {
    fn target() -> Written<Duration> {
        Written(Duration::from_millis(5))
    }

    fn interval() -> Written<Duration> {
        Written(Duration::from_millis(100))
    }
}

/// Marking: above a delay, or only where `CoDel` would drop.
#[derive(Debug, Clone, Copy)]
pub(super) enum EcnSpec {
    Off,
    WithCoDel,
    Above(Duration),
}

impl EcnSpec {
    pub(super) fn needs_codel(&self) -> bool {
        matches!(self, Self::WithCoDel)
    }

    pub(super) fn marking(&self) -> Option<EcnMarking> {
        match self {
            Self::Off => None,
            Self::WithCoDel => Some(EcnMarking { above: Duration::MAX }),
            Self::Above(above) => Some(EcnMarking { above: *above }),
        }
    }
}

impl<'de> Deserialize<'de> for EcnSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = EcnSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a time like \"5ms\" above which to mark")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(if on { EcnSpec::WithCoDel } else { EcnSpec::Off })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Duration::read(text).map(EcnSpec::Above).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicerTable {
    rate: Written<Bitrate>,
    burst: Written<DataSize>,
}

impl<'de> Deserialize<'de> for Policer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PolicerTable { rate, burst } = PolicerTable::deserialize(deserializer)?;
        if burst.0 == DataSize::ZERO {
            return Err(D::Error::custom("a bucket without a `burst` lets nothing through"));
        }
        Ok(Self { rate: flowing(rate.0)?, burst: burst.0 })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StallsTable {
    every: Written<Duration>,
    length: Written<Duration>,
}

impl<'de> Deserialize<'de> for Stalls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StallsTable { every, length } = StallsTable::deserialize(deserializer)?;
        if length.0 >= every.0 {
            return Err(D::Error::custom("a stall's `length` must be shorter than `every`"));
        }
        Ok(Self { every: every.0, length: length.0 })
    }
}

impl<'de> Deserialize<'de> for Outage {
    /// As `[start, length]`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, length) = <(Written<Duration>, Written<Duration>)>::deserialize(deserializer)?;
        Ok(Self { start: start.0, length: length.0 })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JitterTable {
    sigma: Written<Duration>,
    sigmas_max: Option<f64>,
    #[serde(default)]
    reorder: bool,
}

impl<'de> Deserialize<'de> for Jitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Jitter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like \"5ms\", or a table with `sigma`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Duration::read(text).map(Jitter::nr_bpdv).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let table = JitterTable::deserialize(MapAccessDeserializer::new(map))?;
                let sigmas_max = table.sigmas_max.unwrap_or(3.0);
                if !(sigmas_max > 0.0 && sigmas_max <= 10.0) {
                    return Err(A::Error::custom("`sigmas_max` lies between 0 and 10"));
                }
                Ok(Jitter { sigma: table.sigma.0, sigmas_max, reorder: table.reorder })
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WifiTable {
    rate: Written<Bitrate>,
    aggregate: Option<Written<Duration>>,
    contention: Option<Written<Duration>>,
    stall_every: Option<Written<Duration>>,
    stall_length: Option<Written<Duration>>,
}

impl<'de> Deserialize<'de> for Wifi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = WifiTable::deserialize(deserializer)?;
        if table.stall_every.is_some() != table.stall_length.is_some() {
            return Err(D::Error::custom("`stall_every` and `stall_length` belong together"));
        }
        let millis = Duration::from_millis;
        Ok(Self {
            rate: flowing(table.rate.0)?,
            aggregate: table.aggregate.map_or(millis(4), |time| time.0),
            contention: table.contention.map_or(millis(2), |time| time.0),
            stall_every: table.stall_every.map(|time| time.0),
            stall_length: table.stall_length.map_or(Duration::ZERO, |time| time.0),
        })
    }
}

/// Where a cell's rate comes from.
#[derive(Debug, Clone)]
pub(super) enum LteSource {
    Rate(LteRate),
    Trace(Spanned<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LteTable {
    mean: Option<Written<Bitrate>>,
    sigma: Option<f64>,
    coherence: Option<Written<Duration>>,
    steps: Option<Steps>,
    trace: Option<Spanned<String>>,
    harq_retries: Option<Share>,
}

impl TryFrom<LteTable> for super::LteSpec {
    type Error = String;

    fn try_from(table: LteTable) -> Result<Self, String> {
        let fades = table.sigma.is_some() || table.coherence.is_some();
        let source = match (table.mean, table.steps, table.trace) {
            (Some(mean), None, None) => {
                if mean.0 == Bitrate::ZERO {
                    return Err("a rate of zero never carries anything".to_owned());
                }
                let sigma = table.sigma.unwrap_or(0.5);
                if !(0.0..=3.0).contains(&sigma) {
                    return Err(format!("`sigma` lies between 0 and 3, {sigma} does not"));
                }
                let coherence = table.coherence.map_or(Duration::from_millis(400), |time| time.0);
                LteSource::Rate(LteRate::Fading { mean: mean.0, sigma, coherence })
            }
            (None, Some(steps), None) if !fades => LteSource::Rate(LteRate::Steps(steps.0)),
            (None, None, Some(trace)) if !fades => LteSource::Trace(trace),
            _ => {
                return Err(
                    "an `lte` table has `mean` (and `sigma`, `coherence`), or `steps`, or `trace`".to_owned()
                );
            }
        };
        Ok(Self { source, harq_retries: table.harq_retries.map_or(0.1, |share| share.0) })
    }
}
