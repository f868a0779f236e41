use PacketClass::{Audio, Base, Control, Padding, Repair, Video};
use proptest::prelude::*;

use super::*;

const SIZE: DataSize = DataSize::bytes(1_000);
const NONE: DataSize = DataSize::ZERO;

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// 8 Mbit/s: a packet of [`SIZE`] takes a millisecond.
fn target() -> Target {
    Target {
        rate: Bitrate::mbps(8),
        pacing: Bitrate::mbps(8),
        burst: Duration::ZERO,
        window: None,
        padding: Bitrate::ZERO,
    }
}

fn filled(target: Target, packets: u32) -> Pacer<u32> {
    let mut pacer = Pacer::new(target);
    for packet in 0..packets {
        pacer.enqueue(ms(0), Video, SIZE, packet).expect("room");
    }
    pacer
}

/// What leaves when, with nothing in flight, until `end`: microseconds, and the packet or the size of padding.
fn run<P>(pacer: &mut Pacer<P>, mut now: Instant, end: Instant) -> Vec<(u64, Paced<P>)> {
    let mut left = Vec::new();
    while now <= end {
        while let Some(paced) = pacer.poll(now, NONE) {
            left.push((now.as_micros(), paced));
        }
        let Some(next) = pacer.poll_timeout(NONE) else { break };
        assert!(next > now, "no busy wake-ups");
        now = next;
    }
    left
}

fn packets<P: Copy>(left: &[(u64, Paced<P>)]) -> Vec<(u64, P)> {
    let packet = |&(at, paced): &(u64, Paced<P>)| match paced {
        Paced::Packet { packet, .. } => Some((at, packet)),
        Paced::Padding { .. } => None,
    };
    left.iter().filter_map(packet).collect()
}

/// Bytes of padding, and of probes.
fn padding<P>(left: &[(u64, Paced<P>)]) -> u64 {
    let size = |(_, paced): &(u64, Paced<P>)| match paced {
        Paced::Padding { size, .. } => size.as_bytes(),
        Paced::Packet { .. } => 0,
    };
    left.iter().map(size).sum()
}

#[test]
fn without_a_burst_packets_leave_exactly_at_the_rate() {
    let mut pacer = filled(target(), 4);
    let left = run(&mut pacer, ms(0), ms(100));
    assert_eq!(packets(&left), [(0, 0), (1_000, 1), (2_000, 2), (3_000, 3)]);
    assert!(pacer.is_empty());
    pacer.enqueue(ms(50), Video, SIZE, 4).expect("room");
    assert_eq!(packets(&run(&mut pacer, ms(50), ms(100))), [(50_000, 4)], "idle time is not saved up");
}

#[test]
fn a_new_rate_counts_for_what_is_owed() {
    let mut pacer = filled(target(), 3);
    assert!(pacer.poll(ms(0), NONE).is_some());
    pacer.set_target(Instant::from_nanos(500_000), Target { pacing: Bitrate::mbps(2), ..target() });
    assert_eq!(packets(&run(&mut pacer, Instant::from_nanos(500_000), ms(100))), [(2_500, 1), (6_500, 2)]);
}

#[test]
fn classes_leave_in_their_order_and_sound_at_once() {
    let mut pacer = Pacer::new(target());
    for class in [Padding, Video, Base, Repair, Audio, Control, Video, Audio] {
        pacer.enqueue(ms(0), class, SIZE, class).expect("room");
    }
    let left = packets(&run(&mut pacer, ms(0), ms(100)));
    let order = [
        (0, Control),
        (0, Audio),
        (0, Audio),
        (3_000, Repair),
        (4_000, Base),
        (5_000, Video),
        (6_000, Video),
        (7_000, Padding),
    ];
    assert_eq!(left, order, "sound is paid for by the rest");
}

#[test]
fn sound_leaves_at_most_half_a_second_of_debt() {
    let mut pacer = Pacer::new(Target { pacing: Bitrate::kbps(80), ..target() });
    for packet in 0..20 {
        pacer.enqueue(ms(0), Audio, SIZE, packet).expect("room");
    }
    pacer.enqueue(ms(0), Video, SIZE, 20).expect("room");
    assert_eq!(packets(&run(&mut pacer, ms(0), ms(5_000))).last(), Some(&(500_000, 20)));
}

#[test]
fn a_burst_of_40_ms_lets_40_ms_worth_go_at_once() {
    let mut pacer = filled(Target { burst: Duration::from_millis(40), ..target() }, 100);
    let left = packets(&run(&mut pacer, ms(0), ms(100)));
    let at = |micros: u64| left.iter().filter(|(at, _)| *at == micros).count();
    assert_eq!((at(0), at(40_000), at(80_000), left.len()), (40, 40, 20, 100));
}

#[test]
fn the_window_holds_back_all_but_sound_and_a_sign_of_life() {
    let window = Some(SIZE * 2);
    let mut pacer = filled(Target { window, padding: Bitrate::mbps(1), ..target() }, 3);
    assert!(pacer.poll(ms(0), SIZE).is_some(), "one packet of room is enough");
    assert!(pacer.poll(ms(20), SIZE * 2).is_none());
    assert_eq!(pacer.poll_timeout(SIZE * 2), Some(ms(500)));
    assert_eq!(pacer.poll_timeout(SIZE), Some(ms(1)), "with room at once");
    pacer.enqueue(ms(30), Audio, SIZE, 9).expect("room");
    assert!(matches!(pacer.poll(ms(30), SIZE * 9), Some(Paced::Packet { class: Audio, .. })));
    assert!(pacer.poll(ms(529), SIZE * 9).is_none());
    assert!(matches!(pacer.poll(ms(530), SIZE * 9), Some(Paced::Packet { packet: 1, .. })));
    assert!(pacer.poll(ms(532), SIZE * 9).is_none());
    assert!(pacer.poll(ms(532), NONE).is_some(), "and room again lets all go");
    assert_eq!(pacer.poll_timeout(SIZE * 2), None, "no padding without room");
}

