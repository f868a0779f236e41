use core::time::Duration;

use proptest::prelude::*;
use proto::path_class::PathClass;
use proto::scene::Scene;
use proto::seed::Seed;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::{Hybrid, Settings};
use crate::estimator::model::{Model, Path, Rival, Row, Source};
use crate::estimator::{Demand, Estimator, RateLimits};
use crate::packet::{Ecn, PacketClass, PacketResult, ProbeId, SentPacket};

const LIMITS: RateLimits =
    RateLimits { min: Bitrate::kbps(100), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };

fn hybrid(scene: Scene) -> Hybrid {
    Hybrid::new(Settings { limits: LIMITS, scene, weight: 1.0 }, &Seed::from_number(1))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn on(path: Path) -> Model<Hybrid> {
    Model::new(hybrid(Scene::Pk), path, Source::Frames(LIMITS.max))
}

fn four() -> Path {
    Path::new(Bitrate::mbps(4))
}

/// The first row from some time on of which something is true.
fn first<E: Estimator>(model: &Model<E>, from: Duration, is: impl Fn(&Row) -> bool) -> Option<Duration> {
    model.between(from, secs(1_000)).find(|row| is(row)).map(|row| row.at)
}

#[test]
fn a_link_is_filled_within_two_seconds_and_its_queue_stays_short() {
    for mbps in [1, 4, 8] {
        let mut model = on(Path::new(Bitrate::mbps(mbps)));
        model.run(secs(40));
        let full = Bitrate::mbps(mbps).scaled(0.8);
        assert!(first(&model, Duration::ZERO, |row| row.target > full).unwrap() < ms(2_000), "{mbps}");
        let used = model.utilization(secs(5), secs(40));
        assert!((0.93..=1.001).contains(&used), "{mbps} Mbit/s: {used}");
        assert!(model.wait(0.95, secs(5), secs(40)) <= ms(60), "{mbps} Mbit/s");
        assert!(model.loss(secs(5), secs(40)) < 0.001, "{mbps} Mbit/s");
    }
}

#[test]
fn scenes_that_bear_less_delay_have_less_of_it() {
    let waits = [Scene::Game, Scene::Watch].map(|scene| {
        let mut model = Model::new(hybrid(scene), four(), Source::Frames(LIMITS.max));
        model.run(secs(40));
        assert!(model.utilization(secs(5), secs(40)) > 0.9, "{scene}");
        model.wait(0.5, secs(5), secs(40))
    });
    assert!(waits[0] < waits[1], "{waits:?}");
}

#[test]
fn losses_that_the_path_makes_whatever_is_sent_do_not_slow_it() {
    let mut model = on(Path { loss: 0.05, ..four() });
    model.run(secs(40));
    let used = model.utilization(secs(10), secs(40));
    assert!((0.88..=1.001).contains(&used), "{used}");
    assert!(model.wait(0.95, secs(10), secs(40)) <= ms(80));
}

#[test]
fn a_shallow_buffer_is_found_out_and_not_overrun() {
    let mut model = on(Path { queue: ms(15), ..four() });
    model.run(secs(60));
    let used = model.utilization(secs(10), secs(60));
    assert!((0.85..=1.0).contains(&used), "{used}");
    assert!(model.loss(secs(10), secs(60)) < 0.005, "{}", model.loss(secs(10), secs(60)));
}

#[test]
fn a_fall_of_capacity_is_followed_within_half_a_second_and_taken_back_within_five() {
    let mut model = on(four());
    model.run(secs(20));
    model.path.rate = Bitrate::mbps(1);
    model.run(secs(20));
    let used = model.utilization(secs(22), secs(40));
    assert!((0.85..=1.001).contains(&used), "{used}");
    model.path.rate = Bitrate::mbps(4);
    model.run(secs(20));
    let low = first(&model, secs(20), |row| row.target < Bitrate::mbps(1)).unwrap();
    assert!(low < ms(20_500), "{low:?}");
    let back = first(&model, secs(40), |row| row.target > Bitrate::kbps(3_200)).unwrap();
    assert!(back < secs(45), "{back:?}");
}

#[test]
fn a_path_that_becomes_longer_is_learnt_anew() {
    for (more, within) in [(20, 6), (80, 20)] {
        let mut model = on(four());
        model.run(secs(20));
        model.path.delay += ms(more);
        model.run(secs(40));
        let low = model.between(secs(20), secs(60)).map(|row| row.target).min().unwrap();
        assert!(low < Bitrate::mbps(4), "{more} ms more look like a queue at first: {low}");
        let used = model.utilization(secs(20 + within), secs(60));
        assert!((0.8..=1.001).contains(&used), "{more} ms: {used}");
        assert!(model.wait(0.9, secs(20 + within), secs(60)) < ms(150), "{more} ms");
    }
}

#[test]
fn a_source_that_makes_little_keeps_what_was_proven_and_fills_nothing_up() {
    let mut model = on(four());
    model.run(secs(15));
    model.source = Source::Frames(Bitrate::mbps(1));
    model.run(secs(20));
    let kept = model.rows.last().unwrap().target;
    assert!((Bitrate::kbps(3_000)..=Bitrate::mbps(6)).contains(&kept), "{kept}");
    assert_eq!(model.estimator.target().padding, Bitrate::ZERO);
}

#[test]
fn changes_of_phase_are_told_with_their_reasons() {
    let mut model = on(four());
    model.run(secs(10));
    let told: Vec<_> = core::iter::from_fn(|| model.estimator.poll_transition()).collect();
    assert_eq!((told[0].from, told[0].to), ("startup", "drain"), "{told:?}");
    assert_eq!((told[1].from, told[1].to, told[1].reason), ("drain", "cruise", "queue gone"));
    assert!(told.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].at <= pair[1].at));
    assert_eq!(model.estimator.poll_transition(), None);
}

