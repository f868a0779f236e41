use proptest::prelude::*;
use proto::seed::{Chance, Seed};

use super::*;

/// A path that loses by Gilbert's model, and a sender of pictures of twelve packets, 0.4 ms apart, 30 times a second.
struct Path {
    model: LossModel,
    chance: Chance,
    bad: bool,
    now: Instant,
    packets: u64,
}

const SPACING: Duration = Duration::from_micros(400);

impl Path {
    fn new() -> Self {
        Self {
            model: LossModel::default(),
            chance: Seed::from_number(11).generator(),
            bad: false,
            now: Instant::ZERO,
            packets: 0,
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        f64::from(self.chance.number()) < share * f64::from(u32::MAX)
    }

    /// Sends for so long at a share of losses in runs of so many packets.
    fn run(&mut self, seconds: f64, loss: f64, burst: f64) -> LossEstimate {
        let correlation = 1.0 - 1.0 / (burst * (1.0 - loss)).max(1.0);
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            let mut fates = Vec::new();
            self.bad = self.chance(loss);
            for packet in 0..12 {
                let steps = if self.bad { 1.0 - loss } else { loss } * (1.0 - correlation);
                self.bad ^= self.chance(steps);
                let fate = if self.bad { Fate::Lost(Cause::Path) } else { Fate::Received };
                fates.push(PacketFate { sent: self.now + SPACING * packet, fate });
            }
            self.packets += 12;
            self.model.handle_fates(fates);
            self.now += Duration::from_micros(33_333);
        }
        self.model.estimate()
    }
}

fn is_within(found: f64, expected: f64, share: f64) -> bool {
    (found / expected - 1.0).abs() < share
}

#[test]
fn a_steady_path_becomes_known_to_a_few_percent() {
    for (loss, burst) in [(0.01, 1.0), (0.05, 1.0), (0.2, 1.0), (0.05, 3.0), (0.1, 8.0)] {
        let estimate = Path::new().run(300.0, loss, burst);
        let name = format!("{loss} in runs of {burst}: {estimate:?}");
        assert!(is_within(estimate.loss, loss, 0.10), "{name}");
        assert!(estimate.bound >= loss * 0.97 && is_within(estimate.bound, loss, 0.2), "{name}");
        assert!(is_within(estimate.burst(), burst.max(1.0 / (1.0 - loss)), 0.15), "{name}");
        assert_eq!(burst < 1.1, estimate.correlation <= 0.02, "{name}");
        assert_eq!(estimate.spacing.as_micros() / 10, 40, "{name}");
    }
}

#[test]
fn a_changed_path_is_known_anew_within_two_seconds_and_not_at_once_forgotten() {
    let mut path = Path::new();
    path.run(120.0, 0.01, 1.0);
    let risen = path.run(0.5, 0.10, 1.0);
    assert!((0.02..0.09).contains(&risen.bound), "a sign after half a second: {risen:?}");
    let known = path.run(3.0, 0.10, 1.0);
    assert!((0.06..0.13).contains(&known.bound), "{known:?}");
    let long = path.run(60.0, 0.10, 1.0);
    assert!((0.095..0.115).contains(&long.bound), "{long:?}");
    let fallen = path.run(20.0, 0.01, 1.0);
    assert!((0.008..0.02).contains(&fallen.bound), "{fallen:?}");
}

