//! HMAC-SHA1 of many packets, in the lanes of vectors.
//!
//! In: sealed packets in one slab. Out: their tags, in the room behind each. Time: none. Limit: none; nothing is kept.
//!
//! Packets may be of different lengths: a lane that is done takes the next packet. When so few are left that lanes do not
//! pay, each is finished alone.

use core::ops::Range;

use sha1::block_api::compress;

use super::hmac::{BLOCK, State, TAG, last_blocks, outer_block, tag};
use super::lanes::{Lanes, States, get, put};
use super::tags::PendingTag;

/// Computes the tag of each packet, which fills its range of the slab but for the tag. Fewer than `worth`, which is at most
/// `N`, are not worth the lanes.
pub(super) fn authenticate<const N: usize>(
    lanes: &impl Lanes<N>,
    worth: usize,
    slab: &mut [u8],
    pending: &[(Range<usize>, PendingTag)],
) {
    debug_assert!(worth <= N, "when too few lanes are busy no packet waits any more");
    let mut states: States<N> = [[0; N]; 5];
    let mut packets: [Option<Packet>; N] = [const { None }; N];
    let mut waiting = pending.iter();
    loop {
        for (lane, packet) in packets.iter_mut().enumerate().filter(|(_, packet)| packet.is_none()) {
            let Some((range, pending)) = waiting.next() else { break };
            put(&mut states, lane, &pending.mac.inner);
            *packet = Some(Packet::new(slab, range, pending));
        }
        if packets.iter().flatten().count() < worth {
            break;
        }
        let run = compress_run(lanes, &mut states, &packets, slab);
        for (lane, slot) in packets.iter_mut().enumerate() {
            let Some(packet) = slot else { continue };
            packet.done += run;
            if packet.left() > 0 {
                continue;
            }
            match packet.advance(slab, &get(&states, lane)) {
                Some(state) => put(&mut states, lane, &state),
                None => *slot = None,
            }
        }
    }
    for (lane, packet) in packets.into_iter().enumerate() {
        if let Some(packet) = packet {
            packet.finish(slab, get(&states, lane));
        }
    }
}

/// Takes as many blocks in each lane as all have before their next part; says how many.
fn compress_run<const N: usize>(
    lanes: &impl Lanes<N>,
    states: &mut States<N>,
    packets: &[Option<Packet>; N],
    slab: &[u8],
) -> usize {
    let Some(any) = packets.iter().flatten().min_by_key(|packet| packet.left()) else { return 0 };
    let run = any.left();
    // An idle lane reads what another does: its state is put there when it has a packet again.
    let blocks = packets.each_ref().map(|packet| &packet.as_ref().unwrap_or(any).blocks(slab)[..run]);
    lanes.compress(states, &blocks);
    run
}

/// A packet on its way through a lane.
struct Packet {
    range: Range<usize>,
    outer: State,
    part: Part,
    done: usize,                     // blocks of this part
    ends: ([[u8; BLOCK]; 2], usize), // what is not in the slab as it is, and how many of it
}

/// What of a packet is read; the next begins when it is done.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// So many blocks in the slab.
    Whole(usize),
    /// The rest of it, with the rollover counter and the padding.
    Last,
    /// The digest of all that.
    Outer,
}

impl Packet {
    fn new(slab: &[u8], range: &Range<usize>, pending: &PendingTag) -> Self {
        let message = &slab[range.start..range.end - TAG];
        Self {
            range: range.clone(),
            outer: pending.mac.outer,
            part: Part::Whole(message.len() / BLOCK),
            done: 0,
            ends: last_blocks(message, &pending.rollover.to_be_bytes()),
        }
    }

    /// How many blocks of this part are left.
    fn left(&self) -> usize {
        match self.part {
            Part::Whole(count) => count - self.done,
            Part::Last | Part::Outer => self.ends.1 - self.done,
        }
    }

    /// The blocks of this part that are left.
    fn blocks<'a>(&'a self, slab: &'a [u8]) -> &'a [[u8; BLOCK]] {
        match self.part {
            Part::Whole(count) => &slab[self.range.clone()].as_chunks().0[self.done..count],
            Part::Last | Part::Outer => &self.ends.0[self.done..self.ends.1],
        }
    }

    /// Begins the next part behind one that ended in `state`; the state to go on from, `None` when the tag is written.
    fn advance(&mut self, slab: &mut [u8], state: &State) -> Option<State> {
        self.done = 0;
        match self.part {
            Part::Whole(_) => {
                self.part = Part::Last;
                Some(*state)
            }
            Part::Last => {
                self.part = Part::Outer;
                self.ends.0[0] = outer_block(state);
                self.ends.1 = 1;
                Some(self.outer)
            }
            Part::Outer => {
                slab[self.range.end - TAG..self.range.end].copy_from_slice(&tag(state));
                None
            }
        }
    }

    /// Does what is left alone.
    fn finish(mut self, slab: &mut [u8], mut state: State) {
        loop {
            compress(&mut state, self.blocks(slab));
            match self.advance(slab, &state) {
                Some(next) => state = next,
                None => break,
            }
        }
    }
}
