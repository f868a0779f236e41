//! Values set in a scenario by hand: `rate=2500k,owd=40ms,queue=15ms`.
//!
//! | key | value | what it changes |
//! |---|---|---|
//! | `rate` | `2500k`, `2.5M` | the bottlenecks' rates: all scaled so that the first one begins with it |
//! | `owd` | `40ms` | the delay of each flow's way, in both directions |
//! | `queue` | `15ms`, `30kB`, `20p` | how much may wait at each bottleneck |
//! | `loss` | `2%`, `0.02` | independent loss at each bottleneck |
//! | `jitter` | `5ms` | the deviation of each bottleneck's delay, cut off at three of them, no reordering |
//! | `duration` | `60s` | how long the run takes |

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use proto::units::{Bitrate, DataSize};

use super::names::nearest;
use crate::link::LinkPlan;
use crate::link::plan::{Depth, Jitter, Loss, Queue, Rate};
use crate::link::units::{self, UnitError};
use crate::scenario::{LinkIndex, Scenario};

/// The keys, in the order in which they are applied and shown.
const KEYS: [&str; 6] = ["rate", "owd", "queue", "loss", "jitter", "duration"];

/// Where jitter is cut off, in standard deviations (RFC 8868 §4.5.1).
const JITTER_SIGMAS: f64 = 3.0;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Set {
    settings: Vec<Setting>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Setting {
    Rate(Bitrate),
    OneWayDelay(Duration),
    Queue(Depth),
    Loss(f64),
    Jitter(Duration),
    Duration(Duration),
}

/// Why values cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No value is called so.
    #[error("nothing to set is called {0:?}{1}; there are {list}", list = KEYS.join(", "))]
    UnknownKey(String, String),
    /// It is not `key=value`.
    #[error("{0:?} is not of the form key=value")]
    Malformed(String),
    /// The value is of another kind, or out of range.
    #[error("{key}={value}: {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: UnitError,
    },
    /// The value is zero where that is none.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// A key comes twice.
    #[error("{0} is set twice")]
    Twice(&'static str),
    /// The scenario has nothing that the value could change.
    #[error("{key} cannot be set in {scenario}: {reason}")]
    Unfit {
        /// The key.
        key: &'static str,
        /// The scenario.
        scenario: String,
        /// Why.
        reason: &'static str,
    },
}

impl Set {
    /// Adds a value.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), SetError> {
        self.push(Setting::parse(key.trim(), value.trim())?)
    }

    /// Changes a scenario.
    pub fn apply(&self, scenario: &mut Scenario) -> Result<(), SetError> {
        for setting in &self.settings {
            setting.apply(scenario).map_err(|reason| SetError::Unfit {
                key: setting.key(),
                scenario: scenario.name.clone(),
                reason,
            })?;
        }
        Ok(())
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    pub(super) fn push(&mut self, setting: Setting) -> Result<(), SetError> {
        if self.settings.iter().any(|other| other.key() == setting.key()) {
            return Err(SetError::Twice(setting.key()));
        }
        let place = self.settings.partition_point(|other| other.place() < setting.place());
        self.settings.insert(place, setting);
        Ok(())
    }
}

impl FromStr for Set {
    type Err = SetError;

    fn from_str(text: &str) -> Result<Self, SetError> {
        let mut set = Self::default();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| SetError::Malformed(pair.to_owned()))?;
            set.insert(key, value)?;
        }
        Ok(set)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, setting) in self.settings.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{}={setting}", setting.key())?;
        }
        Ok(())
    }
}

