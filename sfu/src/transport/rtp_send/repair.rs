//! `Repair`: what one slot's pictures lose on the way to a subscriber, and what is done about it before and after it asks.
//!
//! In: packets as they leave, what the leg loses, NACKs. Out: [`Parity`]s behind the picture that they repair; which packets
//! to send again, when, and how often; how long a player should wait for repair. Time: `now`, monotonic; `poll_timeout`.
//! Limit: [`BLOCKS_MAX`] pictures, and what [`ForwardRepair`] keeps; where nothing is lost nothing is kept, and a packet
//! costs one comparison.
//!
//! A browser asks for what is missing at once, before the repair packets of the picture can be there: what those under way
//! provably repair is not sent as well. And it does not wait for retransmissions where `FlexFEC` was negotiated (libwebrtc's
//! jitter buffer then leaves the round trip out), so we say how long is worth waiting, by the playout delay.

use core::time::Duration;
use std::collections::VecDeque;

use fec::hold_off::{Fate, HoldOff, PathFacts};
use fec::loss_model::LossEstimate;
use fec::plan::offline::OfflineMasks;
use fec::plan::{BlockPlan, Goal, Kind, MEDIA_MAX, Outlook, Planner, Receiver, Request, Timing, Usual};
use fec::scheme::masks::Loss;
use proto::rtp::{ExtensionId, PayloadType, RtpView, SeqNo, SeqUnwrapper, Ssrc};
use proto::seed::Chance;
use proto::time::Instant;

use super::super::packet::SourcePacket;
use super::super::strategy::{Repairs, Strategy};
use super::forward_repair::{Covered, ForwardRepair, Order, Parity};
use super::patience::Patience;
use super::plaintext::Plaintext;

/// The tables of plans that the slots of a worker share.
pub type Tables = fec::plan::Tables<OfflineMasks>;

/// What a browser takes to ask for what is missing, beyond the round trip: the interval of libwebrtc's NACK timer, halved.
const TURNAROUND: Duration = Duration::from_millis(10);

/// Losses that hang together more than that are taken for bursts.
const BURSTY: f64 = 0.2;

/// Pictures farther apart are no steady stream, and share no repair.
const INTERVAL_MAX: Duration = Duration::from_millis(200);

/// Repair is a third of the leg at most (references §4.8), which is so much of what it repairs.
const REDUNDANCY_MAX: f64 = 0.35 / (1.0 - 0.35);

/// Repair packets that may be saved up: a key frame's.
const CREDIT_MAX: f64 = 16.0;

/// Pictures whose plans are remembered: four seconds at 30 a second, longer than browsers ask.
const BLOCKS_MAX: usize = 128;

/// Copies of a retransmission at most.
const COPIES_MAX: usize = 4;

/// Without temporal layers every picture is needed by all that follow; a second of them is what a viewer minds.
const DEPENDENTS: u32 = 30;

/// What the guard looks at together.
const EPOCH: Duration = Duration::from_secs(1);

/// What is known of the leg.
#[derive(Debug, Clone, Copy)]
pub struct Leg<'a> {
    /// What it loses by itself.
    pub losses: &'a LossEstimate,
    /// The round trip.
    pub round_trip: Duration,
    /// From one report of arrivals to the next.
    pub report: Duration,
    /// The share of packets lost lately, for whatever reason.
    pub lost: f64,
    /// Whether parity may be sent: not towards what drops what is too much.
    pub may_protect: bool,
}

/// A packet that is to be sent again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    seq: u64,
    /// How many times beyond the first.
    pub(super) copies: usize,
    /// How far apart.
    pub(super) spacing: Duration,
}

/// The picture that is leaving.
#[derive(Debug, Default)]
struct Frame {
    number: u64,
    packets: usize,
    began: Instant,
    last_began: Instant,
}

/// A picture that has left.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Its last packet.
    last: u64,
    began: Instant,
    plan: BlockPlan,
    repairs: usize,
}

/// What was sent in an epoch, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    began: Option<Instant>,
    media: usize,
    repair: usize,
}

