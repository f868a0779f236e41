//! `Downlink`: how fast packets leave to one subscriber: its estimator, pacer and send history.
//!
//! In: packets that want to leave, what left, feedback. Out: `poll`, one packet at a time; the target. Time: `now`,
//! monotonic; `poll_timeout`. Limit: that of the pacer and of the history; how long pictures may wait is the
//! caller's to keep ([`Downlink::limit`]).

mod controller;
mod jitter;

use core::time::Duration;

use cc::history::{Departure, SendHistory};
use cc::pacer::lanes::Lane;
use cc::pacer::{Paced, Pacer};
use cc::{Demand, Estimator, PacketClass, PacketResult, SentPacket, Target, Transition};
use proto::feedback::{Arrival, TwccClock};
use proto::path_class::PathClass;
use proto::rtcp::TransportFeedback;
use proto::rtp::SeqNo;
use proto::scene::Priority;
use proto::time::{Instant, earliest};
use proto::units::{Bitrate, DataSize};

pub use controller::{Controller, DownlinkSettings, EstimatorChoice, MakeEstimator};

use self::jitter::Jitter;
use super::meter::RateMeter;
use crate::fetch;

/// What IP and UDP put before a packet, as congestion control counts it: IPv6 is counted as IPv4.
pub const IP_UDP_HEADERS: u64 = 28;

/// What a packet has around its payload: those, RTP's header, extensions, and the cipher's tag.
pub const PACKET_OVERHEAD: u64 = IP_UDP_HEADERS + 12 + 12 + 16;

/// Who tells of arrivals does so each 250 ms at least (libwebrtc's longest interval), some of which is lost.
const SILENCE: Duration = Duration::from_millis(600);

/// Phases in which the path is asked for more, as estimators name them.
const ASKING: [&str; 2] = ["climb", "probe"];

/// What may leave at once, by the time that the path takes for it: libwebrtc's pacer wakes as often (`kMinSleepTime` is
/// 1 ms, its process interval 5 ms). At 2.5 Mbit/s it is one packet, of a nine-grid's 20 Mbit/s it is ten.
const BURST: Duration = Duration::from_millis(5);

/// The same towards a queue that is soon full: the grain of timers, which would let as much go at once anyway.
const BURST_SHALLOW: Duration = Duration::from_millis(1);

/// Next to nothing, but not nothing: it allows a probe that finds no pictures to start with padding.
const PROBING: Bitrate = Bitrate::bps(1);

/// A subscriber to whom nothing has been sent for so long sees no pictures: pauses between them are shorter, and it has time
/// to grow again.
const REST_AFTER: Duration = Duration::from_secs(10);

/// See the module's description. `P` is what waits.
///
/// First comes what each packet that leaves needs: the pacer's and the history's first fields are such, too.
#[derive(Debug)]
#[repr(C)]
pub struct Downlink<P> {
    history: SendHistory,
    /// When the first packet left of which nothing was heard, if anything was ever heard.
    unheard_since: Option<Instant>,
    /// Whether a probe was asked for of which no packet has left.
    probe_waits: bool,
    is_heard: bool,
    estimator: Controller,
    pacer: Pacer<P>,
    target: Target,
    twcc: TwccClock,
    arrivals: Vec<Arrival>,
    demand: Demand,
    repair: RateMeter,
    jitter: Jitter,
    probes: u64,
}

impl<P> Downlink<P> {
    /// A downlink that has sent nothing.
    pub fn new(estimator: Controller) -> Self {
        let target = estimator.target();
        Self {
            estimator,
            target,
            pacer: Pacer::new(target),
            history: SendHistory::new(),
            twcc: TwccClock::default(),
            arrivals: Vec::new(),
            demand: Demand::default(),
            probe_waits: false,
            repair: RateMeter::default(),
            jitter: Jitter::default(),
            unheard_since: None,
            is_heard: false,
            probes: 0,
        }
    }

    /// The subscriber is at another address: what was learned of the path to the old one does not hold.
    pub fn handle_route_change(&mut self, now: Instant, estimator: Controller) {
        self.estimator = estimator;
        self.demand = Demand::default();
        self.jitter = Jitter::default();
        (self.unheard_since, self.is_heard) = (None, false);
        self.history.handle_route_change(now);
        self.pacer.clear(now);
        self.settle(now);
    }

    /// A packet of `size`, IP and UDP headers included, wants to leave. It comes back if too many wait.
    pub fn enqueue(&mut self, now: Instant, lane: Lane, size: DataSize, packet: P) -> Result<(), P> {
        self.pacer.enqueue(now, lane, size, packet)
    }

