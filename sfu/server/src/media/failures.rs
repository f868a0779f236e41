//! What a failed receive means: nothing for a while, then the end of the worker.
//!
//! In: failures and successes of reading the socket. Out: what to do, and when to say so. Time: `now`. Limit:
//! [`LASTING`] without one success.

use std::time::Duration;

use proto::time::Instant;

/// How long receiving may fail without one success. An interface that went down comes back within a few seconds, and
/// clients wait longer than this for their media; a socket that is still broken then will not heal, and a supervisor
/// that starts the process anew gives them one that works.
const LASTING: Duration = Duration::from_secs(10);
/// The least time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after failures, so that a lasting one does not keep a core busy: the kernel's buffer holds 13 ms.
const PAUSE: Duration = Duration::from_millis(1);

/// The failures of one socket.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// All of them.
    pub(super) count: u64,
    since: Option<Instant>,
    said_at: Option<Instant>,
    pause_until: Option<Instant>,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    GoOn,
    /// Say it, and go on.
    Say,
    /// Give up.
    GiveUp,
}

impl Failures {
    /// The socket was read, whether there was something or not.
    pub(super) fn handle_success(&mut self) {
        self.since = None;
        self.pause_until = None;
    }

    /// The socket could not be read.
    pub(super) fn handle_failure(&mut self, now: Instant) -> Verdict {
        self.count += 1;
        self.pause_until = Some(now + PAUSE);
        if now.since(*self.since.get_or_insert(now)) >= LASTING {
            return Verdict::GiveUp;
        }
        if self.said_at.is_some_and(|at| now.since(at) < LOG_INTERVAL) {
            return Verdict::GoOn;
        }
        self.said_at = Some(now);
        Verdict::Say
    }

    /// Until when the socket is left alone.
    pub(super) fn pause_until(&self) -> Option<Instant> {
        self.pause_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{GiveUp, GoOn, Say};

    #[test]
    fn failures_are_said_now_and_then_and_end_the_worker_only_if_they_last() {
        for (name, events, expected) in [
            ("one", &[(0, false)][..], &[Say][..]),
            ("many at once", &[(0, false), (1, false), (999, false)], &[Say, GoOn, GoOn]),
            ("a second later", &[(0, false), (1_000, false), (1_001, false)], &[Say, Say, GoOn]),
            ("not quite too long", &[(0, false), (9_999, false)], &[Say, Say]),
            ("too long", &[(0, false), (5_000, false), (10_000, false)], &[Say, Say, GiveUp]),
            (
                "a success between",
                &[(0, false), (9_000, true), (10_000, false), (19_999, false)],
                &[Say, Say, Say],
            ),
            (
                "a success does not raise the rate of lines",
                &[(0, false), (1, true), (2, false)],
                &[Say, GoOn],
            ),
        ] {
            let mut failures = Failures::default();
            let mut verdicts = Vec::new();
            for &(at, works) in events {
                if works {
                    failures.handle_success();
                    assert_eq!(failures.pause_until(), None, "{name}");
                } else {
                    verdicts.push(failures.handle_failure(Instant::from_millis(at)));
                    assert_eq!(failures.pause_until(), Some(Instant::from_millis(at + 1)), "{name}");
                }
            }
            assert_eq!(verdicts, expected, "{name}");
            assert_eq!(failures.count, expected.len() as u64, "{name}");
        }
    }
}
