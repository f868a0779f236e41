//! Single cases: what the parts do together at a constant rate.

use super::super::plan::{EcnMarking, Jitter, Loss, Outage, Policer, Stalls};
use super::*;

#[test]
fn the_queue_holds_only_what_waits() {
    // Half a link's rate into a queue of two packets: however long the flight, nothing is dropped.
    for delay in [0, 10, 100, 1_000] {
        let queue = Queue::DropTail(Depth::Bytes(DataSize::bytes(2_500)));
        let mut link = link(LinkPlan { queue, delay: MS * delay, ..constant(Bitrate::mbps(10)) });
        let outcome = drive(&mut link, &steady(100, 1_250, 2 * MS), END);
        assert_eq!((outcome.passed.len(), outcome.dropped.len()), (100, 0), "delay {delay} ms");
        assert!(outcome.passed.iter().all(|passed| passed.queued.is_zero()));
    }
}

#[test]
fn what_finds_no_room_is_dropped_and_what_waits_says_how_long() {
    // Each takes 1 ms; five at once, room for three.
    let queue = Queue::DropTail(Depth::Packets(3));
    let mut link = link(LinkPlan { queue, delay: 10 * MS, ..constant(Bitrate::mbps(10)) });
    let outcome = drive(&mut link, &steady(5, 1_250, Duration::ZERO), END);
    assert_eq!(outcome.arrivals_ms(), [(0, 11.0), (1, 12.0), (2, 13.0)]);
    let waits: Vec<Duration> = outcome.passed.iter().map(|passed| passed.queued).collect();
    assert_eq!(waits, [Duration::ZERO, MS, 2 * MS]);
    assert_eq!(outcome.dropped_for(DropCause::Overflow), [3, 4]);
}

#[test]
fn an_idle_link_takes_a_parcel_that_is_larger_than_its_queue() {
    let queue = Queue::DropTail(Depth::Time(MS));
    let mut link = link(LinkPlan { queue, ..constant(Bitrate::kbps(100)) });
    let outcome = drive(&mut link, &steady(3, 1_250, 60 * MS), END);
    assert_eq!(outcome.arrivals_ms(), [(0, 100.0), (2, 220.0)]);
    assert_eq!(outcome.dropped_for(DropCause::Overflow), [1]);
}

#[test]
fn a_change_of_rate_applies_to_the_bits_that_remain() {
    // 1250 bytes: 0.5 ms at 10 Mbit/s leave half of it, which takes 5 ms at 1 Mbit/s.
    let steps = vec![
        (Duration::ZERO, Bitrate::mbps(10)),
        (MS / 2, Bitrate::mbps(1)),
        (3 * MS, Bitrate::ZERO),
        (10 * MS, Bitrate::mbps(1)),
    ];
    let mut slower = link(LinkPlan { rate: Rate::Steps(steps[..2].to_vec()), ..LinkPlan::default() });
    assert_eq!(drive(&mut slower, &steady(1, 1_250, MS), END).arrivals_ms(), [(0, 5.5)]);
    let mut stopped = link(LinkPlan { rate: Rate::Steps(steps[..3].to_vec()), ..LinkPlan::default() });
    let outcome = drive(&mut stopped, &steady(1, 1_250, MS), END);
    assert!(outcome.passed.is_empty());
    assert_eq!((stopped.held(), stopped.poll_timeout()), (1, None));
    let mut resumed = link(LinkPlan { rate: Rate::Steps(steps), ..LinkPlan::default() });
    let outcome = drive(&mut resumed, &steady(1, 1_250, MS), END);
    assert_eq!(outcome.arrivals_ms(), [(0, 12.5)]);
    assert_eq!(outcome.passed[0].queued, 7 * MS); // while the link stood still it waited
}

#[test]
fn a_stopped_link_keeps_the_room_of_its_latest_rate() {
    let steps =
        vec![(Duration::ZERO, Bitrate::mbps(10)), (10 * MS, Bitrate::ZERO), (50 * MS, Bitrate::mbps(1))];
    let plan = LinkPlan { rate: Rate::Steps(steps), ..LinkPlan::default() };
    let mut link = link(LinkPlan { queue: Queue::DropTail(Depth::Time(5 * MS)), ..plan });
    let arrivals: Vec<_> =
        (0..8).map(|number| (Instant::from_millis(20), Block::new(number, 1_250))).collect();
    let outcome = drive(&mut link, &arrivals, END);
    assert_eq!(outcome.dropped_for(DropCause::Overflow), [5, 6, 7]);
    assert_eq!(outcome.arrivals_ms().last(), Some(&(4, 100.0)));
}

