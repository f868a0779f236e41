//! The product's plan on the product's loss model, carried out as the SFU does.

use std::time::Duration;

use fec::loss_model::{LossModel, PacketFate};
use fec::plan::masks::Interleaved;
use fec::plan::{BlockPlan, Planner, Receiver, Request, Tables};
use proto::time::Instant;

use super::air::Air;
use super::cell::Cell;
use super::policy::send_counted;

/// See the module's description.
pub(super) struct Ours {
    receiver: Receiver,
    model: LossModel,
    tables: Tables<Interleaved>,
    planner: Planner,
}

impl Ours {
    pub(super) fn new(receiver: Receiver, model: LossModel, tables: Tables<Interleaved>) -> Self {
        Self { receiver, model, tables, planner: Planner::new(receiver) }
    }

    pub(super) fn handle_fates(&mut self, now: Instant, cell: &Cell, fates: &[PacketFate]) {
        self.model.handle_fates(fates.iter().copied());
        self.planner.handle_feedback(now, &self.model.estimate(), cell.timing(), &mut self.tables);
    }

    pub(super) fn send(&mut self, air: &mut Air<'_>) {
        let plan = self.planner.plan_block(air.cell.media, &air.cell.goal(), None);
        match self.receiver {
            Receiver::Native => self.send_symbols(air, &plan),
            Receiver::FlexFec | Receiver::Retransmit => self.send_packets(air, &plan),
        }
    }

    fn send_symbols(&self, air: &mut Air<'_>, plan: &BlockPlan) {
        let mut repairs = 0;
        send_counted(air, plan.parities, |air, missing, _| {
            let left = air.left(repairs + 1)?;
            let repair = self.planner.plan_repair(plan, Request { missing, repairs, left })?;
            repairs += 1;
            Some(repair.packets)
        });
    }

    /// Parity by interleaved masks, then copies and parity over what is missing.
    fn send_packets(&self, air: &mut Air<'_>, plan: &BlockPlan) {
        let media = air.cell.media;
        let mut receiver = Peeler { missing: !air.send_media() & ((1 << media) - 1), parities: Vec::new() };
        if receiver.missing == 0 {
            air.note_whole(air.at(0, media - 1));
        }
        for row in 0..plan.parities {
            let mask = (row..media).step_by(plan.parities).fold(0, |mask, packet| mask | 1 << packet);
            let at = air.at(0, media + row);
            let is_there = air.send_repair(at);
            receiver.handle_parity(air, at, mask, is_there);
        }
        for repairs in 0.. {
            let Some(left) = air.left(repairs + 1) else { break };
            let missing = receiver.missing;
            let request = Request { missing: missing.count_ones() as usize, repairs, left };
            let Some(repair) = self.planner.plan_repair(plan, request) else { break };
            let copies = repair.packets - repair.parities;
            for (at, packet) in copies_of(air, repairs + 1, missing, copies, repair.spacing) {
                let is_there = air.send_repair(at);
                receiver.handle_packet(air, at, packet, is_there);
            }
            let last = air.at(repairs + 1, request.missing) + repair.spacing;
            for _ in 0..repair.parities {
                let is_there = air.send_repair(last);
                receiver.handle_parity(air, last, missing, is_there);
            }
        }
    }
}

/// When which of the missing packets is sent: all of them, then all once more, `spacing` later, as far as copies go.
fn copies_of(
    air: &Air<'_>,
    round: usize,
    missing: u64,
    copies: usize,
    spacing: Duration,
) -> Vec<(Duration, u64)> {
    let packets: Vec<u64> =
        (0..64).map(|packet| 1 << packet).filter(|packet| missing & packet != 0).collect();
    (0..copies)
        .map(|copy| {
            let (wave, place) = (copy / packets.len(), copy % packets.len());
            (air.at(round, place) + spacing * wave as u32, packets[place])
        })
        .collect()
}

/// A browser's decoder: a parity whose mask misses one packet replaces it.
struct Peeler {
    missing: u64,
    parities: Vec<u64>,
}

impl Peeler {
    fn handle_packet(&mut self, air: &mut Air<'_>, at: Duration, packet: u64, is_there: bool) {
        if is_there && self.missing & packet != 0 {
            self.missing &= !packet;
            self.peel(air, at);
        }
    }

    fn handle_parity(&mut self, air: &mut Air<'_>, at: Duration, mask: u64, is_there: bool) {
        if is_there && self.missing != 0 {
            self.parities.push(mask);
            self.peel(air, at);
        }
    }

    fn peel(&mut self, air: &mut Air<'_>, at: Duration) {
        let single = |missing: u64, mask: &u64| (mask & missing).is_power_of_two();
        while let Some(mask) = self.parities.iter().find(|mask| single(self.missing, mask)) {
            self.missing &= !mask;
        }
        if self.missing == 0 {
            air.note_whole(at);
        }
    }
}
