//! The hot path allocates nothing: a publisher's packet is received, stored, routed, written for everybody, and encrypted.

use proto::time::Instant;
use sfu::worker::{Input, Worker};

use super::net::Net;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, secs};

/// What a worker has allocated for media.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    /// Packets of media that it got.
    packets: u64,
    /// Datagrams that it sent for them at once.
    sent: usize,
    /// Allocations for them, packet by packet, where there were any.
    made: Vec<u64>,
}

impl Allocations {
    /// Gives the worker a packet of media.
    pub(crate) fn watch(&mut self, worker: &mut Worker, now: Instant, input: Input<'_>) {
        let made = allocation_counter::measure(|| {
            worker.handle_input(now, input);
            self.sent += worker.poll_transmits().map_or(0, |transmits| transmits.datagrams());
        });
        self.packets += 1;
        self.made.extend(Some(made.count_total).filter(|count| *count > 0));
    }
}

#[test]
fn a_packet_in_the_steady_state_allocates_nothing() {
    let mut net = Net::generous(61);
    let plan = Plan { camera: Camera::Single, ..Plan::TALKER };
    for who in ["ann", "bob", "cid", "dan", "eve"] {
        net.join("room", who, plan);
    }
    net.run(secs(10));
    net.allocations = Some(Allocations::default());
    net.run(secs(5));
    let Allocations { packets, sent, made } = net.allocations.take().expect("it is there");
    assert!(packets > 1_000 && sent as u64 > packets, "{packets} packets, {sent} sent");
    assert!(made.is_empty(), "{} of {packets} packets allocated, such as {:?}", made.len(), made.first());
    assert_no_faults(&net);
}