#[test]
fn a_probe_is_as_fast_and_as_long_as_it_should_and_marked() {
    for (name, media, rate, duration, count) in [
        ("short, all padding but one", 1, 900, 15, 5),
        ("long, with media in front", 30, 12_000, 100, 5),
        ("slow", 2, 300, 100, 5),
        ("many packets", 3, 4_000, 5, 40),
    ] {
        let mut pacer = filled(Target { pacing: Bitrate::kbps(200), ..target() }, media);
        let (rate, duration) = (Bitrate::kbps(rate), Duration::from_millis(duration));
        pacer.handle_probe(ms(0), ProbeCluster { id: ProbeId(4), rate, duration, packets: count });
        let left = run(&mut pacer, ms(0), ms(1_000));
        let marked: Vec<_> = left
            .iter()
            .filter_map(|(at, paced)| match paced {
                Paced::Packet { probe: Some(ProbeId(4)), .. } => Some((*at, SIZE)),
                Paced::Padding { probe: Some(ProbeId(4)), size } => Some((*at, *size)),
                Paced::Packet { .. } | Paced::Padding { .. } => None,
            })
            .collect();
        let span = Duration::from_micros(marked.last().expect("some").0 - marked[0].0);
        let size: DataSize = marked[1..].iter().map(|(_, size)| *size).sum();
        let last = marked.last().expect("some").1;
        let measured = Bitrate::of(size - last + marked[0].1, span).expect("time passed");
        assert!((0.95..1.05).contains(&measured.ratio(rate)), "{name}: {measured} of {rate}");
        assert!(marked.len() >= count as usize && span + last / rate >= duration, "{name}: {span:?}");
        let over = duration + PADDING_SIZE / rate;
        assert!(marked.len() == count as usize || span <= over, "{name}: no longer than it must be");
        assert_eq!(packets(&left).len(), media as usize, "{name}: media is not lost");
        assert_eq!(left[..marked.len()].iter().map(|(at, _)| *at).max(), marked.last().map(|(at, _)| *at));
    }
}

#[test]
fn probes_wait_for_media_follow_each_other_and_grow_old() {
    let cluster = |id| ProbeCluster {
        id: ProbeId(id),
        rate: Bitrate::mbps(4),
        duration: Duration::from_millis(5),
        packets: 2,
    };
    let mut pacer = Pacer::new(target());
    pacer.handle_probe(ms(0), cluster(0));
    pacer.handle_probe(ms(4_000), cluster(1));
    pacer.handle_probe(ms(4_000), cluster(2));
    pacer.enqueue(ms(4_000), Audio, SIZE, ()).expect("room");
    assert!(matches!(pacer.poll(ms(4_000), NONE), Some(Paced::Packet { probe: None, .. })));
    assert_eq!(pacer.poll_timeout(NONE), None, "sound does not start one");
    pacer.enqueue(ms(5_001), Video, SIZE, ()).expect("room");
    let mut ids: Vec<_> = run(&mut pacer, ms(5_001), ms(6_000))
        .iter()
        .map(|(_, paced)| match paced {
            Paced::Packet { probe, .. } | Paced::Padding { probe, .. } => probe.map(|id| id.0),
        })
        .collect();
    ids.dedup();
    assert_eq!(ids, [Some(1), Some(2)], "the first one is too old");
}

#[test]
fn padding_only_fills_what_media_leaves_free() {
    for (name, media_kbps, padding_kbps, expected_kbps) in [
        ("nothing asked", 500, 0, 0),
        ("half of it is media", 500, 1_000, 500),
        ("media is more", 2_000, 1_000, 0),
        ("hardly any media", 10, 1_000, 990),
    ] {
        let padding_rate = Bitrate::kbps(padding_kbps);
        let mut pacer = Pacer::new(Target { padding: padding_rate, ..target() });
        let mut left = Vec::new();
        for tick in 0..1_000 {
            let size = DataSize::bytes(media_kbps * 10 / 8);
            pacer.enqueue(ms(10 * tick), Video, size, ()).expect("room");
            left.extend(run(&mut pacer, ms(10 * tick), ms(10 * tick + 10) - Duration::from_nanos(1)));
        }
        let kbps = padding(&left) * 8 / 10_000;
        assert!(kbps.abs_diff(expected_kbps) <= 10, "{name}: {kbps} kbit/s");
        assert_eq!(left.iter().filter(|(_, paced)| matches!(paced, Paced::Packet { .. })).count(), 1_000);
    }
}

