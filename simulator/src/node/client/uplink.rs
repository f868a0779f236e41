//! When a client's packets leave: its pacer, what it remembers of what left, and the estimator that reads the feedback.
//!
//! In: packets that want to leave, transport-wide feedback. Out: packets that leave, the rate for encoders. Time:
//! `poll_timeout`. Limit: the pacer's. Without an estimator the encoders have all that they like, and the pacer lets
//! them have `PACING_FACTOR` times that.

use std::time::Duration;

use cc::estimator::Target;
use cc::history::{Departure, SendHistory};
use cc::pacer::{Paced, Pacer};
use cc::{Estimator, PacketClass, ProbeId};
use proto::feedback::TwccClock;
use proto::rtcp::TransportFeedback;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

/// Chromium paces at this multiple of what encoders make, so that a key frame does not take seconds.
const PACING_FACTOR: f64 = 2.5;

/// A packet that waits to leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    /// Its stream's place.
    pub(super) stream: usize,
    /// Its number in the stream.
    pub(super) seq: u64,
}

/// What leaves now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// The packet; `None` for one without use.
    pub(super) packet: Option<Queued>,
    /// What it carries.
    pub(super) class: PacketClass,
    /// The probe that it belongs to.
    pub(super) probe: Option<ProbeId>,
}

/// See the module's description.
pub(super) struct Uplink {
    pacer: Pacer<Queued>,
    history: SendHistory,
    clock: TwccClock,
    estimator: Option<Box<dyn Estimator>>,
    /// Packets that found the pacer full.
    refused: u64,
    /// Packets dropped or refused, as far as was told.
    dropped: u64,
}

impl Uplink {
    pub(super) fn new(estimator: Option<Box<dyn Estimator>>) -> Self {
        let target = estimator.as_ref().map_or(fixed(Bitrate::kbps(300)), |estimator| estimator.target());
        let (pacer, history, clock) = (Pacer::new(target), SendHistory::new(), TwccClock::default());
        Self { pacer, history, clock, estimator, refused: 0, dropped: 0 }
    }

    /// What encoders make together, where there is no estimator that would say how fast packets may leave.
    pub(super) fn set_media_rate(&mut self, now: Instant, rate: Bitrate) {
        if self.estimator.is_none() {
            self.pacer.set_target(now, fixed(rate));
        }
    }

    /// A packet wants to leave; a full pacer refuses it.
    pub(super) fn enqueue(&mut self, now: Instant, class: PacketClass, size: DataSize, packet: Queued) {
        self.refused += u64::from(self.pacer.enqueue(now, class, size, packet).is_err());
    }

    /// The transport-wide sequence number of the packet that leaves next.
    pub(super) fn next_number(&self) -> u16 {
        self.history.next_number() as u16
    }

    /// A packet has left.
    pub(super) fn handle_sent(&mut self, now: Instant, size: DataSize, leaving: &Leaving) {
        if leaving.packet.is_none() {
            self.pacer.note_padding_sent(now, size);
        }
        let app_limited = self.pacer.is_app_limited(now);
        let departure = Departure { size, class: leaving.class, probe: leaving.probe, app_limited };
        let sent = self.history.handle_sent(now, departure);
        if let Some(estimator) = &mut self.estimator {
            estimator.handle_sent(now, &sent);
        }
        self.settle(now);
    }

    pub(super) fn handle_feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        let results = self.history.handle_arrivals(now, self.clock.arrivals(feedback));
        if let Some(estimator) = &mut self.estimator {
            estimator.handle_feedback(now, results);
        }
        self.settle(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.history.handle_timeout(now);
        if let Some(estimator) = &mut self.estimator
            && estimator.poll_timeout().is_some_and(|at| at <= now)
        {
            estimator.handle_timeout(now);
            self.settle(now);
        }
    }

    /// What leaves now; to be asked until there is nothing.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Leaving> {
        Some(match self.pacer.poll(now, self.history.in_flight())? {
            Paced::Packet { class, probe, packet, .. } => Leaving { packet: Some(packet), class, probe },
            Paced::Padding { probe, .. } => Leaving { packet: None, class: PacketClass::Padding, probe },
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let estimator = self.estimator.as_ref().and_then(|estimator| estimator.poll_timeout());
        let send = self.pacer.poll_timeout(self.history.in_flight());
        earliest(earliest(estimator, send), self.history.poll_timeout())
    }

    /// What all media may take and the estimator's phase, if there is an estimator.
    pub(super) fn target(&self) -> Option<(Bitrate, &'static str)> {
        self.estimator.as_ref().map(|estimator| (estimator.target().rate, estimator.state()))
    }

    /// How long a packet that comes now waits for its turn.
    pub(super) fn queue_time(&self) -> Duration {
        self.pacer.queue_time()
    }

    /// Whether the pacer has dropped anything since the last call.
    pub(super) fn take_dropped(&mut self) -> bool {
        let dropped = self.pacer.dropped() + self.refused;
        std::mem::replace(&mut self.dropped, dropped) < dropped
    }

    /// Nothing leaves any more.
    pub(super) fn close(&mut self, now: Instant) {
        self.pacer.clear(now);
    }

    fn settle(&mut self, now: Instant) {
        let Some(estimator) = &mut self.estimator else { return };
        if estimator.poll_probe_abort() {
            self.pacer.abort_probes(now);
        }
        while let Some(probe) = estimator.poll_probe() {
            self.pacer.handle_probe(now, probe);
        }
        self.pacer.set_target(now, estimator.target());
    }
}

fn fixed(rate: Bitrate) -> Target {
    Target {
        rate,
        pacing: rate.scaled(PACING_FACTOR),
        burst: Duration::ZERO,
        window: None,
        padding: Bitrate::ZERO,
    }
}
