//! What a client receives: slots, and the RTCP that tells its server how well.
//!
//! In: RTP and sender reports. Out: RTCP datagrams, facts. Time: `poll_timeout`. Limit: the slots of its answer.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::ids::Mid;
use proto::rtcp::{self, ReceiverReport, ReportBlock, Rtcp, SenderReport};
use proto::rtp::{ExtensionId, RtpView, SeqNo, Ssrc};
use proto::signal::Kind;
use proto::time::{Instant, earliest};
use sfu::transport::arrivals::ArrivalLog;

use super::slot::Slot;
use crate::node::Fact;
use crate::node::worker::{flow_down, flow_of_slot};
use crate::packet::NodeId;

/// Between receiver reports; libwebrtc's own interval for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The first receiver report comes sooner: the server learns the round trip from it.
const REPORT_FIRST: Duration = Duration::from_millis(200);

/// See the module's description.
pub(super) struct Subscriber {
    node: NodeId,
    own: Ssrc,
    transport_id: ExtensionId,
    slots: Vec<Slot>,
    by_ssrc: BTreeMap<Ssrc, usize>,
    arrivals: ArrivalLog,
    report_at: Option<Instant>,
    /// The earliest wake-up of all slots.
    slots_at: Option<Instant>,
    out: VecDeque<Vec<u8>>,
    facts: VecDeque<Fact>,
}

impl Subscriber {
    /// A subscriber that names itself `own` in its RTCP.
    pub(super) fn new(node: NodeId, own: Ssrc, transport_id: ExtensionId) -> Self {
        Self {
            node,
            own,
            transport_id,
            slots: Vec::new(),
            by_ssrc: BTreeMap::new(),
            arrivals: ArrivalLog::new(own, own),
            report_at: None,
            slots_at: None,
            out: VecDeque::new(),
            facts: VecDeque::new(),
        }
    }

    /// A slot of the answer, with its streams; `place` is its place among those of its kind.
    pub(super) fn add_slot(&mut self, mid: Mid, kind: Kind, streams: (Ssrc, Option<Ssrc>), place: usize) {
        let flow = match kind {
            Kind::Audio => flow_down(self.node),
            Kind::Video => flow_of_slot(self.node, place),
        };
        let number = self.slots.len();
        self.slots.push(Slot::new(mid, kind, streams, flow));
        for ssrc in [Some(streams.0), streams.1].into_iter().flatten() {
            self.by_ssrc.insert(ssrc, number);
        }
    }

    /// What the slots carry from now on: for each its publisher, and whether the client shows it.
    pub(super) fn bind(&mut self, now: Instant, carried: impl Fn(&Mid) -> (Option<u16>, bool)) {
        for slot in &mut self.slots {
            let (publisher, shown) = carried(&slot.mid);
            slot.bind(publisher, shown);
        }
        self.settle(now);
    }

