//! Who is compared: an estimator and what is done about losses, `hybrid+plan` for example; `hybrid+plan@100` is the same with
//! pictures that take all that the estimator allows, of which others leave something free.

use std::fmt;
use std::str::FromStr;

use crate::baseline;

/// What is done about losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// Lianmai's plan.
    Plan,
    /// libwebrtc's table, and all that is asked for again.
    Libwebrtc,
    /// Lianmai's without repair packets: what is asked for again.
    Nack,
}

impl Repair {
    const ALL: [Self; 3] = [Self::Plan, Self::Libwebrtc, Self::Nack];

    /// What it takes of the rate if nothing else is said, in percent.
    const fn percent(self) -> u32 {
        match self {
            Self::Plan | Self::Nack => SHARE_OURS,
            Self::Libwebrtc => SHARE_ALL,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Libwebrtc => "libwebrtc",
            Self::Nack => "nack",
        }
    }
}

/// What of the rate allowed pictures and their repair take, in percent: Lianmai's leave in two thirds of the time until the next
/// one, for what a picture takes to leave is most of its delay. libwebrtc's encoder takes all.
const SHARE_OURS: u32 = 67;
const SHARE_ALL: u32 = 100;

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contender {
    /// The estimator's name.
    pub estimator: String,
    /// What is done about losses.
    pub repair: Repair,
    /// What of the rate allowed pictures and their repair take, in percent, 1 to 100.
    pub percent: u32,
}

/// Why there is no such contender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no contender {name:?}: ESTIMATOR+REPAIR or ESTIMATOR+REPAIR@PERCENT, with one of {} and one of {}", baseline::NAMES.join(", "), Repair::ALL.map(Repair::name).join(", "))]
pub struct UnknownContender {
    name: String,
}

impl Contender {
    /// What of the rate allowed pictures and their repair take, 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.percent) / 100.0
    }

    /// Lianmai as it is.
    pub const OURS: &'static str = "hybrid+plan";
    /// libwebrtc as it is.
    pub const PEER: &'static str = "googcc+libwebrtc";
    /// All that are compared, these two first; the others tell where the difference comes from.
    pub const ALL: [&'static str; 7] = [
        Self::OURS,
        Self::PEER,
        "hybrid+nack",
        "hybrid+libwebrtc",
        "googcc+libwebrtc@67",
        "hybrid+plan@100",
        "hybrid+nack@100",
    ];
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.estimator, self.repair.name())?;
        if self.percent == self.repair.percent() { Ok(()) } else { write!(f, "@{}", self.percent) }
    }
}

impl FromStr for Contender {
    type Err = UnknownContender;

    fn from_str(name: &str) -> Result<Self, UnknownContender> {
        let unknown = || UnknownContender { name: name.to_owned() };
        let (estimator, repair) = name.split_once('+').ok_or_else(unknown)?;
        let (repair, percent) = repair.split_once('@').map_or((repair, None), |(name, of)| (name, Some(of)));
        let repair = Repair::ALL.into_iter().find(|known| known.name() == repair).ok_or_else(unknown)?;
        if !baseline::NAMES.contains(&estimator) {
            return Err(unknown());
        }
        let percent =
            percent.map_or(Ok(repair.percent()), |percent| percent.parse().map_err(|_| unknown()))?;
        if !(1..=SHARE_ALL).contains(&percent) {
            return Err(unknown());
        }
        Ok(Self { estimator: estimator.to_owned(), repair, percent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Contender::ALL {
            assert_eq!(name.parse::<Contender>().map(|found| found.to_string()).as_deref(), Ok(name));
        }
        for name in ["hybrid", "hybrid+", "hybrid+all", "hibrid+plan", "hybrid+plan@", "hybrid+plan@101"] {
            let error = name.parse::<Contender>().expect_err(name).to_string();
            assert!(error.contains("googcc") && error.contains("libwebrtc"), "{error}");
        }
    }
}
