//! Policies that know the path: the optimum, and Hairpin's (NSDI 2024), each by its own dynamic programme.
//!
//! In: a cell, with what the path really loses. Out: [`Oracle`], what to send at every state. Written apart from the plan
//! that it is the measure of. One policy, no taking of turns: the cheapest one that any price of a failed block leads to and
//! that fails rarely enough, the price found by bisection (references §4.3). Exact where rounds are independent.

use std::time::Duration;

use fec::plan::losses::{Channel, RunLosses};

use super::cell::{Cell, LATE};

/// The most packets of a round: a code over GF(2⁸) has no more symbols.
const PACKETS_MAX: usize = 255;
/// How often the price is halved down: to less than a thousandth.
const BISECTIONS: usize = 40;
/// Prices lie between one packet and so many.
const PRICE_MAX: f64 = 1e9;

/// What a packet of a round may do for the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// Every packet that arrives counts, of whatever round.
    Optimum,
    /// A round that cannot be decoded gives the media that arrived; its parity is thrown away. Shares of redundancy are
    /// those of the authors' grid.
    Hairpin,
}

/// Hairpin's shares of redundancy: 0, 0.05 … 0.95, 1, 2 … 5 times the missing packets (its published model).
fn hairpin_packets(missing: usize) -> impl Iterator<Item = usize> {
    let shares = (0..20).map(|step| f64::from(step) * 0.05).chain((1..=5).map(f64::from));
    shares.map(move |share| missing + (missing as f64 * share).round() as usize)
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Oracle {
    /// How many packets to send: `[rounds left − 1][missing]`; the last are the block's own, its media missing.
    packets: Vec<Vec<u8>>,
    /// How many packets are sent on average beyond the media, over the media.
    pub(super) redundancy: f64,
    /// The same for any policy that fails as rarely, taking turns included: a proven bound, not a policy.
    pub(super) least: f64,
    /// Whether it fails rarely enough.
    pub(super) is_enough: bool,
}

/// The best at a state, and what is to be expected from there.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    packets: usize,
    value: f64,
    fail: f64,
    sent: f64,
}

/// What the best policy is asked for; all that its dynamic programme goes by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    model: Model,
    media: usize,
    rounds: usize,
    channel: Channel,
    /// The correlation from one round to the next.
    carry: f64,
    /// How many packets the first round may have, and a later one.
    most: (usize, usize),
    /// The share of blocks that may not be whole after the last round.
    fail: f64,
}

impl Question {
    /// To meet a cell's deadline.
    pub(super) fn of(model: Model, cell: &Cell) -> Self {
        Self {
            model,
            media: cell.media,
            rounds: cell.rounds().max(1),
            channel: cell.channel(),
            carry: cell.carry(),
            most: (PACKETS_MAX, PACKETS_MAX),
            fail: cell.eps,
        }
    }

    /// That of the blocks that lose packets all but a hundredth are whole after one repair, however many rounds follow.
    ///
    /// A later packet of either round than can arrive by then is of no use.
    pub(super) fn prompt(cell: &Cell) -> Self {
        let losses = RunLosses::new(cell.channel(), 0.0, cell.media);
        let lossy = 1.0 - losses.of(cell.media)[0];
        let within = |time: Duration| {
            let packets = 1 + (time.as_nanos() / cell.spacing().as_nanos().max(1)) as usize;
            packets.min(PACKETS_MAX)
        };
        let most = (within(cell.prompt()).max(cell.media), within(LATE));
        let rounds = cell.rounds().clamp(1, 2);
        Self { rounds, most, fail: lossy * LATE_SHARE, ..Self::of(Model::Optimum, cell) }
    }
}

/// How many of the repairs may take longer than a prompt one does.
const LATE_SHARE: f64 = 0.01;

