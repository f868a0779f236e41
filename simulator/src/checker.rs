//! What must hold in every run, watched all along (in the manner of `TigerBeetle`'s simulator).
//!
//! In: events. Out: [`Violation`]s, at most [`VIOLATIONS_MAX`]. The rules:
//!
//! - `conservation`: each packet sent is delivered once, dropped once, or still inside a link at the end.
//! - `route`: every packet has a way.
//! - `order`: a flow's packets arrive in the order in which they were sent, where no link may reorder.
//! - `progress`: time goes on; nobody is due again and again at one instant, wants to be woken before now, or has no
//!   end of packets to send.
//! - `bounded-queue`: no packet waits longer than a queue limited by time lets it.
//! - `limits`: an estimator's target stays between its limits.
//! - `frames-once`: a picture is complete at most once.
//! - `padding`: no flow sends more padding than all else.
//! - `recovery`: within [`HEALED_WITHIN`] after the network healed there is a second in which two thirds of each flow's
//!   pictures arrive; and one in which what arrives is half of what the network now carries, or at least three
//!   quarters of what arrived before it healed and more than the least that estimators may choose. (Those that do not
//!   look at the network are only asked for pictures.) Of our own estimator more is asked: within [`HEALING`] its
//!   flows' targets together reach [`REGAINED`] of what the healed network carries for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cc::{PacketClass, RateLimits};
use proto::time::Instant;
use proto::units::Bitrate;

use crate::link::plan::{Depth, LinkPlan, Queue, Rate};
use crate::node::Fact;
use crate::packet::{FlowId, LinkId, MediaPacket, Packet, Payload};
use crate::scenario::Scenario;
use crate::world::{Event, Observer};

/// The most violations that a run keeps: what follows the first ones is mostly their consequence.
pub const VIOLATIONS_MAX: usize = 10;

/// How long the network is healthy after each scenario.
pub const HEALING: Duration = Duration::from_secs(10);

/// How long after the network has healed everything must be well again.
pub const HEALED_WITHIN: Duration = Duration::from_secs(8);

/// What of the healed network our own estimator must believe in again.
pub const REGAINED: f64 = 0.9;

/// What is asked of estimators when the network has healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Pictures alone: it does not look at the network.
    Pictures,
    /// To use half of this, which the network carries for the flows, or as much as before.
    Half(Bitrate),
    /// That, and that targets reach [`REGAINED`] of it.
    Nearly(Bitrate),
}

impl Asked {
    fn half(self) -> Option<Bitrate> {
        match self {
            Self::Pictures => None,
            Self::Half(carried) | Self::Nearly(carried) => Some(carried / 2),
        }
    }
}

/// A rule that a run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The rule's name.
    pub rule: &'static str,
    /// What happened.
    pub detail: String,
}

/// Where a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Travelling,
    Gone,
}

/// What is known of one flow.
#[derive(Debug)]
struct FlowCheck {
    limits: RateLimits,
    /// What its estimator allows.
    target: Bitrate,
    /// The pictures that were complete of late.
    complete: BTreeSet<u64>,
    /// Pictures complete in each second after the network healed.
    pictures: [u32; HEALING_SECONDS],
    padding: u64,
    useful: u64,
}

/// The pictures of a flow that are remembered as complete: ten minutes at 30 a second cost half a megabyte.
const PICTURES_MAX: usize = 20_000;

/// The healing in seconds.
const HEALING_SECONDS: usize = HEALING.as_secs() as usize;

/// Over how long arrivals before and after the healing are measured.
const MEASURED: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Checker {
    /// The packets from number `first` on.
    packets: VecDeque<Whereabouts>,
    first: u64,
    travelling: usize,
    /// The newest number delivered of each flow and receiver.
    newest: BTreeMap<(FlowId, usize), u64>,
    may_reorder: bool,
    /// For each link: whether its plan was changed, and the longest wait that its first plan allows, if it says.
    waits_max: Vec<(bool, Option<Duration>)>,
    flows: Vec<FlowCheck>,
    healed_at: Instant,
    /// Bytes a second that are half of what the healed network carries; `None` if nothing is asked.
    healed_rate: Option<u64>,
    asked: Asked,
    /// The greatest sum of targets since the network healed.
    targets: Bitrate,
    /// Bytes that arrived in the last second before the network healed, and in each one after.
    before: u64,
    after: [u64; HEALING_SECONDS],
    violations: Vec<Violation>,
}

