//! The guard: parity that is answered by loss does harm, and is taken back (references §4.8).
//!
//! In: for each epoch, the share of redundancy that was sent and the share of packets lost, whatever the reason. Out: what
//! of the planned parity may be sent. Time: `now`, monotonic. Limit: ten epochs are remembered.
//!
//! A random loss causes redundancy; a policer's is caused by it. So what is set against a change of redundancy is the
//! change of loss *after* it: a path that begins to lose by itself does not lose yet more once parity is sent.

use core::time::Duration;

use proto::time::Instant;

/// How many epochs are looked at.
const EPOCHS: usize = 10;
/// The share of additional redundancy that may turn up as additional loss.
const SLOPE_MAX: f64 = 0.3;
/// Together, redundancy must have moved by so much (squared) to tell anything: three times by 4 points.
const MOVED_MIN: f64 = 3.0 * 0.04 * 0.04;
/// After a verdict nothing is changed for so long.
const FREEZE: Duration = Duration::from_secs(5);

/// What may be sent of the planned parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Allowance {
    /// Nothing.
    Off,
    /// Half of it.
    Half,
    /// All of it.
    #[default]
    Full,
}

impl Allowance {
    /// What is allowed of so many packets; of a single one half is one, in turns.
    pub fn of(self, packets: usize, turn: f32) -> usize {
        match self {
            Self::Off => 0,
            Self::Half => packets / 2 + usize::from(packets % 2 == 1 && turn < 0.5),
            Self::Full => packets,
        }
    }
}

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The last epochs: redundancy and loss.
    epochs: [(f64, f64); EPOCHS],
    known: usize,
    allowance: Allowance,
    frozen_until: Option<Instant>,
}

impl Guard {
    /// An epoch of about a second ended: the shares of redundancy sent and of packets lost, 0 to 1.
    pub fn handle_epoch(&mut self, now: Instant, redundancy: f64, loss: f64) {
        self.epochs.rotate_left(1);
        self.epochs[EPOCHS - 1] = (redundancy, loss);
        self.known = (self.known + 1).min(EPOCHS);
        if self.frozen_until.is_some_and(|until| now < until) {
            return;
        }
        if self.does_harm() {
            self.allowance = if self.allowance == Allowance::Full { Allowance::Half } else { Allowance::Off };
            self.freeze(now);
        } else if self.frozen_until.is_some() {
            self.allowance = if self.allowance == Allowance::Off { Allowance::Half } else { Allowance::Full };
            self.frozen_until = None;
            if self.allowance != Allowance::Full {
                self.freeze(now);
            }
        }
    }

    /// What may be sent of the planned parity.
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Begins anew: what was before the verdict does not count towards the next.
    fn freeze(&mut self, now: Instant) {
        self.frozen_until = Some(now + FREEZE);
        self.known = 0;
    }

    fn does_harm(&self) -> bool {
        let known = &self.epochs[EPOCHS - self.known..];
        let (mut together, mut moved) = (0.0, 0.0);
        for three in known.windows(3) {
            let redundancy = three[1].0 - three[0].0;
            let loss = three[2].1 - three[1].1;
            together += redundancy * loss;
            moved += redundancy * redundancy;
        }
        moved >= MOVED_MIN && together / moved > SLOPE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forty seconds of redundancy that goes up and down; what is allowed at the end and at the least.
    fn play(loss: impl Fn(f64) -> f64) -> (Allowance, Allowance) {
        let mut guard = Guard::default();
        let (mut before, mut least) = (0.0, Allowance::Full);
        for second in 0..40_u64 {
            let planned = if second % 4 < 2 { 0.25 } else { 0.05 };
            let redundancy = match guard.allowance() {
                Allowance::Off => 0.0,
                Allowance::Half => planned / 2.0,
                Allowance::Full => planned,
            };
            guard.handle_epoch(Instant::from_millis(second * 1_000), redundancy, loss(before));
            before = redundancy;
            least = least.min(guard.allowance());
        }
        (guard.allowance(), least)
    }

    #[test]
    fn parity_is_taken_back_where_it_causes_loss_and_only_there() {
        assert_eq!(play(|_| 0.05), (Allowance::Full, Allowance::Full), "lost whatever is sent");
        let (_, least) = play(|before| before * 0.8);
        assert_eq!(least, Allowance::Off, "a policer");
    }

    #[test]
    fn a_path_that_begins_to_lose_is_protected() {
        let mut guard = Guard::default();
        for second in 0..30 {
            let is_lossy = second >= 10;
            let (redundancy, loss) = if is_lossy { (0.3, 0.1) } else { (0.0, 0.0) };
            guard.handle_epoch(Instant::from_millis(second * 1_000), redundancy, loss);
            assert_eq!(guard.allowance(), Allowance::Full, "second {second}");
        }
    }

    #[test]
    fn what_was_taken_back_returns_once_it_does_no_harm() {
        let mut guard = Guard { allowance: Allowance::Off, ..Guard::default() };
        guard.freeze(Instant::ZERO);
        let allowed: Vec<Allowance> = (0..12)
            .map(|second| {
                guard.handle_epoch(Instant::from_millis(second * 1_000), 0.0, 0.0);
                guard.allowance()
            })
            .collect();
        assert_eq!((allowed[4], allowed[5], allowed[9], allowed[10]), {
            use Allowance::{Full, Half, Off};
            (Off, Half, Half, Full)
        });
    }

    #[test]
    fn half_of_one_is_one_in_turns() {
        for (allowance, packets, turn, expected) in [
            (Allowance::Off, 5, 0.0, 0),
            (Allowance::Half, 4, 0.9, 2),
            (Allowance::Half, 1, 0.2, 1),
            (Allowance::Half, 1, 0.7, 0),
            (Allowance::Full, 3, 0.9, 3),
        ] {
            assert_eq!(allowance.of(packets, turn), expected, "{allowance:?} of {packets}");
        }
    }
}