impl Oracle {
    /// The policy for a question.
    pub(super) fn new(question: &Question) -> Self {
        let problem = Problem::new(question);
        // Whatever a failure costs, no policy is cheaper than the one that is best then: for any share of failures that
        // it must keep, it sends no less than this one does and what failures beyond that share would have cost (duality).
        let mut bound = 0.0_f64;
        let mut of = |price: f64| {
            let found = problem.solve(price);
            bound = bound.max(found.sent + price * (found.fail - question.fail));
            found
        };
        let cheapest = of(1.0);
        let is_cheapest = cheapest.fail <= question.fail;
        let (mut low, mut high) = (1.0_f64, if is_cheapest { 1.0 } else { PRICE_MAX });
        let mut best = if is_cheapest { cheapest } else { of(high) };
        let is_enough = best.fail <= question.fail;
        for _ in 0..BISECTIONS {
            let middle = (low * high).sqrt();
            if !is_enough || high / low < 1.000_1 {
                break;
            }
            let found = of(middle);
            if found.fail <= question.fail {
                (best, high) = (found, middle);
            } else {
                low = middle;
            }
        }
        let over = |sent: f64| sent / question.media as f64 - 1.0;
        Self { redundancy: over(best.sent), least: over(bound).max(0.0), packets: best.packets, is_enough }
    }

    /// How many packets to send when so many are missing, with so many rounds left.
    pub(super) fn packets(&self, missing: usize, rounds: usize) -> usize {
        let round = self.packets.get(rounds.saturating_sub(1)).or(self.packets.last());
        round.and_then(|round| round.get(missing)).map_or(missing, |packets| usize::from(*packets))
    }

    /// Whether its last round, however large, has left before it is too late: the programme counts rounds, not packets.
    pub(super) fn is_in_time(&self, cell: &Cell) -> bool {
        let rounds = cell.rounds().max(1);
        let least = if rounds == 1 { cell.media } else { 1 };
        let most = (least..=cell.media).map(|missing| self.packets(missing, 1)).max().unwrap_or(0);
        let time = cell.timing().slack(cell.deadline, rounds) + super::cell::PACING;
        cell.spacing() * most as u32 <= time
    }
}

/// A solution for one price.
struct Solution {
    packets: Vec<Vec<u8>>,
    fail: f64,
    sent: f64,
}

struct Problem {
    model: Model,
    media: usize,
    rounds: usize,
    most: (usize, usize),
    first: RunLosses,
    later: RunLosses,
    /// `[n][k]`: in how many ways k of n can be chosen.
    ways: Vec<Vec<f64>>,
}

impl Problem {
    fn new(question: &Question) -> Self {
        let Question { model, media, rounds, channel, carry, most, .. } = *question;
        let mut ways: Vec<Vec<f64>> = vec![vec![1.0]];
        for n in 1..=PACKETS_MAX {
            let last = &ways[n - 1];
            let at = |k: usize| last.get(k).copied().unwrap_or(0.0);
            ways.push((0..=n).map(|k| at(k) + if k == 0 { 0.0 } else { at(k - 1) }).collect());
        }
        let first = RunLosses::new(channel, 0.0, PACKETS_MAX);
        let later = RunLosses::new(channel, carry, PACKETS_MAX);
        Self { model, media, rounds, most, first, later, ways }
    }

    fn solve(&self, price: f64) -> Solution {
        let failed = State { value: price, fail: 1.0, ..State::default() };
        let mut next: Vec<State> = vec![failed; self.media + 1];
        next[0] = State::default();
        let mut packets = Vec::new();
        for round in 1..=self.rounds {
            let is_first = round == self.rounds;
            let (losses, most) =
                if is_first { (&self.first, self.most.0) } else { (&self.later, self.most.1) };
            let least = if is_first { self.media } else { 0 };
            let mut states = vec![State::default(); self.media + 1];
            for (missing, state) in states.iter_mut().enumerate().skip(least.max(1)) {
                *state = self.best(losses, (missing, most.max(missing)), &next);
            }
            packets.push(states.iter().map(|state| state.packets as u8).collect());
            next = states;
        }
        Solution { packets, fail: next[self.media].fail, sent: next[self.media].sent }
    }

