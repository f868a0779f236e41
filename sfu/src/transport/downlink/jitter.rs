//! How much the delay of a path usually varies: what a queue in front of it must bear without losing pictures.
//!
//! In: when packets left and arrived. Out: a duration. Time: `now`, monotonic. Limit: constant memory.
//!
//! Of each report the packet that was under way the longest counts, by how much longer that was than the least of the last
//! [`WINDOW`] to twice that. "Usual" is what 19 of 20 reports stay below: it goes up by [`UP`] when one is above and down
//! by a nineteenth of that when one is not, which settles where that is. A single stall moves it little.

use core::time::Duration;

use cc::PacketResult;
use proto::time::Instant;

/// How long the least delay is remembered at least.
const WINDOW: Duration = Duration::from_secs(10);

/// The step of the estimate: with a report each 50 ms, a second of them makes 160 ms.
const UP: Duration = Duration::from_millis(8);
const DOWN: Duration = Duration::from_nanos(8_000_000 / 19);

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jitter {
    /// The least delay of this window and of the one before, in nanoseconds of two clocks that have nothing in common.
    least: Option<i64>,
    least_before: Option<i64>,
    window_began: Instant,
    usual: Duration,
}

impl Jitter {
    /// A report came.
    pub(super) fn handle_report(&mut self, now: Instant, results: &[PacketResult]) {
        let delay = |result: &PacketResult| {
            Some(result.received?.as_nanos().wrapping_sub(result.sent.sent.as_nanos()) as i64)
        };
        let delays = results.iter().filter_map(delay);
        let Some((least, most)) = delays.fold(None, |range: Option<(i64, i64)>, one| {
            Some(range.map_or((one, one), |(least, most)| (least.min(one), most.max(one))))
        }) else {
            return;
        };
        if now.since(self.window_began) >= WINDOW {
            self.least_before = self.least.take();
            self.window_began = now;
        }
        let known = self.least.map_or(least, |known| known.min(least));
        self.least = Some(known);
        let base = self.least_before.map_or(known, |before| before.min(known));
        let excess = Duration::from_nanos(most.saturating_sub(base).max(0) as u64);
        self.usual =
            if excess > self.usual { (self.usual + UP).min(excess) } else { self.usual.saturating_sub(DOWN) };
    }

    /// How much longer than at best packets are usually under way.
    pub(super) fn usual(&self) -> Duration {
        self.usual
    }
}

#[cfg(test)]
mod tests {
    use cc::{Ecn, PacketClass, SentPacket};
    use proto::units::DataSize;

    use super::*;

    fn result(sent: u64, took: u64) -> PacketResult {
        let at = Instant::from_millis(sent);
        let sent = SentPacket {
            number: sent,
            size: DataSize::bytes(1_000),
            sent: at,
            class: PacketClass::Video,
            probe: None,
            in_flight: DataSize::ZERO,
            app_limited: false,
        };
        PacketResult { sent, received: Some(at + Duration::from_millis(took)), ecn: Ecn::NotCapable }
    }

    #[test]
    fn what_nineteen_of_twenty_reports_stay_below_is_usual() {
        for (claim, spike, every, usual) in [
            ("a steady path", 0, 1, 0..=0),
            ("each report late by 60 ms", 60, 1, 58..=60),
            ("every tenth", 60, 10, 50..=60),
            ("every hundredth", 60, 100, 0..=9),
        ] {
            let mut jitter = Jitter::default();
            for report in 0..2_000_u64 {
                let late = if report % every == 0 { spike } else { 0 };
                let at = 1_000 + report * 50;
                let results = [result(at, 30), result(at + 5, 30 + late)];
                jitter.handle_report(Instant::from_millis(at + 100), &results);
            }
            let told = jitter.usual().as_millis();
            assert!(usual.contains(&told), "{claim}: {told} ms");
        }
    }

    #[test]
    fn a_longer_way_is_no_jitter_for_ever() {
        let mut jitter = Jitter::default();
        for report in 0..2_000_u64 {
            let took = if report < 200 { 20 } else { 120 };
            jitter.handle_report(Instant::from_millis(report * 50 + 200), &[result(report * 50, took)]);
            if report == 300 {
                assert!(jitter.usual() > Duration::from_millis(90), "{:?}", jitter.usual());
            }
        }
        assert!(jitter.usual() < Duration::from_millis(5), "{:?}", jitter.usual());
    }
}
