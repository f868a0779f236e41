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
    /// The same for packets that did not leave together: what is known of losses that last.
    far_pairs: [[f64; 2]; 2],
    far_spacings: f64,
}

/// A packet and the one before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// Whether the one before was lost.
    pub(super) was_lost: bool,
    /// The time between the two.
    pub(super) spacing: Duration,
    /// Whether they left together.
    pub(super) is_near: bool,
}

/// How much one fate tells of another, and how sure that is.
#[derive(Debug, Clone, Copy)]
struct Tie {
    correlation: f64,
    variance: f64,
}

/// What is known of near and of far pairs is one thing if it is no farther apart than so many deviations.
const SAME_DEVIATIONS: f64 = 3.0;
/// Two fates that hang together less than so many deviations are independent.
const CORRELATION_DEVIATIONS: f64 = 2.0;
/// Correlations beyond this are outages: a thousand packets in a row.
const CORRELATION_MAX: f64 = 0.999;
/// What follows so few losses tells nothing.
const FOLLOWED_MIN: f64 = 5.0;
/// Once so many pairs are known, packets that are so many times as far apart as most are no pair.
const PAIRS_KNOWN: f64 = 50.0;
const TOGETHER: f64 = 3.0;
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
            far_pairs: [[0.0; 2]; 2],
            far_spacings: 0.0,
        }
    }

    /// A packet, and what it has to do with the one before it.
    pub(super) fn add(&mut self, is_lost: bool, pair: Option<Pair>) {
        *if is_lost { &mut self.lost } else { &mut self.received } += 1.0;
        self.squares += 1.0;
        let Some(Pair { was_lost, spacing, is_near }) = pair else { return };
        let (pairs, spacings) = if is_near {
            (&mut self.pairs, &mut self.spacings)
        } else {
            (&mut self.far_pairs, &mut self.far_spacings)
        };
        pairs[usize::from(was_lost)][usize::from(is_lost)] += 1.0;
        *spacings += spacing.as_secs_f64();
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

    /// How far the share lost may be off, by chance, where losses come in runs as a longer memory knows them: one deviation.
    pub(super) fn deviation(&self, longer: &Self) -> f64 {
        let loss = (self.lost + 0.5) / (self.weight() + 1.0);
        (loss * (1.0 - loss) / self.worth(longer).max(1.0)).sqrt()
    }

    /// How much a fate tells of another one [`spacing`](Self::spacing) later, 0 to 1.
    ///
    /// Losses that last are seen ending rarely among packets that leave together: of those, packets farther apart tell
    /// more. Both are weighed by how sure they are, as long as they do not contradict each other.
    pub(super) fn correlation(&self) -> f64 {
        let near = self.near();
        let Some(far) = self.far() else { return near.correlation };
        let (apart, spacing) = (self.far_spacing(), self.near_spacing());
        if sum(&self.pairs) < 1.0 {
            return far.correlation;
        }
        let steps = spacing / apart.max(1e-6);
        let correlation = power(far.correlation, steps);
        let slope = steps * correlation / far.correlation;
        let far = Tie { correlation, variance: far.variance * slope * slope };
        let differ = near.correlation - far.correlation;
        if differ * differ > SAME_DEVIATIONS * SAME_DEVIATIONS * (near.variance + far.variance) {
            return near.correlation;
        }
        let weight = share(far.variance, near.variance + far.variance);
        (near.correlation * weight + far.correlation * (1.0 - weight)).min(CORRELATION_MAX)
    }

    /// What packets that left together tell of the next one.
    fn near(&self) -> Tie {
        self.tie(&self.pairs, CORRELATION_MAX).unwrap_or(Tie { correlation: 0.0, variance: 0.0 })
    }

    /// What packets that did not leave together tell, if they do.
    fn far(&self) -> Option<Tie> {
        self.tie(&self.far_pairs, CORRELATION_MAX).filter(|far| far.correlation > 0.0)
    }

    /// `None` if too little is known.
    fn tie(&self, pairs: &[[f64; 2]; 2], most: f64) -> Option<Tie> {
        let [[gg, gb], [bg, bb]] = *pairs;
        let remembered =
            share(self.weight() * self.weight(), self.squares) * share(sum(pairs), self.weight());
        // A loss or two say little: as much weight as one loss has that nothing followed by more than chance.
        let again = (bb + self.loss()) / (bg + bb + 1.0);
        let correlation = again - share(gb, gg + gb);
        // Among independent fates, a sample's correlation deviates by 1/√n (Bartlett 1946).
        let is_known = bg + bb >= FOLLOWED_MIN && correlation * remembered.sqrt() >= CORRELATION_DEVIATIONS;
        let variance = again * (1.0 - again) / (bg + bb).max(1.0);
        is_known.then(|| Tie { correlation: correlation.clamp(0.0, most), variance })
    }

    /// Whether packets so far apart belong together, as most have so far.
    pub(super) fn is_together(&self, spacing: Duration) -> bool {
        sum(&self.pairs) < PAIRS_KNOWN || spacing.as_secs_f64() <= self.near_spacing() * TOGETHER
    }

    /// The time between two packets that [`correlation`](Self::correlation) is for.
    pub(super) fn spacing(&self) -> Duration {
        let has_near = sum(&self.pairs) >= 1.0;
        Duration::from_secs_f64(if has_near { self.near_spacing() } else { self.far_spacing() })
    }

    fn near_spacing(&self) -> f64 {
        share(self.spacings, sum(&self.pairs))
    }

    fn far_spacing(&self) -> f64 {
        share(self.far_spacings, sum(&self.far_pairs))
    }

    /// Whether this window says, by so many deviations, that the path is no longer what a longer one remembers.
    pub(super) fn contradicts(&self, longer: &Self, deviations: f64) -> bool {
        if self.weight() < 1.0 || longer.weight() < 1.0 {
            return false;
        }
        let worth = self.worth(longer);
        apart(self.loss() * worth, longer.loss() * worth) > deviations
            || self.bursts_differ(longer, deviations)
    }

    /// Whether runs of losses end far more or far less often than a longer memory has it.
    fn bursts_differ(&self, longer: &Self, deviations: f64) -> bool {
        let [here, there] = [self, longer].map(|counts| counts.pairs[1]);
        let (losses, known) = (here[0] + here[1], there[0] + there[1]);
        let expected = losses * share(there[0], known);
        losses >= BURST_LOSSES_MIN && known >= losses && apart(here[0], expected) > deviations
    }

    /// How many packets of independent fates the memory is worth: fewer if they fade, fewer if losses come in runs, in this
    /// memory or in a longer one: it takes many losses to know that they do.
    fn worth(&self, longer: &Self) -> f64 {
        let packets = share(self.weight() * self.weight(), self.squares);
        packets / self.inflation().max(longer.inflation())
    }

    /// How much more the share lost deviates by chance than if losses were independent: the square of that.
    fn inflation(&self) -> f64 {
        // Those that leave together, and those that do not.
        let lasting = self.far().map_or(1.0, |far| (1.0 + far.correlation) / (1.0 - far.correlation));
        let correlation = self.near().correlation;
        if correlation <= 0.0 {
            return lasting;
        }
        // How much the mean of so many packets in a row deviates more than that of as many strangers.
        let together = self.weight() / (self.weight() - sum(&self.pairs)).max(1.0);
        let apart = 1.0 - correlation;
        let faded = power(correlation, together);
        let more =
            (1.0 + correlation) / apart - 2.0 * correlation * (1.0 - faded) / (together * apart * apart);
        more.max(1.0) * lasting
    }

    fn fade(&mut self, kept: f64, squared: f64) {
        let Self { received, lost, congested, spacings, far_spacings, .. } = self;
        for count in [received, lost, congested, spacings, far_spacings] {
            *count *= kept;
        }
        for pairs in self.pairs.iter_mut().chain(&mut self.far_pairs).flatten() {
            *pairs *= kept;
        }
        self.squares *= squared;
    }
}

/// How far apart two counts of rare things are, in deviations: square roots deviate alike, however large (Anscombe 1948).
fn apart(one: f64, other: f64) -> f64 {
    2.0 * ((one + 0.375).sqrt() - (other + 0.375).sqrt()).abs()
}

fn sum(pairs: &[[f64; 2]; 2]) -> f64 {
    pairs.iter().flatten().sum()
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

/// A base in 0 to 1 to the power of any exponent from 0 to 65 535: whole powers by squaring, 1/65536ths by square roots, both
/// of which are the same on every machine.
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    let units = (exponent * 65_536.0).round().clamp(0.0, f64::from(u32::MAX));
    let root = (0..16).fold(base, |root, _| root.sqrt());
    whole_power(root, units as u32)
}
