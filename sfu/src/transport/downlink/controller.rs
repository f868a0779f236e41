//! Which estimator a downlink has: ours, or one that somebody brings to compare with.

use core::fmt;
use std::sync::Arc;

use cc::estimator::hybrid::{Hybrid, Settings};
use cc::{Demand, Estimator, PacketResult, ProbeCluster, RateLimits, SentPacket, Target, Transition};
use proto::path_class::PathClass;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::Bitrate;

use crate::transport::strategy::{Repairs, Strategy};

/// What the downlinks of a worker are made for.
#[derive(Debug, Clone)]
pub struct DownlinkSettings {
    /// The rates that a subscriber may be sent.
    pub limits: RateLimits,
    /// What people do, which decides how much delay they bear.
    pub scene: Scene,
    /// What decides how much that is.
    pub estimator: EstimatorChoice,
    /// Whether losses are repaired before anybody asks, where a subscriber takes that.
    pub forward_repair: bool,
    /// Whether who begins to watch a stream gets its last key frame and what came since, where its path carries that.
    pub instant_start: bool,
}

impl DownlinkSettings {
    /// How streams are carried of which nobody says anything.
    pub fn strategy(&self) -> Strategy {
        let repair = if self.forward_repair { Repairs::ALL } else { Repairs::ON_REQUEST };
        Strategy { repair, ..Strategy::of(self.scene) }
    }
}

impl Default for DownlinkSettings {
    fn default() -> Self {
        Self {
            limits: LIMITS,
            scene: Scene::default(),
            estimator: EstimatorChoice::default(),
            forward_repair: true,
            instant_start: true,
        }
    }
}

/// The least carries sound and hardly more; the first shows small pictures of some people at once; the most is more than
/// a room of nine in 720 lines takes.
const LIMITS: RateLimits =
    RateLimits { min: Bitrate::kbps(60), start: Bitrate::mbps(1), max: Bitrate::mbps(25) };

/// Makes an estimator that takes its chances from a seed.
pub type MakeEstimator = dyn Fn(&Seed) -> Box<dyn Estimator> + Send + Sync;

/// Which estimator downlinks have.
#[derive(Clone, Default)]
pub enum EstimatorChoice {
    /// Lianmai's own.
    #[default]
    Hybrid,
    /// Another, made for each downlink; it is told no limits.
    Custom(Arc<MakeEstimator>),
}

impl fmt::Debug for EstimatorChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "Hybrid",
            Self::Custom(_) => "Custom",
        })
    }
}

/// One downlink's estimator.
pub enum Controller {
    /// Lianmai's own.
    Hybrid(Box<Hybrid>),
    /// Another.
    Custom(Box<dyn Estimator>),
}

impl Controller {
    /// The estimator that the settings say.
    pub fn new(settings: &DownlinkSettings, seed: &Seed) -> Self {
        match &settings.estimator {
            EstimatorChoice::Hybrid => {
                let settings = Settings { limits: settings.limits, scene: settings.scene, weight: 1.0 };
                Self::Hybrid(Box::new(Hybrid::new(settings, seed)))
            }
            EstimatorChoice::Custom(make) => Self::Custom(make(seed)),
        }
    }

    /// A packet leaves; whether the estimator may want something else for that. Ours is moved by reports and time alone.
    pub fn note_sent(&mut self, now: Instant, packet: &SentPacket) -> bool {
        self.handle_sent(now, packet);
        matches!(self, Self::Custom(_))
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controller({} at {})", self.state(), self.target().rate)
    }
}

impl Estimator for Controller {
    fn handle_sent(&mut self, now: Instant, packet: &SentPacket) {
        match self {
            Self::Hybrid(own) => own.handle_sent(now, packet),
            Self::Custom(other) => other.handle_sent(now, packet),
        }
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        match self {
            Self::Hybrid(own) => own.handle_feedback(now, results),
            Self::Custom(other) => other.handle_feedback(now, results),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Hybrid(own) => own.handle_timeout(now),
            Self::Custom(other) => other.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Hybrid(own) => own.poll_timeout(),
            Self::Custom(other) => other.poll_timeout(),
        }
    }

    fn poll_probe_abort(&mut self) -> bool {
        match self {
            Self::Hybrid(own) => own.poll_probe_abort(),
            Self::Custom(other) => other.poll_probe_abort(),
        }
    }

    fn poll_probe(&mut self) -> Option<ProbeCluster> {
        match self {
            Self::Hybrid(own) => own.poll_probe(),
            Self::Custom(other) => other.poll_probe(),
        }
    }

    fn set_demand(&mut self, now: Instant, demand: Demand) {
        match self {
            Self::Hybrid(own) => own.set_demand(now, demand),
            Self::Custom(other) => other.set_demand(now, demand),
        }
    }

    fn poll_transition(&mut self) -> Option<Transition> {
        match self {
            Self::Hybrid(own) => own.poll_transition(),
            Self::Custom(other) => other.poll_transition(),
        }
    }

    fn path_class(&self) -> PathClass {
        match self {
            Self::Hybrid(own) => own.path_class(),
            Self::Custom(other) => other.path_class(),
        }
    }

    fn target(&self) -> Target {
        match self {
            Self::Hybrid(own) => own.target(),
            Self::Custom(other) => other.target(),
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Hybrid(own) => own.state(),
            Self::Custom(other) => other.state(),
        }
    }
}
