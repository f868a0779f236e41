//! The way out of a [`ConnectionPipeline`]: a packet that a slot admits is written at once if nothing waits and the downlink's
//! pacer allows it. Else it waits there, if the subscriber tells of arrivals, or in a queue that is emptied with every batch,
//! and is written when it leaves.
//!
//! In: packets for slots. Out: `forward` and `poll_rtp`, plaintext packets in a buffer of the caller's, who encrypts each and
//! says so by `handle_sent`. Limit: that of the send queue (see [`super::queue`]).

mod fates;
mod padding;

use core::time::Duration;
use std::collections::VecDeque;

use cc::PacketClass;
use cc::history::Departure;
use cc::pacer::Paced;
use cc::pacer::lanes::Lane;
use cc::packet::ProbeId;
use fec::loss_model::{Blame, PacketFate};
use fec::plan::budget::{Budget, Carries, Claim};
use proto::rtp::SeqNo;
use proto::scene::Priority;
use proto::time::{Instant, NtpTime};
use proto::units::DataSize;

use fates::Lately;

use super::queue::{Queue, Room};
use super::{ConnectionPipeline, RtpSendPipeline};
use crate::fetch;
use crate::transport::downlink::{Downlink, PACKET_OVERHEAD};
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rtp_send::{Admitted, Covered, Pending, Plaintext, Written};
use crate::transport::stats::LossCounts;
use crate::transport::strategy::Strategy;

/// Packets that were sent last and may serve as padding: half a second of a small layer.
const RECENT_MAX: usize = 32;

/// Packets that wait for the turn of a subscriber that tells nothing of arrivals; more are not let in.
const UNPACED_MAX: usize = 1_024;

/// What waits in the pacer.
#[derive(Debug)]
pub struct Queued {
    pub(super) slot: usize,
    pub(super) pending: Pending,
}

/// A packet that was sent not long ago.
#[derive(Debug)]
struct Recent {
    number: u64,
    slot: usize,
    seq: SeqNo,
    packet: SourcePacket,
    /// How often it has served as padding.
    used: u32,
    arrived: bool,
}

/// Padding that is still to be made.
#[derive(Debug, Clone, Copy)]
struct Padding {
    wanted: DataSize,
    sent: DataSize,
    probe: Option<ProbeId>,
}

/// What the way out remembers beside the downlink; first what is asked with each packet.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Outgoing {
    padding: Option<Padding>,
    /// The repair packet that was written last.
    parity: Option<(usize, Covered)>,
    /// What was written last and may become one of those that serve as padding.
    last: Option<(usize, SeqNo, SourcePacket)>,
    recent: VecDeque<Recent>,
    /// What leaves with this batch: for want of a downlink, nothing is paced.
    unpaced: VecDeque<Queued>,
    /// What feedback has just told, for the model of losses.
    fates: Vec<PacketFate>,
    /// What feedback has told in all.
    told: LossCounts,
    /// What losses are put down to.
    blame: Blame,
    /// Whether parity may be sent on such a path.
    may_protect: bool,
    /// How much of what was sent lately was lost.
    lately: Lately,
    /// What repair that nobody asked for may take.
    budget: Option<Budget>,
    pub(super) queue: Queue,
}

impl Outgoing {
    /// Holds no packets any more that may serve as padding: nothing has left for long.
    pub(super) fn forget_recent(&mut self) {
        self.recent = VecDeque::new();
    }

    /// Whether parity may be sent on such a path.
    pub(super) fn may_protect(&self) -> bool {
        self.may_protect
    }

    /// The share of packets lost lately, for whatever reason.
    pub(super) fn lost_lately(&self) -> f64 {
        self.lately.lost / self.lately.told.max(1.0)
    }

    /// What feedback has told of the fates of packets.
    pub(super) fn loss_counts(&self) -> LossCounts {
        self.told
    }

    /// From one report of arrivals to the next.
    pub(super) fn report_interval(&self) -> Duration {
        self.lately.interval
    }
}

/// A packet that was written and is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// What it carries.
    pub class: PacketClass,
    /// The slot whose first packet from another stream this is.
    pub switched: Option<(usize, StreamId)>,
    /// Whether it repairs what nobody has asked for.
    pub is_parity: bool,
    probe: Option<ProbeId>,
    numbered: bool,
    app_limited: bool,
}

/// What became of a packet that a slot was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It was written, and is to be sent now; see [`ConnectionPipeline::poll_rtp`].
    Leaving(Leaving),
    /// It waits for its turn, which may be now, or nothing of it is to be sent.
    Queued,
    /// The subscriber does not get it.
    Refused,
    /// The path carries less than what comes: it is given up, with what follows until the slot's next key frame.
    GivenUp,
    /// The subscriber did not negotiate its payload type.
    Unmapped,
}