#[test]
fn a_stall_delays_but_takes_no_capacity() {
    // A parcel each 2 ms that takes 1 ms; from 10 to 16 ms the server stalls.
    let stalls = Some(Stalls { every: 10 * MS, length: 6 * MS });
    let mut link = link(LinkPlan { stalls, ..constant(Bitrate::mbps(10)) });
    let outcome = drive(&mut link, &steady(9, 1_250, 2 * MS), Instant::from_millis(19));
    let wanted = [1.0, 3.0, 5.0, 7.0, 9.0, 16.0, 16.0, 16.0, 17.0].into_iter();
    assert_eq!(outcome.arrivals_ms(), (0..).zip(wanted).collect::<Vec<_>>());
    // A loaded link catches up with what it would have done, and no more.
    let mut loaded = super::link(LinkPlan { stalls, queue: endless(), ..constant(Bitrate::mbps(10)) });
    let outcome = drive(&mut loaded, &steady(40, 1_250, MS / 2), Instant::from_millis(18));
    let done_by = |ms: f64| outcome.arrivals_ms().iter().filter(|(_, at)| *at <= ms).count();
    assert_eq!((done_by(10.0), done_by(15.9), done_by(16.0), done_by(18.0)), (10, 10, 16, 18));
}

#[test]
fn an_unlimited_link_stalls_too() {
    let stalls = Some(Stalls { every: 10 * MS, length: 6 * MS });
    let mut link = link(LinkPlan { stalls, delay: 5 * MS, ..LinkPlan::default() });
    let outcome = drive(&mut link, &steady(5, 1_250, 4 * MS), END);
    assert_eq!(outcome.arrivals_ms(), [(0, 5.0), (1, 9.0), (2, 13.0), (3, 21.0), (4, 21.0)]);
}

#[test]
fn what_leaves_during_an_outage_is_lost_and_what_flies_is_not() {
    let outages = vec![Outage { start: 10 * MS, length: 5 * MS }];
    let mut link = link(LinkPlan { outages, delay: 20 * MS, ..constant(Bitrate::mbps(10)) });
    let outcome = drive(&mut link, &steady(10, 1_250, 2 * MS), END);
    assert_eq!(outcome.dropped_for(DropCause::Outage), [5, 6]); // they leave at 11 and 13 ms
    assert_eq!(outcome.dropped[0].at, Instant::from_millis(11));
    assert_eq!(outcome.passed.len(), 8);
}

#[test]
fn the_parts_act_in_their_order() {
    // The policer comes first and spends no queue; the loss comes last and spends the server.
    let policer = Some(Policer { rate: Bitrate::bps(1), burst: DataSize::bytes(2_500) });
    let mut policed = link(LinkPlan { policer, loss: Loss::EveryNth(2), ..constant(Bitrate::mbps(10)) });
    let outcome = drive(&mut policed, &steady(5, 1_250, Duration::ZERO), END);
    assert_eq!(outcome.dropped_for(DropCause::Policer), [2, 3, 4]);
    assert_eq!(outcome.dropped_for(DropCause::Random), [1]);
    assert_eq!(outcome.dropped.last().map(|dropped| dropped.at), Some(Instant::from_millis(2)));
    assert_eq!(outcome.arrivals_ms(), [(0, 1.0)]);
}

#[test]
fn ecn_marks_what_is_capable_and_waited_longer_than_the_threshold() {
    let ecn = Some(EcnMarking { above: 2 * MS });
    let mut link = link(LinkPlan { ecn, ..constant(Bitrate::mbps(10)) });
    let mut arrivals = steady(6, 1_250, Duration::ZERO);
    for (number, (_, block)) in arrivals.iter_mut().enumerate() {
        block.ecn = if number == 4 { Ecn::NotCapable } else { Ecn::Capable1 };
    }
    let outcome = drive(&mut link, &arrivals, END);
    let bits: Vec<Ecn> = outcome.passed.iter().map(|passed| passed.parcel.ecn).collect();
    let (calm, marked) = (Ecn::Capable1, Ecn::Congested);
    assert_eq!(bits, [calm, calm, calm, marked, Ecn::NotCapable, marked]);
}

