//! What Lianmai does about losses: the plan of [`fec`], towards a browser.
//!
//! In: packets as they leave, NACKs, what became of packets. Out: repair packets and retransmissions. Time: `now`, monotonic;
//! `poll_timeout`. Limit: that of [`fec`]'s parts; the packets of the last pictures, [`BLOCKS_MAX`] blocks.
//!
//! Everything that decides is the product's: the loss model, the planner, the masks, the hold-off, the budget, the limiter.
//! Here they are joined as a slot of the SFU joins them, on packets without content.

use std::collections::VecDeque;
use std::time::Duration;

use cc::{PacketClass, PacketResult};
use fec::hold_off::{Fate as ParityFate, HoldOff, PathFacts};
use fec::loss_model::{Blame, Fate, Judged, LossModel, PacketFate};
use fec::plan::budget::{Budget, Carries, Claim};
use fec::plan::offline::OfflineMasks;
use fec::plan::{
    BlockPlan, Goal, Kind, MEDIA_MAX, Outlook, Planner, Promptness, Receiver, Request, Tables, Timing, Usual,
};
use fec::retransmit::RetransmitLimiter;
use fec::scheme::masks::{Loss, Mask};
use proto::rtp::SeqNo;
use proto::scene::Scene;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

use super::cache::Cache;
use super::cost::Cost;
use super::parity;
use crate::node::sender::protection::{PathNow, Protection};
use crate::packet::{Code, FramePart, MediaPacket};

/// What a browser takes to ask for what is missing, beyond the round trip.
const TURNAROUND: Duration = Duration::from_millis(10);
/// How long a browser gathers arrivals before it reports them (libwebrtc's 50 to 250 ms).
const REPORT: Duration = Duration::from_millis(50);
/// So few pictures may have to wait for a retransmission: fewer than the one in twenty that p95 leaves out, for estimates err.
const LATE: f64 = 0.02;
/// Losses that hang together more than that are taken for bursts.
const BURSTY: f64 = 0.2;
/// Pictures farther apart are no steady stream, and share no repair.
const INTERVAL_MAX: Duration = Duration::from_millis(200);
/// More repair packets than that share of what they repair are never sent.
const SHARE_MAX: f64 = 0.5;
/// Pictures that share repair at most.
const FRAMES_MAX: u64 = 6;
/// Numbers that a mask can name.
const SPAN_MAX: usize = 109;
/// Blocks whose plans are remembered: two seconds of pictures.
const BLOCKS_MAX: usize = 64;
/// Between two looks at whether parity does harm.
const EPOCH: Duration = Duration::from_secs(1);
/// A new picture counts one part in so many for what pictures are like.
const WEIGHT: f64 = 1.0 / 16.0;

/// Whether there are repair packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParityUse {
    /// As the plan says.
    Planned,
    /// None: what is missing is sent again.
    Never,
}

/// A picture's packet that has left.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seq: u64,
    part: FramePart,
    size: DataSize,
}

/// A picture that has left, and the plan by which it is repaired.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: u64,
    end: u64,
    deadline: Instant,
    plan: BlockPlan,
    repairs: usize,
}

/// Packets reported since the last look: lost and all.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    began: Instant,
    reported: u32,
    lost: u32,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Planned {
    scene: Scene,
    planner: Planner,
    outlook: Outlook,
    tables: Tables<OfflineMasks>,
    losses: LossModel,
    is_bursty: bool,
    parity: ParityUse,
    /// In which share of the time until the next picture a picture leaves with all its repair.
    share: f64,
    blame: Blame,
    may_protect: bool,
    hold: HoldOff,
    budget: Budget,
    limiter: RetransmitLimiter,
    cache: Cache,
    rtt: Duration,
    /// When the picture that is leaving began to, and the one before it.
    began: Option<Instant>,
    last_began: Option<Instant>,
    /// How long pictures take to leave, how far apart they are, and of how many packets they are.
    pacing: Duration,
    interval: Option<Duration>,
    packets: f64,
    /// Repair packets for each packet of pictures lately.
    parity_share: f64,
    kept: VecDeque<Kept>,
    blocks: VecDeque<Block>,
    epoch: Epoch,
    cost: Cost,
    next: u64,
    /// Copies that leave later, the earliest first.
    later: VecDeque<(Instant, MediaPacket, DataSize)>,
    out: VecDeque<(MediaPacket, DataSize)>,
}

