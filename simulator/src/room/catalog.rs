//! The rooms that tables know by name.

use std::time::Duration;

use proto::units::Bitrate;

use super::{ClientPlan, LayoutPlan, RoomPlan, VideoPlan, access};
use crate::link::LinkPlan;
use crate::link::plan::{GilbertElliott, Loss, Rate};
use crate::scenario::{CrossPlan, LinkIndex, MicrophonePlan, Scenario, Way};

/// How long a room of the catalog goes on.
const DURATION: Duration = Duration::from_secs(60);

/// Those who watch one publisher, each over a link of the same kind.
const WATCHERS: usize = 9;

/// The rooms, in the order of tables; [`tiers`] makes more of plain scenarios.
pub fn catalog() -> Vec<RoomPlan> {
    vec![pk(4), nine_grid(), chorus()]
}

/// Two hosts who broadcast together, each from an own uplink, and some who watch both.
///
/// In a PK of two rooms each audience would sit in its host's room, and the rooms would forward to each other. The
/// product cannot do that yet, so all meet in one room: the hosts' and viewers' streams are the same, the hop between
/// rooms is missing.
pub(super) fn pk(viewers: usize) -> RoomPlan {
    let about = "two hosts with own uplinks who see each other, and viewers who see both, in one room";
    let mut room = RoomPlan::new("pk", about, DURATION);
    for host in ["red", "blue"] {
        room = room.person(ClientPlan::talker(host, 1).showing(LayoutPlan::Everybody(1280, 720)));
    }
    for viewer in 0..viewers {
        let client = ClientPlan::viewer(&format!("viewer {viewer}"), 2);
        room = room.person(client.showing(LayoutPlan::Everybody(640, 720)));
    }
    // One host on a mobile uplink that hardly carries the top layer, one viewer in a bad network.
    room.uplink(1, LinkPlan { rate: Rate::Constant(Bitrate::mbps(3)), ..access() })
        .downlink(2, LinkPlan { loss: bursts(0.02), delay: Duration::from_millis(40), ..access() })
}

/// Nine people, each of whom sees the other eight in small tiles.
pub(super) fn nine_grid() -> RoomPlan {
    let about = "nine people, each of whom shows the other eight in tiles of 640 x 360";
    let people = (0..9).map(|seat| ClientPlan::talker(&format!("seat {seat}"), 8));
    people.fold(RoomPlan::new("nine-grid", about, DURATION), RoomPlan::person)
}

/// Three who sing together: sound first, pictures small.
///
/// As far as the product goes: Opus in packets of 20 ms, 128 kbit/s without silence, over short paths. Packets of 10 ms
/// and clocks that are played together would be more.
pub(super) fn chorus() -> RoomPlan {
    let about = "three who sing together: music without silence over short paths, small pictures";
    let music = MicrophonePlan { rate: Bitrate::kbps(128), dtx: false };
    let singer = |name: &str| ClientPlan {
        microphone: Some(music.clone()),
        camera: Some(VideoPlan::simulcast()),
        ..ClientPlan::talker(name, 2).showing(LayoutPlan::Everybody(320, 180))
    };
    let names = ["alto", "tenor", "bass"];
    let mut room =
        names.iter().fold(RoomPlan::new("chorus", about, DURATION), |room, name| room.person(singer(name)));
    for person in 0..names.len() {
        let short = LinkPlan { delay: Duration::from_millis(5), ..access() };
        room = room.uplink(person, short.clone()).downlink(person, short);
    }
    room
}

/// One who sends three layers, and nine who watch, each over a path of its own: `down` to it, `up` back.
///
/// Three watch in each size, so that all layers are wanted at once.
pub fn tiers(name: &str, up: &LinkPlan, down: &LinkPlan, duration: Duration) -> RoomPlan {
    let about =
        "one publisher of three layers, nine who watch over a path of this kind each, three in each size";
    let mut room = RoomPlan::new(name, about, duration);
    let ways: Vec<Way> = (0..WATCHERS)
        .map(|watcher| {
            let back = room.add_link(&format!("watcher {watcher} up"), up.clone());
            let forth = room.add_link(&format!("watcher {watcher} down"), down.clone());
            Way { forward: vec![back], backward: vec![forth] }
        })
        .collect();
    room = room.person(ClientPlan::talker("publisher", 0).showing(LayoutPlan::Nothing));
    for (watcher, way) in ways.into_iter().enumerate() {
        let (width, height) = [(1280, 720), (640, 360), (320, 180)][watcher % 3];
        let client = ClientPlan::viewer(&format!("watcher {watcher}"), 1);
        room = room.person_on(client.showing(LayoutPlan::Everybody(width, height)), way);
    }
    room
}

/// The links to the watchers of a room of [`tiers`].
pub fn tier_links() -> impl Iterator<Item = LinkIndex> {
    (0..WATCHERS).map(|watcher| LinkIndex(2 * watcher + 1))
}

/// [`tiers`] over links as those of a plain scenario's first flow: the first link that the scenario calls a bottleneck,
/// and the first of the way back. Constant traffic of others takes its part of the bottleneck's rate.
pub fn of_scenario(scenario: &Scenario) -> RoomPlan {
    let way = scenario.flows.first().map(|flow| flow.way.clone()).unwrap_or_default();
    let bottleneck = way.forward.iter().find(|link| scenario.bottlenecks.contains(link));
    let link = |index: Option<&LinkIndex>| {
        index.and_then(|link| scenario.links.get(link.0)).map(|(_, plan)| plan.clone()).unwrap_or_default()
    };
    let (up, mut down) = (link(way.backward.first()), link(bottleneck));
    for cross in &scenario.cross {
        if let CrossPlan::Constant { links, rates } = cross
            && bottleneck.is_some_and(|link| links.contains(link))
        {
            down.rate = less(&down.rate, rates);
        }
    }
    let mut room = tiers(&scenario.name, &up, &down, scenario.duration);
    for (at, changed, plan) in &scenario.changes {
        if Some(changed) == bottleneck {
            room.changes.extend(tier_links().map(|link| (*at, link, plan.clone())));
        }
    }
    room
}

/// What others leave of a constant rate; other rates stay as they are.
fn less(rate: &Rate, others: &[(Duration, Bitrate)]) -> Rate {
    match rate {
        Rate::Constant(all) => {
            Rate::Steps(others.iter().map(|(at, taken)| (*at, all.saturating_sub(*taken))).collect())
        }
        Rate::Unlimited | Rate::Steps(_) | Rate::Wifi(_) | Rate::Lte(_) | Rate::Opportunities(_) => {
            rate.clone()
        }
    }
}

/// Losses in bursts of three packets, `share` of all.
fn bursts(share: f64) -> Loss {
    let bad_to_good = 1.0 / 3.0;
    let good_to_bad = bad_to_good * share / (1.0 - share);
    Loss::GilbertElliott(GilbertElliott { good_to_bad, bad_to_good, loss_good: 0.0, loss_bad: 1.0 })
}