    fn best(&self, losses: &RunLosses, (missing, most): (usize, usize), next: &[State]) -> State {
        let mut best: Option<State> = None;
        let mut consider = |packets: usize| {
            if best.is_some_and(|best| packets as f64 >= best.value) {
                return;
            }
            let sent = packets as f64;
            let mut state = State { packets, value: sent, fail: 0.0, sent };
            self.after(losses, missing, packets, |still, chance| {
                state.value += chance * next[still].value;
                state.fail += chance * next[still].fail;
                state.sent += chance * next[still].sent;
            });
            if best.is_none_or(|best| state.value < best.value) {
                best = Some(state);
            }
        };
        match self.model {
            Model::Optimum => (missing..=most).for_each(&mut consider),
            Model::Hairpin => {
                hairpin_packets(missing).filter(|packets| *packets <= most).for_each(&mut consider);
            }
        }
        best.unwrap_or_default()
    }

    /// What is still missing after a round, with its chance.
    fn after(&self, losses: &RunLosses, missing: usize, packets: usize, mut still: impl FnMut(usize, f64)) {
        let chances = losses.of(packets);
        match self.model {
            Model::Optimum => {
                for (more, chance) in chances[packets - missing + 1..].iter().enumerate() {
                    still(more + 1, *chance);
                }
            }
            Model::Hairpin => {
                let parities = packets - missing;
                let all = &self.ways[packets];
                for lost in parities + 1..=packets {
                    for media in (lost - parities).max(1)..=lost.min(missing) {
                        let share = self.ways[missing][media] * self.ways[parities][lost - media] / all[lost];
                        still(media, chances[lost] * share);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fec::plan::Promptness;

    use super::*;
    use crate::recovery::weather::Burst;

    fn cell((round_trip, deadline): (u64, u64), loss: f64, burst: Burst, media: usize, eps: f64) -> Cell {
        let ms = Duration::from_millis;
        let (round_trip, deadline) = (ms(round_trip), ms(deadline));
        Cell { round_trip, deadline, loss, burst, media, eps, promptness: Promptness::ByDeadline }
    }

    #[test]
    fn both_cost_what_they_cost_elsewhere() {
        let (iid, runs) = (Burst::Independent, Burst::Packets(3));
        let (three, two, one) = ((30, 100), (60, 150), (100, 150));
        // Percent of the media by the grids of references §5: the optimum, and Hairpin's semantics at the same ε.
        for (at, burst, media, loss, eps, optimum, hairpin) in [
            (three, iid, 4, 0.01, 1e-3, 1.0, 1.0),
            (three, iid, 12, 0.20, 1e-3, 30.9, 33.8),
            (three, runs, 32, 0.10, 1e-3, 14.5, 14.9),
            (two, iid, 12, 0.02, 1e-3, 3.8, 3.8),
            (two, iid, 12, 0.05, 1e-3, 9.8, 9.8),
            (two, iid, 12, 0.10, 1e-3, 19.3, 26.9),
            (two, iid, 32, 0.10, 1e-3, 15.7, 20.7),
            (two, iid, 32, 0.20, 1e-3, 33.2, 47.9),
            (two, runs, 12, 0.05, 1e-3, 17.8, 18.5),
            (two, runs, 32, 0.10, 1e-4, 31.5, 36.9),
            (one, iid, 12, 0.05, 1e-3, 33.3, 33.3),
            (one, iid, 32, 0.02, 1e-3, 12.5, 15.6),
            (one, runs, 4, 0.02, 1e-3, 250.0, 300.0),
        ] {
            let cell = cell(at, loss, burst, media, eps);
            for (model, expected) in [(Model::Optimum, optimum), (Model::Hairpin, hairpin)] {
                let oracle = Oracle::new(&Question::of(model, &cell));
                let found = oracle.redundancy * 100.0;
                let name = format!("{model:?} {at:?} {burst} k {media} at {loss}, ε {eps}: {found:.2} %");
                assert!(oracle.is_enough, "{name}");
                // Hairpin's own grid of prices is coarser: a finer one leads to policies as cheap or cheaper.
                let least = if model == Model::Optimum { expected * 0.98 - 0.06 } else { optimum - 0.06 };
                assert!(found >= least && found <= expected * 1.02 + 0.06, "{name}, {expected} % elsewhere");
            }
        }
    }

    #[test]
    fn what_no_policy_can_meet_says_so() {
        let oracle =
            Oracle::new(&Question::of(Model::Optimum, &cell((100, 150), 0.1, Burst::Outage, 12, 1e-3)));
        assert!(!oracle.is_enough, "one round, and an outage takes all of it");
    }
}
