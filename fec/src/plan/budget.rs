//! What repair may cost: a bucket of tokens, and an order of claims (references §4.8).
//!
//! In: packets of repair before they leave. Out: whether they may. Time: `now`, monotonic. Limit: a share of the estimate
//! over any second; what is refused is not sent, and nothing waits here.

use core::time::Duration;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

/// What repair may take of the estimate: 35 %, and 50 % where only sound is sent.
const SHARE: f64 = 0.35;
const SHARE_AUDIO: f64 = 0.5;
/// How much unused allowance is kept: what a key frame's repair takes at once.
const KEPT: Duration = Duration::from_millis(500);

/// What repair is for, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// Repeated sound.
    Audio,
    /// A retransmission of what others need.
    RetransmitBase,
    /// Parity over what others need.
    ParityBase,
    /// A retransmission of what no other needs.
    RetransmitEnhancement,
    /// Parity over what no other needs.
    ParityEnhancement,
}

impl Claim {
    /// The share of the kept allowance that must remain for claims before this one.
    const fn reserve(self) -> f64 {
        match self {
            Self::Audio => 0.0,
            Self::RetransmitBase => 0.05,
            Self::ParityBase => 0.15,
            Self::RetransmitEnhancement => 0.30,
            Self::ParityEnhancement => 0.45,
        }
    }
}

/// What a leg carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carries {
    /// Pictures, with or without sound.
    Video,
    /// Sound alone.
    Audio,
}

impl Carries {
    const fn share(self) -> f64 {
        match self {
            Self::Video => SHARE,
            Self::Audio => SHARE_AUDIO,
        }
    }
}

/// A leg's allowance for repair; see the module's description.
#[derive(Debug, Clone)]
pub struct Budget {
    carries: Carries,
    rate: Bitrate,
    left: DataSize,
    at: Instant,
}

impl Budget {
    /// A full allowance of what the estimate of a leg allows.
    pub fn new(now: Instant, estimate: Bitrate, carries: Carries) -> Self {
        let rate = estimate.scaled(carries.share());
        Self { carries, rate, left: rate * KEPT, at: now }
    }

    /// The estimate changed.
    pub fn set_estimate(&mut self, now: Instant, estimate: Bitrate) {
        self.refill(now);
        self.rate = estimate.scaled(self.carries.share());
        self.left = self.left.min(self.rate * KEPT);
    }

    /// Whether a packet of repair may leave; if so, it is taken off the allowance.
    pub fn admit(&mut self, now: Instant, size: DataSize, claim: Claim) -> bool {
        self.refill(now);
        let reserve = (self.rate * KEPT).scaled(claim.reserve());
        let is_left = self.left >= reserve + size;
        if is_left {
            self.left -= size;
        }
        is_left
    }

    fn refill(&mut self, now: Instant) {
        self.left = (self.left + self.rate * now.since(self.at)).min(self.rate * KEPT);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: DataSize = DataSize::bytes(1_200);

    /// How many bits a second are admitted when far more is asked for, over ten seconds after the first.
    fn admitted(claim: Claim, carries: Carries) -> f64 {
        let mut budget = Budget::new(Instant::ZERO, Bitrate::mbps(2), carries);
        let mut bits = 0;
        for at in 0..11_000 {
            let may = budget.admit(Instant::from_millis(at), PACKET, claim);
            bits += if may && at >= 1_000 { PACKET.as_bits() } else { 0 };
        }
        bits as f64 / 10.0
    }

    #[test]
    fn repair_takes_its_share_of_the_estimate_and_no_more() {
        for (claim, carries, expected) in [
            (Claim::RetransmitBase, Carries::Video, 700e3),
            (Claim::ParityEnhancement, Carries::Video, 700e3),
            (Claim::Audio, Carries::Audio, 1e6),
        ] {
            let found = admitted(claim, carries);
            assert!((found / expected - 1.0).abs() < 0.02, "{claim:?}: {found}");
        }
    }

    #[test]
    fn when_it_runs_short_the_lesser_claims_go_first() {
        let mut budget = Budget::new(Instant::ZERO, Bitrate::mbps(2), Carries::Video);
        let mut refused = Vec::new();
        let claims = [
            Claim::ParityEnhancement,
            Claim::RetransmitEnhancement,
            Claim::ParityBase,
            Claim::RetransmitBase,
            Claim::Audio,
        ];
        for claim in claims {
            let taken =
                std::iter::from_fn(|| budget.admit(Instant::ZERO, PACKET, claim).then_some(())).count();
            assert!(taken > 0, "{claim:?} has something left that lesser ones could not take");
            refused.push(claim);
        }
        assert!(refused.is_sorted_by(|a, b| a > b));
        budget.set_estimate(Instant::ZERO, Bitrate::ZERO);
        assert!(!budget.admit(Instant::from_millis(900), PACKET, Claim::Audio), "nothing of nothing");
    }
}
