//! What a link is like: a value that scenarios build and TOML files state.

use std::sync::Arc;
use std::time::Duration;

use proto::units::{Bitrate, DataSize};

/// A link's plan. Times in it count from the start of the run, which is [`Instant::ZERO`](proto::time::Instant::ZERO),
/// whenever the plan comes into force.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    /// How fast the link serializes.
    pub rate: Rate,
    /// What waits for the link, and when it is full.
    pub queue: Queue,
    /// A token bucket in front of the queue.
    pub policer: Option<Policer>,
    /// Marking instead of waiting, where packets can be marked.
    pub ecn: Option<EcnMarking>,
    /// Pauses of the server: what waits leaves in a burst after each.
    pub stalls: Option<Stalls>,
    /// Spans in which everything that would leave the server is lost.
    pub outages: Vec<Outage>,
    /// Losses behind the queue.
    pub loss: Loss,
    /// Propagation.
    pub delay: Duration,
    /// Variation of the propagation.
    pub jitter: Option<Jitter>,
}

impl Default for LinkPlan {
    /// As fast as one likes, without delay or loss.
    fn default() -> Self {
        Self {
            rate: Rate::Unlimited,
            queue: Queue::DropTail(Depth::Time(Duration::from_millis(300))),
            policer: None,
            ecn: None,
            stalls: None,
            outages: Vec::new(),
            loss: Loss::None,
            delay: Duration::ZERO,
            jitter: None,
        }
    }
}

/// How fast a link serializes.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// At once.
    Unlimited,
    /// Always the same.
    Constant(Bitrate),
    /// From each time on another, ascending; the first begins at zero. A rate of zero stops the link.
    Steps(Vec<(Duration, Bitrate)>),
    /// Opportunities to deliver, repeated for ever (mahimahi's model: an opportunity carries several small packets or a
    /// part of a large one; what it cannot use is wasted).
    Opportunities(Arc<Opportunities>),
    /// A shared Wi-Fi channel.
    Wifi(Wifi),
    /// A cell: a rate that changes by the subframe, behind a queue for each user, with HARQ's delays.
    Lte(Lte),
}

/// Opportunities to deliver so many bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opportunities {
    /// What one opportunity carries.
    pub size: DataSize,
    /// When they come, ascending, the last one no later than `period`.
    pub times: Vec<Duration>,
    /// After how long they repeat; more than zero.
    pub period: Duration,
}

impl Opportunities {
    /// The mean rate of the whole trace.
    pub fn mean(&self) -> Bitrate {
        Bitrate::of(self.size * self.times.len() as u64, self.period).unwrap_or_default()
    }
}

/// How much may wait. The parcel being served counts until its last bit has left; an empty link takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// So many bytes.
    Bytes(DataSize),
    /// So many packets.
    Packets(usize),
    /// What the link's rate of the moment serializes in this time: the current step's rate, or the latest one that was
    /// not zero; the mean where the rate changes by the packet (opportunities, Wi-Fi, fading).
    Time(Duration),
}

/// What waits for the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// First come, first served; what finds no room is dropped.
    DropTail(Depth),
    /// Controlled delay (RFC 8289).
    CoDel {
        /// The delay that may stand.
        target: Duration,
        /// For how long it may be exceeded.
        interval: Duration,
        /// What may wait at most.
        depth: Depth,
    },
}

/// A token bucket that drops what exceeds it (RFC 2697's single rate, without colors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policer {
    /// How fast tokens come.
    pub rate: Bitrate,
    /// How many bytes of tokens the bucket holds.
    pub burst: DataSize,
}

/// Marking of packets that are capable of ECN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcnMarking {
    /// The queue delay above which every capable packet is marked (RFC 9332's step for L4S). With `CoDel`, capable
    /// packets are marked where others would be dropped too; [`Duration::MAX`] leaves it at that.
    pub above: Duration,
}

/// Pauses of the server at regular times. What it would have served meanwhile of what waits leaves in a burst at the
/// end, so that a stall delays but takes no capacity (a Wi-Fi channel only goes on: its aggregates are bursts anyway).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalls {
    /// From the start of one to the start of the next; the first comes after this time.
    pub every: Duration,
    /// How long each lasts.
    pub length: Duration,
}

/// A span without delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When it begins.
    pub start: Duration,
    /// How long it lasts.
    pub length: Duration,
}

/// Which packets are lost behind the queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// None.
    None,
    /// Each with the same chance, whatever became of others.
    Independent(f64),
    /// A good and a bad state (Gilbert 1960, Elliott 1963), a step each packet.
    GilbertElliott(GilbertElliott),
    /// Each `n`th packet.
    EveryNth(u64),
    /// By a list that repeats: `true` is lost.
    Trace(Arc<[bool]>),
}

/// The four chances of the Gilbert-Elliott model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GilbertElliott {
    /// From the good state to the bad one, a packet.
    pub good_to_bad: f64,
    /// From the bad state to the good one, a packet; bursts are `1/bad_to_good` packets long on average.
    pub bad_to_good: f64,
    /// Loss in the good state.
    pub loss_good: f64,
    /// Loss in the bad state.
    pub loss_bad: f64,
}

/// Variation of the propagation (RFC 8868: NR-BPDV, a truncated normal distribution), centered on the delay; the center
/// is the greatest offset where the delay is less, so that nothing arrives before it departed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    /// The standard deviation.
    pub sigma: Duration,
    /// Where it is cut off, in standard deviations, on both sides.
    pub sigmas_max: f64,
    /// Whether packets may overtake each other.
    pub reorder: bool,
}

impl Jitter {
    /// The RFC's shape with this deviation: cut off at three of them, no reordering. 5 ms gives its 30 ms of range.
    pub const fn nr_bpdv(sigma: Duration) -> Self {
        Self { sigma, sigmas_max: 3.0, reorder: false }
    }
}

/// A Wi-Fi channel shared by stations: aggregates of packets (A-MPDU), contention, stalls (RFC 8869 §4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wifi {
    /// What the channel carries when one station has it.
    pub rate: Bitrate,
    /// The longest aggregate, in time on the air.
    pub aggregate: Duration,
    /// The mean time that others hold the channel between two aggregates of ours (exponential).
    pub contention: Duration,
    /// How often the channel stalls (mean, exponential); `None` for never.
    pub stall_every: Option<Duration>,
    /// How long stalls last at most (uniform from a quarter of it).
    pub stall_length: Duration,
}

impl Wifi {
    /// What one station gets between stalls if it always has something to send.
    pub fn share(&self) -> Bitrate {
        let (own, cycle) = (self.aggregate.as_secs_f64(), (self.aggregate + self.contention).as_secs_f64());
        if cycle > 0.0 { self.rate.scaled(own / cycle) } else { self.rate }
    }
}

/// A cell of LTE as one user sees it (RFC 8869 §3): the scheduler's rate wanders, each subframe is 1 ms, and a transport
/// block that was not decoded comes 8 ms later.
#[derive(Debug, Clone, PartialEq)]
pub struct Lte {
    /// The rate: steps, or a synthetic one.
    pub rate: LteRate,
    /// The share of transport blocks that need another try, at most 3 of them each.
    pub harq_retries: f64,
}

/// Where a cell's rate comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum LteRate {
    /// Measured rates, from each time on, repeated after the last one's second.
    Steps(Vec<(Duration, Bitrate)>),
    /// A mean that fades: log-normal with correlation over `coherence`.
    Fading {
        /// The mean.
        mean: Bitrate,
        /// The standard deviation of the natural logarithm.
        sigma: f64,
        /// How long a rate resembles itself.
        coherence: Duration,
    },
}
