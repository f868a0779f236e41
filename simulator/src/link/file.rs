//! Plans as TOML: a table `[links.NAME]` for each link, with quantities as people write them.
//!
//! In: a text, and a way to read the files that it names. Out: plans, or the line and the reason why not. Limit: those
//! of [`units`](super::units) and [`trace`].
//!
//! ```toml
//! [links.down]
//! rate = "4mbit"                       # or "unlimited", or [["0s", "4mbit"], ["20s", "1mbit"]],
//!                                      # or { trace = "cell.down", format = "mahimahi" }
//!                                      # (or "seconds-mbit", with a `seed` for the dispersion within each second)
//! queue = "300ms"                      # or "30kB", "50packets"
//! codel = { target = "5ms", interval = "100ms" }
//! policer = { rate = "3mbit", burst = "30kB" }
//! ecn = "5ms"                          # mark above this queue delay; true: only where `CoDel` would drop
//! stalls = { every = "2.5s", length = "80ms" }
//! outages = [["10s", "500ms"]]         # when, and for how long
//! loss = 0.01                          # or "1%", { good_to_bad = 0.01, bad_to_good = 0.2 },
//!                                      # { mean = 0.02, burst = 5 }, { every = 100 }, { trace = "lost.txt" }
//! delay = "25ms"
//! jitter = "5ms"                       # or { sigma = "5ms", sigmas_max = 3, reorder = true }
//!
//! [links.wlan.wifi]                    # instead of `rate`
//! rate = "20mbit"
//! aggregate = "4ms"
//! contention = "2ms"
//! stall_every = "5s"
//! stall_length = "80ms"
//!
//! [links.cell.lte]                     # instead of `rate`
//! mean = "5mbit"                       # or steps = [["0s", "5mbit"], …], or trace = "rates.txt" (seconds Mbit/s)
//! sigma = 0.5
//! coherence = "400ms"
//! harq_retries = 0.1
//! ```

mod losses;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use proto::seed::Seed;
use serde::Deserialize;
use toml::Spanned;

use super::plan::{Depth, Jitter, LinkPlan, Loss, Lte, LteRate, Outage, Policer, Queue, Rate, Stalls, Wifi};
use super::trace;
use losses::LossSpec;
use values::{CoDelSpec, EcnSpec, LteSource, RateSpec, TraceFormat};
pub(crate) use values::{Steps, Written};

/// Reads a file that a plan names, or says why it cannot.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PlanError {
    /// The line, from 1.
    pub line: usize,
    /// The reason.
    pub reason: String,
}

impl PlanError {
    /// An error at a span of bytes of the text.
    pub fn at(text: &str, span: Option<Range<usize>>, reason: impl Into<String>) -> Self {
        let before = span.map_or(0, |span| span.start.min(text.len()));
        let line = text.get(..before).unwrap_or_default().matches('\n').count() + 1;
        Self { line, reason: reason.into() }
    }

    /// What the TOML reader complains of; an unknown key comes with the key that it probably was to be.
    pub fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        Self::at(text, error.span(), suggest(error.message()))
    }
}

/// A link as its table states it; see the module's description.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    rate: Option<Spanned<RateSpec>>,
    wifi: Option<Wifi>,
    lte: Option<Spanned<LteSpec>>,
    queue: Option<Written<Depth>>,
    codel: Option<CoDelSpec>,
    policer: Option<Policer>,
    ecn: Option<Spanned<EcnSpec>>,
    stalls: Option<Stalls>,
    #[serde(default)]
    outages: Vec<Outage>,
    loss: Option<Spanned<LossSpec>>,
    delay: Option<Written<Duration>>,
    jitter: Option<Jitter>,
}

/// A cell: where its rate comes from, and its retries.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "values::LteTable")]
struct LteSpec {
    source: LteSource,
    harq_retries: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    links: BTreeMap<String, LinkSpec>,
}

/// Reads a document of `[links.NAME]` tables; links come in the order of their names.
pub fn parse_links(text: &str, read: &ReadFile<'_>) -> Result<Vec<(String, LinkPlan)>, PlanError> {
    let document: Document = toml::from_str(text).map_err(|error| PlanError::of_toml(text, &error))?;
    let plan = |(name, spec): (String, LinkSpec)| Ok((name, spec.plan(text, read)?));
    document.links.into_iter().map(plan).collect()
}

