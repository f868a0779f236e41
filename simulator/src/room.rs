//! Rooms: people who meet through the real SFU, over links of their own or shared ones.
//!
//! A [`RoomPlan`] says who is there; [`run_room`] plays it with one seed, and then heals the network and demands that
//! every picture moves again; [`catalog`] has the rooms that tables know by name. The product has no forwarding between
//! rooms or workers yet, so everybody is in one room on one worker.

mod catalog;
mod checker;
mod run;
mod tally;

use std::time::Duration;

use proto::units::Bitrate;

pub use crate::node::client::plan::{ClientPlan, Encoding, LAYERS, LayerPlan, LayoutPlan, VideoPlan};
pub use catalog::{catalog, of_scenario, tier_links, tiers};
pub use run::{RoomResult, run_room, run_room_with};
pub use tally::{PictureTally, SoundTally, Tallies};

use crate::link::LinkPlan;
use crate::link::plan::{Depth, Queue, Rate};
use crate::packet::NodeId;
use crate::scenario::{LinkIndex, MicrophonePlan, Way};

/// The room that everybody is in.
const ROOM: &str = "room";

/// How long signaling takes each way where it has one of its own: TCP loses nothing, so its links only delay.
const SIGNAL_DELAY: Duration = Duration::from_millis(20);

/// The SFU's node.
pub const SERVER: NodeId = NodeId(0);

/// How often the server wants to be pinged.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Which way signaling takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signaling {
    /// One of its own, which takes a while and loses nothing.
    Beside,
    /// The one that media takes, as a WebSocket's TCP does; whoever plans that sees to it that nothing is lost there.
    Shared,
}

/// Somebody in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person(pub usize);

impl Person {
    /// The person's node in the world.
    pub fn node(self) -> NodeId {
        NodeId(self.0 + 1)
    }
}

/// Somebody in a room: what they do, and over which links.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonPlan {
    /// What they do.
    pub client: ClientPlan,
    /// Their links to the SFU and back.
    pub way: Way,
}

/// A room's plan.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomPlan {
    /// Its name, by which commands find it.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// How long it goes on, the healing afterwards not counted.
    pub duration: Duration,
    /// Its links with their names.
    pub links: Vec<(String, LinkPlan)>,
    /// Changes of links while it goes on.
    pub changes: Vec<(Duration, LinkIndex, LinkPlan)>,
    /// Who is there.
    pub people: Vec<PersonPlan>,
    /// Which way their signaling takes.
    pub signaling: Signaling,
}

impl RoomPlan {
    /// An empty room.
    pub fn new(name: &str, about: &str, duration: Duration) -> Self {
        let (links, changes, people) = (Vec::new(), Vec::new(), Vec::new());
        let signaling = Signaling::Beside;
        Self { name: name.to_owned(), about: about.to_owned(), duration, links, changes, people, signaling }
    }

    /// Nine people, each of whom sees the other eight in small tiles.
    pub fn nine_grid() -> Self {
        catalog::nine_grid()
    }

    /// Two hosts who broadcast together, and some who watch them.
    pub fn pk(viewers: usize) -> Self {
        catalog::pk(viewers)
    }

    /// Three who sing together.
    pub fn chorus() -> Self {
        catalog::chorus()
    }

    /// Somebody more, on access links of their own (see [`access`]).
    #[must_use]
    pub fn person(mut self, client: ClientPlan) -> Self {
        let way = Way {
            forward: vec![self.add_link(&format!("{} up", client.identity), access())],
            backward: vec![self.add_link(&format!("{} down", client.identity), access())],
        };
        self.people.push(PersonPlan { client, way });
        self
    }

    /// Somebody more, on links that are there already.
    #[must_use]
    pub fn person_on(mut self, client: ClientPlan, way: Way) -> Self {
        self.people.push(PersonPlan { client, way });
        self
    }

    /// A link more.
    pub fn add_link(&mut self, name: &str, plan: LinkPlan) -> LinkIndex {
        self.links.push((name.to_owned(), plan));
        LinkIndex(self.links.len() - 1)
    }

    /// Another link from a person to the SFU: the last one on the person's way.
    #[must_use]
    pub fn uplink(mut self, person: usize, plan: LinkPlan) -> Self {
        if let Some(link) = self.people.get(person).and_then(|person| person.way.forward.first()) {
            self.links[link.0].1 = plan;
        }
        self
    }