impl Checker {
    /// A checker for a scenario's run.
    pub(crate) fn new(scenario: &Scenario, asked: Asked) -> Self {
        let plans = scenario.links.iter().map(|(_, plan)| plan);
        let plans = plans.chain(scenario.changes.iter().map(|(_, _, plan)| plan));
        Self {
            packets: VecDeque::new(),
            first: 0,
            travelling: 0,
            newest: BTreeMap::new(),
            may_reorder: plans.clone().any(|plan| plan.jitter.is_some_and(|jitter| jitter.reorder)),
            waits_max: Vec::new(),
            flows: scenario.flows.iter().map(|flow| FlowCheck::new(flow.limits)).collect(),
            healed_at: Instant::ZERO + scenario.duration,
            healed_rate: asked.half().map(|rate| (rate * MEASURED).as_bytes()),
            asked,
            targets: Bitrate::ZERO,
            before: 0,
            after: [0; HEALING_SECONDS],
            violations: Vec::new(),
        }
    }

    /// What was broken, the run having ended at `now` with `held` packets inside links.
    pub(crate) fn finish(mut self, now: Instant, held: usize, scenario: &Scenario) -> Vec<Violation> {
        if self.travelling != held {
            let detail =
                format!("{} packets neither arrived nor dropped, links hold {held}", self.travelling);
            self.report(now, "conservation", detail);
        }
        let flows = std::mem::take(&mut self.flows);
        for (plan, flow) in scenario.flows.iter().zip(&flows) {
            if flow.padding > flow.useful {
                let detail =
                    format!("{}: {} bytes of padding, {} of all else", plan.name, flow.padding, flow.useful);
                self.report(now, "padding", detail);
            }
            let pictures = best(&flow.pictures);
            if plan.stop.is_none() && pictures < plan.camera.fps * 2 / 3 {
                let detail = format!("{}: {pictures} of {} pictures a second", plan.name, plan.camera.fps);
                self.report(now, "recovery", detail);
            }
        }
        let (before, after) = (self.before, best(&self.after));
        let least: Bitrate = flows.iter().map(|flow| flow.limits.min).sum();
        let more_than_least = after * 2 > (least * MEASURED).as_bytes() * 3;
        let holds = after * 4 >= before * 3 && more_than_least;
        if let Some(half) = self.healed_rate.filter(|half| after < *half && !holds) {
            let detail =
                format!("at most {after} bytes a second, {before} before, {half} is half of the network");
            self.report(now, "recovery", detail);
        }
        let targets: Bitrate = self.targets.max(flows.iter().map(|flow| flow.target).sum());
        if let Asked::Nearly(carried) = self.asked
            && targets < carried.scaled(REGAINED)
        {
            let detail = format!("targets of {targets} at most, the network carries {carried}");
            self.report(now, "recovery", detail);
        }
        self.violations
    }

