use std::time::Duration;

use fec::plan::Promptness;

use super::*;
use crate::recovery::{Burst, Cell, Experience, Optimum, Tally};
use crate::sweep::Seeds;

/// Packets and blocks that take a few seconds.
const BLOCKS: u64 = 6_000;

fn row(policy: Policy, cell: &Cell) -> Row {
    let mut experience = Experience::default();
    let tally = Tally::play(policy, cell, BLOCKS, 7, &mut experience);
    Row::new(cell, policy, Seeds::one(7), Optimum::of(cell, &mut experience), &tally)
}

fn cell((round_trip, deadline): (u64, u64), loss: f64, burst: Burst, media: usize) -> Cell {
    let ms = Duration::from_millis;
    let promptness = Promptness::ByDeadline;
    Cell { round_trip: ms(round_trip), deadline: ms(deadline), loss, burst, media, eps: 1e-3, promptness }
}

fn missed(verdicts: &[Verdict]) -> Vec<String> {
    lines(verdicts).into_iter().filter(|line| line.starts_with("  missed")).collect()
}

/// A part of the grid with every number of rounds, kind of loss and size in it.
fn grid() -> Vec<Cell> {
    let mut cells = Vec::new();
    for at in [(30, 100), (60, 150), (100, 150)] {
        for (loss, burst) in [
            (0.0, Burst::Independent),
            (0.02, Burst::Independent),
            (0.1, Burst::Independent),
            (0.1, Burst::Packets(3)),
        ] {
            cells.extend([4, 12, 32].map(|media| cell(at, loss, burst, media)));
        }
    }
    cells
}

#[test]
fn the_plan_reaches_its_goals_on_a_part_of_the_grid() {
    let mut rows = Vec::new();
    for cell in grid() {
        rows.extend([Policy::LianmaiNative, Policy::Hairpin].map(|policy| row(policy, &cell)));
    }
    for loss in [0.01, 0.02, 0.05, 0.1] {
        rows.push(row(Policy::LianmaiBrowser, &cell((60, 150), loss, Burst::Independent, 12)));
    }
    for loss in [0.01, 0.05] {
        let prompt =
            Cell { promptness: Promptness::OneRepair, ..cell((30, 100), loss, Burst::Independent, 12) };
        rows.push(row(Policy::LianmaiNative, &prompt));
    }
    let verdicts = judge(&rows);
    assert_eq!(missed(&verdicts), Vec::<String>::new());
    for goal in [
        "T1 optimum",
        "T1 residual",
        "T2 browser",
        "T3 never more",
        "T3 hairpin",
        "T4 in time",
        "T5 paid twice",
    ] {
        assert!(verdicts.iter().any(|verdict| verdict.goal == goal), "{goal} was not asked");
    }
}

#[test]
fn without_loss_nothing_is_sent_beyond_the_media() {
    for policy in [Policy::LianmaiNative, Policy::LianmaiBrowser, Policy::Libwebrtc, Policy::Opt] {
        let row = row(policy, &cell((60, 150), 0.0, Burst::Independent, 12));
        assert_eq!((row.redundancy.to_bits(), row.residual.to_bits(), row.p99_ms), (0, 0, None), "{policy}");
    }
}

#[test]
fn rivals_miss_what_the_plan_reaches() {
    let at = cell((60, 150), 0.05, Burst::Independent, 12);
    let [ours, nack, fixed, webrtc] =
        [Policy::LianmaiBrowser, Policy::Nack, Policy::Fixed(25), Policy::Libwebrtc]
            .map(|policy| row(policy, &at));
    assert!(nack.residual > 10.0 * at.eps, "{nack:?}");
    assert!(fixed.redundancy > 1.5 * ours.redundancy && webrtc.redundancy > 2.0 * ours.redundancy);
    assert!(webrtc.paid_twice > Some(0.8) && ours.paid_twice < Some(0.05), "{webrtc:?}");
}

#[test]
fn the_same_seed_gives_the_same_row_and_another_does_not() {
    let at = cell((60, 150), 0.05, Burst::Packets(8), 12);
    for policy in Policy::ALL {
        let play = |seed| Tally::play(policy, &at, 300, seed, &mut Experience::default());
        assert_eq!(play(1), play(1), "{policy}");
        assert_ne!(play(1), play(2), "{policy}");
    }
}

#[test]
fn what_is_not_reached_is_told() {
    let good = row(Policy::LianmaiNative, &cell((60, 150), 0.1, Burst::Independent, 12));
    let verdicts = |row: Row| missed(&judge(&[row])).len();
    assert_eq!(verdicts(good.clone()), 0);
    assert_eq!(verdicts(Row { redundancy: good.opt_redundancy * 1.2, ..good.clone() }), 1);
    assert_eq!(verdicts(Row { residual: 0.01, ..good.clone() }), 1);
    let slow = Row { loss: 0.05, late: Some(0.05), ..good.clone() };
    assert_eq!(verdicts(slow), 1);
    let hairpin = Row { policy: "hairpin", redundancy: good.redundancy * 1.1, ..good.clone() };
    assert_eq!(missed(&judge(&[good, hairpin])).len(), 1, "less than 15 % saved");
}