/// See the module's description.
///
/// First comes what is asked with each packet.
#[derive(Debug)]
#[repr(C)]
pub struct Repair {
    forward: Option<Box<ForwardRepair>>,
    patience: Patience,
    planner: Planner,
    /// What is asked of it.
    goal: Goal,
    allowed: Repairs,
    hold: HoldOff,
    numbers: SeqUnwrapper,
    losses: Loss,
    may_protect: bool,
    round_trip: Duration,
    outlook: Outlook,
    frame: Frame,
    /// How long pictures take to leave, how far apart they are, and how many packets they have.
    pacing: Duration,
    interval: Option<Duration>,
    packets: f64,
    blocks: VecDeque<Block>,
    answers: VecDeque<Answer>,
    /// Repair packets that there may be by now.
    credit: f64,
    epoch: Epoch,
    /// The retransmissions spared that were told.
    spared: u64,
}

impl Repair {
    /// Repair of a slot that is carried in this way, by retransmission alone.
    pub(super) fn new(strategy: &Strategy) -> Self {
        let path = PathFacts {
            rtt: Duration::from_millis(100),
            one_way: Duration::from_millis(50),
            report: Duration::from_millis(100),
            lost: 0.0,
        };
        let goal = goal(strategy);
        Self {
            goal,
            allowed: strategy.repair,
            planner: Planner::new(Receiver::Retransmit),
            forward: None,
            hold: HoldOff::new(path),
            numbers: SeqUnwrapper::default(),
            losses: Loss::Independent,
            may_protect: false,
            round_trip: path.rtt,
            outlook: Outlook::idle(&goal),
            patience: Patience::default(),
            frame: Frame::default(),
            pacing: Duration::ZERO,
            interval: None,
            packets: 1.0,
            blocks: VecDeque::new(),
            answers: VecDeque::new(),
            credit: 0.0,
            epoch: Epoch::default(),
            spared: 0,
        }
    }

    /// The slot is carried in another way from now on. What is planned for pictures that have left stays.
    pub(super) fn set_strategy(&mut self, strategy: &Strategy) {
        let goal = goal(strategy);
        self.allowed = strategy.repair;
        if goal != self.goal {
            self.goal = goal;
            // Until the next report, which plans anew.
            self.outlook.deadline = goal.deadline;
        }
    }

    /// By when pictures are to be whole, as it is planned now.
    pub fn deadline(&self) -> Duration {
        self.outlook.deadline
    }

    /// Whether it wants to know the packets that leave, whole.
    pub(super) fn is_watching(&self) -> bool {
        !cfg!(feature = "without-repair") && !self.planner.is_idle()
    }

    /// Whether there is nothing to plan: hardly anything is lost.
    pub(super) fn is_idle(&self) -> bool {
        self.planner.is_idle()
    }

    /// Repairs before anybody asks from now on, with repair packets of this payload type for the stream `media`; `None`
    /// ends that. `transport` is the header extension of transport-wide numbers.
    pub(super) fn set_flexfec(
        &mut self,
        media: Ssrc,
        payload_type: Option<PayloadType>,
        transport: Option<ExtensionId>,
        chance: &mut Chance,
    ) {
        // Without word of what arrives nothing could be planned.
        match (payload_type.filter(|_| transport.is_some()), &mut self.forward) {
            (Some(payload_type), Some(forward)) => forward.set_payload_type(payload_type),
            (Some(payload_type), None) => {
                let forward = ForwardRepair::new(media, payload_type, transport, chance);
                self.forward = Some(Box::new(forward));
                self.planner = Planner::new(Receiver::FlexFec);
            }
            (None, Some(_)) => {
                self.forward = None;
                self.planner = Planner::new(Receiver::Retransmit);
            }
            (None, None) => {}
        }
    }