    /// Another link from the SFU to a person.
    #[must_use]
    pub fn downlink(mut self, person: usize, plan: LinkPlan) -> Self {
        if let Some(link) = self.people.get(person).and_then(|person| person.way.backward.last()) {
            self.links[link.0].1 = plan;
        }
        self
    }

    /// From `at` on, another link from the SFU to a person.
    #[must_use]
    pub fn downlink_at(mut self, at: Duration, person: usize, plan: LinkPlan) -> Self {
        if let Some(&link) = self.people.get(person).and_then(|person| person.way.backward.last()) {
            self.changes.push((at, link, plan));
        }
        self
    }

    /// Signaling goes this way.
    #[must_use]
    pub fn signaling(mut self, signaling: Signaling) -> Self {
        self.signaling = signaling;
        self
    }

    /// How long it goes on.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Changes what a person does.
    #[must_use]
    pub fn with(mut self, person: usize, change: impl FnOnce(&mut ClientPlan)) -> Self {
        if let Some(person) = self.people.get_mut(person) {
            change(&mut person.client);
        }
        self
    }

    /// How many others' pictures a person shows at `at`, as far as slots allow.
    pub fn pictures_shown(&self, person: usize, at: Duration) -> usize {
        let Some(PersonPlan { client: viewer, .. }) = self.people.get(person) else { return 0 };
        if !viewer.is_there(at) {
            return 0;
        }
        let layout = viewer.layouts.iter().rfind(|(from, _)| *from <= at).map(|(_, layout)| layout);
        let others = self.people.iter().enumerate().filter(|(number, _)| *number != person);
        let seen = others.filter(|(_, PersonPlan { client, .. })| {
            let listed = layout.is_none_or(|layout| match layout {
                LayoutPlan::Everybody(width, height) => width * height > 0,
                LayoutPlan::Some(tiles) => {
                    tiles.iter().any(|(who, width, height)| *who == client.identity && width * height > 0)
                }
                LayoutPlan::Nothing => false,
            });
            client.camera.is_some() && client.is_there(at) && listed
        });
        seen.count().min(viewer.slots)
    }
}

impl ClientPlan {
    /// Somebody who only looks and listens, from the beginning, with room for `slots` others.
    pub fn viewer(identity: &str, slots: usize) -> Self {
        Self {
            identity: identity.to_owned(),
            room: ROOM.to_owned(),
            join: Duration::ZERO,
            leave: None,
            camera: None,
            microphone: None,
            slots,
            ping: PING_INTERVAL,
            layouts: Vec::new(),
        }
    }

    /// Somebody with a camera in three layers and a microphone, who shows everybody in tiles of 640 × 360.
    pub fn talker(identity: &str, slots: usize) -> Self {
        Self {
            camera: Some(VideoPlan::simulcast()),
            microphone: Some(voice()),
            layouts: vec![(Duration::ZERO, LayoutPlan::Everybody(640, 360))],
            ..Self::viewer(identity, slots)
        }
    }

    /// Who shows this from the beginning.
    #[must_use]
    pub fn showing(mut self, layout: LayoutPlan) -> Self {
        self.layouts = vec![(Duration::ZERO, layout)];
        self
    }

    /// Who shows something else from `at` on.
    #[must_use]
    pub fn then_showing(mut self, at: Duration, layout: LayoutPlan) -> Self {
        self.layouts.push((at, layout));
        self
    }

    /// Who comes later.
    #[must_use]
    pub fn joining(mut self, at: Duration) -> Self {
        self.join = at;
        self
    }

    /// Who leaves.
    #[must_use]
    pub fn leaving(mut self, at: Duration) -> Self {
        self.leave = Some(at);
        self
    }

    fn is_there(&self, at: Duration) -> bool {
        self.join <= at && self.leave.is_none_or(|leave| at < leave)
    }
}

/// A link of somebody's home: 20 Mbit/s, 10 ms, a queue of 200 ms.
pub fn access() -> LinkPlan {
    LinkPlan {
        rate: Rate::Constant(Bitrate::mbps(20)),
        queue: Queue::DropTail(Depth::Time(Duration::from_millis(200))),
        delay: Duration::from_millis(10),
        ..LinkPlan::default()
    }
}

/// Speech: Opus at 32 kbit/s that falls silent between sentences.
fn voice() -> MicrophonePlan {
    MicrophonePlan { rate: Bitrate::kbps(32), dtx: true }
}
