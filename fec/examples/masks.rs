//! Finds the masks of `fec::scheme::masks` and measures them: `cargo run --release --example masks [SEED]`.
//!
//! In: a seed. Out: `fec/src/scheme/masks/table.bin` and `quality.bin`. The same seed gives the same files.
//!
//! Climbing: one column is drawn anew, or one of its rows is changed, and the new mask stays if it leaves less missing.
//! It starts once from the interleaved mask and again from random ones; what is no better than the interleaved mask at
//! any of the losses looked at is dropped for it.

use std::path::Path;

use fec::scheme::flexfec::{Column, ROWS_MAX};
use fec::scheme::masks::evaluate::{Outcome, Pattern, binomial, draw, interleaved, missing};
use fec::scheme::masks::{LOSS_STEPS, Loss, MISSING_MAX, SOURCES_MAX, encode};
use proto::seed::{Chance, Seed};

/// Shares of packets lost that a mask is made for.
const LOSSES: [f64; 3] = [0.01, 0.02, 0.05];

/// Changes tried from each start.
const STEPS: usize = 700;

/// Starts: the interleaved mask, then random ones.
const STARTS: usize = 3;

/// Patterns drawn for each number of losses that is not tried in full, and for each share of bursts.
const SAMPLES: usize = 1500;

/// The mean length of a burst in packets, where losses come in bursts.
const BURST: f64 = 3.0;

/// Patterns drawn to measure what is missing after bursts.
const BURST_SAMPLES: u32 = 20_000;

