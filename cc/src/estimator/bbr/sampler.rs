//! Delivery-rate samples: how fast the path delivered the latest flight (draft §4.1, "Delivery Rate Samples").
//!
//! In: packets as they leave and their results. Out: one [`RateSample`] a report. Limit: [`FLIGHTS_MAX`] packets
//! are remembered; of more, the oldest are forgotten and their results ignored.
//!
//! Reports come every 50 to 100 ms and carry the time of each arrival, so the length of the delivery is taken between
//! arrivals by the receiver's clock, as the draft allows ("Impact of changing ACK frequency"), and between reports by
//! our own where no arrival is known from before the packet left.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::packet::{PacketResult, SentPacket};

/// How many packets are remembered: one second at 75 Mbit/s.
const FLIGHTS_MAX: usize = 8_192;
/// How many packets later a lost one may still turn up.
const LATE_MAX: usize = 512;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not reported yet.
    InFlight,
    /// Reported lost, in that episode of losses.
    Lost(u32),
    /// Received, or never sent.
    Done,
}

/// What is noted of a packet when it leaves ("Per-packet (P) state").
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) size: DataSize,
    /// All that was in flight just after it left (`P.tx_in_flight`).
    pub(super) outstanding: DataSize,
    pub(super) app_limited: bool,
    fate: Fate,
    sent: Instant,
    first_sent: Instant,
    delivered: DataSize,
    delivered_at: Instant,
    delivered_arrival: Option<Instant>,
    lost: DataSize,
}

impl Flight {
    /// The place of a number that was never sent.
    pub(super) const NEVER: Self = Self {
        size: DataSize::ZERO,
        outstanding: DataSize::ZERO,
        app_limited: false,
        fate: Fate::Done,
        sent: Instant::ZERO,
        first_sent: Instant::ZERO,
        delivered: DataSize::ZERO,
        delivered_at: Instant::ZERO,
        delivered_arrival: None,
        lost: DataSize::ZERO,
    };
}

/// What one report tells ("Rate Sample (rs) Output").
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RateSample {
    /// Whether it reported a packet as received.
    pub(super) has_data: bool,
    /// From the departure of the newest packet to now: the reporting delay of the others is not in it.
    pub(super) rtt: Duration,
    /// The same of the oldest: how long a packet at most takes its place in the window.
    pub(super) hold: Duration,
    /// Zero if the sample is not fit to tell.
    pub(super) delivery_rate: Bitrate,
    pub(super) app_limited: bool,
    /// What was delivered over the sample.
    pub(super) delivered: DataSize,
    /// What had been delivered when the newest packet left.
    pub(super) prior_delivered: DataSize,
    /// What this report added.
    pub(super) newly_acked: DataSize,
    /// What was in flight just after the newest packet left.
    pub(super) tx_in_flight: DataSize,
    /// What was lost since the newest packet left.
    pub(super) lost: DataSize,
}

/// The newest packet of a report, and what the report adds up to.
#[derive(Debug, Default)]
pub(super) struct Report {
    newest: Option<(u64, Flight)>,
    oldest_sent: Option<Instant>,
    newest_arrival: Option<Instant>,
    newly_acked: DataSize,
}

/// The state of the connection ("Per-connection (C) state") and of each packet.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    flights: VecDeque<Flight>,
    /// The number of the first of `flights`.
    base: u64,
    delivered: DataSize,
    delivered_at: Instant,
    delivered_arrival: Option<Instant>,
    first_sent: Instant,
    newest_acked: u64,
    /// While less than this is delivered, samples tell of the application, not of the path.
    app_limited_until: Option<DataSize>,
    lost: DataSize,
    in_flight: DataSize,
    /// The least round trip of all time.
    min_rtt: Option<Duration>,
}

impl Sampler {
    /// A packet leaves ("Transmitting a data packet"). What is in flight is taken from the packet, which knows what
    /// was given up without a report.
    pub(super) fn handle_sent(&mut self, packet: &SentPacket) {
        if packet.in_flight == DataSize::ZERO {
            self.first_sent = packet.sent;
            self.delivered_at = packet.sent;
            self.delivered_arrival = None;
        }
        self.in_flight = packet.in_flight + packet.size;
        if packet.app_limited {
            self.mark_app_limited();
        }
        self.remember(
            packet.number,
            Flight {
                size: packet.size,
                outstanding: self.in_flight,
                app_limited: self.app_limited_until.is_some(),
                fate: Fate::InFlight,
                sent: packet.sent,
                first_sent: self.first_sent,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                delivered_arrival: self.delivered_arrival,
                lost: self.lost,
            },
        );
    }

    /// The samples of all that is in flight do not tell of the path ("Detecting application-limited phases").
    pub(super) fn mark_app_limited(&mut self) {
        self.app_limited_until = Some((self.delivered + self.in_flight).max(DataSize::bytes(1)));
    }

