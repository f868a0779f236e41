//! Single cases of servers that do not have a rate at each moment: traces, Wi-Fi, LTE.

use super::super::plan::{Lte, LteRate, Opportunities, Stalls, Wifi};
use super::super::trace::{self, Cellular};
use super::*;

fn opportunities(millis: &[u64]) -> Rate {
    let times: Vec<Duration> = millis.iter().map(|ms| Duration::from_millis(*ms)).collect();
    let period = *times.last().unwrap();
    Rate::Opportunities(Opportunities { size: DataSize::bytes(1_500), times, period }.into())
}

#[test]
fn an_opportunity_carries_several_small_parcels_or_a_part_of_a_large_one() {
    let plan = LinkPlan { rate: opportunities(&[5, 8, 8, 20]), queue: endless(), ..LinkPlan::default() };
    let sizes = [500, 500, 600, 1_200, 3_500, 100];
    let arrivals: Vec<_> =
        (0..).zip(sizes).map(|(number, bytes)| (Instant::ZERO, Block::new(number, bytes))).collect();
    let outcome = drive(&mut link(plan), &arrivals, END);
    // At 5: 500 + 500 + 500 of 600. Twice at 8: 100 + 1200 + 1700 of 3500. At 20 (and 25): 1500; the rest and 100.
    assert_eq!(outcome.arrivals_ms(), [(0, 5.0), (1, 5.0), (2, 8.0), (3, 8.0), (4, 25.0), (5, 25.0)]);
}

#[test]
fn opportunities_that_nothing_waits_for_are_wasted() {
    let plan = LinkPlan { rate: opportunities(&[5, 8, 10]), ..LinkPlan::default() };
    let at = |ms, number| (Instant::from_millis(ms), Block::new(number, 1_500));
    // The second arrives at the moment of an opportunity, which carries only what arrived before.
    let outcome = drive(&mut link(plan), &[at(6, 0), at(15, 1), at(10_015, 2)], END);
    assert_eq!(outcome.arrivals_ms(), [(0, 8.0), (1, 18.0), (2, 10_018.0)]);
}

#[test]
fn opportunities_in_a_stall_are_made_up_for_at_its_end() {
    let stalls = Some(Stalls { every: 10 * MS, length: 5 * MS });
    let rate = opportunities(&(1..=100).collect::<Vec<_>>());
    let mut link = link(LinkPlan { rate, stalls, queue: endless(), ..LinkPlan::default() });
    let outcome = drive(&mut link, &steady(20, 1_500, Duration::ZERO), END);
    let done_by = |ms: f64| outcome.arrivals_ms().iter().filter(|(_, at)| *at <= ms).count();
    assert_eq!([9.0, 14.9, 15.0, 16.0, 19.0].map(done_by), [9, 9, 15, 16, 19]);
}

#[test]
fn a_synthetic_cell_carries_its_mean_and_no_more() {
    let cell = Cellular::default();
    let trace = trace::cellular(&cell, &Seed::from_number(5)).unwrap();
    let plan = LinkPlan { rate: Rate::Opportunities(trace.into()), queue: endless(), ..LinkPlan::default() };
    let capacity = plan.capacity(Duration::ZERO, cell.length).unwrap();
    let outcome = drive(&mut link(plan), &steady(90_000, 1_000, MS * 4 / 3), Instant::ZERO + cell.length);
    let carried: DataSize = outcome.passed.iter().map(|passed| passed.parcel.size).sum();
    assert!(carried <= capacity && carried > capacity.scaled(0.99), "{carried} of {capacity}");
}

fn wifi() -> Wifi {
    Wifi {
        rate: Bitrate::mbps(20),
        aggregate: 4 * MS,
        contention: 2 * MS,
        stall_every: None,
        stall_length: Duration::ZERO,
    }
}

