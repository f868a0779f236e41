//! A room: its members, their tracks, and what each of them is to receive.
//!
//! In: joins, offers, layouts, mutes, leaves. Out: [`RoomEvent`]s, in the order in which they must be carried out.
//! Time: none. Limit: the caller's number of participants; `TRACKS_MAX` tracks and `SLOTS_MAX` slots of a kind each.

use std::collections::VecDeque;

use proto::ids::{Mid, ParticipantId, RoomName, TrackId};
use proto::signal::{
    self, Kind, Layer, Layout, LeaveReason, ServerMessage, SlotBinding, Source, Strategy, Tile,
};

use super::seats::{self, Occupant, Slot, Urgency, Wish};
use super::selection::{VIEW_BEFORE_LAYOUT, View};

/// Tracks that one member may publish: camera, microphone, screen and its sound, and as many again.
pub const TRACKS_MAX: usize = 8;

/// Slots of one kind that one member may have.
pub const SLOTS_MAX: usize = 32;

/// A member, as the worker numbers its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey(pub usize);

/// A track as a room knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomTrack {
    /// Its name.
    pub id: TrackId,
    /// Its publisher's media section.
    pub mid: Mid,
    /// Where its media comes from.
    pub source: Source,
    /// Whether its publisher muted it.
    pub muted: bool,
    /// Its layers, as its publisher stated them.
    pub layers: Vec<Layer>,
    /// How its publisher wants it carried.
    pub strategy: Strategy,
}

impl RoomTrack {
    /// Sound or picture.
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    fn announced(&self) -> signal::Track {
        signal::Track {
            id: self.id.clone(),
            kind: self.kind(),
            source: self.source,
            muted: self.muted,
            layers: self.layers.clone(),
        }
    }
}

/// Somebody in the room.
#[derive(Debug)]
struct Member {
    key: MemberKey,
    id: ParticipantId,
    identity: String,
    name: String,
    subscribe: bool,
    tracks: Vec<RoomTrack>,
    slots: Vec<Slot>,
    layout: Option<Layout>,
    slots_asked: (u32, u32),
}

/// Who enters.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// The worker's number.
    pub key: MemberKey,
    /// The name in signaling.
    pub id: ParticipantId,
    /// Who this is to the application.
    pub identity: String,
    /// The name to show.
    pub name: String,
    /// Whether others' tracks may be received.
    pub subscribe: bool,
}

/// What follows from a change.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomEvent {
    /// Tell a member.
    Notify {
        /// Whom.
        to: MemberKey,
        /// What.
        message: ServerMessage,
    },
    /// A slot carries another track from now on; `None` empties it.
    Bind {
        /// Whose slot.
        subscriber: MemberKey,
        /// Its number.
        slot: usize,
        /// The track and its publisher.
        track: Option<(MemberKey, TrackId)>,
    },
    /// A slot's track is carried in another way from now on.
    Carry {
        /// Whose slot.
        subscriber: MemberKey,
        /// Its number.
        slot: usize,
    },
    /// A member sees a track in another size: choose its layer anew.
    ViewChanged {
        /// Whose slot.
        subscriber: MemberKey,
        /// Its number.
        slot: usize,
    },
}

/// See the module's description.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    members: Vec<Member>,
    events: VecDeque<RoomEvent>,
}

impl Room {
    /// An empty room.
    pub fn new(name: RoomName) -> Self {
        Self { name, members: Vec::new(), events: VecDeque::new() }
    }

    /// Somebody enters, without tracks or slots yet.
    pub fn join(&mut self, newcomer: Newcomer) {
        let Newcomer { key, id, identity, name, subscribe } = newcomer;
        let (tracks, slots, layout) = (Vec::new(), Vec::new(), None);
        let member =
            Member { key, id, identity, name, subscribe, tracks, slots, layout, slots_asked: (0, 0) };
        self.notify_others(key, &ServerMessage::ParticipantJoined { participant: announced(&member) });
        self.members.push(member);
    }

