//! The `loss` key of a link's table: a share, a model, or a list in a file.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::values::said;
use crate::link::plan::{GilbertElliott, Loss};
use crate::link::units;

/// The losses of a link.
#[derive(Debug, Clone)]
pub(super) enum LossSpec {
    /// As they stand.
    Plan(Loss),
    /// In a file.
    Trace(Spanned<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LossTable {
    good_to_bad: Option<Share>,
    bad_to_good: Option<Share>,
    loss_good: Option<Share>,
    loss_bad: Option<Share>,
    mean: Option<Share>,
    burst: Option<f64>,
    every: Option<u64>,
    trace: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for LossSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = LossSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share like 0.01 or \"1%\", or a table of a loss model")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                share(number).map(|share| LossSpec::Plan(Loss::Independent(share)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_f64(number as f64)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let share = said(units::parse_share(text)).map_err(E::custom)?;
                Ok(LossSpec::Plan(Loss::Independent(share)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                LossTable::deserialize(MapAccessDeserializer::new(map))?.model()
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl LossTable {
    fn model<E: Error>(self) -> Result<LossSpec, E> {
        let Self { good_to_bad, bad_to_good, loss_good, loss_bad, mean, burst, every, trace } = self;
        let plain = loss_good.is_none() && loss_bad.is_none();
        match (good_to_bad, bad_to_good, mean, burst, every, trace) {
            (Some(enters), Some(leaves), None, None, None, None) => {
                let (good, bad) =
                    (loss_good.map_or(0.0, |share| share.0), loss_bad.map_or(1.0, |share| share.0));
                gilbert_elliott(enters.0, leaves.0, good, bad)
            }
            (None, None, Some(mean), Some(burst), None, None) if plain => {
                if !(burst >= 1.0 && mean.0 < 1.0) {
                    return Err(E::custom("a mean loss below 1 in bursts of at least 1 packet is possible"));
                }
                let leaves = 1.0 / burst;
                gilbert_elliott((leaves * mean.0 / (1.0 - mean.0)).min(1.0), leaves, 0.0, 1.0)
            }
            (None, None, None, None, Some(every), None) if plain => match every {
                0 => Err(E::custom("every 0th packet cannot be lost")),
                every => Ok(LossSpec::Plan(Loss::EveryNth(every))),
            },
            (None, None, None, None, None, Some(trace)) if plain => Ok(LossSpec::Trace(trace)),
            _ => Err(E::custom(
                "a loss table has `good_to_bad` and `bad_to_good` (and `loss_good`, `loss_bad`), \
                 or `mean` and `burst`, or `every`, or `trace`",
            )),
        }
    }
}

fn gilbert_elliott<E: Error>(
    good_to_bad: f64,
    bad_to_good: f64,
    loss_good: f64,
    loss_bad: f64,
) -> Result<LossSpec, E> {
    if bad_to_good == 0.0 && good_to_bad > 0.0 && loss_bad >= 1.0 {
        return Err(E::custom("`bad_to_good = 0` loses everything for ever"));
    }
    let chances = GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad };
    Ok(LossSpec::Plan(Loss::GilbertElliott(chances)))
}

/// A share: a number from 0 to 1 or a percentage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let LossSpec::Plan(Loss::Independent(share)) = LossSpec::deserialize(deserializer)? else {
            return Err(D::Error::custom("expected a number from 0 to 1 or a percentage like \"2.5%\""));
        };
        Ok(Self(share))
    }
}

fn share<E: Error>(number: f64) -> Result<f64, E> {
    if (0.0..=1.0).contains(&number) {
        return Ok(number);
    }
    Err(E::custom(format!("a share lies between 0 and 1, {number} does not")))
}
