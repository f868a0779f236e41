//! Scenarios as TOML: links as [`link::file`](crate::link::file) has them, and who sends over them.
//!
//! In: a text, and a way to read the files that it names. Out: a [`Scenario`], or the line and the reason why not.
//!
//! ```toml
//! name = "evening"
//! about = "two calls and a download share a line"
//! duration = "60s"                     # warm_up = "5s", deadline = "150ms"
//! bottlenecks = ["down"]               # where utilization and queue delay are taken
//!
//! [links.down]
//! rate = "4mbit"
//! delay = "25ms"
//!
//! [links.up]
//! delay = "25ms"
//!
//! [[flows]]
//! forward = ["down"]
//! backward = ["up"]                    # all that follows may be left out:
//! name = "first"
//! start = "5s"                         # stop = "50s", pauses = [["20s", "30s"]]
//! rates = ["50kbit", "300kbit", "10mbit"] # the estimator's least, first and greatest
//! weight = 1.0
//! fps = 30                             # variation = 0.05, lag = "100ms"
//! key_every = "4s"                     # key_factor = 6.0
//! caps = [["0s", "2mbit"]]             # what the source makes at most
//! sound = "20kbit"                     # dtx = true
//! feedback = "twcc"                    # or "ccfb" (RFC 8888); feedback_interval = "50ms"
//! ecn = false
//! repair = false                       # NACK
//!
//! [[constant]]
//! links = ["down"]
//! rates = [["0s", "1mbit"], ["30s", "0mbit"]]
//!
//! [[bulk]]                             # a long transfer
//! forward = ["down"]
//! backward = ["up"]
//! control = "cubic"                    # or "reno"; start, stop
//!
//! [[web]]                              # short transfers
//! forward = ["down"]
//! backward = ["up"]
//! control = "cubic"
//! connections = 10                     # active = 2, idle = "10s"
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use cc::RateLimits;
use proto::units::Bitrate;
use serde::Deserialize;
use toml::Spanned;

use super::{
    CameraPlan, CrossPlan, FeedbackFormat, FeedbackPlan, FlowPlan, LinkIndex, MicrophonePlan, Scenario,
};
use super::{Kind, TcpControl, Way};
use crate::link::file::{LinkSpec, PlanError, ReadFile, Steps, Written};

