//! The room as a client knows it from what it was told, and what it says.
//!
//! In: the server's messages, the plan's layouts. Out: requests as JSON (`proto::signal`). Time: a ping as
//! often as the plan has it. Limit: none; the server limits rooms.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::ids::{Mid, ParticipantId};
use proto::signal::{
    Applied, ClientMessage, Demand, Join, Kind, Layout, Notice, Offer, Participant, Request, ServerMessage,
    SlotBinding, Strategy, Tile, VERSION,
};
use proto::time::Instant;

use super::plan::LayoutPlan;

/// What a message means beyond the room's state.
#[derive(Debug)]
pub enum News {
    /// The client is in the room; the server's session description.
    Joined(String),
    /// The answer to a later offer.
    Answered(String),
    /// No media path works: ICE should begin anew.
    PathLost,
    /// Who is in the room, what the slots carry, or what is shown may have changed.
    Changed,
    /// The session is over.
    Closed(String),
    /// A request failed.
    Refused(String),
    /// What an own track's layers shall take.
    Demanded(Demand),
    /// Nothing to do.
    Nothing,
}

/// See the module's description.
#[derive(Debug)]
pub struct RoomState {
    ping: Duration,
    others: BTreeMap<ParticipantId, Participant>,
    bindings: BTreeMap<Mid, SlotBinding>,
    /// The layout as it was stated last.
    stated: Option<Layout>,
    joined: bool,
    next_request: u64,
    ping_at: Option<Instant>,
    out: VecDeque<String>,
}

impl RoomState {
    /// Knows nothing, and pings so often once it has joined.
    pub fn new(ping: Duration) -> Self {
        Self {
            ping,
            others: BTreeMap::new(),
            bindings: BTreeMap::new(),
            stated: None,
            joined: false,
            next_request: 0,
            ping_at: None,
            out: VecDeque::new(),
        }
    }

    /// Enters the room.
    pub fn join(&mut self, now: Instant, offer: Offer) {
        self.ping_at = Some(now + self.ping);
        let client = "simulator/1".to_owned();
        self.request(ClientMessage::Join(Join { protocol: VERSION, client, offer }));
    }

    /// Publishes otherwise, or begins ICE anew.
    pub fn offer_again(&mut self, offer: Offer) {
        self.request(ClientMessage::Offer(offer));
    }

    /// A demand is carried out.
    pub fn applied(&mut self, applied: Applied) {
        self.request(ClientMessage::Applied(applied));
    }

    /// Leaves the room.
    pub fn leave(&mut self) {
        self.ping_at = None;
        self.request(ClientMessage::Leave);
    }

    /// States what is shown, if that is another than before; `None` if nothing was ever stated.
    pub fn lay_out(&mut self, plan: Option<&LayoutPlan>) {
        let Some(plan) = plan.filter(|_| self.joined) else { return };
        let layout = Layout { tiles: self.tiles(plan) };
        if self.stated.as_ref() != Some(&layout) {
            self.stated = Some(layout.clone());
            self.request(ClientMessage::Layout(layout));
        }
    }

    /// Whose track a slot carries, and whether the client shows it.
    pub fn carried(&self, mid: &Mid) -> (Option<&str>, bool) {
        let Some(binding) = self.bindings.get(mid) else { return (None, false) };
        let publisher = self.others.get(&binding.participant).map(|other| other.identity.as_str());
        let shown = self.stated.as_ref().is_none_or(|layout| {
            layout.tiles.iter().any(|tile| tile.track == binding.track && tile.width * tile.height > 0)
        });
        (publisher, shown)
    }

    /// A message of the server, and what it means; `None` if it cannot be read.
    pub fn handle_message(&mut self, text: &str) -> Option<News> {
        let notice: Notice = serde_json::from_str(text).ok()?;
        Some(self.handle_notice(notice.message))
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + self.ping);
            self.request(ClientMessage::Ping { sent_ms: now.as_micros() as f64 / 1e3 });
        }
    }

    /// The next message to the server.
    pub fn poll_message(&mut self) -> Option<String> {
        self.out.pop_front()
    }

    /// When to call [`RoomState::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ping_at
    }

    fn handle_notice(&mut self, message: ServerMessage) -> News {
        match message {
            ServerMessage::Joined(joined) => {
                self.joined = true;
                self.replace(joined.room.participants, joined.slots);
                return News::Joined(joined.sdp);
            }
            ServerMessage::Resumed { room, slots, .. } => self.replace(room.participants, slots),
            ServerMessage::ParticipantJoined { participant } => {
                self.others.insert(participant.id.clone(), participant);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                self.others.remove(&participant);
            }
            ServerMessage::TrackPublished { participant, track } => {
                if let Some(other) = self.others.get_mut(&participant) {
                    other.tracks.push(track);
                }
            }
            ServerMessage::TrackUnpublished { participant, track } => {
                if let Some(other) = self.others.get_mut(&participant) {
                    other.tracks.retain(|known| known.id != track);
                }
            }
            ServerMessage::Slots { slots } => self.replace_slots(slots),
            ServerMessage::Error { code, reason } => return News::Refused(format!("{code:?}: {reason}")),
            ServerMessage::Closed { code, reason } => {
                self.ping_at = None;
                return News::Closed(format!("{code:?}: {reason}"));
            }
            ServerMessage::Demand(demand) => return News::Demanded(demand),
            ServerMessage::IceRestartNeeded => return News::PathLost,
            ServerMessage::Answer { sdp, .. } => return News::Answered(sdp),
            ServerMessage::TrackMuted { .. }
            | ServerMessage::SlotLayer { .. }
            | ServerMessage::SlotsNeeded { .. }
            | ServerMessage::Pong { .. } => return News::Nothing,
        }
        News::Changed
    }

    fn replace(&mut self, participants: Vec<Participant>, slots: Vec<SlotBinding>) {
        self.others = participants.into_iter().map(|other| (other.id.clone(), other)).collect();
        self.replace_slots(slots);
    }

    fn replace_slots(&mut self, slots: Vec<SlotBinding>) {
        self.bindings = slots.into_iter().map(|slot| (slot.mid.clone(), slot)).collect();
    }

    /// The tiles of a layout: what of it can be shown now.
    fn tiles(&self, plan: &LayoutPlan) -> Vec<Tile> {
        let size = |identity: &str| match plan {
            LayoutPlan::Everybody(width, height) => Some((*width, *height)),
            LayoutPlan::Some(people) => {
                people.iter().find(|(who, ..)| who == identity).map(|(_, width, height)| (*width, *height))
            }
            LayoutPlan::Nothing => None,
        };
        let tiles = self.others.values().filter_map(|other| Some((other, size(&other.identity)?)));
        tiles
            .flat_map(|(other, (width, height))| {
                let pictures = other.tracks.iter().filter(|track| track.kind == Kind::Video);
                pictures.map(move |track| Tile {
                    track: track.id.clone(),
                    width,
                    height,
                    strategy: Strategy::default(),
                })
            })
            .collect()
    }

    fn request(&mut self, message: ClientMessage) {
        self.next_request += 1;
        let request = Request { id: self.next_request, message };
        self.out.push_back(serde_json::to_string(&request).expect("requests hold nothing that JSON cannot"));
    }
}
