//! Draws from distributions, out of a seed's generator.
//!
//! In: the generator. Each draw takes a fixed number of 64-bit numbers, so that the draws of a run do not depend on the
//! values of the earlier ones. Results are rounded to whole nanoseconds where they become times.

use std::time::Duration;

use proto::seed::Chance;

/// 2⁻⁵³, the distance between neighboring doubles below 1.
const STEP: f64 = 1.0 / (1_u64 << 53) as f64;

/// Evenly from 0 to 1, 1 excluded.
pub(super) fn uniform(chance: &mut Chance) -> f64 {
    (chance.long_number() >> 11) as f64 * STEP
}

/// An exponential time with this mean.
pub(super) fn exponential(chance: &mut Chance, mean: Duration) -> Duration {
    let nanos = -(1.0 - uniform(chance)).ln() * mean.as_nanos() as f64;
    Duration::from_nanos(nanos.round() as u64)
}

/// From the normal distribution with mean 0 and deviation 1 (Box and Muller 1958).
pub(super) fn normal(chance: &mut Chance) -> f64 {
    let number = chance.long_number();
    // 32 bits each are plenty for times in nanoseconds, and the radius ends at 6.7 deviations.
    let (radius, angle) = (number >> 32, number & 0xffff_ffff);
    let radius = (-2.0 * ((radius as f64 + 0.5) / 4_294_967_296.0).ln()).sqrt();
    radius * (angle as f64 * std::f64::consts::TAU / 4_294_967_296.0).cos()
}

/// A chance of `share` as the threshold under which a 32-bit number lies that often.
pub(super) fn threshold(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 4_294_967_296.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::seed::Seed;

    const DRAWS: usize = 200_000;

    fn moments(mut draw: impl FnMut(&mut Chance) -> f64) -> (f64, f64) {
        let mut chance = Seed::from_number(1).generator();
        let draws: Vec<f64> = (0..DRAWS).map(|_| draw(&mut chance)).collect();
        let mean = draws.iter().sum::<f64>() / DRAWS as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn draws_have_the_mean_and_deviation_of_their_distribution() {
        let second = Duration::from_secs(1);
        for (name, (mean, deviation), (wanted_mean, wanted_deviation)) in [
            ("uniform", moments(uniform), (0.5, 1.0 / 12_f64.sqrt())),
            ("normal", moments(normal), (0.0, 1.0)),
            ("exponential", moments(|chance| exponential(chance, second).as_secs_f64()), (1.0, 1.0)),
        ] {
            assert!((mean - wanted_mean).abs() < 0.01, "{name}: mean {mean}");
            assert!((deviation - wanted_deviation).abs() < 0.01, "{name}: deviation {deviation}");
        }
    }

    #[test]
    fn thresholds_of_certain_things_are_certain() {
        assert_eq!(threshold(0.0), 0);
        assert_eq!(threshold(1.0), 1 << 32);
        assert_eq!(threshold(f64::NAN), 0);
    }
}
