//! The send queue of one subscriber: how long its pictures may wait, and which go when they would wait longer.
//!
//! In: pictures as they begin, the slots' strategies, what waits. Out: whether there is room; what was dropped, by
//! [`Step`]. Time: `now`, monotonic; no timer, the caller comes back. Limit: [`LIMIT_MAX`] of pictures, and the pacer's.
//!
//! **How long.** A slot's limit is its strategy's ([`Strategy::queue_max`]: 80, 200 or 800 ms), more where the path's jitter
//! makes more usual ([`Downlink::limit`]: twice that at most), half for a layer that is to be left, and on top of that what
//! the key frames of the last [`KEY_FRAMES_FOR`] take to leave, [`KEY_FRAMES_MAX`] at most: whoever comes needs one, and it is
//! larger than a short queue. How long a picture would wait is the pacer's to say ([`Downlink::wait`]);
//! where others of higher priority pass it that is up to half too little while the queue builds up.
//!
//! **What goes**, each only if what was before it did not suffice:
//! 1. [`Step::Temporal`]: pictures of the upper temporal layers, the highest first, until the queue is short again;
//! 2. [`Step::Tail`]: the newest pictures, the one that comes first of all. Nothing that follows in their group of pictures
//!    is let in, for it leans on them: the slot goes on with its next key frame, which is asked for when there is room;
//! 3. [`Step::Tier`]: the slot's layers are chosen anew at once ([`ConnectionPipeline::is_strained`]), and what waits of a
//!    larger one goes when the smaller one's key frame is there;
//! 4. [`Step::Video`]: all that waits of the slot, when the first of it has waited twice the limit: the path stands still.
//!
//! Sound never goes, and of a picture that has begun to leave nothing does, but for one of a larger layer that takes more than
//! [`REST_MAX`] to finish when the key frame of the smallest one is there. What is dropped before it was written leaves
//! no hole in the numbers that a subscriber would ask to fill.
//!
//! [`Strategy::queue_max`]: crate::transport::strategy::Strategy::queue_max

use core::ops::AddAssign;
use core::time::Duration;

use cc::PacketClass;
use cc::pacer::lanes::Lane;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::{ConnectionPipeline, RtpSendPipeline};
use crate::transport::downlink::Downlink;
use crate::transport::packet::{SourcePacket, StreamId};
use crate::transport::rtp_send::Pending;

/// No picture waits longer, whatever is added up; the pacer drops what is two seconds old.
const LIMIT_MAX: Duration = Duration::from_millis(1_800);

/// How long a key frame excuses a longer queue,
const KEY_FRAMES_FOR: Duration = Duration::from_secs(1);

/// and how much of one all of them may excuse: nine small ones at a megabit a second.
const KEY_FRAMES_MAX: Duration = Duration::from_millis(600);

/// What has waited no longer than the shortest queue of a layer that is to be left, twice, is of no slot too old.
const STALE_MIN: Duration = Duration::from_millis(80);

/// A picture of a larger layer that has begun to leave is finished first if the rest of it delays the smallest one's key frame
/// by no more: a picture and a half at 30 a second. A decoder has no use for half of one.
const REST_MAX: Duration = Duration::from_millis(50);

/// What was done because pictures would have waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Upper temporal layers were left out.
    Temporal,
    /// The newest pictures were dropped, up to the slot's next key frame.
    Tail,
    /// A smaller layer has replaced what waited of a larger one.
    Tier,
    /// All that waited of a slot was dropped.
    Video,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Temporal, Self::Tail, Self::Tier, Self::Video];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Temporal => "temporal",
            Self::Tail => "tail",
            Self::Tier => "tier",
            Self::Video => "video",
        }
    }
}

/// Pictures dropped from send queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// By step; of each those of the smallest layers, and all others.
    by_step: [[u64; 2]; Step::ALL.len()],
}

impl Dropped {
    /// Those of a step, of all layers.
    pub fn of_step(&self, step: Step) -> u64 {
        self.by_step[step as usize].iter().sum()
    }