fn packet(number: u64, sent: Instant) -> SentPacket {
    SentPacket {
        number,
        size: DataSize::bytes(1_000),
        sent,
        class: PacketClass::Video,
        probe: None,
        in_flight: DataSize::ZERO,
        app_limited: false,
    }
}

#[test]
fn without_reports_the_rate_falls_to_the_least_and_then_nothing_wakes() {
    let mut own = hybrid(Scene::Pk);
    assert_eq!(own.poll_timeout(), None, "nothing was sent");
    own.handle_sent(Instant::from_millis(10), &packet(0, Instant::from_millis(10)));
    assert_eq!(own.poll_timeout(), None, "one packet that was lost says nothing");
    own.handle_sent(Instant::from_millis(200), &packet(1, Instant::from_millis(200)));
    let mut last = Bitrate::mbps(100);
    let mut wakes = 0;
    while let Some(at) = own.poll_timeout() {
        own.handle_timeout(at);
        assert!(own.poll_timeout().is_none_or(|next| next > at), "a busy loop");
        assert!(own.target().rate <= last);
        last = own.target().rate;
        wakes += 1;
        assert!(wakes < 50);
    }
    assert_eq!(own.state(), "starved");
    assert!(last <= LIMITS.min, "{last}");
}

#[test]
fn what_nobody_wants_is_not_asked_for() {
    let steps =
        |next: Option<u64>| Demand::Steps { current: Bitrate::kbps(250), next: next.map(Bitrate::kbps) };
    for (claim, next, asks) in
        [("nothing better", None, false), ("a better layer far above", Some(2_500), true)]
    {
        let mut own = hybrid(Scene::Pk);
        own.set_demand(Instant::ZERO, steps(next));
        let mut model = Model::new(own, four(), Source::Frames(Bitrate::kbps(250)));
        let mut asked = false;
        for _ in 0..200 {
            model.run(ms(50));
            asked |=
                model.estimator.poll_probe().is_some() || model.estimator.target().padding > Bitrate::ZERO;
        }
        assert_eq!(asked, asks, "{claim}");
    }
}

/// A sender of 600 kbit/s that could make use of `next`, on a path of 1.4 Mbit/s.
fn wanting(next: u64, path: &Path) -> Model<Hybrid> {
    let mut own = hybrid(Scene::Pk);
    own.set_demand(
        Instant::ZERO,
        Demand::Steps { current: Bitrate::kbps(600), next: Some(Bitrate::kbps(next)) },
    );
    Model::new(own, Path { rate: Bitrate::kbps(1_400), ..path.clone() }, Source::Frames(Bitrate::kbps(600)))
}