impl Planned {
    /// A plan for a scene, for a path of which nothing is known.
    pub(super) fn new(scene: Scene, estimate: Bitrate, parity: ParityUse) -> Self {
        let rtt = Duration::from_millis(100);
        Self {
            scene,
            planner: Planner::new(Receiver::FlexFec),
            outlook: Outlook::idle(&Goal::new(scene, Kind::Other)),
            tables: Tables::new(OfflineMasks),
            losses: LossModel::default(),
            is_bursty: false,
            parity,
            share: 1.0,
            blame: Blame::default(),
            may_protect: false,
            hold: HoldOff::new(PathFacts { rtt, one_way: rtt / 2, report: REPORT, lost: 0.0 }),
            budget: Budget::new(Instant::ZERO, estimate, Carries::Video),
            limiter: RetransmitLimiter::new(),
            cache: Cache::default(),
            rtt,
            began: None,
            last_began: None,
            pacing: Duration::ZERO,
            interval: None,
            packets: 1.0,
            parity_share: 0.0,
            kept: VecDeque::new(),
            blocks: VecDeque::new(),
            epoch: Epoch::default(),
            cost: Cost::default(),
            next: 0,
            later: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// The same with pictures that leave with all their repair in this share of the time until the next one.
    pub(super) fn within(self, share: f64) -> Self {
        Self { share, ..self }
    }

    fn note_picture(&mut self, now: Instant, packet: &MediaPacket, part: FramePart, size: DataSize) {
        self.cost.add_picture(now, size);
        self.limiter.note_media(now, size.as_bytes() as usize);
        self.cache.insert(now, packet, size);
        if part.index == 0 || self.began.is_none() {
            self.last_began = self.began.replace(now);
        }
        self.kept.push_back(Kept { seq: packet.seq, part, size });
        if part.index + 1 == part.parts {
            self.protect(now, &part);
        }
    }

    /// A picture has left whole: its plan, and its repair packets.
    fn protect(&mut self, now: Instant, part: &FramePart) {
        self.note_times(now);
        let packets = usize::from(part.parts);
        self.packets += (packets as f64 - self.packets) * WEIGHT;
        let goal = self.goal(part.key);
        let blocks = packets.div_ceil(MEDIA_MAX);
        let at_once = self.planner.plan_block(packets.div_ceil(blocks), &self.at_once(), None);
        let mut plan = self.planner.plan_block(packets.div_ceil(blocks), &goal, self.interval);
        if !self.may_protect {
            plan.parities = 0;
        } else if plan.frames == 1 {
            plan.parities = plan.parities.max(at_once.parities);
        }
        let made = self.next;
        if plan.parities > 0 {
            let first = (part.frame + 1).saturating_sub(plan.frames as u64);
            let from = self.kept.partition_point(|kept| kept.part.frame < first);
            let from =
                if plan.frames > 1 { from.max(self.kept.len().saturating_sub(MEDIA_MAX)) } else { from };
            let covered = (self.kept.len() - from).div_ceil(blocks);
            let most = (covered as f64 * SHARE_MAX).ceil() as usize;
            self.encode(now, from, blocks, plan.parities.min(most));
        }
        self.parity_share += ((self.next - made) as f64 / packets as f64 - self.parity_share) * WEIGHT;
        self.note_block(part, plan, goal.deadline);
        let oldest = (part.frame + 2).saturating_sub(FRAMES_MAX);
        let old = self.kept.partition_point(|kept| kept.part.frame < oldest);
        self.kept.drain(..old);
    }

    fn goal(&self, is_key: bool) -> Goal {
        let kind = if is_key { Kind::Key } else { Kind::Other };
        Goal { deadline: self.outlook.deadline, ..Goal::new(self.scene, kind) }
    }

    /// What is asked of parity alone: nearly all pictures are whole without a round trip more.
    fn at_once(&self) -> Goal {
        let deadline = self.rtt / 2 + self.pacing;
        Goal { deadline, failure: LATE, lateness: 0.0, promptness: Promptness::ByDeadline }
    }

    /// Repair packets over what is kept from some place on, as so many blocks.
    fn encode(&mut self, now: Instant, from: usize, blocks: usize, parities: usize) {
        let packets = self.kept.len() - from;
        let loss = if self.is_bursty { Loss::Bursts } else { Loss::Independent };
        for block in 0..blocks {
            // Neighbors are in different blocks, unless a mask cannot reach so far.
            let places: Vec<usize> = if packets <= SPAN_MAX {
                (from + block..from + packets).step_by(blocks).collect()
            } else {
                let size = packets.div_ceil(blocks);
                (from + block * size..(from + (block + 1) * size).min(from + packets)).collect()
            };
            let packets: Vec<Kept> = places.iter().map(|place| self.kept[*place]).collect();
            for repair in self.repair_packets(loss, &packets, parities) {
                if self.budget.admit(now, repair.1, Claim::ParityBase) {
                    self.out.push_back(repair);
                }
            }
        }
    }

    fn repair_packets(
        &mut self,
        loss: Loss,
        packets: &[Kept],
        parities: usize,
    ) -> Vec<(MediaPacket, DataSize)> {
        let Some(mask) = Mask::of(loss, packets.len(), parities) else { return Vec::new() };
        let columns: Vec<u16> = mask.columns().map(|column| column.0).collect();
        let mut made = Vec::new();
        for row in 0..parities {
            let protected = packets.iter().zip(&columns).filter(|(_, column)| **column >> row & 1 == 1);
            let mut protected = protected.map(|(kept, _)| (kept.seq, kept.part, kept.size)).peekable();
            if protected.peek().is_some() {
                made.push(parity::packet(self.next, protected, Code::Xor));
                self.next += 1;
            }
        }
        made
    }

    fn note_block(&mut self, part: &FramePart, plan: BlockPlan, deadline: Duration) {
        let Some(end) = self.kept.back().map(|kept| kept.seq + 1) else { return };
        let first = end - u64::from(part.parts);
        let deadline = self.began.unwrap_or_default() + deadline;
        self.blocks.push_back(Block { first, end, deadline, plan, repairs: 0 });
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_front();
        }
    }

    /// Notes how long the picture took to leave, and how long after the last one it began.
    fn note_times(&mut self, now: Instant) {
        let Some(began) = self.began else { return };
        self.pacing = (self.pacing * 7 + now.since(began)) / 8;
        let Some(last) = self.last_began else { return };
        let interval = began.since(last);
        self.interval = (interval <= INTERVAL_MAX)
            .then(|| self.interval.map_or(interval, |mean| (mean * 7 + interval) / 8));
    }

    /// Sends again what is missing, picture by picture.
    fn answer(&mut self, now: Instant, missing: &[u64]) {
        for place in 0..self.blocks.len() {
            let block = self.blocks[place];
            let of_block = missing.iter().copied().filter(|seq| (block.first..block.end).contains(seq));
            let mut asked: Vec<u64> = of_block.filter(|seq| self.admit(now, *seq)).collect();
            asked.sort_unstable();
            if !asked.is_empty() {
                self.blocks[place].repairs += 1;
                self.repair(now, &block, &asked);
            }
        }
        // Of the picture that is still leaving there is no plan yet.
        let open = self.blocks.back().map_or(0, |block| block.end);
        for seq in missing.iter().copied().filter(|seq| *seq >= open) {
            if self.admit(now, seq) {
                self.out.extend(self.cache.again(seq));
            }
        }
    }

    fn admit(&mut self, now: Instant, seq: u64) -> bool {
        let Some((_, size)) = self.cache.again(seq) else { return false };
        self.limiter.admit(now, seq, size.as_bytes() as usize)
    }

    fn repair(&mut self, now: Instant, block: &Block, asked: &[u64]) {
        let left = block.deadline.since(now);
        let request = Request { missing: asked.len(), repairs: block.repairs, left };
        let plan = self.planner.plan_repair(&block.plan, request);
        // What is too late for the scene is still waited for by the player.
        let (packets, parities, spacing) =
            plan.map_or((asked.len(), 0, Duration::ZERO), |plan| (plan.packets, plan.parities, plan.spacing));
        for (number, seq) in asked.iter().cycle().take(packets - parities).enumerate() {
            let Some((packet, size)) = self.cache.again(*seq) else { continue };
            let turn = (number / asked.len()) as u32;
            if turn == 0 {
                self.budget.admit(now, size, Claim::RetransmitBase); // never refused: it would be asked for again
                self.out.push_back((packet, size));
            } else if self.budget.admit(now, size, Claim::RetransmitBase) {
                self.send_later(now + spacing * turn, packet, size);
            }
        }
        let first = asked.first().copied().unwrap_or_default();
        let kept: Vec<Kept> = asked
            .iter()
            .take_while(|seq| **seq < first + SPAN_MAX as u64)
            .filter_map(|seq| {
                let (packet, size) = self.cache.again(*seq)?;
                Some(Kept { seq: *seq, part: packet.part?, size })
            })
            .collect();
        for (packet, size) in self.repair_packets(Loss::Independent, &kept, parities) {
            if self.budget.admit(now, size, Claim::ParityBase) {
                self.send_later(now + spacing, packet, size);
            }
        }
    }

    fn send_later(&mut self, at: Instant, packet: MediaPacket, size: DataSize) {
        let place = self.later.partition_point(|(other, ..)| *other <= at);
        self.later.insert(place, (at, packet, size));
    }

    fn end_epoch(&mut self, now: Instant) {
        if now.since(self.epoch.began) >= EPOCH {
            let loss = f64::from(self.epoch.lost) / f64::from(self.epoch.reported.max(1));
            let redundancy = self.cost.redundancy(now);
            self.planner.handle_epoch(now, redundancy, loss);
            self.epoch = Epoch { began: now, ..Epoch::default() };
        }
    }
}

impl Protection for Planned {
    fn note_sent(&mut self, now: Instant, packet: &MediaPacket, size: DataSize) {
        match (packet.class, packet.part, &packet.parity) {
            (PacketClass::Video, Some(part), _) => self.note_picture(now, packet, part, size),
            (PacketClass::Repair, _, parity) => {
                self.cost.add_repair(now, size);
                let Some((first, _)) = parity.as_ref().and_then(|parity| parity.covered.first()) else {
                    return;
                };
                let places = parity.iter().flat_map(|parity| &parity.covered).map(|(seq, _)| seq - first);
                let mask = places.fold(0_u128, |mask, place| mask | 1 << place);
                self.hold.handle_parity(now, packet.transport_seq, *first, mask);
            }
            (
                PacketClass::Control
                | PacketClass::Video
                | PacketClass::Audio
                | PacketClass::Base
                | PacketClass::Padding,
                ..,
            ) => {}
        }
    }

    fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
        self.limiter.set_rtt(rtt);
    }

    fn handle_nack(&mut self, now: Instant, lost: &[SeqNo]) {
        let asked: Vec<u64> = lost.iter().filter_map(|seq| self.cache.number(*seq)).collect();
        let mut at_once = Vec::new();
        // A player waits longer for what it has asked for than the scene would like.
        let deadline = now + self.goal(false).deadline + self.rtt * 2;
        self.hold.handle_nack(now, &asked, deadline, &mut at_once);
        self.answer(now, &at_once);
    }

    fn handle_results(&mut self, now: Instant, results: &[PacketResult], path: &PathNow) {
        let Judged { cause, is_acquitted, may_protect } = self.blame.judge(now, path.class);
        self.may_protect = may_protect;
        if is_acquitted {
            self.losses = LossModel::default();
        }
        self.losses.handle_fates(results.iter().map(|result| {
            let fate = if result.received.is_some() { Fate::Received } else { Fate::Lost(cause) };
            PacketFate { sent: result.sent.sent, fate }
        }));
        self.epoch.reported += results.len() as u32;
        self.epoch.lost += results.iter().filter(|result| result.received.is_none()).count() as u32;
        for result in results.iter().filter(|result| result.sent.class == PacketClass::Repair) {
            let fate = if result.received.is_some() { ParityFate::Arrived } else { ParityFate::Lost };
            self.hold.handle_fate(now, result.sent.number, fate);
        }
        if self.parity == ParityUse::Never {
            return;
        }
        let estimate = self.losses.estimate();
        let timing = Timing::symmetric(self.rtt, TURNAROUND, self.pacing);
        self.planner.handle_feedback(now, &estimate, timing, &mut self.tables);
        let media = (self.packets.round() as usize).clamp(1, MEDIA_MAX);
        let usual = Usual { media, interval: self.interval, redundancy_max: SHARE_MAX };
        self.outlook = self.planner.outlook(&Goal::new(self.scene, Kind::Other), &usual);
        self.is_bursty = estimate.correlation > BURSTY;
        self.hold.set_path(PathFacts {
            rtt: self.rtt,
            one_way: self.rtt / 2,
            report: REPORT,
            lost: estimate.loss,
        });
        self.budget.set_estimate(now, path.target);
        self.end_epoch(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.hold.handle_timeout(now);
        let due = self.later.partition_point(|(at, ..)| *at <= now);
        self.out.extend(self.later.drain(..due).map(|(_, packet, size)| (packet, size)));
    }

    fn poll(&mut self, now: Instant) -> Option<(MediaPacket, DataSize)> {
        while let Some(seq) = self.hold.poll_release() {
            self.answer(now, &[seq]);
        }
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.hold.poll_timeout(), self.later.front().map(|(at, ..)| *at))
    }