    /// Somebody leaves.
    pub fn leave(&mut self, key: MemberKey, reason: LeaveReason) {
        let Some(index) = self.index(key) else { return };
        let member = self.members.remove(index);
        self.notify_others(key, &ServerMessage::ParticipantLeft { participant: member.id, reason });
        self.replan_all();
    }

    /// What a member publishes after an offer, in full.
    pub fn set_tracks(&mut self, key: MemberKey, tracks: &[RoomTrack]) {
        let Some(member) = self.member_mut(key) else { return };
        let participant = member.id.clone();
        let old = std::mem::replace(&mut member.tracks, tracks.to_vec());
        for gone in old.iter().filter(|old| !tracks.iter().any(|track| track.id == old.id)) {
            let (participant, track) = (participant.clone(), gone.id.clone());
            self.notify_others(key, &ServerMessage::TrackUnpublished { participant, track });
        }
        for new in tracks {
            let participant = participant.clone();
            match old.iter().find(|old| old.id == new.id) {
                None => {
                    let track = new.announced();
                    self.notify_others(key, &ServerMessage::TrackPublished { participant, track });
                }
                Some(old) if old.muted != new.muted => {
                    let (track, muted) = (new.id.clone(), new.muted);
                    self.notify_others(key, &ServerMessage::TrackMuted { participant, track, muted });
                }
                Some(_) => {}
            }
        }
        self.replan_all();
        let carried =
            |new: &RoomTrack| old.iter().any(|old| old.id == new.id && old.strategy != new.strategy);
        for changed in tracks.iter().filter(|new| carried(new)) {
            self.carry(&changed.id);
        }
    }

    /// A member has one of its tracks carried in another way; whether it has that track.
    pub fn set_strategy(&mut self, key: MemberKey, track: &TrackId, strategy: Strategy) -> bool {
        let Some(member) = self.member_mut(key) else { return false };
        let Some(found) = member.tracks.iter_mut().find(|own| own.id == *track) else { return false };
        found.strategy = strategy;
        self.carry(track);
        true
    }

    /// The slots a member has after an offer, in the offer's order, in full; tells the number of each.
    ///
    /// A slot that was there before keeps its number. One that is gone gives its number to a new one of its kind, so
    /// that there are never more than one offer can have.
    pub fn set_slots(&mut self, key: MemberKey, offered: &[(Mid, Kind)]) -> Vec<usize> {
        let Some(member) = self.member_mut(key) else { return Vec::new() };
        let is_offered =
            |slot: &Slot| offered.iter().any(|(mid, kind)| *mid == slot.mid && *kind == slot.kind);
        for slot in &mut member.slots {
            slot.open = is_offered(slot);
        }
        let numbers = offered.iter().map(|(mid, kind)| slot_number(&mut member.slots, mid, *kind)).collect();
        self.replan(key);
        numbers
    }

    /// A member says what it sees.
    pub fn set_layout(&mut self, key: MemberKey, layout: Layout) {
        let Some(member) = self.member_mut(key) else { return };
        let before = member.layout.replace(layout);
        self.replan(key);
        let Some(member) = self.member(key) else { return };
        let changed: Vec<usize> = (0..member.slots.len())
            .filter(|slot| {
                let occupant = member.slots[*slot].occupant.as_ref();
                occupant.is_some_and(|seen| view(before.as_ref(), seen) != view(member.layout.as_ref(), seen))
            })
            .collect();
        let stated = |layout: Option<&Layout>, seen: &Occupant| tile_strategy(layout, seen).cloned();
        let carried = member.slots.iter().enumerate().filter(|(_, slot)| {
            let occupant = slot.occupant.as_ref();
            occupant.is_some_and(|seen| stated(before.as_ref(), seen) != stated(member.layout.as_ref(), seen))
        });
        let carried: Vec<usize> = carried.map(|(slot, _)| slot).collect();
        for slot in changed {
            self.events.push_back(RoomEvent::ViewChanged { subscriber: key, slot });
        }
        self.events.extend(carried.into_iter().map(|slot| RoomEvent::Carry { subscriber: key, slot }));
    }

