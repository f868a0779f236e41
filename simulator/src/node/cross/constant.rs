//! Traffic at a constant rate, in steps.
//!
//! In: nothing. Out: packets of [`PACKET`]. Time: `now`, monotonic; `poll_timeout`. Limit: one packet at a time.

use std::time::Duration;

use cc::Ecn;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::node::Node;
use crate::packet::{FlowId, IP_UDP_HEADERS, NodeId, Packet, Payload};

/// The size of each packet on the wire, which is what rates count.
pub const PACKET: DataSize = DataSize::bytes(1_200 + IP_UDP_HEADERS);

/// A sender that never listens.
#[derive(Debug)]
pub struct Constant {
    flow: FlowId,
    peer: NodeId,
    /// The rate from each time on.
    rates: Vec<(Instant, Bitrate)>,
    /// Which of the rates holds; `None` before the first one.
    step: Option<usize>,
    due: Option<Instant>,
    is_ready: bool,
}

impl Constant {
    /// A sender to `peer` with these rates from these times on, ascending; zero for silence. Each step that is not
    /// silence begins with a packet.
    pub fn new(flow: FlowId, peer: NodeId, rates: &[(Duration, Bitrate)]) -> Self {
        let rates: Vec<_> = rates.iter().map(|&(from, rate)| (Instant::ZERO + from, rate)).collect();
        Self { flow, peer, due: rates.first().map(|&(from, _)| from), rates, step: None, is_ready: false }
    }

    /// When the next rate holds.
    fn next_step(&self) -> Option<Instant> {
        self.rates.get(self.step.map_or(0, |step| step + 1)).map(|&(from, _)| from)
    }
}

impl Node for Constant {
    fn handle_packet(&mut self, _now: Instant, _packet: Packet) {}

    fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        while self.next_step().is_some_and(|from| from <= now) {
            self.step = Some(self.step.map_or(0, |step| step + 1));
        }
        let rate = self.step.map_or(Bitrate::ZERO, |step| self.rates[step].1);
        self.is_ready = rate > Bitrate::ZERO;
        let next = self.is_ready.then(|| now + PACKET / rate);
        self.due = proto::time::earliest(next, self.next_step());
    }

    fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        std::mem::take(&mut self.is_ready).then_some(Packet {
            number: 0, // the world's to give, as is who sent it
            flow: self.flow,
            from: NodeId(0),
            to: self.peer,
            size: PACKET,
            ecn: Ecn::NotCapable,
            sent: now,
            payload: Payload::Filler,
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// A receiver that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sink;

impl Node for Sink {
    fn handle_packet(&mut self, _now: Instant, _packet: Packet) {}

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_packet(&mut self, _now: Instant) -> Option<Packet> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_at_the_rate_of_each_step() {
        let second = Duration::from_secs(1);
        let rates = [
            (second, Bitrate::kbps(500)),
            (second * 11, Bitrate::ZERO),
            (second * 21, Bitrate::mbps(2)),
            (second * 31, Bitrate::kbps(1)), // a packet each 9.8 s, but the next step does not wait for it
            (second * 32, Bitrate::mbps(1)),
        ];
        let mut node = Constant::new(FlowId(3), NodeId(4), &rates);
        let mut seconds = [0; 42];
        while let Some(at) = node.poll_timeout().filter(|&at| at < Instant::ZERO + second * 42) {
            node.handle_timeout(at);
            assert!(node.poll_timeout().is_none_or(|next| next > at));
            while let Some(packet) = node.poll_packet(at) {
                assert_eq!(
                    (packet.flow, packet.to, packet.size),
                    (FlowId(3), NodeId(4), DataSize::bytes(1_228))
                );
                seconds[(at.as_nanos() / 1_000_000_000) as usize] += 1;
            }
        }
        for (span, rate) in [
            (0..1, 0),
            (1..11, 500_000),
            (11..21, 0),
            (21..31, 2_000_000),
            (31..32, 1_000),
            (32..42, 1_000_000),
        ] {
            let exact = rate as f64 * span.len() as f64 / 8.0 / 1_228.0;
            let sent: u64 = seconds[span.clone()].iter().sum();
            assert!(
                (exact..=exact + 1.0).contains(&(sent as f64)),
                "{span:?}: {sent} packets, {exact:.1} are right"
            );
        }
    }

    #[test]
    fn no_rates_no_packets() {
        let mut node = Constant::new(FlowId(3), NodeId(4), &[]);
        node.handle_timeout(Instant::ZERO);
        assert_eq!((node.poll_packet(Instant::ZERO), node.poll_timeout()), (None, None));
    }
}
