//! The estimators that runs can choose by name: ours, and other people's to compare with.
//!
//! | name | what it is | its pacer |
//! |---|---|---|
//! | `hybrid` | Lianmai's own | as it says |
//! | `fixed` | nine tenths of the flow's first share, for ever | 1.1 × its rate |
//! | `oracle` | knows the flow's share of the moment | 1.05 × its rate |
//! | `gcc` | rtc-interceptor's Google Congestion Control (webrtc-rs) | 1.5 × its rate, 5 ms |
//! | `googcc` | libwebrtc's own, 1 ms bursts: its best case | as it says: 1.1 × its estimate |
//! | `googcc-40ms` | the same with the bursts that libwebrtc's pacer has by default | the same |
//! | `bbr` | `BBRv3` (draft-ietf-ccwg-bbr) | as it says |
//! | `nada` | NADA (RFC 8698) | as it says |

mod gcc;
#[cfg(feature = "peer-googcc")]
mod googcc;
pub mod load;
mod oracle;

use core::time::Duration;

use cc::estimator::bbr::Bbr;
use cc::estimator::fixed::Fixed;
use cc::estimator::hybrid::{Hybrid, Settings};
use cc::estimator::nada::Nada;
use cc::{Estimator, RateLimits};
use proto::scene::Scene;
use proto::seed::Seed;
use proto::units::Bitrate;

use crate::run::RunError;
use oracle::Oracle;

/// All names, in the order of tables.
pub const NAMES: [&str; 8] = ["hybrid", "fixed", "oracle", "gcc", "googcc", "googcc-40ms", "bbr", "nada"];

/// The share of the flow's first share that `fixed` sends: below what the path carries even when frames vary.
const FIXED_SHARE: f64 = 0.9;

/// What an estimator is made for.
#[derive(Clone)]
pub struct Setup {
    /// The rates it may choose from.
    pub limits: RateLimits,
    /// What people do, which the hybrid goes by.
    pub scene: Scene,
    /// How much of a shared bottleneck the flow is to get, against 1 of an ordinary one; `hybrid` and `nada` know weights.
    pub weight: f64,
    /// What the flow's bottleneck gives to it: from when on (since the run began, ascending) how much. For those that
    /// are told: `fixed` looks at the first, `oracle` at all; if there is none, they take the start rate.
    pub share: Vec<(Duration, Bitrate)>,
    /// What the estimator leaves to chance comes from this.
    pub seed: Seed,
    /// The standard library's name for the run's beginning, for libraries that want such a one.
    pub epoch: std::time::Instant,
}

/// Whether an estimator looks at the network at all.
pub(crate) fn adapts(name: &str) -> bool {
    !matches!(name, "fixed" | "oracle")
}

/// The estimator of that name.
pub fn make(name: &str, setup: &Setup) -> Result<Box<dyn Estimator>, RunError> {
    let limits = setup.limits;
    Ok(match name {
        "hybrid" => {
            let settings = Settings { limits, scene: setup.scene, weight: setup.weight };
            Box::new(Hybrid::new(settings, &setup.seed))
        }
        "fixed" => {
            let first = setup.share.iter().find(|(_, rate)| *rate > Bitrate::ZERO);
            let first = first.map_or(limits.start, |(_, rate)| rate.scaled(FIXED_SHARE));
            Box::new(Fixed::new(within(limits, first)))
        }
        "oracle" => Box::new(Oracle::new(limits, &setup.share)),
        "gcc" => Box::new(gcc::Gcc::new(limits, setup.epoch)),
        "googcc" => googcc(name, limits, Duration::from_millis(1))?,
        "googcc-40ms" => googcc(name, limits, Duration::from_millis(40))?,
        "bbr" => Box::new(Bbr::new(limits, &setup.seed)),
        "nada" => Box::new(Nada::new(limits).with_priority(setup.weight)),
        _ => return Err(RunError::UnknownEstimator(name.to_owned(), NAMES.join(", "))),
    })
}

/// What surrounds the estimator of that name and is no part of its cost: one that does nothing, but for what an adapter
/// of ours does for somebody else's.
pub fn surroundings(name: &str, setup: &Setup) -> Box<dyn Estimator> {
    if name == "gcc" {
        return Box::new(gcc::Untold(gcc::Gcc::new(setup.limits, setup.epoch)));
    }
    Box::new(Fixed::new(setup.limits.start))
}

#[cfg(feature = "peer-googcc")]
#[expect(clippy::unnecessary_wraps, reason = "the other build of this function fails")]
fn googcc(_name: &str, limits: RateLimits, burst: Duration) -> Result<Box<dyn Estimator>, RunError> {
    Ok(Box::new(googcc::GoogCc::new(limits, burst)))
}

#[cfg(not(feature = "peer-googcc"))]
fn googcc(name: &str, _limits: RateLimits, _burst: Duration) -> Result<Box<dyn Estimator>, RunError> {
    Err(RunError::NotBuilt(name.to_owned(), "peer-googcc"))
}

fn within(limits: RateLimits, rate: Bitrate) -> Bitrate {
    rate.min(limits.max).max(limits.min)
}

#[cfg(test)]
mod path;

#[cfg(test)]
mod tests {
    use super::*;

    /// Some beginning of a run; nothing depends on which it is.
    #[expect(clippy::disallowed_methods, reason = "a test has no shell that could give it an epoch")]
    pub(super) fn epoch() -> std::time::Instant {
        std::time::Instant::now()
    }

    fn setup() -> Setup {
        Setup {
            limits: RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) },
            scene: Scene::Pk,
            weight: 1.0,
            share: vec![(Duration::ZERO, Bitrate::mbps(4)), (Duration::from_secs(10), Bitrate::mbps(1))],
            seed: Seed::from_number(1),
            epoch: epoch(),
        }
    }

    #[test]
    fn every_name_is_made_or_says_what_it_needs() {
        for name in NAMES {
            match make(name, &setup()) {
                Ok(estimator) => {
                    assert!(estimator.target().rate >= setup().limits.min, "{name}");
                    assert!(estimator.target().pacing >= estimator.target().rate, "{name}");
                }
                Err(RunError::NotBuilt(what, feature)) => {
                    assert_eq!((what.as_str(), feature), (name, "peer-googcc"));
                    assert!(name.starts_with("googcc") && !cfg!(feature = "peer-googcc"), "{name}");
                }
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_there_are() {
        let Err(error) = make("gogcc", &setup()) else { panic!("made what is not") };
        assert_eq!(error, RunError::UnknownEstimator("gogcc".to_owned(), NAMES.join(", ")));
        assert!(error.to_string().contains("googcc-40ms"), "{error}");
    }

    #[test]
    fn fixed_takes_nine_tenths_of_the_first_share_within_its_limits() {
        for (share, rate) in [
            (vec![(Duration::ZERO, Bitrate::mbps(4))], Bitrate::kbps(3_600)),
            (vec![(Duration::ZERO, Bitrate::mbps(40))], Bitrate::mbps(10)),
            (vec![(Duration::ZERO, Bitrate::kbps(20))], Bitrate::kbps(150)),
            (vec![], Bitrate::kbps(300)),
        ] {
            let fixed = make("fixed", &Setup { share, ..setup() }).unwrap();
            assert_eq!(fixed.target().rate, rate);
        }
    }
}