fn main() -> std::io::Result<()> {
    let number = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let seed = Seed::from_number(number).fork("masks");
    let found: Vec<_> = std::thread::scope(|scope| {
        let kinds = Loss::ALL.map(|loss| {
            scope.spawn({
                let seed = &seed;
                move || find(loss, seed)
            })
        });
        kinds.into_iter().map(|kind| kind.join().expect("a search does not panic")).collect()
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scheme/masks");
    let (tables, qualities): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    std::fs::write(folder.join("table.bin"), tables.concat())?;
    std::fs::write(folder.join("quality.bin"), qualities.concat())
}

/// Both tables for one kind of loss.
fn find(loss: Loss, seed: &Seed) -> (Vec<u8>, Vec<u8>) {
    let (mut table, mut quality) = (Vec::new(), Vec::new());
    for sources in 1..=SOURCES_MAX {
        quality.extend(measure(loss, &vec![Column(0); sources], 0, seed));
    }
    for rows in 1..=ROWS_MAX {
        for sources in 1..=SOURCES_MAX {
            let seed = seed.fork(&format!("{loss:?} {sources} {rows}"));
            let columns = best(loss, sources, rows, &seed);
            table.extend(columns.iter().flat_map(|column| column.0.to_le_bytes()));
            quality.extend(measure(loss, &columns, rows, &seed));
        }
        eprintln!("{loss:?}, {rows} rows: done");
    }
    (table, quality)
}

/// The best mask that climbing finds, and never a worse one than interleaving.
fn best(loss: Loss, sources: usize, rows: usize, seed: &Seed) -> Vec<Column> {
    let mut chance = seed.fork("climb").generator();
    let plain = interleaved(sources, rows);
    let trial = Trial::new(loss, &plain, rows, &mut chance);
    let mut ranked = vec![];
    for start in 0..STARTS {
        let from = if start == 0 { plain.clone() } else { random(sources, rows, &mut chance) };
        ranked.push(climb(&trial, from, rows, &mut chance));
    }
    ranked.sort_by(|one, other| one.1.total_cmp(&other.1));
    let referee = Seed::from_number(0);
    let limit = Outcome::of(&plain, rows, &referee);
    let holds = |columns: &Vec<Column>| {
        let outcome = Outcome::of(columns, rows, &referee);
        loss == Loss::Bursts || LOSSES.iter().all(|&lost| outcome.failure(lost) <= limit.failure(lost))
    };
    ranked.into_iter().map(|(columns, _)| columns).find(holds).unwrap_or(plain)
}

/// Columns of two or three rows each.
fn random(sources: usize, rows: usize, chance: &mut Chance) -> Vec<Column> {
    (0..sources).map(|_| column(rows, chance)).collect()
}

fn column(rows: usize, chance: &mut Chance) -> Column {
    let weight = (2 + chance.number() as usize % 3).min(rows);
    Column(draw(chance, rows, weight) as u16)
}

fn climb(trial: &Trial, mut columns: Vec<Column>, rows: usize, chance: &mut Chance) -> (Vec<Column>, f64) {
    let mut cost = trial.cost(&columns, f64::MAX);
    for _ in 0..STEPS {
        let place = chance.number() as usize % columns.len();
        let before = columns[place];
        columns[place] = match chance.number() % 3 {
            0 => column(rows, chance),
            1 => Column(before.0 ^ 1 << (chance.number() as usize % rows)),
            _ => {
                let other = chance.number() as usize % columns.len();
                Column(columns[other].0 ^ 1 << (chance.number() as usize % rows))
            }
        };
        let tried = if columns[place].0 == 0 { f64::MAX } else { trial.cost(&columns, cost) };
        if tried < cost {
            cost = tried;
        } else {
            columns[place] = before;
        }
    }
    (columns, cost)
}

/// The patterns that a mask is tried on, each with its weight.
struct Trial {
    groups: Vec<(f64, Vec<Pattern>)>, // the weight is that of each pattern
}

impl Trial {
    /// Weights are such that the mask `plain` costs 1 for each share of losses.
    fn new(loss: Loss, plain: &[Column], rows: usize, chance: &mut Chance) -> Self {
        let sources = plain.len();
        let packets = sources + rows;
        let pattern = |lost| Pattern::of(lost, sources, rows);
        if loss == Loss::Bursts {
            let groups = [0.02, 0.05].map(|lost| {
                let patterns: Vec<_> =
                    (0..2 * SAMPLES).map(|_| pattern(burst(chance, packets, lost))).collect();
                (1.0 / patterns.len() as f64, patterns)
            });
            return Self { groups: groups.to_vec() };
        }
        let limit = Outcome::of(plain, rows, &Seed::from_number(0));
        let groups = (2..=packets.min(11)).map(|losses| {
            let patterns: Vec<_> = if losses <= 3 {
                every(packets, losses)
            } else {
                (0..SAMPLES).map(|_| draw(chance, packets, losses)).collect()
            };
            let share = |&lost: &f64| binomial(packets, losses, lost) / limit.failure(lost);
            let weight = LOSSES.iter().map(share).sum::<f64>() / patterns.len() as f64;
            (weight, patterns.into_iter().map(pattern).collect())
        });
        Self { groups: groups.collect() }
    }

    /// The weight of the patterns that the mask cannot repair; gives up where it exceeds `limit`.
    fn cost(&self, columns: &[Column], limit: f64) -> f64 {
        let mut cost = 0.0;
        for (weight, patterns) in &self.groups {
            let failed =
                patterns.iter().filter(|pattern| missing(columns, pattern.lost, pattern.arrived) != 0);
            cost += weight * failed.count() as f64;
            if cost > limit {
                break;
            }
        }
        cost
    }
}

/// Every way to lose two or three packets.
fn every(packets: usize, losses: usize) -> Vec<u128> {
    let pairs = (0..packets).flat_map(|one| (0..one).map(move |other| (1_u128 << one) | (1 << other)));
    if losses == 2 {
        return pairs.collect();
    }
    pairs.flat_map(|pair| (0..pair.trailing_zeros()).map(move |third| pair | (1 << third))).collect()
}

/// A pattern with at least one loss, of a chain with two states and this share of losses (Gilbert 1960).
fn burst(chance: &mut Chance, packets: usize, lost: f64) -> u128 {
    let leave = 1.0 / BURST;
    let enter = lost * leave / (1.0 - lost);
    loop {
        let mut pattern = 0_u128;
        let mut bad = hit(chance, lost);
        for packet in 0..packets {
            pattern |= u128::from(bad) << packet;
            bad = if bad { !hit(chance, leave) } else { hit(chance, enter) };
        }
        if pattern != 0 {
            return pattern;
        }
    }
}

fn hit(chance: &mut Chance, probability: f64) -> bool {
    f64::from(chance.number()) < probability * f64::from(u32::MAX)
}

/// The codes of 1, 2, … packets missing, for each share of losses.
fn measure(loss: Loss, columns: &[Column], rows: usize, seed: &Seed) -> Vec<u8> {
    let outcome = Outcome::of(columns, rows, &seed.fork("measure"));
    let mut codes = Vec::new();
    for lost in LOSS_STEPS {
        let shares = match loss {
            Loss::Independent => outcome.at(lost),
            Loss::Bursts => after_bursts(columns, rows, lost, &mut seed.fork("bursts").generator()),
        };
        codes.extend(shares[1..].iter().map(|&share| encode(share)));
    }
    codes
}

fn after_bursts(columns: &[Column], rows: usize, lost: f64, chance: &mut Chance) -> [f64; MISSING_MAX + 1] {
    let packets = columns.len() + rows;
    let enter = lost / BURST / (1.0 - lost);
    let any = 1.0 - (1.0 - lost) * (1.0 - enter).powi(packets as i32 - 1);
    let mut counts = [0_u32; MISSING_MAX + 1];
    for _ in 0..BURST_SAMPLES {
        let pattern = Pattern::of(burst(chance, packets, lost), columns.len(), rows);
        let left = missing(columns, pattern.lost, pattern.arrived).count_ones() as usize;
        counts[left.min(MISSING_MAX)] += 1;
    }
    counts.map(|count| any * f64::from(count) / f64::from(BURST_SAMPLES))
}
