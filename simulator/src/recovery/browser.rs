//! A block towards a browser: media, parity by the masks that the SFU has, retransmissions by request.
//!
//! A browser asks the moment it sees a gap (libwebrtc, references §1.2), before parity can have arrived, and for what is
//! lost at a block's end only when we know from feedback. [`fec::hold_off`] decides what of that is answered at once. What
//! feedback tells of parity comes a round after it left; a round later yet, what is still missing is sent again.

use std::time::Duration;

use fec::hold_off::{Fate, HoldOff, PathFacts};
use fec::loss_model::LossEstimate;
use fec::plan::{BlockPlan, Planner, Request};
use fec::scheme::flexfec::Column;
use fec::scheme::masks::{Loss, Mask};
use proto::time::Instant;

use super::air::Air;
use super::cell::TURNAROUND;

/// Losses that hang together more than that are taken for bursts, as the SFU does.
const BURSTY: f64 = 0.2;
/// The number of a block's first packet: times and numbers are the block's own, for no block tells of another.
const FIRST: u64 = 0;

/// A packet of parity that was sent.
struct Parity {
    at: Duration,
    is_there: bool,
}

/// A block on its way to a browser.
struct Block<'a, 'b> {
    air: &'a mut Air<'b>,
    planner: &'a Planner,
    plan: &'a BlockPlan,
    browser: Browser,
    /// Packets that were sent again.
    again: u64,
}

/// Sends a block and whatever repairs it.
pub(super) fn send(air: &mut Air<'_>, planner: &Planner, plan: &BlockPlan, estimate: &LossEstimate) {
    let media = air.cell.media;
    let arrived = air.send_media();
    let browser =
        Browser { missing: !arrived & all(media), parities: Vec::new(), first: plan.parities, peeled: 0 };
    if browser.missing == 0 {
        air.note_whole(air.at(0, media - 1));
    }
    let lost = browser.missing;
    let mut block = Block { air, planner, plan, browser, again: 0 };
    let (hold, parities) = block.send_parities(estimate);
    if lost == 0 {
        return;
    }
    block.answer_first(hold, &parities, lost);
    for repairs in 1.. {
        let at = block.air.at(repairs + 1, 0);
        if block.browser.missing == 0 || !block.answer(at, block.browser.missing, repairs) {
            break;
        }
    }
    block.air.paid_twice += (block.browser.peeled & block.again).count_ones() as usize;
}

/// The lowest so many bits.
fn all(packets: usize) -> u64 {
    u64::MAX.checked_shr(64 - packets as u32).unwrap_or(0)
}

impl Block<'_, '_> {
    /// Parity behind the media, and what the hold-off knows of it.
    fn send_parities(&mut self, estimate: &LossEstimate) -> (HoldOff, Vec<Parity>) {
        let (media, rows) = (self.air.cell.media, self.plan.parities);
        let timing = self.air.cell.timing();
        let path = PathFacts {
            rtt: timing.round_trip,
            one_way: timing.one_way,
            report: Duration::ZERO,
            lost: estimate.loss,
        };
        let mut hold = HoldOff::new(path);
        let loss = if estimate.correlation > BURSTY { Loss::Bursts } else { Loss::Independent };
        let Some(mask) = Mask::of(loss, media, rows) else { return (hold, Vec::new()) };
        let columns: Vec<Column> = mask.columns().collect();
        let parities = (0..rows).map(|row| {
            let covers = |packet: &usize| columns[*packet].0 >> row & 1 == 1;
            let covered = (0..media).filter(covers).fold(0, |mask, packet| mask | 1 << packet);
            let at = self.air.at(0, media + row);
            let is_there = self.air.send_repair(at);
            hold.handle_parity(time(at), row as u64, FIRST, u128::from(covered));
            self.browser.handle_parity(self.air, at, covered, is_there);
            Parity { at, is_there }
        });
        let parities = parities.collect();
        (hold, parities)
    }

