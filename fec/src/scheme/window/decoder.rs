//! Restores lost packets by solving equations: each sum is one, each missing packet an unknown (Gauss–Jordan, one
//! equation at a time).
//!
//! In: symbols in any order. Out: `poll_restored`. Time: none. Limit: `HORIZON` packets and `EQUATIONS_MAX` sums of at
//! most 1500 bytes, the oldest make room; a symbol costs at most two multiplications for each sum that waits.

use std::collections::VecDeque;

use proto::rtp::symbol::{RepairId, SPAN_MAX, Symbol, SymbolError};
use proto::rtp::{SeqNo, SeqUnwrapper};

use super::{HORIZON, slot};
use crate::scheme::reed_solomon::{LENGTH_LEN, PACKET_MAX, Sum, factor, inverse, product};

/// Sums that wait: more than one block's.
const EQUATIONS_MAX: usize = 64;

/// Why a symbol is of no use to the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none.
    #[error(transparent)]
    Symbol(#[from] SymbolError),
    /// It is longer than any packet that may be protected, or too short for a sum.
    #[error("{0} bytes")]
    Size(usize),
    /// It protects packets more than 64 numbers ahead, or no packet has come yet.
    #[error("{0:?} is far ahead")]
    TooFar(SeqNo),
    /// It is, or protects, a packet too old to be kept.
    #[error("{0:?} is too old")]
    TooOld(SeqNo),
    /// It is shorter than a packet that it claims to be a sum of.
    #[error("{0:?} is longer than the sum that it is in")]
    TooShort(SeqNo),
}

/// What a [`WindowDecoder`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowStats {
    /// Repair symbols that came.
    pub repairs: u64,
    /// Packets restored.
    pub restored: u64,
    /// Repair symbols that said nothing new, or waited until they did not.
    pub unneeded: u64,
    /// Sums given up because too much of what they protect was missing for too long.
    pub expired: u64,
    /// Symbols refused as they came.
    pub refused: u64,
    /// Sums dropped because they do not agree with the packets that came.
    pub inconsistent: u64,
}

/// The receiver's side of one stream's repair.
#[derive(Debug)]
pub struct WindowDecoder {
    unwrapper: SeqUnwrapper,
    newest: Option<u64>, // the highest number that is known to exist
    sources: Vec<Source>,
    equations: Vec<Equation>, // each has a pivot, in which no other has a part
    restored: VecDeque<u64>,
    spare: Vec<u8>,
    stats: WindowStats,
}

/// A packet that is there; number 0 is none, extended numbers begin at 2^16.
#[derive(Debug, Clone, Default)]
struct Source {
    number: u64,
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Equation {
    factors: Box<[u8; HORIZON as usize]>, // of the packets missing, by number modulo `HORIZON`
    pivot: usize,                         // a place whose factor is 1
    sum: Sum,
}

impl Default for WindowDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl WindowDecoder {
    /// A decoder that has seen nothing. Make it when the first repair symbol comes: until then it has no use.
    pub fn new() -> Self {
        Self {
            unwrapper: SeqUnwrapper::default(),
            newest: None,
            sources: vec![Source::default(); usize::from(HORIZON)],
            equations: Vec::new(),
            restored: VecDeque::new(),
            spare: Vec::new(),
            stats: WindowStats::default(),
        }
    }

    /// A symbol came. What is in a source symbol is the caller's already; it is copied here for later sums.
    pub fn handle_symbol(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        self.admit(payload).inspect_err(|_| self.stats.refused += 1)
    }

    /// The next packet restored, with its number; poll until `None`.
    pub fn poll_restored(&mut self) -> Option<(SeqNo, &[u8])> {
        let number = loop {
            let number = self.restored.pop_front()?;
            if self.has(number) {
                break number;
            }
        };
        Some((SeqNo(number as u16), &self.sources[slot(number)].packet))
    }

    /// How many sums wait for more symbols.
    pub fn waiting(&self) -> usize {
        self.equations.len()
    }

    /// What happened since the decoder was made.
    pub const fn stats(&self) -> WindowStats {
        self.stats
    }

    fn admit(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        match Symbol::parse(payload)? {
            Symbol::Source { number, packet } => self.admit_source(number, packet)?,
            Symbol::Repair { id, sum } => {
                self.stats.repairs += 1;
                self.admit_repair(id, sum)?;
            }
        }
        self.harvest();
        Ok(())
    }

    fn admit_source(&mut self, number: SeqNo, packet: &[u8]) -> Result<(), Refusal> {
        if packet.len() > PACKET_MAX {
            return Err(Refusal::Size(packet.len()));
        }
        let extended = self.unwrapper.unwrap(number);
        if self.newest.is_some_and(|newest| extended + u64::from(HORIZON) <= newest) {
            return Err(Refusal::TooOld(number));
        }
        self.advance(extended);
        if !self.has(extended) {
            self.keep(extended, packet);
            self.substitute(extended);
        }
        Ok(())
    }

