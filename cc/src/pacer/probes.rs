//! Probe clusters: which one waits, which one runs, and when it is over.
//!
//! In: clusters, and packets as they leave. Out: the running cluster. Time: `now`, monotonic. Limit: `WAITING_MAX`
//! clusters for at most `WAIT_MAX`; newer ones drive out older ones.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;
use proto::units::Bitrate;

use crate::estimator::ProbeCluster;

const WAITING_MAX: usize = 8; // libwebrtc asks for at most three at once

/// A cluster that found no media for so long tells of a path that was; libwebrtc forgets it as late.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Probes {
    running: Option<Running>,
    waiting: VecDeque<(Instant, ProbeCluster)>,
}

#[derive(Debug)]
struct Running {
    cluster: ProbeCluster,
    /// When its first packet left.
    started: Option<Instant>,
    packets: u32,
}

impl Probes {
    /// A cluster shall run when its turn comes.
    pub(super) fn ask(&mut self, now: Instant, cluster: ProbeCluster) {
        if cluster.rate == Bitrate::ZERO {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now, cluster));
    }

    /// Starts the next cluster if none runs, and says how fast it is.
    pub(super) fn start(&mut self, now: Instant) -> Option<Bitrate> {
        if self.running.is_some() {
            return None;
        }
        while self.waiting.front().is_some_and(|(asked, _)| now.since(*asked) > WAIT_MAX) {
            self.waiting.pop_front();
        }
        let (_, cluster) = self.waiting.pop_front()?;
        self.running = Some(Running { cluster, started: None, packets: 0 });
        Some(cluster.rate)
    }

    /// A packet of the running cluster leaves now, the next one would at `next`: whether the cluster is over.
    pub(super) fn finish(&mut self, now: Instant, next: Instant) -> bool {
        let Some(running) = &mut self.running else { return false };
        running.packets += 1;
        let started = *running.started.get_or_insert(now);
        let cluster = &running.cluster;
        let over = running.packets >= cluster.packets && next.since(started) >= cluster.duration;
        if over {
            self.running = None;
        }
        over
    }

    /// Whether a cluster runs of which nothing has left.
    pub(super) fn is_fresh(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.started.is_none())
    }

    /// Since when the oldest cluster waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waiting.front().map(|(asked, _)| *asked)
    }

    /// The cluster that runs.
    pub(super) fn running(&self) -> Option<&ProbeCluster> {
        self.running.as_ref().map(|running| &running.cluster)
    }

    /// Whether none runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.running = None;
    }
}
