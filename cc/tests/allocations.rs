//! Once an estimator knows its path it asks for no memory: an allocator that counts says so.
//!
//! Both sides: the first seconds may allocate, and the count sees what allocates.

use std::time::Duration;

use cc::estimator::hybrid::{Hybrid, Settings};
use cc::history::{Departure, SendHistory};
use cc::{Ecn, Estimator, PacketClass, PacketResult, RateLimits, SentPacket};
use proto::feedback::Arrival;
use proto::rtp::SeqNo;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

/// How often this thread asks for memory while something is done.
fn asked(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

const PACKET: DataSize = DataSize::bytes(1_200);
const RATE: Bitrate = Bitrate::mbps(3);
/// So many packets are reported at once: those of 51 ms.
const REPORTED: usize = 16;
const DELAY: Duration = Duration::from_millis(30);
/// What an estimator remembers reaches back some tens of seconds; until then its lists may grow.
const WARM_UP: Duration = Duration::from_secs(60);

/// A path that carries 3 Mbit/s, and who sends over it.
struct Path {
    now: Instant,
    number: u64,
    lost_every: u64,
    results: Vec<PacketResult>,
}

impl Path {
    fn new(lost_every: u64) -> Self {
        Self { now: Instant::ZERO, number: 0, lost_every, results: Vec::with_capacity(REPORTED) }
    }

    /// Sends and reports for so long; whatever the estimator wants is taken from it as a sender would.
    fn play(&mut self, estimator: &mut dyn Estimator, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            if estimator.poll_timeout().is_some_and(|at| at <= self.now) {
                estimator.handle_timeout(self.now);
            }
            self.send(estimator);
            if self.results.len() == REPORTED {
                estimator.handle_feedback(self.now + DELAY, &self.results);
                self.results.clear();
            }
            while estimator.poll_probe().is_some() {}
            while estimator.poll_transition().is_some() {}
            std::hint::black_box((estimator.target(), estimator.state(), estimator.path_class()));
            self.now += PACKET / RATE;
        }
    }

    fn send(&mut self, estimator: &mut dyn Estimator) {
        let sent = SentPacket {
            number: self.number,
            size: PACKET,
            sent: self.now,
            class: PacketClass::Video,
            probe: None,
            in_flight: PACKET * REPORTED as u64,
            app_limited: false,
        };
        estimator.handle_sent(self.now, &sent);
        let is_lost = self.lost_every > 0 && self.number % self.lost_every == 7;
        let wobble = Duration::from_micros(self.number * 7_919 % 3_000);
        let received = (!is_lost).then(|| self.now + DELAY + wobble);
        self.results.push(PacketResult { sent, received, ecn: Ecn::NotCapable });
        self.number += 1;
    }
}

fn hybrid(scene: Scene) -> Hybrid {
    let limits = RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };
    Hybrid::new(Settings { limits, scene, weight: 1.0 }, &Seed::from_number(1))
}

#[test]
fn hybrid_asks_for_no_memory_once_it_knows_its_path() {
    for (claim, lost_every) in [("nothing is lost", 0), ("one in fifty is", 50), ("one in ten is", 10)] {
        for scene in Scene::ALL {
            let (mut estimator, mut path) = (hybrid(scene), Path::new(lost_every));
            path.play(&mut estimator, WARM_UP);
            let asked = asked(|| path.play(&mut estimator, Duration::from_secs(60)));
            assert_eq!(asked, 0, "{claim}, {scene}");
        }
    }
}

#[test]
fn the_history_asks_for_no_memory_once_it_is_as_long_as_the_path() {
    let mut history = SendHistory::new();
    let mut arrivals = Vec::with_capacity(REPORTED);
    let mut play = |from: u64, packets: u64| {
        for number in from..from + packets {
            let now = Instant::ZERO + (PACKET / RATE) * number as u32;
            history.handle_timeout(now);
            let departure =
                Departure { size: PACKET, class: PacketClass::Video, probe: None, app_limited: false };
            let sent = history.handle_sent(now, departure);
            let received = (number % 50 != 7).then(|| now + DELAY);
            arrivals.push(Arrival { seq: SeqNo(sent.number as u16), received, ecn: Ecn::NotCapable });
            if arrivals.len() == REPORTED {
                std::hint::black_box(history.handle_arrivals(now + DELAY, arrivals.drain(..)));
            }
        }
    };
    play(0, 10_000);
    assert_eq!(asked(|| play(10_000, 20_000)), 0);
}

#[test]
fn what_asks_is_seen() {
    let mut list = Vec::new();
    assert_eq!(asked(|| list.push(1_u64)), 1);
    assert!(asked(|| list.reserve(1_000)) == 1, "growing counts, too");
    assert_eq!(asked(|| drop(list)), 0, "giving back does not");
}