    fn media_rate(&mut self, now: Instant, allowed: Bitrate) -> Bitrate {
        let packets = (self.packets.round() as usize).clamp(1, MEDIA_MAX);
        let planned =
            if self.may_protect { self.planner.redundancy(packets, &self.goal(false)) } else { 0.0 };
        let redundancy = planned.max(self.cost.redundancy(now));
        allowed.scaled(self.share / (1.0 + redundancy))
    }

    fn picture_share(&self) -> f64 {
        self.share / (1.0 + self.parity_share)
    }
}

#[cfg(test)]
mod tests {
    use cc::{Ecn, SentPacket};

    use proto::path_class::PathClass;

    use super::*;

    const SIZE: DataSize = DataSize::bytes(1_200);
    const PARTS: u16 = 12;

    /// Plays pictures of twelve packets over 50 ms there and back, of which each `lose`th packet is reported lost, on a path
    /// that congestion control takes for `class`; the repair packets of each picture.
    fn play(planned: &mut Planned, class: PathClass, lose: u64, frames: std::ops::Range<u64>) -> Vec<usize> {
        planned.set_rtt(Duration::from_millis(50));
        let path = PathNow { class, target: Bitrate::mbps(4) };
        frames
            .map(|frame| {
                let at = Instant::from_millis(frame * 33);
                let results: Vec<PacketResult> = (0..u64::from(PARTS))
                    .map(|index| result(frame * u64::from(PARTS) + index, at, lose))
                    .collect();
                planned.handle_results(at, &results, &path);
                leave(planned, frame);
                let made =
                    std::iter::from_fn(|| planned.poll(at)).filter(|(packet, _)| packet.parity.is_some());
                made.count()
            })
            .collect()
    }