    /// Asks for what the next packet that leaves needs of this.
    pub fn fetch_ahead(&self) {
        fetch::ahead(self, 448);
        fetch::ahead(&self.target, size_of::<Target>());
    }

    /// Asks for what it needs beyond.
    pub fn fetch_behind(&self) {
        if let Some(newest) = self.history.newest() {
            fetch::ahead(newest, size_of::<SentPacket>());
        }
    }

    /// Whether a packet would leave as soon as it came.
    pub fn passes(&self, now: Instant, class: PacketClass) -> bool {
        self.pacer.passes(now, class, self.history.in_flight())
    }

    /// A packet leaves as soon as it came, as [`Self::passes`] says it may.
    pub fn note_passed(&mut self, now: Instant, class: PacketClass, size: DataSize) {
        self.pacer.pass(now, class, size);
    }

    /// Whether something was sent of which no fate is known.
    pub fn is_in_flight(&self) -> bool {
        self.history.in_flight() > DataSize::ZERO
    }

    /// Whether there is nothing to be polled, now or later, if nothing comes.
    pub fn is_idle(&self) -> bool {
        self.pacer.is_idle()
    }

    /// Signaling or a report of `size` leaves past the queue, at once: media pays for it.
    pub fn note_control_sent(&mut self, now: Instant, size: DataSize) {
        self.pacer.note_passed(now, size);
    }

    /// Gives back the memory that it has grown to while media flowed, if none has for [`REST_AFTER`]; whether it is so.
    pub fn rest(&mut self, now: Instant) -> bool {
        let is_idle = self.pacer.is_idle_for(now, REST_AFTER);
        if is_idle {
            self.pacer.shrink();
            self.history.shrink(now);
            self.arrivals.shrink_to_fit();
        }
        is_idle
    }