#[test]
fn what_waits_is_bounded_in_number_and_age() {
    let mut pacer = filled(Target { pacing: Bitrate::bps(1), ..target() }, PACKETS_MAX as u32);
    assert_eq!(pacer.enqueue(ms(1), Audio, SIZE, 77), Err(77));
    assert_eq!((pacer.len(), pacer.queued()), (PACKETS_MAX, SIZE * PACKETS_MAX as u64));
    assert!(pacer.poll(ms(1_000), NONE).is_some());
    assert_eq!(pacer.queue_delay(ms(2_000)), Duration::from_secs(2));
    assert!(pacer.poll(ms(2_000), NONE).is_none());
    assert_eq!((pacer.len(), pacer.dropped()), (PACKETS_MAX - 1, 0));
    assert!(pacer.poll(ms(2_001), NONE).is_none());
    assert_eq!((pacer.len(), pacer.dropped()), (0, PACKETS_MAX as u64 - 1));
    assert_eq!((pacer.queued(), pacer.queue_time()), (DataSize::ZERO, Duration::ZERO));
}

#[test]
fn the_queue_tells_how_long_it_takes() {
    let mut pacer = filled(target(), 5);
    assert_eq!(pacer.queue_time(), Duration::from_millis(5));
    assert!(pacer.poll(ms(0), NONE).is_some());
    assert_eq!(
        (pacer.queue_time(), pacer.queue_delay(ms(3))),
        (Duration::from_millis(4), Duration::from_millis(3))
    );
    pacer.clear(ms(3));
    assert_eq!((pacer.poll_timeout(NONE), pacer.queued()), (None, DataSize::ZERO));
}

#[test]
fn a_source_is_the_limit_when_it_uses_little_of_the_rate_for_a_while() {
    for (name, percent, window, limited) in [
        ("it follows", 100, None, false),
        ("it makes nearly as much", 80, None, false),
        ("it makes two thirds", 66, None, true),
        ("it makes little", 10, None, true),
        ("it makes enough but may not send", 100, Some(NONE), false),
    ] {
        let mut pacer = Pacer::new(Target { pacing: Bitrate::mbps(10), window, ..target() });
        assert!(!pacer.is_app_limited(ms(0)));
        for frame in 0..30 {
            for _ in 0..10 {
                let size = DataSize::bytes(33 * percent);
                pacer.enqueue(ms(33 * frame), Video, size, ()).expect("room");
            }
            run(&mut pacer, ms(33 * frame), ms(33 * frame + 32));
        }
        assert_eq!(pacer.is_app_limited(ms(33 * 30)), limited, "{name}");
    }
}

