//! One window of the loss model: weighed counts that fade, and what follows from them.

use core::time::Duration;

/// Counts of packets, each weighed by how well it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    kept: f64,
    received: f64,
    lost: f64,
    congested: f64,
    /// The sum of the squares of the weights, from which follows how many packets a window is worth.
    squares: f64,
    /// How often a packet of one fate was followed by one of another: `[was_lost][is_lost]`.
    pairs: [[f64; 2]; 2],
    /// The sum of the spacings of the pairs, in seconds.
    spacings: f64,
}

/// Two fates that hang together less than so many deviations are independent.
const CORRELATION_DEVIATIONS: f64 = 2.0;
/// Correlations beyond this are outages: a thousand packets in a row.
const CORRELATION_MAX: f64 = 0.999;
/// What follows so few losses tells nothing.
const FOLLOWED_MIN: f64 = 5.0;
/// Once so many pairs are known, packets that are so many times as far apart as most are no pair.
const PAIRS_KNOWN: f64 = 50.0;
const TOGETHER: u32 = 3;
/// So many losses are the least that tell of changed bursts.
const BURST_LOSSES_MIN: f64 = 10.0;

impl Counts {
    /// A window that keeps such a share of its memory each tick.
    pub(super) const fn new(kept: f64) -> Self {
        Self {
            kept,
            received: 0.0,
            lost: 0.0,
            congested: 0.0,
            squares: 0.0,
            pairs: [[0.0; 2]; 2],
            spacings: 0.0,
        }
    }

    /// A packet, with the fate of the one before it and the time between the two if they left together.
    pub(super) fn add(&mut self, is_lost: bool, pair: Option<(bool, Duration)>) {
        *if is_lost { &mut self.lost } else { &mut self.received } += 1.0;
        self.squares += 1.0;
        if let Some((was_lost, spacing)) = pair {
            self.pairs[usize::from(was_lost)][usize::from(is_lost)] += 1.0;
            self.spacings += spacing.as_secs_f64();
        }
    }

    /// A packet was lost to congestion.
    pub(super) fn add_congested(&mut self) {
        self.congested += 1.0;
    }

    /// So many ticks passed.
    pub(super) fn forget(&mut self, ticks: u32) {
        let kept = whole_power(self.kept, ticks);
        self.fade(kept, kept * kept);
    }

    /// Takes another window's memory for its own.
    pub(super) fn remember(&mut self, other: &Self) {
        *self = Self { kept: self.kept, ..*other };
    }

    /// How many packets are remembered.
    pub(super) fn weight(&self) -> f64 {
        self.received + self.lost
    }

    /// How many of them were lost.
    pub(super) fn lost(&self) -> f64 {
        self.lost
    }

    /// The share lost, not to congestion.
    pub(super) fn loss(&self) -> f64 {
        share(self.lost, self.weight())
    }

    /// The share lost to congestion, of all packets.
    pub(super) fn congestion(&self) -> f64 {
        share(self.congested, self.weight() + self.congested)
    }

    /// How far the share lost may be off, by chance: one deviation.
    pub(super) fn deviation(&self) -> f64 {
        let loss = (self.lost + 0.5) / (self.weight() + 1.0);
        (loss * (1.0 - loss) / self.worth().max(1.0)).sqrt()
    }

    /// How much a fate tells of the next, 0 to 1.
    pub(super) fn correlation(&self) -> f64 {
        let [[gg, gb], [bg, bb]] = self.pairs;
        let pairs = gg + gb + bg + bb;
        let remembered = share(self.weight() * self.weight(), self.squares) * share(pairs, self.weight());
        // A loss or two say little: as much weight as one loss has that nothing followed by more than chance.
        let again = (bb + self.loss()) / (bg + bb + 1.0);
        let correlation = again - share(gb, gg + gb);
        if bg + bb < FOLLOWED_MIN {
            return 0.0;
        }
        // Among independent fates, a sample's correlation deviates by 1/√n (Bartlett 1946).
        if correlation * remembered.sqrt() < CORRELATION_DEVIATIONS {
            return 0.0;
        }
        correlation.clamp(0.0, CORRELATION_MAX)
    }

    /// Whether packets so far apart belong together, as most have so far.
    pub(super) fn is_together(&self, spacing: Duration) -> bool {
        let pairs: f64 = self.pairs.iter().flatten().sum();
        pairs < PAIRS_KNOWN || spacing <= self.spacing() * TOGETHER
    }

    /// The mean time between the packets of a pair.
    pub(super) fn spacing(&self) -> Duration {
        let pairs: f64 = self.pairs.iter().flatten().sum();
        Duration::from_secs_f64(share(self.spacings, pairs))
    }

    /// Whether this window says, by so many deviations, that the path is no longer what a longer one remembers.
    pub(super) fn contradicts(&self, longer: &Self, deviations: f64) -> bool {
        if self.weight() < 1.0 || longer.weight() < 1.0 {
            return false;
        }
        let worth = self.worth();
        // The square root makes counts of rare things as far apart as their deviations (Anscombe 1948).
        let stable = |losses: f64| 2.0 * (losses + 0.375).sqrt();
        let apart = stable(self.loss() * worth) - stable(longer.loss() * worth);
        apart.abs() > deviations || self.bursts_differ(longer, deviations)
    }

    fn bursts_differ(&self, longer: &Self, deviations: f64) -> bool {
        let losses: f64 = self.pairs[1].iter().sum();
        let (here, there) = (self.correlation(), longer.correlation());
        let deviation = ((1.0 - there * there) / losses.max(1.0)).sqrt();
        losses >= BURST_LOSSES_MIN && (here - there).abs() > deviations * deviation
    }

    /// How many packets of independent fates the memory is worth: fewer if they fade, fewer if losses come in runs.
    fn worth(&self) -> f64 {
        let correlation = self.correlation();
        let packets = share(self.weight() * self.weight(), self.squares);
        if correlation <= 0.0 {
            return packets;
        }
        // How much the mean of so many packets in a row deviates more than that of as many strangers.
        let pairs: f64 = self.pairs.iter().flatten().sum();
        let together = self.weight() / (self.weight() - pairs).max(1.0);
        let apart = 1.0 - correlation;
        let faded = power(correlation, together);
        let more =
            (1.0 + correlation) / apart - 2.0 * correlation * (1.0 - faded) / (together * apart * apart);
        packets / more.max(1.0)
    }

    fn fade(&mut self, kept: f64, squared: f64) {
        for count in [&mut self.received, &mut self.lost, &mut self.congested, &mut self.spacings] {
            *count *= kept;
        }
        for pairs in self.pairs.iter_mut().flatten() {
            *pairs *= kept;
        }
        self.squares *= squared;
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A power with a whole exponent by squaring: the same on every machine, unlike `powf`.
fn whole_power(base: f64, mut exponent: u32) -> f64 {
    let (mut square, mut power) = (base, 1.0);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    power
}

/// A base in 0 to 1 to the power of any exponent from 0 on, to a part in a thousand: whole powers by squaring, 1/256ths
/// by square roots, both of which are the same on every machine.
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    let units = (exponent * 256.0).round().clamp(0.0, f64::from(u32::MAX));
    let root = (0..8).fold(base, |root, _| root.sqrt());
    whole_power(root, units as u32)
}
