//! How fuzz inputs are made: a valid one, damaged in the ways that break parsers.

use proto::seed::Chance;

const CHANGES_MAX: u32 = 6; // more than that leaves nothing of the valid input
const LENGTH_MAX: usize = 64 * 1024; // what a UDP datagram can hold
const RANDOM_MAX: usize = 200; // bytes of pure noise, or appended
const EDGES: [u8; 8] = [0, 1, 2, 0x10, 0x7f, 0x80, 0xfe, 0xff];
const WORDS: [&str; 12] = [
    "0",
    "-1",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "\r\n",
    "a=",
    "m=",
    "\u{0}",
    "\u{fffd}",
];

/// Writes a damaged copy of one of `corpus` into `input`.
pub(super) fn mutate(corpus: &[Vec<u8>], chance: &mut Chance, input: &mut Vec<u8>) {
    input.clear();
    if corpus.is_empty() || below(chance, 50) == 0 {
        noise(chance, input);
        return;
    }
    input.extend_from_slice(&corpus[below(chance, corpus.len())]);
    for _ in 0..=below(chance, CHANGES_MAX as usize) {
        change(corpus, chance, input);
    }
    input.truncate(LENGTH_MAX);
}

fn change(corpus: &[Vec<u8>], chance: &mut Chance, input: &mut Vec<u8>) {
    if input.is_empty() {
        noise(chance, input);
        return;
    }
    let at = below(chance, input.len());
    match below(chance, 10) {
        0 => input[at] ^= 1 << below(chance, 8),
        1 => input[at] = EDGES[below(chance, EDGES.len())],
        2 => input[at] = chance.number() as u8,
        3 => input.truncate(at),
        4 => noise(chance, input),
        5 => drop(input.drain(at..(at + 1 + below(chance, 32)).min(input.len()))),
        6 => repeat(chance, input, at),
        7 => splice(&corpus[below(chance, corpus.len())], chance, input, at),
        8 => lie_about_a_length(chance, input, at),
        _ => drop(input.splice(at..at, WORDS[below(chance, WORDS.len())].bytes())),
    }
}

fn noise(chance: &mut Chance, input: &mut Vec<u8>) {
    let length = below(chance, RANDOM_MAX);
    input.extend((0..length).map(|_| chance.number() as u8));
}

fn repeat(chance: &mut Chance, input: &mut Vec<u8>, at: usize) {
    let part = input[at..(at + 1 + below(chance, 64)).min(input.len())].to_vec();
    for _ in 0..=below(chance, 40) {
        input.splice(at..at, part.iter().copied());
    }
}

fn splice(other: &[u8], chance: &mut Chance, input: &mut Vec<u8>, at: usize) {
    input.truncate(at);
    if !other.is_empty() {
        input.extend_from_slice(&other[below(chance, other.len())..]);
    }
}

/// Sixteen bits that may be a length become one that is slightly or very wrong.
fn lie_about_a_length(chance: &mut Chance, input: &mut [u8], at: usize) {
    let length = input.len() as u16;
    let lies = [0, 1, 0xffff, 0x7fff, length, length.wrapping_add(1), length.wrapping_sub(1), length / 4];
    let lie = lies[below(chance, lies.len())].to_be_bytes();
    let end = (at + 2).min(input.len());
    input[at..end].copy_from_slice(&lie[..end - at]);
}

/// A number from 0 to `limit - 1`; the slight preference for small ones does not matter here.
fn below(chance: &mut Chance, limit: usize) -> usize {
    chance.number() as usize % limit
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::seed::Seed;

    use super::*;

    #[test]
    fn inputs_repeat_with_the_seed_and_differ_from_each_other() {
        let corpus = [b"a valid packet".to_vec(), b"another one, longer".to_vec(), Vec::new()];
        let draw = |number| {
            let mut chance = Seed::from_number(number).generator();
            let mut input = Vec::new();
            let mut draw_one = || {
                mutate(&corpus, &mut chance, &mut input);
                input.clone()
            };
            (0..1_000).map(|_| draw_one()).collect::<Vec<_>>()
        };
        let inputs = draw(1);
        assert_eq!(inputs, draw(1));
        assert_ne!(inputs, draw(2));
        assert!(inputs.iter().all(|input| input.len() <= LENGTH_MAX));
        assert!(inputs.into_iter().collect::<BTreeSet<_>>().len() > 900);
    }
}
