//! Scenarios: who sends to whom over which links, for how long, and what else is going on.

mod draft;
mod file;
mod hard;
mod loss_grid;
mod rfc8867;
mod rfc8868;
mod rfc8869;
mod traced;

use std::time::Duration;

use cc::RateLimits;
use proto::units::Bitrate;

use crate::link::LinkPlan;
use crate::room::{self, RoomPlan};
pub use file::parse_scenario;
pub use traced::traced;

/// A link of a scenario, by its index in [`Scenario::links`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkIndex(pub usize);

/// What a run plays.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name, by which commands find it.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// Who is in it.
    pub kind: Kind,
    /// How long it takes, the healing afterwards not counted.
    pub duration: Duration,
    /// What of its beginning metrics leave out.
    pub warm_up: Duration,
    /// Its links with their names.
    pub links: Vec<(String, LinkPlan)>,
    /// Changes of links while it runs.
    pub changes: Vec<(Duration, LinkIndex, LinkPlan)>,
    /// The links whose rate the flows share; queue delay and utilization are taken there.
    pub bottlenecks: Vec<LinkIndex>,
    /// Media flows from one sender to one receiver each.
    pub flows: Vec<FlowPlan>,
    /// When a picture is too late, if the scenario asks: from its taking to its completion.
    pub deadline: Option<Duration>,
    /// Other people's traffic.
    pub cross: Vec<CrossPlan>,
}

/// Who is in a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Its flows, each of one sender and one receiver.
    Flows,
    /// In place of its flows nine viewers of one publisher, behind the real SFU (see [`crate::room::tiers`]).
    Tiers,
    /// People who meet in a room of the real SFU; links, changes and people are the plan's.
    Room(Box<RoomPlan>),
}

/// Where packets go and where what answers them comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// Links from the sender to the receiver.
    pub forward: Vec<LinkIndex>,
    /// Links from the receiver to the sender.
    pub backward: Vec<LinkIndex>,
}

/// A media flow without an SFU: the congestion controller alone with its path.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowPlan {
    /// Its name in reports.
    pub name: String,
    /// Its way.
    pub way: Way,
    /// When it starts.
    pub start: Duration,
    /// When it stops, if before the end.
    pub stop: Option<Duration>,
    /// Spans in which its source makes nothing.
    pub pauses: Vec<(Duration, Duration)>,
    /// The rates between which its estimator may choose.
    pub limits: RateLimits,
    /// Its share of a bottleneck relative to others'.
    pub weight: f64,
    /// Its pictures.
    pub camera: CameraPlan,
    /// Its sound, if it has some.
    pub microphone: Option<MicrophonePlan>,
    /// How its receiver answers.
    pub feedback: FeedbackPlan,
    /// Whether its packets are capable of ECN.
    pub ecn: bool,
    /// Whether lost packets are asked for and sent again (NACK).
    pub repair: bool,
}

/// A camera and its encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraPlan {
    /// Pictures a second.
    pub fps: u32,
    /// How much sizes of delta pictures vary: the standard deviation as a share of the mean, cut off at three of them.
    pub variation: f64,
    /// How long the encoder takes to follow a new rate.
    pub lag: Duration,
    /// From one key picture to the next; `None` if only the first one is.
    pub key_every: Option<Duration>,
    /// How many times a delta picture's size a key picture has.
    pub key_factor: f64,
    /// What the source makes at most from each time on, whatever the estimator allows; empty for no limit.
    pub caps: Vec<(Duration, Bitrate)>,
}

/// A microphone and Opus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophonePlan {
    /// Its rate while somebody speaks, headers not counted.
    pub rate: Bitrate,
    /// Whether it falls silent between sentences (discontinuous transmission: a packet each 400 ms).
    pub dtx: bool,
}

/// How a receiver reports arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackPlan {
    /// In which format.
    pub format: FeedbackFormat,
    /// How often, while packets arrive.
    pub interval: Duration,
}

/// The wire format of feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedbackFormat {
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    Twcc,
    /// RFC 8888.
    Ccfb,
}

/// Traffic of others.
#[derive(Debug, Clone, PartialEq)]
pub enum CrossPlan {
    /// A constant rate in spans.
    Constant {
        /// Its links.
        links: Vec<LinkIndex>,
        /// Its rate from each time on; zero for silence.
        rates: Vec<(Duration, Bitrate)>,
    },
    /// A long transfer by a QUIC connection with TCP's congestion control.
    Bulk {
        /// Its way.
        way: Way,
        /// Its congestion control.
        control: TcpControl,
        /// When it starts.
        start: Duration,
        /// When it stops, if before the end.
        stop: Option<Duration>,
    },
    /// Short transfers: each is of 30 to 50 kB, after idling for an exponential time (RFC 8868 §5.1).
    Web {
        /// Its way.
        way: Way,
        /// Its congestion control.
        control: TcpControl,
        /// How many connections there are.
        connections: u32,
        /// How many of them begin with a transfer, the rest with idling.
        active: u32,
        /// How long a connection idles on average.
        idle: Duration,
    },
}

