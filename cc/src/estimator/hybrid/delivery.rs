//! Delivery: how fast packets were sent and arrived.
//!
//! In: reports. Out: rates over the last reports. Limit: `REPORTS_MAX`.
//!
//! A report's share lasts from the last arrival before it to its own last arrival, so a stall counts. Packets that no
//! report covers, because it was lost, are taken to have arrived as their neighbors did.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;

use crate::packet::{PacketResult, SentPacket};

/// 2 s of reports, one each 20 ms.
const REPORTS_MAX: usize = 100;
const KEPT: Duration = Duration::from_secs(2);

/// Arrivals so much earlier than those before them are no reordering: the receiver's clock was set.
const BACK_MAX: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Share {
    last_sent: Instant,
    last_received: Instant,
    received_bytes: f64,
    sent_bytes: f64,
    limited: bool,
}

/// What packets of some time tell of rates, in bits a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    /// How fast they were sent.
    pub(super) sent: f64,
    /// How fast they arrived.
    pub(super) delivered: f64,
    /// Whether most of them were sent when the source had no more.
    pub(super) app_limited: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    shares: VecDeque<Share>,
    next_number: Option<u64>,
    mean_bytes: f64,
}

impl Delivery {
    /// Takes in a report.
    pub(super) fn handle_report(&mut self, results: &[PacketResult]) {
        let (mut received_bytes, mut sent_bytes, mut limited, mut count) = (0.0, 0.0, 0_usize, 0_usize);
        let (mut last_sent, mut last_received) = (None, None);
        let Some(first) = results.first() else { return };
        let (mut expected, mut mean_bytes) = (self.next_number.unwrap_or(first.sent.number), self.mean_bytes);
        for result in results {
            let SentPacket { number, size, sent, app_limited, .. } = result.sent;
            if number < expected {
                // Told of before as lost, or covered by a later report: it was counted as a neighbor.
                continue;
            }
            let bytes = size.as_bytes().cast_signed() as f64;
            mean_bytes += if mean_bytes == 0.0 { bytes } else { 0.05 * (bytes - mean_bytes) };
            if number > expected {
                let unseen = (number - expected).min(1_000) as f64 * mean_bytes;
                sent_bytes += unseen;
                received_bytes += unseen;
            }
            expected = number + 1;
            sent_bytes += bytes;
            last_sent = Some(sent);
            limited += usize::from(app_limited);
            count += 1;
            if let Some(received) = result.received {
                received_bytes += bytes;
                last_received = last_received.max(Some(received));
            }
        }
        (self.next_number, self.mean_bytes) = (Some(expected), mean_bytes);
        let (Some(last_sent), Some(last_received)) = (last_sent, last_received) else { return };
        if self.shares.back().is_some_and(|last| last.last_received.since(last_received) > BACK_MAX) {
            self.shares.clear(); // the receiver's clock was set
        }
        let limited = 2 * limited > count;
        if let Some(last) = self.shares.back_mut().filter(|last| last_received <= last.last_received) {
            last.received_bytes += received_bytes;
            last.sent_bytes += sent_bytes;
            return;
        }
        self.shares.push_back(Share { last_sent, last_received, received_bytes, sent_bytes, limited });
        while self.shares.len() > REPORTS_MAX
            || self.shares.front().is_some_and(|first| last_sent.since(first.last_sent) > KEPT)
        {
            self.shares.pop_front();
        }
    }

    /// The rates over the least number of reports that last for `span`, or over all there are.
    pub(super) fn over(&self, span: Duration) -> Option<Rates> {
        let newest = self.shares.back()?;
        let (mut sent, mut received, mut limited, mut count) = (0.0, 0.0, 0_usize, 0_usize);
        let mut later = newest;
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let since = newest.last_received.as_nanos().checked_sub(span);
        for share in self.shares.iter().rev().skip(1) {
            sent += later.sent_bytes;
            received += later.received_bytes;
            limited += usize::from(later.limited);
            count += 1;
            later = share;
            if since.is_some_and(|since| share.last_received.as_nanos() <= since) {
                break;
            }
        }
        let sending = newest.last_sent.since(later.last_sent).as_secs_f64();
        let receiving = newest.last_received.since(later.last_received).as_secs_f64();
        if sending <= 0.0 || receiving <= 0.0 {
            return None;
        }
        Some(Rates {
            sent: sent * 8.0 / sending,
            delivered: received * 8.0 / receiving,
            app_limited: 2 * limited > count,
        })
    }

    /// How large packets are on the average.
    pub(super) fn mean_bytes(&self) -> f64 {
        self.mean_bytes
    }
}
