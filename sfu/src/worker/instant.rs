//! Instant start: a slot that needs a key frame gets the last one and all that came since, instead of a new one.
//!
//! Encoders make key frames only when they are asked, each as large as many other pictures, and Chromium's none within 300 ms
//! of the last. Of many who join at a time, the first one's key frame serves the others, who see it at once.
//!
//! **Rules.** The key frame and all packets since are there, of two seconds at most (`rtp_recv::Gop`). They fit what the
//! subscriber's pacer carries within its limit (`ConnectionPipeline::burst_time`); for a larger layer that does not, the
//! smallest may stand in. No key frame is on its way that is due before they could have left. The viewer was not shown any
//! of them, nor much later ones of another layer: those of the past that it must decode would be seen. Else a key frame is asked
//! for, with whoever else needs it.

use proto::time::Instant;

use super::Worker;
use super::client::Route;
use super::stats::{Metric, MetricKind};
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::NoGop;

/// Why a slot waits for a new key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoStart {
    /// No key frame has come of late.
    NoKeyFrame,
    /// A packet since the last one is missing.
    Hole,
    /// What came since it is more than the subscriber's path carries soon, or than is kept.
    TooLarge,
    /// The next one is due sooner than what came since the last one could have left.
    Due,
    /// The viewer was shown some of it, or later pictures of another layer.
    Past,
}

impl NoStart {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::NoKeyFrame, Self::Hole, Self::TooLarge, Self::Due, Self::Past];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKeyFrame => "no_key_frame",
            Self::Hole => "hole",
            Self::TooLarge => "too_large",
            Self::Due => "due",
            Self::Past => "past",
        }
    }
}

impl From<NoGop> for NoStart {
    fn from(error: NoGop) -> Self {
        match error {
            NoGop::NoKeyFrame => Self::NoKeyFrame,
            NoGop::Hole(_) => Self::Hole,
            NoGop::TooLarge => Self::TooLarge,
        }
    }
}

/// How slots that needed a key frame began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstantStats {
    /// With the last key frame and what came since.
    pub starts: u64,
    /// By reason: with the next one.
    refused: [u64; NoStart::ALL.len()],
}

impl InstantStats {
    /// How many had to wait for a reason.
    pub fn refused(&self, reason: NoStart) -> u64 {
        self.refused[reason as usize]
    }

    /// The numbers for a metrics system.
    pub(super) fn metrics(&self) -> impl Iterator<Item = Metric> {
        let kind = MetricKind::Counter;
        let starts = Metric {
            name: "lianmai_instant_starts_total",
            help: "Times that a subscriber began with a stream's last key frame and what came since.",
            kind,
            label: None,
            value: self.starts,
        };
        let refused = NoStart::ALL.map(|reason| Metric {
            name: "lianmai_instant_starts_refused_total",
            help: "Times that a subscriber had to wait for a new key frame, by reason.",
            kind,
            label: Some(("reason", reason.name())),
            value: self.refused(reason),
        });
        std::iter::once(starts).chain(refused)
    }
}

impl Worker {
    /// Begins a slot's awaited stream with its last key frame, or at least the smallest of the track's; whether the slot
    /// needs no other key frame now.
    pub(super) fn start_instantly(&mut self, now: Instant, route: Route, awaited: StreamId) -> bool {
        if !self.config.downlink.instant_start || !self.has_key_frames(awaited) {
            return false;
        }
        let Err(reason) = self.try_start(now, route, awaited) else { return true };
        let Some(slot) = self.clients[route.subscriber.0].pipeline.slot_mut(route.slot) else { return false };
        let stand_in = slot.stand_in().filter(|stand_in| *stand_in != awaited);
        if slot.note_refused(awaited) {
            self.stats.instant.refused[reason as usize] += 1;
        }
        if let Some(stand_in) = stand_in {
            let _ = self.try_start(now, route, stand_in); // if it cannot, nothing is worse
        }
        false
    }

    fn has_key_frames(&self, stream: StreamId) -> bool {
        let publisher = self.by_number.get(&stream.connection);
        let stream = publisher.and_then(|publisher| self.clients[publisher.0].pipeline.stream(stream));
        stream.is_some_and(super::super::transport::rtp_recv::RtpRecvPipeline::has_key_frames)
    }

    fn try_start(&mut self, now: Instant, route: Route, stream: StreamId) -> Result<(), NoStart> {
        let Route { subscriber, slot } = route;
        let publisher = self.by_number.get(&stream.connection).ok_or(NoStart::NoKeyFrame)?;
        if *publisher == subscriber {
            return Err(NoStart::NoKeyFrame); // nobody watches its own
        }
        let both = self.clients.get2_mut(publisher.0, subscriber.0).ok_or(NoStart::NoKeyFrame)?;
        let (publisher, subscriber) = (&both.0.pipeline, &mut both.1.pipeline);
        let source = publisher.stream(stream).ok_or(NoStart::NoKeyFrame)?;
        let gop = source.gop(now)?;
        if subscriber.slots().get(slot).is_some_and(|slot| slot.is_past(stream, &gop)) {
            return Err(NoStart::Past);
        }
        let takes = subscriber.burst_time(gop.size).ok_or(NoStart::TooLarge)?;
        if source.key_frame_due_in(now).is_some_and(|due| due < takes) {
            return Err(NoStart::Due);
        }
        let begins = subscriber.offer_gop(now, slot, (stream, &gop), source.packets(&gop));
        self.make_due(route.subscriber);
        if !begins {
            return Err(NoStart::TooLarge);
        }
        self.stats.instant.starts += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut stats = InstantStats { starts: 9, ..InstantStats::default() };
        for (count, reason) in NoStart::ALL.into_iter().enumerate() {
            stats.refused[reason as usize] += count as u64;
        }
        let told: Vec<_> =
            stats.metrics().map(|metric| (metric.label.map(|label| label.1), metric.value)).collect();
        let names = NoStart::ALL.map(|reason| Some(reason.name()));
        assert_eq!(told, std::iter::once((None, 9)).chain(names.into_iter().zip(0..)).collect::<Vec<_>>());
    }
}
