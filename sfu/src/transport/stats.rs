//! What pipelines count for statistics: plain numbers, added where a packet passes anyway.
//!
//! In: packets and bytes as they pass. Out: the same numbers. Time: only [`Pace`] knows any, about once a second. Limit:
//! constant memory, no allocation.

use core::time::Duration;

use fec::loss_model::{Cause, Fate};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

/// Adds to a number that is there for statistics alone. All that is counted per packet goes through here, and with the feature
/// `without-stats` nothing is.
#[inline]
pub fn count(number: &mut u64, more: u64) {
    if !cfg!(feature = "without-stats") {
        *number += more;
    }
}

/// How many of something, and how large together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// Nothing.
    pub const NONE: Self = Self { packets: 0, bytes: 0 };

    /// Counts one more, of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        count(&mut self.packets, 1);
        count(&mut self.bytes, bytes as u64);
    }
}

/// What a connection has carried of media and its control, as datagrams without IP and UDP headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client, what did not authenticate left out.
    pub received: Count,
    /// To the client.
    pub sent: Count,
}

/// What a publisher's stream has brought, each packet once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// However they came; the bytes are those of the payloads.
    pub packets: Count,
    /// Packets that came by retransmission.
    pub retransmitted: u64,
    /// Packets that repair packets or redundancy restored.
    pub restored: u64,
    /// Pictures, by their last packets; zero for sound.
    pub pictures: u64,
    /// Key frames, by their first packets.
    pub key_frames: u64,
}

/// What a slot has sent to its subscriber, as RTP packets in the clear, and what the subscriber has asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LegCounts {
    /// Media, sent for the first time.
    pub media: Count,
    /// What was sent again because it was asked for.
    pub retransmitted: Count,
    /// Repair that nobody had asked for.
    pub parity: Count,
    /// Packets that the subscriber asked for again, each as often as it did.
    pub nacked: u64,
    /// Times that the subscriber asked for a key frame.
    pub key_frames_asked: u64,
}

impl LegCounts {
    /// Of a slot that has sent nothing.
    pub const NONE: Self = Self {
        media: Count::NONE,
        retransmitted: Count::NONE,
        parity: Count::NONE,
        nacked: 0,
        key_frames_asked: 0,
    };
}

/// What became of the packets that were sent to a subscriber, as its feedback tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LossCounts {
    /// Packets of which it told anything.
    pub told: u64,
    /// Packets that the path lost by itself.
    pub path: u64,
    /// Packets that were lost because too much was sent.
    pub congestion: u64,
}

impl LossCounts {
    /// Counts one more fate.
    pub fn add(&mut self, fate: Fate) {
        count(&mut self.told, 1);
        match fate {
            Fate::Received => {}
            Fate::Lost(Cause::Path) => count(&mut self.path, 1),
            Fate::Lost(Cause::Congestion) => count(&mut self.congestion, 1),
        }
    }
}

/// How fast a counter of bytes has grown between the last two readings, which are about a second apart: a rate that costs
/// nothing per packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    read: Option<(Instant, u64)>,
    rate: Bitrate,
}

/// Readings that are closer together tell little.
const READ_APART: Duration = Duration::from_millis(500);

/// A rate that is older is not the present one: nothing is sent any more.
const STALE: Duration = Duration::from_secs(3);

impl Pace {
    /// The counter is read.
    pub fn read(&mut self, now: Instant, bytes: u64) {
        let Some((at, before)) = self.read else {
            self.read = Some((now, bytes));
            return;
        };
        let time = now.since(at);
        if time >= READ_APART {
            let size = DataSize::bytes(bytes.saturating_sub(before));
            self.rate = Bitrate::of(size, time).unwrap_or_default();
            self.read = Some((now, bytes));
        }
    }

    /// The rate.
    pub fn rate(&self, now: Instant) -> Bitrate {
        let is_fresh = self.read.is_some_and(|(at, _)| now.since(at) < STALE);
        if is_fresh { self.rate } else { Bitrate::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_between_readings_that_are_far_enough_apart() {
        for (claim, readings, at, expected) in [
            ("nothing read", &[][..], 1_000, 0),
            ("one reading is no rate", &[(0, 9_000)], 100, 0),
            ("a second", &[(0, 1_000), (1_000, 126_000)], 1_500, 1_000_000),
            ("too soon to count", &[(0, 0), (1_000, 125_000), (1_100, 999_000)], 1_500, 1_000_000),
            ("the last two", &[(0, 0), (1_000, 125_000), (2_000, 125_000)], 2_500, 0),
            ("long ago", &[(0, 0), (1_000, 125_000)], 4_000, 0),
        ] {
            let mut pace = Pace::default();
            for (millis, bytes) in readings {
                pace.read(Instant::from_millis(*millis), *bytes);
            }
            assert_eq!(pace.rate(Instant::from_millis(at)).as_bps(), expected, "{claim}");
        }
    }

    #[test]
    fn losses_are_counted_by_their_cause() {
        let mut counts = LossCounts::default();
        for fate in [Fate::Received, Fate::Lost(Cause::Path), Fate::Received, Fate::Lost(Cause::Congestion)] {
            counts.add(fate);
        }
        assert_eq!(counts, LossCounts { told: 4, path: 1, congestion: 1 });
    }
}
