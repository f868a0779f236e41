//! What a browser asks for, and when: the rules of libwebrtc's `NackRequester` (references §1.2).
//!
//! In: the pictures' packets, by themselves, retransmitted or restored. Out: `poll_request`. Time: `now`, monotonic;
//! `poll_timeout`. Limit: `HOLES_MAX`, the oldest is given up; `TRIES_MAX` a packet.
//!
//! A gap is asked for the moment it is seen, whether or not repair packets may still fill it; what does not come within a
//! round trip is asked for again, at the next beat of a timer of 20 ms.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::time::Instant;

const HOLES_MAX: usize = 1_000; // packets: kMaxNackPackets
const TRIES_MAX: u32 = 10; // kMaxNackRetries
const BEAT: Duration = Duration::from_millis(20); // kUpdateInterval

/// See the module's description.
#[derive(Debug)]
pub(super) struct Requests {
    rtt: Duration,
    newest: Option<u64>,
    holes: BTreeMap<u64, Hole>,
    /// What was restored beyond the newest packet: no hole when it is passed.
    ahead: Vec<u64>,
    beat: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Hole {
    /// When it was asked for last; `None` if it has not been.
    asked: Option<Instant>,
    tries: u32,
}

impl Requests {
    /// Nothing has come; browsers learn the round trip from RTCP.
    pub(super) fn new(rtt: Duration) -> Self {
        Self { rtt, newest: None, holes: BTreeMap::new(), ahead: Vec::new(), beat: None }
    }

    /// A packet came by itself.
    pub(super) fn handle_packet(&mut self, now: Instant, seq: u64) {
        let newest = *self.newest.get_or_insert(seq);
        if seq <= newest {
            self.holes.remove(&seq);
            return;
        }
        self.newest = Some(seq);
        let ahead = std::mem::take(&mut self.ahead);
        let gap = (newest + 1..seq).filter(|hole| !ahead.contains(hole));
        self.holes.extend(gap.map(|hole| (hole, Hole::default())));
        self.ahead = ahead.into_iter().filter(|restored| *restored > seq).collect();
        while self.holes.len() > HOLES_MAX {
            self.holes.pop_first();
        }
        if self.beat.is_none() && !self.holes.is_empty() {
            self.beat = Some(now + BEAT);
        }
    }

    /// A packet came again, or was restored.
    pub(super) fn handle_recovered(&mut self, seq: u64) {
        self.holes.remove(&seq);
        if self.newest.is_some_and(|newest| seq > newest) {
            self.ahead.push(seq);
        }
    }

    /// The packets to ask for now, if there are any.
    pub(super) fn poll_request(&mut self, now: Instant) -> Option<Vec<u64>> {
        let is_beat = self.beat.is_some_and(|beat| beat <= now);
        if is_beat {
            self.beat = Some(now + BEAT);
        }
        let mut asked = Vec::new();
        for (seq, hole) in &mut self.holes {
            let is_due = hole.asked.is_none_or(|last| is_beat && last + self.rtt <= now);
            if is_due {
                *hole = Hole { asked: Some(now), tries: hole.tries + 1 };
                asked.push(*seq);
            }
        }
        self.holes.retain(|_, hole| hole.tries < TRIES_MAX);
        if self.holes.is_empty() {
            self.beat = None;
        }
        (!asked.is_empty()).then_some(asked)
    }

    /// When to ask [`Self::poll_request`] again; `None` while nothing is missing.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.beat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// What is asked for, and when, while nothing more comes until `end`.
    fn wait(requests: &mut Requests, from: u64, end: u64) -> Vec<(u64, Vec<u64>)> {
        let mut all: Vec<(u64, Vec<u64>)> =
            requests.poll_request(ms(from)).map(|asked| (from, asked)).into_iter().collect();
        while let Some(at) = requests.poll_timeout().filter(|at| *at <= ms(end)) {
            all.extend(requests.poll_request(at).map(|asked| (at.as_micros() / 1_000, asked)));
        }
        all
    }

    #[test]
    fn a_gap_is_asked_for_at_once_and_again_after_a_round_trip() {
        let mut requests = Requests::new(Duration::from_millis(50));
        requests.handle_packet(ms(0), 7);
        assert_eq!(wait(&mut requests, 0, 1_000), []);
        requests.handle_packet(ms(1_000), 10);
        assert_eq!(
            wait(&mut requests, 1_000, 1_130),
            [(1_000, vec![8, 9]), (1_060, vec![8, 9]), (1_120, vec![8, 9])]
        );
        requests.handle_recovered(8);
        assert_eq!(wait(&mut requests, 1_131, 1_190), [(1_180, vec![9])]);
        requests.handle_packet(ms(1_190), 9);
        assert_eq!(wait(&mut requests, 1_190, 2_000), []);
        assert_eq!(requests.poll_timeout(), None);
    }

    #[test]
    fn what_was_restored_before_the_gap_was_seen_is_not_asked_for() {
        let mut requests = Requests::new(Duration::from_millis(50));
        requests.handle_packet(ms(0), 1);
        requests.handle_recovered(3);
        requests.handle_packet(ms(1), 4);
        assert_eq!(requests.poll_request(ms(1)), Some(vec![2]));
    }

    #[test]
    fn a_packet_is_asked_for_ten_times() {
        let mut requests = Requests::new(Duration::from_millis(50));
        requests.handle_packet(ms(0), 1);
        requests.handle_packet(ms(1), 3);
        assert_eq!(wait(&mut requests, 1, 60_000).len(), 10);
        requests.handle_packet(ms(60_000), 2_000_000);
        assert_eq!(requests.poll_request(ms(60_000)).map(|asked| asked.len()), Some(HOLES_MAX));
    }
}