impl ConnectionPipeline {
    /// Sends as the downlink allows from now on.
    pub fn set_downlink(&mut self, downlink: Downlink<Queued>) {
        self.downlink = Some(downlink);
    }

    /// How fast packets leave; `None` if the subscriber does not tell of arrivals, and all leave at once.
    pub fn downlink(&self) -> Option<&Downlink<Queued>> {
        self.downlink.as_ref()
    }

    /// The same, to change it.
    pub fn downlink_mut(&mut self) -> Option<&mut Downlink<Queued>> {
        self.downlink.as_mut()
    }

    /// Whether what the slots negotiated says that the subscriber tells of arrivals.
    pub fn tells_arrivals(&self) -> bool {
        self.slots.iter().any(RtpSendPipeline::is_numbered)
    }

    /// Carries a slot in this way from now on, what waits of it too.
    pub fn set_strategy(&mut self, slot: usize, strategy: Strategy) {
        let Some(send) = self.slots.get_mut(slot) else { return };
        let moves = send.strategy().priority != strategy.priority;
        send.set_strategy(strategy);
        if let Some(downlink) = self.downlink.as_mut().filter(|downlink| moves && !downlink.is_empty()) {
            downlink.prioritize(|queued| (queued.slot == slot).then_some(strategy.priority));
        }
    }

    /// Offers a packet of `stream` to a slot and writes it to `out`, which must be empty, if it may leave at once; else what the
    /// slot admits waits in the pacer. It comes to the same as to let it wait and poll, for less.
    pub fn forward(
        &mut self,
        (now, wall): (Instant, NtpTime),
        slot: usize,
        stream: StreamId,
        packet: &SourcePacket,
        out: &mut Plaintext,
    ) -> Offered {
        if !self.passes(now, slot, stream, packet) {
            return self.offer(now, slot, stream, packet);
        }
        let pending = match self.let_in(now, slot, stream, packet) {
            Ok(pending) => pending,
            Err(offered) => return offered,
        };
        let (class, size) = (pending.class(), queued_size(&pending));
        let app_limited = self.downlink.as_mut().is_some_and(|downlink| {
            let app_limited = downlink.is_app_limited(now);
            downlink.note_passed(now, class, size);
            app_limited
        });
        let Some((switched, numbered)) = self.write_queued(now, wall, Queued { slot, pending }, out) else {
            out.clear();
            return Offered::Queued;
        };
        let (is_parity, probe) = (false, None);
        Offered::Leaving(Leaving { class, switched, is_parity, probe, numbered, app_limited })
    }

    /// Whether a packet that a slot admits would leave at once.
    fn passes(&self, now: Instant, slot: usize, stream: StreamId, packet: &SourcePacket) -> bool {
        let Some(send) = self.slots.get(slot).filter(|_| self.outgoing.padding.is_none()) else {
            return false;
        };
        let is_sound = packet.is_sound();
        match &self.downlink {
            Some(downlink) if is_sound || send.is_whole() && !send.is_left_out(stream, packet) => {
                downlink.passes(now, if is_sound { PacketClass::Audio } else { send.lane(stream).class })
            }
            Some(_) => false,
            None => self.outgoing.unpaced.is_empty(),
        }
    }

    /// Asks for what the next packet that leaves needs of this.
    pub fn fetch_ahead(&self) {
        fetch::ahead(self, 192);
        if let Some(downlink) = &self.downlink {
            downlink.fetch_ahead();
        }
    }

    /// Asks for what it needs beyond, if it is for this slot.
    pub fn fetch_behind(&self, slot: Option<usize>) {
        if let Some(send) = slot.and_then(|slot| self.slots.get(slot)) {
            fetch::ahead(send, 512);
        }
        if let Some(recent) = self.outgoing.recent.front() {
            fetch::ahead(recent, size_of::<Recent>());
        }
        if let Some(downlink) = &self.downlink {
            downlink.fetch_behind();
        }
    }

    /// Asks for what its slot needs beyond.
    pub fn fetch_within(&self, slot: usize) {
        if let Some(send) = self.slots.get(slot) {
            send.fetch_within();
        }
    }

    /// Whether something waits to be sent, be it for time to pass.
    pub fn has_waiting(&self) -> bool {
        !self.outgoing.unpaced.is_empty()
            || self.outgoing.padding.is_some()
            || self.downlink.as_ref().is_some_and(|downlink| !downlink.is_idle())
    }