impl LinkSpec {
    /// The plan that it states. `text` is the document that it was read from, for the lines of errors.
    pub fn plan(&self, text: &str, read: &ReadFile<'_>) -> Result<LinkPlan, PlanError> {
        let fail = |span: Range<usize>, reason: String| PlanError::at(text, Some(span), reason);
        let rate = self.rate(&fail, read)?;
        let loss = match &self.loss {
            None => Loss::None,
            Some(loss) => match loss.get_ref() {
                LossSpec::Plan(plan) => plan.clone(),
                LossSpec::Trace(file) => Loss::Trace(load(file, &fail, read, trace::parse_losses)?),
            },
        };
        let depth = self.queue.map_or(DEPTH, |depth| depth.0);
        let queue = match self.codel {
            None => Queue::DropTail(depth),
            Some(CoDelSpec { target, interval }) => {
                Queue::CoDel { target: target.0, interval: interval.0, depth }
            }
        };
        if let Some(ecn) = self.ecn.as_ref().filter(|ecn| ecn.get_ref().needs_codel() && self.codel.is_none())
        {
            let reason = "`ecn = true` marks where CoDel would drop: state `codel`, or a delay to mark above";
            return Err(fail(ecn.span(), reason.to_owned()));
        }
        Ok(LinkPlan {
            rate,
            queue,
            policer: self.policer,
            ecn: self.ecn.as_ref().and_then(|ecn| ecn.get_ref().marking()),
            stalls: self.stalls,
            outages: self.outages.clone(),
            loss,
            delay: self.delay.map_or(Duration::ZERO, |delay| delay.0),
            jitter: self.jitter,
        })
    }

    fn rate(
        &self,
        fail: &impl Fn(Range<usize>, String) -> PlanError,
        read: &ReadFile<'_>,
    ) -> Result<Rate, PlanError> {
        match (&self.rate, self.wifi, &self.lte) {
            (None, None, None) => Ok(Rate::Unlimited),
            (None, Some(wifi), None) => Ok(Rate::Wifi(wifi)),
            (None, None, Some(lte)) => lte.get_ref().rate(fail, read),
            (_, Some(_), Some(lte)) => Err(fail(lte.span(), ONE_RATE.to_owned())),
            (Some(rate), Some(_), _) | (Some(rate), _, Some(_)) => {
                Err(fail(rate.span(), ONE_RATE.to_owned()))
            }
            (Some(rate), None, None) => match rate.get_ref() {
                RateSpec::Plan(plan) => Ok(plan.clone()),
                RateSpec::Trace { trace: file, format, seed } => {
                    let opportunities = load(file, fail, read, |text| match format {
                        TraceFormat::Mahimahi => trace::parse_mahimahi(text),
                        TraceFormat::SecondsMbit => {
                            trace::parse_seconds_mbit(text)?.opportunities(&Seed::from_number(*seed))
                        }
                    })?;
                    Ok(Rate::Opportunities(opportunities.into()))
                }
            },
        }
    }
}

impl LteSpec {
    fn rate(
        &self,
        fail: &impl Fn(Range<usize>, String) -> PlanError,
        read: &ReadFile<'_>,
    ) -> Result<Rate, PlanError> {
        let rate = match &self.source {
            LteSource::Rate(rate) => rate.clone(),
            LteSource::Trace(file) => {
                LteRate::Steps(load(file, fail, read, trace::parse_seconds_mbit)?.steps)
            }
        };
        Ok(Rate::Lte(Lte { rate, harq_retries: self.harq_retries }))
    }
}

/// A link cannot have two of them.
const ONE_RATE: &str = "a link has one of `rate`, `wifi` and `lte`";

/// What a queue holds if its plan does not say: RFC 8867's 300 ms.
const DEPTH: Depth = Depth::Time(Duration::from_millis(300));

/// What `parse` makes of a file that a plan names.
fn load<T>(
    file: &Spanned<String>,
    fail: &impl Fn(Range<usize>, String) -> PlanError,
    read: &ReadFile<'_>,
    parse: impl Fn(&str) -> Result<T, trace::TraceError>,
) -> Result<T, PlanError> {
    let name = file.get_ref();
    let text = read(name).map_err(|error| fail(file.span(), format!("trace file {name:?}: {error}")))?;
    parse(&text).map_err(|error| fail(file.span(), format!("trace file {name:?}: {error}")))
}

/// Serde says ``unknown field `x`, expected one of `a`, `b` ``: what was probably meant is added.
fn suggest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let likeness = |name: &&&str| (strsim::jaro_winkler(unknown, name) * 1e6) as u64;
    match known.iter().max_by_key(likeness).filter(|name| likeness(name) > LIKE) {
        Some(nearest) => format!("unknown key `{unknown}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{unknown}`; there are {}", known.join(", ")),
    }
}

/// How alike two words must be, in millionths, for one to be suggested for the other.
const LIKE: u64 = 750_000;
