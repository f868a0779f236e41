//! The clock of the test tools: the one place in this crate that reads the time of day.

use std::time::Instant;

/// The moment it is now, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "the tests run in the real world and measure real durations")]
pub fn now() -> Instant {
    Instant::now()
}

/// A number that differs from one run to the next, for seeds that nobody chose.
#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary seed; it is printed so that the run can be repeated"
)]
pub fn arbitrary_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)
}
