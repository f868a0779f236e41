//! Rows: what one policy did in one cell over all seeds, as one JSON object or a line of a table.

use std::time::Duration;

use fec::plan::Promptness;
use serde::Serialize;

use super::cell::Cell;
use super::experience::Experience;
use super::oracle::{Model, Question};
use super::play::Tally;
use super::policy::Policy;
use crate::report::table::{self, Align, NOTHING};
use crate::sweep::Seeds;

/// What the best policies cost that know the path, by their dynamic programme: packets beyond the media, over the media.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// Of the cheapest that meets the deadline.
    pub redundancy: f64,
    /// Whether it meets what is asked for.
    pub is_enough: bool,
    /// What any policy costs at least of whose repairs 99 % end after one round; `None` if none does.
    pub prompt: Option<f64>,
    /// Whether the best that Hairpin's grid has meets what is asked for.
    pub hairpin: bool,
}

impl Optimum {
    /// That of a cell.
    pub fn of(cell: &Cell, experience: &mut Experience) -> Self {
        let best = experience.oracle(&Question::of(Model::Optimum, cell));
        let prompt = experience.oracle(&Question::prompt(cell));
        Self {
            redundancy: best.redundancy,
            is_enough: best.is_enough && best.is_in_time(cell),
            prompt: prompt.is_enough.then_some(prompt.least),
            hairpin: experience.oracle(&Question::of(Model::Hairpin, cell)).is_enough,
        }
    }
}

/// See the module's description. Shares are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The round trip, in milliseconds.
    pub rtt: f64,
    /// The deadline, in milliseconds.
    pub deadline: f64,
    /// The share of packets lost.
    pub loss: f64,
    /// How losses hang together: `iid`, `L3`, `L8`, `outage`.
    pub burst: String,
    /// Packets a block.
    pub k: usize,
    /// The policy.
    pub policy: &'static str,
    /// The share of blocks that may not be whole.
    pub eps: f64,
    /// The seeds.
    pub seeds: Seeds,
    /// Packets beyond the media, over the media.
    pub redundancy: f64,
    /// The share of blocks that were not whole by the deadline.
    pub residual: f64,
    /// How long after their first packet's arrival 99 % of the repaired blocks were whole; null if none was repaired.
    pub p99_ms: Option<f64>,
    /// The share of the repaired blocks that took longer than a prompt repair may: a round and 10 ms, or 20 ms where only
    /// parity can help; null if none was repaired.
    pub late: Option<f64>,
    /// How many blocks lost packets and were repaired.
    pub repaired: u64,
    /// The share of lost packets that both parity and retransmission repaired; null if none was lost.
    pub paid_twice: Option<f64>,
    /// The least redundancy of any scheme without a deadline: p/(1 − p).
    pub capacity: f64,
    /// How many rounds there is time for.
    pub rounds: usize,
    /// Whether the best policy that knows the path meets `eps`.
    pub feasible: bool,
    /// What it costs, by its dynamic programme.
    pub opt_redundancy: f64,
    /// Whether the best choice of Hairpin's grid meets `eps` on the path as it is.
    pub hairpin_meets: bool,
    /// What any policy costs at least of whose repairs 99 % end after one round; null if none does, for losses last longer.
    pub prompt_least: Option<f64>,
    /// Whether one repair is to do.
    pub prompt: bool,
    /// How many blocks were counted.
    pub blocks: u64,
    /// One deviation of `redundancy`, by chance.
    pub redundancy_deviation: f64,
}

impl Row {
    /// The row of what was counted.
    pub fn new(cell: &Cell, policy: Policy, seeds: Seeds, optimum: Optimum, tally: &Tally) -> Self {
        let millis = |time: Duration| rounded(time.as_secs_f64() * 1e3);
        Self {
            rtt: millis(cell.round_trip),
            deadline: millis(cell.deadline),
            loss: cell.loss,
            burst: cell.burst.to_string(),
            k: cell.media,
            policy: policy.name(),
            eps: cell.eps,
            seeds,
            redundancy: rounded(tally.redundancy()),
            residual: rounded(tally.residual()),
            p99_ms: tally.p99().map(millis),
            late: tally.late(cell.prompt()).map(rounded),
            repaired: tally.delays.len() as u64,
            paid_twice: tally.paid_twice().map(rounded),
            capacity: rounded(cell.capacity()),
            rounds: cell.rounds(),
            feasible: optimum.is_enough,
            opt_redundancy: rounded(optimum.redundancy),
            hairpin_meets: optimum.hairpin,
            prompt_least: optimum.prompt.map(rounded),
            prompt: cell.promptness == Promptness::OneRepair,
            blocks: tally.blocks,
            redundancy_deviation: rounded(tally.redundancy_deviation()),
        }
    }

    /// Where it was played, for people.
    pub fn title(&self) -> String {
        let Self { rtt, deadline, burst, k, .. } = self;
        let prompt = if self.prompt { " prompt" } else { "" };
        format!("{rtt}/{deadline} ms {burst} {} % k {k}{prompt}", rounded(self.loss * 100.0))
    }
}

/// Six digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The table of some rows.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let columns = [
        ("cell", Align::Left),
        ("rounds", Align::Right),
        ("policy", Align::Left),
        ("redundancy, %", Align::Right),
        ("optimum, %", Align::Right),
        ("residual", Align::Right),
        ("p99, ms", Align::Right),
        ("paid twice, %", Align::Right),
    ];
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
    };
    let cells = rows.iter().map(|row| {
        vec![
            row.title(),
            row.rounds.to_string(),
            row.policy.to_owned(),
            number(Some(row.redundancy * 100.0), 1),
            number(row.feasible.then_some(row.opt_redundancy * 100.0), 1),
            format!("{:.1e}", row.residual),
            number(row.p99_ms, 0),
            number(row.paid_twice.map(|share| share * 100.0), 0),
        ]
    });
    table::lines(&columns.map(|(name, align)| (name.to_owned(), align)), &cells.collect::<Vec<_>>())
}
