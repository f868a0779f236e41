//! A path for tests: one bottleneck with a queue, a fixed delay each way, and a report every so often.
//!
//! In: an estimator and a [`Path`]. Out: a [`Row`] every 50 ms. Time: ticks of half a millisecond.

use core::time::Duration;
use std::collections::VecDeque;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::Estimator;
use crate::packet::{Ecn, PacketClass, PacketResult, SentPacket};

const TICK: Duration = Duration::from_micros(500);
const SIZE: DataSize = DataSize::bytes(1_200);
/// The receiver's clock is this far ahead.
const CLOCK: Duration = Duration::from_secs(1_000);
const FRAME: Duration = Duration::from_millis(33);

/// What makes packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// There is always something to send.
    Endless,
    /// Frames as large as the target allows, up to a rate.
    Frames(Bitrate),
}

/// The path.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) rate: Bitrate,
    /// How long packets take there, and reports back, without a queue.
    pub(crate) delay: Duration,
    /// How long the queue may be.
    pub(crate) queue: Duration,
    /// The share lost before the queue.
    pub(crate) loss: f64,
    /// From how much queue on packets are marked.
    pub(crate) mark: Option<Duration>,
    pub(crate) interval: Duration,
}

impl Path {
    pub(crate) const fn new(rate: Bitrate) -> Self {
        Self {
            rate,
            delay: Duration::from_millis(25),
            queue: Duration::from_millis(300),
            loss: 0.0,
            mark: None,
            interval: Duration::from_millis(50),
        }
    }
}

/// Somebody else at the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rival {
    /// Sends so much whatever happens.
    Constant(Bitrate),
    /// Adds a packet to its window each round trip, and halves it when one is lost (RFC 5681).
    Greedy,
}

/// What the rival has on the way.
#[derive(Debug, Default)]
struct RivalState {
    window: f64,
    credit: f64,
    /// When the rival learns of each packet, and whether it was lost.
    flights: VecDeque<(Instant, bool)>,
    /// Losses of packets that it will learn of before do not count again.
    cut_until: Option<Instant>,
    delivered: DataSize,
}

/// What happened within 50 ms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row {
    pub(crate) at: Duration,
    pub(crate) target: Bitrate,
    pub(crate) state: &'static str,
    /// What got through, by the time of its departure from the queue.
    pub(crate) delivered: DataSize,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// The longest wait in the queue.
    pub(crate) wait: Duration,
}

const ROW: Duration = Duration::from_millis(50);

/// An estimator on a path.
pub(crate) struct Model<E> {
    pub(crate) estimator: E,
    pub(crate) path: Path,
    pub(crate) source: Source,
    pub(crate) rows: Vec<Row>,
    pub(crate) rival: Option<Rival>,
    rivaling: RivalState,
    now: Instant,
    chance: Chance,
    row: Row,
    backlog: DataSize,
    credit: f64,
    /// What padding may fill up: what it and media leave free of its rate.
    padding: f64,
    next_frame: Instant,
    next_number: u64,
    in_flight: DataSize,
    app_limited: bool,
    link_free: Instant,
    /// What left and is not reported, with the time of its arrival, marked or not.
    flights: VecDeque<(SentPacket, Option<Instant>, bool)>,
    next_report: Instant,
    reports: VecDeque<(Instant, Vec<PacketResult>)>,
}

