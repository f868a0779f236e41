//! `fixed`: one rate for ever, whatever feedback says: the floor that every comparison stands on.

use core::time::Duration;

use proto::time::Instant;
use proto::units::Bitrate;

use super::{Estimator, Target};
use crate::packet::{PacketResult, SentPacket};

/// How much faster than the rate packets may leave: frames vary by some percent.
const PACING_FACTOR: f64 = 1.1;

/// See the module's description.
#[derive(Debug)]
pub struct Fixed {
    rate: Bitrate,
}

impl Fixed {
    /// Always `rate`.
    pub fn new(rate: Bitrate) -> Self {
        Self { rate }
    }
}

impl Estimator for Fixed {
    fn handle_sent(&mut self, _now: Instant, _packet: &SentPacket) {}

    fn handle_feedback(&mut self, _now: Instant, _results: &[PacketResult]) {}

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn target(&self) -> Target {
        Target {
            rate: self.rate,
            pacing: self.rate.scaled(PACING_FACTOR),
            burst: Duration::ZERO,
            window: None,
            padding: Bitrate::ZERO,
        }
    }

    fn state(&self) -> &'static str {
        "fixed"
    }
}