    /// A member mutes or unmutes one of its tracks; whether it has that track.
    pub fn set_muted(&mut self, key: MemberKey, track: &TrackId, muted: bool) -> bool {
        let Some(member) = self.member_mut(key) else { return false };
        let participant = member.id.clone();
        let Some(found) = member.tracks.iter_mut().find(|own| own.id == *track) else { return false };
        found.muted = muted;
        self.notify_others(key, &ServerMessage::TrackMuted { participant, track: track.clone(), muted });
        true
    }

    /// A member may have missed what was said: whatever it still lacks is said again.
    pub fn remind(&mut self, key: MemberKey) {
        if let Some(member) = self.member_mut(key) {
            member.slots_asked = (0, 0);
            self.replan(key);
        }
    }

    /// What to carry out next.
    pub fn poll_event(&mut self) -> Option<RoomEvent> {
        self.events.pop_front()
    }

    /// Its name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Its members, in the order of joining.
    pub fn members(&self) -> impl Iterator<Item = MemberKey> {
        self.members.iter().map(|member| member.key)
    }

    /// The member that is `identity` to the application.
    pub fn member_by_identity(&self, identity: &str) -> Option<MemberKey> {
        self.members.iter().find(|member| member.identity == identity).map(|member| member.key)
    }

    /// The room as `key` is told of it: without itself.
    pub fn announced_to(&self, key: MemberKey) -> signal::Room {
        let others = self.members.iter().filter(|member| member.key != key);
        signal::Room { name: self.name.clone(), participants: others.map(announced).collect() }
    }

    /// A member's own tracks as it is told of them.
    pub fn own_tracks(&self, key: MemberKey) -> Vec<signal::Track> {
        self.member(key)
            .map_or_else(Vec::new, |member| member.tracks.iter().map(RoomTrack::announced).collect())
    }

    /// A member's tracks.
    pub fn tracks(&self, key: MemberKey) -> &[RoomTrack] {
        self.member(key).map_or(&[], |member| &member.tracks)
    }

    /// What a member's slots carry.
    pub fn bindings(&self, key: MemberKey) -> Vec<SlotBinding> {
        self.member(key).map_or_else(Vec::new, bindings)
    }

    /// A member's slot.
    pub fn slot(&self, key: MemberKey, slot: usize) -> Option<&Slot> {
        self.member(key)?.slots.get(slot)
    }

    /// How large a member sees what is in one of its slots.
    pub fn view(&self, key: MemberKey, slot: usize) -> View {
        let seen = self.member(key).and_then(|member| {
            let occupant = member.slots.get(slot)?.occupant.as_ref()?;
            Some(view(member.layout.as_ref(), occupant))
        });
        seen.unwrap_or(View::Hidden)
    }

    /// How what is in a member's slot is to be carried, as far as anybody has stated it: the member, or else its publisher.
    pub fn strategy(&self, key: MemberKey, slot: usize) -> Strategy {
        let stated = self.member(key).and_then(|member| {
            let occupant = member.slots.get(slot)?.occupant.as_ref()?;
            let publisher = self.members.iter().find(|other| other.id == occupant.participant);
            let track = publisher?.tracks.iter().find(|track| track.id == occupant.track)?;
            let own = tile_strategy(member.layout.as_ref(), occupant);
            Some(own.map_or_else(|| track.strategy.clone(), |own| own.or(&track.strategy)))
        });
        stated.unwrap_or_default()
    }

    fn index(&self, key: MemberKey) -> Option<usize> {
        self.members.iter().position(|member| member.key == key)
    }

    fn member(&self, key: MemberKey) -> Option<&Member> {
        self.index(key).map(|index| &self.members[index])
    }

    fn member_mut(&mut self, key: MemberKey) -> Option<&mut Member> {
        self.index(key).map(|index| &mut self.members[index])
    }

    fn notify_others(&mut self, key: MemberKey, message: &ServerMessage) {
        let others = self.members.iter().map(|member| member.key).filter(|other| *other != key);
        self.events.extend(others.map(|to| RoomEvent::Notify { to, message: message.clone() }));
    }