    /// The first time around: what is asked for at a gap, held or not, and what is known at the block's end.
    fn answer_first(&mut self, mut hold: HoldOff, parities: &[Parity], lost: u64) {
        // A player waits longer for what it has asked for than a scene would like: so the SFU has it.
        let deadline = time((self.air.cell.deadline + self.air.cell.round_trip) * 2);
        let mut answer = Vec::new();
        let mut ask = |hold: &mut HoldOff, at: Duration, packets: u64| -> u64 {
            let asked: Vec<u64> = (0..64).filter(|packet| packets >> packet & 1 == 1).collect();
            answer.clear();
            hold.handle_nack(time(at), &asked, deadline, &mut answer);
            answer.iter().fold(0, |packets, packet| packets | 1 << packet)
        };
        let round_trip = self.air.cell.timing().round_trip;
        let mut asked = 0;
        for packet in (0..self.air.cell.media).filter(|packet| lost >> packet & 1 == 0) {
            let gap = lost & all(packet) & !asked;
            if gap != 0 {
                asked |= gap;
                let at = self.air.at(0, packet) + round_trip;
                let at_once = ask(&mut hold, at, gap);
                self.answer(at, at_once, 0);
            }
        }
        // Feedback of everything that left.
        let mut released = 0;
        let mut known = self.air.at(1, 0);
        for (id, parity) in parities.iter().enumerate() {
            known = known.max(parity.at + round_trip + TURNAROUND);
            let fate = if parity.is_there { Fate::Arrived } else { Fate::Lost };
            hold.handle_fate(time(known), id as u64, fate);
            released |= take_released(&mut hold);
        }
        // What is left at the end is known to be lost, and what of it parity has repaired.
        released |= ask(&mut hold, known, lost & !asked & self.browser.missing);
        hold.handle_timeout(time(known));
        released |= take_released(&mut hold);
        self.answer(known, released, 0);
    }

    /// Sends some packets again, as planned, if they can still be in time.
    fn answer(&mut self, at: Duration, packets: u64, repairs: usize) -> bool {
        let left = self.air.cell.deadline.saturating_sub(at);
        let request = Request { missing: packets.count_ones() as usize, repairs, left };
        let Some(repair) = self.planner.plan_repair(self.plan, request) else { return false };
        self.again |= packets;
        let copies = repair.packets - repair.parities;
        for (after, packet) in copies_of(self.air, packets, copies, repair.spacing) {
            let is_there = self.air.send_repair(at + after);
            self.browser.handle_packet(self.air, at + after, packet, is_there);
        }
        let last = at + self.air.cell.spacing() * request.missing as u32 + repair.spacing;
        for _ in 0..repair.parities {
            let is_there = self.air.send_repair(last);
            self.browser.handle_parity(self.air, last, packets, is_there);
        }
        true
    }
}

/// A time since the block began, as the hold-off has times.
fn time(since: Duration) -> Instant {
    Instant::ZERO + since
}

fn take_released(hold: &mut HoldOff) -> u64 {
    std::iter::from_fn(|| hold.poll_release()).fold(0, |packets, packet| packets | 1 << packet)
}

/// When which of the missing packets is sent: all of them, then all once more, `spacing` later, as far as copies go.
fn copies_of(air: &Air<'_>, missing: u64, copies: usize, spacing: Duration) -> Vec<(Duration, u64)> {
    let packets: Vec<u64> =
        (0..64).map(|packet| 1 << packet).filter(|packet| missing & packet != 0).collect();
    (0..copies)
        .map(|copy| {
            let (wave, place) = (copy / packets.len(), copy % packets.len());
            (air.cell.spacing() * place as u32 + spacing * wave as u32, packets[place])
        })
        .collect()
}

/// A browser's decoder: a parity whose mask misses one packet replaces it.
struct Browser {
    missing: u64,
    /// The masks that arrived; zero for what did not.
    parities: Vec<u64>,
    /// How many of them came with the block: later ones stand for copies of what is sent again.
    first: usize,
    /// What the first ones replaced.
    peeled: u64,
}

impl Browser {
    fn handle_packet(&mut self, air: &mut Air<'_>, at: Duration, packet: u64, is_there: bool) {
        if is_there && self.missing & packet != 0 {
            self.missing &= !packet;
            self.peel(air, at);
        }
    }

    fn handle_parity(&mut self, air: &mut Air<'_>, at: Duration, mask: u64, is_there: bool) {
        self.parities.push(if is_there { mask } else { 0 });
        if self.missing != 0 {
            self.peel(air, at);
        }
    }

    fn peel(&mut self, air: &mut Air<'_>, at: Duration) {
        let single = |missing: u64, mask: &u64| (mask & missing).is_power_of_two();
        while let Some(place) = self.parities.iter().position(|mask| single(self.missing, mask)) {
            let packet = self.missing & self.parities[place];
            self.missing &= !packet;
            self.peeled |= if place < self.first { packet } else { 0 };
        }
        if self.missing == 0 {
            air.note_whole(at);
        }
    }
}