    /// Those of a class of pictures, by all steps.
    pub fn of_class(&self, class: PacketClass) -> u64 {
        let Some(column) = column(class) else { return 0 };
        self.by_step.iter().map(|row| row[column]).sum()
    }

    fn add(&mut self, step: Step, class: PacketClass, pictures: u64) {
        if let Some(column) = column(class) {
            self.by_step[step as usize][column] += pictures;
        }
    }
}

/// Where a class of pictures is counted.
fn column(class: PacketClass) -> Option<usize> {
    match class {
        PacketClass::Base => Some(0),
        PacketClass::Video => Some(1),
        PacketClass::Control | PacketClass::Audio | PacketClass::Repair | PacketClass::Padding => None,
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.by_step.iter_mut().flatten().zip(other.by_step.into_iter().flatten()) {
            *own += other;
        }
    }
}

/// What a queue remembers beside what waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The size of the key frames let in lately, and when the last one was.
    key_frames: DataSize,
    key_frame_at: Instant,
    is_strained: bool,
    dropped: Dropped,
    /// How many packets the pacer had given up when that was looked at.
    pub(super) expired: u64,
}

impl Queue {
    /// A packet of a key frame was let in.
    pub(super) fn note_key_frame(&mut self, now: Instant, size: DataSize) {
        if now.since(self.key_frame_at) > KEY_FRAMES_FOR {
            self.key_frames = DataSize::ZERO;
        }
        self.key_frames += size;
        self.key_frame_at = now;
    }

    /// Pictures were dropped.
    pub(super) fn note_dropped(&mut self, step: Step, class: PacketClass, pictures: u64) {
        self.dropped.add(step, class, pictures);
    }

    fn excused(&self, now: Instant, pacing: Bitrate) -> Duration {
        if self.key_frames == DataSize::ZERO || now.since(self.key_frame_at) > KEY_FRAMES_FOR {
            return Duration::ZERO;
        }
        (self.key_frames / pacing).min(KEY_FRAMES_MAX)
    }
}

/// Whether there is room for a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Enough,
    /// There would be none for such pictures, on which no other leans.
    LeaveOut,
    /// There is none.
    None,
}

/// A picture that waits, as far as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) picture: (StreamId, u32),
    size: DataSize,
}

impl ConnectionPipeline {
    /// Whether a slot's pictures were dropped since the last call: its layers should be chosen anew.
    pub fn take_strained(&mut self) -> bool {
        core::mem::take(&mut self.outgoing.queue.is_strained)
    }

    /// The same, without taking note of it.
    pub fn is_strained(&self) -> bool {
        self.outgoing.queue.is_strained
    }

    /// What was dropped since the last call.
    pub fn take_dropped(&mut self) -> Dropped {
        core::mem::take(&mut self.outgoing.queue.dropped)
    }

    /// Whether a key frame that is asked for now would find room: before that it would only be dropped in its turn.
    pub fn has_room(&self, now: Instant, slot: usize) -> bool {
        let (Some(send), Some(downlink)) = (self.slots.get(slot), &self.downlink) else { return true };
        if downlink.is_stuck(now) {
            return false;
        }
        let Some(stream) = send.awaited().filter(|_| !downlink.is_empty()) else { return true };
        downlink.wait(now, send.lane(stream)) <= self.limit(now, slot)
    }

    /// Gives up pictures that wait in vain because the path stands still; whether there were any. Their slots begin anew
    /// with a key frame.
    pub fn relieve(&mut self, now: Instant) -> bool {
        let Some(downlink) = &mut self.downlink else { return false };
        let mut given_up = false;
        if downlink.dropped() > self.outgoing.queue.expired {
            self.outgoing.queue.expired = downlink.dropped();
            // Whose they were is not known, and their numbers tell nobody that something is missing.
            self.slots.iter_mut().for_each(RtpSendPipeline::restart);
            given_up = true;
        }
        if downlink.queue_delay(now) <= STALE_MIN {
            return given_up;
        }
        for slot in 0..self.slots.len() {
            given_up |= self.drop_if_stale(now, slot);
        }
        given_up
    }