    fn report(&mut self, at: Instant, rule: &'static str, detail: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { at, rule, detail });
        }
    }

    fn handle_sent(&mut self, packet: &Packet) {
        if let Some((flow, media)) = self.media(packet) {
            let bytes =
                if media.class == PacketClass::Padding { &mut flow.padding } else { &mut flow.useful };
            *bytes += packet.size.as_bytes();
        }
        debug_assert_eq!(packet.number, self.first + self.packets.len() as u64, "the world numbers packets");
        self.packets.push_back(Whereabouts::Travelling);
        self.travelling += 1;
    }

    /// A packet has left the world, whatever way.
    fn handle_gone(&mut self, now: Instant, packet: &Packet) {
        let place =
            packet.number.checked_sub(self.first).and_then(|index| self.packets.get_mut(index as usize));
        if let Some(place) = place.filter(|place| **place == Whereabouts::Travelling) {
            *place = Whereabouts::Gone;
            self.travelling -= 1;
        } else {
            self.report(now, "conservation", format!("packet {} came to its end twice", packet.number));
        }
        while self.packets.front() == Some(&Whereabouts::Gone) {
            self.packets.pop_front();
            self.first += 1;
        }
    }

    /// The flow of a media packet.
    fn media<'a>(&mut self, packet: &'a Packet) -> Option<(&mut FlowCheck, &'a MediaPacket)> {
        match &packet.payload {
            Payload::Media(media) => Some((self.flows.get_mut(packet.flow.0 as usize)?, media)),
            Payload::Filler | Payload::Datagram(_) | Payload::Message(_) => None,
        }
    }

    fn handle_delivered(&mut self, now: Instant, packet: &Packet) {
        self.handle_gone(now, packet);
        if self.media(packet).is_some() {
            self.note_arrival(now, packet.size.as_bytes());
        }
        let is_message = matches!(packet.payload, Payload::Message(_)); // goes another way than datagrams
        let newest = self.newest.entry((packet.flow, packet.to.0)).or_insert(packet.number);
        if packet.number < *newest && !self.may_reorder && !is_message {
            let detail = format!("packet {} of {:?} arrived after {newest}", packet.number, packet.flow);
            self.report(now, "order", detail);
        } else {
            *newest = packet.number;
        }
    }

    fn note_arrival(&mut self, now: Instant, bytes: u64) {
        if now < self.healed_at {
            self.before += if now + MEASURED >= self.healed_at { bytes } else { 0 };
        } else if let Some(second) = self.after.get_mut(now.since(self.healed_at).as_secs() as usize) {
            *second += bytes;
        }
    }

    fn handle_plan(&mut self, link: LinkId, plan: &LinkPlan) {
        if let Some((changed, _)) = self.waits_max.get_mut(link.0) {
            *changed = true; // what waited before may have waited longer than the new plan allows
            return;
        }
        let limit = match (&plan.queue, &plan.rate) {
            (
                Queue::DropTail(Depth::Time(depth)) | Queue::CoDel { depth: Depth::Time(depth), .. },
                Rate::Constant(_),
            ) => {
                let stall = plan.stalls.map_or(Duration::ZERO, |stalls| stalls.length);
                Some(*depth + stall + Duration::from_micros(1))
            }
            _ => None,
        };
        self.waits_max.resize(link.0 + 1, (false, None));
        self.waits_max[link.0] = (false, limit);
    }

    fn handle_passed(&mut self, now: Instant, link: LinkId, queued: Duration) {
        if let Some((false, Some(most))) = self.waits_max.get(link.0).copied()
            && queued > most
        {
            self.report(
                now,
                "bounded-queue",
                format!("a packet waited {queued:?} at {link:?}, at most {most:?}"),
            );
        }
    }

    fn handle_fact(&mut self, now: Instant, fact: &Fact) {
        match fact {
            Fact::Target { flow, rate, .. } => self.check_target(now, *flow, *rate),
            Fact::Violated { flow, rule, detail } => self.report(now, rule, format!("{flow:?}: {detail}")),
            Fact::FrameComplete { flow, frame, .. } => self.check_picture(now, *flow, *frame),
            Fact::Phase { .. }
            | Fact::PathClass { .. }
            | Fact::FrameSent { .. }
            | Fact::FrameLost { .. }
            | Fact::FrameShown { .. }
            | Fact::Froze { .. }
            | Fact::LayerSwitched { .. }
            | Fact::Computed { .. } => {}
        }
    }

    fn check_picture(&mut self, now: Instant, id: FlowId, frame: u64) {
        let second = (now >= self.healed_at).then(|| now.since(self.healed_at).as_secs() as usize);
        let Some(flow) = self.flows.get_mut(id.0 as usize) else { return };
        if let Some(pictures) = second.and_then(|second| flow.pictures.get_mut(second)) {
            *pictures += 1;
        }
        let is_new = flow.complete.insert(frame);
        if flow.complete.len() > PICTURES_MAX {
            flow.complete.pop_first(); // the oldest: numbers only grow
        }
        if !is_new {
            self.report(now, "frames-once", format!("picture {frame} of {id:?} was complete twice"));
        }
    }

    fn check_target(&mut self, now: Instant, flow: FlowId, rate: Bitrate) {
        let Some(checked) = self.flows.get_mut(flow.0 as usize) else { return };
        checked.target = rate;
        let limits = checked.limits;
        if now >= self.healed_at {
            self.targets = self.targets.max(self.flows.iter().map(|flow| flow.target).sum());
        }
        if rate < limits.min || rate > limits.max {
            let detail = format!("{flow:?}: target {rate} is not from {} to {}", limits.min, limits.max);
            self.report(now, "limits", detail);
        }
    }
}

/// The best of the seconds in which everything must have become well.
fn best<T: Copy + Ord + Default>(seconds: &[T]) -> T {
    seconds.iter().take(HEALED_WITHIN.as_secs() as usize).copied().max().unwrap_or_default()
}

impl FlowCheck {
    fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            target: Bitrate::ZERO,
            complete: BTreeSet::new(),
            pictures: [0; HEALING_SECONDS],
            padding: 0,
            useful: 0,
        }
    }
}