#[test]
fn losses_that_last_are_known_by_packets_far_apart_and_do_not_begin_the_memory_anew() {
    let (loss, outage) = (0.02, 0.05);
    let mut path = Path::new();
    let (mut begin, mut end) = (0.0, 0.0);
    let mut now = 0.0;
    while now < 900.0 {
        let mut fates = Vec::new();
        for packet in 0..12 {
            let sent = now + SPACING.as_secs_f64() * f64::from(packet);
            while end <= sent {
                let mut exponential = || -(f64::from(path.chance.number()) + 1.0).log2() + 32.0;
                begin = end + outage * (1.0 - loss) / loss * exponential() * core::f64::consts::LN_2;
                end = begin + outage * exponential() * core::f64::consts::LN_2;
            }
            let fate = if sent >= begin { Fate::Lost(Cause::Path) } else { Fate::Received };
            fates.push(PacketFate { sent: Instant::ZERO + Duration::from_secs_f64(sent), fate });
        }
        path.model.handle_fates(fates);
        now += 1.0 / 30.0;
    }
    let estimate = path.model.estimate();
    assert!(is_within(estimate.loss, loss, 0.3), "{estimate:?}");
    assert!(estimate.packets > 100_000.0, "nothing contradicts it: {estimate:?}");
    for (millis, expected) in [(20, 0.665), (70, 0.240), (110, 0.106)] {
        let found = estimate.correlation_at(Duration::from_millis(millis));
        assert!((found - expected).abs() < 0.08, "{millis} ms: {found}");
    }
}

#[test]
fn without_loss_nothing_is_feared() {
    let estimate = Path::new().run(3.0, 0.0, 1.0);
    assert_eq!((estimate.loss.to_bits(), estimate.bound.to_bits()), (0, 0));
    assert!(estimate.packets > 900.0, "{estimate:?}");
}

#[test]
fn losses_by_congestion_are_counted_apart() {
    let mut model = LossModel::default();
    for at in 0..1_000_u64 {
        let fate = if at % 10 == 0 { Fate::Lost(Cause::Congestion) } else { Fate::Received };
        model.handle_fates([PacketFate { sent: Instant::from_millis(at * 5), fate }]);
    }
    let estimate = model.estimate();
    assert_eq!(estimate.bound.to_bits(), 0, "{estimate:?}");
    assert!((0.08..0.12).contains(&estimate.congestion), "{estimate:?}");
}

#[test]
fn correlation_fades_with_time() {
    let estimate = LossEstimate { correlation: 0.5, ..LossEstimate::COLD };
    for (millis, expected) in [(0, 1.0), (1, 0.5), (2, 0.25), (10, 0.000_976_562_5)] {
        let found = estimate.correlation_at(Duration::from_millis(millis));
        assert!((found - expected).abs() < 1e-9, "{millis} ms: {found}");
    }
    assert_eq!(estimate.memory(), Duration::from_millis(2));
    let outage = LossEstimate { correlation: 0.99, spacing: Duration::from_micros(500), ..estimate };
    assert!((40..60).contains(&outage.memory().as_millis()), "{:?}", outage.memory());
    assert_eq!(LossEstimate { correlation: 0.0, ..estimate }.memory(), Duration::ZERO);
}

#[test]
fn every_class_of_path_has_a_cause() {
    let congested = PathClass::ALL.into_iter().filter(|class| Cause::on(*class) == Cause::Congestion).count();
    assert_eq!(congested, 4);
    assert_eq!(Cause::on(PathClass::Policed), Cause::Congestion);
    assert_eq!(Cause::on(PathClass::Random), Cause::Path);
}

proptest! {
    #[test]
    fn whatever_is_told_shares_stay_shares(
        fates in proptest::collection::vec((0..10_000_000_000_u64, 0..3_u8), 0..300)
    ) {
        let mut model = LossModel::default();
        for (nanos, fate) in fates {
            let fate = [Fate::Received, Fate::Lost(Cause::Path), Fate::Lost(Cause::Congestion)][usize::from(fate)];
            model.handle_fates([PacketFate { sent: Instant::from_nanos(nanos), fate }]);
            let estimate = model.estimate();
            for share in [estimate.loss, estimate.bound, estimate.correlation, estimate.congestion] {
                prop_assert!((0.0..=1.0).contains(&share), "{:?}", estimate);
            }
            prop_assert!(estimate.burst() >= 1.0 - 1e-9);
        }
    }
}