    /// The round trip to the server.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.slots.iter_mut().for_each(|slot| slot.set_rtt(rtt));
    }

    pub(super) fn handle_rtp(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(view) = RtpView::parse(bytes) else {
            return self.violated("packets-are-understood", "RTP that cannot be read".to_owned());
        };
        let Some(&number) = self.by_ssrc.get(&view.ssrc()) else {
            return self.violated("streams-are-announced", format!("{:?} is in no answer", view.ssrc()));
        };
        if let Some(&[high, low]) = view.extension(self.transport_id) {
            self.arrivals.set_media(view.ssrc());
            self.arrivals.handle_arrival(now, SeqNo(u16::from_be_bytes([high, low])));
        }
        self.report_at.get_or_insert(now + REPORT_FIRST);
        let slot = &mut self.slots[number];
        slot.handle_rtp(now, &view);
        self.slots_at = earliest(self.slots_at, slot.poll_timeout());
        self.settle_slot(number);
        if self.slots_at.is_some_and(|at| at <= now) {
            self.settle(now); // what came late has been due for a while
        }
    }

    pub(super) fn handle_sender_report(&mut self, now: Instant, report: &SenderReport) {
        let Some(&number) = self.by_ssrc.get(&report.ssrc) else {
            return self.violated("streams-are-announced", format!("a report on {:?}", report.ssrc));
        };
        self.slots[number].handle_sender_report(now, report);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.arrivals.handle_timeout(now);
        while let Some(feedback) = self.arrivals.poll_feedback() {
            self.out.push_back(rtcp::write(&[Rtcp::TransportFeedback(feedback)]));
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_INTERVAL);
            let reports: Vec<ReportBlock> =
                self.slots.iter_mut().filter_map(|slot| slot.report(now)).collect();
            if !reports.is_empty() {
                self.out.push_back(rtcp::write(&[Rtcp::ReceiverReport(ReceiverReport {
                    ssrc: self.own,
                    reports,
                })]));
            }
        }
        if self.slots_at.is_some_and(|at| at <= now) {
            self.settle(now);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn poll_fact(&mut self) -> Option<Fact> {
        self.facts.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(earliest(self.report_at, self.arrivals.poll_timeout()), self.slots_at)
    }

    /// Gives every slot its time, and sees when they want the next.
    fn settle(&mut self, now: Instant) {
        self.slots_at = None;
        for number in 0..self.slots.len() {
            self.slots[number].handle_timeout(now);
            self.slots_at = earliest(self.slots_at, self.slots[number].poll_timeout());
            self.settle_slot(number);
        }
    }

    fn settle_slot(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        while let Some(lost) = slot.poll_nack() {
            let nack = Rtcp::Nack { sender: self.own, media: slot.ssrc(), lost };
            self.out.push_back(rtcp::write(&[nack]));
        }
        if slot.poll_key_frame_request() {
            let pli = Rtcp::Pli { sender: self.own, media: slot.ssrc() };
            self.out.push_back(rtcp::write(&[pli]));
        }
        while let Some(fact) = slot.poll_fact() {
            self.facts.push_back(fact);
        }
    }

    fn violated(&mut self, rule: &'static str, detail: String) {
        self.facts.push_back(Fact::Violated { flow: flow_down(self.node), rule, detail });
    }
}

#[cfg(test)]
mod tests {
    use proto::rtp::{PayloadType, RtpHeader};

    use super::*;
    use crate::node::client::payload::{self, LEAST, Stamp};

    const SOUND: Ssrc = Ssrc(7);
    const NUMBER: ExtensionId = ExtensionId(3);

    fn packet(seq: u16) -> Vec<u8> {
        let (payload_type, timestamp) = (PayloadType(111), u32::from(seq) * 960);
        let header = RtpHeader { payload_type, marker: false, seq: SeqNo(seq), timestamp, ssrc: SOUND };
        let mut out = Vec::new();
        header.write(&[(NUMBER, &seq.to_be_bytes())], &mut out);
        let (publisher, frame, serial) = (2, seq.into(), seq.into());
        let (section, layer, key, part, parts, captured) = (0, 0, false, 0, 1, Instant::ZERO);
        let stamp = Stamp { publisher, section, layer, key, frame, part, parts, serial, captured };
        payload::write(&stamp, None, LEAST, &mut out);
        out
    }

    #[test]
    fn arrivals_are_reported_within_a_tenth_of_a_second_and_strangers_are_told() {
        let mut subscriber = Subscriber::new(NodeId(1), Ssrc(1), NUMBER);
        subscriber.add_slot(Mid::from("0"), Kind::Audio, (SOUND, None), 0);
        subscriber.bind(Instant::ZERO, |_| (Some(2), true));
        for (at, seq) in [(0, 10), (20, 11), (60, 13)] {
            subscriber.handle_rtp(Instant::from_millis(at), &packet(seq));
        }
        let mut told = Vec::new();
        while let Some(at) = subscriber.poll_timeout().filter(|at| *at <= Instant::from_millis(160)) {
            subscriber.handle_timeout(at);
            while let Some(datagram) = subscriber.poll_transmit() {
                for packet in rtcp::parse(&datagram).expect("RTCP") {
                    let Rtcp::TransportFeedback(feedback) = packet else { panic!("{packet:?}") };
                    told.extend(feedback.arrivals.iter().map(Option::is_some));
                }
            }
        }
        assert_eq!(told, [true, true, false, true]);
        assert_eq!(subscriber.poll_fact(), None);
        let mut stranger = packet(14);
        stranger[11] = 8;
        subscriber.handle_rtp(Instant::from_millis(200), &stranger);
        let fact = subscriber.poll_fact();
        assert!(matches!(fact, Some(Fact::Violated { rule: "streams-are-announced", .. })), "{fact:?}");
    }
}
