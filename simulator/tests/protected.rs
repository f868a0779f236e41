//! Loss recovery under congestion control: parity pays where retransmissions come late, and there is none where nothing is lost.

use proto::scene::Scene;
use simulator::protected::{Contender, Options, Outcome, play, scenario};
use simulator::sweep::Set;

#[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
fn epoch() -> std::time::Instant {
    std::time::Instant::now()
}

fn run(name: &str, set: &str, contender: &str, seed: u64) -> Outcome {
    let mut scenario = scenario(name).expect("it is in the catalog");
    let set: Set = set.parse().expect("these can be set");
    set.apply(&mut scenario).expect("and here");
    let contender: Contender = contender.parse().expect("it is known");
    play(&scenario, &contender, Options { scene: Scene::Pk, seed, epoch: epoch() }).expect("it is built in")
}

#[test]
fn parity_pays_where_retransmissions_come_late() {
    for seed in 1..=3 {
        let [with, without] =
            ["hybrid+plan", "hybrid+nack"].map(|contender| run("random-5", "owd=100ms", contender, seed));
        let both = format!("seed {seed}: {with:?} {without:?}");
        assert!((0.03..0.07).contains(&with.loss) && (0.03..0.07).contains(&without.loss), "{both}");
        assert!(with.parity > 0.05 && without.parity <= 0.0, "{both}");
        assert!(with.frame_p95_ms + 100.0 < without.frame_p95_ms, "half a round trip, {both}");
        assert!(with.media_kbps < without.media_kbps, "parity has its price, {both}");
    }
}

#[test]
fn where_nothing_is_lost_nothing_is_repaired() {
    for contender in ["hybrid+plan", "hybrid+nack", "hybrid+libwebrtc"] {
        let outcome = run("fixed-4m", "duration=20s", contender, 1);
        assert!(outcome.redundancy <= 0.0 && outcome.loss <= 0.0, "{contender}: {outcome:?}");
        assert!(outcome.media_kbps > 2_000.0 && outcome.incomplete <= 0.0, "{contender}: {outcome:?}");
    }
}

#[test]
fn a_policer_is_answered_with_little_parity_and_loses_little_media_for_it() {
    let [with, without] = ["hybrid+plan@100", "hybrid+nack@100"]
        .map(|contender| run("policer-1m", "duration=40s", contender, 2));
    // Until congestion control knows it, it looks like chance; retransmissions alone are over 3 %.
    let both = format!("{with:?} {without:?}");
    assert!(with.parity <= 0.05 && with.redundancy <= without.redundancy + 0.05, "{both}");
    assert!(with.media_kbps >= 0.94 * without.media_kbps, "{both}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for contender in ["hybrid+plan", "hybrid+libwebrtc"] {
        let traces = [1, 1, 2].map(|seed| run("random-5", "duration=10s", contender, seed).trace_hash);
        assert_eq!(traces[0], traces[1], "{contender}");
        assert_ne!(traces[0], traces[2], "{contender}");
    }
}