    /// A packet was received: the episode in which it had been taken for lost, if it had; `Err` if it is unknown or
    /// was reported before.
    pub(super) fn handle_received(
        &mut self,
        now: Instant,
        result: &PacketResult,
        report: &mut Report,
    ) -> Result<Option<u32>, Unknown> {
        let flight = self.flight_mut(result.sent.number).ok_or(Unknown)?;
        let fate = core::mem::replace(&mut flight.fate, Fate::Done);
        let flight = *flight;
        let episode = match fate {
            Fate::Done => return Err(Unknown),
            Fate::InFlight => {
                self.in_flight -= flight.size;
                None
            }
            Fate::Lost(episode) => {
                self.lost -= flight.size;
                Some(episode)
            }
        };
        self.delivered += flight.size;
        self.delivered_at = now;
        report.newly_acked += flight.size;
        report.newest_arrival = report.newest_arrival.max(result.received);
        report.oldest_sent = Some(report.oldest_sent.map_or(flight.sent, |sent| sent.min(flight.sent)));
        let number = result.sent.number;
        if report.newest.is_none() || (flight.sent, number) > (self.first_sent, self.newest_acked) {
            report.newest = Some((number, flight));
            self.first_sent = flight.sent;
            self.newest_acked = number;
        }
        Ok(episode)
    }

    /// A packet was taken for lost: what is known of it, unless it was reported before.
    pub(super) fn handle_lost(&mut self, number: u64, episode: u32) -> Option<Flight> {
        let flight = self.flight_mut(number)?;
        if flight.fate != Fate::InFlight {
            return None;
        }
        flight.fate = Fate::Lost(episode);
        let flight = *flight;
        self.in_flight -= flight.size;
        self.lost += flight.size;
        Some(flight)
    }

    /// A packet arrived marked: as bad a sign as its loss (draft §3.6, "ECN"), though it was delivered.
    pub(super) fn handle_marked(&mut self, number: u64) -> Option<Flight> {
        let flight = *self.flight_mut(number)?;
        self.lost += flight.size;
        Some(flight)
    }

    /// All of a report's results are in ("Upon receiving an ACK").
    pub(super) fn finish(&mut self, now: Instant, report: &Report) -> RateSample {
        self.forget();
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        self.delivered_arrival = report.newest_arrival.or(self.delivered_arrival);
        let Some((_, newest)) = report.newest else {
            return RateSample::default();
        };
        let rtt = now.since(newest.sent);
        let min_rtt = self.min_rtt.map_or(rtt, |least| least.min(rtt));
        self.min_rtt = Some(min_rtt);
        let delivered = self.delivered - newest.delivered;
        let interval = self.ack_elapsed(&newest, report).max(newest.sent.since(newest.first_sent));
        RateSample {
            has_data: true,
            rtt,
            hold: now.since(report.oldest_sent.unwrap_or(newest.sent)),
            delivery_rate: match Bitrate::of(delivered, interval) {
                Some(rate) if interval >= min_rtt => rate,
                Some(_) | None => Bitrate::ZERO,
            },
            app_limited: newest.app_limited,
            delivered,
            prior_delivered: newest.delivered,
            newly_acked: report.newly_acked,
            tx_in_flight: newest.outstanding,
            lost: self.lost - newest.lost,
        }
    }

    /// Nothing is in flight any more, whatever became of it.
    pub(super) fn give_up(&mut self) {
        self.flights.clear();
        self.in_flight = DataSize::ZERO;
    }

    /// All that was delivered so far.
    pub(super) const fn delivered(&self) -> DataSize {
        self.delivered
    }

    /// What is in flight.
    pub(super) const fn in_flight(&self) -> DataSize {
        self.in_flight
    }

    /// What was lost since a packet left.
    pub(super) fn lost_since(&self, flight: &Flight) -> DataSize {
        self.lost - flight.lost
    }

    /// Whether the application lately had less to send than it was allowed.
    pub(super) const fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    fn ack_elapsed(&self, newest: &Flight, report: &Report) -> Duration {
        match (newest.delivered_arrival, report.newest_arrival) {
            (Some(from), Some(to)) if to > from => to.since(from),
            (Some(_) | None, Some(_) | None) => self.delivered_at.since(newest.delivered_at),
        }
    }

    fn flight_mut(&mut self, number: u64) -> Option<&mut Flight> {
        self.flights.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    fn remember(&mut self, number: u64, flight: Flight) {
        let next = self.base + self.flights.len() as u64;
        let skipped = number.checked_sub(next).filter(|&skipped| skipped < FLIGHTS_MAX as u64);
        if self.flights.is_empty() || (number > next && skipped.is_none()) {
            self.flights.clear();
            self.base = number;
        } else {
            let Some(skipped) = skipped else { return }; // an older number again: not ours to mend
            for _ in 0..skipped {
                self.flights.push_back(Flight::NEVER);
            }
        }
        self.flights.push_back(flight);
        while self.flights.len() > FLIGHTS_MAX {
            self.flights.pop_front();
            self.base += 1;
        }
    }

    /// Lets go of the oldest packets that nothing more can be said of.
    fn forget(&mut self) {
        while let Some(first) = self.flights.front() {
            let settled = match first.fate {
                Fate::InFlight => false,
                Fate::Lost(_) => self.flights.len() > LATE_MAX,
                Fate::Done => true,
            };
            if !settled {
                break;
            }
            self.flights.pop_front();
            self.base += 1;
        }
    }
}

/// A result for a packet that is not remembered, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unknown;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Ecn, PacketClass};