#[test]
fn a_step_is_granted_when_the_path_has_carried_it_and_not_while_it_is_tried() {
    for (claim, next, fits) in [("fits", 1_200, true), ("does not", 2_000, false)] {
        let mut model = wanting(next, &four());
        model.run(secs(90));
        let step = Bitrate::kbps(next);
        let granted = first(&model, Duration::ZERO, |row| row.target >= step);
        assert_eq!(granted.is_some_and(|at| at < secs(6)), fits, "{claim}: {granted:?}");
        assert_eq!(granted.is_some(), fits, "{claim}: {granted:?}");
        let climbing = model.between(secs(30), secs(90)).filter(|row| row.state == "climb").count();
        assert!(climbing < 60, "{claim}: of a minute the path was asked for {climbing} times 50 ms");
        assert!(model.wait(0.9, secs(30), secs(90)) <= ms(30), "{claim}");
    }
}

#[test]
fn a_step_that_failed_is_granted_soon_once_the_path_carries_it() {
    let mut model = wanting(2_000, &four());
    model.run(secs(90));
    model.path.rate = Bitrate::mbps(4);
    model.run(secs(60));
    let granted = first(&model, secs(90), |row| row.target >= Bitrate::mbps(2)).unwrap();
    assert!(granted < secs(90 + 21), "{granted:?}");
}

#[test]
fn a_drain_takes_nothing_back_that_will_fit_again() {
    let mut own = hybrid(Scene::Pk);
    own.set_demand(Instant::ZERO, Demand::Steps { current: Bitrate::kbps(1_000), next: None });
    let mut model = Model::new(own, four(), Source::Frames(Bitrate::mbps(1)));
    model.run(secs(20));
    model.rival = Some(Rival::Constant(Bitrate::mbps(4)));
    model.run(ms(300));
    model.rival = None;
    model.run(secs(10));
    assert!(first(&model, secs(20), |row| row.state == "drain").is_some());
    let least = model.between(secs(20), secs(30)).map(|row| row.target).min().unwrap();
    assert!(least < Bitrate::mbps(1), "a queue of somebody else's is noticed: {least}");
    assert!(least > Bitrate::kbps(600), "{least}");
}

#[test]
fn who_sends_far_less_than_was_carried_is_not_slowed_by_losses_of_the_path() {
    let mut model = wanting(1_000, &Path { loss: 0.05, ..four() });
    model.path.rate = Bitrate::mbps(4);
    model.run(secs(60));
    let tests = model.between(secs(5), secs(60)).filter(|row| row.state == "loss-test").count();
    assert_eq!(tests, 0);
    let least = model.between(secs(5), secs(60)).map(|row| row.target).min().unwrap();
    assert!(least >= Bitrate::mbps(1), "{least}");
}

proptest! {
    /// Whatever feedback says, nothing panics, no rate leaves its limits, and no timer lies in the past.
    #[test]
    fn lies_do_no_harm(
        seed in 0_u64..1_000,
        lies in prop::collection::vec(
            (0_u64..300, 0_u64..5_000, prop::option::of(0_u64..20_000), 0_u64..40_000, any::<bool>(), 0_u32..4),
            1..200,
        ),
    ) {
        let mut own = Hybrid::new(
            Settings { limits: LIMITS, scene: Scene::Pk, weight: 1.0 },
            &Seed::from_number(seed),
        );
        let mut now = Instant::from_millis(1_000);
        for (step, number, received, sent, app_limited, probe) in lies {
            now += Duration::from_millis(step);
            own.handle_sent(now, &packet(number, now));
            let results: Vec<PacketResult> = (0..8).map(|place| PacketResult {
                sent: SentPacket {
                    app_limited,
                    probe: (probe > 2).then_some(ProbeId(probe)),
                    ..packet(number + place, Instant::from_millis(sent + place))
                },
                received: received.map(|at| Instant::from_millis(at + place * u64::from(probe))),
                ecn: Ecn::NotCapable,
            }).collect();
            own.handle_feedback(now, &results);
            if own.poll_timeout().is_some_and(|at| at <= now) {
                own.handle_timeout(now);
            }
            prop_assert!(own.poll_timeout().is_none_or(|at| at > now));
            let target = own.target();
            prop_assert!(target.rate <= LIMITS.max && target.pacing <= LIMITS.max.scaled(3.0));
            prop_assert!(target.padding <= LIMITS.max.scaled(1.5));
            while let Some(probe) = own.poll_probe() {
                prop_assert!(probe.rate <= LIMITS.max.scaled(3.0) && probe.duration <= Duration::from_secs(1));
            }
            while own.poll_transition().is_some() {}
            prop_assert!(PathClass::ALL.contains(&own.path_class()));
        }
    }
}
