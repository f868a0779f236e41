//! Plans that do not flutter: what is measured rises at once and falls slowly (references §4.7).

use core::time::Duration;

use proto::time::Instant;

use super::timing::Timing;

/// A share of losses falls by so much of itself in a [`Steady::period`] at most.
const FALL: f64 = 0.2;
/// The least of such periods; four round trips if that is longer.
const PERIOD_MIN: Duration = Duration::from_secs(1);
/// A round trip that fell by less than a tenth has not changed.
const BAND: f64 = 0.9;
/// Less than this is nothing.
const NOTHING: f64 = 1e-5;

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steady {
    loss: f64,
    at: Option<Instant>,
    round_trip: Duration,
}

impl Steady {
    /// The share of losses to plan by, when so much is measured.
    pub(super) fn loss(&mut self, now: Instant, measured: f64, round_trip: Duration) -> f64 {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.since(at));
        self.at = Some(now);
        let periods = elapsed.as_secs_f64() / PERIOD_MIN.max(round_trip * 4).as_secs_f64();
        let fallen = self.loss * (1.0 - FALL * periods).max(0.0);
        self.loss = measured.max(if fallen < NOTHING { 0.0 } else { fallen });
        self.loss
    }

    /// The share of losses that was planned by last.
    pub(super) fn bound(&self) -> f64 {
        self.loss
    }

    /// The times to plan by, when such are measured.
    pub(super) fn timing(&mut self, measured: Timing) -> Timing {
        let has_fallen = measured.round_trip.as_secs_f64() < self.round_trip.as_secs_f64() * BAND;
        if has_fallen || measured.round_trip > self.round_trip {
            self.round_trip = measured.round_trip;
        }
        Timing { round_trip: self.round_trip, ..measured }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn losses_rise_at_once_and_fall_slowly_to_nothing() {
        let mut steady = Steady::default();
        let mut loss = |millis, measured| steady.loss(Instant::from_millis(millis), measured, RTT);
        assert!((loss(0, 0.1) - 0.1).abs() < 1e-12);
        assert!((loss(1_000, 0.02) - 0.08).abs() < 1e-12, "a fifth less after a second");
        assert!((loss(1_500, 0.07) - 0.072).abs() < 1e-12);
        assert!((loss(1_600, 0.3) - 0.3).abs() < 1e-12);
        let mut at = 1_600;
        while loss(at, 0.0) > 0.0 {
            at += 50;
            assert!(at < 120_000, "never nothing again");
        }
        assert!(at > 20_000, "fell within {at} ms");
    }

    #[test]
    fn round_trips_change_only_beyond_their_band() {
        let mut steady = Steady::default();
        let mut round_trip = |millis| {
            let measured = Timing::symmetric(Duration::from_millis(millis), RTT, RTT);
            steady.timing(measured).round_trip.as_millis()
        };
        for (measured, planned) in [(100, 100), (95, 100), (103, 103), (94, 103), (92, 92), (50, 50)] {
            assert_eq!(round_trip(measured), planned, "{measured} ms");
        }
    }
}
