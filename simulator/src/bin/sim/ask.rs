//! What was asked for: names to scenarios and estimators, or the reason why not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cc::RateLimits;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::units::Bitrate;
use simulator::baseline::{self, Setup};
use simulator::link::plan::Opportunities;
use simulator::link::trace;
use simulator::report::{Case, SCENE_KEY};
use simulator::run::RunError;
use simulator::scenario::{self, Scenario};
use simulator::sweep::{Seeds, Set, nearest};

use crate::clock;
use crate::play::Job;

/// The scenario that plays a recorded link.
const TRACE: &str = "trace";

/// What a trace begins with among what was set.
const TRACE_KEY: &str = "trace=";

/// The seed of what a trace of rates does not say: the same link for every run, whatever its own seed.
const DISPERSION: u64 = 1;

/// The only estimator that goes by scenes: the others play the first one alone.
const BY_SCENE: &str = "hybrid";

/// Which scenarios with which estimators and seeds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// Names of scenarios.
    pub(crate) scenarios: Vec<String>,
    /// Names of estimators.
    pub(crate) estimators: Vec<String>,
    /// The scenes; the default one if there is none.
    pub(crate) scenes: Vec<Scene>,
    /// The recorded link of the scenario [`TRACE`].
    pub(crate) trace: Option<PathBuf>,
    /// What to set; each is played.
    pub(crate) sets: Vec<Set>,
}

impl Ask {
    /// A job for each scenario, set, estimator and scene, in this order.
    pub(crate) fn jobs(&self, seeds: Seeds, record: bool) -> Result<Vec<Job>> {
        let none = [Set::default()];
        let sets = if self.sets.is_empty() { &none[..] } else { &self.sets };
        let mut jobs = Vec::new();
        for name in &self.scenarios {
            for set in sets {
                let mut scenario = find(name, self.trace.as_deref())?;
                set.apply(&mut scenario)?;
                let set = shown(set, self.trace.as_deref().filter(|_| name == TRACE));
                for estimator in &self.estimators {
                    let scenes = self.scenes_of(estimator);
                    let case = |scene| Case {
                        scenario: name.clone(),
                        estimator: estimator.clone(),
                        scene,
                        set: set.clone(),
                    };
                    let job = |case| Job { case, scenario: scenario.clone(), seeds, record };
                    jobs.extend(scenes.map(case).map(job));
                }
            }
        }
        Ok(jobs)
    }

    /// The scenes in which an estimator is played.
    fn scenes_of(&self, estimator: &str) -> impl Iterator<Item = Scene> {
        let first = self.scenes.first().copied().unwrap_or_default();
        let more = if estimator == BY_SCENE { self.scenes.get(1..).unwrap_or_default() } else { &[] };
        std::iter::once(first).chain(more.iter().copied())
    }
}

/// What was set, the trace included.
fn shown(set: &Set, trace: Option<&Path>) -> String {
    let trace = trace.map(|file| format!("{TRACE_KEY}{}", file.display()));
    let set = (!set.is_empty()).then(|| set.to_string());
    trace.into_iter().chain(set).collect::<Vec<_>>().join(",")
}

/// What a run's name ends with, as [`shown`] and [`Case::replay`] make it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shown {
    /// The scene.
    pub(crate) scene: Scene,
    /// The recorded link.
    pub(crate) trace: Option<PathBuf>,
    /// What was set.
    pub(crate) set: Set,
}

/// What to set, which trace and which scene.
pub(crate) fn parse_set(text: &str) -> Result<Shown> {
    let mut shown = Shown::default();
    let mut left = text;
    if let Some(rest) = left.strip_prefix(SCENE_KEY) {
        let (scene, rest) = rest.split_once(',').unwrap_or((rest, ""));
        (shown.scene, left) = (scene.parse()?, rest);
    }
    if let Some(rest) = left.strip_prefix(TRACE_KEY) {
        let (file, rest) = rest.split_once(',').unwrap_or((rest, ""));
        (shown.trace, left) = (Some(file.into()), rest);
    }
    shown.set = left.parse()?;
    Ok(shown)
}

/// The scenario of that name; that of recorded links needs a file.
pub(crate) fn find(name: &str, trace: Option<&Path>) -> Result<Scenario> {
    if name == TRACE {
        let file = trace.context("scenario trace plays a recorded link: name one with --trace FILE")?;
        return Ok(scenario::traced(&Arc::new(recorded(file)?)));
    }
    if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        let text = std::fs::read_to_string(name).with_context(|| format!("reading {name}"))?;
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
        return scenario::parse_scenario(&text, &read).with_context(|| name.to_owned());
    }
    if let Some(scenario) = scenario::find(name) {
        return Ok(scenario);
    }
    let catalog = scenario::catalog();
    let names = catalog.iter().map(|scenario| scenario.name.as_str()).chain([TRACE]);
    bail!("no scenario {name:?}{}; `sim list` shows all", nearest(name, names))
}

