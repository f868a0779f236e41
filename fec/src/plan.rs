//! The mix of parity and retransmission: the least redundancy with which blocks are whole by their deadline.
//!
//! In: what a leg loses ([`crate::loss_model`]) and how long things take on it, with each feedback; blocks as they leave;
//! what receivers miss. Out: how many packets of parity go with a block ([`BlockPlan`]), what answers a request
//! ([`RepairPlan`]), how much both cost on average. Time: `now`, monotonic. Limit: constant memory a leg; the tables of all
//! legs are bounded ([`tables`]). Source: references §4, after Hairpin (NSDI 2024), with parity that never goes to waste.
//!
//! Nothing is solved a packet: [`Planner::handle_feedback`] finds the tables' entries around what the leg loses, and a
//! block is a look-up. A leg that loses nothing has no entries, and its blocks plain plans.
//!
//! Whoever executes a plan: a block of `k` packets is sent with `parities`; it is a round, and so is every answer to what is
//! then missing. For each the receiver's [`node::Receiver`] says what is sent: fresh symbols of the block's code, or the
//! missing packets in as many copies as there is room for in `packets`, the first of them once more than the last, and
//! `FlexFEC` parity over exactly what is missing. [`crate::hold_off`] says when a request need not be answered yet, [`budget`]
//! what may leave, [`guard`] takes parity back that does harm, [`red`] is sound's.

pub mod budget;
mod copies;
mod fresh;
pub mod goal;
pub mod guard;
pub mod losses;
pub mod masks;
mod node;
pub mod offline;
pub mod outlook;
pub mod red;
mod solve;
pub mod span;
mod steady;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod timing;
mod turns;

use core::time::Duration;

use proto::time::Instant;

pub use self::goal::{Goal, Kind, Promptness};
pub use self::node::{MEDIA_MAX, ROUNDS_MAX, Receiver};
pub use self::outlook::{Outlook, Usual};
pub use self::tables::Tables;
pub use self::timing::Timing;

use self::guard::Guard;
use self::masks::MaskQuality;
use self::node::{Choice, Node};
use self::steady::Steady;
use self::tables::{Conditions, Mix, Size};
use self::turns::Turns;
use crate::loss_model::LossEstimate;

/// Losses rarer than that are repaired when they are asked for, without a plan (references §4.3).
pub const SILENT: f64 = 0.0005;

/// Where one repair is to do, so few of the blocks that lose packets are not whole after it.
const PROMPT_FAILURE: f64 = 0.008;
/// How many rounds that is: the block's own, and its repair.
const PROMPT_ROUNDS: usize = 2;
/// Rounds beyond those save three of four blocks that one repair did not, at the least.
const RESERVE: f64 = 4.0;
/// One repair does even where nobody minds more of them, if it costs no more than this beside them, as a share of the media.
const CHEAP: f32 = 0.003_5;
/// Copies of a packet are so far apart at least (references §4.4), and by twice the time that losses hang together.
const COPY_SPACING: Duration = Duration::from_millis(5);
/// Before so many packets are reported, a leg that loses any is taken to be [`LossEstimate::COLD`].
const KNOWN: f64 = 100.0;

/// What goes with a block, and what its repairs go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockPlan {
    /// How many packets of parity leave with the block.
    pub parities: usize,
    /// Over how many frames they are, this one the last; 1 for a block by itself.
    pub frames: usize,
    /// How many rounds are planned, the block itself the first; later ones repeat the last.
    pub rounds: usize,
    /// Whether the goal is met; if not, no redundancy does, and a tier less is better (references §4.8).
    pub is_enough: bool,
    entry: Option<Looked>,
}

/// Where a block's plan stands in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looked {
    place: u8,
    price: u8,
    size: Size,
}

/// A receiver misses packets of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// How many.
    pub missing: usize,
    /// How often this block has been repaired before.
    pub repairs: usize,
    /// What is left of the time until the block is too late.
    pub left: Duration,
}

/// What answers a receiver that misses some packets of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairPlan {
    /// How many packets are sent, parity included; at least as many as are missing.
    pub packets: usize,
    /// Towards browsers: how many of them are parity over all that is missing. Natively all are symbols never sent before.
    pub parities: usize,
    /// How far apart the copies of one packet are, and how far behind the first ones parity leaves; zero where there is one
    /// packet of each.
    pub spacing: Duration,
}

/// The plan of one stream on one leg; see the module's description.
#[derive(Debug)]
pub struct Planner {
    receiver: Receiver,
    steady: Steady,
    timing: Option<Timing>,
    copy_spacing: Duration,
    /// How much a packet's fate tells of the next one's, 0 to 1.
    correlation: f64,
    /// What rounds leave of the time to a deadline, so that copies can be apart: nothing where losses are independent.
    reserve: Duration,
    small: Mix,
    large: Mix,
    /// Whether blocks of more packets than small entries have were planned.
    has_large: bool,
    /// The mean size of blocks, in packets.
    media_mean: f64,
    /// What a further round costs, as a share of a block.
    lateness: f64,
    turns: Turns,
    guard: Guard,
}