impl<E: Estimator> Model<E> {
    pub(crate) fn new(estimator: E, path: Path, source: Source) -> Self {
        let start = Instant::from_millis(1_000);
        Self {
            estimator,
            path,
            source,
            rows: Vec::new(),
            rival: None,
            rivaling: RivalState::default(),
            now: start,
            chance: Seed::from_number(1).fork("path").generator(),
            row: Row::default(),
            backlog: DataSize::ZERO,
            credit: 0.0,
            padding: 0.0,
            next_frame: start,
            next_number: 0,
            in_flight: DataSize::ZERO,
            app_limited: false,
            link_free: start,
            flights: VecDeque::new(),
            next_report: start,
            reports: VecDeque::new(),
        }
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.report();
            if self.estimator.poll_timeout().is_some_and(|due| due <= self.now) {
                self.estimator.handle_timeout(self.now);
                assert!(self.estimator.poll_timeout().is_none_or(|due| due > self.now), "a busy loop");
            }
            self.make();
            self.rival();
            self.send();
            self.now += TICK;
            let at = self.now.since(Instant::from_millis(1_000));
            if at.as_nanos().is_multiple_of(ROW.as_nanos()) {
                let (target, state) = (self.estimator.target().rate, self.estimator.state());
                self.rows.push(Row { at, target, state, ..self.row });
                self.row = Row::default();
            }
        }
    }

    /// The rows between these times.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.at > from && row.at <= to)
    }

    /// What got through between these times, over what could.
    pub(crate) fn utilization(&self, from: Duration, to: Duration) -> f64 {
        let delivered: DataSize = self.between(from, to).map(|row| row.delivered).sum();
        delivered.as_bytes() as f64 / (self.path.rate * to.saturating_sub(from)).as_bytes() as f64
    }

    /// The share that was lost between these times.
    pub(crate) fn loss(&self, from: Duration, to: Duration) -> f64 {
        let (sent, lost) =
            self.between(from, to).fold((0, 0), |sum, row| (sum.0 + row.sent, sum.1 + row.lost));
        lost as f64 / sent as f64
    }

    /// The wait in the queue that this share of rows does not exceed.
    pub(crate) fn wait(&self, share: f64, from: Duration, to: Duration) -> Duration {
        let mut waits: Vec<_> = self.between(from, to).map(|row| row.wait).collect();
        waits.sort();
        waits[((waits.len() - 1) as f64 * share) as usize]
    }

    /// What the rival has got through since this was called last.
    pub(crate) fn take_rivals(&mut self) -> DataSize {
        core::mem::take(&mut self.rivaling.delivered)
    }

    fn rival(&mut self) {
        match self.rival {
            None => {}
            Some(Rival::Constant(rate)) => {
                self.rivaling.credit += (rate * TICK).as_bytes() as f64;
                while self.rivaling.credit >= SIZE.as_bytes() as f64 {
                    self.rivaling.credit -= SIZE.as_bytes() as f64;
                    self.send_rivals();
                }
            }
            Some(Rival::Greedy) => {
                self.rivaling.window = self.rivaling.window.max(4.0);
                while let Some((_, is_lost)) = self.rivaling.flights.pop_front_if(|(due, _)| *due <= self.now)
                {
                    if !is_lost {
                        self.rivaling.window += 1.0 / self.rivaling.window;
                    } else if self.rivaling.cut_until.is_none_or(|until| self.now > until) {
                        self.rivaling.window /= 2.0;
                        self.rivaling.cut_until = self.rivaling.flights.back().map(|(due, _)| *due);
                    }
                }
                while (self.rivaling.flights.len() as f64) < self.rivaling.window {
                    self.send_rivals();
                }
            }
        }
    }

    fn send_rivals(&mut self) {
        let is_lost = self.link_free.since(self.now) > self.path.queue;
        if !is_lost {
            self.link_free = self.link_free.max(self.now) + SIZE / self.path.rate;
            self.rivaling.delivered += SIZE;
        }
        if self.rival == Some(Rival::Greedy) {
            self.rivaling.flights.push_back((self.link_free + self.path.delay * 2, is_lost));
        }
    }

    fn make(&mut self) {
        match self.source {
            Source::Endless => self.backlog = DataSize::kilobytes(1_000),
            Source::Frames(most) => {
                if self.now >= self.next_frame {
                    self.next_frame += FRAME;
                    self.backlog += self.estimator.target().rate.min(most) * FRAME;
                }
            }
        }
    }

    fn send(&mut self) {
        let target = self.estimator.target();
        let most = (target.pacing * TICK).as_bytes() as f64 + 1_200.0;
        self.credit = (self.credit + (target.pacing * TICK).as_bytes() as f64).min(most);
        self.padding = (self.padding + (target.padding * TICK).as_bytes() as f64).min(1_200.0);
        while self.credit >= SIZE.as_bytes() as f64 {
            let pads = self.backlog < SIZE && self.padding >= SIZE.as_bytes() as f64;
            if self.backlog < SIZE && !pads {
                self.app_limited = true;
                return;
            }
            if target.window.is_some_and(|window| self.in_flight + SIZE > window) {
                return;
            }
            self.credit -= SIZE.as_bytes() as f64;
            self.padding = (self.padding - SIZE.as_bytes() as f64).max(0.0);
            self.backlog = self.backlog.saturating_sub(SIZE);
            self.send_packet();
        }
    }

    fn send_packet(&mut self) {
        let packet = SentPacket {
            number: self.next_number,
            size: SIZE,
            sent: self.now,
            class: PacketClass::Video,
            probe: None,
            in_flight: self.in_flight,
            app_limited: core::mem::take(&mut self.app_limited),
        };
        self.next_number += 1;
        self.in_flight += SIZE;
        self.row.sent += 1;
        self.estimator.handle_sent(self.now, &packet);
        let wait = self.link_free.since(self.now);
        let unlucky = (f64::from(self.chance.number()) / f64::from(u32::MAX)) < self.path.loss;
        if unlucky || wait > self.path.queue {
            self.row.lost += 1;
            self.flights.push_back((packet, None, false));
            return;
        }
        self.link_free = self.link_free.max(self.now) + SIZE / self.path.rate;
        self.row.wait = self.row.wait.max(wait);
        self.row.delivered += SIZE;
        let marked = self.path.mark.is_some_and(|threshold| wait > threshold);
        self.flights.push_back((packet, Some(self.link_free + self.path.delay), marked));
    }

    fn report(&mut self) {
        if self.now >= self.next_report {
            self.next_report += self.path.interval;
            let arrived = |flight: &(_, Option<Instant>, _)| flight.1.is_some_and(|time| time <= self.now);
            if let Some(last) = self.flights.iter().rposition(arrived) {
                let results = self.flights.drain(..=last).map(|(sent, arrival, marked)| PacketResult {
                    sent,
                    received: arrival.map(|time| time + CLOCK),
                    ecn: if marked { Ecn::Congested } else { Ecn::Capable0 },
                });
                self.reports.push_back((self.now + self.path.delay, results.collect()));
            }
        }
        while let Some((_, results)) = self.reports.pop_front_if(|(due, _)| *due <= self.now) {
            self.in_flight -= results.iter().map(|result| result.sent.size).sum();
            self.estimator.handle_feedback(self.now, &results);
        }
    }
}
