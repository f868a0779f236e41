//! Wireless cases in the manner of RFC 8869: Wi-Fi (§3) and a cell of LTE (§2).
//!
//! The RFC wants a radio simulator; here a Wi-Fi channel is a shared server with aggregates, contention and stalls
//! that carries about 20 Mbit/s (what §3.2.3 says of MCS 11), and a cell is a fading rate behind a queue for each user.
//! A channel is half-duplex: where flows go both ways, each direction has half of the air. Read the results as a
//! ranking, not as a forecast for one building.

use std::time::Duration;

use cc::RateLimits;
use proto::seed::Seed;
use proto::units::Bitrate;

use super::draft::{BACKWARD, Draft, FORWARD, jitter, ms, secs, sound};
use super::{CrossPlan, FlowPlan, LinkIndex, Scenario, TcpControl, Way};
use crate::link::LinkPlan;
use crate::link::plan::{Lte, LteRate, Rate, Wifi};

/// All of them.
pub(super) fn all() -> Vec<Scenario> {
    let mut all = wired_bottleneck();
    all.extend(wifi_bottleneck());
    all.extend(cells());
    all
}

fn media(flow: &mut FlowPlan) {
    flow.limits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(150), max: Bitrate::kbps(1_500) };
    flow.camera.lag = ms(100);
    flow.microphone = Some(sound());
}

/// A channel that carries `rate` while one station has it, 4 ms aggregates and as much time for others.
fn channel(rate: Bitrate) -> Rate {
    Rate::Wifi(Wifi {
        rate,
        aggregate: ms(4),
        contention: ms(4),
        stall_every: Some(secs(5)),
        stall_length: ms(80),
    })
}

/// §3.1: the home's line of 1 Mbit/s is the bottleneck; Wi-Fi lies before it (uplink) and behind it (downlink).
fn wired_bottleneck() -> Vec<Scenario> {
    let cbr = Bitrate::kbps(500);
    let home = |name: &str, about: &str| Home::new(name, about).up();
    let uplink = |home: Home, rates: Vec<(Duration, Bitrate)>| {
        let links = vec![home.air_up, FORWARD];
        home.draft.cross(CrossPlan::Constant { links, rates }).done()
    };
    let tcp = home("tcp", "one flow up beside a long transfer");
    let way = tcp.upward();
    let transfer = CrossPlan::Bulk { way, control: TcpControl::Reno, start: Duration::ZERO, stop: None };
    vec![
        home("single", "one flow up").draft.done(),
        home("pair", "a flow each way").down().draft.done(),
        uplink(
            home("pair-cbr-on-off", "a flow each way, constant traffic up for 60 s").down(),
            vec![(Duration::ZERO, cbr), (secs(60), Bitrate::ZERO)],
        ),
        uplink(
            home("pair-cbr-off-on", "a flow each way, constant traffic up from 60 s on").down(),
            vec![(Duration::ZERO, Bitrate::ZERO), (secs(60), cbr)],
        ),
        tcp.draft.cross(transfer).done(),
    ]
}

/// A home: a line each way, and the air between it and the people.
struct Home {
    draft: Draft,
    air_up: LinkIndex,
    air_down: LinkIndex,
}

impl Home {
    fn new(name: &str, about: &str) -> Self {
        let title = format!("RFC 8869 §3.1: {about}, 1 Mbit/s behind Wi-Fi");
        let line = Bitrate::mbps(1);
        let draft = Draft::new(&format!("rfc8869-wired-{name}"), &title, line).one_way(ms(50)).lasting(120);
        let draft = draft.backward(|link| {
            link.rate = Rate::Constant(line);
            link.jitter = jitter(ms(5));
        });
        let air = LinkPlan { rate: channel(Bitrate::mbps(40)), ..LinkPlan::default() };
        let (draft, air_up) = draft.link("air up", air.clone());
        let (draft, air_down) = draft.link("air down", air);
        Self { draft, air_up, air_down }
    }

    fn upward(&self) -> Way {
        Way { forward: vec![self.air_up, FORWARD], backward: vec![BACKWARD, self.air_down] }
    }