impl Planner {
    /// A plan towards a receiver, before anything is known of the leg.
    pub fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            steady: Steady::default(),
            timing: None,
            copy_spacing: COPY_SPACING,
            correlation: 0.0,
            reserve: Duration::ZERO,
            small: Mix::default(),
            large: Mix::default(),
            has_large: false,
            media_mean: 0.0,
            lateness: 0.0,
            turns: Turns::default(),
            guard: Guard::default(),
        }
    }

    /// Feedback came: what the leg loses by now, and how long things take. Not more often than each 50 ms is enough.
    pub fn handle_feedback<M: MaskQuality>(
        &mut self,
        now: Instant,
        estimate: &LossEstimate,
        timing: Timing,
        tables: &mut Tables<M>,
    ) {
        let timing = self.steady.timing(timing);
        // So few packets tell that something is lost, but not how much.
        let is_cold = estimate.packets < KNOWN && estimate.bound > 0.0;
        let estimate = if is_cold { &LossEstimate::COLD } else { estimate };
        let loss = self.steady.loss(now, estimate.bound, timing.round_trip);
        self.timing = Some(timing);
        if loss < SILENT {
            (self.small, self.large) = (Mix::default(), Mix::default());
            return;
        }
        self.copy_spacing = COPY_SPACING.max(estimate.memory() * 2);
        let late = self.lateness * self.media_mean;
        let correlation = estimate.correlation_at(timing.spacing);
        self.correlation = correlation;
        let carry = estimate.correlation_at(timing.round());
        let conditions = Conditions { receiver: self.receiver, loss, correlation, carry, late };
        let has_copies = self.receiver != Receiver::Native && correlation > 0.0;
        self.reserve = if has_copies { self.copy_spacing } else { Duration::ZERO };
        self.small = tables.mix(&conditions, Size::Small);
        if self.has_large {
            self.large = tables.mix(&conditions, Size::Large);
        }
    }

    /// Whether there is nothing to plan: too little is lost, or nothing is known of the leg yet.
    pub fn is_idle(&self) -> bool {
        self.small.pick([0.0, 0.0]).is_none()
    }

    /// An epoch of about a second ended; see [`Guard::handle_epoch`].
    pub fn handle_epoch(&mut self, now: Instant, redundancy: f64, loss: f64) {
        self.guard.handle_epoch(now, redundancy, loss);
    }

    /// What goes with a block of `media` packets, at most [`MEDIA_MAX`]: larger frames are that many blocks, interleaved.
    ///
    /// `interval` is the time from one frame to the next, `None` for a block that shares no parity with others.
    pub fn plan_block(&mut self, media: usize, goal: &Goal, interval: Option<Duration>) -> BlockPlan {
        let Some(timing) = self.timing else { return BlockPlan::PLAIN };
        self.note_block(media, goal, &timing);
        let rounds = self.rounds(&timing, goal);
        let frames =
            interval.map_or(1, |interval| span::span(media, rounds, &timing, goal.deadline, interval));
        let covered = media * frames;
        let turns = self.turns.next();
        let (mix, size) = self.mix(covered);
        let chosen = mix.pick([turns[0], turns[1]]).and_then(|(place, node)| {
            let (known, times) = known(node, covered);
            Some((self.choose(node, (media, known), (rounds, goal), turns[2])?, place, times))
        });
        let Some(((choice, rounds), place, times)) = chosen else {
            return BlockPlan { rounds, ..BlockPlan::PLAIN };
        };
        let parities = span::part(usize::from(choice.parities) * times, frames, turns[3]);
        BlockPlan {
            parities: self.guard.allowance().of(parities, turns[3]),
            frames,
            rounds,
            is_enough: choice.is_enough,
            entry: Some(Looked { place, price: choice.price, size }),
        }
    }

    /// What answers a request; `None` if nothing is missing, or nothing could arrive in time.
    pub fn plan_repair(&self, block: &BlockPlan, request: Request) -> Option<RepairPlan> {
        let missing = request.missing;
        let once = RepairPlan { packets: missing, parities: 0, spacing: Duration::ZERO };
        let Some(timing) = self.timing else { return (missing > 0).then_some(once) };
        if missing == 0 || request.left < timing.one_way {
            return None;
        }
        let planned = block.rounds.saturating_sub(request.repairs + 1).max(1);
        let rounds = timing.rounds(request.left).min(planned);
        let send = block.entry.and_then(|looked| {
            let mix = match looked.size {
                Size::Small => &self.small,
                Size::Large => &self.large,
            };
            let node = mix.at(looked.place).or_else(|| Some(mix.pick([0.0, 0.0])?.1))?;
            let (known, times) = known(node, missing);
            Some((node.later(looked.price, known, rounds)?, times))
        });
        let Some((send, times)) = send else { return Some(once) };
        let (packets, parities) = (usize::from(send.packets) * times, usize::from(send.parities) * times);
        let again = (packets.div_ceil(missing)).saturating_sub(1);
        let spacing = if self.receiver == Receiver::Native || again == 0 {
            Duration::ZERO
        } else {
            // The last copy must still be in time.
            self.copy_spacing.min(timing.slack(request.left, rounds) / again as u32)
        };
        Some(RepairPlan { packets, parities, spacing })
    }

    /// How much repair costs on average, as a share of the media: for blocks of `media` packets with such a goal.
    ///
    /// Allocation leaves so much room beside the media.
    pub fn redundancy(&self, media: usize, goal: &Goal) -> f64 {
        let Some(timing) = self.timing else { return 0.0 };
        let Some((_, node)) = self.mix(media).0.pick([0.0, 0.0]) else { return self.steady.bound() };
        let (known, _) = known(node, media);
        let choice = self.choose(node, (media, known), (self.rounds(&timing, goal), goal), 0.0);
        choice.map_or(0.0, |(choice, _)| f64::from(choice.sent) / known.max(1) as f64 - 1.0)
    }

    /// The entries for blocks of so many packets; those of smaller ones as long as there are none.
    fn mix(&self, media: usize) -> (&Mix, Size) {
        let is_large = Size::of(media) == Size::Large && self.large.pick([0.0, 0.0]).is_some();
        if is_large { (&self.large, Size::Large) } else { (&self.small, Size::Small) }
    }

    /// How many rounds there is time for.
    fn rounds(&self, timing: &Timing, goal: &Goal) -> usize {
        timing.rounds(goal.deadline.saturating_sub(self.reserve))
    }

    /// The first round of a block of `media` packets, `known` of them at a time in the tables, and how many rounds are planned
    /// of those that there is time for.
    fn choose(
        &self,
        node: &Node,
        (media, known): (usize, usize),
        (rounds, goal): (usize, &Goal),
        turn: f32,
    ) -> Option<(Choice, usize)> {
        let by_deadline = || node.first(known, rounds, goal.failure as f32, turn);
        if rounds <= PROMPT_ROUNDS {
            return Some((by_deadline()?, rounds));
        }
        let late = (PROMPT_FAILURE * self.lossy(media)).min(goal.failure * RESERVE) as f32;
        let prompt = node.first(known, PROMPT_ROUNDS, late, turn).filter(|prompt| prompt.is_enough);
        let is_cheap = |prompt: &Choice, all: &Choice| prompt.sent <= all.sent + CHEAP * known as f32;
        match (prompt, goal.promptness) {
            (Some(prompt), Promptness::OneRepair) => Some((prompt, PROMPT_ROUNDS)),
            (prompt, Promptness::OneRepair | Promptness::ByDeadline) => {
                let all = by_deadline()?;
                let prompt = prompt.filter(|prompt| is_cheap(prompt, &all));
                Some(prompt.map_or((all, rounds), |prompt| (prompt, PROMPT_ROUNDS)))
            }
        }
    }

    /// The chance that a block loses packets: its first one, or another at which a run of losses begins.
    fn lossy(&self, media: usize) -> f64 {
        let loss = self.steady.bound();
        let goes_on = 1.0 - loss * (1.0 - self.correlation);
        let (mut square, mut none, mut rest) = (goes_on, 1.0 - loss, media.saturating_sub(1));
        while rest > 0 {
            none *= if rest & 1 == 1 { square } else { 1.0 };
            square *= square;
            rest >>= 1;
        }
        1.0 - none
    }

    fn note_block(&mut self, media: usize, goal: &Goal, timing: &Timing) {
        self.has_large |= Size::of(media) == Size::Large;
        self.media_mean += (media as f64 - self.media_mean) / 16.0;
        let share = timing.round().as_secs_f64() / goal.deadline.as_secs_f64().max(1e-3);
        self.lateness = goal.lateness * share;
    }
}

impl BlockPlan {
    /// A block by itself, without parity; what is missing is sent once more when asked for.
    pub const PLAIN: Self = Self { parities: 0, frames: 1, rounds: 1, is_enough: true, entry: None };
}

/// A number of packets for which there is an entry, and how many times it is to be taken.
fn known(node: &Node, packets: usize) -> (usize, usize) {
    let times = packets.div_ceil(node.media_max()).max(1);
    (packets.div_ceil(times), times)
}
