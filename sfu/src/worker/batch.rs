//! `Batch`: the packets that came together, whose copies they are to become, and which clients have something to do.
//!
//! In: packets, routes. Out: clients, each once, and their copies in the order in which they came. Time: none. Limit:
//! [`COPIES_FULL`] and what a shell hands over at a time, if it asks; the memory is kept from batch to batch.
//!
//! A packet that came in touches nothing of its subscribers: their state is read once, in their turn, however many packets
//! there are for each. It lies in one place here for all of them, twelve bytes a copy.

use std::collections::VecDeque;

use super::client::{ClientKey, Route};
use crate::control::room::MemberKey;
use crate::transport::packet::{SourcePacket, StreamId};

/// More copies are not to wait for turns: 1.5 MB of them, or 65 packets for a thousand subscribers.
const COPIES_FULL: usize = 1 << 16;

/// No copy.
const NONE: u32 = u32::MAX;

/// A packet of the batch.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) stream: StreamId,
    pub(super) packet: SourcePacket,
}

/// Which packet of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketPlace(u32);

/// A packet's copy for a slot; those of a client are a list.
#[derive(Debug, Clone, Copy)]
struct Copy {
    packet: u32,
    slot: u32,
    next: u32,
}

/// A client's part.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: u32,
    last: u32,
    turn: Turn,
}

/// What a client is to have its turn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// Copies came for it.
    Copies,
    /// Something about it has changed.
    Stirred,
}

impl Part {
    const NOTHING: Self = Self { first: NONE, last: NONE, turn: Turn::None };
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Batch {
    packets: Vec<Incoming>,
    copies: Vec<Copy>,
    /// By client.
    parts: Vec<Part>,
    due: VecDeque<ClientKey>,
    /// Copies that nobody has taken yet.
    untaken: usize,
}

impl Batch {
    /// A packet came that goes to all of `routes`.
    pub(super) fn add(&mut self, incoming: Incoming, routes: &[Route]) {
        if routes.is_empty() {
            return;
        }
        let packet = self.packets.len() as u32;
        self.packets.push(incoming);
        self.untaken += routes.len();
        for Route { subscriber, slot } in routes {
            self.make_due(*subscriber, Turn::Copies);
            let copy = self.copies.len() as u32;
            self.copies.push(Copy { packet, slot: *slot as u32, next: NONE });
            let part = &mut self.parts[subscriber.0];
            match part.last {
                NONE => part.first = copy,
                last => self.copies[last as usize].next = copy,
            }
            part.last = copy;
        }
    }

    /// A client has something to do; it gets its turn when all that came is here.
    pub(super) fn make_due(&mut self, MemberKey(key): ClientKey, turn: Turn) {
        if self.parts.len() <= key {
            self.parts.resize(key + 1, Part::NOTHING);
        }
        let part = &mut self.parts[key];
        if part.turn == Turn::None {
            self.due.push_back(MemberKey(key));
        }
        part.turn = part.turn.max(turn);
    }

    /// The next client that has something to do, and what for.
    pub(super) fn pop_due(&mut self) -> Option<(ClientKey, Turn)> {
        let key = self.due.pop_front()?;
        Some((key, core::mem::replace(&mut self.parts[key.0].turn, Turn::None)))
    }

    /// The client that comes after `between` others, and the slot of its first copy if it has one.
    pub(super) fn due_after(&self, between: usize) -> Option<(ClientKey, Option<usize>)> {
        let key = *self.due.get(between)?;
        let first = self.copies.get(self.parts[key.0].first as usize);
        Some((key, first.map(|copy| copy.slot as usize)))
    }

    /// A client's next copy: for which slot, and of which packet.
    pub(super) fn take(&mut self, MemberKey(key): ClientKey) -> Option<(usize, PacketPlace)> {
        let part = self.parts.get_mut(key).filter(|part| part.first != NONE)?;
        let Copy { packet, slot, next } = self.copies[part.first as usize];
        part.first = next;
        if next == NONE {
            part.last = NONE;
        }
        self.untaken -= 1;
        Some((slot as usize, PacketPlace(packet)))
    }

    /// The packet at a place that [`Self::take`] told.
    pub(super) fn packet(&self, PacketPlace(place): PacketPlace) -> &Incoming {
        &self.packets[place as usize]
    }

    /// Whether so much came that subscribers should have their turns before more does.
    pub(super) fn is_full(&self) -> bool {
        self.copies.len() >= COPIES_FULL
    }

    /// All turns are over: what came is forgotten.
    pub(super) fn finish(&mut self) {
        if self.untaken == 0 {
            self.packets.clear();
            self.copies.clear();
        }
    }

    /// A client is gone, and its number may become another one's.
    pub(super) fn forget(&mut self, key: ClientKey) {
        while self.take(key).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::packet::SourceHeader;

    fn incoming(seq: u64) -> Incoming {
        Incoming {
            stream: StreamId { connection: 1, index: 0 },
            packet: SourcePacket::new(SourceHeader::numbered(seq), &[1]),
        }
    }

    fn routes(to: &[(usize, usize)]) -> Vec<Route> {
        to.iter().map(|(key, slot)| Route { subscriber: MemberKey(*key), slot: *slot }).collect()
    }

    fn taken(batch: &mut Batch, key: usize) -> Vec<(usize, u64)> {
        let copies = std::iter::from_fn(|| batch.take(MemberKey(key)));
        let copies: Vec<_> = copies.collect();
        copies.into_iter().map(|(slot, place)| (slot, batch.packet(place).packet.seq)).collect()
    }

    #[test]
    fn each_client_gets_its_copies_in_the_order_in_which_they_came_and_one_turn() {
        let mut batch = Batch::default();
        for _ in 0..2 {
            batch.add(incoming(1), &routes(&[(7, 0), (3, 1)]));
            batch.add(incoming(2), &routes(&[]));
            batch.add(incoming(3), &routes(&[(3, 0), (7, 0), (5, 2)]));
            batch.make_due(MemberKey(9), Turn::Stirred);
            batch.make_due(MemberKey(3), Turn::Stirred);
            let due: Vec<_> =
                std::iter::from_fn(|| batch.pop_due()).map(|(key, turn)| (key.0, turn)).collect();
            let (copies, stirred) = (Turn::Copies, Turn::Stirred);
            assert_eq!(due, [(7, copies), (3, stirred), (5, copies), (9, stirred)]);
            assert_eq!(taken(&mut batch, 3), [(1, 1), (0, 3)]);
            assert_eq!(taken(&mut batch, 7), [(0, 1), (0, 3)]);
            assert_eq!(taken(&mut batch, 9), []);
            assert_eq!(taken(&mut batch, 5), [(2, 3)]);
            assert_eq!(taken(&mut batch, 3), [], "each once");
            assert_eq!((batch.packets.len(), batch.copies.len()), (2, 5));
            batch.finish();
            assert_eq!((batch.packets.len(), batch.copies.len()), (0, 0), "what was taken is forgotten");
        }
    }

    #[test]
    fn what_came_for_one_who_is_gone_is_nobodys() {
        let mut batch = Batch::default();
        batch.add(incoming(1), &routes(&[(0, 0), (1, 0)]));
        batch.forget(MemberKey(0));
        batch.forget(MemberKey(6));
        batch.add(incoming(2), &routes(&[(0, 4)]));
        assert_eq!((taken(&mut batch, 0), taken(&mut batch, 1)), (vec![(4, 2)], vec![(0, 1)]));
    }
}
