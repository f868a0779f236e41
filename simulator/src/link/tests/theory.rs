//! Queueing theory: what a link must do on average when arrivals are Poisson and service takes always the same time.

use super::super::draw;
use super::*;

/// A parcel takes a millisecond at [`RATE`].
const BYTES: u64 = 1_250;
const RATE: Bitrate = Bitrate::mbps(10);

/// Offers Poisson arrivals at this load; gives the mean wait in milliseconds and the share that found no room.
fn poisson(queue: Queue, load: f64, parcels: u64) -> (f64, f64) {
    let mut link = link(LinkPlan { queue, delay: 20 * MS, ..constant(RATE) });
    let mut chance = Seed::from_number(7).generator();
    let (mut now, mut waited, mut passed, mut dropped) = (Instant::ZERO, Duration::ZERO, 0_u64, 0_u64);
    for number in 0..parcels {
        now += draw::exponential(&mut chance, MS.div_f64(load));
        link.handle_parcel(now, Block::new(number, BYTES));
        while let Some(one) = link.poll_passed(now) {
            waited += one.queued;
            passed += 1;
        }
        while link.poll_dropped().is_some() {
            dropped += 1;
        }
    }
    (waited.as_secs_f64() * 1e3 / passed as f64, dropped as f64 / parcels as f64)
}

#[test]
fn mean_waits_are_those_of_m_d_1() {
    for (load, parcels) in [(0.3, 400_000), (0.5, 400_000), (0.7, 1_000_000), (0.8, 2_000_000)] {
        let (wait, loss) = poisson(endless(), load, parcels);
        let wanted = load / (2.0 * (1.0 - load)); // Pollaczek and Khinchine, service without variance
        assert!((wait / wanted - 1.0).abs() < 0.02, "load {load}: {wait} ms, wanted {wanted} ms");
        assert!(loss == 0.0);
    }
}

/// The share of arrivals that M/D/1/K turns away, from the chain embedded at departures.
fn blocked(load: f64, places: usize) -> f64 {
    let arrivals: Vec<f64> = (0..places)
        .scan((-load).exp(), |chance, count| {
            let this = *chance;
            *chance *= load / (count + 1) as f64;
            Some(this)
        })
        .collect();
    // states[n]: how often a departure leaves n behind, not yet normalized; n < places.
    let mut states = vec![1.0];
    for n in 0..places - 1 {
        let others: f64 = (1..=n).map(|from| states[from] * arrivals[n - from + 1]).sum();
        states.push((states[n] - states[0] * arrivals[n] - others) / arrivals[0]);
    }
    let empty = states[0] / states.iter().sum::<f64>();
    1.0 - 1.0 / (empty + load)
}

#[test]
fn the_theory_of_the_test_is_right_where_it_is_known() {
    assert!((blocked(0.9, 1) - 0.9 / 1.9).abs() < 1e-12); // one place: Erlang's formula, whatever the service
    assert!((blocked(2.0, 200) - 0.5).abs() < 1e-9); // overload: what exceeds the server
    assert!(blocked(0.5, 40) < 1e-9);
}

#[test]
fn drop_tail_loses_what_m_d_1_k_turns_away() {
    for (load, places, parcels) in
        [(0.5, 2, 400_000), (0.9, 4, 600_000), (0.9, 10, 3_000_000), (1.0, 8, 600_000), (1.3, 20, 400_000)]
    {
        let wanted = blocked(load, places);
        let (_, loss) = poisson(Queue::DropTail(Depth::Packets(places)), load, parcels);
        assert!((loss / wanted - 1.0).abs() < 0.02, "load {load}, {places} places: {loss}, wanted {wanted}");
    }
}

#[test]
fn a_depth_is_the_same_in_packets_bytes_and_time() {
    let depths = [
        Depth::Packets(5),
        Depth::Bytes(DataSize::bytes(5 * BYTES)),
        Depth::Bytes(DataSize::bytes(6 * BYTES - 1)),
        Depth::Time(5 * MS),
    ];
    let losses = depths.map(|depth| poisson(Queue::DropTail(depth), 0.9, 50_000));
    assert!(losses.iter().all(|loss| *loss == losses[0]), "{losses:?}");
    assert!(losses[0].1 > 0.01);
    assert_ne!(
        poisson(Queue::DropTail(Depth::Bytes(DataSize::bytes(5 * BYTES - 1))), 0.9, 50_000),
        losses[0]
    );
}

#[test]
fn no_nanosecond_is_lost_over_a_million_parcels() {
    // 1250 bytes at 7 Mbit/s take 1428571.43 ns; rounding each up would add 0.57 ns, half a microsecond a thousand.
    let rate = 7_000_000_u64;
    let mut link = link(LinkPlan { queue: endless(), ..constant(Bitrate::bps(rate)) });
    let parcels = 1_000_000_u64;
    let mut last = Instant::ZERO;
    for number in 0..parcels {
        link.handle_parcel(Instant::from_millis(number), Block::new(number, BYTES)); // never idle
        while let Some(passed) = link.poll_passed(Instant::from_millis(number)) {
            last = passed.at;
        }
    }
    while let Some(due) = link.poll_timeout() {
        link.handle_timeout(due);
        while let Some(passed) = link.poll_passed(due) {
            last = passed.at;
        }
    }
    let exact = (parcels * BYTES * 8 * 1_000_000_000_u64).div_ceil(rate);
    assert_eq!(last.as_nanos(), exact);
}