/// A sender that cuts its rate by a tenth at a sign of congestion and speeds up steadily otherwise: its sojourns in
/// milliseconds after the first 5 s, and what came out.
fn responsive(queue: Queue, capable: bool) -> (Vec<f64>, Outcome) {
    let ecn = capable.then_some(EcnMarking { above: Duration::MAX });
    let mut link = link(LinkPlan { queue, ecn, delay: 25 * MS, ..constant(Bitrate::mbps(10)) });
    let (mut now, mut rate, mut cut) = (Instant::ZERO, 500.0_f64, Instant::ZERO);
    let (mut outcome, mut seen) = (Outcome::default(), 0);
    for number in 0..60_000 {
        now += Duration::from_secs_f64(1.0 / rate);
        let mut block = Block::new(number, 1_250);
        if capable {
            block.ecn = Ecn::Capable0;
        }
        link.handle_parcel(now, block);
        outcome.drain(&mut link, now);
        let marked = outcome.passed[seen..].iter().any(|passed| passed.parcel.ecn == Ecn::Congested);
        seen = outcome.passed.len();
        let dropped = outcome.dropped.last().is_some_and(|dropped| dropped.at > cut);
        if (marked || dropped) && now.since(cut) > 50 * MS {
            (rate, cut) = (rate * 0.9, now);
        } else {
            rate += 20.0 / 0.05 / rate; // 20 packets/s more each 50 ms
        }
    }
    let late = |passed: &&Passed<Block>| passed.at > Instant::from_millis(5_000);
    let waits = outcome.passed.iter().filter(late).map(|passed| passed.queued.as_secs_f64() * 1e3).collect();
    (waits, outcome)
}

#[test]
fn codel_keeps_a_standing_queue_near_its_target_and_drop_tail_does_not() {
    let depth = Depth::Time(300 * MS);
    let median_and_p90 = |mut waits: Vec<f64>| {
        waits.sort_by(f64::total_cmp);
        (waits[waits.len() / 2], waits[waits.len() * 9 / 10])
    };
    let codel = Queue::CoDel { target: 5 * MS, interval: 100 * MS, depth };
    let (waits, outcome) = responsive(codel.clone(), false);
    let managed = median_and_p90(waits);
    assert!(managed.0 < 8.0 && (3.0..20.0).contains(&managed.1), "CoDel: median and p90 {managed:?} ms");
    assert!(outcome.dropped.iter().all(|dropped| dropped.cause == DropCause::Early));
    assert!((5..500).contains(&outcome.dropped.len()), "{} dropped", outcome.dropped.len());
    let (waits, outcome) = responsive(Queue::DropTail(depth), false);
    let standing = median_and_p90(waits);
    assert!(standing.0 > 150.0, "drop-tail: median and p90 {standing:?} ms");
    assert!(outcome.dropped.iter().all(|dropped| dropped.cause == DropCause::Overflow));
    // What is capable of ECN is marked where it would have been dropped.
    let (waits, outcome) = responsive(codel, true);
    let marked = median_and_p90(waits);
    assert!(marked.0 < 8.0 && (3.0..20.0).contains(&marked.1), "with ECN: median and p90 {marked:?} ms");
    assert!(outcome.dropped.is_empty());
    let marks = outcome.passed.iter().filter(|passed| passed.parcel.ecn == Ecn::Congested).count();
    assert!((5..500).contains(&marks), "{marks} marked");
}

#[test]
fn a_new_plan_keeps_what_is_queued_in_service_and_in_flight() {
    let plan = LinkPlan { delay: 100 * MS, ..constant(Bitrate::mbps(10)) };
    let mut link = link(plan.clone());
    for (at, block) in steady(4, 1_250, Duration::ZERO) {
        link.handle_parcel(at, block);
    }
    // At 1.5 ms one flies, half of the second one has left, two wait. The rest of the second takes 5 ms at 1 Mbit/s.
    let now = Instant::ZERO + MS * 3 / 2;
    link.set_plan(now, LinkPlan { queue: Queue::DropTail(Depth::Packets(1)), ..constant(Bitrate::mbps(1)) });
    assert_eq!(link.held(), 4);
    let outcome = drive(&mut link, &[], END);
    // The shorter delay lets those behind catch up with the first one, but not pass it.
    assert_eq!(outcome.arrivals_ms(), [(0, 101.0), (1, 106.5), (2, 116.5), (3, 126.5)]);
    assert!(outcome.dropped.is_empty());
}

