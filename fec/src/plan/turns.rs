//! Whose turn it is: numbers from 0 to 1 that fill their range evenly, in four directions at once.
//!
//! Where a plan lies between two that can be executed, blocks go by either in turns. The numbers are those of a lattice
//! (Roberts 2018), so that every few blocks the shares are kept, not only in the long run as by chance.

/// 2³² times the powers of 1/1.167 304, the root of x⁵ = x + 1.
const STEPS: [u32; 4] = [3_679_390_609, 3_152_041_523, 2_700_274_805, 2_313_257_605];

/// See the module's description.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns([u32; 4]);

impl Turns {
    /// The next four numbers, 0 to 1, 1 excluded.
    pub(super) fn next(&mut self) -> [f32; 4] {
        for (turn, step) in self.0.iter_mut().zip(STEPS) {
            *turn = turn.wrapping_add(step);
        }
        self.0.map(|turn| (turn >> 8) as f32 / 16_777_216.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_in_each_direction_and_across_them() {
        let mut turns = Turns::default();
        let all: Vec<[f32; 4]> = (0..400).map(|_| turns.next()).collect();
        for direction in 0..4 {
            let below = all.iter().filter(|turn| turn[direction] < 0.3).count();
            assert!((115..=125).contains(&below), "direction {direction}: {below} of 120");
            let other = (direction + 1) % 4;
            let both = all.iter().filter(|turn| turn[direction] < 0.5 && turn[other] < 0.5).count();
            assert!((90..=110).contains(&both), "directions {direction} and {other}: {both} of 100");
        }
    }
}