#[test]
fn repair_without_end_leaves_pictures_a_fifth() {
    for (name, pictures, expected) in
        [("the base first", &[Video, Base][..], &[Base, Video][..]), ("no pictures", &[], &[])]
    {
        let mut pacer = Pacer::new(target());
        for &class in [Repair; 20].iter().chain(pictures) {
            pacer.enqueue(ms(0), class, SIZE, class).expect("room");
        }
        let left = run(&mut pacer, ms(0), ms(100));
        let order: Vec<PacketClass> = packets(&left).into_iter().map(|(_, class)| class).collect();
        let places: Vec<usize> = (0..order.len()).filter(|at| order[*at] != Repair).collect();
        assert_eq!(places.iter().map(|at| order[*at]).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(places, [4, 9][..expected.len()], "{name}");
        assert_eq!(order.len(), 20 + expected.len(), "{name}");
    }
}

#[test]
fn late_timers_cost_no_rate_and_make_no_burst() {
    // At 4 Mbit/s a packet of 1000 bytes takes 2 ms; timers come at whole milliseconds after when they should.
    for (name, kbps, grain, expected_kbps) in [
        ("grain of a millisecond", 3_500, 1, 3_500),
        ("exactly on the grain", 4_000, 1, 4_000),
        ("too coarse", 4_000, 5, 1_600),
    ] {
        let mut pacer = filled(Target { pacing: Bitrate::kbps(kbps), ..target() }, 2_000);
        let (mut now, mut left) = (0, Vec::new());
        while now < 1_000 {
            while pacer.poll(ms(now), NONE).is_some() {
                left.push(now);
            }
            let next = pacer.poll_timeout(NONE).expect("packets wait");
            now = next.as_nanos().div_ceil(1_000_000).next_multiple_of(grain);
        }
        let sent = left.len() as u64 * 8;
        assert!(sent.abs_diff(expected_kbps) <= 16, "{name}: {sent} kbit/s");
        left.dedup();
        assert_eq!(left.len() as u64 * 8, sent, "{name}: one packet at a time");
    }
}

/// The most that left within any stretch of a time, in bytes.
fn largest_burst<P>(left: &[(u64, Paced<P>)], micros: u64) -> u64 {
    let size = |paced: &Paced<P>| match paced {
        Paced::Packet { size, .. } | Paced::Padding { size, .. } => size.as_bytes(),
    };
    let from = |start: u64| left.iter().filter(move |(at, _)| (start..start + micros).contains(at));
    left.iter().map(|(at, _)| from(*at).map(|(_, paced)| size(paced)).sum()).max().unwrap_or(0)
}

#[test]
fn a_probe_makes_no_burst_however_late_it_starts_and_is_polled() {
    for (name, kbps, media, late, lag) in [
        ("on time", 3_000, 10, 0, 0),
        ("with padding", 3_000, 1, 0, 0),
        ("it starts 50 ms late", 3_000, 10, 50_000, 0),
        ("timers of a millisecond", 3_000, 10, 0, 1_000),
        ("timers of three milliseconds", 3_000, 10, 7_000, 3_000),
        ("fast", 12_000, 100, 20_000, 0),
        ("fast, and timers are late", 12_000, 100, 20_000, 900),
    ] {
        let mut pacer = filled(Target { pacing: Bitrate::kbps(300), ..target() }, media);
        let (rate, duration) = (Bitrate::kbps(kbps), Duration::from_millis(100));
        pacer.handle_probe(ms(0), ProbeCluster { id: ProbeId(1), rate, duration, packets: 5 });
        let (mut now, mut left) = (ms(0) + Duration::from_micros(late), Vec::new());
        let end = now + Duration::from_millis(95);
        while now < end {
            left.extend(core::iter::from_fn(|| pacer.poll(now, NONE)).map(|paced| (now.as_micros(), paced)));
            now = pacer.poll_timeout(NONE).expect("it goes on") + Duration::from_micros(lag);
        }
        let packet = left.iter().map(|(_, paced)| match paced {
            Paced::Packet { size, probe, .. } | Paced::Padding { size, probe } => {
                assert_eq!(*probe, Some(ProbeId(1)), "{name}");
                size.as_bytes()
            }
        });
        let packet = packet.max().expect("some");
        let most = (rate * (Duration::from_millis(1) + LATE_MAX.min(Duration::from_micros(lag)))).as_bytes();
        let burst = largest_burst(&left, 1_000);
        assert!(burst <= most + packet, "{name}: {burst} bytes in a millisecond");
        let sent = largest_burst(&left, 95_000);
        let due = (rate * Duration::from_millis(95)).as_bytes();
        assert!(lag > 1_000 || sent.abs_diff(due) <= packet, "{name}: {sent} of {due}");
    }
}

#[test]
fn probes_called_off_stop_at_once_and_media_goes_on() {
    let cluster = |id| ProbeCluster {
        id: ProbeId(id),
        rate: Bitrate::mbps(80),
        duration: Duration::from_millis(15),
        packets: 5,
    };
    let mut pacer = filled(target(), 6);
    pacer.handle_probe(ms(0), cluster(1));
    pacer.handle_probe(ms(0), cluster(2));
    let mut left = run(&mut pacer, ms(0), Instant::from_nanos(199_999));
    pacer.abort_probes(Instant::from_nanos(200_000));
    left.extend(run(&mut pacer, Instant::from_nanos(200_000), ms(100)));
    let marks: Vec<_> = left
        .iter()
        .map(|(at, paced)| match paced {
            Paced::Packet { probe, .. } => (*at, probe.is_some()),
            Paced::Padding { .. } => panic!("nothing to fill up"),
        })
        .collect();
    let expected = [(0, true), (100, true), (200, false), (1_200, false), (2_200, false), (3_200, false)];
    assert_eq!(marks, expected, "the second one is forgotten too");
    pacer.abort_probes(ms(100));
    assert_eq!(pacer.poll_timeout(NONE), None, "nothing to call off");
    pacer.handle_probe(ms(100), cluster(3));
    pacer.enqueue(ms(101), Video, SIZE, 9).expect("room");
    assert!(matches!(pacer.poll(ms(101), NONE), Some(Paced::Packet { probe: Some(ProbeId(3)), .. })));
}

#[test]
fn a_probe_without_media_starts_alone_where_padding_may_be() {
    let cluster = ProbeCluster {
        id: ProbeId(1),
        rate: Bitrate::mbps(4),
        duration: Duration::from_millis(15),
        packets: 5,
    };
    for (name, padding, expected) in [("may be", 100, Some(ms(110))), ("may not be", 0, None)] {
        let mut pacer: Pacer<()> = Pacer::new(Target { padding: Bitrate::kbps(padding), ..target() });
        run(&mut pacer, ms(0), ms(10));
        pacer.handle_probe(ms(10), cluster);
        let left = run(&mut pacer, ms(10), ms(1_000));
        let marked: Vec<u64> = left
            .iter()
            .filter(|(_, paced)| matches!(paced, Paced::Padding { probe: Some(_), .. }))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(marked.first().copied(), expected.map(Instant::as_micros), "{name}");
        assert!(expected.is_none() || marked.len() >= 5, "{name}: {marked:?}");
    }
}

#[test]
fn padding_is_few_large_packets() {
    for (kbps, packets) in [(20, 2), (200, 20), (1_000, 102)] {
        let mut pacer: Pacer<()> = Pacer::new(Target { padding: Bitrate::kbps(kbps), ..target() });
        let left = run(&mut pacer, ms(0), ms(10_000));
        assert!(
            (left.len() as u64).abs_diff(packets * 10) <= packets + 1,
            "{kbps} kbit/s: {} packets in 10 s",
            left.len()
        );
        let expected = kbps * 10_000 / 8;
        assert!(padding(&left).abs_diff(expected) <= 1_228, "{kbps} kbit/s: {} bytes", padding(&left));
    }
}

#[test]
fn what_was_sent_instead_of_padding_counts_as_what_it_was() {
    let bytes = DataSize::bytes;
    for (name, told, counted) in [
        ("not told", &[][..], 1_228),
        ("as asked", &[1_228], 1_228),
        ("less", &[614], 614),
        ("hardly anything", &[20], 252),
        ("more", &[1_500], 1_500),
        ("several", &[700, 700, 700], 2_100),
        ("nothing: not to be asked for at once", &[0], 1_228),
    ] {
        let mut pacer: Pacer<()> = Pacer::new(Target { padding: Bitrate::mbps(1), ..target() });
        let Some(Paced::Padding { size, .. }) = pacer.poll(ms(0), NONE) else { panic!("{name}: padding") };
        assert_eq!(size, PADDING_SIZE, "{name}");
        for &size in told {
            pacer.note_padding_sent(ms(0), bytes(size));
        }
        assert!(pacer.poll(ms(0), NONE).is_none(), "{name}");
        let wait = bytes(counted) / Bitrate::mbps(1);
        assert_eq!(pacer.poll_timeout(NONE), Some(ms(0) + wait), "{name}");
    }
    let mut pacer: Pacer<()> = Pacer::new(Target { padding: Bitrate::mbps(1), ..target() });
    assert!(pacer.poll(ms(0), NONE).is_some());
    pacer.note_padding_sent(ms(0), DataSize::kilobytes(100_000));
    assert_eq!(pacer.poll_timeout(NONE), Some(ms(500)), "a liar stops itself half a second");
}

#[test]
fn media_that_stops_is_filled_in_for_within_half_a_second() {
    let mut pacer = filled(Target { padding: Bitrate::kbps(100), ..target() }, 1_000);
    let left = run(&mut pacer, ms(0), ms(3_000));
    let first = left.iter().find(|(_, paced)| matches!(paced, Paced::Padding { .. })).expect("padding").0;
    assert_eq!((packets(&left).len(), first), (1_000, 1_499_000), "the last packet left at 999 ms");
}

#[test]
fn the_budget_of_a_picture_is_what_leaves_until_the_next_one() {
    let interval = Duration::from_millis(33); // 33 packets
    let budget = |target: Target, queued: u32, left: u32, in_flight: u64, at: u64| {
        let mut pacer = filled(target, queued);
        for _ in 0..left {
            assert!(pacer.poll(ms(0), NONE).is_some());
        }
        pacer.frame_budget(ms(at), interval, SIZE * in_flight).as_bytes() / 1_000
    };
    let window = |packets: u64| Target { window: Some(SIZE * packets), ..target() };
    let burst = Target { burst: Duration::from_millis(40), ..target() };
    for (name, target, state, expected) in [
        ("nothing waits", target(), (0, 0, 0, 0), 33),
        ("a packet has just left", target(), (1, 1, 0, 0), 32),
        ("some wait", target(), (13, 0, 0, 0), 20),
        ("more wait than leaves", target(), (60, 0, 0, 0), 0),
        ("the burst may leave too", burst, (0, 0, 0, 0), 73),
        ("half of the burst is used", burst, (20, 20, 0, 0), 53),
        ("the window is wide", window(100), (0, 0, 50, 0), 33),
        ("the window is nearly full", window(100), (10, 0, 90, 0), 23),
        ("it is overfull", window(100), (0, 0, 113, 0), 20),
        ("overfull by a picture", window(100), (0, 0, 140, 0), 0),
        ("full, and the queue is fresh", window(100), (10, 0, 100, 33), 23),
        ("full, and the queue stands", window(100), (10, 0, 100, 34), 0),
        ("not full, and the queue stands", window(100), (10, 0, 90, 34), 23),
        ("no rate", Target { pacing: Bitrate::ZERO, ..target() }, (0, 0, 0, 0), 0),
    ] {
        let (queued, left, in_flight, at) = state;
        assert_eq!(budget(target, queued, left, in_flight, at), expected, "{name}");
    }
}

#[test]
fn whoever_keeps_to_the_budget_has_at_most_a_picture_in_the_queue() {
    for (name, overshoot) in [("exactly", 100), ("a tenth more", 110)] {
        let mut pacer = Pacer::new(target());
        let (interval, mut made) = (Duration::from_millis(33), 0);
        for frame in 0..100 {
            let at = ms(33 * frame);
            // The path takes a quarter of what the pacer is told for a second.
            let pacing = if (30..60).contains(&frame) { Bitrate::mbps(2) } else { Bitrate::mbps(8) };
            pacer.set_target(at, Target { pacing, ..target() });
            let size = pacer.frame_budget(at, interval, NONE).as_bytes() * overshoot / 100;
            made += size;
            for _ in 0..size / 1_000 {
                pacer.enqueue(at, Video, SIZE, ()).expect("room");
            }
            run(&mut pacer, at, at + interval - Duration::from_nanos(1));
            let bound = if frame == 30 { Duration::from_millis(132) } else { Duration::from_millis(14) };
            assert!(pacer.queue_time() <= bound, "{name}, {frame}: {:?}", pacer.queue_time());
        }
        let share = made as f64 / (70.0 * 33_000.0 + 30.0 * 8_250.0);
        assert!((0.95..1.05).contains(&share), "{name}: {share} of what may leave is made");
    }
}

/// Something that happens to a pacer.
#[derive(Debug, Clone)]
enum Happening {
    Enqueue(Lane, u64),
    /// Control goes past the queue.
    Pass(u64),
    /// Every third packet gets this priority.
    Prioritize(Priority),
    Target(Target),
    Probe(u64, u64, u32),
    Abort,
    /// Time passes: whether to the pacer's own timer, and so many microseconds on top.
    Wait(bool, u64),
    /// What is in flight lands.
    Land,
}

fn any_target() -> impl Strategy<Value = Target> {
    let rate = || (10_u64..20_000).prop_map(Bitrate::kbps);
    let burst = prop::sample::select(vec![0, 0, 1, 40]).prop_map(Duration::from_millis);
    let window = prop::option::of((0_u64..100_000).prop_map(DataSize::bytes));
    let padding = prop::sample::select(vec![0, 0, 200, 2_000]).prop_map(Bitrate::kbps);
    (rate(), rate(), burst, window, padding).prop_map(|(rate, pacing, burst, window, padding)| Target {
        rate,
        pacing,
        burst,
        window,
        padding,
    })
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let class = prop::sample::select(vec![Control, Audio, Repair, Base, Video, Video, Video, Padding]);
    let lane = (class, prop::sample::select(Priority::ALL.to_vec()));
    let lane = lane.prop_map(|(class, priority)| Lane { class, priority });
    prop_oneof![
        12 => (lane, 0_u64..1_500).prop_map(|(lane, size)| Happening::Enqueue(lane, size)),
        1 => (0_u64..1_500).prop_map(Happening::Pass),
        1 => prop::sample::select(Priority::ALL.to_vec()).prop_map(Happening::Prioritize),
        1 => any_target().prop_map(Happening::Target),
        1 => (0_u64..40_000, 0_u64..200, 0_u32..20).prop_map(|(rate, ms, count)| Happening::Probe(rate, ms, count)),
        1 => Just(Happening::Abort),
        8 => (any::<bool>(), prop::sample::select(vec![0, 10, 900, 20_000, 700_000]))
            .prop_map(|(timer, micros)| Happening::Wait(timer, micros)),
        3 => Just(Happening::Land),
    ]
}

/// What happened to a pacer, and what it did.
struct Trial {
    pacer: Pacer<u64>,
    now: Instant,
    in_flight: DataSize,
    offered: u64,
    taken: u64,
    /// When what left that has to wait for its turn, since the target was set; and what was exempt.
    paced: Vec<(Instant, u64)>,
    kept: Option<Instant>,
}

impl Trial {
    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pass(size) => self.pacer.note_passed(self.now, DataSize::bytes(size)),
            Happening::Prioritize(priority) => {
                self.pacer.prioritize(|number| (number % 3 == 0).then_some(priority));
            }
            Happening::Enqueue(lane, size) => {
                let queued = self.pacer.enqueue(self.now, lane, DataSize::bytes(size), self.offered);
                assert!(queued.is_ok() || self.pacer.len() == PACKETS_MAX, "refused only when full");
                self.offered += u64::from(queued.is_ok());
            }
            Happening::Target(target) => {
                self.pacer.set_target(self.now, target);
                self.paced.clear();
            }
            Happening::Probe(kbps, millis, packets) => {
                let (rate, duration) = (Bitrate::kbps(kbps), Duration::from_millis(millis));
                self.pacer.handle_probe(self.now, ProbeCluster { id: ProbeId(0), rate, duration, packets });
            }
            Happening::Abort => self.pacer.abort_probes(self.now),
            Happening::Wait(timer, micros) => {
                let next = self.pacer.poll_timeout(self.in_flight).filter(|_| timer);
                let next = next.filter(|next| next.since(self.now) < Duration::from_secs(3));
                self.now = next.unwrap_or(self.now) + Duration::from_micros(micros);
            }
            Happening::Land => self.in_flight = NONE,
        }
    }

    /// Lets everything go that may, and checks each.
    fn drain(&mut self) {
        let Target { pacing, burst, window, .. } = self.pacer.target;
        loop {
            let probes = self.pacer.probes.running().is_some();
            let Some(paced) = self.pacer.poll(self.now, self.in_flight) else { break };
            let (class, size, probe) = match paced {
                Paced::Packet { class, size, probe, .. } => {
                    self.taken += 1;
                    (class, size, probe)
                }
                Paced::Padding { size, probe } => (Padding, size, probe),
            };
            let full = window.is_some_and(|window| self.in_flight >= window);
            let at_once = matches!(class, Control | Audio);
            if full && !at_once && probe.is_none() {
                let since = self.kept.map(|last| self.now.since(last));
                assert!(since.is_none_or(|since| since >= KEEP_ALIVE), "a sign of life each half second");
            }
            self.kept = Some(self.now);
            self.in_flight += size;
            if probes || probe.is_some() || at_once {
                self.paced.clear(); // windows of which all is paced count
                continue;
            }
            self.paced.push((self.now, size.as_bytes()));
            let from = self.paced.partition_point(|(at, _)| self.now.since(*at) > Duration::from_millis(100));
            let sent: u64 = self.paced[from..].iter().map(|(_, size)| size).sum();
            let span = self.now.since(self.paced[from].0) + burst + LATE_MAX;
            assert!(sent <= (pacing * span).as_bytes() + 1_500 + 1_228, "{sent} bytes in {span:?}");
        }
    }

    fn check(&self) {
        let Target { pacing, burst, .. } = self.pacer.target;
        let pacer = &self.pacer;
        assert!(pacer.len() <= PACKETS_MAX);
        assert_eq!(self.offered, self.taken + pacer.dropped() + pacer.len() as u64, "no packet vanishes");
        let queued: DataSize = pacer.iter().map(|(size, _)| size).sum();
        assert_eq!(pacer.queued(), queued);
        let fastest = pacer.probes.running().map_or(pacing, |cluster| cluster.rate.max(pacing));
        let most = fastest * burst.max(DEBT_MAX) + DataSize::bytes(1_501);
        assert!(pacer.debt.left(self.now) <= most, "{} owed", pacer.debt.left(self.now));
        let next = pacer.poll_timeout(self.in_flight);
        assert!(next.is_none_or(|next| next > self.now), "no busy wake-ups: {next:?} at {:?}", self.now);
    }
}

