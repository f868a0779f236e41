//! A recorded load: packets and what became of them, the same for every estimator that is told of it.
//!
//! In: an estimator. Out: nothing; what it decides changes nothing. Time: the record's own, a minute. A packet of 1200
//! bytes each 3.2 ms is 3 Mbit/s; it leaves, waits up to some milliseconds, and is reported with the others of 50 ms.

use core::time::Duration;

use cc::{Ecn, Estimator, PacketClass, PacketResult, RateLimits, SentPacket};
use proto::scene::Scene;
use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::Setup;

const RATE: Bitrate = Bitrate::mbps(3);
const PACKET: DataSize = DataSize::bytes(1_200);
const LENGTH: Duration = Duration::from_secs(60);
const REPORT: Duration = Duration::from_millis(50);
const DELAY: Duration = Duration::from_millis(25);

/// A case's name and its load.
type Case = (&'static str, fn() -> Load);

/// What is measured.
pub const CASES: [Case; 2] = [
    ("clean", || Load::record(Duration::from_millis(2), 0)),
    ("2 % lost", || Load::record(Duration::from_millis(5), 20)),
];

/// What an estimator is told.
#[derive(Debug, Clone)]
enum Told {
    Sent(SentPacket),
    /// A report arrives; so many results of the list, from one on.
    Feedback(Instant, core::ops::Range<usize>),
}

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Load {
    told: Vec<Told>,
    results: Vec<PacketResult>,
}

impl Load {
    /// A load whose packets wait up to `jitter`, and of which so many of a thousand are lost.
    fn record(jitter: Duration, lost: u32) -> Self {
        let mut chance = Seed::from_number(1).fork("load").generator();
        let (mut told, mut results) = (Vec::new(), Vec::<PacketResult>::new());
        let (mut now, mut report, mut told_until) = (Instant::ZERO, Instant::ZERO + REPORT, 0);
        let mut arrived = Instant::ZERO;
        while now < Instant::ZERO + LENGTH {
            if now >= report {
                told.push(Told::Feedback(now, told_until..results.len()));
                told_until = results.len();
                report += REPORT;
            }
            let sent = SentPacket {
                number: results.len() as u64,
                size: PACKET,
                sent: now,
                class: PacketClass::Video,
                probe: None,
                in_flight: PACKET * (results.len() - told_until) as u64,
                app_limited: false,
            };
            arrived = arrived.max(now + DELAY + jitter.mul_f64(share(&mut chance)));
            let received = (chance.number() % 1_000 >= lost).then_some(arrived);
            told.push(Told::Sent(sent));
            results.push(PacketResult { sent, received, ecn: Ecn::NotCapable });
            now += PACKET / RATE;
        }
        Self { told, results }
    }

    /// How many packets are reported.
    pub fn results(&self) -> usize {
        let of = |told: &Told| match told {
            Told::Sent(_) => 0,
            Told::Feedback(_, range) => range.len(),
        };
        self.told.iter().map(of).sum()
    }

    /// What estimators are made with that are told of it; `epoch` as [`Setup::epoch`].
    pub fn setup(&self, epoch: std::time::Instant) -> Setup {
        Setup {
            // No more is allowed than is sent: or who waits for the source to follow would be in start-up for ever.
            limits: RateLimits { min: Bitrate::kbps(50), start: Bitrate::kbps(300), max: RATE },
            scene: Scene::default(),
            weight: 1.0,
            share: vec![(Duration::ZERO, RATE)],
            seed: Seed::from_number(1),
            epoch,
        }
    }

    /// Tells an estimator everything in turn, as a sender does: timeouts between, decisions taken after each.
    pub fn play(&self, estimator: &mut dyn Estimator) {
        for told in &self.told {
            let now = match told {
                Told::Sent(packet) => packet.sent,
                Told::Feedback(now, _) => *now,
            };
            if estimator.poll_timeout().is_some_and(|at| at <= now) {
                estimator.handle_timeout(now);
            }
            match told {
                Told::Sent(packet) => estimator.handle_sent(now, packet),
                Told::Feedback(_, range) => estimator.handle_feedback(now, &self.results[range.clone()]),
            }
            while estimator.poll_probe().is_some() {}
            core::hint::black_box(estimator.target());
        }
    }
}

fn share(chance: &mut Chance) -> f64 {
    f64::from(chance.number()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_three_megabits_with_its_losses_and_the_same_each_time() {
        for ((_, load), lost) in CASES.into_iter().zip([0.0, 0.02]) {
            let (load, again) = (load(), load());
            assert_eq!(load.results, again.results);
            assert!(load.results().abs_diff(18_750) < 50, "{}", load.results());
            let gone = load.results.iter().filter(|result| result.received.is_none()).count();
            let share = gone as f64 / load.results.len() as f64;
            assert!((share - lost).abs() < 0.004, "{share}");
        }
    }

    #[test]
    fn estimators_believe_in_it() {
        let load = (CASES[0].1)();
        let mut estimator = super::super::make("bbr", &load.setup(super::super::tests::epoch())).unwrap();
        load.play(estimator.as_mut());
        let rate = estimator.target().rate;
        assert!(rate > Bitrate::mbps(2) && rate <= RATE, "{rate}");
    }
}