/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The most flows and transfers that a file may ask for: each costs memory and time.
const PARTIES_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    #[serde(default)]
    about: String,
    duration: Spanned<Written<Duration>>,
    warm_up: Option<Spanned<Written<Duration>>>,
    deadline: Option<Written<Duration>>,
    bottlenecks: Vec<Spanned<String>>,
    links: BTreeMap<String, LinkSpec>,
    flows: Spanned<Vec<FlowSpec>>,
    #[serde(default)]
    constant: Vec<ConstantSpec>,
    #[serde(default)]
    bulk: Vec<BulkSpec>,
    #[serde(default)]
    web: Vec<WebSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowSpec {
    forward: Vec<Spanned<String>>,
    backward: Vec<Spanned<String>>,
    name: Option<String>,
    start: Option<Written<Duration>>,
    stop: Option<Written<Duration>>,
    #[serde(default)]
    pauses: Vec<(Written<Duration>, Written<Duration>)>,
    rates: Option<Spanned<[Written<Bitrate>; 3]>>,
    weight: Option<Spanned<f64>>,
    fps: Option<Spanned<u32>>,
    variation: Option<Spanned<f64>>,
    lag: Option<Written<Duration>>,
    key_every: Option<Spanned<Written<Duration>>>,
    key_factor: Option<Spanned<f64>>,
    caps: Option<Steps>,
    sound: Option<Written<Bitrate>>,
    #[serde(default)]
    dtx: bool,
    feedback: Option<Spanned<FormatSpec>>,
    feedback_interval: Option<Spanned<Written<Duration>>>,
    #[serde(default)]
    ecn: bool,
    #[serde(default)]
    repair: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatSpec {
    Twcc,
    Ccfb,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ControlSpec {
    Cubic,
    Reno,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstantSpec {
    links: Vec<Spanned<String>>,
    rates: Steps,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkSpec {
    forward: Vec<Spanned<String>>,
    backward: Vec<Spanned<String>>,
    control: ControlSpec,
    start: Option<Written<Duration>>,
    stop: Option<Written<Duration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebSpec {
    forward: Vec<Spanned<String>>,
    backward: Vec<Spanned<String>>,
    control: ControlSpec,
    connections: Spanned<u32>,
    active: Option<u32>,
    idle: Option<Written<Duration>>,
}

/// Reads a scenario.
pub fn parse_scenario(text: &str, read: &ReadFile<'_>) -> Result<Scenario, PlanError> {
    let document: Document = toml::from_str(text).map_err(|error| PlanError::of_toml(text, &error))?;
    let reader = Reader { text, names: document.links.keys().cloned().collect() };
    let duration = reader.positive(&document.duration)?;
    let warm_up = match &document.warm_up {
        Some(warm_up) if warm_up.get_ref().0 >= duration => {
            return Err(reader.fail(warm_up, "the warm-up takes as long as all of it"));
        }
        Some(warm_up) => warm_up.get_ref().0,
        None => duration / 12,
    };
    let parties =
        document.flows.get_ref().len() + document.bulk.len() + document.web.len() + document.constant.len();
    if document.flows.get_ref().is_empty() || parties > PARTIES_MAX {
        return Err(reader.fail(&document.flows, "a scenario has from one flow to a thousand parties"));
    }
    let links = document.links.iter().map(|(name, spec)| Ok((name.clone(), spec.plan(text, read)?)));
    let flows = document.flows.get_ref().iter().enumerate();
    Ok(Scenario {
        name: document.name,
        about: document.about,
        kind: Kind::Flows,
        duration,
        warm_up,
        links: links.collect::<Result<_, PlanError>>()?,
        changes: Vec::new(),
        bottlenecks: reader.links(&document.bottlenecks)?,
        flows: flows.map(|(number, flow)| reader.flow(number, flow)).collect::<Result<_, _>>()?,
        deadline: document.deadline.map(|deadline| deadline.0),
        cross: reader.cross(&document.constant, &document.bulk, &document.web)?,
    })
}

/// The text, for the lines of errors, and the links' names in their order.
struct Reader<'a> {
    text: &'a str,
    names: Vec<String>,
}

impl Reader<'_> {
    fn fail<T>(&self, at: &Spanned<T>, reason: &str) -> PlanError {
        PlanError::at(self.text, Some(at.span()), reason)
    }

    fn positive(&self, time: &Spanned<Written<Duration>>) -> Result<Duration, PlanError> {
        let found = time.get_ref().0;
        if found.is_zero() || found >= LONGEST {
            return Err(self.fail(time, "must be more than zero and less than a day"));
        }
        Ok(found)
    }

    fn links(&self, names: &[Spanned<String>]) -> Result<Vec<LinkIndex>, PlanError> {
        let index = |name: &Spanned<String>| {
            let found = self.names.iter().position(|known| known == name.get_ref());
            let missing = || format!("no link {:?}; there are {}", name.get_ref(), self.names.join(", "));
            found.map(LinkIndex).ok_or_else(|| self.fail(name, &missing()))
        };
        names.iter().map(index).collect()
    }

    fn way(&self, forward: &[Spanned<String>], backward: &[Spanned<String>]) -> Result<Way, PlanError> {
        Ok(Way { forward: self.links(forward)?, backward: self.links(backward)? })
    }

    /// A number between two bounds, or what stands for it if it is left out.
    fn number(
        &self,
        number: Option<&Spanned<f64>>,
        or: f64,
        (low, high): (f64, f64),
    ) -> Result<f64, PlanError> {
        let Some(number) = number else { return Ok(or) };
        let found = *number.get_ref();
        let good = (low..=high).contains(&found);
        good.then_some(found).ok_or_else(|| self.fail(number, &format!("must lie between {low} and {high}")))
    }

    fn flow(&self, number: usize, spec: &FlowSpec) -> Result<FlowPlan, PlanError> {
        let mut flow = super::draft::flow(number);
        flow.name = spec.name.clone().unwrap_or(flow.name);
        flow.way = self.way(&spec.forward, &spec.backward)?;
        flow.start = spec.start.map_or(Duration::ZERO, |start| start.0);
        flow.stop = spec.stop.map(|stop| stop.0);
        flow.pauses = spec.pauses.iter().map(|(from, to)| (from.0, to.0)).collect();
        let stops_first = flow.stop.is_some_and(|stop| stop <= flow.start);
        if stops_first || flow.pauses.iter().any(|(from, to)| to <= from) {
            let at = spec.forward.first().map(Spanned::span);
            return Err(PlanError::at(
                self.text,
                at,
                "a flow must end after it starts, and so must each of its pauses",
            ));
        }
        if let Some(rates) = &spec.rates {
            let [min, start, max] = *rates.get_ref();
            if min.0 > start.0 || start.0 > max.0 || min.0 == Bitrate::ZERO {
                return Err(
                    self.fail(rates, "the least, first and greatest rate must ascend from above zero")
                );
            }
            flow.limits = RateLimits { min: min.0, start: start.0, max: max.0 };
        }
        flow.weight = self.number(spec.weight.as_ref(), 1.0, (0.01, 100.0))?;
        flow.camera = self.camera(spec, flow.camera)?;
        flow.microphone = spec.sound.map(|sound| MicrophonePlan { rate: sound.0, dtx: spec.dtx });
        flow.feedback = self.feedback(spec, flow.feedback)?;
        flow.ecn = spec.ecn;
        flow.repair = spec.repair;
        Ok(flow)
    }

    fn camera(&self, spec: &FlowSpec, camera: CameraPlan) -> Result<CameraPlan, PlanError> {
        if let Some(fps) = spec.fps.as_ref().filter(|fps| !(1..=240).contains(fps.get_ref())) {
            return Err(self.fail(fps, "must lie between 1 and 240"));
        }
        Ok(CameraPlan {
            fps: spec.fps.as_ref().map_or(camera.fps, |fps| *fps.get_ref()),
            variation: self.number(spec.variation.as_ref(), camera.variation, (0.0, 0.3))?,
            lag: spec.lag.map_or(camera.lag, |lag| lag.0),
            key_every: spec.key_every.as_ref().map(|every| self.positive(every)).transpose()?,
            key_factor: self.number(spec.key_factor.as_ref(), camera.key_factor, (1.0, 50.0))?,
            caps: spec.caps.clone().map_or(camera.caps, |caps| caps.0),
        })
    }

    fn feedback(&self, spec: &FlowSpec, feedback: FeedbackPlan) -> Result<FeedbackPlan, PlanError> {
        let format = match spec.feedback.as_ref().map(Spanned::get_ref) {
            Some(FormatSpec::Ccfb) => FeedbackFormat::Ccfb,
            Some(FormatSpec::Twcc) | None => FeedbackFormat::Twcc,
        };
        if spec.ecn && format == FeedbackFormat::Twcc {
            let at =
                spec.feedback.as_ref().map_or(spec.forward.first().map(Spanned::span), |at| Some(at.span()));
            let reason =
                "transport-wide feedback cannot tell ECN marks: a flow with `ecn` needs feedback = \"ccfb\"";
            return Err(PlanError::at(self.text, at, reason));
        }
        let interval = spec.feedback_interval.as_ref().map(|interval| self.positive(interval)).transpose()?;
        Ok(FeedbackPlan { format, interval: interval.unwrap_or(feedback.interval) })
    }

    fn cross(
        &self,
        constant: &[ConstantSpec],
        bulk: &[BulkSpec],
        web: &[WebSpec],
    ) -> Result<Vec<CrossPlan>, PlanError> {
        let mut cross = Vec::new();
        for spec in constant {
            cross.push(CrossPlan::Constant { links: self.links(&spec.links)?, rates: spec.rates.0.clone() });
        }
        for spec in bulk {
            cross.push(CrossPlan::Bulk {
                way: self.way(&spec.forward, &spec.backward)?,
                control: spec.control.into(),
                start: spec.start.map_or(Duration::ZERO, |start| start.0),
                stop: spec.stop.map(|stop| stop.0),
            });
        }
        for spec in web {
            let connections = *spec.connections.get_ref();
            if connections as usize > PARTIES_MAX {
                return Err(self.fail(&spec.connections, "at most a thousand connections"));
            }
            cross.push(CrossPlan::Web {
                way: self.way(&spec.forward, &spec.backward)?,
                control: spec.control.into(),
                connections,
                active: spec.active.unwrap_or(0).min(connections),
                idle: spec.idle.map_or(Duration::from_secs(10), |idle| idle.0),
            });
        }
        Ok(cross)
    }
}

impl From<ControlSpec> for TcpControl {
    fn from(control: ControlSpec) -> Self {
        match control {
            ControlSpec::Cubic => Self::Cubic,
            ControlSpec::Reno => Self::Reno,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"name = "evening"
duration = "60s"
bottlenecks = ["down"]
[links.down]
rate = "4mbit"
delay = "25ms"
[links.up]
delay = "25ms"
[[flows]]
forward = ["down"]
backward = ["up"]
rates = ["50kbit", "300kbit", "5mbit"]
fps = 25
feedback = "ccfb"
[[constant]]
links = ["down"]
rates = [["0s", "1mbit"], ["30s", "0mbit"]]
[[bulk]]
forward = ["down"]
backward = ["up"]
control = "cubic"
[[web]]
forward = ["down"]
backward = ["up"]
control = "reno"
connections = 10
active = 2
"#;

    fn parse(text: &str) -> Result<Scenario, PlanError> {
        parse_scenario(text, &|name| Err(format!("no {name} here")))
    }

    #[test]
    fn a_scenario_is_what_its_file_says() {
        let scenario = parse(GOOD).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.duration), ("evening", Duration::from_secs(60)));
        assert_eq!(scenario.links.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["down", "up"]);
        let flow = &scenario.flows[0];
        assert_eq!(flow.way, Way { forward: vec![LinkIndex(0)], backward: vec![LinkIndex(1)] });
        assert_eq!((flow.camera.fps, flow.limits.max), (25, Bitrate::mbps(5)));
        assert_eq!(flow.feedback.format, FeedbackFormat::Ccfb);
        assert_eq!(scenario.cross.len(), 3);
    }

    #[test]
    fn bad_files_are_refused_with_the_line_and_the_reason() {
        for (good, bad, line, reason) in [
            ("fps = 25", "fps = 0", 13, "between 1 and 240"),
            ("fps = 25", "weigth = 2.0", 13, "did you mean `weight`"),
            ("[\"down\"]\nbackward", "[\"dwon\"]\nbackward", 10, "no link \"dwon\"; there are down, up"),
            ("\"50kbit\", \"300kbit\"", "\"500kbit\", \"300kbit\"", 12, "must ascend"),
            ("\"60s\"", "\"0s\"", 2, "more than zero"),
            ("\"60s\"", "\"60\"", 2, "no unit"),
            ("\"60s\"", "\"60h\"", 2, "less than a day"),
            ("feedback = \"ccfb\"", "feedback = \"twcc\"\necn = true", 14, "cannot tell ECN marks"),
            ("fps = 25", "start = \"9s\"\nstop = \"5s\"", 10, "must end after it starts"),
            ("rate = \"4mbit\"", "rate = \"-4mbit\"", 5, "negative"),
            ("rate = \"4mbit\"", "rate = { trace = \"x\", format = \"mahimahi\" }", 5, "no x here"),
            ("connections = 10", "connections = 100000", 26, "at most a thousand"),
            ("control = \"cubic\"", "control = \"bic\"", 21, "unknown variant `bic`"),
        ] {
            let error = parse(&GOOD.replacen(good, bad, 1)).unwrap_err();
            assert!(error.reason.contains(reason), "{bad}: {error}");
            assert_eq!(error.line, line, "{bad}: {error}");
        }
    }
}
