//! Bits of codec headers, most significant first (H.264 §7.2 and §9.1, VP9 §4.9, AV1 §4.10).
//!
//! In: a slice. Out: numbers, or `None` where the slice ends first. Time: none. Limit: the slice's length.

/// Whether the slice is H.264's escaped form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// The bits are the bytes, as they stand.
    None,
    /// A 3 after two zeros is no data but keeps start codes out (H.264 §7.4.1, emulation prevention).
    AfterTwoZeros,
}

/// A cursor over the bits of a slice.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    rest: std::slice::Iter<'a, u8>,
    escapes: Escapes,
    zeros: u8, // zero bytes just read, up to two
    byte: u8,
    left: u8, // bits of `byte` not yet given
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8], escapes: Escapes) -> Self {
        Self { rest: bytes.iter(), escapes, zeros: 0, byte: 0, left: 0 }
    }

    /// The next bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 == 1)
    }

    /// The next `count` bits as a number; `count` is at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32, "a number has 32 bits, not {count}");
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// Steps over `count` bits; `None` if there are fewer.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// An Exp-Golomb number: H.264's `ue(v)`, AV1's `uvlc()`. `None` also for one of 32 leading zeros or more.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros >= u32::BITS {
            return None;
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb number: 0, 1, -1, 2, -2 and so on (H.264's `se(v)`).
    pub(crate) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let number = self.exp_golomb()?;
        let size = number.div_ceil(2) as i32;
        Some(if number % 2 == 1 { size } else { -size })
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.rest.next()?;
        if self.escapes == Escapes::AfterTwoZeros && self.zeros == 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.rest.next()?;
        }
        self.zeros = if byte == 0 { (self.zeros + 1).min(2) } else { 0 };
        Some(byte)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The other way round, for the headers that tests make.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct BitWriter(Vec<bool>);

    impl BitWriter {
        pub(crate) fn bits(mut self, count: u32, number: u64) -> Self {
            self.0.extend((0..count).rev().map(|place| number >> place & 1 == 1));
            self
        }

        pub(crate) fn exp_golomb(self, number: u32) -> Self {
            let coded = u64::from(number) + 1;
            let length = u64::BITS - coded.leading_zeros();
            self.bits(length - 1, 0).bits(length, coded)
        }

        pub(crate) fn signed_exp_golomb(self, number: i32) -> Self {
            self.exp_golomb(if number > 0 { number as u32 * 2 - 1 } else { number.unsigned_abs() * 2 })
        }

        /// The bytes, with a stop bit (H.264's and AV1's trailing bits).
        pub(crate) fn finish(mut self) -> Vec<u8> {
            self.0.push(true);
            let byte = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |byte, (place, &bit)| byte | u8::from(bit) << (7 - place))
            };
            self.0.chunks(8).map(byte).collect()
        }
    }

    #[test]
    fn exp_golomb_numbers_are_those_of_the_standards_table() {
        for (bits, unsigned, signed) in [
            (&[0b1000_0000][..], Some(0), Some(0)),
            (&[0b0100_0000], Some(1), Some(1)),
            (&[0b0110_0000], Some(2), Some(-1)),
            (&[0b0010_0000], Some(3), Some(2)),
            (&[0b0011_1000], Some(6), Some(-3)),
            (&[0b0001_0000], Some(7), Some(4)),
            (&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], Some(0xffff_fffe), Some(-0x7fff_ffff)),
            (&[0, 0, 0, 0, 0x80, 0, 0, 0, 0], None, None),
            (&[0, 0], None, None),
            (&[0b0001_0000][..0], None, None),
        ] {
            assert_eq!(BitReader::new(bits, Escapes::None).exp_golomb(), unsigned, "{bits:x?}");
            assert_eq!(BitReader::new(bits, Escapes::None).signed_exp_golomb(), signed, "{bits:x?}");
        }
    }

    #[test]
    fn a_three_after_two_zeros_is_dropped_only_where_it_is_an_escape() {
        for (name, bytes, read) in [
            ("escape", &[0, 0, 3, 1][..], &[0, 0, 1][..]),
            ("two escapes in a row", &[0, 0, 3, 0, 0, 3, 3], &[0, 0, 0, 0, 3]),
            ("one zero", &[0, 3, 1], &[0, 3, 1]),
            ("three zeros", &[0, 0, 0, 3, 1], &[0, 0, 0, 1]),
            ("zeros start anew after an escape", &[0, 0, 3, 0, 3], &[0, 0, 0, 3]),
            ("escape at the end", &[0, 0, 3], &[0, 0]),
        ] {
            let all = |escapes| {
                let mut reader = BitReader::new(bytes, escapes);
                std::iter::from_fn(|| reader.bits(8)).map(|byte| byte as u8).collect::<Vec<_>>()
            };
            assert_eq!(all(Escapes::AfterTwoZeros), read, "{name}");
            assert_eq!(all(Escapes::None), bytes, "{name}");
        }
    }
}