/// A packet that comes, and what is so then.
#[derive(Debug, Clone, Copy)]
struct Coming {
    /// After the last one, in microseconds.
    after: u64,
    class: PacketClass,
    bytes: u64,
    in_flight: u64,
    change: Change,
}

/// What happens before it comes.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    Rate(Bitrate),
    Probe,
}

fn cluster(id: u32) -> ProbeCluster {
    let duration = Duration::from_millis(15);
    ProbeCluster { id: ProbeId(id), rate: Bitrate::mbps(10), duration, packets: 5 }
}

fn any_coming() -> impl Strategy<Value = Coming> {
    let change = prop_oneof![
        8 => Just(Change::Nothing),
        1 => (1_u64..12).prop_map(|mbps| Change::Rate(Bitrate::mbps(mbps))),
        1 => Just(Change::Probe),
    ];
    let class = prop::sample::select(vec![Audio, Base, Video, Repair]);
    (0_u64..9_000, class, 60_u64..1_300, 0_u64..12_000, change).prop_map(
        |(after, class, bytes, in_flight, change)| Coming { after, class, bytes, in_flight, change },
    )
}

/// When something leaves, how large, and whether for a probe; after each packet that came how much is owed, and whether the
/// sender is limited by its source. `direct` ones go past the queue where they may.
fn fates(mut target: Target, packets: &[Coming], direct: bool) -> Vec<(u64, u64, bool)> {
    let mut pacer = Pacer::new(target);
    let (mut now, mut left) = (Instant::ZERO, Vec::new());
    let told = |(at, paced): (u64, Paced<u32>)| match paced {
        Paced::Packet { size, probe, .. } | Paced::Padding { size, probe } => {
            (at, size.as_bytes(), probe.is_some())
        }
    };
    for (number, coming) in packets.iter().enumerate() {
        let next = now + Duration::from_micros(coming.after);
        left.extend(run(&mut pacer, now, next).into_iter().map(told));
        now = next;
        match coming.change {
            Change::Nothing => {}
            Change::Rate(pacing) => {
                target = Target { pacing, ..target };
                pacer.set_target(now, target);
            }
            Change::Probe => pacer.handle_probe(now, cluster(number as u32)),
        }
        let (size, in_flight) = (DataSize::bytes(coming.bytes), DataSize::bytes(coming.in_flight));
        if direct && pacer.passes(now, coming.class, in_flight) {
            pacer.pass(now, coming.class, size);
            left.push((now.as_micros(), size.as_bytes(), false));
        } else {
            pacer.enqueue(now, coming.class, size, number as u32).expect("room");
        }
        while let Some(paced) = pacer.poll(now, in_flight) {
            left.push(told((now.as_micros(), paced)));
        }
        left.push((0, pacer.debt.left(now).as_bytes(), pacer.is_app_limited(now)));
    }
    left.extend(run(&mut pacer, now, now + Duration::from_secs(3)).into_iter().map(told));
    left
}