    /// Sees to it that there is room for a picture that begins with this packet, and says whether there is.
    pub(super) fn make_room(
        &mut self,
        now: Instant,
        slot: usize,
        stream: StreamId,
        packet: &SourcePacket,
    ) -> Room {
        let lane = self.slots[slot].lane(stream);
        let limit = self.limit(now, slot);
        let wait = self.wait(now, lane);
        let is_thin = !self.slots[slot].thinning_mut().is_idle();
        if wait > limit {
            if self.thin(now, (slot, lane), limit, packet) == Room::Enough {
                return Room::Enough;
            }
        } else if !is_thin {
            return Room::Enough;
        }
        let layer = packet.temporal();
        if self.slots[slot].thinning_mut().is_left_out(layer, wait <= limit / 2) {
            self.outgoing.queue.note_dropped(Step::Temporal, lane.class, 1);
            return Room::LeaveOut;
        }
        if wait <= limit {
            return Room::Enough;
        }
        self.outgoing.queue.note_dropped(Step::Tail, lane.class, 1);
        self.drop_tail((slot, lane), limit);
        self.slots[slot].restart();
        self.outgoing.queue.is_strained = true;
        self.drop_if_stale(now, slot);
        Room::None
    }

    /// How long a slot's pictures may wait now.
    fn limit(&self, now: Instant, slot: usize) -> Duration {
        let (Some(send), Some(downlink)) = (self.slots.get(slot), &self.downlink) else { return LIMIT_MAX };
        let limit = downlink.limit(send.strategy().queue_max());
        let limit = if send.is_leaving() { limit / 2 } else { limit };
        (limit + self.outgoing.queue.excused(now, downlink.target().pacing)).min(LIMIT_MAX)
    }

    fn wait(&self, now: Instant, lane: Lane) -> Duration {
        self.downlink.as_ref().map_or(Duration::ZERO, |downlink| downlink.wait(now, lane))
    }

    /// Leaves out what waits of a slot's upper temporal layers, the highest first, until the wait is within the limit.
    fn thin(
        &mut self,
        now: Instant,
        (slot, lane): (usize, Lane),
        limit: Duration,
        next: &SourcePacket,
    ) -> Room {
        let Some(downlink) = &mut self.downlink else { return Room::Enough };
        let layer_of = |packet: &SourcePacket| packet.temporal().map_or(0, |temporal| temporal.layer);
        let own = downlink.waiting().filter(|(_, queued)| queued.slot == slot);
        let waiting = own.filter_map(|(_, queued)| queued.pending.media());
        let top = waiting.map(|(_, packet)| layer_of(packet)).max().unwrap_or(0).max(layer_of(next));
        let send = &mut self.slots[slot];
        let partial = send.partial();
        for from in (1..=top).rev() {
            send.thinning_mut().leave_out(from);
            let mut last = None;
            let mut pictures = 0;
            downlink.resize(|queued| {
                let picture = queued.pending.picture().filter(|_| queued.slot == slot)?;
                let (_, packet) = queued.pending.media()?;
                if layer_of(packet) < from || partial == Some(picture) {
                    return None;
                }
                pictures += u64::from(last.replace(picture) != Some(picture));
                queued.pending.leave_out();
                Some(DataSize::ZERO)
            });
            self.outgoing.queue.dropped.add(Step::Temporal, lane.class, pictures);
            if downlink.wait(now, lane) <= limit {
                break;
            }
        }
        let is_wanted = layer_of(next) == 0 && downlink.wait(now, lane) <= limit;
        if is_wanted { Room::Enough } else { Room::None }
    }

    /// Drops a slot's newest pictures until all others begin to leave within the limit.
    fn drop_tail(&mut self, (slot, lane): (usize, Lane), limit: Duration) {
        let Some(downlink) = &mut self.downlink else { return };
        let allowed = downlink.target().pacing * limit;
        let mut ahead = downlink.ahead(lane);
        let mut doomed = Vec::new();
        if ahead > allowed {
            for Waiting { picture, size } in waiting(downlink, slot).into_iter().rev() {
                if ahead - size <= allowed || self.slots[slot].partial() == Some(picture) {
                    break;
                }
                ahead -= size;
                doomed.push(picture);
            }
        }
        if doomed.is_empty() {
            return;
        }
        self.outgoing.queue.dropped.add(Step::Tail, lane.class, doomed.len() as u64);
        downlink.retain(|_, queued| {
            let picture = queued.pending.picture().filter(|_| queued.slot == slot);
            picture.is_none_or(|picture| !doomed.contains(&picture))
        });
    }

