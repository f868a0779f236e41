//! What is asked of repair: by when a block must be whole, and how often it may not be (references §4.1 and §4.6).

use core::time::Duration;

use proto::scene::Scene;

/// What a block of packets is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Sound: 10 to 20 ms a packet.
    Audio,
    /// A key frame, or a frame of the lowest spatial and temporal layer: everything after it needs it.
    Key,
    /// Another frame that others need.
    Other,
    /// A frame that no other needs.
    Enhancement,
}

impl Kind {
    /// All kinds, the most important first.
    pub const ALL: [Self; 4] = [Self::Audio, Self::Key, Self::Other, Self::Enhancement];
}

/// What is asked of repair for a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// How long after its first packet left the block must be whole at the receiver.
    pub deadline: Duration,
    /// The chance that it may not be, 0 to 1.
    pub failure: f64,
    /// What a deadline's worth of delay costs, as a share of the block: 0 for scenes that do not mind.
    pub lateness: f64,
    /// Whether one repair is to do: further rounds are a reserve, not part of the plan.
    pub promptness: Promptness,
}

/// Whether further rounds than one repair are part of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promptness {
    /// Whatever meets the deadline is good: every round there is time for is used, which costs least. One repair does all the
    /// same where that costs hardly more.
    ByDeadline,
    /// Nearly every block that loses packets is whole after one repair; it costs up to twice as much where three rounds fit.
    OneRepair,
}

/// The least chance of failure that is asked for: less cannot be told from chance within a broadcast.
const FAILURE_MIN: f64 = 1e-4;
/// A frame that nothing depends on may fail that often.
const FAILURE_MAX: f64 = 1e-2;

impl Goal {
    /// What a scene asks for packets of a kind.
    pub const fn new(scene: Scene, kind: Kind) -> Self {
        let (millis, lateness, promptness) = match scene {
            Scene::Game => (80, 1.0, Promptness::OneRepair),
            Scene::Chorus => (60, 1.0, Promptness::OneRepair),
            Scene::Pk => (150, 0.3, Promptness::OneRepair),
            Scene::Chat => (250, 0.1, Promptness::ByDeadline),
            Scene::Watch => (400, 0.0, Promptness::ByDeadline),
        };
        let failure = match kind {
            Kind::Audio | Kind::Other => 1e-3, // a packet of sound is concealed, if it is one
            Kind::Key => FAILURE_MIN,
            Kind::Enhancement => FAILURE_MAX,
        };
        Self { deadline: Duration::from_millis(millis), failure, lateness, promptness }
    }

    /// The same for a frame that so many others need, as its dependency descriptor tells.
    #[must_use]
    pub fn with_dependents(self, frames: u32) -> Self {
        let failure = (FAILURE_MAX / f64::from(frames.max(1))).max(FAILURE_MIN);
        Self { failure, ..self }
    }

    /// The same for a receiver that plays sooner than the scene would bear.
    #[must_use]
    pub fn within(self, playout: Duration) -> Self {
        Self { deadline: self.deadline.min(playout), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_more_may_fail_less() {
        for scene in Scene::ALL {
            let failure = |kind| Goal::new(scene, kind).failure;
            assert!(failure(Kind::Key) < failure(Kind::Other), "{scene}");
            assert!(failure(Kind::Other) < failure(Kind::Enhancement), "{scene}");
        }
        let deadlines = Scene::ALL.map(|scene| Goal::new(scene, Kind::Other).deadline);
        assert_eq!(deadlines.map(|deadline| deadline.as_millis()), [80, 60, 150, 250, 400]);
    }

    #[test]
    fn dependents_and_playout_tighten_within_limits() {
        let goal = Goal::new(Scene::Watch, Kind::Enhancement);
        for (dependents, failure) in [(0, 1e-2), (1, 1e-2), (10, 1e-3), (100, 1e-4), (1_000_000, 1e-4)] {
            assert!((goal.with_dependents(dependents).failure / failure - 1.0).abs() < 1e-9, "{dependents}");
        }
        assert_eq!(goal.within(Duration::from_millis(90)).deadline.as_millis(), 90);
        assert_eq!(goal.within(Duration::from_secs(9)).deadline.as_millis(), 400);
    }
}
