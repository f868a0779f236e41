//! The parcel at the head of a server, of which a part may have been served.

use std::time::Duration;

use proto::time::Instant;

use super::Parcel;
use super::exit::Exit;
use super::flight::Departure;
use super::queue::Buffer;
use super::work::Work;

/// What a server takes from and gives to.
#[derive(Debug)]
pub(super) struct Ports<'a, P> {
    pub(super) buffer: &'a mut Buffer<P>,
    pub(super) exit: &'a mut Exit<P>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// What remains of the parcel being served.
    left: Work,
    /// For how long it has been served.
    pub(super) active: Duration,
    /// What a stall has kept the server from doing.
    pub(super) saved: Work,
    /// What the air adds to the delay of what leaves now.
    pub(super) held_back: Duration,
}

impl Head {
    /// Does as much as the budget allows: finishes parcels, and begins with those behind them while some is left.
    pub(super) fn serve<P: Parcel>(&mut self, at: Instant, mut budget: Work, ports: &mut Ports<'_, P>) {
        while ports.buffer.serving() > 0 || (budget > Work::ZERO && self.take(at, ports)) {
            if self.left > budget {
                self.left = self.left.minus(budget);
                return;
            }
            budget = budget.minus(self.left);
            self.complete(at, ports);
        }
    }

    /// Begins with the next parcel, if there is one.
    pub(super) fn take<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) -> bool {
        let size = ports.buffer.take(at, &mut ports.exit.dropped);
        self.left = size.map_or(Work::ZERO, Work::of);
        self.active = Duration::ZERO;
        size.is_some()
    }

    /// The head once so much of it has been done in this time.
    pub(super) fn after(mut self, done: Work, time: Duration) -> Self {
        self.left = self.left.minus(done);
        self.active += time;
        self
    }

    pub(super) fn left(&self) -> Work {
        self.left
    }

    fn complete<P: Parcel>(&mut self, at: Instant, ports: &mut Ports<'_, P>) {
        let Some(waiting) = ports.buffer.release() else { return };
        let serialization = std::mem::take(&mut self.active);
        ports.exit.handle_departure(Departure {
            parcel: waiting.parcel,
            at,
            queued: at.since(waiting.arrived).saturating_sub(serialization),
            serialization,
            held_back: self.held_back,
        });
    }
}