    /// The stream of repair packets, if there is one.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.forward.as_ref().map(|forward| forward.ssrc())
    }

    /// Feedback came: what the leg is like by now.
    pub fn handle_feedback(&mut self, now: Instant, leg: &Leg<'_>, tables: &mut Tables) {
        let Leg { losses, round_trip, report, lost, may_protect } = *leg;
        self.may_protect = may_protect;
        let timing = Timing::symmetric(round_trip, TURNAROUND, self.pacing);
        self.planner.handle_feedback(now, losses, timing, tables);
        self.losses = if losses.correlation > BURSTY { Loss::Bursts } else { Loss::Independent };
        self.round_trip = round_trip;
        let path = PathFacts { rtt: round_trip, one_way: round_trip / 2, report, lost: losses.loss };
        self.hold.set_path(path);
        let usual = Usual {
            media: (self.packets.round() as usize).clamp(1, MEDIA_MAX),
            interval: self.interval,
            redundancy_max: REDUNDANCY_MAX,
        };
        self.outlook = self.planner.outlook(&self.goal, &usual);
        self.patience.set(now, self.outlook.wait);
        self.end_epoch(now, lost);
        if self.planner.is_idle() {
            self.blocks.clear();
            self.forward.iter_mut().for_each(|forward| forward.forget(u64::MAX));
        }
    }

    /// A packet of the stream leaves with this number as `written`, whole and in the clear.
    pub(super) fn note_media(&mut self, now: Instant, packet: &SourcePacket, seq: SeqNo, written: &[u8]) {
        if !self.is_watching() {
            return;
        }
        if self.frame.packets == 0 {
            self.frame.last_began = core::mem::replace(&mut self.frame.began, now);
        }
        self.frame.packets += 1;
        self.epoch.media += written.len();
        if let Some(forward) = &mut self.forward {
            forward.note_media(self.frame.number, written);
        }
        if packet.marker {
            let timestamp = RtpView::parse_protected(written).map_or(0, |view| view.timestamp());
            self.complete(now, seq, timestamp);
        }
    }

    /// The next repair packet to be sent.
    pub(super) fn poll_parity(&mut self) -> Option<Parity> {
        self.forward.as_mut()?.poll_parity()
    }

    /// Writes a repair packet; see [`ForwardRepair::write`].
    pub(super) fn write(
        &mut self,
        parity: &Parity,
        transport: Option<(ExtensionId, SeqNo)>,
        out: &mut Plaintext,
    ) -> Option<Covered> {
        let covered = self.forward.as_mut()?.write(parity, transport, out);
        self.epoch.repair += out.len();
        Some(covered)
    }

    /// A retransmission of so many bytes leaves.
    pub(super) fn note_retransmission(&mut self, size: usize) {
        self.epoch.repair += size;
    }

    /// A repair packet has left with this transport-wide number.
    pub fn handle_sent(&mut self, now: Instant, number: u64, covered: Covered) {
        self.hold.handle_parity(now, number, covered.first, covered.mask.bits());
    }

    /// Feedback told what became of the packet with this transport-wide number.
    pub fn handle_fate(&mut self, now: Instant, number: u64, has_arrived: bool) {
        self.hold.handle_fate(now, number, if has_arrived { Fate::Arrived } else { Fate::Lost });
        self.take_released(now);
    }

    /// The receiver asks for packets; see [`Self::poll_answer`].
    pub fn handle_nack(&mut self, now: Instant, lost: &[SeqNo]) {
        if !self.allowed.retransmission {
            return;
        }
        let asked: Vec<u64> = lost.iter().map(|seq| self.numbers.peek(*seq)).collect();
        let mut at_once = Vec::with_capacity(asked.len());
        // A player waits longer for what it has asked for than the scene would like.
        let deadline = now + self.outlook.deadline + self.round_trip * 2;
        self.hold.handle_nack(now, &asked, deadline, &mut at_once);
        self.plan_answers(now, &at_once);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.hold.handle_timeout(now);
        self.take_released(now);
    }

    /// A packet that was asked for and is to be sent again now.
    pub(super) fn poll_answer(&mut self) -> Option<(SeqNo, Answer)> {
        self.answers.pop_front().map(|answer| (SeqNo(answer.seq as u16), answer))
    }

    /// When to call [`Self::handle_timeout`]; `None` while nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.hold.poll_timeout()
    }

    /// What repair is planned to cost on average, as a share of the media.
    pub fn redundancy(&self) -> f64 {
        if self.may_protect && self.allowed.forward { self.outlook.redundancy } else { 0.0 }
    }

    /// How long a player should wait for repair.
    pub fn patience(&self) -> Duration {
        self.patience.get()
    }

    /// How many retransmissions it has spared since the last call.
    pub fn take_spared(&mut self) -> u64 {
        let spared = self.hold.stats().spared;
        spared - core::mem::replace(&mut self.spared, spared)
    }

    /// A picture has left: its plan, and what goes with it.
    fn complete(&mut self, now: Instant, seq: SeqNo, timestamp: u32) {
        let packets = core::mem::take(&mut self.frame.packets);
        let frame = self.frame.number;
        self.frame.number += 1;
        self.note_usual(now, packets);
        let goal = Goal { deadline: self.outlook.deadline, ..self.goal };
        let blocks = packets.div_ceil(MEDIA_MAX);
        let plan = self.planner.plan_block(packets.div_ceil(blocks), &goal, self.interval);
        if self.blocks.len() == BLOCKS_MAX {
            self.blocks.pop_front();
        }
        let last = self.numbers.unwrap(seq);
        self.blocks.push_back(Block { last, began: self.frame.began, plan, repairs: 0 });
        let order = Order {
            frame,
            frames: plan.frames,
            blocks,
            parities: self.afford(packets, plan.parities * blocks) / blocks,
            losses: self.losses,
            timestamp,
        };
        let may_protect = self.may_protect && self.allowed.forward;
        if let Some(forward) = self.forward.as_mut().filter(|_| may_protect) {
            forward.protect(&order, &mut self.numbers);
        }
    }

    /// How many of so many repair packets there may be for a picture of so many: over time, [`REDUNDANCY_MAX`].
    fn afford(&mut self, packets: usize, wanted: usize) -> usize {
        self.credit = (self.credit + packets as f64 * REDUNDANCY_MAX).min(CREDIT_MAX);
        let afforded = wanted.min(self.credit as usize);
        self.credit -= afforded as f64;
        afforded
    }

    /// Plans how packets that are asked for are sent again, picture by picture.
    fn plan_answers(&mut self, now: Instant, asked: &[u64]) {
        let mut asked = asked.to_vec();
        asked.sort_unstable();
        asked.dedup();
        let mut rest = asked.as_slice();
        for block in &mut self.blocks {
            let (own, others) = rest.split_at(rest.partition_point(|seq| *seq <= block.last));
            rest = others;
            if own.is_empty() {
                continue;
            }
            // What comes too late is shown late, and all the more urgent.
            let left = (block.began + self.outlook.deadline).since(now).max(self.round_trip / 2);
            let request = Request { missing: own.len(), repairs: block.repairs, left };
            block.repairs += 1;
            let plan = self.planner.plan_repair(&block.plan, request);
            let (packets, spacing) =
                plan.map_or((own.len(), Duration::ZERO), |plan| (plan.packets, plan.spacing));
            for (place, seq) in own.iter().enumerate() {
                let times = packets / own.len() + usize::from(place < packets % own.len());
                let copies = times.clamp(1, COPIES_MAX) - 1;
                self.answers.push_back(Answer { seq: *seq, copies, spacing });
            }
        }
        // Of a picture that is leaving, or that nothing was planned for.
        let plain = |seq: &u64| Answer { seq: *seq, copies: 0, spacing: Duration::ZERO };
        self.answers.extend(rest.iter().map(plain));
    }

    fn take_released(&mut self, now: Instant) {
        let mut released = Vec::new();
        while let Some(seq) = self.hold.poll_release() {
            released.push(seq);
        }
        if !released.is_empty() {
            self.plan_answers(now, &released);
        }
    }

    /// Notes what pictures are like.
    fn note_usual(&mut self, now: Instant, packets: usize) {
        let pacing = now.since(self.frame.began);
        self.pacing = (self.pacing * 7 + pacing) / 8;
        let interval = self.frame.began.since(self.frame.last_began);
        self.interval = (interval <= INTERVAL_MAX)
            .then(|| self.interval.map_or(interval, |mean| (mean * 7 + interval) / 8));
        self.packets += (packets as f64 - self.packets) / 8.0;
    }

    fn end_epoch(&mut self, now: Instant, lost: f64) {
        let began = *self.epoch.began.get_or_insert(now);
        if now.since(began) < EPOCH {
            return;
        }
        let ended = core::mem::replace(&mut self.epoch, Epoch { began: Some(now), ..Epoch::default() });
        let redundancy = ended.repair as f64 / ended.media.max(1) as f64;
        self.planner.handle_epoch(now, redundancy, lost);
    }
}

/// What is asked of repair for pictures.
fn goal(strategy: &Strategy) -> Goal {
    strategy.goal(Kind::Other).with_dependents(DEPENDENTS)
}