proptest! {
    /// Packets that go past the queue leave when they would have left through it, and leave as much owed behind them.
    #[test]
    fn the_way_past_the_queue_changes_nothing(
        packets in prop::collection::vec(any_coming(), 1..60),
        burst_ms in 0_u64..12,
        window in prop::option::of(2_000_u64..10_000),
        padding_kbps in prop::sample::select(vec![0, 0, 300]),
    ) {
        let window = window.map(DataSize::bytes);
        let padding = Bitrate::kbps(padding_kbps);
        let target = Target { burst: Duration::from_millis(burst_ms), window, padding, ..target() };
        prop_assert_eq!(fates(target, &packets, true), fates(target, &packets, false));
    }

    #[test]
    fn whatever_happens_nothing_vanishes_nothing_piles_up_and_nothing_spins(
        target in any_target(),
        happenings in prop::collection::vec(any_happening(), 1..400),
    ) {
        let mut trial = Trial {
            pacer: Pacer::new(target),
            now: ms(0),
            in_flight: NONE,
            offered: 0,
            taken: 0,
            paced: Vec::new(),
            kept: None,
        };
        for happening in &happenings {
            trial.happen(happening);
            trial.drain();
            trial.check();
        }
    }
}

#[test]
fn the_steady_state_takes_no_memory() {
    let mut pacer = Pacer::new(target());
    let room = |pacer: &Pacer<()>| pacer.lanes.capacity();
    let mut warm = 0;
    for frame in 0..300 {
        for _ in 0..30 {
            pacer.enqueue(ms(33 * frame), Video, SIZE, ()).expect("room");
        }
        run(&mut pacer, ms(33 * frame), ms(33 * frame + 32));
        if frame == 0 {
            warm = room(&pacer);
        }
    }
    assert_eq!((room(&pacer), pacer.len()), (warm, 0));
}

