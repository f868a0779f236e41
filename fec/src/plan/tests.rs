use proto::scene::Scene;

use super::masks::Interleaved;
use super::*;

const GOAL: Goal = Goal {
    deadline: Duration::from_millis(150),
    failure: 1e-3,
    lateness: 0.0,
    promptness: Promptness::ByDeadline,
};

fn timing(round_trip: u64) -> Timing {
    let ms = Duration::from_millis;
    Timing::symmetric(ms(round_trip), ms(10), ms(5))
}

fn lossy(bound: f64) -> LossEstimate {
    LossEstimate { loss: bound, bound, correlation: 0.0, packets: 10_000.0, ..LossEstimate::COLD }
}

/// A planner that has heard of a leg often enough to have all its entries.
fn planner(receiver: Receiver, estimate: LossEstimate, timing: Timing) -> Planner {
    let mut tables = Tables::new(Interleaved);
    let mut planner = Planner::new(receiver);
    for feedback in 0..10 {
        planner.handle_feedback(Instant::from_millis(feedback * 50), &estimate, timing, &mut tables);
        planner.plan_block(12, &GOAL, None);
        planner.plan_block(40, &GOAL, None);
    }
    planner
}

/// The first request for so many packets, with so much time left.
fn request(missing: usize, left: u64) -> Request {
    Request { missing, repairs: 0, left: Duration::from_millis(left) }
}

/// Mean parity of a block over many.
fn parity(planner: &mut Planner, media: usize, goal: &Goal, interval: Option<Duration>) -> f64 {
    let blocks = 1_000;
    let sent: usize = (0..blocks).map(|_| planner.plan_block(media, goal, interval).parities).sum();
    sent as f64 / f64::from(blocks)
}

#[test]
fn without_loss_blocks_are_plain_and_repairs_single() {
    for estimate in [lossy(0.0), lossy(0.000_4)] {
        let mut planner = planner(Receiver::FlexFec, estimate, timing(60));
        let plan = planner.plan_block(12, &GOAL, None);
        assert_eq!(plan, BlockPlan { rounds: 2, ..BlockPlan::PLAIN });
        let single = RepairPlan { packets: 3, parities: 0, spacing: Duration::ZERO };
        assert_eq!(planner.plan_repair(&plan, request(3, 80)), Some(single));
        assert_eq!(planner.plan_repair(&plan, request(0, 80)), None);
        assert_eq!(planner.plan_repair(&plan, request(3, 29)), None, "too late");
    }
}

#[test]
fn parity_goes_first_only_where_repair_comes_too_late() {
    for (name, round_trip, least, most) in
        [("three rounds", 40, 0.0, 0.01), ("two rounds", 60, 0.0, 0.3), ("one round", 100, 3.2, 4.6)]
    {
        let mut planner = planner(Receiver::Native, lossy(0.05), timing(round_trip));
        let found = parity(&mut planner, 12, &GOAL, None);
        assert!((least..=most).contains(&found), "{name}: {found}");
    }
}

#[test]
fn the_last_round_sends_more_than_is_missing() {
    for (receiver, parities) in [(Receiver::Native, 0), (Receiver::FlexFec, 1), (Receiver::Retransmit, 0)] {
        let mut planner = planner(receiver, lossy(0.05), timing(60));
        let plan = planner.plan_block(12, &GOAL, None);
        let repair = planner.plan_repair(&plan, request(3, 80)).unwrap();
        assert!(repair.packets > 3 && repair.parities <= parities, "{receiver:?}: {repair:?}");
        let is_spaced = repair.packets - repair.parities > 3 && receiver != Receiver::Native;
        assert_eq!(repair.spacing, if is_spaced { COPY_SPACING } else { Duration::ZERO }, "{receiver:?}");
    }
}

#[test]
fn copies_are_apart_as_far_as_there_is_time() {
    let mut planner = planner(Receiver::Retransmit, lossy(0.02), timing(60));
    let plan = planner.plan_block(12, &GOAL, None);
    for (left, spacing) in [(80, 5_000), (39, 4_000), (35, 0)] {
        let repair = planner.plan_repair(&plan, request(1, left)).unwrap();
        assert_eq!((repair.packets, repair.spacing.as_micros()), (2, spacing), "{left} ms left");
    }
}

#[test]
fn scenes_that_mind_delay_pay_for_it() {
    let mut planner = planner(Receiver::Native, lossy(0.05), timing(30));
    let cost = |planner: &Planner, promptness| {
        planner.redundancy(12, &Goal { promptness, deadline: Duration::from_millis(100), ..GOAL })
    };
    let by_deadline = cost(&planner, Promptness::ByDeadline);
    let prompt = cost(&planner, Promptness::OneRepair);
    assert!(by_deadline < 0.06 && prompt > by_deadline * 1.3, "{by_deadline} {prompt}");
    let game = Goal::new(Scene::Game, Kind::Other);
    let plain = parity(&mut planner, 12, &GOAL, None);
    let mut tables = Tables::new(Interleaved);
    for feedback in 0..6 {
        planner.plan_block(12, &game, None);
        planner.handle_feedback(Instant::from_millis(feedback * 50), &lossy(0.05), timing(30), &mut tables);
    }
    assert!(parity(&mut planner, 12, &game, None) > plain + 0.5, "a game would rather not wait a round");
}

#[test]
fn small_frames_share_their_parity() {
    let mut planner = planner(Receiver::Native, lossy(0.05), timing(100));
    let alone = parity(&mut planner, 2, &GOAL, None);
    let shared = parity(&mut planner, 2, &GOAL, Some(Duration::from_millis(33)));
    assert!(shared < alone * 0.7 && shared > 0.1, "{alone} alone, {shared} shared");
    assert_eq!(planner.plan_block(2, &GOAL, Some(Duration::from_millis(33))).frames, 3);
}

#[test]
fn a_cold_leg_that_loses_is_taken_for_a_poor_one_and_one_that_does_not_for_clean() {
    let cold = |loss| LossEstimate { packets: 20.0, ..lossy(loss) };
    let parities = |loss| parity(&mut planner(Receiver::Native, cold(loss), timing(100)), 12, &GOAL, None);
    assert!(parities(0.001) > 2.0);
    assert!(parities(0.0).abs() < f64::EPSILON);
}

#[test]
fn what_no_parity_can_do_is_said() {
    let mut native = planner(Receiver::Native, lossy(0.1), timing(100));
    assert!(native.plan_block(12, &GOAL, None).is_enough);
    let mut browser = planner(Receiver::Retransmit, lossy(0.1), timing(100));
    assert!(!browser.plan_block(12, &GOAL, None).is_enough);
}

#[test]
fn frames_larger_than_the_entries_that_are_solved_are_protected_all_the_same() {
    let mut tables = Tables::new(Interleaved);
    let mut planner = Planner::new(Receiver::Native);
    planner.handle_feedback(Instant::ZERO, &lossy(0.05), timing(100), &mut tables);
    let stopgap = planner.plan_block(48, &GOAL, None);
    assert!((12..40).contains(&stopgap.parities), "{stopgap:?}");
    let repair = planner.plan_repair(&stopgap, request(30, 60)).unwrap();
    assert!((30..90).contains(&repair.packets), "{repair:?}");
    for feedback in 1..6 {
        planner.handle_feedback(Instant::from_millis(feedback * 50), &lossy(0.05), timing(100), &mut tables);
    }
    let proper = planner.plan_block(48, &GOAL, None);
    assert!((7..stopgap.parities).contains(&proper.parities), "{proper:?}");
}
