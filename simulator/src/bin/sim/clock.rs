//! The clocks: the only file of `sim` that reads one.

use std::sync::OnceLock;
use std::time::Instant;

/// The moment it is now, to tell how long things take and how long they will.
#[expect(clippy::disallowed_methods, reason = "this is the shell's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The standard library's name for the beginning of every run; it decides nothing.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(now)
}

/// Nanoseconds since the epoch, to tell what estimators cost.
pub(crate) fn stopwatch() -> u64 {
    now().duration_since(epoch()).as_nanos() as u64
}