#[test]
fn what_is_not_kept_is_gone_and_counts_no_more() {
    let mut pacer = filled(target(), 6);
    pacer.retain(|_, number| number % 2 == 0);
    assert_eq!((pacer.len(), pacer.queued()), (3, SIZE * 3));
    let mut left = Vec::new();
    while let Some(at) = pacer.poll_timeout(NONE) {
        if let Some(Paced::Packet { packet, .. }) = pacer.poll(at, NONE) {
            left.push(packet);
        }
    }
    assert_eq!(left, [0, 2, 4], "in their order");
}

fn lane(class: PacketClass, priority: Priority) -> Lane {
    Lane { class, priority }
}

#[test]
fn of_pictures_the_higher_priority_leaves_first_and_none_waits_for_ever() {
    use Priority::{High, Low, Normal};
    // A packet takes a millisecond, and two high ones come in each.
    let mut pacer = Pacer::new(target());
    for (priority, name) in [(Low, "low"), (Normal, "normal"), (Normal, "normal too")] {
        pacer.enqueue(ms(0), lane(Base, priority), SIZE, name).expect("room");
    }
    pacer.enqueue(ms(0), lane(Video, High), SIZE, "enhancement").expect("room");
    let mut left = Vec::new();
    for at in 0..100 {
        for _ in 0..2 {
            pacer.enqueue(ms(at), lane(Base, High), SIZE, "high").expect("room");
        }
        left.extend(packets(&run(&mut pacer, ms(at), ms(at))));
    }
    let when = |name: &str| left.iter().find(|(_, one)| *one == name).map(|(at, _)| at / 1_000);
    for (name, expected) in
        [("high", Some(0)), ("normal", Some(7)), ("normal too", Some(15)), ("low", Some(23))]
    {
        assert_eq!(when(name), expected, "{name}: every eighth");
    }
    assert_eq!(when("enhancement"), None, "classes are strict, however high the priority");
}