    fn admit_repair(&mut self, id: RepairId, sum: &[u8]) -> Result<(), Refusal> {
        if !(LENGTH_LEN..=LENGTH_LEN + PACKET_MAX).contains(&sum.len()) {
            return Err(Refusal::Size(sum.len()));
        }
        let newest = self.newest.ok_or(Refusal::TooFar(id.first))?;
        let first = self.unwrapper.peek(id.first);
        if first > newest + u64::from(SPAN_MAX) {
            return Err(Refusal::TooFar(id.first));
        }
        let end = first + u64::from(id.span);
        if first + u64::from(HORIZON) <= newest.max(end - 1) {
            return Err(Refusal::TooOld(id.first));
        }
        if (first..end).all(|number| self.has(number)) {
            self.stats.unneeded += 1;
            return Ok(());
        }
        let mut equation =
            Equation { factors: Box::new([0; HORIZON as usize]), pivot: 0, sum: Sum::default() };
        equation.sum.set(sum);
        for number in first..end {
            let factor = factor(id.row, SeqNo(number as u16));
            if !self.has(number) {
                equation.factors[slot(number)] = factor;
            } else if equation.sum.holds(&self.sources[slot(number)].packet) {
                equation.sum.add_packet(factor, &self.sources[slot(number)].packet);
            } else {
                return Err(Refusal::TooShort(SeqNo(number as u16)));
            }
        }
        self.advance(end - 1);
        self.insert(equation);
        Ok(())
    }

    /// The packet `number` exists: what is too far behind it is not kept any longer.
    fn advance(&mut self, number: u64) {
        let Some(newest) = self.newest.replace(self.newest.map_or(number, |newest| newest.max(number)))
        else {
            return;
        };
        let steps = number.saturating_sub(newest).min(u64::from(HORIZON));
        if steps == 0 || self.equations.is_empty() {
            return;
        }
        let before = self.equations.len();
        let leaving =
            |equation: &Equation| (1..=steps).any(|step| equation.factors[slot(newest + step)] != 0);
        self.equations.retain(|equation| !leaving(equation));
        self.stats.expired += (before - self.equations.len()) as u64;
    }

    fn has(&self, number: u64) -> bool {
        self.sources[slot(number)].number == number
    }

    fn keep(&mut self, number: u64, packet: &[u8]) {
        let source = &mut self.sources[slot(number)];
        source.number = number;
        source.packet.clear();
        source.packet.extend_from_slice(packet);
    }

    /// A packet that was missing is there: it is no unknown any more.
    fn substitute(&mut self, number: u64) {
        let place = slot(number);
        let packet = &self.sources[place].packet;
        let before = self.equations.len();
        self.equations.retain_mut(|equation| {
            let factor = core::mem::take(&mut equation.factors[place]);
            let fits = factor == 0 || equation.sum.holds(packet);
            if factor != 0 && fits {
                equation.sum.add_packet(factor, packet);
            }
            fits
        });
        self.stats.inconsistent += (before - self.equations.len()) as u64;
        if let Some(index) = self.equations.iter().position(|equation| equation.pivot == place) {
            let equation = self.equations.remove(index);
            self.insert(equation);
        }
    }

    /// Brings an equation into the form that the others have: a pivot of its own, and no part in theirs.
    fn insert(&mut self, mut equation: Equation) {
        for other in &self.equations {
            equation.subtract(equation.factors[other.pivot], other);
        }
        let Some(pivot) = equation.factors.iter().position(|&factor| factor != 0) else {
            self.stats.unneeded += 1;
            return;
        };
        equation.pivot = pivot;
        equation.scale(inverse(equation.factors[pivot]), &mut self.spare);
        for other in &mut self.equations {
            other.subtract(other.factors[pivot], &equation);
        }
        if self.equations.len() == EQUATIONS_MAX {
            self.equations.remove(0);
            self.stats.expired += 1;
        }
        self.equations.push(equation);
    }

    /// Takes out the equations with one unknown: those are solved.
    fn harvest(&mut self) {
        let Some(newest) = self.newest else { return };
        while let Some(index) = self.equations.iter().position(Equation::is_solved) {
            let equation = self.equations.remove(index);
            let back = (newest as usize).wrapping_sub(equation.pivot) % usize::from(HORIZON);
            let number = newest - back as u64;
            match equation.sum.packet().filter(|packet| (1..=PACKET_MAX).contains(&packet.len())) {
                Some(packet) => {
                    self.keep(number, packet);
                    self.stats.restored += 1;
                    if self.restored.len() == usize::from(HORIZON) {
                        self.restored.pop_front();
                    }
                    self.restored.push_back(number);
                }
                None => self.stats.inconsistent += 1,
            }
        }
    }
}

impl Equation {
    /// Takes another equation away, so many times; its pivot has no part in this one then.
    fn subtract(&mut self, times: u8, other: &Self) {
        if times == 0 {
            return;
        }
        for (factor, theirs) in self.factors.iter_mut().zip(other.factors.iter()) {
            *factor ^= product(times, *theirs);
        }
        self.sum.add_sum(times, &other.sum);
    }

    fn scale(&mut self, times: u8, spare: &mut Vec<u8>) {
        self.factors.iter_mut().for_each(|factor| *factor = product(times, *factor));
        self.sum.scale(times, spare);
    }

    fn is_solved(&self) -> bool {
        self.factors.iter().filter(|&&factor| factor != 0).count() == 1
    }
}
