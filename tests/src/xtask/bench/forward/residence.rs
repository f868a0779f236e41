//! The case `residence`: how many subscribers one core serves without loss and delay, and how long packets stay at half of that.
//!
//! Delays are from the publisher's sending to the kernel's time stamp at the subscriber: both ways on loopback, and the server. What
//! fails is tried once more, with another server: other work on the machine is to be excused once, the server itself never is, for
//! it must not lose a packet in a whole try.

use anyhow::{Context, Result};
use serde_json::json;

use super::built::Built;
use super::pinned::generate_on;
use super::row::{Row, rounded};
use crate::load::plan::{Crowd, Load, Window};
use crate::load::report::Measured;

/// How many there are to be.
const GOAL: f64 = 1_000.0;

/// What is tried first; then twice as many, as long as that goes well.
const FIRST: u16 = 128;

/// What is not tried any more: the generator has one core, too.
const TOO_MANY: u16 = 2_048;

/// How exact the result is.
const STEP: u16 = 32;

/// How often a number of subscribers is tried before it counts as too many.
const TRIES: usize = 2;

/// How long a try takes, in seconds: so many packets that one in a hundred is thousands.
const SECONDS: f64 = 3.0;

/// How long 99 of 100 packets may be under way.
const P99_MAX_MS: f64 = 10.0;

/// The share of its core from which on the generator may be what limits.
const GENERATOR_MAX: f64 = 0.85;

/// The share below which the server did not want more: others had its core.
const SERVER_MIN: f64 = 0.5;

/// Searches, and measures at half of what was found.
pub(super) async fn measure(built: &Built) -> Result<Row> {
    let mut bounded_by = "search";
    let (mut most, mut least_failed, mut next) = (0, TOO_MANY, FIRST);
    while next < least_failed {
        let measured = attempt(built, next).await?;
        if is_good(&measured) {
            most = next;
        } else {
            least_failed = next;
            bounded_by = limit(&measured);
        }
        next = following(most, least_failed);
    }
    let half = once(built, (most / 2).max(1)).await?;
    let mut row = Row::new("residence", "subscribers");

    row.runs = vec![(f64::from(most), f64::NAN)];
    Ok(row
        .with("goal", GOAL)
        .with("bounded_by", bounded_by)
        .with("half", most / 2)
        .with("p50_ms", rounded(half.p50_ms))
        .with("p99_ms", rounded(half.p99_ms))
        .with("loss", rounded(half.loss()))
        .with("delays", json!(half.delays)))
}

/// What to try next if `most` went well and `failed` did not: `failed` itself when they are close enough.
fn following(most: u16, failed: u16) -> u16 {
    if failed == TOO_MANY && most > 0 {
        return (most * 2).min(failed);
    }
    let middle = u16::midpoint(most, failed).next_multiple_of(STEP);
    if failed - most <= STEP { failed } else { middle.min(failed - STEP) }
}

fn is_good(measured: &Measured) -> bool {
    measured.counts.received > 0 && measured.counts.lost == 0 && measured.p99_ms <= P99_MAX_MS
}

/// What kept more from going well.
fn limit(measured: &Measured) -> &'static str {
    if measured.generator >= GENERATOR_MAX {
        "generator"
    } else if server_share(measured) >= SERVER_MIN {
        "server"
    } else {
        "machine"
    }
}

/// The share of its core that the server took, all its threads together.
fn server_share(measured: &Measured) -> f64 {
    measured.usage.all_ns as f64 / 1e9 / measured.seconds
}

/// The first good try, or the last one.
async fn attempt(built: &Built, subscribers: u16) -> Result<Measured> {
    let mut measured = Measured::default();
    for _ in 0..TRIES {
        measured = once(built, subscribers).await?;
        eprintln!(
            "\rresidence: {subscribers} subscribers, {} lost, p99 {:.2} ms, generator {:.2}, server {:.2}",
            measured.counts.lost,
            measured.p99_ms,
            measured.generator,
            server_share(&measured)
        );
        if is_good(&measured) {
            break;
        }
    }
    Ok(measured)
}

async fn once(built: &Built, subscribers: u16) -> Result<Measured> {
    let crowd = Crowd { publishers: 1, kbps: 1_500, slots: 0, subscribers, feedback: true };
    let window = Window { party: 0, seconds: SECONDS, load: Load::Server };
    let report = generate_on(built, &built.server()?, crowd, vec![window]).await?;
    report.windows.into_iter().next().context("nothing was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_is_who_has_no_more_to_give() {
        for (generator, server_s, expected) in
            [(0.9, 0.9, "generator"), (0.4, 0.9, "server"), (0.1, 0.1, "machine")]
        {
            let mut measured = Measured { seconds: 2.0, generator, ..Measured::default() };
            measured.usage.all_ns = (server_s * 2e9) as u64;
            assert_eq!(limit(&measured), expected, "{generator} and {server_s}");
        }
    }

    #[test]
    fn the_search_ends_at_the_last_step_that_goes_well() {
        for (limit, expected) in
            [(0, 0), (31, 0), (32, 32), (450, 448), (512, 512), (1_000, 992), (2_047, 1_024)]
        {
            let (mut most, mut failed, mut next, mut tries) = (0, TOO_MANY, FIRST, 0);
            while next < failed {
                tries += 1;
                if next <= limit {
                    most = next;
                } else {
                    failed = next;
                }
                next = following(most, failed);
            }
            assert_eq!(most, expected, "{limit} go well");
            assert!(tries <= 9, "{limit} go well: {tries} tries");
        }
    }
}