    /// Has whoever sees a track carry it anew.
    fn carry(&mut self, track: &TrackId) {
        for member in &self.members {
            let seen =
                member.slots.iter().enumerate().filter(|(_, slot)| {
                    slot.occupant.as_ref().is_some_and(|occupant| occupant.track == *track)
                });
            let subscriber = member.key;
            self.events.extend(seen.map(|(slot, _)| RoomEvent::Carry { subscriber, slot }));
        }
    }

    fn replan_all(&mut self) {
        let keys: Vec<MemberKey> = self.members.iter().map(|member| member.key).collect();
        for key in keys {
            self.replan(key);
        }
    }

    /// Seats the tracks that a member wants and says what changed.
    fn replan(&mut self, key: MemberKey) {
        let Some(index) = self.index(key) else { return };
        let wanted = self.wanted(&self.members[index]);
        let member = &mut self.members[index];
        let before = member.slots.clone();
        let mut shortage = seats::assign(&mut member.slots, &wanted);
        if member.layout.is_none() {
            shortage.video = 0; // it has not said what it shows; as many as there are slots will do until then
        }
        let open = |kind| member.slots.iter().filter(|slot| slot.open && slot.kind == kind).count();
        let needed =
            |kind, short: usize| if short == 0 { 0 } else { (open(kind) + short).min(SLOTS_MAX) as u32 };
        let asked = (needed(Kind::Audio, shortage.audio), needed(Kind::Video, shortage.video));
        let had = (open(Kind::Audio) as u32, open(Kind::Video) as u32);
        let short = asked != member.slots_asked && (asked.0 > had.0 || asked.1 > had.1);
        member.slots_asked = asked;
        let changed: Vec<usize> = (0..member.slots.len())
            .filter(|slot| {
                before.get(*slot).and_then(|slot| slot.occupant.as_ref())
                    != member.slots[*slot].occupant.as_ref()
            })
            .collect();
        let slots = bindings(member);
        let bound: Vec<(usize, Option<Occupant>)> =
            changed.iter().map(|slot| (*slot, member.slots[*slot].occupant.clone())).collect();
        if !changed.is_empty() {
            self.events.push_back(RoomEvent::Notify { to: key, message: ServerMessage::Slots { slots } });
        }
        for (slot, occupant) in bound {
            let track =
                occupant.and_then(|occupant| Some((self.key_of(&occupant.participant)?, occupant.track)));
            self.events.push_back(RoomEvent::Bind { subscriber: key, slot, track });
        }
        if short {
            let message = ServerMessage::SlotsNeeded { audio: asked.0.max(had.0), video: asked.1.max(had.1) };
            self.events.push_back(RoomEvent::Notify { to: key, message });
        }
    }

    /// The tracks that a member shall receive.
    fn wanted(&self, member: &Member) -> Vec<Wish> {
        let others = self.members.iter().filter(|other| member.subscribe && other.key != member.key);
        let tracks = others.flat_map(|other| other.tracks.iter().map(move |track| (other, track)));
        let wish = |(other, track): (&Member, &RoomTrack)| {
            let (kind, participant) = (track.kind(), other.id.clone());
            let listed = match (&member.layout, kind) {
                (None, _) | (_, Kind::Audio) => true,
                (Some(layout), Kind::Video) => layout.tiles.iter().any(|tile| tile.track == track.id),
            };
            let track = Occupant { track: track.id.clone(), participant, kind };
            let hidden = view(member.layout.as_ref(), &track) == View::Hidden;
            let urgency = if hidden { Urgency::Spare } else { Urgency::Now };
            listed.then_some(Wish { track, urgency })
        };
        tracks.filter_map(wish).collect()
    }

    fn key_of(&self, participant: &ParticipantId) -> Option<MemberKey> {
        self.members.iter().find(|member| member.id == *participant).map(|member| member.key)
    }
}

