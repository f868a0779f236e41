//! The tables against what is known of good masks, and against interleaving.

use proto::seed::Seed;

use super::evaluate::{Outcome, binomial, interleaved};
use super::*;

fn mask(loss: Loss, sources: usize, rows: usize) -> Vec<Column> {
    Mask::of(loss, sources, rows).expect("a block of that size").columns().collect()
}

fn failure(columns: &[Column], rows: usize, lost: f64) -> f64 {
    Outcome::of(columns, rows, &Seed::from_number(0)).failure(lost)
}

#[test]
fn every_packet_is_protected_by_rows_that_exist() {
    for loss in Loss::ALL {
        for rows in 1..=ROWS_MAX {
            for sources in 1..=SOURCES_MAX {
                let columns = mask(loss, sources, rows);
                assert_eq!(columns.len(), sources);
                let good = |column: &Column| column.0 != 0 && u32::from(column.0) >> rows == 0;
                assert!(columns.iter().all(good), "{loss:?}, {sources} packets, {rows} rows");
            }
        }
    }
    assert_eq!(Mask::of(Loss::Bursts, 49, 1), None);
    assert_eq!(Mask::of(Loss::Bursts, 0, 1), None);
    assert_eq!(Mask::of(Loss::Bursts, 4, 13), None);
    assert_eq!(Mask::of(Loss::Bursts, 4, 0), None);
    assert_eq!(Mask::of(Loss::Bursts, 4, 2).map(|mask| mask.column(4)), Some(Column(0)), "beyond the block");
}

#[test]
fn no_two_packets_have_the_same_rows_where_there_are_enough_sets() {
    for rows in 3..=ROWS_MAX {
        // All sets of one to three rows; a block that needs wider ones is better off with twins.
        let sets = rows + rows * (rows - 1) / 2 + rows * (rows - 1) * (rows - 2) / 6;
        for sources in 1..=SOURCES_MAX.min(sets / 2) {
            let mut columns = mask(Loss::Independent, sources, rows);
            columns.sort_by_key(|column| column.0);
            columns.dedup();
            assert_eq!(columns.len(), sources, "{sources} packets, {rows} rows");
        }
    }
}

#[test]
fn no_mask_is_worse_than_interleaving() {
    for rows in 1..=ROWS_MAX {
        for sources in 1..=SOURCES_MAX {
            let few = |columns: &[Column]| Outcome::up_to(12, columns, rows, &Seed::from_number(0));
            let (ours, plain) =
                (few(&mask(Loss::Independent, sources, rows)), few(&interleaved(sources, rows)));
            for lost in [0.01, 0.02, 0.05] {
                let (ours, plain) = (ours.failure(lost), plain.failure(lost));
                assert!(
                    ours <= plain * (1.0 + 1e-9),
                    "{sources} packets, {rows} rows, {lost}: {ours} {plain}"
                );
            }
        }
    }
}

#[test]
fn what_is_left_is_as_little_as_is_known_to_be_possible() {
    for (sources, rows, lost, known, interleaving) in [
        (4, 2, 0.02, 1.4e-3, 2.3e-3),
        (8, 3, 0.02, 1.9e-3, 5.8e-3),
        (12, 4, 0.02, 9.6e-4, 9.3e-3),
        (12, 6, 0.02, 1.5e-4, 6.8e-3),
        (12, 6, 0.05, 2.4e-3, 4.3e-2),
        (24, 8, 0.02, 3.4e-4, 1.9e-2),
        (24, 8, 0.05, 5.2e-3, 1.1e-1),
        (48, 8, 0.02, 3.4e-3, 6.1e-2),
        (48, 12, 0.05, 7.8e-3, 2.4e-1),
    ] {
        let ours = failure(&mask(Loss::Independent, sources, rows), rows, lost);
        assert!(ours <= known * 1.2, "{sources} packets, {rows} rows, {lost}: {ours}, not {known}");
        let plain = failure(&interleaved(sources, rows), rows, lost);
        assert!((plain / interleaving - 1.0).abs() < 0.1, "{sources}, {rows}, {lost}: {plain}");
    }
}

#[test]
fn the_measured_quality_is_what_a_new_measurement_finds() {
    for (sources, rows, lost) in [(4, 2, 0.02), (12, 4, 0.05), (24, 8, 0.1), (48, 12, 0.05), (48, 3, 0.01)] {
        let known = quality(Loss::Independent, sources, rows, lost).expect("a block of that size");
        let columns = mask(Loss::Independent, sources, rows);
        let found = Outcome::of(&columns, rows, &Seed::from_number(99)).at(lost);
        assert!((known.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        for (missing, (known, found)) in known.iter().zip(found).enumerate() {
            let close = (known - found).abs() <= 0.15 * found.max(1e-4);
            assert!(close, "{sources} packets, {rows} rows, {lost}, {missing} missing: {known}, not {found}");
        }
    }
}

#[test]
fn without_repair_packets_what_is_lost_is_missing() {
    for lost in [0.01, 0.1] {
        let known = quality(Loss::Independent, 12, 0, lost).expect("a block of that size");
        for (missing, known) in known.iter().enumerate().take(MISSING_MAX) {
            let exact = binomial(12, missing, lost);
            assert!((known - exact).abs() <= 0.1 * exact + 1e-9, "{missing} of {lost}: {known}, not {exact}");
        }
    }
}

#[test]
fn bursts_leave_more_than_losses_one_by_one_and_repair_helps_with_both() {
    let missing = |loss, rows| 1.0 - quality(loss, 12, rows, 0.05).expect("a block of that size")[0];
    assert!(missing(Loss::Bursts, 4) > 2.0 * missing(Loss::Independent, 4));
    for loss in Loss::ALL {
        assert!(missing(loss, 4) < missing(loss, 1) && missing(loss, 1) < missing(loss, 0), "{loss:?}");
    }
    let at_5 = missing(Loss::Bursts, 4);
    assert!((0.045..0.066).contains(&at_5), "{at_5}: other people's masks leave 5.7 to 6.5 %");
}

#[test]
fn quality_is_drawn_between_the_steps_and_held_beyond_them() {
    let one = |lost| quality(Loss::Independent, 12, 4, lost).expect("a block of that size")[1];
    assert!((one(0.035) - f64::midpoint(one(0.03), one(0.04))).abs() < 1e-12);
    assert!((one(0.0) - one(0.002_5)).abs() < 1e-12);
    assert!((one(0.9) - one(0.3)).abs() < 1e-12);
    assert_eq!(quality(Loss::Independent, 49, 4, 0.1), None);
    assert_eq!(quality(Loss::Independent, 4, 13, 0.1), None);
}

#[test]
fn codes_are_good_to_one_part_in_twenty() {
    for (probability, code) in [(1.0, 0), (0.5, 8), (0.25, 16), (1e-12, 255), (0.0, 255)] {
        assert_eq!(encode(probability), code, "{probability}");
    }
    for step in 0..1000 {
        let probability = 0.98_f64.powi(step);
        let decoded = decode(encode(probability));
        assert!((decoded / probability - 1.0).abs() < 0.05, "{probability}: {decoded}");
    }
}