    fn leave(planned: &mut Planned, frame: u64) {
        for index in 0..PARTS {
            let now = Instant::from_millis(frame * 33 + u64::from(index) * 2);
            let seq = frame * u64::from(PARTS) + u64::from(index);
            let part = FramePart { frame, index, parts: PARTS, key: false, captured: now };
            let (class, part) = (PacketClass::Video, Some(part));
            planned.note_sent(now, &MediaPacket { transport_seq: seq, seq, class, part, parity: None }, SIZE);
        }
    }

    fn result(number: u64, sent: Instant, lose: u64) -> PacketResult {
        let (class, probe) = (PacketClass::Video, None);
        let (in_flight, app_limited) = (DataSize::ZERO, false);
        let sent = SentPacket { number, size: SIZE, sent, class, probe, in_flight, app_limited };
        let received = (!number.is_multiple_of(lose)).then_some(sent.sent);
        PacketResult { sent, received, ecn: Ecn::NotCapable }
    }

    fn planned(parity: ParityUse) -> Planned {
        Planned::new(Scene::Pk, Bitrate::mbps(4), parity).within(0.5)
    }

    #[test]
    fn losses_of_the_path_are_answered_with_parity_and_those_of_rate_are_not() {
        for (class, parity, expected) in [
            (PathClass::Random, ParityUse::Planned, 1..=6),
            (PathClass::Random, ParityUse::Never, 0..=0),
            (PathClass::Policed, ParityUse::Planned, 0..=0),
        ] {
            let made = play(&mut planned(parity), class, 31, 0..450);
            assert!(
                made[400..].iter().all(|count| expected.contains(count)),
                "{class:?} {parity:?}: {made:?}"
            );
        }
    }