    const SIZE: DataSize = DataSize::bytes(1_250);

    fn packet(number: u64, sent_ms: u64, in_flight: u64, app_limited: bool) -> SentPacket {
        SentPacket {
            number,
            size: SIZE,
            sent: Instant::from_millis(sent_ms),
            class: PacketClass::Video,
            probe: None,
            in_flight: SIZE * in_flight,
            app_limited,
        }
    }

    fn report(sampler: &mut Sampler, now_ms: u64, arrivals: &[(SentPacket, u64)]) -> RateSample {
        let (now, mut report) = (Instant::from_millis(now_ms), Report::default());
        for &(sent, arrival) in arrivals {
            let received = Some(Instant::from_millis(arrival));
            let result = PacketResult { sent, received, ecn: Ecn::NotCapable };
            sampler.handle_received(now, &result, &mut report).expect("a known packet");
        }
        sampler.finish(now, &report)
    }

    #[test]
    fn the_rate_is_what_was_delivered_over_the_longer_of_sending_and_arriving() {
        // One packet each 10 ms is 1 Mbit/s; arrivals by a clock 7 s ahead.
        for (name, spacing, rate) in
            [("arrivals as sent", 10, 1_000), ("arrivals spread", 20, 500), ("arrivals squeezed", 1, 1_000)]
        {
            let mut sampler = Sampler::default();
            let packets: Vec<_> = (0..20).map(|n| packet(n, n * 10, n.min(10), false)).collect();
            for sent in &packets[..10] {
                sampler.handle_sent(sent);
            }
            let first: Vec<_> =
                packets[..10].iter().map(|&sent| (sent, 7_020 + sent.number * spacing)).collect();
            report(&mut sampler, 110, &first);
            for sent in &packets[10..] {
                sampler.handle_sent(&SentPacket { in_flight: SIZE * (sent.number - 9), ..*sent });
            }
            let second: Vec<_> =
                packets[10..].iter().map(|&sent| (sent, 7_020 + sent.number * spacing)).collect();
            let sample = report(&mut sampler, 400, &second);
            assert_eq!(sample.delivery_rate, Bitrate::kbps(rate), "{name}");
            assert_eq!(sample.delivered, SIZE * 10, "{name}");
        }
    }

    #[test]
    fn samples_are_app_limited_until_the_bubble_has_passed() {
        let mut sampler = Sampler::default();
        let packets: Vec<_> = (0..4).map(|n| packet(n, n * 10, 0, n == 1)).collect();
        let mut limited = Vec::new();
        for &sent in &packets {
            sampler.handle_sent(&sent);
            limited.push(report(&mut sampler, 500 + sent.number, &[(sent, 20)]).app_limited);
        }
        // The mark of packet 1 covers all delivered by then and in flight: itself.
        assert_eq!(limited, [false, true, true, false]);
    }

    #[test]
    fn a_packet_counts_once_and_a_late_one_takes_its_loss_back() {
        let mut sampler = Sampler::default();
        let sent = packet(0, 0, 0, false);
        sampler.handle_sent(&sent);
        assert_eq!(sampler.in_flight(), SIZE);
        assert!(sampler.handle_lost(0, 7).is_some());
        assert!(sampler.handle_lost(0, 7).is_none());
        assert_eq!((sampler.in_flight(), sampler.lost), (DataSize::ZERO, SIZE));
        let now = Instant::from_millis(50);
        let (mut report, received) = (Report::default(), Some(now));
        let result = PacketResult { sent, received, ecn: Ecn::NotCapable };
        assert_eq!(sampler.handle_received(now, &result, &mut report), Ok(Some(7)));
        assert_eq!(sampler.handle_received(now, &result, &mut report), Err(Unknown));
        assert_eq!((sampler.delivered(), sampler.lost), (SIZE, DataSize::ZERO));
    }

    #[test]
    fn memory_is_bounded_whatever_numbers_come() {
        let mut sampler = Sampler::default();
        for number in (0..20_000).chain([1_000_000, 1_000_100, 5, 2_000_000]) {
            sampler.handle_sent(&packet(number, number, 3, false));
            assert!(sampler.flights.len() <= FLIGHTS_MAX);
        }
        assert!(sampler.flight_mut(5).is_none());
        assert!(sampler.flight_mut(2_000_000).is_some_and(|flight| flight.size == SIZE));
        assert!(sampler.flight_mut(u64::MAX).is_none());
    }
}
