use super::*;

const H: u64 = 1280 * 720;
const M: u64 = 640 * 360;
const L: u64 = 320 * 180;

const fn kbps(rate: u64) -> Bitrate {
    Bitrate::kbps(rate)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Three layers that take so much, the smallest first.
fn layers(rates: [u64; 3]) -> Vec<Layer> {
    let layer = |(rid, rate, area): (&str, u64, u64)| Layer {
        rid: Some(rid.into()),
        rate: Some(kbps(rate)),
        stated: None,
        area,
    };
    [("l", rates[0], L), ("m", rates[1], M), ("h", rates[2], H)].map(layer).to_vec()
}

/// Who wants the layer `best`, has `held`, and may take so much.
fn viewer(best: usize, held: usize, room: u64) -> Viewer {
    Viewer { best, held: Some(held), keep: kbps(room), more: kbps(room) }
}

/// The caps in kbit/s, the smallest layer's first; 0 for none.
fn caps(demands: &Demands) -> [u64; 3] {
    ["l", "m", "h"].map(|rid| demands.cap(Some(&rid.into())).map_or(0, |cap| cap.as_bps() / 1_000))
}

#[test]
fn a_layer_is_capped_to_what_its_best_viewer_can_take() {
    for (claim, viewers, expected) in [
        ("nobody watches", &[][..], [0, 0, 0]),
        ("the path carries all", &[viewer(2, 2, 4_000)], [0, 0, 0]),
        ("just all", &[viewer(2, 2, 2_500)], [0, 0, 0]),
        ("not quite", &[viewer(2, 1, 1_800)], [0, 0, 1_800]),
        ("hardly the larger picture", &[viewer(2, 1, 710)], [0, 0, 710]),
        ("not even at its floor, and the next one whole", &[viewer(2, 1, 690)], [0, 0, 0]),
        ("not the next one whole either", &[viewer(2, 1, 400)], [0, 400, 0]),
        ("the smallest is better bad than not there", &[viewer(2, 0, 60)], [60, 0, 0]),
        ("but not for ever worse", &[viewer(2, 0, 40)], [0, 0, 0]),
        ("the best of two counts", &[viewer(2, 1, 1_200), viewer(2, 1, 1_900)], [0, 0, 1_900]),
        ("and whoever is near it", &[viewer(2, 1, 1_700), viewer(2, 1, 1_900)], [0, 0, 1_700]),
        ("one can take it whole", &[viewer(2, 1, 1_200), viewer(2, 2, 2_600)], [0, 0, 0]),
        ("those of different layers do not meet", &[viewer(2, 2, 900), viewer(1, 1, 300)], [0, 300, 900]),
        (
            "who wants less does not raise what others have",
            &[viewer(2, 2, 900), viewer(1, 1, 9_000)],
            [0, 0, 900],
        ),
    ] {
        let mut demands = Demands::default();
        let changed = demands.plan(at(1_000), &layers([150, 500, 2_500]), viewers);
        assert_eq!((caps(&demands), changed), (expected, expected != [0; 3]), "{claim}");
    }
}

#[test]
fn what_a_viewer_has_counts_otherwise_than_what_it_may_have() {
    for (claim, held, expected) in [("it has the layer", 2, 1_700), ("it may have it", 1, 1_400)] {
        let mut demands = Demands::default();
        let viewer = Viewer { best: 2, held: Some(held), keep: kbps(1_700), more: kbps(1_400) };
        demands.plan(at(0), &layers([150, 500, 2_500]), &[viewer]);
        assert_eq!(caps(&demands)[2], expected, "{claim}");
    }
}

/// Plays what one viewer may take, by time; tells when the cap of the largest layer changed and to what.
fn play(room: impl Fn(u64) -> u64, end: u64) -> Vec<(u64, u64)> {
    let mut demands = Demands::default();
    let mut changes = Vec::new();
    for millis in (0..end).step_by(250) {
        let rate = demands.cap(Some(&"h".into())).map_or(2_500, |cap| cap.as_bps() / 1_000);
        let before = caps(&demands)[2];
        demands.plan(at(millis), &layers([150, 500, rate]), &[viewer(2, 2, room(millis))]);
        if caps(&demands)[2] != before {
            changes.push((millis, caps(&demands)[2]));
        }
    }
    changes
}

/// A claim, what may be taken by time, and the caps that follow with their times.
type Row = (&'static str, fn(u64) -> u64, &'static [(u64, u64)]);

#[test]
fn a_cap_falls_soon_and_rises_late() {
    let rows: [Row; 9] = [
        (
            "what wavers by little changes nothing",
            |at| if at.is_multiple_of(500) { 1_500 } else { 1_420 },
            &[(0, 1_500)],
        ),
        (
            "a fall is followed at once",
            |at| if at < 5_000 { 1_500 } else { 1_000 },
            &[(0, 1_500), (5_000, 1_000)],
        ),
        (
            "but twice a second at most",
            |at| 2_000_u64.saturating_sub(at / 5),
            &[
                (0, 2_000),
                (750, 1_850),
                (1_500, 1_700),
                (2_250, 1_550),
                (3_000, 1_400),
                (3_500, 1_300),
                (4_000, 1_200),
                (4_500, 1_100),
                (5_000, 1_000),
                (5_500, 900),
                (6_000, 800),
            ],
        ),
        (
            "a rise after two seconds",
            |at| if at < 5_000 { 1_000 } else { 1_400 },
            &[(0, 1_000), (7_000, 1_400)],
        ),
        (
            "by half at most",
            |at| if at < 5_000 { 1_000 } else { 2_400 },
            &[(0, 1_000), (7_000, 1_500), (9_250, 2_250), (11_500, 2_400)],
        ),
        (
            "until there is no cap",
            |at| if at < 5_000 { 1_000 } else { 3_000 },
            &[(0, 1_000), (7_000, 1_500), (9_250, 2_250), (11_500, 0)],
        ),
        (
            "to the least of those seconds",
            |at| {
                if at < 5_000 {
                    1_000
                } else if at % 1_000 == 0 {
                    1_300
                } else {
                    1_450
                }
            },
            &[(0, 1_000), (7_000, 1_300)],
        ),
        (
            "a moment of plenty is none",
            |at| if (5_000..6_500).contains(&at) { 3_000 } else { 1_000 },
            &[(0, 1_000)],
        ),
        (
            "nor is one of want, below what the layer needs",
            |at| if (5_000..6_500).contains(&at) { 500 } else { 1_000 },
            &[(0, 1_000)],
        ),
    ];
    for (claim, room, changes) in rows {
        assert_eq!(play(room, 15_000), changes, "{claim}");
    }
}

#[test]
fn a_layer_that_nobody_needs_capped_goes_back_to_its_full_rate() {
    let mut demands = Demands::default();
    demands.plan(at(0), &layers([150, 500, 2_500]), &[viewer(2, 1, 400)]);
    assert_eq!(caps(&demands), [0, 400, 0]);
    for millis in (250..5_000).step_by(250) {
        demands.plan(at(millis), &layers([150, 400, 2_500]), &[viewer(2, 2, 900)]);
    }
    assert_eq!(caps(&demands), [0, 0, 900], "its viewer has gone to a larger one");
    for millis in (5_000..15_000).step_by(250) {
        demands.plan(at(millis), &layers([150, 500, 900]), &[]);
    }
    assert_eq!(caps(&demands), [0, 0, 0], "nobody watches");
}

#[test]
fn what_a_publisher_says_of_itself_counts_more_than_what_was_measured() {
    let stated = |rate| {
        let mut layers = layers([150, 500, 900]); // the largest only begins
        layers[2].stated = Some(kbps(rate));
        layers
    };
    for (claim, layers, expected) in [
        ("it will grow beyond what can be taken", stated(2_500), 1_400),
        ("it will not", stated(1_300), 0),
        ("it says nothing", layers([150, 500, 900]), 0),
    ] {
        let mut demands = Demands::default();
        demands.plan(at(0), &layers, &[viewer(2, 2, 1_400)]);
        assert_eq!(caps(&demands)[2], expected, "{claim}");
    }
}

#[test]
fn a_new_cap_is_believed_until_it_can_be_measured() {
    let h = Some(Rid::from("h"));
    let mut demands = Demands::default();
    demands.plan(at(0), &layers([150, 500, 2_500]), &[viewer(2, 2, 1_400)]);
    let expected = |millis, measured| demands.expected(at(millis), h.as_ref(), kbps(measured));
    for (claim, millis, measured, takes) in [
        ("a meter still has the old rate", 500, 2_400, 1_400),
        ("or shows what just begins", 500, 1_100, 1_400),
        ("later it is right", 9_000, 1_500, 1_500),
    ] {
        assert_eq!(expected(millis, measured), kbps(takes), "{claim}");
    }
    assert_eq!(demands.held_back(h.as_ref(), kbps(1_350)), kbps(1_150));
    assert_eq!(demands.held_back(h.as_ref(), kbps(700)), Bitrate::ZERO, "a still picture needs no more");
    assert_eq!(demands.held_back(Some(&"m".into()), kbps(500)), Bitrate::ZERO, "it is not capped");
}

#[test]
fn the_next_step_is_a_larger_layer_at_its_floor_or_more_of_a_capped_one() {
    let range = |rate, floor, full| Range { rate: kbps(rate), floor: kbps(floor), full: kbps(full) };
    let (m, h) = (range(500, 250, 500), range(2_500, 700, 2_500));
    let capped = range(1_000, 700, 2_500);
    for (claim, held, layers, room, step) in [
        ("it has the best", Some(1), vec![m, h], 0, None),
        ("nothing there", None, vec![], 0, None),
        ("the larger one at its floor", Some(0), vec![m, h], 0, Some(200)),
        ("which is allowed: twice that", Some(0), vec![m, h], 500, Some(1_500)),
        ("but no more than there is", Some(0), vec![m, h], 4_000, Some(2_000)),
        ("more of what is capped", Some(1), vec![m, capped], 0, Some(1_000)),
        ("a picture that has to go without", None, vec![m, h], 0, Some(250)),
    ] {
        let pictures = [Stretch { held, layers }];
        assert_eq!(next_step(&pictures, kbps(room)), step.map(kbps), "{claim}");
    }
    let cheap = Stretch { held: None, layers: vec![range(150, 30, 150)] };
    let pictures = [Stretch { held: Some(0), layers: vec![m, h] }, cheap];
    assert_eq!(next_step(&pictures, Bitrate::ZERO), Some(kbps(30)), "the cheapest of all");
}

proptest::proptest! {
    #[test]
    fn whatever_viewers_can_take_caps_keep_their_distance(
        rooms in proptest::collection::vec(0_u64..4_000, 1..200),
        held in 0_usize..3,
    ) {
        let mut demands = Demands::default();
        let mut last: Option<(u64, u64)> = None;
        for (tick, room) in rooms.into_iter().enumerate() {
            let millis = tick as u64 * 250;
            let before = caps(&demands)[2];
            demands.plan(at(millis), &layers([150, 500, 2_500]), &[viewer(2, held, room)]);
            let cap = caps(&demands)[2];
            if cap == before {
                continue;
            }
            let (full, since) = (2_500, last.map_or(u64::MAX, |(at, _)| millis - at));
            let of = |cap: u64| if cap == 0 { full } else { cap };
            proptest::prop_assert!(cap == 0 || cap >= 707, "{cap} is below the floor");
            if of(cap) < of(before) {
                proptest::prop_assert!(since >= 500 && (before == 0 || cap * 100 <= before * 94));
            } else {
                proptest::prop_assert!(since >= 2_000 && of(cap) <= of(before) * 3 / 2 + 1);
            }
            last = Some((millis, cap));
        }
    }
}
