//! What happens to a parcel once it has left the server: outage, then loss, then flight.

use std::collections::VecDeque;

use proto::seed::Seed;

use super::flight::{Departure, Flight};
use super::loss::Loss;
use super::plan::LinkPlan;
use super::stalls::Outages;
use super::{DropCause, Dropped};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Exit<P> {
    outages: Outages,
    loss: Loss,
    pub(super) flight: Flight<P>,
    pub(super) dropped: VecDeque<Dropped<P>>,
}

impl<P> Exit<P> {
    pub(super) fn new(plan: &LinkPlan, seed: &Seed) -> Self {
        Self {
            outages: Outages::new(&plan.outages),
            loss: Loss::new(&plan.loss, seed),
            flight: Flight::new(plan, seed),
            dropped: VecDeque::new(),
        }
    }

    /// What departs from now on meets another plan.
    pub(super) fn replan(&mut self, plan: &LinkPlan) {
        self.outages = Outages::new(&plan.outages);
        self.loss.replan(&plan.loss);
        self.flight.replan(plan);
    }

    pub(super) fn handle_departure(&mut self, departure: Departure<P>) {
        let cause = if self.outages.is_down(departure.at) {
            DropCause::Outage
        } else if self.loss.takes() {
            DropCause::Random
        } else {
            self.flight.handle_departure(departure);
            return;
        };
        self.dropped.push_back(Dropped { parcel: departure.parcel, cause, at: departure.at });
    }
}
