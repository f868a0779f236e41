//! ICE-TCP: who cannot be reached by UDP comes by a TCP connection, which to a worker is one more path.

use proto::signal::Source;
use sfu::worker::{Event, Path, Protocol};

use super::net::{Net, TCP_SERVER};
use super::peer::Plan;
use super::{assert_no_faults, assert_sees, hears, ms, secs, slot};

/// The ways that a client's media took, the first one first.
fn ways(net: &Net, client: usize) -> Vec<Protocol> {
    let name = net.peers[client].knows.participant.clone().expect("joined");
    let way = |event: &Event| match event {
        Event::MediaConnected { participant, path, .. } | Event::PathChanged { participant, path, .. } => {
            (*participant == name).then_some(path.protocol)
        }
        _ => None,
    };
    net.events.iter().filter_map(|(_, event)| way(event)).collect()
}

#[test]
fn a_client_whose_udp_is_dead_comes_by_tcp() {
    let mut net = Net::new(270);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.prepare("show", "bo", Plan::TALKER));
    net.links[bo].udp_silent = true;
    net.enter(bo);
    net.run(secs(3));
    assert!(!net.peers[bo].transport.is_open(), "UDP is dead");
    assert_eq!(net.peers[bo].answered.tcp_candidates, [TCP_SERVER.parse().unwrap()]);
    net.carry(bo, Protocol::Tcp);
    net.run(secs(2));
    let from = net.now;
    net.run(secs(10));
    assert_sees(&net, ana, bo, from);
    assert_sees(&net, bo, ana, from);
    assert!(hears(&net, ana, bo, from) >= 490 && hears(&net, bo, ana, from) >= 490);
    assert_eq!((ways(&net, ana), ways(&net, bo)), (vec![Protocol::Udp], vec![Protocol::Tcp]));
    assert_no_faults(&net);
}

#[test]
fn a_client_that_has_both_is_served_by_udp() {
    let mut net = Net::new(271);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.prepare("show", "bo", Plan::TALKER));
    net.links[bo].protocol = Protocol::Tcp; // its connection is there first
    net.enter(bo);
    net.run(secs(2));
    let tcp = net.links[bo].path();
    net.carry(bo, Protocol::Udp);
    net.run(secs(1));
    assert_eq!(ways(&net, bo), [Protocol::Tcp, Protocol::Udp], "UDP takes over as soon as it works");
    let from = net.now;
    for _ in 0..20 {
        let (ufrag, pwd) = (net.peers[bo].answered.ufrag.clone(), net.peers[bo].answered.pwd.clone());
        let check = net.with(bo, |bo| bo.transport.binding_request(&ufrag, &pwd));
        net.inject_by(tcp, &check); // which nominates, as all its checks do
        net.run(ms(500));
    }
    assert_eq!(ways(&net, bo).len(), 2, "and TCP does not while UDP works");
    assert!(net.worker.checked_at(tcp).is_some_and(|at| at > from), "though it is known to work");
    assert_eq!(net.worker.checked_at(Path::udp(None, tcp.remote)), None, "as TCP");
    assert_sees(&net, bo, ana, from);
    assert_sees(&net, ana, bo, from);
    assert_no_faults(&net);
}

#[test]
fn a_client_that_moves_from_udp_to_tcp_and_back_keeps_its_session() {
    let mut net = Net::new(272);
    let (ana, bo) = (net.join("show", "ana", Plan::TALKER), net.join("show", "bo", Plan::TALKER));
    net.run(secs(3));
    let session = net.peers[bo].knows.session.clone();
    for (step, protocol) in
        [Protocol::Tcp, Protocol::Udp, Protocol::Tcp, Protocol::Udp].into_iter().enumerate()
    {
        net.carry(bo, protocol);
        let from = net.now;
        net.run(secs(4));
        for (one, other) in [(ana, bo), (bo, ana)] {
            let still = slot(&net, one, other, Source::Camera).longest_still(from, net.now);
            assert!(still <= secs(1), "step {step}: {one} saw a still of {still:?}");
        }
        assert_sees(&net, bo, ana, net.now - secs(1));
    }
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    assert_eq!(ways(&net, bo), [udp, tcp, udp, tcp, udp]);
    assert_eq!(net.peers[bo].knows.session, session);
    assert_eq!((net.peers[bo].knows.restarts_asked, net.peers[bo].knows.closed), (0, None));
    assert_eq!(net.worker.stats().participants, 2);
    net.run(secs(20));
    assert_sees(&net, ana, bo, net.now - secs(2));
    assert_no_faults(&net);
}
