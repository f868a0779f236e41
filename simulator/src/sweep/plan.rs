//! Plans of sweeps, in TOML.
//!
//! ```toml
//! title = "How deep must a buffer be?"          # of the report; the only other text is `about`
//! scenarios = ["fixed-4m", "rfc8867-5.1"]       # from `sim list`
//! estimators = ["gcc", "bbr"]                   # all that are built if left out
//! scenes = ["game", "pk"]                       # for estimators that go by them; pk if left out
//! seeds = "1..5"                                # or one number; 1..5 if left out
//!
//! [set]                                         # optional; every combination is played in every scenario
//! rate = ["1M", "2500k"]                        # a list …
//! owd = "40ms"                                  # … one value …
//! queue = { from = "10ms", to = "160ms", factor = 2 }   # … or a range: `factor` multiplies, `step` adds
//! ```
//!
//! What can be set and how values are written: [`Set`]. What is unknown is refused, with the line and the reason.

use std::collections::BTreeMap;
use std::ops::Range;

use proto::scene::Scene;
use serde::Deserialize;
use toml::Spanned;

use super::seeds::Seeds;
use super::set::{Set, SetError, Setting};
use crate::link::file::PlanError;

/// The seeds of a plan that names none.
const DEFAULT_SEEDS: &str = "1..5";

/// The most values that a range may have, and the most combinations of all values: more is a slip of the fingers.
const VALUES_MAX: usize = 1_000;

/// How far beyond its end a range may reach because numbers are rounded, as a share.
const ROUNDING: f64 = 1e-9;

/// What a sweep plays: every scenario with every set of values, every estimator and every seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the report is called.
    pub title: Option<String>,
    /// What the sweep is for.
    pub about: Option<String>,
    /// Names of scenarios, at least one.
    pub scenarios: Vec<String>,
    /// Names of estimators; `None` for all that are built.
    pub estimators: Option<Vec<String>>,
    /// The scenes, for estimators that go by them.
    pub scenes: Vec<Scene>,
    /// The seeds.
    pub seeds: Seeds,
    /// Values to set, at least one set; it is empty if nothing is to be set.
    pub sets: Vec<Set>,
}

/// What a plan asks for, to be checked by whoever knows what there is.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// A scenario by its name.
    Scenario(&'a str),
    /// An estimator by its name.
    Estimator(&'a str),
    /// Values in a scenario that was asked for before.
    Set(&'a str, &'a Set),
}

/// A plan as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: Option<String>,
    about: Option<String>,
    scenarios: Spanned<Vec<Spanned<String>>>,
    estimators: Option<Spanned<Vec<Spanned<String>>>>,
    scenes: Option<Spanned<Vec<Spanned<String>>>>,
    seeds: Option<Seeds>,
    #[serde(default)]
    set: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

/// A range as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRange {
    from: toml::Value,
    to: toml::Value,
    step: Option<toml::Value>,
    factor: Option<f64>,
}

/// A reason with the place that it is about.
type Fault = (Range<usize>, String);

