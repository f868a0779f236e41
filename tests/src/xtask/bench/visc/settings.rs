//! How rooms differ from the usual.
//!
//! In: `KEY=VALUE`. Out: [`Settings`]. Limit: values that make sense; others are errors.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use sfu::control::visc::Ladder;
use sfu::control::visc::problem::TemporalLayers;

/// What may be varied.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Medians, in Mbit/s.
    pub(super) downlink: f64,
    pub(super) uplink: f64,
    /// Standard deviations of the logarithms.
    pub(super) downlink_spread: f64,
    pub(super) uplink_spread: f64,
    /// How many tiers a publisher sends at once.
    pub(super) streams: usize,
    pub(super) layers: TemporalLayers,
    /// The share of slots that are out of sight.
    pub(super) hidden: f64,
    /// The share of subscribers whose devices decode little.
    pub(super) weak: f64,
    pub(super) ladder: Ladder,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            downlink: 2.2,
            uplink: 2.0,
            downlink_spread: 0.6,
            uplink_spread: 0.5,
            streams: 3,
            layers: TemporalLayers::One,
            hidden: 0.05,
            weak: 0.1,
            ladder: Ladder::default(),
        }
    }
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').with_context(|| format!("`{text}` is not KEY=VALUE"))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl Settings {
    /// The usual, but for these.
    pub(super) fn new(set: &[Setting]) -> Result<Self> {
        let mut settings = Self::default();
        for setting in set {
            settings.apply(setting)?;
        }
        Ok(settings)
    }

    fn apply(&mut self, setting: &Setting) -> Result<()> {
        let (key, value) = (setting.key.as_str(), setting.value.as_str());
        let number = |most: f64| -> Result<f64> {
            let number: f64 = value.parse().with_context(|| format!("{key}={value} is no number"))?;
            ensure!((0.0..=most).contains(&number), "{key} is from 0 to {most}");
            Ok(number)
        };
        match key {
            "downlink" => self.downlink = number(1_000.0)?,
            "uplink" => self.uplink = number(1_000.0)?,
            "downlink-spread" => self.downlink_spread = number(3.0)?,
            "uplink-spread" => self.uplink_spread = number(3.0)?,
            "streams" => self.streams = number(10.0)?.round() as usize,
            "hidden" => self.hidden = number(1.0)?,
            "weak" => self.weak = number(1.0)?,
            "layers" => {
                self.layers = match value {
                    "1" => TemporalLayers::One,
                    "2" => TemporalLayers::Two,
                    "3" => TemporalLayers::Three,
                    other => bail!("layers={other}: there are 1, 2 or 3"),
                }
            }
            "ladder" => {
                let text = std::fs::read_to_string(value).with_context(|| format!("reading {value}"))?;
                self.ladder = text.parse().with_context(|| format!("in {value}"))?;
            }
            other => bail!("`{other}` cannot be set"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings> {
        Settings::new(&text.split(',').map(str::parse).collect::<Result<Vec<Setting>>>()?)
    }

    #[test]
    fn what_is_set_is_set_and_what_makes_no_sense_is_said() {
        let set = settings("downlink=0.05,streams=4,layers=3").expect("sensible");
        assert_eq!((set.streams, set.layers), (4, TemporalLayers::Three));
        assert!((set.downlink - 0.05).abs() < 1e-9 && (set.uplink - 2.0).abs() < 1e-9);
        for text in ["downlink", "downlink=much", "hidden=2", "layers=4", "colour=red", "uplink=-1"] {
            assert!(settings(text).is_err(), "{text}");
        }
    }
}