impl Setting {
    /// The value of a key.
    pub(super) fn parse(key: &str, value: &str) -> Result<Self, SetError> {
        let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(SetError::UnknownKey(key.to_owned(), nearest(key, KEYS)));
        };
        let parsed = match key {
            "rate" => units::parse_rate(value).map(Self::Rate),
            "owd" => units::parse_time(value).map(Self::OneWayDelay),
            "queue" => units::parse_depth(value).map(Self::Queue),
            "loss" => units::parse_share(value).map(Self::Loss),
            "jitter" => units::parse_time(value).map(Self::Jitter),
            _ => units::parse_time(value).map(Self::Duration),
        };
        let setting = parsed.map_err(|reason| SetError::BadValue { key, value: value.to_owned(), reason })?;
        if setting.must_be_some() && setting.magnitude() <= 0.0 {
            return Err(SetError::Zero(key));
        }
        Ok(setting)
    }

    /// Whether zero makes no sense.
    fn must_be_some(self) -> bool {
        match self {
            Self::Rate(_) | Self::Queue(_) | Self::Duration(_) => true,
            Self::OneWayDelay(_) | Self::Loss(_) | Self::Jitter(_) => false,
        }
    }

    fn key(self) -> &'static str {
        KEYS[self.place()]
    }

    fn place(self) -> usize {
        match self {
            Self::Rate(_) => 0,
            Self::OneWayDelay(_) => 1,
            Self::Queue(_) => 2,
            Self::Loss(_) => 3,
            Self::Jitter(_) => 4,
            Self::Duration(_) => 5,
        }
    }

    /// Its size, for ranges: bit/s, bytes, packets, nanoseconds or a share.
    pub(super) fn magnitude(self) -> f64 {
        match self {
            Self::Rate(rate) => rate.as_bps() as f64,
            Self::Queue(Depth::Bytes(size)) => size.as_bytes() as f64,
            Self::Queue(Depth::Packets(packets)) => packets as f64,
            Self::Loss(share) => share,
            Self::Queue(Depth::Time(time))
            | Self::OneWayDelay(time)
            | Self::Jitter(time)
            | Self::Duration(time) => time.as_nanos() as f64,
        }
    }

    /// The same kind of value with another size.
    pub(super) fn with_magnitude(self, magnitude: f64) -> Self {
        let time = Duration::from_nanos(magnitude.round() as u64);
        match self {
            Self::Rate(_) => Self::Rate(Bitrate::bps(magnitude.round() as u64)),
            Self::Queue(Depth::Bytes(_)) => {
                Self::Queue(Depth::Bytes(DataSize::bytes(magnitude.round() as u64)))
            }
            Self::Queue(Depth::Packets(_)) => Self::Queue(Depth::Packets(magnitude.round() as usize)),
            Self::Queue(Depth::Time(_)) => Self::Queue(Depth::Time(time)),
            Self::Loss(_) => Self::Loss(magnitude),
            Self::OneWayDelay(_) => Self::OneWayDelay(time),
            Self::Jitter(_) => Self::Jitter(time),
            Self::Duration(_) => Self::Duration(time),
        }
    }

    fn apply(self, scenario: &mut Scenario) -> Result<(), &'static str> {
        match self {
            Self::Rate(rate) => set_rate(scenario, rate),
            Self::OneWayDelay(delay) => set_delay(scenario, delay),
            Self::Queue(depth) => set_at_bottlenecks(scenario, |plan| match &mut plan.queue {
                Queue::DropTail(old) | Queue::CoDel { depth: old, .. } => *old = depth,
            }),
            Self::Loss(share) => set_at_bottlenecks(scenario, |plan| plan.loss = Loss::Independent(share)),
            Self::Jitter(sigma) => set_at_bottlenecks(scenario, |plan| {
                plan.jitter =
                    (!sigma.is_zero()).then_some(Jitter { sigma, sigmas_max: JITTER_SIGMAS, reorder: false });
            }),
            Self::Duration(duration) if duration <= scenario.warm_up => {
                Err("the time that metrics leave out at the beginning is longer")
            }
            Self::Duration(duration) => {
                scenario.duration = duration;
                Ok(())
            }
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) if rate.as_bps().is_multiple_of(1_000) => {
                write!(f, "{}k", rate.as_bps() / 1_000)
            }
            Self::Rate(rate) => write!(f, "{}bit", rate.as_bps()),
            Self::Queue(Depth::Bytes(size)) => write!(f, "{}B", size.as_bytes()),
            Self::Queue(Depth::Packets(packets)) => write!(f, "{packets}p"),
            Self::Loss(share) => write!(f, "{share}"),
            Self::Queue(Depth::Time(time))
            | Self::OneWayDelay(time)
            | Self::Jitter(time)
            | Self::Duration(time) => write!(f, "{}ms", time.as_nanos() as f64 / 1e6),
        }
    }
}

/// The plans of the bottlenecks, those that come later included.
fn bottleneck_plans(scenario: &mut Scenario) -> impl Iterator<Item = &mut LinkPlan> {
    let Scenario { links, changes, bottlenecks, .. } = scenario;
    let bottlenecks = &*bottlenecks;
    let first = links.iter_mut().enumerate().map(|(index, (_, plan))| (LinkIndex(index), plan));
    let later = changes.iter_mut().map(|(_, link, plan)| (*link, plan));
    first.chain(later).filter(|(link, _)| bottlenecks.contains(link)).map(|(_, plan)| plan)
}

fn set_at_bottlenecks(scenario: &mut Scenario, change: impl Fn(&mut LinkPlan)) -> Result<(), &'static str> {
    if scenario.bottlenecks.is_empty() {
        return Err("it has no bottleneck");
    }
    bottleneck_plans(scenario).for_each(change);
    Ok(())
}

/// Scales all rates of bottlenecks, so that what a scenario says about ratios stays true.
fn set_rate(scenario: &mut Scenario, rate: Bitrate) -> Result<(), &'static str> {
    const FOREIGN: &str = "its rate comes from a trace or a radio model";
    let first = *scenario.bottlenecks.first().ok_or("it has no bottleneck")?;
    let reference = match &scenario.links[first.0].1.rate {
        Rate::Constant(rate) => *rate,
        Rate::Steps(steps) => {
            let mut rates = steps.iter().map(|(_, rate)| *rate);
            rates.find(|rate| *rate > Bitrate::ZERO).ok_or("its link is always down")?
        }
        Rate::Unlimited => return Err("its bottleneck has no rate"),
        Rate::Opportunities(_) | Rate::Wifi(_) | Rate::Lte(_) => return Err(FOREIGN),
    };
    let factor = rate.ratio(reference);
    for plan in bottleneck_plans(scenario) {
        match &mut plan.rate {
            Rate::Constant(rate) => *rate = rate.scaled(factor),
            Rate::Steps(steps) => steps.iter_mut().for_each(|(_, rate)| *rate = rate.scaled(factor)),
            Rate::Unlimited => {}
            Rate::Opportunities(_) | Rate::Wifi(_) | Rate::Lte(_) => return Err(FOREIGN),
        }
    }
    Ok(())
}