impl Observer for Checker {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Sent(packet) => self.handle_sent(packet),
            Event::Dropped { packet, .. } => self.handle_gone(now, packet),
            Event::Delivered(packet) => self.handle_delivered(now, packet),
            Event::Passed { link, queued, .. } => self.handle_passed(now, *link, *queued),
            Event::Replanned { link, plan } => self.handle_plan(*link, plan),
            Event::Fact { fact, .. } => self.handle_fact(now, fact),
            Event::Spinning(entity) => {
                self.report(now, "progress", format!("{entity:?} is due again and again"));
            }
            Event::WokenLate(entity) => {
                self.report(now, "progress", format!("{entity:?} was due in the past"));
            }
            Event::Flooding(node) => self.report(now, "progress", format!("{node:?} sends without end")),
            Event::Unroutable(packet) => {
                self.handle_gone(now, packet);
                let detail = format!("packet {} from {:?} to {:?}", packet.number, packet.from, packet.to);
                self.report(now, "route", detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::DropCause;
    use crate::packet::NodeId;
    use crate::scenario::find;
    use crate::world::Entity;

    const FLOW: FlowId = FlowId(0);
    const LINK: LinkId = LinkId(0);
    const NODE: NodeId = NodeId(0);

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn packet(number: u64, class: PacketClass) -> Packet {
        Packet {
            number,
            flow: FLOW,
            from: NODE,
            to: NodeId(1),
            size: proto::units::DataSize::bytes(1_000),
            ecn: cc::Ecn::NotCapable,
            sent: Instant::ZERO,
            payload: Payload::Media(MediaPacket {
                transport_seq: number,
                seq: number,
                class,
                part: None,
                parity: None,
            }),
        }
    }

    fn complete(frame: u64) -> Fact {
        Fact::FrameComplete { flow: FLOW, frame, delay: Duration::ZERO, repaired: false }
    }

    /// Sends packets and delivers them at once.
    fn carry(checker: &mut Checker, at: Instant, numbers: std::ops::Range<u64>, class: PacketClass) {
        for packet in numbers.map(|number| packet(number, class)) {
            checker.observe(at, &Event::Sent(&packet));
            checker.observe(at, &Event::Delivered(&packet));
        }
    }

    /// The rules that a run of `fixed-4m` breaks in which this happens; `pictures` arrive in a second after it healed.
    fn broken(asked: Asked, pictures: u64, happens: impl FnOnce(&mut Checker)) -> Vec<&'static str> {
        let scenario = find("fixed-4m").unwrap();
        let mut checker = Checker::new(&scenario, asked);
        let plan = &scenario.links[0].1;
        checker.observe(Instant::ZERO, &Event::Replanned { link: LINK, plan });
        happens(&mut checker);
        for frame in 1_000..1_000 + pictures {
            checker.observe(ms(63_000), &Event::Fact { node: NODE, fact: &complete(frame) });
        }
        let violations = checker.finish(ms(70_000), 0, &scenario);
        violations.into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn each_rule_sees_what_breaks_it_and_nothing_else() {
        use PacketClass::{Padding, Video};
        type Happening = fn(&mut Checker);
        let rows: [(&str, Happening, &[&str]); 16] = [
            ("all is well", |checker| carry(checker, ms(1), 0..5, Video), &[]),
            (
                "a packet is dropped",
                |checker| {
                    let (packet, cause) = (packet(0, Video), DropCause::Random);
                    checker.observe(ms(1), &Event::Sent(&packet));
                    checker.observe(ms(1), &Event::Dropped { link: LINK, packet: &packet, cause });
                },
                &[],
            ),
            (
                "a packet comes twice",
                |checker| {
                    carry(checker, ms(1), 0..1, Video);
                    checker.observe(ms(2), &Event::Delivered(&packet(0, Video)));
                },
                &["conservation"],
            ),
            (
                "a packet vanishes",
                |checker| checker.observe(ms(1), &Event::Sent(&packet(0, Video))),
                &["conservation"],
            ),
            (
                "a packet overtakes",
                |checker| {
                    let two = [packet(0, Video), packet(1, Video)];
                    for packet in &two {
                        checker.observe(ms(1), &Event::Sent(packet));
                    }
                    for packet in two.iter().rev() {
                        checker.observe(ms(2), &Event::Delivered(packet));
                    }
                },
                &["order"],
            ),
            (
                "a packet has no way",
                |checker| {
                    checker.observe(ms(1), &Event::Sent(&packet(0, Video)));
                    checker.observe(ms(1), &Event::Unroutable(&packet(0, Video)));
                },
                &["route"],
            ),
            (
                "time stands still",
                |checker| checker.observe(ms(1), &Event::Spinning(Entity::Node(NODE))),
                &["progress"],
            ),
            (
                "a wake-up is late",
                |checker| checker.observe(ms(1), &Event::WokenLate(Entity::Link(LINK))),
                &["progress"],
            ),
            ("a node floods", |checker| checker.observe(ms(1), &Event::Flooding(NODE)), &["progress"]),
            ("a packet waits as long as it may", |checker| wait(checker, 300), &[]),
            ("a packet waits longer", |checker| wait(checker, 301), &["bounded-queue"]),
            (
                "a packet waited by an earlier plan",
                |checker| {
                    let plan = LinkPlan::default();
                    checker.observe(ms(1), &Event::Replanned { link: LINK, plan: &plan });
                    wait(checker, 301);
                },
                &[],
            ),
            ("a target at its limit", |checker| aim(checker, Bitrate::mbps(10)), &[]),
            ("a target beyond it", |checker| aim(checker, Bitrate::kbps(10_001)), &["limits"]),
            (
                "a picture is complete twice",
                |checker| {
                    for _ in 0..2 {
                        checker.observe(ms(1), &Event::Fact { node: NODE, fact: &complete(7) });
                    }
                },
                &["frames-once"],
            ),
            (
                "more padding than all else",
                |checker| {
                    carry(checker, ms(1), 0..5, Video);
                    carry(checker, ms(2), 5..11, Padding);
                },
                &["padding"],
            ),
        ];
        for (name, happens, rules) in rows {
            assert_eq!(broken(Asked::Pictures, 30, happens), rules, "{name}");
        }
    }

    fn wait(checker: &mut Checker, millis: u64) {
        let packet = packet(0, PacketClass::Video);
        checker.observe(ms(1), &Event::Sent(&packet));
        let queued = Duration::from_millis(millis);
        checker.observe(ms(2), &Event::Passed { link: LINK, packet: &packet, queued });
        checker.observe(ms(2), &Event::Delivered(&packet));
    }

    fn aim(checker: &mut Checker, rate: Bitrate) {
        let fact = Fact::Target { flow: FLOW, rate, state: "cruise" };
        checker.observe(ms(1), &Event::Fact { node: NODE, fact: &fact });
    }

    /// So many packets of 8 kbit in the last second before the network heals, and in one after.
    fn around_healing(before: u64, after: u64) -> Vec<&'static str> {
        broken(Asked::Half(Bitrate::mbps(4)), 30, |checker| {
            carry(checker, ms(59_500), 0..before, PacketClass::Video);
            carry(checker, ms(64_500), before..before + after, PacketClass::Video);
        })
    }

    #[test]
    fn a_healed_network_must_be_used_again() {
        for (name, before, after, rules) in [
            ("half of it is", 400, 250, &[][..]),
            ("nothing is", 10, 0, &["recovery"]),
            ("less than half, but no less than before", 100, 100, &[]),
            ("much less than before", 200, 100, &["recovery"]),
            ("as before, which is the least there is", 6, 6, &["recovery"]),
        ] {
            assert_eq!(around_healing(before, after), rules, "{name}");
        }
        assert_eq!(broken(Asked::Pictures, 19, |_| {}), ["recovery"], "too few pictures");
        assert_eq!(broken(Asked::Pictures, 20, |_| {}), [""; 0], "two thirds are enough");
    }

    #[test]
    fn ours_must_believe_in_nine_tenths_of_the_healed_network() {
        for (name, targets, rules) in [
            ("it does", &[(59_000, 500), (65_000, 3_600)][..], &[][..]),
            ("it always did", &[(10_000, 3_700)], &[]),
            ("for a moment", &[(65_000, 3_700), (66_000, 3_000)], &[]),
            ("only before", &[(59_000, 3_700), (60_000, 3_500)], &["recovery"]),
            ("not quite", &[(65_000, 3_590)], &["recovery"]),
        ] {
            let found = broken(Asked::Nearly(Bitrate::mbps(4)), 30, |checker| {
                carry(checker, ms(61_500), 0..400, PacketClass::Video);
                for (at, kbps) in targets {
                    let fact = Fact::Target { flow: FLOW, rate: Bitrate::kbps(*kbps), state: "cruise" };
                    checker.observe(ms(*at), &Event::Fact { node: NODE, fact: &fact });
                }
            });
            assert_eq!(found, rules, "{name}");
        }
    }
}
