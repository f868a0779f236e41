//! How many earlier packets each packet of sound repeats (RFC 2198; references §4.4).
//!
//! Browsers do not ask for lost sound again, so depth is all there is. A packet is gone for good if it is lost together
//! with the `depth` packets that repeat it: p·(p + (1 − p)·correlation)^depth.

use core::time::Duration;

use super::SILENT;
use super::node::Receiver;
use crate::loss_model::LossEstimate;

/// The most repeats towards browsers, and towards our own: each costs the packet's size again, and plays a packet later.
const DEPTH_MAX: u8 = 2;
const DEPTH_MAX_NATIVE: u8 = 3;

/// The least depth with which a packet of sound is lost for good with a chance of `failure` at most, or the most there is.
///
/// `interval` is the time from one packet to the next, 10 or 20 ms.
pub fn red_depth(estimate: &LossEstimate, interval: Duration, failure: f64, receiver: Receiver) -> u8 {
    let depth_max = match receiver {
        Receiver::Native => DEPTH_MAX_NATIVE,
        Receiver::FlexFec | Receiver::Retransmit => DEPTH_MAX,
    };
    if estimate.bound < SILENT {
        return 0;
    }
    let loss = estimate.bound;
    let next = loss + (1.0 - loss) * estimate.correlation_at(interval);
    let mut residual = loss;
    let mut depth = 0;
    while depth < depth_max && residual > failure {
        residual *= next;
        depth += 1;
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_grows_with_loss_and_with_runs_up_to_its_limit() {
        let frame = Duration::from_millis(20);
        for (name, loss, correlation, receiver, depth) in [
            ("nothing is lost", 0.0, 0.0, Receiver::FlexFec, 0),
            ("one in two thousand", 0.0006, 0.0, Receiver::FlexFec, 0),
            ("one in fifty", 0.02, 0.0, Receiver::FlexFec, 1),
            ("one in ten", 0.1, 0.0, Receiver::FlexFec, 2),
            ("one in fifty, in outages", 0.02, 0.999, Receiver::FlexFec, 2),
            ("one in three", 0.3, 0.0, Receiver::FlexFec, 2),
            ("one in three, natively", 0.3, 0.0, Receiver::Native, 3),
        ] {
            let estimate = LossEstimate { loss, bound: loss, correlation, ..LossEstimate::COLD };
            assert_eq!(red_depth(&estimate, frame, 1e-3, receiver), depth, "{name}");
        }
    }
}
