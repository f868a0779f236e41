//! The buffer in front of a server: what waits and what is being served, first come, first served.
//!
//! In: `offer`. Out: `take` (the server begins with the next one), then `release` (its last bit has left). A parcel
//! occupies the buffer from its arrival until its last bit has left, and not a moment longer: what flies is elsewhere.
//! Limit: the plan's depth, and [`PARCELS_MAX`]; what finds no room is refused, but an empty buffer takes anything, as
//! an idle line does. `CoDel` drops, and ECN marks, as the server takes parcels: the sojourn is known then.

use std::collections::VecDeque;
use std::time::Duration;

use cc::Ecn;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::codel::CoDel;
use super::plan::{Depth, EcnMarking, Queue};
use super::{DropCause, Dropped, Parcel};

/// No buffer holds more parcels, whatever its plan says: a second of 60-byte packets at 250 Mbit/s.
const PARCELS_MAX: usize = 1 << 19;

/// What waits or is being served.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    pub(super) arrived: Instant,
    pub(super) size: DataSize,
    pub(super) parcel: P,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Buffer<P> {
    depth: Depth,
    /// What the depth is in bytes at this rate.
    limit: (Bitrate, DataSize),
    codel: Option<CoDel>,
    ecn: Option<EcnMarking>,
    /// The first `serving` ones are the server's, the others wait.
    parcels: VecDeque<Waiting<P>>,
    serving: usize,
    size: DataSize,
    /// The part of `size` that waits.
    waiting: DataSize,
}

impl<P: Parcel> Buffer<P> {
    pub(super) fn new(queue: &Queue, ecn: Option<EcnMarking>) -> Self {
        let mut buffer = Self {
            depth: Depth::Packets(0),
            limit: (Bitrate::ZERO, DataSize::ZERO),
            codel: None,
            ecn: None,
            parcels: VecDeque::new(),
            serving: 0,
            size: DataSize::ZERO,
            waiting: DataSize::ZERO,
        };
        buffer.replan(queue, ecn);
        buffer
    }

    /// Works by another plan from now on; what is inside stays, be it too much.
    pub(super) fn replan(&mut self, queue: &Queue, ecn: Option<EcnMarking>) {
        self.ecn = ecn;
        self.limit = (Bitrate::ZERO, DataSize::ZERO);
        match queue {
            Queue::DropTail(depth) => (self.depth, self.codel) = (*depth, None),
            Queue::CoDel { target, interval, depth } => {
                self.depth = *depth;
                let codel = self.codel.get_or_insert_with(|| CoDel::new(*target, *interval));
                codel.replan(*target, *interval);
            }
        }
    }

    /// Takes a parcel, or gives it back if there is no room; `rate` is what a depth in time counts with.
    pub(super) fn offer(&mut self, now: Instant, parcel: P, rate: Bitrate) -> Result<(), P> {
        let size = parcel.wire_size();
        if !self.parcels.is_empty() && !self.has_room(size, rate) {
            return Err(parcel);
        }
        self.size += size;
        self.waiting += size;
        self.parcels.push_back(Waiting { arrived: now, size, parcel });
        Ok(())
    }

    /// The server begins with the next parcel, whose size this is; what `CoDel` drops before it goes to `dropped`.
    pub(super) fn take(&mut self, now: Instant, dropped: &mut VecDeque<Dropped<P>>) -> Option<DataSize> {
        loop {
            let Some(head) = self.parcels.get_mut(self.serving) else {
                self.codel.as_mut().map(CoDel::handle_empty);
                return None;
            };
            let sojourn = now.since(head.arrived);
            let behind = self.waiting - head.size;
            let congested = self.codel.as_mut().is_some_and(|codel| codel.signals(now, sojourn, behind));
            let markable = head.parcel.ecn() != Ecn::NotCapable && self.ecn.is_some();
            if congested && !markable {
                self.drop_early(now, dropped);
                continue;
            }
            if markable && (congested || self.ecn.is_some_and(|ecn| sojourn > ecn.above)) {
                head.parcel.mark_congested();
            }
            self.waiting = behind;
            self.serving += 1;
            return Some(head.size);
        }
    }

    /// The size of the next parcel that the server could take.
    pub(super) fn peek(&self) -> Option<DataSize> {
        self.parcels.get(self.serving).map(|next| next.size)
    }

    /// The first of those being served leaves the buffer.
    pub(super) fn release(&mut self) -> Option<Waiting<P>> {
        self.serving = self.serving.checked_sub(1)?;
        let parcel = self.parcels.pop_front()?;
        self.size -= parcel.size;
        Some(parcel)
    }

    /// All that is being served waits again.
    pub(super) fn put_back(&mut self) {
        self.serving = 0;
        self.waiting = self.size;
    }

    /// How many are being served.
    pub(super) fn serving(&self) -> usize {
        self.serving
    }

    /// Whether nothing waits or is being served.
    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.parcels.len()
    }

    /// The size of all that waits or is being served.
    pub(super) fn size(&self) -> DataSize {
        self.size
    }

    fn has_room(&mut self, size: DataSize, rate: Bitrate) -> bool {
        let fits = match self.depth {
            Depth::Bytes(most) => self.size + size <= most,
            Depth::Packets(most) => self.parcels.len() < most,
            Depth::Time(depth) => self.size + size <= self.limit_at(rate, depth),
        };
        fits && self.parcels.len() < PARCELS_MAX
    }

    fn limit_at(&mut self, rate: Bitrate, depth: Duration) -> DataSize {
        if self.limit.0 != rate {
            self.limit = (rate, rate * depth);
        }
        self.limit.1
    }

    fn drop_early(&mut self, now: Instant, dropped: &mut VecDeque<Dropped<P>>) {
        if let Some(head) = self.parcels.remove(self.serving) {
            self.size -= head.size;
            self.waiting -= head.size;
            dropped.push_back(Dropped { parcel: head.parcel, cause: DropCause::Early, at: now });
        }
    }
}