impl Plan {
    /// Reads a plan; `check` says whether there is what it asks for, or the reason.
    pub fn parse(text: &str, check: &dyn Fn(Ask<'_>) -> Result<(), String>) -> Result<Self, PlanError> {
        let written: Written = toml::from_str(text).map_err(|error| PlanError::of_toml(text, &error))?;
        written.resolve(check).map_err(|(span, reason)| PlanError::at(text, Some(span), reason))
    }
}

impl Written {
    fn resolve(self, check: &dyn Fn(Ask<'_>) -> Result<(), String>) -> Result<Plan, Fault> {
        let scenarios = names(self.scenarios, &|name| check(Ask::Scenario(name)))?;
        let estimators = self.estimators.map(|list| names(list, &|name| check(Ask::Estimator(name))));
        let is_scene = |name: &str| name.parse::<Scene>().map(|_| ()).map_err(|error| error.to_string());
        let scenes = self.scenes.map(|list| names(list, &is_scene)).transpose()?;
        let scenes = scenes.map(|names| names.iter().filter_map(|name| name.parse().ok()).collect());
        let mut sets = vec![Set::default()];
        for (key, value) in self.set {
            let span = value.span();
            let settings = values(key.get_ref(), value.into_inner()).map_err(|reason| {
                let is_key = matches!(&reason, Refusal::Set(SetError::UnknownKey(..)));
                (if is_key { key.span() } else { span.clone() }, reason.to_string())
            })?;
            for setting in &settings {
                let mut alone = Set::default();
                alone.push(*setting).map_err(|error| (span.clone(), error.to_string()))?;
                for scenario in &scenarios {
                    check(Ask::Set(scenario, &alone)).map_err(|reason| (span.clone(), reason))?;
                }
            }
            if sets.len() * settings.len() > VALUES_MAX {
                return Err((span, format!("more than {VALUES_MAX} combinations of values")));
            }
            sets = combine(&sets, &settings).map_err(|error| (span, error.to_string()))?;
        }
        let seeds = match self.seeds {
            Some(seeds) => seeds,
            None => DEFAULT_SEEDS.parse().expect("a good range"),
        };
        let (title, about) = (self.title, self.about);
        let (estimators, scenes) =
            (estimators.transpose()?, scenes.unwrap_or_else(|| vec![Scene::default()]));
        Ok(Plan { title, about, scenarios, estimators, scenes, seeds, sets })
    }
}

/// Every set with every setting.
fn combine(sets: &[Set], settings: &[Setting]) -> Result<Vec<Set>, SetError> {
    let mut combined = Vec::with_capacity(sets.len() * settings.len());
    for set in sets {
        for setting in settings {
            let mut set = set.clone();
            set.push(*setting)?;
            combined.push(set);
        }
    }
    Ok(combined)
}

fn names(
    list: Spanned<Vec<Spanned<String>>>,
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, Fault> {
    let span = list.span();
    let mut names: Vec<String> = Vec::new();
    for name in list.into_inner() {
        let place = name.span();
        let name = name.into_inner();
        check(&name).map_err(|reason| (place.clone(), reason))?;
        if names.contains(&name) {
            return Err((place, format!("{name} is named twice")));
        }
        names.push(name);
    }
    if names.is_empty() { Err((span, "an empty list plays nothing".to_owned())) } else { Ok(names) }
}

/// Why a value of `[set]` is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Set(#[from] SetError),
    #[error("{0}")]
    Form(String),
}

fn values(key: &str, value: toml::Value) -> Result<Vec<Setting>, Refusal> {
    match value {
        toml::Value::Array(list) if list.is_empty() => {
            Err(Refusal::Form("an empty list plays nothing".to_owned()))
        }
        toml::Value::Array(list) => list.iter().map(|value| one(key, value)).collect(),
        toml::Value::Table(table) => {
            let range: WrittenRange = table
                .try_into()
                .map_err(|error: toml::de::Error| Refusal::Form(error.message().to_owned()))?;
            range.values(key)
        }
        value => Ok(vec![one(key, &value)?]),
    }
}

fn one(key: &str, value: &toml::Value) -> Result<Setting, Refusal> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(_) | toml::Value::Float(_) => value.to_string(),
        toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => {
            return Err(Refusal::Form(format!("{key} is text or a number, not {}", value.type_str())));
        }
    };
    Ok(Setting::parse(key, &text)?)
}

