//! How scenarios are written: a bottleneck, what flows over it, what disturbs it.
//!
//! A draft begins as one bottleneck with its way back, under the conditions of the comparison that the references
//! report: tail drop after 300 ms, 25 ms of propagation each way, NR-BPDV with a standard deviation of 5 ms, feedback
//! each 50 ms, 30 pictures a second whose sizes vary by 5 %, an encoder that follows at once, 300 kbit/s at the start,
//! 10 Mbit/s at most, and 5 s of warm-up.

use std::time::Duration;

use cc::RateLimits;
use proto::units::Bitrate;

use super::{
    CameraPlan, CrossPlan, FeedbackFormat, FeedbackPlan, FlowPlan, Kind, LinkIndex, MicrophonePlan, Scenario,
    TcpControl, Way,
};
use crate::link::LinkPlan;
use crate::link::plan::{Depth, Jitter, Queue, Rate};

/// The forward bottleneck of every draft.
pub(super) const FORWARD: LinkIndex = LinkIndex(0);
/// The way back of every draft.
pub(super) const BACKWARD: LinkIndex = LinkIndex(1);

/// So many milliseconds.
pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// So many seconds.
pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The references' jitter, with another standard deviation.
pub(super) fn jitter(sigma: Duration) -> Option<Jitter> {
    (!sigma.is_zero()).then_some(Jitter { sigma, sigmas_max: 3.0, reorder: false })
}

/// A scenario being written.
#[derive(Debug, Clone)]
pub(super) struct Draft(Scenario);

impl Draft {
    /// One bottleneck of `rate` and its way back, without flows.
    pub(super) fn new(name: &str, about: &str, rate: Bitrate) -> Self {
        let delay = ms(25);
        let forward =
            LinkPlan { rate: Rate::Constant(rate), delay, jitter: jitter(ms(5)), ..LinkPlan::default() };
        let backward = LinkPlan { delay, ..LinkPlan::default() };
        Self(Scenario {
            name: name.to_owned(),
            about: about.to_owned(),
            kind: Kind::Flows,
            duration: secs(60),
            warm_up: secs(5),
            links: vec![("forward".to_owned(), forward), ("backward".to_owned(), backward)],
            changes: Vec::new(),
            bottlenecks: vec![FORWARD],
            flows: Vec::new(),
            deadline: None,
            cross: Vec::new(),
        })
    }

    /// How long it runs.
    pub(super) fn lasting(mut self, seconds: u64) -> Self {
        self.0.duration = secs(seconds);
        self
    }

    /// What of its beginning metrics leave out.
    pub(super) fn warm_up(mut self, time: Duration) -> Self {
        self.0.warm_up = time;
        self
    }

    /// Changes the forward bottleneck.
    pub(super) fn forward(mut self, change: impl FnOnce(&mut LinkPlan)) -> Self {
        change(&mut self.0.links[FORWARD.0].1);
        self
    }

    /// Changes the way back.
    pub(super) fn backward(mut self, change: impl FnOnce(&mut LinkPlan)) -> Self {
        change(&mut self.0.links[BACKWARD.0].1);
        self
    }

    /// The forward bottleneck's queue, in time.
    pub(super) fn queue(self, depth: Duration) -> Self {
        self.forward(|link| link.queue = Queue::DropTail(Depth::Time(depth)))
    }

    /// The propagation, one way, of both directions.
    pub(super) fn one_way(self, delay: Duration) -> Self {
        self.forward(|link| link.delay = delay).backward(|link| link.delay = delay)
    }

    /// Adds a link; it is in no way yet.
    pub(super) fn link(mut self, name: &str, plan: LinkPlan) -> (Self, LinkIndex) {
        self.0.links.push((name.to_owned(), plan));
        let index = LinkIndex(self.0.links.len() - 1);
        (self, index)
    }

    /// Where flows meet.
    pub(super) fn bottlenecks(mut self, links: &[LinkIndex]) -> Self {
        self.0.bottlenecks = links.to_vec();
        self
    }

    /// Adds a flow over the forward bottleneck, changed as wished.
    pub(super) fn flow(mut self, change: impl FnOnce(&mut FlowPlan)) -> Self {
        let mut flow = flow(self.0.flows.len());
        change(&mut flow);
        self.0.flows.push(flow);
        self
    }

    /// Adds traffic of others.
    pub(super) fn cross(mut self, cross: CrossPlan) -> Self {
        self.0.cross.push(cross);
        self
    }

    /// Adds constant traffic over the forward bottleneck.
    pub(super) fn constant(self, rates: Vec<(Duration, Bitrate)>) -> Self {
        self.cross(CrossPlan::Constant { links: vec![FORWARD], rates })
    }

    /// Adds a long TCP transfer over the forward bottleneck.
    pub(super) fn bulk(self, control: TcpControl, start: Duration, stop: Option<Duration>) -> Self {
        self.cross(CrossPlan::Bulk { way: way(), control, start, stop })
    }

    /// Pictures are too late after this.
    pub(super) fn deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = Some(deadline);
        self
    }

    /// The scenario as written.
    pub(super) fn done(self) -> Scenario {
        self.0
    }
}

/// Over the forward bottleneck and back.
pub(super) fn way() -> Way {
    Way { forward: vec![FORWARD], backward: vec![BACKWARD] }
}

/// A flow as the references' comparison has it.
pub(super) fn flow(number: usize) -> FlowPlan {
    FlowPlan {
        name: format!("flow {}", number + 1),
        way: way(),
        start: Duration::ZERO,
        stop: None,
        pauses: Vec::new(),
        limits: RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: Bitrate::mbps(10) },
        weight: 1.0,
        camera: CameraPlan {
            fps: 30,
            variation: 0.05,
            lag: Duration::ZERO,
            key_every: None,
            key_factor: 1.0,
            caps: Vec::new(),
        },
        microphone: None,
        feedback: FeedbackPlan { format: FeedbackFormat::Twcc, interval: ms(50) },
        ecn: false,
        repair: false,
    }
}

/// The sound beside each picture in RFC 8867 §4.3: 20 kbit/s, constant.
pub(super) fn sound() -> MicrophonePlan {
    MicrophonePlan { rate: Bitrate::kbps(20), dtx: false }
}
