//! SHA-1 of many messages at once: each lane of a vector has a message of its own (FIPS 180-4 §6.1).
//!
//! In: a state and blocks for each lane. Out: the states behind them. Time: none. Limit: none; nothing is kept.
//!
//! One message is a chain of 80 steps a block in which each waits for the one before, so that even a processor with
//! instructions for SHA-1 is idle most of the time. Lanes do not wait for each other.
#![expect(unsafe_code, reason = "instructions that not every processor has can be called in no other way")]

use core::arch::x86_64::{__m256i, __m512i};
use core::mem::transmute;

use super::hmac::{BLOCK, State};

/// The states of `N` messages, by word, so that a word of all lanes is a vector.
pub(super) type States<const N: usize> = [[u32; N]; 5];

/// Blocks of each of `N` messages, of all as many.
pub(super) type Blocks<'a, const N: usize> = [&'a [[u8; BLOCK]]; N];

const K: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6]; // FIPS 180-4 §4.2.1

/// Puts a message's state into a lane.
pub(super) fn put<const N: usize>(states: &mut States<N>, lane: usize, state: &State) {
    states.iter_mut().zip(state).for_each(|(words, word)| words[lane] = *word);
}

/// The state in a lane.
pub(super) fn get<const N: usize>(states: &States<N>, lane: usize) -> State {
    core::array::from_fn(|word| states[word][lane])
}

/// A processor that has `N` lanes.
pub(super) trait Lanes<const N: usize>: Sized {
    /// How many messages take less time in lanes than one after the other.
    const WORTH: usize;

    /// Whether this processor has them.
    fn detect() -> Option<Self>;

    /// Takes the blocks in each lane.
    fn compress(&self, states: &mut States<N>, blocks: &Blocks<'_, N>);
}

/// Sixteen lanes.
pub(super) struct Avx512(());

impl Lanes<16> for Avx512 {
    const WORTH: usize = 6; // a block: 102 ns in lanes, 33 ns alone, and each packet has to be put there (Zen 5)

    fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }

    fn compress(&self, states: &mut States<16>, blocks: &Blocks<'_, 16>) {
        // SAFETY: `detect`, which alone makes a `Self`, saw the features.
        unsafe { compress_16(states, blocks) }
    }
}

/// Eight lanes.
pub(super) struct Avx2(());

impl Lanes<8> for Avx2 {
    const WORTH: usize = 7; // a block: 143 ns in lanes, 33 ns alone (Zen 5)

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    fn compress(&self, states: &mut States<8>, blocks: &Blocks<'_, 8>) {
        // SAFETY: `detect`, which alone makes a `Self`, saw the feature.
        unsafe { compress_8(states, blocks) }
    }
}

/// A function of vectors, for the instructions of some features.
macro_rules! vector_function {
    ($features:literal, $name:ident($($argument:ident),+ : $vector:ty) = $value:expr) => {
        #[target_feature(enable = $features)]
        #[inline]
        pub(super) fn $name($($argument: $vector),+) -> $vector {
            $value
        }
    };
}

