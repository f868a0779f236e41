//! The relay from outside: what it does with whose datagrams.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use emulator::counts::Counts;
use emulator::relay::{Limits, Relay, RelayConfig, Sharing};
use emulator::socket::{Buffer, Socket};
use proto::feedback::Ecn;
use proto::seed::Seed;
use proto::units::{Bitrate, DataSize};
use simulator::link::LinkPlan;
use simulator::link::plan::{Depth, EcnMarking, Loss, Queue, Rate};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Longer than any test's links hold a datagram.
const LONG: Duration = Duration::from_secs(5);

/// A socket that waits for at most `patience`.
fn socket(patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("a port");
    socket.set_read_timeout(Some(patience)).expect("a time-out");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("its address")
}

/// The next datagram, if one comes.
fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 2_000];
    match socket.recv_from(&mut buffer) {
        Ok((length, from)) => Some((buffer[..length].to_vec(), from)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until the counters are as expected.
fn settled(relay: &Relay, expected: impl Fn(&Counts) -> bool) -> Counts {
    for _ in 0..500 {
        let counts = relay.counts().expect("it runs");
        if expected(&counts) {
            return counts;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{:?}", relay.counts());
}

fn delayed(ms: u64) -> LinkPlan {
    LinkPlan { delay: Duration::from_millis(ms), ..LinkPlan::default() }
}

#[test]
fn a_link_that_does_nothing_loses_nothing_and_keeps_the_order() {
    let server = socket(LONG);
    let relay = Relay::start(RelayConfig::new(address(&server))).unwrap();
    let client = socket(LONG);
    for number in 0..200_u32 {
        client.send_to(&number.to_be_bytes(), relay.address()).unwrap();
    }
    client.send_to(b"", relay.address()).unwrap();
    for number in 0..200_u32 {
        let (bytes, back) = receive(&server).unwrap();
        assert_eq!(bytes, number.to_be_bytes());
        server.send_to(&bytes, back).unwrap();
        assert_eq!(receive(&client).unwrap(), (bytes, relay.address()));
    }
    assert_eq!(receive(&server).unwrap().0, b"", "an empty datagram is one too");
    let counts = relay.counts().unwrap();
    assert_eq!((counts.up.passed, counts.down.passed), (201, 200));
    assert_eq!((counts.up.lost(), counts.down.lost(), counts.clients), (0, 0, 1));
    assert_eq!(counts.up.passed_size, DataSize::bytes(200 * 32 + 28), "with the headers of IP and UDP");
}

#[test]
fn loss_and_delay_are_as_asked_each_way_and_change_when_asked() {
    let server = socket(LONG);
    let lossy = LinkPlan { loss: Loss::Independent(0.1), ..delayed(20) };
    let config = RelayConfig { up: lossy.clone(), down: delayed(40), ..RelayConfig::new(address(&server)) };
    let relay = Relay::start(RelayConfig { seed: Seed::from_number(5), ..config }).unwrap();
    let client = socket(LONG);
    for round in 0..10 {
        for _ in 0..200 {
            client.send_to(b"lossy", relay.address()).unwrap();
        }
        settled(&relay, |counts| counts.up.passed + counts.up.lost() == 200 * (round + 1));
    }
    let lost = relay.counts().unwrap().up.lost(); // 200 are expected; 60 are 4.5 standard deviations
    assert!((140..260).contains(&lost), "{lost} of 2000");
    assert_eq!(relay.counts().unwrap().up.dropped.random, lost, "all of them by chance");

    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while receive(&server).is_some() {}
    relay.set_links(delayed(200), delayed(400)).unwrap();
    let clock = relay.clock();
    let sent = clock.now();
    client.send_to(b"?", relay.address()).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    let (_, back) = receive(&server).unwrap();
    let arrived = clock.now();
    server.send_to(b"!", back).unwrap();
    receive(&client).unwrap();
    let (up, down) = (arrived.since(sent), clock.now().since(arrived));
    // The upper bounds are for this thread: what the relay itself adds is measured elsewhere.
    assert!(
        (200..380).contains(&up.as_millis()) && (400..580).contains(&down.as_millis()),
        "{up:?} {down:?}"
    );
    relay.set_links(LinkPlan::default(), LinkPlan::default()).unwrap();
    let sent = clock.now();
    client.send_to(b"?", relay.address()).unwrap();
    receive(&server).unwrap();
    assert!(clock.now().since(sent) < Duration::from_millis(180));
}

#[test]
fn a_cut_loses_all_until_it_is_mended_and_an_injected_datagram_comes_from_the_clients_address() {
    let server = socket(LONG);
    let relay = Relay::start(RelayConfig::new(address(&server))).unwrap();
    let client = socket(LONG);
    relay.capture().unwrap();
    client.send_to(b"one", relay.address()).unwrap();
    let (_, back) = receive(&server).unwrap();
    relay.inject(b"injected").unwrap();
    assert_eq!(receive(&server).unwrap(), (b"injected".to_vec(), back));
    relay.cut().unwrap();
    client.send_to(b"two", relay.address()).unwrap();
    server.send_to(b"three", back).unwrap();
    let counts = settled(&relay, |counts| counts.up.lost() + counts.down.lost() == 2);
    assert_eq!((counts.up.dropped.outage, counts.down.dropped.outage), (1, 1));
    relay.mend().unwrap();
    client.send_to(b"four", relay.address()).unwrap();
    assert_eq!(receive(&server).unwrap(), (b"four".to_vec(), back));
    let captured = [b"one".to_vec(), b"two".to_vec(), b"four".to_vec()];
    assert_eq!(relay.captured().unwrap(), captured, "of what clients send, lost or not");
}

/// What two clients lose that each send ten datagrams at once into a queue for ten.
fn overflow_of_two(sharing: Sharing) -> u64 {
    let server = socket(LONG);
    let narrow = LinkPlan {
        rate: Rate::Constant(Bitrate::mbps(1)),
        queue: Queue::DropTail(Depth::Packets(10)),
        ..LinkPlan::default()
    };
    let config = RelayConfig { up: narrow, sharing, ..RelayConfig::new(address(&server)) };
    let relay = Relay::start(config).expect("it starts");
    let clients = [socket(LONG), socket(LONG)];
    for number in 0..20 {
        let mark = number % 2;
        clients[usize::from(mark)].send_to(&[mark; 1_000], relay.address()).expect("the kernel takes it");
    }
    let counts = settled(&relay, |counts| counts.up.passed + counts.up.lost() == 20);
    assert_eq!(counts.clients, 2);
    let came = (0..counts.up.passed).map(|_| receive(&server).expect("what passed"));
    let by_address: BTreeMap<SocketAddr, u8> = came.map(|(bytes, back)| (back, bytes[0])).collect();
    assert_eq!(by_address.len(), 2, "the server tells them apart");
    for (back, mark) in by_address {
        server.send_to(&[mark], back).expect("the kernel takes it");
        assert_eq!(receive(&clients[usize::from(mark)]).expect("an answer").0, [mark], "each gets its own");
    }
    counts.up.dropped.overflow
}

#[test]
fn clients_have_links_of_their_own_or_share_one() {
    assert_eq!(overflow_of_two(Sharing::Own), 0);
    let lost = overflow_of_two(Sharing::Shared); // it serves one each 8 ms meanwhile
    assert!((5..=10).contains(&lost), "{lost}");
}

#[test]
fn places_and_bytes_are_limited_and_the_idle_make_room() {
    let server = socket(LONG);
    let limits =
        Limits { clients_max: 1, held_max: DataSize::bytes(3 * 128), idle: Duration::from_millis(400) };
    let config = RelayConfig { up: delayed(200), limits, ..RelayConfig::new(address(&server)) };
    let relay = Relay::start(config).unwrap();
    let (first, second) = (socket(LONG), socket(LONG));
    for _ in 0..5 {
        first.send_to(&[0; 100], relay.address()).unwrap();
    }
    second.send_to(b"?", relay.address()).unwrap();
    let counts = settled(&relay, |counts| counts.up.passed == 3);
    assert_eq!((counts.clients, counts.refused, counts.up.dropped.full), (1, 1, 2));
    assert_eq!((counts.up.held, counts.up.lost()), (DataSize::ZERO, 2));
    settled(&relay, |counts| counts.clients == 0);
    for _ in 0..3 {
        receive(&server).unwrap();
    }
    second.send_to(b"!", relay.address()).unwrap();
    assert_eq!(receive(&server).unwrap().0, b"!", "there is room now");
}

#[test]
fn ecn_bits_pass_and_a_queue_marks_who_can_be_marked() {
    let server = Socket::bind((LOOPBACK, 0).into()).unwrap();
    let marking = LinkPlan {
        rate: Rate::Constant(Bitrate::mbps(2)),
        ecn: Some(EcnMarking { above: Duration::from_millis(10) }),
        ..LinkPlan::default()
    };
    let relay =
        Relay::start(RelayConfig { up: marking, ..RelayConfig::new(server.address().unwrap()) }).unwrap();
    let client = Socket::connect(relay.address()).unwrap();
    for number in 0..20 {
        let ecn = if number % 2 == 0 { Ecn::Capable1 } else { Ecn::NotCapable };
        client.send(relay.address(), ecn, &[0; 1_000]).unwrap(); // 4 ms each
    }
    settled(&relay, |counts| counts.up.passed == 20);
    let mut came = Vec::new();
    for _ in 0..100 {
        let mut buffer = Buffer::default();
        server.receive(&relay.clock(), &mut buffer, |arrival| came.push(arrival.ecn));
        if came.len() == 20 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(came.iter().filter(|ecn| **ecn == Ecn::NotCapable).count(), 10, "{came:?}");
    assert_eq!((came[0], came[18]), (Ecn::Capable1, Ecn::Congested), "{came:?}");
}