#[test]
fn control_leaves_before_sound_and_whoever_waits_pays_for_it() {
    let mut pacer = filled(Target { window: Some(NONE), ..target() }, 1);
    pacer.enqueue(ms(0), Audio, SIZE, 20).expect("room");
    pacer.enqueue(ms(0), Control, SIZE, 10).expect("room");
    assert_eq!(packets(&run(&mut pacer, ms(0), ms(0))), [(0, 10), (0, 20)], "though the window is full");
    // What went past the queue is paid for as well, up to half a second of it.
    for (passed, next) in [(0, 0), (3, 3_000), (5_000, 500_000)] {
        let mut pacer = filled(target(), 1);
        (0..passed).for_each(|_| pacer.note_passed(ms(0), SIZE));
        assert_eq!(packets(&run(&mut pacer, ms(0), ms(2_000))), [(next, 0)], "{passed} passed");
    }
}

#[test]
fn what_a_lane_has_ahead_is_what_leaves_before() {
    use Priority::{High, Low, Normal};
    let mut pacer = Pacer::new(target());
    for (at, (class, priority)) in
        [(Audio, Normal), (Base, High), (Base, Low), (Video, High), (Video, Normal)].into_iter().enumerate()
    {
        pacer.enqueue(ms(at as u64), lane(class, priority), SIZE, at).expect("room");
    }
    let ahead = |pacer: &Pacer<usize>, class, priority| pacer.ahead(lane(class, priority)).as_bytes() / 1_000;
    for (class, priority, packets) in
        [(Control, Normal, 0), (Audio, Normal, 1), (Base, High, 2), (Base, Normal, 2), (Video, Normal, 5)]
    {
        assert_eq!(ahead(&pacer, class, priority), packets, "{class:?} {priority:?}");
    }
    assert_eq!(pacer.waited(ms(10), lane(Base, Low)), Duration::from_millis(8));
    assert_eq!(pacer.waited(ms(10), lane(Base, Normal)), Duration::ZERO, "nothing waits there");
    pacer.prioritize(|number| (*number == 2).then_some(High));
    assert_eq!((ahead(&pacer, Base, High), ahead(&pacer, Base, Low)), (3, 3), "it has moved");
    pacer.resize(|number| (*number == 1).then_some(NONE));
    assert_eq!((ahead(&pacer, Base, High), pacer.len(), pacer.queued()), (2, 5, SIZE * 4));
    let left: Vec<usize> =
        packets(&run(&mut pacer, ms(10), ms(30))).into_iter().map(|(_, one)| one).collect();
    assert_eq!(left, [0, 1, 2, 3, 4]);
}

#[test]
fn a_wait_is_what_the_rate_makes_it_or_what_it_has_been() {
    use Priority::{High, Low};
    let low = lane(Video, Low);
    // Two hundred packets that take a millisecond each; of two that leave one may be another's, of higher priority.
    for (passed, expected) in [(false, 160), (true, 240)] {
        let mut pacer = Pacer::new(target());
        for number in 0..200 {
            pacer.enqueue(ms(0), low, SIZE, number).expect("room");
        }
        assert_eq!(pacer.wait(ms(0), low), Duration::from_millis(200), "at the rate");
        for at in 0..160 {
            if passed && at % 2 == 0 {
                pacer.enqueue(ms(at), lane(Video, High), SIZE, 1_000).expect("room");
            }
            run(&mut pacer, ms(at), ms(at));
        }
        // The first has waited 160 ms, for 160 before it or for 80; 40 wait now, or 120.
        let wait = pacer.wait(ms(160), low).as_millis();
        assert_eq!(wait, expected, "passed: {passed}");
    }
    let mut pacer = Pacer::new(Target { window: Some(NONE), ..target() });
    pacer.enqueue(ms(0), low, SIZE, 0).expect("room");
    pacer.enqueue(ms(0), low, SIZE, 1).expect("room");
    run(&mut pacer, ms(0), ms(0));
    assert_eq!(pacer.wait(ms(70), low), Duration::from_millis(70), "the path stands still");
    assert_eq!(pacer.wait(ms(70), lane(Base, Low)), Duration::ZERO, "nothing is ahead of that lane");
}