/// The number of an offered slot: its own, or that of one of its kind that is gone, or a new one.
fn slot_number(slots: &mut Vec<Slot>, mid: &Mid, kind: Kind) -> usize {
    let own = slots.iter().position(|slot| slot.open && slot.mid == *mid && slot.kind == kind);
    let number = own.or_else(|| slots.iter().position(|slot| !slot.open && slot.kind == kind));
    if let Some(number) = number {
        let slot = &mut slots[number];
        slot.mid = mid.clone();
        slot.open = true;
        return number;
    }
    let seat = slots.iter().filter(|slot| slot.kind == kind).count();
    slots.reserve_exact(1); // most rooms have more of them than of anything else
    slots.push(Slot { mid: mid.clone(), kind, seat, open: true, occupant: None });
    slots.len() - 1
}

fn announced(member: &Member) -> signal::Participant {
    signal::Participant {
        id: member.id.clone(),
        identity: member.identity.clone(),
        name: member.name.clone(),
        tracks: member.tracks.iter().map(RoomTrack::announced).collect(),
    }
}

fn bindings(member: &Member) -> Vec<SlotBinding> {
    let bound = member.slots.iter().filter_map(|slot| {
        let Occupant { track, participant, .. } = slot.occupant.clone()?;
        Some(SlotBinding { mid: slot.mid.clone(), track, participant })
    });
    bound.collect()
}

/// How large a layout shows a track: its largest tile counts. Sound is always there.
fn view(layout: Option<&Layout>, seen: &Occupant) -> View {
    let Some(layout) = layout.filter(|_| seen.kind == Kind::Video) else { return VIEW_BEFORE_LAYOUT };
    let tiles =
        layout.tiles.iter().filter(|tile| tile.track == seen.track && tile.width > 0 && tile.height > 0);
    let largest = tiles.max_by_key(|tile| u64::from(tile.width) * u64::from(tile.height));
    largest.map_or(View::Hidden, |Tile { width, height, .. }| View::Size(*width, *height))
}