/// Gives every flow's way this delay in each direction: all of it on its first bottleneck, or else on its first link.
fn set_delay(scenario: &mut Scenario, delay: Duration) -> Result<(), &'static str> {
    let mut delays: BTreeMap<LinkIndex, Duration> = BTreeMap::new();
    for way in scenario.flows.iter().flat_map(|flow| [&flow.way.forward, &flow.way.backward]) {
        let is_bottleneck = |link: &&LinkIndex| scenario.bottlenecks.contains(link);
        let carrier = way.iter().find(is_bottleneck).or(way.first());
        for link in way {
            let own = if Some(link) == carrier { delay } else { Duration::ZERO };
            if delays.insert(*link, own).is_some_and(|other| other != own) {
                return Err("its flows share links in a way that one delay for all does not fit");
            }
        }
    }
    if delays.is_empty() {
        return Err("it has no plain flows");
    }
    for (link, delay) in delays {
        scenario.links[link.0].1.delay = delay;
        for (_, _, plan) in scenario.changes.iter_mut().filter(|(_, changed, _)| *changed == link) {
            plan.delay = delay;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    #[test]
    fn what_is_set_prints_in_a_form_that_reads_back() {
        for (text, shown) in [
            ("rate=2500k,owd=40ms,queue=15ms", "rate=2500k,owd=40ms,queue=15ms"),
            ("queue=30kB, rate=2.5M", "rate=2500k,queue=30000B"),
            ("queue=20p,loss=2%", "queue=20p,loss=0.02"),
            ("duration=1min,jitter=1.5ms", "jitter=1.5ms,duration=60000ms"),
            ("rate=1.234567M", "rate=1234567bit"),
            ("", ""),
        ] {
            let set: Set = text.parse().unwrap();
            assert_eq!(set.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(set), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_the_reason() {
        for (text, reason) in [
            ("rat=1M", "nothing to set is called \"rat\"; did you mean rate?"),
            ("rate", "\"rate\" is not of the form key=value"),
            ("rate=-1M", "rate=-1M: \"-1M\" is negative"),
            ("rate=0k", "rate must be above zero"),
            ("rate=fast", "does not begin with a number"),
            ("owd=40", "has no unit that fits here"),
            ("queue=0ms", "queue must be above zero"),
            ("loss=200%", "too large"),
            ("duration=0s", "duration must be above zero"),
            ("rate=1M,rate=2M", "rate is set twice"),
        ] {
            let error = text.parse::<Set>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn values_reach_every_plan_of_the_bottleneck_and_nothing_else() {
        let mut scenario = made_up::scenario();
        let access = scenario.links[1].clone();
        let set: Set = "rate=2M,owd=40ms,queue=15ms,loss=1%,jitter=5ms,duration=90s".parse().unwrap();
        set.apply(&mut scenario).unwrap();
        let (_, first) = &scenario.links[0];
        let (_, _, later) = &scenario.changes[0];
        assert_eq!(first.rate, Rate::Constant(Bitrate::mbps(2)));
        assert_eq!(later.rate, Rate::Constant(Bitrate::kbps(500)), "the ratio of 4 to 1 Mbit/s is kept");
        for plan in [first, later] {
            assert_eq!(plan.delay, Duration::from_millis(40));
            assert_eq!(plan.queue, Queue::DropTail(Depth::Time(Duration::from_millis(15))));
            assert_eq!(plan.loss, Loss::Independent(0.01));
            assert_eq!(plan.jitter.map(|jitter| jitter.sigma), Some(Duration::from_millis(5)));
        }
        assert_eq!(scenario.links[1].1, LinkPlan { delay: Duration::from_millis(40), ..access.1 });
        assert_eq!(scenario.duration, Duration::from_secs(90));
    }

    #[test]
    fn a_scenario_that_has_no_place_for_a_value_says_so() {
        let without = |change: fn(&mut Scenario)| {
            let mut scenario = made_up::scenario();
            change(&mut scenario);
            scenario
        };
        for (text, mut scenario, reason) in [
            ("rate=1M", without(|scenario| scenario.bottlenecks.clear()), "no bottleneck"),
            ("queue=1ms", without(|scenario| scenario.bottlenecks.clear()), "no bottleneck"),
            ("rate=1M", without(|scenario| scenario.links[0].1.rate = Rate::Unlimited), "has no rate"),
            ("owd=1ms", without(|scenario| scenario.flows.clear()), "no plain flows"),
            ("duration=1s", made_up::scenario(), "is longer"),
        ] {
            let error = text.parse::<Set>().unwrap().apply(&mut scenario).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("made-up"), "{text}: {error}");
        }
    }
}