impl WrittenRange {
    fn values(&self, key: &str) -> Result<Vec<Setting>, Refusal> {
        let (from, to) = (one(key, &self.from)?, one(key, &self.to)?);
        let (first, last) = (from.magnitude(), to.magnitude());
        let form = |reason: &str| Refusal::Form(format!("the range of {key} {reason}"));
        if std::mem::discriminant(&from.with_magnitude(0.0)) != std::mem::discriminant(&to) || last < first {
            return Err(form("ends before it begins"));
        }
        let next: Box<dyn Fn(f64) -> f64> = match (&self.step, self.factor) {
            (Some(step), None) => {
                let step = one(key, step)?.magnitude();
                Box::new(move |value| value + step)
            }
            (None, Some(factor)) => Box::new(move |value| value * factor),
            (Some(_), Some(_)) | (None, None) => return Err(form("needs either a step or a factor")),
        };
        let mut settings = Vec::new();
        let mut value = first;
        while value <= last * (1.0 + ROUNDING) {
            settings.push(from.with_magnitude(value));
            let following = next(value);
            if following <= value || settings.len() > VALUES_MAX {
                return Err(form("never ends, or has too many values"));
            }
            value = following;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ask: Ask<'_>) -> Result<(), String> {
        match ask {
            Ask::Scenario("fixed-4m" | "startup") | Ask::Estimator("gcc" | "bbr") => Ok(()),
            Ask::Scenario(name) => Err(format!("no scenario {name}")),
            Ask::Estimator(name) => Err(format!("no estimator {name}")),
            Ask::Set("startup", set) if set.to_string().starts_with("rate") => {
                Err("no rate there".to_owned())
            }
            Ask::Set(..) => Ok(()),
        }
    }

    #[test]
    fn a_plan_is_every_combination_of_its_lists_and_ranges() {
        let plan = Plan::parse(
            "title = 'depth'\nscenarios = ['fixed-4m']\nestimators = ['gcc', 'bbr']\nseeds = '1..3'\n[set]\n\
             rate = ['1M', '2M']\nqueue = { from = '10ms', to = '40ms', factor = 2 }\nloss = 0.01\n",
            &check,
        )
        .unwrap();
        let sets: Vec<String> = plan.sets.iter().map(ToString::to_string).collect();
        let expected = [
            "rate=1000k,queue=10ms,loss=0.01",
            "rate=2000k,queue=10ms,loss=0.01",
            "rate=1000k,queue=20ms,loss=0.01",
            "rate=2000k,queue=20ms,loss=0.01",
            "rate=1000k,queue=40ms,loss=0.01",
            "rate=2000k,queue=40ms,loss=0.01",
        ];
        assert_eq!(sets, expected);
        assert_eq!(plan.estimators, Some(vec!["gcc".to_owned(), "bbr".to_owned()]));
        assert_eq!((plan.title.as_deref(), plan.seeds.to_string()), (Some("depth"), "1..3".to_owned()));
    }

    #[test]
    fn what_a_plan_leaves_out_has_a_default() {
        let plan = Plan::parse("scenarios = ['startup']", &check).unwrap();
        assert_eq!((plan.seeds.to_string().as_str(), plan.sets), (DEFAULT_SEEDS, vec![Set::default()]));
        assert_eq!(plan.estimators, None);
        let plan = Plan::parse(
            "scenarios = ['startup']\nseeds = 7\nset.owd = {from='10ms',to='30ms',step='10ms'}",
            &check,
        );
        assert_eq!(plan.unwrap().sets.len(), 3, "steps include the end");
    }

    #[test]
    fn a_bad_plan_is_refused_with_the_line_and_the_reason() {
        for (text, line, reason) in [
            ("scenarios = ['fixed-4m']\nseed = 1", 2, "unknown key `seed`; did you mean `seeds`?"),
            ("\nscenarios = [\n  'fixed-4m',\n  'fixed-5m',\n]", 4, "no scenario fixed-5m"),
            ("scenarios = ['fixed-4m', 'fixed-4m']", 1, "fixed-4m is named twice"),
            ("scenarios = []", 1, "an empty list plays nothing"),
            ("title = 'x'", 1, "missing field `scenarios`"),
            ("scenarios = ['startup']\nestimators = ['gcc', 'x']", 2, "no estimator x"),
            ("scenarios = ['startup']\nseeds = '9..1'", 2, "end before they begin"),
            ("scenarios = ['startup']\nseeds = [1, 2]", 2, "invalid type"),
            ("scenarios = ['startup']\n[set]\nspeed = '1M'", 3, "nothing to set is called \"speed\""),
            ("scenarios = ['startup']\n[set]\n\nqueue = '-1ms'", 4, "queue=-1ms: "),
            ("scenarios = ['startup']\n[set]\nqueue = true", 3, "not boolean"),
            ("scenarios = ['fixed-4m', 'startup']\n[set]\nrate = '1M'", 3, "no rate there"),
            ("scenarios = ['startup']\n[set]\nowd = {from='1ms', to='9ms'}", 3, "either a step or a factor"),
            ("scenarios = ['startup']\n[set]\nowd = {from='9ms', to='1ms', step='1ms'}", 3, "ends before"),
            ("scenarios = ['startup']\n[set]\nowd = {from='1ms', to='9ms', factor=1}", 3, "never ends"),
            ("scenarios = ['startup']\n[set]\nowd = {from='1ms', to='9ms', by=1}", 3, "unknown field `by`"),
            ("scenarios = ['startup'", 1, ""),
        ] {
            let error = Plan::parse(text, &check).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert!(error.to_string().starts_with(&format!("line {line}: ")));
        }
    }
}