#[test]
fn a_new_delay_does_not_disturb_the_server() {
    let steps = vec![(Duration::ZERO, Bitrate::mbps(1)), (4 * MS, Bitrate::mbps(2))];
    let plan = LinkPlan { rate: Rate::Steps(steps), ..LinkPlan::default() };
    let mut link = link(plan.clone());
    link.handle_parcel(Instant::ZERO, Block::new(0, 1_250));
    for ms in 1..7 {
        link.set_plan(Instant::from_millis(ms), LinkPlan { delay: MS * ms as u32, ..plan.clone() });
    }
    assert_eq!(drive(&mut link, &[], END).arrivals_ms(), [(0, 13.0)]); // leaves at 4 + 3 ms
}

#[test]
fn the_rate_may_change_into_every_kind_of_server_in_mid_packet() {
    let trace = super::super::trace::parse_mahimahi("5\n10\n").unwrap();
    let cell = super::super::plan::Lte {
        rate: super::super::plan::LteRate::Steps(vec![(Duration::ZERO, Bitrate::mbps(1))]),
        harq_retries: 0.0,
    };
    let wifi = super::super::plan::Wifi {
        rate: Bitrate::mbps(10),
        aggregate: 4 * MS,
        contention: Duration::ZERO,
        stall_every: None,
        stall_length: Duration::ZERO,
    };
    // A parcel of 1250 bytes, of which half has left when the plan changes at 0.5 ms.
    for (rate, arrives) in [
        (Rate::Unlimited, 0.5),
        (Rate::Constant(Bitrate::mbps(1)), 5.5),
        (Rate::Opportunities(trace.into()), 5.0),
        (Rate::Lte(cell), 5.0),  // 125 bytes each millisecond
        (Rate::Wifi(wifi), 1.5), // begins anew
    ] {
        let mut link = link(constant(Bitrate::mbps(10)));
        link.handle_parcel(Instant::ZERO, Block::new(0, 1_250));
        let name = format!("{rate:?}");
        link.set_plan(Instant::ZERO + MS / 2, LinkPlan { rate, ..LinkPlan::default() });
        assert_eq!(drive(&mut link, &[], END).arrivals_ms(), [(0, arrives)], "{name}");
        link.handle_parcel(Instant::from_millis(50), Block::new(1, 1_250));
        link.set_plan(Instant::from_millis(50), constant(Bitrate::mbps(10)));
        assert_eq!(drive(&mut link, &[], END).arrivals_ms().len(), 1, "{name}");
    }
}

#[test]
fn jitter_moves_arrivals_and_nothing_else() {
    let plan = LinkPlan { delay: 50 * MS, loss: Loss::Independent(0.1), ..constant(Bitrate::mbps(10)) };
    let calm = drive(&mut link(plan.clone()), &steady(1_000, 1_250, MS * 5 / 4), END);
    let jitter = Some(Jitter::nr_bpdv(5 * MS));
    let shaken = drive(&mut link(LinkPlan { jitter, ..plan }), &steady(1_000, 1_250, MS * 5 / 4), END);
    assert_eq!(calm.dropped, shaken.dropped);
    let numbers =
        |outcome: &Outcome| outcome.arrivals_ms().iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(numbers(&calm), numbers(&shaken));
    assert_ne!(calm.arrivals_ms(), shaken.arrivals_ms());
}

#[test]
fn what_is_queued_can_be_asked() {
    let mut link = link(constant(Bitrate::mbps(10)));
    for (at, block) in steady(3, 1_250, Duration::ZERO) {
        link.handle_parcel(at, block);
    }
    assert_eq!((link.queued(), link.queue_delay()), (DataSize::bytes(3_750), 3 * MS));
    link.handle_timeout(Instant::from_millis(2));
    assert_eq!((link.queued(), link.queue_delay()), (DataSize::bytes(1_250), MS));
    link.handle_timeout(Instant::from_millis(3));
    assert_eq!((link.queued(), link.queue_delay(), link.held()), (DataSize::ZERO, Duration::ZERO, 3));
}