/// Vectors of sixteen.
mod wide {
    use core::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_set4_epi32,
        _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_ternarylogic_epi32,
        _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
        _mm512_xor_si512,
    };
    use core::mem::transmute;

    use super::Blocks;

    vector_function!("avx512f,avx512bw", add(a, b: __m512i) = _mm512_add_epi32(a, b));
    vector_function!("avx512f,avx512bw", xor(a, b: __m512i) = _mm512_xor_si512(a, b));
    vector_function!("avx512f,avx512bw", rotate_1(a: __m512i) = _mm512_rol_epi32::<1>(a));
    vector_function!("avx512f,avx512bw", rotate_5(a: __m512i) = _mm512_rol_epi32::<5>(a));
    vector_function!("avx512f,avx512bw", rotate_30(a: __m512i) = _mm512_rol_epi32::<30>(a));
    // The numbers are truth tables: the bit at 4x + 2y + z is the value.
    vector_function!("avx512f,avx512bw", choose(x, y, z: __m512i) = _mm512_ternarylogic_epi32::<0xca>(x, y, z));
    vector_function!("avx512f,avx512bw", parity(x, y, z: __m512i) = _mm512_ternarylogic_epi32::<0x96>(x, y, z));
    vector_function!("avx512f,avx512bw", majority(x, y, z: __m512i) = _mm512_ternarylogic_epi32::<0xe8>(x, y, z));

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub(super) fn splat(word: u32) -> __m512i {
        _mm512_set1_epi32(word as i32)
    }

    /// The words of a block of each, by word: rows are read, columns are wanted.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub(super) fn words(blocks: &Blocks<'_, 16>, at: usize) -> [__m512i; 16] {
        let big_endian = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
        let mut rows = [_mm512_setzero_si512(); 16];
        for (row, blocks) in rows.iter_mut().zip(blocks) {
            // SAFETY: both are 64 bytes of which any are a value.
            *row = _mm512_shuffle_epi8(unsafe { transmute::<[u8; 64], __m512i>(blocks[at]) }, big_endian);
        }
        for four in rows.as_chunks_mut().0 {
            // Within each four lanes: four rows of four words.
            let [a, b, c, d] = *four;
            let (low_ab, low_cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (high_ab, high_cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            *four = [
                _mm512_unpacklo_epi64(low_ab, low_cd),
                _mm512_unpackhi_epi64(low_ab, low_cd),
                _mm512_unpacklo_epi64(high_ab, high_cd),
                _mm512_unpackhi_epi64(high_ab, high_cd),
            ];
        }
        let mut words = rows;
        for at in 0..4 {
            // And four rows of four such fours.
            let [a, b, c, d] = [rows[at], rows[at + 4], rows[at + 8], rows[at + 12]];
            let (even_ab, even_cd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
            let (odd_ab, odd_cd) = (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
            words[at] = _mm512_shuffle_i32x4::<0x88>(even_ab, even_cd);
            words[at + 4] = _mm512_shuffle_i32x4::<0x88>(odd_ab, odd_cd);
            words[at + 8] = _mm512_shuffle_i32x4::<0xdd>(even_ab, even_cd);
            words[at + 12] = _mm512_shuffle_i32x4::<0xdd>(odd_ab, odd_cd);
        }
        words
    }
}

/// Vectors of eight.
mod narrow {
    use core::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_or_si256, _mm256_permute2x128_si256,
        _mm256_set_epi32, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32,
        _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
        _mm256_unpacklo_epi64, _mm256_xor_si256,
    };
    use core::mem::transmute;

    use super::Blocks;

    vector_function!("avx2", add(a, b: __m256i) = _mm256_add_epi32(a, b));
    vector_function!("avx2", xor(a, b: __m256i) = _mm256_xor_si256(a, b));
    vector_function!("avx2", or(a, b: __m256i) = _mm256_or_si256(a, b));
    vector_function!("avx2", and(a, b: __m256i) = _mm256_and_si256(a, b));
    vector_function!("avx2", rotate_1(a: __m256i) = or(_mm256_slli_epi32::<1>(a), _mm256_srli_epi32::<31>(a)));
    vector_function!("avx2", rotate_5(a: __m256i) = or(_mm256_slli_epi32::<5>(a), _mm256_srli_epi32::<27>(a)));
    vector_function!("avx2", rotate_30(a: __m256i) = or(_mm256_slli_epi32::<30>(a), _mm256_srli_epi32::<2>(a)));
    vector_function!("avx2", choose(x, y, z: __m256i) = xor(z, and(x, xor(y, z))));
    vector_function!("avx2", parity(x, y, z: __m256i) = xor(x, xor(y, z)));
    vector_function!("avx2", majority(x, y, z: __m256i) = or(and(x, y), and(z, or(x, y))));

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn splat(word: u32) -> __m256i {
        _mm256_set1_epi32(word as i32)
    }

    /// The words of a block of each, by word: rows are read, columns are wanted, in two halves.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn words(blocks: &Blocks<'_, 8>, at: usize) -> [__m256i; 16] {
        let [a, b, c, d] = [0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203];
        let big_endian = _mm256_set_epi32(a, b, c, d, a, b, c, d);
        let mut words = [_mm256_setzero_si256(); 16];
        for (half, words) in words.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut rows = [_mm256_setzero_si256(); 8];
            for (row, blocks) in rows.iter_mut().zip(blocks) {
                let bytes = blocks[at].as_chunks::<32>().0[half];
                // SAFETY: both are 32 bytes of which any are a value.
                *row = _mm256_shuffle_epi8(unsafe { transmute::<[u8; 32], __m256i>(bytes) }, big_endian);
            }
            for four in rows.as_chunks_mut().0 {
                // Within each four lanes: four rows of four words.
                let [a, b, c, d] = *four;
                let (low_ab, low_cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                let (high_ab, high_cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                *four = [
                    _mm256_unpacklo_epi64(low_ab, low_cd),
                    _mm256_unpackhi_epi64(low_ab, low_cd),
                    _mm256_unpacklo_epi64(high_ab, high_cd),
                    _mm256_unpackhi_epi64(high_ab, high_cd),
                ];
            }
            for at in 0..4 {
                // And two rows of two such fours.
                words[at] = _mm256_permute2x128_si256::<0x20>(rows[at], rows[at + 4]);
                words[at + 4] = _mm256_permute2x128_si256::<0x31>(rows[at], rows[at + 4]);
            }
        }
        words
    }
}

/// SHA-1's function of each block (FIPS 180-4 §6.1.2, and §6.1.3 for the 16 words kept), written out so that all words stay
/// in registers.
macro_rules! compress_function {
    ($name:ident, $features:literal, $lanes:literal, $vector:ty, $v:ident) => {
        #[target_feature(enable = $features)]
        fn $name(states: &mut States<$lanes>, blocks: &Blocks<'_, $lanes>) {
            let count = blocks[0].len();
            // SAFETY: both are five times as many words as there are lanes, of which any are a value.
            let mut kept = unsafe { transmute::<States<$lanes>, [$vector; 5]>(*states) };
            for at in 0..count {
                let mut w = $v::words(blocks, at);
                let [mut a, mut b, mut c, mut d, mut e] = kept;
                macro_rules! step {
                    ($t:expr, $f:ident) => {
                        if $t >= 16 {
                            let mixed = $v::parity(w[($t + 13) % 16], w[($t + 8) % 16], w[($t + 2) % 16]);
                            w[$t % 16] = $v::rotate_1($v::xor(mixed, w[$t % 16]));
                        }
                        let ready =
                            $v::add($v::add($v::add(e, $v::splat(K[$t / 20])), w[$t % 16]), $v::$f(b, c, d));
                        (a, b, c, d, e) = ($v::add(ready, $v::rotate_5(a)), a, $v::rotate_30(b), c, d);
                    };
                }
                macro_rules! five_steps {
                    ($t:expr, $f:ident) => {
                        step!($t, $f);
                        step!($t + 1, $f);
                        step!($t + 2, $f);
                        step!($t + 3, $f);
                        step!($t + 4, $f);
                    };
                }
                macro_rules! twenty_steps {
                    ($t:expr, $f:ident) => {
                        five_steps!($t, $f);
                        five_steps!($t + 5, $f);
                        five_steps!($t + 10, $f);
                        five_steps!($t + 15, $f);
                    };
                }
                twenty_steps!(0, choose);
                twenty_steps!(20, parity);
                twenty_steps!(40, majority);
                twenty_steps!(60, parity);
                for (word, added) in kept.iter_mut().zip([a, b, c, d, e]) {
                    *word = $v::add(*word, added);
                }
            }
            // SAFETY: as above.
            *states = unsafe { transmute::<[$vector; 5], States<$lanes>>(kept) };
        }
    };
}

compress_function!(compress_16, "avx512f,avx512bw", 16, __m512i, wide);
compress_function!(compress_8, "avx2", 8, __m256i, narrow);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::block_api::compress;

    use super::*;

    fn each_lane_is_a_message_of_its_own<const N: usize, L: Lanes<N>>(seed: u8) {
        let Some(lanes) = L::detect() else { return };
        let blocks: [[[u8; BLOCK]; 3]; N] = core::array::from_fn(|lane| {
            let byte = |at: usize| (at as u8).wrapping_mul(seed | 1) ^ (lane as u8).wrapping_mul(37);
            core::array::from_fn(|block| core::array::from_fn(|at| byte(at + 7 * block)))
        });
        let mut states = [[0; N]; 5];
        let mut alone: [State; N] = core::array::from_fn(|lane| [lane as u32 ^ u32::from(seed); 5]);
        for (lane, state) in alone.iter().enumerate() {
            put(&mut states, lane, state);
        }
        for count in [0, 1, 3] {
            lanes.compress(&mut states, &blocks.each_ref().map(|blocks| &blocks[..count]));
            for (lane, state) in alone.iter_mut().enumerate() {
                compress(state, &blocks[lane][..count]);
                assert_eq!(get(&states, lane), *state, "lane {lane} of {N}");
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_are_messages_of_their_own(seed: u8) {
            each_lane_is_a_message_of_its_own::<16, Avx512>(seed);
            each_lane_is_a_message_of_its_own::<8, Avx2>(seed);
        }
    }
}