    /// What leaves now; to be asked until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Paced<P>> {
        self.pacer.poll(now, self.history.in_flight())
    }

    /// What was really sent for the last [`Paced::Padding`], in all its packets.
    pub fn note_padding_sent(&mut self, now: Instant, size: DataSize) {
        self.pacer.note_padding_sent(now, size);
    }

    /// The transport-wide number of the packet that leaves next.
    pub fn next_number(&self) -> SeqNo {
        SeqNo(self.history.next_number() as u16)
    }

    /// A packet leaves now, with [`Self::next_number`]; returns its number without wrapping.
    pub fn handle_sent(&mut self, now: Instant, departure: Departure) -> u64 {
        let sent = self.history.handle_sent(now, departure);
        self.unheard_since.get_or_insert(now);
        if departure.class == PacketClass::Repair {
            self.repair.add(now, departure.size);
        }
        if departure.probe.is_some() && self.probe_waits {
            self.probe_waits = false;
            self.pacer.set_target(now, self.target);
        }
        if self.estimator.note_sent(now, &sent) {
            self.settle(now);
        }
        sent.number
    }

    /// Notes what one packet of transport-wide feedback says, for [`Self::handle_arrivals`].
    pub fn note_feedback(&mut self, feedback: &TransportFeedback) {
        let Self { twcc, arrivals, .. } = self;
        arrivals.extend(twcc.arrivals(feedback));
    }

    /// Tells the estimator of all that was noted since the last time; `each` hears every result.
    pub fn handle_arrivals(&mut self, now: Instant, mut each: impl FnMut(&PacketResult)) {
        if self.arrivals.is_empty() {
            return;
        }
        let results = self.history.handle_arrivals(now, self.arrivals.drain(..));
        results.iter().for_each(&mut each);
        if !results.is_empty() {
            self.jitter.handle_report(now, results);
            if results.iter().any(|result| result.received.is_some()) {
                (self.unheard_since, self.is_heard) = (None, true);
            }
            self.estimator.handle_feedback(now, results);
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.history.handle_timeout(now);
        if self.estimator.poll_timeout().is_some_and(|at| at <= now) {
            self.estimator.handle_timeout(now);
        }
        self.settle(now);
    }

    /// The subscriber could make use of something else from now on.
    pub fn set_demand(&mut self, now: Instant, demand: Demand) {
        if demand != self.demand {
            self.demand = demand;
            self.estimator.set_demand(now, demand);
            self.settle(now);
        }
    }

    /// Keeps only those waiting packets of which `keep` says so by size and content.
    pub fn retain(&mut self, keep: impl FnMut(DataSize, &P) -> bool) {
        self.pacer.retain(keep);
    }

    /// Gives waiting packets another size, because their content has changed; `None` leaves one as it is.
    pub fn resize(&mut self, resize: impl FnMut(&mut P) -> Option<DataSize>) {
        self.pacer.resize(resize);
    }

    /// Gives waiting pictures another priority; `None` leaves one as it is.
    pub fn prioritize(&mut self, priority: impl FnMut(&P) -> Option<Priority>) {
        self.pacer.prioritize(priority);
    }

    /// What waits and its sizes, by lane and then in the order in which it came.
    pub fn waiting(&self) -> impl Iterator<Item = (DataSize, &P)> {
        self.pacer.iter()
    }

    /// Forgets what waits.
    pub fn clear(&mut self, now: Instant) {
        self.pacer.clear(now);
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll`] again; `None` if there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pacer = self.pacer.poll_timeout(self.history.in_flight());
        earliest(pacer, earliest(self.estimator.poll_timeout(), self.history.poll_timeout()))
    }

    /// What is allowed now.
    pub fn target(&self) -> Target {
        self.target
    }

    /// How long what waits takes to leave.
    pub fn queue_time(&self) -> Duration {
        self.pacer.queue_time()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pacer.is_empty()
    }

    /// Whether packets have left for [`SILENCE`] without a word of any that arrived, from a subscriber that does tell: the
    /// path stands still.
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.is_heard && self.unheard_since.is_some_and(|since| now.since(since) > SILENCE)
    }

    /// What leaves before a packet that comes to this lane now.
    pub fn ahead(&self, lane: Lane) -> DataSize {
        self.pacer.ahead(lane)
    }

    /// How long a packet waits that comes to this lane now; see [`Pacer::wait`].
    pub fn wait(&self, now: Instant, lane: Lane) -> Duration {
        self.pacer.wait(now, lane)
    }

    /// How long the first packet of a lane has waited.
    pub fn waited(&self, now: Instant, lane: Lane) -> Duration {
        self.pacer.waited(now, lane)
    }

    /// How long pictures may wait that wait `usual` at most where the path has no jitter: so much, or half of it on top of
    /// what jitter makes usual if that is more, but never twice as much.
    pub fn limit(&self, usual: Duration) -> Duration {
        (usual / 2 + self.jitter.usual()).clamp(usual, usual * 2)
    }

    /// How long the oldest packet has waited.
    pub fn queue_delay(&self, now: Instant) -> Duration {
        self.pacer.queue_delay(now)
    }

    /// How many packets were given up because they had waited for too long.
    pub fn dropped(&self) -> u64 {
        self.pacer.dropped()
    }

    /// Whether the subscriber has been sent less than was allowed for a while.
    pub fn is_app_limited(&self, now: Instant) -> bool {
        self.pacer.is_app_limited(now)
    }

    /// What retransmissions have taken lately.
    pub fn repair_rate(&self, now: Instant) -> Bitrate {
        self.repair.usual(now).unwrap_or_default()
    }

    /// What kind of path this is, as far as the estimator tells.
    pub fn path_class(&self) -> PathClass {
        self.estimator.path_class()
    }

    /// The phase that the estimator is in, as it names it.
    pub fn state(&self) -> &'static str {
        self.estimator.state()
    }

    /// How often the estimator has asked the path for more since the last call.
    pub fn take_probes(&mut self) -> u64 {
        core::mem::take(&mut self.probes)
    }

    /// The estimator's next change of phase, if there is one that was not told.
    pub fn poll_transition(&mut self) -> Option<Transition> {
        let transition = self.estimator.poll_transition()?;
        self.probes += u64::from(ASKING.contains(&transition.to));
        Some(transition)
    }

    /// Does what the estimator wants after it was told something.
    fn settle(&mut self, now: Instant) {
        if self.estimator.poll_probe_abort() {
            self.pacer.abort_probes(now);
            self.probe_waits = false;
        }
        let mut is_news = false;
        while let Some(cluster) = self.estimator.poll_probe() {
            self.probes += 1;
            self.pacer.handle_probe(now, cluster);
            is_news = !self.probe_waits;
            self.probe_waits = true;
        }
        let target = self.estimator.target();
        if target != self.target || is_news {
            self.target = target;
            // A subscriber without pictures, because the rate is low, must learn of more: its probes may start alone.
            let least = if self.probe_waits { PROBING } else { Bitrate::ZERO };
            let (padding, burst) = (target.padding.max(least), target.burst.max(self.burst()));
            self.pacer.set_target(now, Target { padding, burst, ..target });
        }
    }

    /// How much may leave at once: runs of packets cost the server a fraction, and a path's queue as much time.
    fn burst(&self) -> Duration {
        match self.estimator.path_class() {
            PathClass::Shallow | PathClass::Policed => BURST_SHALLOW,
            _ => BURST,
        }
    }
}
