//! A repair symbol must cost what its arithmetic costs: twelve packets, four sums, against the bare library.

use std::hint::black_box;
use std::time::{Duration, Instant};

use fec::scheme::window::WindowEncoder;
use proto::rtp::SeqNo;
use reed_solomon_erasure::galois_8::ReedSolomon;

const SOURCES: usize = 12;
const ROWS: usize = 4;
const LEN: usize = 1200;
const TRIES: u32 = 60; // the fastest counts: whatever else the machine does only ever slows
const REPEATS: u32 = 100;

#[expect(clippy::disallowed_methods, reason = "a speed test has to read a clock")]
fn fastest(best: &mut Duration, mut work: impl FnMut()) {
    let started = Instant::now();
    for _ in 0..REPEATS {
        work();
    }
    *best = (*best).min(started.elapsed() / REPEATS);
}

#[test]
fn a_block_is_encoded_within_1_3_times_of_the_bare_library() {
    let packets: Vec<Vec<u8>> = (0..SOURCES).map(|at| vec![at as u8 * 7 + 1; LEN]).collect();
    let mut encoder = WindowEncoder::new();
    for packet in &packets {
        encoder.add(packet).unwrap();
    }
    let codec = ReedSolomon::new(SOURCES, ROWS).unwrap();
    let mut parity = vec![vec![0_u8; LEN]; ROWS];
    let mut out = Vec::new();
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..TRIES {
        fastest(&mut bare, || codec.encode_sep(black_box(&packets), &mut parity).unwrap());
        fastest(&mut ours, || {
            for _ in 0..ROWS {
                out.clear();
                encoder.write_repair(black_box(SeqNo(0)), SOURCES as u8, &mut out).unwrap();
            }
            black_box(&out);
        });
    }
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    eprintln!("RS({SOURCES},{ROWS}) of {LEN} bytes: {ours:?}, the bare library {bare:?}, ratio {ratio:.2}");
    assert!(ratio <= 1.3, "{ratio}");
    assert!(ratio >= 0.3, "{ratio}: something was not computed");
}
