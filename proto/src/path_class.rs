//! What kind of weakness a network path shows: congestion control recognizes it, repair and allocation go by it.

use core::fmt;

/// What a path's packets tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PathClass {
    /// Not enough is known yet.
    #[default]
    Unknown,
    /// Carries what is sent, when it is sent.
    Clean,
    /// Drops what comes a little too fast: its buffer holds less than 50 ms. More redundancy makes it worse.
    Shallow,
    /// Drops whatever exceeds a rate, without a queue: a token bucket. More redundancy makes it worse.
    Policed,
    /// Loses single packets whatever is sent.
    Random,
    /// Loses runs of packets whatever is sent.
    Bursty,
    /// Its buffer holds more than 400 ms.
    Bloated,
    /// Stands still for 40 to 200 ms now and then and catches up (Wi-Fi). A longer playout delay helps, less rate does not.
    WifiStalls,
    /// Its capacity changes several times a second (cellular).
    Cellular,
    /// Shared with flows that fill the buffer until they lose (TCP).
    Competed,
    /// Its way back loses reports.
    LossyFeedback,
    /// Takes more than 200 ms for a round trip without a queue.
    LongRtt,
}

impl PathClass {
    /// All classes.
    pub const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Clean,
        Self::Shallow,
        Self::Policed,
        Self::Random,
        Self::Bursty,
        Self::Bloated,
        Self::WifiStalls,
        Self::Cellular,
        Self::Competed,
        Self::LossyFeedback,
        Self::LongRtt,
    ];

    /// Its name in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Clean => "clean",
            Self::Shallow => "shallow",
            Self::Policed => "policed",
            Self::Random => "random",
            Self::Bursty => "bursty",
            Self::Bloated => "bloated",
            Self::WifiStalls => "wifi_stalls",
            Self::Cellular => "cellular",
            Self::Competed => "competed",
            Self::LossyFeedback => "lossy_feedback",
            Self::LongRtt => "long_rtt",
        }
    }
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