/// How a layout wants a track carried: its first tile that says anything counts.
fn tile_strategy<'a>(layout: Option<&'a Layout>, seen: &Occupant) -> Option<&'a Strategy> {
    let mut tiles = layout?.tiles.iter().filter(|tile| tile.track == seen.track);
    tiles.find(|tile| !tile.strategy.is_empty()).map(|tile| &tile.strategy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: MemberKey = MemberKey(0);
    const BOB: MemberKey = MemberKey(1);

    fn newcomer(key: MemberKey, name: &str) -> Newcomer {
        Newcomer {
            key,
            id: ParticipantId(format!("PA_{name}")),
            identity: name.into(),
            name: name.into(),
            subscribe: true,
        }
    }

    fn track(id: &str, source: Source) -> RoomTrack {
        let (layers, strategy) = (Vec::new(), Strategy::default());
        RoomTrack { id: id.into(), mid: id.into(), source, muted: false, layers, strategy }
    }

    fn tile_of(track: &str, width: u32, height: u32) -> Tile {
        Tile { track: track.into(), width, height, strategy: Strategy::default() }
    }

    fn drain(room: &mut Room) -> Vec<RoomEvent> {
        std::iter::from_fn(|| room.poll_event()).collect()
    }

    fn binds(events: &[RoomEvent]) -> Vec<(usize, Option<&str>)> {
        let bind = |event| match event {
            &RoomEvent::Bind { slot, ref track, .. } => {
                Some((slot, track.as_ref().map(|(_, track)| track.as_str())))
            }
            RoomEvent::Notify { .. } | RoomEvent::Carry { .. } | RoomEvent::ViewChanged { .. } => None,
        };
        events.iter().filter_map(bind).collect()
    }

    /// Anna publishes camera and microphone; Bob has one seat.
    fn pair() -> Room {
        let mut room = Room::new("r".into());
        room.join(newcomer(ANNA, "anna"));
        room.set_tracks(ANNA, &[track("cam", Source::Camera), track("mic", Source::Microphone)]);
        room.join(newcomer(BOB, "bob"));
        room.set_slots(BOB, &[("a".into(), Kind::Audio), ("v".into(), Kind::Video)]);
        room
    }

    #[test]
    fn a_newcomer_gets_everything_before_it_states_a_layout() {
        let mut room = pair();
        let events = drain(&mut room);
        assert_eq!(binds(&events), [(0, Some("mic")), (1, Some("cam"))]);
        assert_eq!(room.view(BOB, 1), VIEW_BEFORE_LAYOUT);
        assert_eq!(room.bindings(BOB).len(), 2);
        assert!(room.announced_to(BOB).participants.iter().all(|other| other.identity == "anna"));
    }

    #[test]
    fn a_layout_decides_about_pictures_and_never_about_sound() {
        let mut room = pair();
        drain(&mut room);
        let tile = |width| Layout { tiles: vec![tile_of("cam", width, 90)] };
        room.set_layout(BOB, tile(160));
        let smaller = drain(&mut room);
        assert_eq!(smaller, [RoomEvent::ViewChanged { subscriber: BOB, slot: 1 }]);
        room.set_layout(BOB, tile(160));
        assert_eq!(drain(&mut room), [], "nothing new");
        room.set_layout(BOB, tile(0));
        assert_eq!(drain(&mut room), [RoomEvent::ViewChanged { subscriber: BOB, slot: 1 }]);
        assert_eq!((room.view(BOB, 0), room.view(BOB, 1)), (VIEW_BEFORE_LAYOUT, View::Hidden));
        room.set_layout(BOB, Layout::default());
        assert_eq!(binds(&drain(&mut room)), [(1, None)], "the picture's slot is free, the sound stays");
    }

    #[test]
    fn more_tracks_than_slots_are_asked_for_once() {
        let mut room = pair();
        drain(&mut room);
        let (cam, screen) = (track("cam", Source::Camera), track("screen", Source::Screen));
        room.set_tracks(ANNA, &[cam, screen]);
        drain(&mut room);
        let tile = |id: &str| tile_of(id, 640, 360);
        room.set_layout(BOB, Layout { tiles: vec![tile("cam"), tile("screen")] });
        let asks = |events: &[RoomEvent]| {
            let ask = |event: &RoomEvent| match event {
                RoomEvent::Notify { message: ServerMessage::SlotsNeeded { audio, video }, .. } => {
                    Some((*audio, *video))
                }
                RoomEvent::Notify { .. }
                | RoomEvent::Bind { .. }
                | RoomEvent::Carry { .. }
                | RoomEvent::ViewChanged { .. } => None,
            };
            events.iter().filter_map(ask).collect::<Vec<_>>()
        };
        assert_eq!(asks(&drain(&mut room)), [(1, 2)]);
        room.set_muted(ANNA, &"cam".into(), true);
        room.set_tracks(ANNA, &[track("cam", Source::Camera), track("screen", Source::Screen)]);
        assert_eq!(asks(&drain(&mut room)), [], "asked already");
        room.remind(BOB);
        assert_eq!(asks(&drain(&mut room)), [(1, 2)], "unless it may have been missed");
        room.set_slots(
            BOB,
            &[("a".into(), Kind::Audio), ("v".into(), Kind::Video), ("w".into(), Kind::Video)],
        );
        assert_eq!(binds(&drain(&mut room)), [(2, Some("screen"))]);
    }

    #[test]
    fn who_leaves_is_announced_and_frees_the_slots() {
        let mut room = pair();
        drain(&mut room);
        room.leave(ANNA, LeaveReason::Left);
        let events = drain(&mut room);
        let (participant, reason) = ("PA_anna".into(), LeaveReason::Left);
        let left =
            RoomEvent::Notify { to: BOB, message: ServerMessage::ParticipantLeft { participant, reason } };
        assert_eq!(events[0], left);
        assert_eq!(binds(&events), [(0, None), (1, None)]);
        assert!(!room.set_muted(ANNA, &"cam".into(), true), "nobody there");
    }
}
