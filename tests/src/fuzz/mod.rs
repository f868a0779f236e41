//! A plain fuzz harness: damaged copies of valid inputs, from a seed, against every parser that sees the wire.
//!
//! Coverage does not guide it (`fuzz/` does that with libFuzzer, for those who have a nightly toolchain); it needs
//! nothing but a stable compiler, and runs in every `cargo xtask test`. What it finds is stored in `tests/seeds/`
//! and replayed by `cargo test` from then on.

mod corpus;
mod feedback;
mod mutate;
mod repair;
mod targets;
mod uplink;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::seed::Seed;

pub use targets::{Target, all};

use crate::clock;

const SLOW: Duration = Duration::from_secs(2); // far above any honest input, even on a loaded machine
const BATCH: u32 = 256; // inputs between two looks at the clock

/// What fuzzing one target came to.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs tried.
    pub inputs: u64,
    /// The first input that it could not bear.
    pub finding: Option<Finding>,
}

/// An input that a parser could not bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The panic's message and place, or how slow it was.
    pub what: String,
    /// The input, made as short as was easy.
    pub input: Vec<u8>,
}

/// Feeds `target` damaged inputs for so long, or until it panics or is slow.
pub fn fuzz(target: &Target, seed: &Seed, time: Duration) -> Outcome {
    let corpus = (target.corpus)();
    let mut chance = seed.fork(target.name).generator();
    let mut input = Vec::new();
    let mut inputs = 0;
    let started = clock::now();
    for valid in &corpus {
        inputs += 1;
        if let Some(what) = trial(target, valid) {
            return Outcome { inputs, finding: Some(Finding { what, input: valid.clone() }) };
        }
    }
    while started.elapsed() < time {
        let batch_started = clock::now();
        for _ in 0..BATCH {
            mutate::mutate(&corpus, &mut chance, &mut input);
            inputs += 1;
            if let Some(what) = trial(target, &input) {
                return Outcome { inputs, finding: Some(shortened(target, Finding { what, input })) };
            }
        }
        if batch_started.elapsed() > SLOW {
            let what = format!("{BATCH} inputs up to number {inputs} took {:?}", batch_started.elapsed());
            return Outcome { inputs, finding: Some(Finding { what, input }) };
        }
    }
    Outcome { inputs, finding: None }
}

/// What goes wrong with one input, if anything does.
pub fn trial(target: &Target, input: &[u8]) -> Option<String> {
    quiet_panics();
    let result = std::panic::catch_unwind(|| (target.run)(input));
    result.err().map(|_| PANIC.take().unwrap_or_else(|| "a panic without words".to_owned()))
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// From now on a panic of this thread is noted instead of printed.
fn quiet_panics() {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.with_borrow(|quiet| *quiet) {
                PANIC.set(Some(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
}

/// Leaves out parts for as long as the target still panics.
fn shortened(target: &Target, mut finding: Finding) -> Finding {
    let mut step = finding.input.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < finding.input.len() {
            let mut input = finding.input.clone();
            input.drain(at..(at + step).min(input.len()));
            match trial(target, &input) {
                Some(what) => finding = Finding { what, input },
                None => at += step,
            }
        }
        step /= 2;
    }
    finding
}

/// Where findings are stored.
pub fn seeds_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// Stores a finding as `seeds/TARGET-HASH.hex`, so that `cargo test` replays it from now on.
pub fn store(target: &Target, finding: &Finding) -> std::io::Result<PathBuf> {
    let hash = finding.input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = seeds_folder().join(format!("{}-{hash:016x}.hex", target.name));
    std::fs::create_dir_all(seeds_folder())?;
    std::fs::write(&path, format!("{}\n", to_hex(&finding.input)))?;
    Ok(path)
}

/// Every stored input: the file's name, its target's name, its bytes.
pub fn stored() -> std::io::Result<Vec<(String, String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(seeds_folder())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let Some((target, _)) = name.split_once('-') else { continue };
        let input = from_hex(&std::fs::read_to_string(&path)?);
        found.push((name.clone(), target.to_owned(), input));
    }
    found.sort();
    Ok(found)
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes from hexadecimal digits; blanks and a line that starts with `#` are ignored.
pub fn from_hex(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u8> = lines
        .flat_map(str::chars)
        .filter_map(|letter| letter.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brittle(input: &[u8]) {
        assert!(!(input.len() > 3 && input[1] == 0xff), "cannot bear {}", input.len());
    }

    const BRITTLE: Target =
        Target { name: "brittle", corpus: || vec![vec![1, 2, 3, 4, 5, 6, 7, 8]], run: brittle };
    const STURDY: Target = Target { name: "sturdy", corpus: || vec![vec![1, 2, 3]], run: |_| {} };

    #[test]
    fn a_panic_is_found_and_its_input_made_short() {
        let outcome = fuzz(&BRITTLE, &Seed::from_number(1), Duration::from_secs(5));
        let finding = outcome.finding.unwrap();
        assert_eq!(finding.input.len(), 4);
        assert!(finding.what.contains("cannot bear 4"), "{}", finding.what);
        assert!(outcome.inputs > 1);
    }

    #[test]
    fn a_sturdy_parser_is_tried_for_the_whole_time() {
        let started = clock::now();
        let outcome = fuzz(&STURDY, &Seed::from_number(1), Duration::from_millis(50));
        assert!(outcome.finding.is_none() && outcome.inputs > 1_000, "{outcome:?}");
        assert!(started.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        assert_eq!(from_hex("# why\n00 ff\n1a"), [0, 0xff, 0x1a]);
        assert_eq!(from_hex(&to_hex(&[0, 9, 0xab])), [0, 9, 0xab]);
    }
}
