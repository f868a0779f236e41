//! Metrics tell what a scenario does to an estimator that knows the link: both bounds of each.

use simulator::metrics::Metrics;
use simulator::run::{RunOptions, run};
use simulator::scenario::find;

#[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
fn measured(scenario: &str, estimator: &str) -> Metrics {
    let epoch = std::time::Instant::now();
    let options = RunOptions {
        estimator: estimator.to_owned(),
        scene: proto::scene::Scene::default(),
        seed: 1,
        record: false,
        epoch,
        stopwatch: None,
    };
    let scenario = find(scenario).expect("it is in the catalog");
    run(&scenario, &options).expect("the estimator is in every build").metrics
}

#[test]
fn what_is_known_beforehand_is_measured() {
    type Of = fn(&Metrics) -> Option<f64>;
    let rows: [(&str, &str, &str, Of, f64, f64); 19] = [
        ("fixed-4m", "fixed", "util", |metrics| metrics.util, 0.895, 0.905),
        ("fixed-4m", "oracle", "util", |metrics| metrics.util, 0.97, 0.99),
        ("fixed-4m", "oracle", "loss", |metrics| metrics.loss, 0.0, 0.0),
        ("fixed-4m", "oracle", "media share", |metrics| metrics.media_share, 1.0, 1.0),
        ("fixed-4m", "oracle", "converge", |metrics| metrics.converge_s, 0.9, 1.3),
        ("fixed-4m", "gcc", "overshoot", |metrics| metrics.overshoot, 1.2, 2.0),
        ("random-2", "oracle", "random loss", |metrics| metrics.loss_random, 0.018, 0.022),
        ("random-2", "oracle", "overflow", |metrics| metrics.loss_overflow, 0.0, 0.0),
        ("random-2", "oracle", "util", |metrics| metrics.util, 0.95, 0.97),
        ("policer-3m", "gcc", "policer loss", |metrics| metrics.loss_policer, 0.02, 0.1),
        ("policer-3m", "gcc", "random loss", |metrics| metrics.loss_random, 0.0, 0.0),
        ("shallow-20", "gcc", "overflow", |metrics| metrics.loss_overflow, 0.02, 0.1),
        ("shallow-20", "gcc", "queue p99", |metrics| metrics.q99_ms, 10.0, 20.0),
        ("rfc8867-5.4", "oracle", "Jain", |metrics| metrics.jain, 0.999, 1.0),
        ("rfc8867-5.6", "oracle", "own share", |metrics| metrics.own_share, 0.45, 0.5),
        ("rfc8867-5.6", "oracle", "TCP's share", |metrics| metrics.tcp_share, 0.45, 0.55),
        ("step-4-1-4", "oracle", "recover", |metrics| metrics.recover_s, 0.9, 1.3),
        ("step-4-1-4", "nada", "recover", |metrics| metrics.recover_s, 2.0, 20.0),
        ("loss-rtt60-d150-p2-iid-k12", "oracle", "frames hit", |metrics| metrics.frames_hit, 0.18, 0.25),
    ];
    for (scenario, estimator, name, of, low, high) in rows {
        let value = of(&measured(scenario, estimator));
        let good = value.is_some_and(|value| (low..=high).contains(&value));
        assert!(good, "{name} of {estimator} in {scenario}: {value:?} is not from {low} to {high}");
    }
    assert_eq!(measured("fixed-4m", "oracle").tcp_share, None, "without TCP it has no share");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
fn a_recorded_room_shows_each_person() {
    let epoch = std::time::Instant::now();
    let options = RunOptions {
        estimator: "bbr".to_owned(),
        scene: proto::scene::Scene::default(),
        seed: 1,
        record: true,
        epoch,
        stopwatch: None,
    };
    let scenario = find("chorus").expect("it is in the catalog");
    let timeline =
        run(&scenario, &options).expect("bbr is in every build").timeline.expect("it was recorded");
    let names: Vec<&str> = timeline.flows.iter().map(|flow| flow.name.as_str()).collect();
    assert_eq!(names, ["alto", "tenor", "bass"]);
    for flow in &timeline.flows {
        // Two others at 30 pictures a second for a minute, less what joining takes.
        assert!(
            (3_400..=3_600).contains(&flow.frames.len()),
            "{}: {} pictures",
            flow.name,
            flow.frames.len()
        );
        let received = flow.received.iter().sum::<f64>() / flow.received.len() as f64;
        assert!(
            (0.3..2.0).contains(&received),
            "{}: two voices and two small pictures: {received}",
            flow.name
        );
        assert!(flow.states.len() > 1 && flow.freezes.is_empty(), "{}", flow.name);
    }
}