    /// What waits of a slot's larger layers would leave behind the smallest one's key frame, which comes now, and is no use
    /// then. Only a picture that has begun to leave is finished before.
    pub(super) fn drop_larger(&mut self, now: Instant, slot: usize, smallest: StreamId) {
        let Some(downlink) = self.downlink.as_mut().filter(|downlink| !downlink.is_empty()) else { return };
        let is_larger = |(of, _): &(StreamId, u32)| *of != smallest;
        let partial = self.slots[slot].partial().filter(is_larger);
        let rest = partial.map_or_else(Vec::new, |partial| rest_of(downlink, slot, partial));
        let kept = partial.filter(|_| !rest.is_empty());
        let goes = |picture: (StreamId, u32)| is_larger(&picture) && kept != Some(picture);
        let larger = waiting(downlink, slot).iter().filter(|own| goes(own.picture)).count();
        self.outgoing.queue.note_dropped(Step::Tier, PacketClass::Video, larger as u64);
        if larger > 0 || kept.is_some() {
            downlink.retain(|_, queued| {
                queued.slot != slot || !queued.pending.picture().is_some_and(|own| is_larger(&own))
            });
        }
        for pending in rest {
            self.enqueue(now, slot, pending); // there is room: as many have just gone
        }
    }

    /// Drops all that waits of a slot if that has waited for far too long; whether there was anything.
    fn drop_if_stale(&mut self, now: Instant, slot: usize) -> bool {
        let limit = self.limit(now, slot);
        let Some(downlink) = &mut self.downlink else { return false };
        let waiting = waiting(downlink, slot);
        let send = &mut self.slots[slot];
        let Some(Waiting { picture: (stream, _), .. }) = waiting.last() else { return false };
        let lane = send.lane(*stream);
        if downlink.waited(now, lane) <= limit * 2 {
            return false;
        }
        let partial = send.partial();
        let dropped = waiting.iter().filter(|waiting| partial != Some(waiting.picture)).count();
        downlink.retain(|_, queued| {
            queued.slot != slot || !queued.pending.is_picture() || queued.pending.picture() == partial
        });
        send.restart();
        self.outgoing.queue.is_strained = true;
        self.outgoing.queue.dropped.add(Step::Video, lane.class, dropped as u64);
        dropped > 0
    }
}

/// The pictures of a slot that wait, in the order in which they came.
pub(super) fn waiting(downlink: &Downlink<super::Queued>, slot: usize) -> Vec<Waiting> {
    let mut all: Vec<Waiting> = Vec::new();
    for (size, queued) in downlink.waiting().filter(|(_, queued)| queued.slot == slot) {
        let Some(picture) = queued.pending.picture() else { continue };
        match all.last_mut().filter(|last| last.picture == picture) {
            Some(last) => last.size += size,
            None => all.push(Waiting { picture, size }),
        }
    }
    all
}

/// The rest of a picture that has begun to leave, as packets that leave before whatever comes to the smallest layer's lane
/// now; none if not all of it is there, or it takes more than [`REST_MAX`].
fn rest_of(downlink: &Downlink<super::Queued>, slot: usize, partial: (StreamId, u32)) -> Vec<Pending> {
    let own = downlink.waiting().filter(|(_, queued)| queued.slot == slot);
    let own = own.filter(|(_, queued)| queued.pending.picture() == Some(partial));
    let (mut size, mut rest) = (DataSize::ZERO, Vec::new());
    for (own, queued) in own {
        size += own;
        rest.extend(queued.pending.as_base());
    }
    let is_all = rest.last().and_then(Pending::media).is_some_and(|(_, packet)| packet.marker);
    if !is_all || size / downlink.target().pacing > REST_MAX {
        rest.clear();
    }
    rest
}

#[cfg(test)]
mod tests;
