//! What a leg loses: how often, how many in a row, for how long, and whose fault it is (Gilbert 1960, Elliott 1963).
//!
//! In: what became of packets that we sent, in the order in which they left, with congestion control's verdict on each
//! loss. Never what receivers report of their streams: that blames us for what a publisher lost. Out: [`LossEstimate`].
//! Time: when packets left. Limit: three windows of a few numbers, no allocation, constant work a packet.
//!
//! Three windows forget at half-lives of 2 s, 20 s and 20 min. The longest speaks, for it is the surest; as soon as a
//! shorter one contradicts it beyond chance, it is given that one's memory and begins again from there. So a path that
//! stays as it is becomes known ever better, and one that changes is known anew within a fraction of a second.
//!
//! Only what the path loses by itself sizes repair. What a full buffer or a policer drops is counted apart: packets more
//! would be dropped more.

mod blame;
mod counts;

use core::time::Duration;

use proto::path_class::PathClass;
use proto::time::Instant;

pub use self::blame::{Blame, Judged};
use self::counts::{Counts, Pair};

/// Why a packet was lost, as congestion control sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The path lost it, and would have, whatever else was sent.
    Path,
    /// Too much was sent: a full buffer, a policer.
    Congestion,
}

impl Cause {
    /// The cause of losses on a path of a class, where nothing is known of the single loss.
    ///
    /// Redundancy towards what drops by rate or by queue makes things worse; all other classes lose whatever is sent.
    pub const fn on(class: PathClass) -> Self {
        match class {
            PathClass::Shallow | PathClass::Policed | PathClass::Bloated | PathClass::Competed => {
                Self::Congestion
            }
            PathClass::Unknown
            | PathClass::Clean
            | PathClass::Random
            | PathClass::Bursty
            | PathClass::WifiStalls
            | PathClass::Cellular
            | PathClass::LossyFeedback
            | PathClass::LongRtt => Self::Path,
        }
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It arrived.
    Received,
    /// It did not, or too late to be told apart from that.
    Lost(Cause),
}

/// What feedback tells of a packet that we sent: media, parity or repair alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketFate {
    /// When it left.
    pub sent: Instant,
    /// What became of it.
    pub fate: Fate,
}

/// What a leg loses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossEstimate {
    /// The share of packets lost, 0 to 1: the likeliest value.
    pub loss: f64,
    /// The share that is not exceeded with 75 % confidence, 0 to 1; zero as long as nothing is lost.
    pub bound: f64,
    /// How much the fate of a packet tells of the next one's, 0 (nothing) to 1, at `spacing` between the two.
    pub correlation: f64,
    /// The mean time between packets that leave together; zero as long as none did.
    pub spacing: Duration,
    /// The share of packets lost to congestion, 0 to 1.
    pub congestion: f64,
    /// How many packets the estimate rests on, each weighed by how well it is remembered.
    pub packets: f64,
}

impl LossEstimate {
    /// Before anything is known: a leg that loses 1 %, two in a row.
    pub const COLD: Self = Self {
        loss: 0.01,
        bound: 0.01,
        correlation: 0.5,
        spacing: Duration::from_millis(1),
        congestion: 0.0,
        packets: 0.0,
    };

    /// How many packets in a row are lost on average, at least one.
    pub fn burst(&self) -> f64 {
        // A run goes on with the share of losses itself plus what correlation adds.
        1.0 / ((1.0 - self.loss) * (1.0 - self.correlation)).max(1e-3)
    }

    /// The correlation of two fates `apart` from each other, 0 to 1: `correlation` to the power of `apart`/`spacing`.
    pub fn correlation_at(&self, apart: Duration) -> f64 {
        if self.correlation <= 0.0 {
            return 0.0;
        }
        let steps = apart.as_secs_f64() / self.spacing.as_secs_f64().max(1e-6);
        counts::power(self.correlation, steps)
    }

    /// How long losses hang together: the time in which correlation falls to a third; zero for losses that do not.
    pub fn memory(&self) -> Duration {
        const THIRD: f64 = 1.0 / core::f64::consts::E;
        let mut time = Duration::ZERO;
        // 1 ms steps: what is planned by it are spacings of some milliseconds, at most `MEMORY_MAX`.
        while time < MEMORY_MAX && self.correlation_at(time) > THIRD {
            time += Duration::from_millis(1);
        }
        time
    }
}

