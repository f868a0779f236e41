//! The dial: what a scene asks of congestion control.

use core::time::Duration;

use proto::scene::Scene;

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
}