#[test]
fn wifi_delivers_aggregates_and_shares_the_channel() {
    // 1250 bytes take 0.5 ms: aggregates of 8, and a share of 4/(4 + 2) of the channel.
    let plan = LinkPlan { rate: Rate::Wifi(wifi()), queue: endless(), ..LinkPlan::default() };
    let capacity = plan.capacity(Duration::ZERO, Duration::from_secs(60)).unwrap();
    let outcome = drive(&mut link(plan), &steady(90_000, 1_250, MS / 2), Instant::from_millis(60_000));
    let aggregates: Vec<usize> = outcome.passed.chunk_by(|a, b| a.at == b.at).map(<[_]>::len).collect();
    assert!(aggregates[10..].iter().all(|frames| *frames == 8));
    let carried: DataSize = outcome.passed.iter().map(|passed| passed.parcel.size).sum();
    let share = carried.as_bytes() as f64 / capacity.as_bytes() as f64;
    assert!((share - 1.0).abs() < 0.02, "{share}");
    // An idle channel is contended for, and a lone parcel waits for that alone.
    let plan = LinkPlan { rate: Rate::Wifi(wifi()), ..LinkPlan::default() };
    let lone = drive(&mut link(plan), &steady(5_000, 1_250, 40 * MS), END);
    let wait = lone.passed.iter().map(|passed| passed.queued).sum::<Duration>() / 5_000;
    assert!(wait > 2 * MS * 19 / 20 && wait < 2 * MS * 21 / 20, "{wait:?}");
}

#[test]
fn wifi_stalls_hold_everything_up() {
    let rate = Wifi { stall_every: Some(Duration::from_secs(2)), stall_length: 80 * MS, ..wifi() };
    let plan = LinkPlan { rate: Rate::Wifi(rate), ..LinkPlan::default() };
    let outcome = drive(&mut link(plan), &steady(60_000, 1_250, 2 * MS), END);
    let gaps: Vec<Duration> = outcome.passed.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    let long = gaps.iter().filter(|gap| **gap > 35 * MS).count();
    // 120 s: about 58 stalls of 20 to 80 ms, three in four longer than 35 ms; contention alone makes hardly any.
    assert!((30..65).contains(&long), "{long}");
    assert!(gaps.iter().max() < Some(&(120 * MS)));
    assert!(outcome.dropped.is_empty());
}

#[test]
fn lte_delivers_by_the_subframe_and_retries_in_order() {
    let cell = |harq_retries| {
        let rate = LteRate::Steps(vec![
            (Duration::ZERO, Bitrate::mbps(10)),
            (Duration::from_secs(1), Bitrate::mbps(2)),
        ]);
        let plan =
            LinkPlan { rate: Rate::Lte(Lte { rate, harq_retries }), queue: endless(), ..LinkPlan::default() };
        drive(&mut link(plan), &steady(1_500, 1_250, MS), Instant::from_millis(2_000))
    };
    let calm = cell(0.0);
    assert!(calm.passed.iter().all(|passed| passed.at.as_nanos().is_multiple_of(1_000_000)));
    // A millisecond of 10 Mbit/s is one parcel; of 2 Mbit/s, a fifth of one.
    assert_eq!(calm.arrivals_ms()[..2], [(0, 1.0), (1, 2.0)]);
    assert_eq!(calm.passed.len(), 1_000 + 200);
    let retried = cell(0.1);
    let numbers: Vec<u64> = retried.passed.iter().map(|passed| passed.parcel.number).collect();
    assert!(numbers.is_sorted());
    let later: Vec<u64> = retried
        .passed
        .iter()
        .zip(&calm.passed)
        .map(|(retried, calm)| retried.at.since(calm.at).as_millis() as u64)
        .collect();
    assert!(later.iter().all(|ms| *ms <= 24));
    assert!(later.iter().filter(|ms| **ms > 0).count() > 300);
}

#[test]
fn two_loads_meet_the_same_fading_cell() {
    let rate = LteRate::Fading { mean: Bitrate::mbps(5), sigma: 0.6, coherence: 300 * MS };
    let plan = LinkPlan {
        rate: Rate::Lte(Lte { rate, harq_retries: 0.0 }),
        queue: endless(),
        ..LinkPlan::default()
    };
    let carried = |gap: Duration, parcels: u64| -> Vec<u64> {
        let outcome =
            drive(&mut link(plan.clone()), &steady(parcels, 500, gap), Instant::from_millis(20_000));
        let mut seconds = vec![0; 20];
        for passed in &outcome.passed {
            seconds[(passed.at.as_nanos() / 1_000_000_001) as usize] += 1;
        }
        seconds
    };
    // Both loads are far above what the cell carries: what is served is the cell's doing.
    let (all, more) = (carried(MS / 10, 200_000), carried(MS / 20, 400_000));
    assert_eq!(all, more);
    let mean = all.iter().sum::<u64>() as f64 * 4_000.0 / 20.0 / 5e6;
    assert!((0.6..1.6).contains(&mean), "{mean}");
    assert!(all.iter().max() > all.iter().min().map(|least| least * 3 / 2).as_ref(), "{all:?}");
}