    /// Offers a packet of `stream` to a slot; what it admits waits in the pacer.
    pub fn offer(&mut self, now: Instant, slot: usize, stream: StreamId, packet: &SourcePacket) -> Offered {
        let Some(send) = self.slots.get(slot) else { return Offered::Refused };
        let Some(downlink) = &self.downlink else { return self.admit(now, slot, stream, packet) };
        let is_first = !packet.is_sound() && send.begins_picture(stream, packet);
        let shown = send.current() == Some(stream);
        let may_wait =
            is_first && (shown || packet.is_key_frame()) && !(downlink.is_empty() && send.is_whole());
        let room = if send.is_left_out(stream, packet) {
            Room::LeaveOut
        } else if may_wait {
            self.make_room(now, slot, stream, packet)
        } else {
            Room::Enough
        };
        match room {
            Room::Enough => {}
            Room::LeaveOut => {
                let left_out = self.slots[slot].leave_out(stream, packet);
                self.enqueue(now, slot, left_out);
                return Offered::Queued;
            }
            Room::None => {
                let wanted = shown || self.slots[slot].awaited() == Some(stream);
                return if wanted { Offered::GivenUp } else { Offered::Refused };
            }
        }
        self.admit(now, slot, stream, packet)
    }

    /// Lets a packet into the pacer for which there is room, if its slot wants it.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        slot: usize,
        stream: StreamId,
        packet: &SourcePacket,
    ) -> Offered {
        let pending = match self.let_in(now, slot, stream, packet) {
            Ok(pending) => pending,
            Err(offered) => return offered,
        };
        if pending.switches() && pending.class() == PacketClass::Base {
            self.drop_larger(now, slot, stream);
        }
        if self.enqueue(now, slot, pending) {
            return Offered::Queued;
        }
        self.slots[slot].restart();
        Offered::GivenUp
    }

    /// Makes a packet for which there is room one that is to be sent, if its slot wants it.
    fn let_in(
        &mut self,
        now: Instant,
        slot: usize,
        stream: StreamId,
        packet: &SourcePacket,
    ) -> Result<Pending, Offered> {
        let send = self.slots.get_mut(slot).ok_or(Offered::Refused)?;
        let mut pending = match send.admit(now, stream, packet) {
            Admitted::Yes(pending) => pending,
            Admitted::No => return Err(Offered::Refused),
            Admitted::Unmapped => return Err(Offered::Unmapped),
        };
        if send.is_key_frame(packet) {
            let size = pending.payload_len() as u64 + PACKET_OVERHEAD;
            self.outgoing.queue.note_key_frame(now, DataSize::bytes(size));
        }
        let repeated = pending.predecessors();
        if repeated > DataSize::ZERO && !self.admit_repair(now, repeated, Claim::Audio) {
            pending.forgo_predecessors();
        }
        Ok(pending)
    }

    /// Puts a retransmission into the pacer; a full one refuses, and the subscriber will ask again.
    pub fn offer_repair(&mut self, now: Instant, slot: usize, pending: Pending) -> bool {
        self.enqueue(now, slot, pending)
    }

    /// Writes the next packet that may leave to `out`, which must be empty. After it was sent, and only then,
    /// [`Self::handle_sent`] must be called.
    pub fn poll_rtp(&mut self, now: Instant, wall: NtpTime, out: &mut Plaintext) -> Option<Leaving> {
        while let Some(queued) = self.outgoing.unpaced.pop_front() {
            let class = queued.pending.class();
            if let Some((switched, numbered)) = self.write_queued(now, wall, queued, out) {
                let (is_parity, probe, app_limited) = (false, None, false);
                return Some(Leaving { class, switched, is_parity, probe, numbered, app_limited });
            }
            out.clear();
        }
        loop {
            let app_limited = self.downlink.as_ref()?.is_app_limited(now);
            if let Some(padding) = self.outgoing.padding {
                if let Some(numbered) = self.write_padding(now, wall, padding, out) {
                    let (class, probe) = (PacketClass::Padding, padding.probe);
                    let (switched, is_parity) = (None, false);
                    return Some(Leaving { class, switched, is_parity, probe, numbered, app_limited });
                }
                self.outgoing.padding = None;
                self.downlink.as_mut()?.note_padding_sent(now, padding.sent);
            }
            match self.downlink.as_mut()?.poll(now)? {
                Paced::Padding { size, probe } => {
                    self.outgoing.padding = Some(Padding { wanted: size, sent: DataSize::ZERO, probe });
                }
                Paced::Packet { class, probe, packet, .. } => {
                    let Some((switched, numbered)) = self.write_queued(now, wall, packet, out) else {
                        out.clear();
                        continue;
                    };
                    let is_parity = self.outgoing.parity.is_some();
                    return Some(Leaving { class, switched, is_parity, probe, numbered, app_limited });
                }
            }
        }
    }

    /// What [`Self::poll_rtp`] gave has left, with `size` bytes on the wire.
    pub fn handle_sent(&mut self, now: Instant, leaving: &Leaving, size: DataSize) {
        let (last, parity) = (self.outgoing.last.take(), self.outgoing.parity.take());
        if leaving.class == PacketClass::Padding
            && let Some(padding) = &mut self.outgoing.padding
        {
            padding.sent += size;
        }
        let Some(downlink) = self.downlink.as_mut().filter(|_| leaving.numbered) else { return };
        let Leaving { class, probe, app_limited, .. } = *leaving;
        let number = downlink.handle_sent(now, Departure { size, class, probe, app_limited });
        if let Some((slot, covered)) = parity {
            self.slots[slot].repair_mut().handle_sent(now, number, covered);
        }
        if let Some((slot, seq, packet)) = last {
            if self.outgoing.recent.len() == RECENT_MAX {
                self.outgoing.recent.pop_front();
            }
            self.outgoing.recent.push_back(Recent { number, slot, seq, packet, used: 0, arrived: false });
        }
    }

    /// Forgets what waits: there is nobody to send it to. Slots that lose something begin anew.
    pub fn drop_waiting(&mut self, now: Instant) {
        self.outgoing.padding = None;
        if !self.outgoing.unpaced.is_empty() {
            self.outgoing.unpaced.clear();
            self.slots.iter_mut().for_each(RtpSendPipeline::restart);
        }
        if let Some(downlink) = self.downlink.as_mut().filter(|downlink| !downlink.is_empty()) {
            downlink.clear(now);
            self.slots.iter_mut().for_each(RtpSendPipeline::restart);
        }
    }

    pub(super) fn enqueue(&mut self, now: Instant, slot: usize, pending: Pending) -> bool {
        let Some(downlink) = &mut self.downlink else {
            let is_room = self.outgoing.unpaced.len() < UNPACED_MAX;
            if is_room {
                self.outgoing.unpaced.push_back(Queued { slot, pending });
            }
            return is_room;
        };
        let priority = self.slots.get(slot).map_or_else(Priority::default, |slot| slot.strategy().priority);
        let lane = Lane { class: pending.class(), priority };
        downlink.enqueue(now, lane, queued_size(&pending), Queued { slot, pending }).is_ok()
    }

    /// Writes what waited; tells which stream its slot was switched to, if it was, and whether it has a number.
    fn write_queued(
        &mut self,
        now: Instant,
        wall: NtpTime,
        Queued { slot, pending }: Queued,
        out: &mut Plaintext,
    ) -> Option<(Option<(usize, StreamId)>, bool)> {
        let send = self.slots.get_mut(slot)?;
        send.note_leaving(&pending);
        let number = self.downlink.as_ref().map(Downlink::next_number).filter(|_| send.is_numbered());
        let (seq, switched) = match send.write(now, wall, &pending, number, out) {
            Written::Media(seq) => (Some(seq), None),
            Written::Switched(seq, stream) => (Some(seq), Some((slot, stream))),
            Written::Again => (None, None),
            Written::Parity(covered) => {
                self.outgoing.parity = Some((slot, covered));
                (None, None)
            }
            Written::Nothing => return None,
        };
        let keeps = send.repairs() && pending.is_picture();
        let kept = seq.filter(|_| keeps).zip(pending.into_packet());
        self.outgoing.last = kept.map(|(seq, packet)| (slot, seq, packet));
        self.queue_parities(now, slot);
        Some((switched, number.is_some()))
    }

    /// Repair packets of the picture that has just left leave behind it; those that find no room are not sent.
    fn queue_parities(&mut self, now: Instant, slot: usize) {
        while let Some(parity) = self.slots.get_mut(slot).and_then(RtpSendPipeline::poll_parity) {
            let size = DataSize::bytes(parity.payload_len() as u64 + PACKET_OVERHEAD);
            if self.admit_repair(now, size, Claim::ParityBase) {
                self.enqueue(now, slot, parity);
            }
        }
    }

    /// Whether repair that nobody asked for may take so much more of the path.
    fn admit_repair(&mut self, now: Instant, size: DataSize, claim: Claim) -> bool {
        let Some(downlink) = &self.downlink else { return false };
        let estimate = downlink.target().rate;
        let carries =
            if self.slots.iter().any(RtpSendPipeline::repairs) { Carries::Video } else { Carries::Audio };
        let budget = self.outgoing.budget.get_or_insert_with(|| Budget::new(now, estimate, carries));
        budget.set_estimate(now, estimate);
        budget.admit(now, size, claim)
    }
}

/// What the pacer is told of a packet's size.
fn queued_size(pending: &Pending) -> DataSize {
    let length = pending.payload_len() as u64;
    // What has no content only tells the rewriter of a number that is not used.
    DataSize::bytes(if length == 0 { 0 } else { length + PACKET_OVERHEAD })
}