/// A recorded link: a line of two words is seconds and Mbit/s, of one word a time as mahimahi has it.
fn recorded(file: &Path) -> Result<Opportunities> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let words = |line: &str| line.split('#').next().unwrap_or("").split_whitespace().count();
    let has_rates = text.lines().map(words).find(|words| *words > 0).is_some_and(|words| words > 1);
    let trace = if has_rates {
        let measured = trace::parse_seconds_mbit(&text);
        measured.and_then(|measured| measured.opportunities(&Seed::from_number(DISPERSION)))
    } else {
        trace::parse_mahimahi(&text)
    };
    trace.with_context(|| file.display().to_string())
}

/// Whether there is an estimator of that name in this build.
pub(crate) fn check_estimator(name: &str) -> Result<()> {
    match make(name) {
        Ok(()) => Ok(()),
        Err(RunError::UnknownEstimator(..)) => {
            let all = baseline::NAMES;
            bail!("no estimator {name:?}{}; there are {}", nearest(name, all), all.join(", "))
        }
        Err(error) => Err(error.into()),
    }
}

fn make(name: &str) -> Result<(), RunError> {
    let rate = Bitrate::mbps(1);
    let setup = Setup {
        limits: RateLimits { min: rate, start: rate, max: rate },
        scene: Scene::default(),
        weight: 1.0,
        share: Vec::new(),
        seed: Seed::from_number(0),
        epoch: clock::epoch(),
    };
    baseline::make(name, &setup).map(|_| ())
}

/// The estimators of this build.
pub(crate) fn built() -> Vec<String> {
    baseline::NAMES.into_iter().filter(|name| make(name).is_ok()).map(str::to_owned).collect()
}

/// Why an estimator is not in this build.
pub(crate) fn missing(name: &str) -> Option<String> {
    make(name).err().map(|error| error.to_string())
}

/// The scenarios of the catalog in which estimators have something to do.
pub(crate) fn suitable() -> Vec<String> {
    let catalog = scenario::catalog().into_iter();
    catalog.filter(|scenario| !scenario.flows.is_empty()).map(|scenario| scenario.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_reads_back_with_its_trace() {
        let set: Set = "rate=2M".parse().unwrap();
        for (trace, text) in
            [(None, "rate=2000k"), (Some(Path::new("a/b.down")), "trace=a/b.down,rate=2000k")]
        {
            assert_eq!(shown(&set, trace), text);
            let shown = Shown { set: set.clone(), trace: trace.map(Path::to_owned), ..Shown::default() };
            assert_eq!(parse_set(text).unwrap(), shown);
            let game = Shown { scene: Scene::Game, ..shown };
            assert_eq!(parse_set(&format!("scene=game,{text}")).unwrap(), game);
        }
        assert_eq!(parse_set("trace=x").unwrap(), Shown { trace: Some("x".into()), ..Shown::default() });
        assert!(parse_set("scene=games").is_err());
        assert_eq!(shown(&Set::default(), None), "");
    }

    #[test]
    fn unknown_names_are_refused_with_those_that_are_alike() {
        let error = find("fixed-5m", None).unwrap_err().to_string();
        assert!(error.contains("did you mean fixed-4m"), "{error}");
        let error = check_estimator("goog").unwrap_err().to_string();
        assert!(error.contains("did you mean googcc") && error.contains("there are"), "{error}");
        assert!(check_estimator("gcc").is_ok() && find("fixed-4m", None).is_ok());
    }

    #[test]
    fn only_who_goes_by_scenes_plays_more_than_the_first() {
        let ask = |scenes: &[Scene]| Ask {
            scenarios: vec!["startup".to_owned()],
            estimators: vec!["hybrid".to_owned(), "gcc".to_owned()],
            scenes: scenes.to_vec(),
            ..Ask::default()
        };
        for (scenes, played) in [
            (&[][..], &[("hybrid", Scene::Pk), ("gcc", Scene::Pk)][..]),
            (&[Scene::Game], &[("hybrid", Scene::Game), ("gcc", Scene::Game)]),
            (
                &[Scene::Pk, Scene::Game],
                &[("hybrid", Scene::Pk), ("hybrid", Scene::Game), ("gcc", Scene::Pk)],
            ),
        ] {
            let jobs = ask(scenes).jobs(Seeds::one(1), false).unwrap();
            let cases: Vec<_> =
                jobs.iter().map(|job| (job.case.estimator.as_str(), job.case.scene)).collect();
            assert_eq!(cases, played);
        }
    }
}
