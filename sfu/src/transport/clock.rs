//! Media clocks: which moment of the server's wall clock an RTP timestamp stands for (RFC 3550 §6.4.1).
//!
//! A publisher's sender reports tie its RTP timestamps to its own wall clock. Tracks and simulcast layers of one
//! publisher share that wall clock, so mapping it once to the server's keeps lips and voice together, whichever layer
//! is forwarded.

use proto::time::NtpTime;

/// Nanoseconds by which the mapped clock may fall behind a slower path at each report: jitter does not move it, drift does.
const OFFSET_RISE_MAX: i64 = 1_000_000;

/// A line through one point: RTP timestamp `rtp` was the media's time at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpClock {
    /// A moment of the server's wall clock.
    pub at: NtpTime,
    /// The RTP timestamp of that moment.
    pub rtp: u32,
    /// Ticks per second.
    pub rate: u32,
}

impl RtpClock {
    /// The RTP timestamp at `time`.
    pub fn rtp_at(self, time: NtpTime) -> u32 {
        let ticks = i128::from(time.nanos_since(self.at)) * i128::from(self.rate) / 1_000_000_000;
        self.rtp.wrapping_add(ticks as u32)
    }

    /// The moment of RTP timestamp `rtp`, taking the nearer way round the 32 bits.
    pub fn time_of(self, rtp: u32) -> NtpTime {
        let ticks = rtp.wrapping_sub(self.rtp) as i32;
        self.at.offset_nanos(i64::from(ticks) * 1_000_000_000 / i64::from(self.rate))
    }
}

/// How far a publisher's wall clock is from the server's, learned from its sender reports.
#[derive(Debug, Default)]
pub struct PublisherClock {
    offset_nanos: Option<i64>,
}

impl PublisherClock {
    /// A report that says `reported` arrived at `arrival` on the server's wall clock.
    ///
    /// The quickest report is nearest to the truth, so the offset falls at once and rises slowly.
    pub fn handle_sender_report(&mut self, arrival: NtpTime, reported: NtpTime) {
        let sample = arrival.nanos_since(reported);
        self.offset_nanos = Some(match self.offset_nanos {
            Some(offset) if sample > offset => offset + ((sample - offset) / 16).min(OFFSET_RISE_MAX),
            Some(_) | None => sample,
        });
    }

    /// The server's time at the publisher's `time`; `None` before its first report.
    pub fn to_server(&self, time: NtpTime) -> Option<NtpTime> {
        self.offset_nanos.map(|offset| time.offset_nanos(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);

    #[test]
    fn a_clock_maps_there_and_back_across_the_wrap() {
        let clock = RtpClock { at: START, rtp: u32::MAX - 10, rate: 90_000 };
        for (millis, ticks) in [(0_i64, 0_u32), (1_000, 90_000), (-40, 3_600_u32.wrapping_neg())] {
            let time = START.offset_nanos(millis * 1_000_000);
            let rtp = clock.rtp_at(time);
            assert!(rtp.wrapping_sub(clock.rtp).wrapping_sub(ticks).wrapping_add(1) <= 2, "{millis} ms");
            assert!(clock.time_of(rtp).nanos_since(time).abs() < 12_000, "{millis} ms");
        }
    }

    #[test]
    fn the_offset_follows_the_quickest_report_and_rises_slowly() {
        let mut clock = PublisherClock::default();
        assert_eq!(clock.to_server(START), None);
        let offset_after = |clock: &mut PublisherClock, delay_ms: i64| {
            clock.handle_sender_report(START.offset_nanos(delay_ms * 1_000_000), START);
            clock.to_server(START).unwrap().nanos_since(START)
        };
        assert!((offset_after(&mut clock, 50) - 50_000_000).abs() < 10);
        assert!((offset_after(&mut clock, 20) - 20_000_000).abs() < 10);
        let risen = offset_after(&mut clock, 120);
        assert!((20_000_001..=21_000_010).contains(&risen), "{risen}");
    }
}