    #[test]
    fn what_was_taken_for_the_paths_loss_is_forgotten_when_it_is_a_policers() {
        let mut planned = planned(ParityUse::Planned);
        assert!(play(&mut planned, PathClass::Random, 31, 0..450)[449] > 0);
        let full = planned.media_rate(Instant::from_millis(14_890), Bitrate::mbps(3));
        assert_eq!(play(&mut planned, PathClass::Policed, 31, 450..452), [0, 0]);
        let relieved = planned.media_rate(Instant::from_millis(18_000), Bitrate::mbps(3));
        assert!(full < Bitrate::kbps(1_450) && relieved == Bitrate::kbps(1_500), "{full} {relieved}");
        play(&mut planned, PathClass::Policed, 31, 452..752);
        assert!(planned.losses.estimate().loss < 0.01);
    }

    #[test]
    fn what_parity_will_repair_is_not_sent_again_until_it_is_asked_for_twice() {
        let mut planned = planned(ParityUse::Planned);
        play(&mut planned, PathClass::Random, 31, 0..450);
        leave(&mut planned, 450);
        let left = Instant::from_millis(450 * 33 + 25);
        let repair: Vec<MediaPacket> =
            std::iter::from_fn(|| planned.poll(left)).map(|(packet, _)| packet).collect();
        assert!(!repair.is_empty());
        for (number, packet) in repair.iter().enumerate() {
            planned.note_sent(
                left,
                &MediaPacket { transport_seq: 90_000 + number as u64, ..packet.clone() },
                SIZE,
            );
        }
        let lost = [SeqNo(450 * PARTS + 3)];
        let answers = |planned: &mut Planned, at: Instant| {
            planned.handle_nack(at, &lost);
            std::iter::from_fn(|| planned.poll(at)).filter(|(packet, _)| packet.parity.is_none()).count()
        };
        assert_eq!(answers(&mut planned, left + Duration::from_millis(30)), 0, "it is under way");
        assert_eq!(answers(&mut planned, left + Duration::from_millis(150)), 1, "it was of no use");
        assert_eq!(answers(&mut planned, left + Duration::from_millis(160)), 0, "once a round trip");
    }
}