    /// Adds a flow from the home.
    fn up(self) -> Self {
        let way = self.upward();
        let draft = self.draft.flow(|flow| {
            media(flow);
            flow.way = way;
        });
        Self { draft, ..self }
    }

    /// Adds a flow to the home.
    fn down(self) -> Self {
        let Way { forward, backward } = self.upward();
        let draft = self.draft.bottlenecks(&[FORWARD, BACKWARD]).flow(|flow| {
            media(flow);
            flow.way = Way { forward: backward, backward: forward };
        });
        Self { draft, ..self }
    }
}

/// §3.2: the channel is the bottleneck of many stations.
fn wifi_bottleneck() -> Vec<Scenario> {
    let whole = Bitrate::mbps(40);
    let one_way = |name: &str, about: &str| many(wifi(name, about, whole), 16, FORWARD);
    // Both directions share the air, so each has half of it.
    let both = |name: &str, about: &str| {
        let draft = wifi(name, about, whole / 2).backward(|link| link.rate = channel(whole / 2));
        many(many(draft.bottlenecks(&[FORWARD, BACKWARD]), 8, FORWARD), 8, BACKWARD)
    };
    let constant = |stations: u64| {
        let on = Bitrate::kbps(500) * stations;
        vec![(Duration::ZERO, on), (secs(60), Bitrate::ZERO), (secs(61), on)]
    };
    let transfers =
        |draft: Draft| (0..5).fold(draft, |draft, _| draft.bulk(TcpControl::Reno, secs(40), Some(secs(80))));
    vec![
        one_way("16-down", "sixteen flows down").done(),
        one_way("16-up", "sixteen flows up").done(),
        both("16-both", "eight flows each way").done(),
        both("16-both-cbr", "eight flows each way, constant traffic of five stations")
            .constant(constant(5))
            .done(),
        transfers(both("16-both-tcp", "eight flows each way, five transfers from 40 s to 80 s")).done(),
    ]
}

fn wifi(name: &str, about: &str, air: Bitrate) -> Draft {
    let title = format!("RFC 8869 §3.2: {about}, over one Wi-Fi channel");
    let draft = Draft::new(&format!("rfc8869-wifi-{name}"), &title, air).one_way(ms(50)).lasting(120);
    draft.forward(|link| link.rate = channel(air)).backward(|link| link.jitter = jitter(ms(5)))
}

/// Adds flows over one direction.
fn many(draft: Draft, flows: usize, forward: LinkIndex) -> Draft {
    let backward = if forward == FORWARD { BACKWARD } else { FORWARD };
    (0..flows).fold(draft, |draft, _| {
        draft.flow(|flow| {
            media(flow);
            flow.way = Way { forward: vec![forward], backward: vec![backward] };
        })
    })
}

/// §2: one user's view of a cell: round trips of 40 and 150 ms, light, loaded and badly covered, evaluated from 30 s on.
///
/// The rates are drawn once for each cell, not for each run, so that what the cell could carry is known.
fn cells() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, mean, sigma, coherence) in [
        ("light", Bitrate::mbps(6), 0.3, ms(400)),
        ("loaded", Bitrate::kbps(1_500), 0.5, ms(200)),
        ("bad-coverage", Bitrate::kbps(700), 0.8, ms(600)),
    ] {
        let seed = Seed::from_number(8869).fork(name);
        let rate = LteRate::Fading { mean, sigma, coherence }.drawn(secs(91), &seed);
        for rtt in [40, 150] {
            let title = format!("RFC 8869 §2: a {name} cell of {mean} on average, round trip of {rtt} ms");
            let cell = Lte { rate: rate.clone(), harq_retries: 0.1 };
            let draft = Draft::new(&format!("rfc8869-lte-{name}-rtt{rtt}"), &title, mean)
                .one_way(ms(rtt) / 2)
                .lasting(91)
                .warm_up(secs(30))
                .forward(|link| {
                    link.rate = Rate::Lte(cell);
                    link.jitter = None; // the cell makes its own
                });
            all.push(draft.flow(media).done());
        }
    }
    all
}