/// TCP's congestion controls, run by quinn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpControl {
    /// RFC 9438.
    Cubic,
    /// RFC 5681 (`NewReno`).
    Reno,
}

/// What the name of a scenario behind the SFU begins with.
const TIERS: &str = "tiers-";

/// What can be played, in the order of tables; the grids ([`grids`]) come beside it, and each of these with `tiers-`
/// before its name is played behind the SFU.
pub fn catalog() -> Vec<Scenario> {
    let mut all = hard::all();
    all.extend(rfc8867::all());
    all.extend(rfc8869::all());
    all.extend(room::catalog().into_iter().map(of_room));
    all.extend(
        ["fixed-4m", "shallow-20", "step-4-1-4"].iter().filter_map(|name| find(&format!("{TIERS}{name}"))),
    );
    all
}

/// Scenarios by the thousand: RFC 8868's grid and that of loss recovery.
pub fn grids() -> impl Iterator<Item = Scenario> {
    rfc8868::all().into_iter().chain(loss_grid::all())
}

/// The scenario with this name, of the catalog or of a grid, or `tiers-` with such a name.
pub fn find(name: &str) -> Option<Scenario> {
    if let Some(base) = name.strip_prefix(TIERS) {
        return find(base).filter(|base| base.kind == Kind::Flows).map(|base| tiers(&base));
    }
    let named = |scenario: &Scenario| scenario.name == name;
    let plain = hard::all().into_iter().chain(rfc8867::all()).chain(rfc8869::all()).chain(rfc8868::all());
    let found = plain.chain(room::catalog().into_iter().map(of_room)).find(named);
    found.or_else(|| loss_grid::find(name))
}

/// A scenario played behind the SFU.
pub fn tiers(base: &Scenario) -> Scenario {
    Scenario {
        name: format!("{TIERS}{}", base.name),
        about: format!("nine viewers behind the SFU: {}", base.about),
        kind: Kind::Tiers,
        ..base.clone()
    }
}

fn of_room(plan: RoomPlan) -> Scenario {
    Scenario {
        name: plan.name.clone(),
        about: plan.about.clone(),
        duration: plan.duration,
        warm_up: Duration::from_secs(5),
        links: plan.links.clone(),
        changes: plan.changes.clone(),
        bottlenecks: Vec::new(),
        flows: Vec::new(),
        deadline: None,
        cross: Vec::new(),
        kind: Kind::Room(Box::new(plan)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names that `cargo xtask bench cc` promises.
    const PROMISED: [&str; 42] = [
        "fixed-4m",
        "jitter-20",
        "stalls-80",
        "rfc8867-5.1",
        "rfc8867-5.1-cbr",
        "rfc8867-5.1-owd100",
        "rfc8867-5.2",
        "rfc8867-5.2-cbr",
        "rfc8867-5.3",
        "rfc8867-5.3-cbr",
        "rfc8867-5.4",
        "rfc8867-5.5",
        "rfc8867-5.6",
        "rfc8867-5.7",
        "rfc8867-5.8",
        "rfc8867-6.1",
        "rfc8867-6.3",
        "shallow-10",
        "shallow-20",
        "shallow-40",
        "shallow-1m-30",
        "policer-3m",
        "random-1",
        "random-2",
        "random-5",
        "random-10",
        "gilbert-elliott",
        "bloat-1s",
        "rtt-300",
        "step-4-1-4",
        "feedback-loss-30",
        "app-limited",
        "cbr-on-off",
        "startup",
        "startup-jitter",
        "rfc8868-owd50-loss1-queue300",
        "nine-grid",
        "pk",
        "chorus",
        "tiers-rfc8867-5.1",
        "tiers-shallow-20",
        "loss-rtt60-d150-p2-iid-k12",
    ];

    #[test]
    fn promised_names_are_there_and_names_are_unique() {
        for name in PROMISED {
            assert_eq!(find(name).map(|scenario| scenario.name).as_deref(), Some(name));
        }
        assert_eq!(find("no-such-thing"), None);
        let names: Vec<String> = catalog().into_iter().chain(grids()).map(|scenario| scenario.name).collect();
        let unique: BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn every_way_leads_over_links_that_exist() {
        for scenario in catalog().into_iter().filter(|scenario| scenario.kind == Kind::Flows) {
            let exists = |link: &LinkIndex| link.0 < scenario.links.len();
            for flow in &scenario.flows {
                assert!(flow.way.forward.iter().chain(&flow.way.backward).all(exists), "{}", scenario.name);
                let meets = |link: &LinkIndex| scenario.bottlenecks.contains(link);
                assert!(
                    flow.way.forward.iter().any(meets),
                    "{}: {} avoids all bottlenecks",
                    scenario.name,
                    flow.name
                );
            }
            assert!(scenario.bottlenecks.iter().all(exists), "{}", scenario.name);
            assert!(scenario.warm_up < scenario.duration, "{}", scenario.name);
        }
    }
}
