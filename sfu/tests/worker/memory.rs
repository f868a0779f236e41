//! What a worker holds in memory for its clients: little for those that only are there, and never more with time.
//!
//! Counted is what comes from Rust's allocator. The key schedules of SRTP and DTLS, which aws-lc keeps in C, come to 4 KiB more a
//! connection.

use proto::signal::ClientMessage;

use super::net::Net;
use super::peer::{Camera, Plan};
use super::{assert_no_faults, secs};

/// Somebody who can see and hear nine others.
const GRID: Plan = Plan { slots: 9, ..Plan::VIEWER };

/// The bytes that a worker holds: what becomes free with it.
fn held(net: Net) -> i64 {
    let Net { worker, .. } = net;
    -allocation_counter::measure(|| drop(worker)).bytes_current
}

/// A room in which nobody says or shows anything.
fn silent(viewers: usize) -> Net {
    let mut net = Net::new(62);
    for number in 0..viewers {
        net.join("room", &format!("viewer {number}"), GRID);
    }
    net.run(secs(60));
    assert!(net.peers.iter().all(|peer| peer.transport.is_open()), "all have keys");
    net
}

/// A room in which one is seen and heard by others.
fn show(viewers: usize) -> Net {
    let mut net = Net::new(63);
    net.join("room", "ann", Plan { camera: Camera::Single, slots: 0, ..Plan::TALKER });
    for number in 0..viewers {
        net.join("room", &format!("viewer {number}"), GRID);
    }
    net
}

#[test]
fn a_connection_on_which_nothing_flows_takes_forty_kibibytes_at_most() {
    let each = (held(silent(16)) - held(silent(8))) / 8;
    assert!((8 << 10..=40 << 10).contains(&each), "{each} bytes");
}

#[test]
fn a_subscriber_takes_no_more_after_half_an_hour_than_after_a_minute() {
    let after = |seconds| {
        let mut net = show(4);
        net.run(secs(seconds));
        assert_no_faults(&net);
        held(net)
    };
    let (early, late) = (after(60), after(1_800));
    assert!((late - early).abs() * 50 <= early, "{early} bytes became {late}");
}

#[test]
fn what_has_grown_while_media_flowed_is_given_back_when_none_does() {
    let silenced = |viewers| {
        let mut net = show(viewers);
        net.run(secs(30));
        let flowing = net.now;
        net.with(0, |ann| ann.request(ClientMessage::Leave));
        net.run(secs(30));
        assert!(net.peers[1].knows.others.len() == viewers - 1 && flowing < net.now);
        held(net)
    };
    let flowing = |viewers| {
        let mut net = show(viewers);
        net.run(secs(30));
        held(net)
    };
    let (before, after) = ((flowing(7) - flowing(3)) / 4, (silenced(7) - silenced(3)) / 4);
    assert!(after < before - (12 << 10), "{before} bytes became {after}");
}
