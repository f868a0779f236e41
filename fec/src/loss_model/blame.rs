//! Who is to blame for losses: a path is believed to lose by itself only after it has looked so for a while.
//!
//! In: the kind of path that congestion control sees, with each feedback. Out: a [`Cause`], and whether to forget. Time:
//! `now`, monotonic. Limit: none, constant memory.
//!
//! A policer that has just been met looks like chance until its rate is known, and parity sent meanwhile makes it drop all
//! the more. So the benefit of the doubt goes to the path slowly, and is lost twice as fast.

use core::time::Duration;

use proto::path_class::PathClass;
use proto::time::Instant;

use super::Cause;

/// How long a path must have looked as if it lost by itself, after it was met or after it looked otherwise.
const PROVEN: Duration = Duration::from_secs(2);

/// What more of that counts: so long may it look otherwise, twice as fast, without being judged anew.
const PROVEN_MAX: Duration = Duration::from_secs(8);

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blame {
    /// For how long it has looked as if it lost by itself.
    proven: Duration,
    at: Option<Instant>,
}

/// What becomes of losses that are told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What they are put down to.
    pub cause: Cause,
    /// Whether what was put down to the path before was not its doing.
    pub is_acquitted: bool,
    /// Whether parity may be sent: not towards what drops what is too much, whatever was thought of it before.
    pub may_protect: bool,
}

impl Blame {
    /// Judges losses that are told now, on a path of a class.
    pub fn judge(&mut self, now: Instant, class: PathClass) -> Judged {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.since(at));
        self.at = Some(now);
        let before = self.proven;
        if Cause::on(class) == Cause::Congestion {
            self.proven = self.proven.saturating_sub(elapsed * 2);
            let is_acquitted = before > Duration::ZERO && self.proven.is_zero();
            return Judged { cause: Cause::Congestion, is_acquitted, may_protect: false };
        }
        self.proven = (self.proven + elapsed).min(PROVEN_MAX);
        let cause = if self.proven >= PROVEN { Cause::Path } else { Cause::Congestion };
        Judged { cause, is_acquitted: false, may_protect: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a loss is put down to after each of some spells, in seconds, and how often the path was acquitted.
    fn play(spells: &[(PathClass, u64)]) -> (Vec<Cause>, usize) {
        let (mut blame, mut now, mut acquitted) = (Blame::default(), Instant::ZERO, 0);
        let mut causes = Vec::new();
        for (class, seconds) in spells {
            let mut cause = Cause::Congestion;
            for _ in 0..seconds * 20 {
                now += Duration::from_millis(50);
                let judged = blame.judge(now, *class);
                acquitted += usize::from(judged.is_acquitted);
                cause = judged.cause;
            }
            causes.push(cause);
        }
        (causes, acquitted)
    }

    #[test]
    fn a_path_is_blamed_once_it_has_looked_so_for_long_enough() {
        use Cause::{Congestion, Path};
        use PathClass::{Clean, Policed, Random, Shallow, Unknown};
        for (name, spells, causes, acquitted) in [
            ("by chance from the start", &[(Unknown, 1), (Random, 2)][..], &[Congestion, Path][..], 0),
            (
                "a policer that is known late",
                &[(Unknown, 1), (Policed, 5), (Policed, 1)],
                &[Congestion; 3],
                1,
            ),
            (
                "misjudged for a moment",
                &[(Random, 20), (Shallow, 1), (Random, 1)],
                &[Path, Congestion, Path],
                0,
            ),
            (
                "another path by now",
                &[(Random, 20), (Shallow, 5), (Random, 1)],
                &[Path, Congestion, Congestion],
                1,
            ),
            ("clean paths lose by themselves, too", &[(Clean, 5)], &[Path], 0),
        ] {
            assert_eq!(play(spells), (causes.to_vec(), acquitted), "{name}");
        }
    }
}
