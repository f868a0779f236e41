//! Randomness as cores get it: one seed in, any number of named independent generators out.
//!
//! The same seed and name give the same numbers, so a run can be repeated. In production the shell seeds from the
//! operating system, and because the generator is `ChaCha20` the numbers are fit for credentials.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// 256 bits from which all of a core's randomness comes.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 bytes of the shell's own randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed for tests and simulations, from a small number that people can write down.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    /// A seed that depends on this one and on `name` only.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let mut bytes = [0; 32];
        let mut generator = ChaCha20Rng::from_seed(self.0);
        generator.set_stream(fnv1a(name));
        generator.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The generator of this seed's numbers.
    pub fn generator(&self) -> Chance {
        Chance(ChaCha20Rng::from_seed(self.0))
    }
}

/// A generator of numbers; see [`Seed`].
#[derive(Debug)]
pub struct Chance(ChaCha20Rng);

impl Chance {
    /// Any 32-bit number.
    pub fn number(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Any 64-bit number.
    pub fn long_number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A text of `length` characters out of `A-Z a-z 0-9`, about 5.95 bits of randomness each.
    pub fn text(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let index = (self.0.next_u32() & 63) as usize; // 62 and 63 are drawn again: no letter is likelier
            if let Some(&letter) = ALPHABET.get(index) {
                text.push(letter as char);
            }
        }
        text
    }
}

fn fnv1a(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_give_the_same_numbers_and_others_do_not() {
        let draw = |seed: &Seed, name: &str| seed.fork(name).generator().long_number();
        let (one, two) = (Seed::from_number(1), Seed::from_number(2));
        assert_eq!(draw(&one, "loss"), draw(&one, "loss"));
        assert_ne!(draw(&one, "loss"), draw(&one, "jitter"));
        assert_ne!(draw(&one, "loss"), draw(&two, "loss"));
    }

    #[test]
    fn texts_have_the_length_asked_and_only_letters_and_digits() {
        let text = Seed::from_number(3).generator().text(32);
        assert_eq!(text.len(), 32);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
