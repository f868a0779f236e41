//! The product's plan on the product's loss model, carried out as the SFU does: towards our own receivers here, towards
//! browsers in [`super::browser`].

use fec::loss_model::{LossModel, PacketFate};
use fec::plan::{BlockPlan, Planner, Receiver, Request};
use proto::time::Instant;

use super::air::Air;
use super::browser;
use super::cell::Cell;
use super::experience::Experience;
use super::policy::send_counted;

/// See the module's description.
pub(super) struct Ours {
    receiver: Receiver,
    model: LossModel,
    planner: Planner,
}

impl Ours {
    /// Over a path of which so much is known, as it would be by now.
    pub(super) fn new(
        receiver: Receiver,
        model: LossModel,
        now: Instant,
        cell: &Cell,
        experience: &mut Experience,
    ) -> Self {
        let mut ours = Self { receiver, model, planner: Planner::new(receiver) };
        // A block before the first one that counts: by then the plan knows how large they are.
        ours.handle_fates(now, cell, &[], experience);
        ours.planner.plan_block(cell.media, &cell.goal(), None);
        ours
    }

    pub(super) fn handle_fates(
        &mut self,
        now: Instant,
        cell: &Cell,
        fates: &[PacketFate],
        experience: &mut Experience,
    ) {
        self.model.handle_fates(fates.iter().copied());
        let timing = cell.timing();
        self.planner.handle_feedback(now, &self.model.estimate(), timing, &mut experience.tables);
    }

    pub(super) fn send(&mut self, air: &mut Air<'_>) {
        let plan = self.planner.plan_block(air.cell.media, &air.cell.goal(), None);
        match self.receiver {
            Receiver::Native => self.send_symbols(air, &plan),
            Receiver::FlexFec | Receiver::Retransmit => {
                browser::send(air, &self.planner, &plan, &self.model.estimate());
            }
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
}
