//! What a receiver says of arrivals: when each packet came by its own clock, each interval as an RTCP packet.
//!
//! In: arrivals by transport sequence number. Out: RTCP packets as bytes. Time: `now`; what is said is by a clock with
//! another zero and another pace. Limit: [`SPAN_MAX`] packets remembered, the oldest is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use cc::Ecn;
use proto::rtcp::{self, CongestionFeedback, Rtcp, TransportFeedback};
use proto::rtp::SeqNo;
use proto::seed::Seed;
use proto::time::Instant;

use super::{OWN_SSRC, PICTURES_SSRC};
use crate::scenario::{FeedbackFormat, FeedbackPlan};

/// The most packets remembered: half of what 16 bits of sequence number tell apart.
const SPAN_MAX: u64 = 1 << 15;

/// For how long an arrival can be reported again, when one before it comes late: as long as libwebrtc waits.
const HISTORY: Duration = Duration::from_millis(500);

/// How far a crystal's pace is off at most, in parts per billion.
const DRIFT_MAX: i64 = 50_000;

/// How far a clock's zero lies back at most: more than any format's clock takes to wrap (TWCC's: twelve days).
const OFFSET_MAX: u64 = 30 * 24 * 3_600 * 1_000_000_000; // nanoseconds

/// A clock that nobody has set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset: u64,
    drift: i64,
}

impl Clock {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut chance = seed.fork("clock").generator();
        let offset = chance.long_number() % OFFSET_MAX;
        let drift = i64::from(chance.number()) % (2 * DRIFT_MAX + 1) - DRIFT_MAX;
        Self { offset, drift }
    }

    /// What it shows at `now`.
    pub(crate) fn read(&self, now: Instant) -> Instant {
        let nanos = now.as_nanos();
        let drifted = i128::from(nanos) * i128::from(self.drift) / 1_000_000_000;
        Instant::from_nanos((self.offset + nanos).saturating_add_signed(drifted as i64))
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Reports {
    plan: FeedbackPlan,
    clock: Clock,
    /// How the packet `first + index` came, if it did; the last one did.
    arrivals: VecDeque<Option<(Instant, Ecn)>>,
    first: u64,
    /// The first packet that the next report speaks of.
    unreported: u64,
    /// Whether anything came since the last report.
    is_fresh: bool,
    due: Option<Instant>,
    /// The number of the next packet of transport-wide feedback.
    count: u8,
}

impl Reports {
    pub(crate) fn new(plan: FeedbackPlan, clock: Clock) -> Self {
        Self {
            plan,
            clock,
            arrivals: VecDeque::new(),
            first: 0,
            unreported: 0,
            is_fresh: false,
            due: None,
            count: 0,
        }
    }

    /// A packet came. Of duplicates the first counts, and every mark (RFC 8888 §3.1).
    pub(crate) fn handle_arrival(&mut self, now: Instant, seq: u64, ecn: Ecn) {
        let arrival = Some((self.clock.read(now), ecn));
        if self.arrivals.is_empty() || seq >= self.end() + SPAN_MAX {
            self.arrivals.clear();
            (self.first, self.unreported) = (seq, seq);
        }
        if seq >= self.end() {
            self.arrivals.resize((seq - self.first) as usize, None);
            self.arrivals.push_back(arrival);
        } else if let Some(place) =
            seq.checked_sub(self.first).and_then(|at| self.arrivals.get_mut(at as usize))
        {
            match place {
                Some((_, mark)) if ecn == Ecn::Congested => *mark = ecn,
                Some(_) => return,
                None => *place = arrival,
            }
            self.unreported = self.unreported.min(seq);
        } else {
            return; // later than anything that is remembered
        }
        self.is_fresh = true;
        self.due.get_or_insert(now + self.plan.interval);
    }

    /// Time passed: appends the report's packets to `out` if one is due, each a datagram of its own.
    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = self.is_fresh.then(|| now + self.plan.interval);
        if self.is_fresh {
            self.report(now, out);
        }
    }

    /// When the next report is due; `None` while nothing arrives.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn end(&self) -> u64 {
        self.first + self.arrivals.len() as u64
    }

    fn report(&mut self, now: Instant, out: &mut VecDeque<Vec<u8>>) {
        let local = self.clock.read(now);
        let base = SeqNo(self.unreported as u16);
        let news = &self.arrivals.make_contiguous()[(self.unreported - self.first) as usize..];
        match self.plan.format {
            FeedbackFormat::Twcc => {
                let times: Vec<_> = news.iter().map(|arrival| arrival.map(|(at, _)| at)).collect();
                let reports = TransportFeedback::reports(OWN_SSRC, PICTURES_SSRC, self.count, base, &times);
                self.count = self.count.wrapping_add(reports.len() as u8);
                out.extend(reports.into_iter().map(|report| rtcp::write(&[Rtcp::TransportFeedback(report)])));
            }
            FeedbackFormat::Ccfb => {
                let reports = CongestionFeedback::reports(OWN_SSRC, PICTURES_SSRC, local, base, news);
                out.extend(
                    reports.into_iter().map(|report| rtcp::write(&[Rtcp::CongestionFeedback(report)])),
                );
            }
        }
        self.is_fresh = false;
        self.unreported = self.end();
        self.forget(local);
    }

    /// Drops what has been reported and is too old to be reported again.
    fn forget(&mut self, local: Instant) {
        let keep = self
            .arrivals
            .iter()
            .position(|arrival| arrival.is_some_and(|(at, _)| local.since(at) <= HISTORY))
            .unwrap_or(self.arrivals.len());
        let excess = self.arrivals.len().saturating_sub(SPAN_MAX as usize);
        let gone = keep.max(excess).min(self.arrivals.len().saturating_sub(1));
        self.arrivals.drain(..gone);
        self.first += gone as u64;
    }
}