/// Losses that hang together for longer than that are outages, which no spacing of copies bridges.
const MEMORY_MAX: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug, Clone)]
pub struct LossModel {
    /// From the shortest memory to the longest.
    windows: [Counts; 3],
    /// When the windows forgot last.
    forgot: Option<Instant>,
    /// The last packet that was not lost to congestion: when it left, and whether it was lost.
    last: Option<(Instant, bool)>,
    /// When the last packet left that the path lost.
    lost_at: Option<Instant>,
}

/// Windows forget once in so much time.
const TICK: Duration = Duration::from_millis(50);
/// What a window keeps each [`TICK`]: 2^(−0.05 s / half-life), of 2 s, 20 s and 1280 s.
const KEPT: [f64; 3] = [0.982_820_598_5, 0.998_268_679_1, 0.999_972_924_30];
/// Only packets that left so soon after each other say how losses hang together.
const PAIR_MAX: Duration = Duration::from_millis(20);
/// And only those say for how long losses last.
const FAR_MAX: Duration = Duration::from_millis(100);
/// The upper bound of a share of losses, in deviations: 75 % confidence. References §4.2 have 90 %; in runs of losses that
/// costs more than the twentieth by which a plan may exceed the least, and a longer memory gains more than it does.
const CONFIDENCE: f64 = 0.7;
/// A longer memory is contradicted by so many deviations: by chance once in some hours.
const CONTRADICTION: f64 = 3.5;
/// The shortest memory raises the bound alone by what lies so many deviations above: what is happening right now.
const SURPRISE: f64 = 2.0;

impl Default for LossModel {
    fn default() -> Self {
        Self { windows: KEPT.map(Counts::new), forgot: None, last: None, lost_at: None }
    }
}

impl LossModel {
    /// Feedback came: what became of packets, in the order in which they left, each once.
    pub fn handle_fates(&mut self, fates: impl IntoIterator<Item = PacketFate>) {
        for fate in fates {
            self.handle_fate(fate);
        }
        self.settle();
    }

    /// When the last packet left that the path lost by itself; `None` before the first.
    pub const fn lost_at(&self) -> Option<Instant> {
        self.lost_at
    }

    /// What the leg loses, by all that feedback has told.
    pub fn estimate(&self) -> LossEstimate {
        let [fast, slow, steady] = &self.windows;
        let (loss, deviation) = (steady.loss(), steady.deviation(steady));
        let bound = if steady.lost() < LOST_MIN {
            0.0
        } else {
            let now = fast.loss() - SURPRISE * fast.deviation(steady);
            (loss + CONFIDENCE * deviation).max(now).min(1.0)
        };
        LossEstimate {
            loss,
            bound,
            correlation: steady.correlation(),
            spacing: steady.spacing(),
            congestion: fast.congestion().max(slow.congestion()),
            packets: steady.weight(),
        }
    }

    fn handle_fate(&mut self, packet: PacketFate) {
        self.forget(packet.sent);
        let is_lost = match packet.fate {
            Fate::Received => false,
            Fate::Lost(Cause::Path) => {
                self.lost_at = Some(packet.sent);
                true
            }
            Fate::Lost(Cause::Congestion) => {
                self.windows.iter_mut().for_each(Counts::add_congested);
                self.last = None;
                return;
            }
        };
        let pair = self.last.and_then(|(sent, was_lost)| {
            let spacing = packet.sent.since(sent);
            let is_near = spacing <= PAIR_MAX && self.windows[2].is_together(spacing);
            (spacing <= FAR_MAX).then_some(Pair { was_lost, spacing, is_near })
        });
        self.last = Some((packet.sent, is_lost));
        for window in &mut self.windows {
            window.add(is_lost, pair);
        }
    }

    fn forget(&mut self, now: Instant) {
        let forgot = *self.forgot.get_or_insert(now);
        let ticks = now.since(forgot).as_nanos() / TICK.as_nanos();
        if let Some(ticks) = u32::try_from(ticks).ok().filter(|ticks| *ticks > 0) {
            self.windows.iter_mut().for_each(|window| window.forget(ticks));
            self.forgot = Some(forgot + TICK * ticks);
        }
    }

    /// Gives longer windows the memory of shorter ones that contradict them.
    fn settle(&mut self) {
        let [fast, slow, steady] = &mut self.windows;
        if fast.contradicts(slow, CONTRADICTION) {
            slow.remember(fast);
        }
        if slow.contradicts(steady, CONTRADICTION) {
            steady.remember(slow);
        }
        if fast.contradicts(steady, CONTRADICTION) {
            steady.remember(fast);
        }
    }
}

/// Less than half a loss that is remembered is no loss.
const LOST_MIN: f64 = 0.5;

#[cfg(test)]
mod tests;
