//! The dial: what a scene asks of congestion control.

use core::time::Duration;

use proto::scene::Scene;

/// The longest queue that who chooses from steps bears, in milliseconds. A queue that stands is what keeps a path busy
/// that a source fills to the last bit; such a sender leaves the path something anyway, and a longer queue earns it no
/// better step. All that goes past its own queue waits there, signaling first of all.
const STEPS_QUEUE_MS: f64 = 20.0;

/// How a scene trades delay for rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dial {
    /// The queue that is borne, in milliseconds.
    pub(super) queue_ms: f64,
    /// The longest queue that is borne while others fill it, in milliseconds.
    pub(super) compete_ms: f64,
    /// How much faster than the rate pictures leave: each is a small probe, and arrives sooner.
    pub(super) pace: f64,
    /// How long to wait between probes beyond a ceiling, at first.
    pub(super) probe_wait: Duration,
}

impl Dial {
    pub(super) const fn of(scene: Scene) -> Self {
        let (queue_ms, compete_ms, pace, wait) = match scene {
            Scene::Game => (4.5, 40.0, 1.15, 2),
            Scene::Chorus => (8.0, 60.0, 1.15, 6),
            Scene::Pk => (11.0, 1_500.0, 1.25, 4),
            Scene::Chat => (15.0, 1_500.0, 1.25, 4),
            Scene::Watch => (40.0, 2_000.0, 1.25, 8),
        };
        Self { queue_ms, compete_ms, pace, probe_wait: Duration::from_secs(wait) }
    }

    /// The same for a sender that chooses from steps.
    pub(super) const fn for_steps(self) -> Self {
        Self { queue_ms: self.queue_ms.min(STEPS_QUEUE_MS), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_chooses_from_steps_bears_no_long_queue_and_all_else_as_the_scene_does() {
        for (scene, borne_ms) in [
            (Scene::Game, 4.5),
            (Scene::Chorus, 8.0),
            (Scene::Pk, 11.0),
            (Scene::Chat, 15.0),
            (Scene::Watch, STEPS_QUEUE_MS),
        ] {
            let dial = Dial::of(scene);
            let expected = Dial { queue_ms: borne_ms, ..dial };
            assert_eq!(dial.for_steps(), expected, "{scene}");
        }
        assert!(Dial::of(Scene::Watch).queue_ms > STEPS_QUEUE_MS, "who fills the path bears more");
    }
}
