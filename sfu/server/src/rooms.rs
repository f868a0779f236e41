//! Which workers a room lives on.
//!
//! In: `WebSocket`s that open and close, the workers' events, how busy they are. Out: the worker for each WebSocket. Limit: an
//! entry lives while its room has `WebSocket`s or participants, so there are no more rooms than `limit.sockets` and the
//! workers' participants.
//!
//! A room begins on the worker that carries least. When that is full, by [`Spans`], newcomers go to another one: the room
//! spans both, and the workers relay its media to each other. Nobody who is there is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use proto::ids::{RoomName, SessionId};
use sfu::worker::relay::PeerId;
use sfu::worker::{Event, WorkerMark};

/// A worker whose load has crossed the threshold keeps its rooms' newcomers unless another one is so much less busy: what is
/// measured wavers, and relaying costs something. One that has enough of a room's gives them to any that is not saturated, or
/// not busier than itself.
const MARGIN: f32 = 0.2;

/// Busy shares that differ by less than a tenth are alike: participants tell such workers apart.
const BUSY_STEP: u32 = 100;

/// When a room outgrows a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spans {
    /// From this share of time on that the worker is busy, 0 to 1.
    pub(crate) above_load: f32,
    /// With so many of the room's `WebSocket`s on it.
    pub(crate) participants: usize,
}

/// Every room with its workers.
pub(crate) struct Rooms {
    spans: Spans,
    places: DashMap<RoomName, Place>,
    loads: Vec<Load>,
}

#[derive(Default)]
struct Place {
    /// In the order in which the room came to them.
    shards: Vec<Shard>,
}

/// A room's part on one worker.
struct Shard {
    worker: usize,
    /// `WebSocket`s of this room whose end the worker has not seen yet.
    seats: usize,
    /// Whether the worker has participants in it.
    open: bool,
}

/// How much one worker carries.
#[derive(Default)]
struct Load {
    participants: AtomicUsize,
    seats: AtomicUsize,
    /// The share of time that it was busy of late, in thousandths.
    busy: AtomicU32,
}

impl Load {
    fn busy(&self) -> f32 {
        self.busy.load(Relaxed) as f32 / 1e3
    }
}

impl Rooms {
    /// No rooms on `workers` workers.
    pub(crate) fn new(workers: usize, spans: Spans) -> Arc<Self> {
        let loads = (0..workers).map(|_| Load::default()).collect();
        Arc::new(Self { spans, places: DashMap::new(), loads })
    }

    /// A seat in `room` for one WebSocket: where the session is that it wants to take up again, else on the room's worker that
    /// carries least, on another one if those are full, or for a new room on the one that carries least of all.
    pub(crate) fn seat(self: &Arc<Self>, room: &RoomName, session: Option<&SessionId>) -> Seat {
        let mut place = self.places.entry(room.clone()).or_default();
        let worker = self.choose(&place, session);
        place.shard_mut(worker).seats += 1;
        let others = place.shards.iter().map(|shard| shard.worker).filter(|other| *other != worker);
        let others = others.map(|other| PeerId(other as u32)).collect();
        self.loads[worker].seats.fetch_add(1, Relaxed);
        Seat { rooms: Arc::clone(self), room: room.clone(), worker, others }
    }

    /// Learns from what happened on `worker`.
    pub(crate) fn handle_event(&self, worker: usize, event: &Event) {
        let load = &self.loads[worker].participants;
        match event {
            Event::RoomOpened { room } => {
                self.places.entry(room.clone()).or_default().shard_mut(worker).open = true;
            }
            Event::RoomClosed { room } => self.update(room, worker, |shard| shard.open = false),
            Event::ParticipantJoined { .. } => {
                load.fetch_add(1, Relaxed);
            }
            Event::ParticipantLeft { .. } => {
                // A worker names each leaving once; if it did not, a wrong count must not wrap to "fullest".
                let _ = load.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
            }
            Event::MediaConnected { .. }
            | Event::PathChanged { .. }
            | Event::DownlinkChanged { .. }
            | Event::Demanded { .. }
            | Event::HandshakeFailed { .. } => {}
        }
    }

    /// `worker` was busy for this share of the time of late, 0 to 1.
    pub(crate) fn note_busy(&self, worker: usize, share: f32) {
        self.loads[worker].busy.store((share.clamp(0.0, 1.0) * 1e3) as u32, Relaxed);
    }

    /// The workers that `room` lives on; none if there is no such room.
    pub(crate) fn workers_of(&self, room: &RoomName) -> Vec<usize> {
        let place = self.places.get(room);
        place.map_or_else(Vec::new, |place| place.shards.iter().map(|shard| shard.worker).collect())
    }

    /// How many rooms there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many participants `worker` carries.
    pub(crate) fn participants(&self, worker: usize) -> usize {
        self.loads[worker].participants.load(Relaxed)
    }

    fn update(&self, room: &RoomName, worker: usize, change: impl FnOnce(&mut Shard)) {
        if let Entry::Occupied(mut place) = self.places.entry(room.clone()) {
            let shards = &mut place.get_mut().shards;
            if let Some(shard) = shards.iter_mut().find(|shard| shard.worker == worker) {
                change(shard);
            }
            shards.retain(|shard| shard.seats > 0 || shard.open);
            if shards.is_empty() {
                place.remove();
            }
        }
    }

    fn choose(&self, place: &Place, session: Option<&SessionId>) -> usize {
        let own = |worker: usize| place.shards.iter().any(|shard| shard.worker == worker);
        let home = session.and_then(|session| WorkerMark::of(session.as_str())).map(WorkerMark::worker);
        if let Some(home) = home.filter(|home| own(*home)) {
            return home;
        }
        let (full, free): (Vec<&Shard>, Vec<&Shard>) =
            place.shards.iter().partition(|shard| self.is_full(shard));
        let elsewhere = self.least_loaded((0..self.loads.len()).filter(|worker| !own(*worker)));
        let least = |shards: &[&Shard]| self.least_loaded(shards.iter().map(|shard| shard.worker));
        let takes_over = |worker: usize| {
            let busy = self.loads[worker].busy();
            full.iter().all(|shard| {
                let its = self.loads[shard.worker].busy();
                if shard.seats >= self.spans.participants {
                    busy < self.spans.above_load || busy <= its
                } else {
                    busy + MARGIN <= its
                }
            })
        };
        let chosen = least(&free).or(elsewhere.filter(|worker| takes_over(*worker))).or(least(&full));
        chosen.unwrap_or(0)
    }

    fn is_full(&self, shard: &Shard) -> bool {
        shard.seats >= self.spans.participants || self.loads[shard.worker].busy() >= self.spans.above_load
    }

    /// By time first; then by participants; `WebSocket`s that are about to join tell workers apart that have as many.
    fn least_loaded(&self, among: impl Iterator<Item = usize>) -> Option<usize> {
        among.min_by_key(|worker| {
            let load = &self.loads[*worker];
            let busy = load.busy.load(Relaxed) / BUSY_STEP;
            (busy, load.participants.load(Relaxed), load.seats.load(Relaxed))
        })
    }
}

impl Place {
    fn shard_mut(&mut self, worker: usize) -> &mut Shard {
        let found = self.shards.iter().position(|shard| shard.worker == worker);
        let at = found.unwrap_or_else(|| {
            self.shards.push(Shard { worker, seats: 0, open: false });
            self.shards.len() - 1
        });
        &mut self.shards[at]
    }
}

/// One WebSocket's hold on its room. It goes with the WebSocket to the worker and ends when the worker has seen the
/// WebSocket's end: until then the room's other workers know that there may be a shard.
pub(crate) struct Seat {
    rooms: Arc<Rooms>,
    room: RoomName,
    worker: usize,
    others: Vec<PeerId>,
}

impl Seat {
    /// The worker that the WebSocket is for.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// The other workers that the room lives on.
    pub(crate) fn others(&self) -> &[PeerId] {
        &self.others
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rooms.loads[self.worker].seats.fetch_sub(1, Relaxed);
        self.rooms.update(&self.room, self.worker, |shard| shard.seats -= 1);
    }
}

#[cfg(test)]
impl Rooms {
    /// One worker, which is never full.
    pub(crate) fn on_one() -> Arc<Self> {
        Self::new(1, tests::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use proto::signal::LeaveReason;

    use super::*;

    pub(super) const NEVER: Spans = Spans { above_load: 1.1, participants: usize::MAX };

    fn joined(room: &RoomName) -> Event {
        Event::ParticipantJoined {
            room: room.clone(),
            participant: "PA_1".into(),
            identity: "ann".into(),
            client: String::new(),
        }
    }

    #[test]
    fn a_room_stays_where_it_is_and_new_ones_go_where_least_is() {
        let rooms = Rooms::new(2, NEVER);
        let (a, b, c) = (RoomName::from("a"), RoomName::from("b"), RoomName::from("c"));
        let first = rooms.seat(&a, None);
        assert_eq!((first.worker(), rooms.seat(&a, None).worker()), (0, 0));
        let second = rooms.seat(&b, None);
        assert_eq!(second.worker(), 1, "the other worker has no seats");
        assert_eq!((rooms.workers_of(&b), rooms.workers_of(&c)), (vec![1], vec![]));
        rooms.handle_event(1, &joined(&b));
        let third = rooms.seat(&c, None);
        assert_eq!(third.worker(), 0, "participants weigh more than seats");
        let left = Event::ParticipantLeft { room: b, participant: "PA_1".into(), reason: LeaveReason::Left };
        rooms.handle_event(1, &left);
        rooms.handle_event(1, &left);
        assert_eq!(rooms.participants(1), 0);
        rooms.note_busy(0, 0.5);
        assert_eq!(rooms.seat(&"d".into(), None).worker(), 1, "time weighs more than participants");
    }

    #[test]
    fn an_entry_lives_while_the_room_has_sockets_or_participants() {
        let rooms = Rooms::new(2, NEVER);
        let room = RoomName::from("a");
        let seat = rooms.seat(&room, None);
        rooms.handle_event(0, &Event::RoomOpened { room: room.clone() });
        drop(seat);
        assert_eq!(rooms.len(), 1, "its participants may come back");
        let seat = rooms.seat(&room, None);
        rooms.handle_event(0, &Event::RoomClosed { room: room.clone() });
        assert_eq!(rooms.len(), 1, "a socket is still there");
        drop(seat);
        assert_eq!(rooms.len(), 0);
        rooms.handle_event(1, &Event::RoomOpened { room: room.clone() });
        assert_eq!(rooms.seat(&room, None).worker(), 1, "where the worker says it is");
    }

    #[test]
    fn a_room_that_outgrows_a_worker_spans_others_and_those_who_are_there_stay() {
        let rooms = Rooms::new(3, Spans { participants: 2, ..NEVER });
        let room = RoomName::from("a");
        let seats: Vec<Seat> = (0..7).map(|_| rooms.seat(&room, None)).collect();
        let workers: Vec<usize> = seats.iter().map(Seat::worker).collect();
        assert_eq!(workers, [0, 0, 1, 1, 2, 2, 0], "all full: where least is");
        assert_eq!(seats[0].others(), []);
        assert_eq!(seats[2].others(), [PeerId(0)]);
        assert_eq!(seats[6].others(), [PeerId(1), PeerId(2)]);
        for (session, worker) in [("Bxyz", 1), ("Cxyz", 2), ("Axyz", 0)] {
            assert_eq!(rooms.seat(&room, Some(&SessionId(session.into()))).worker(), worker, "{session}");
        }
        let free = |seat: Seat| {
            let worker = seat.worker();
            drop(seat);
            worker
        };
        let mut seats = seats.into_iter();
        seats.by_ref().take(2).for_each(drop);
        assert_eq!(free(rooms.seat(&room, None)), 0, "there is room again");
        drop(seats);
        assert_eq!((rooms.len(), rooms.workers_of(&room)), (0, vec![]));
    }

    #[test]
    fn a_busy_worker_gives_newcomers_away_if_another_is_less_so() {
        let rooms = Rooms::new(2, Spans { above_load: 0.7, ..NEVER });
        let room = RoomName::from("a");
        let _first = rooms.seat(&room, None);
        for (own, other, worker, claim) in [
            (0.6, 0.0, 0, "not busy enough"),
            (0.8, 0.7, 0, "the other is hardly less so"),
            (0.8, 0.5, 1, "the other takes over"),
        ] {
            rooms.note_busy(0, own);
            rooms.note_busy(1, other);
            assert_eq!(rooms.seat(&room, None).worker(), worker, "{claim}");
        }
    }

    #[test]
    fn a_worker_with_enough_of_a_room_gives_newcomers_away_unless_the_other_is_saturated() {
        let rooms = Rooms::new(2, Spans { above_load: 0.7, participants: 1 });
        let room = RoomName::from("a");
        let _first = rooms.seat(&room, None);
        for (own, other, worker, claim) in [
            (0.0, 0.0, 1, "both idle"),
            (0.1, 0.6, 1, "the other is busier, and not too busy"),
            (0.1, 0.9, 0, "the other is saturated"),
            (0.8, 0.9, 0, "both are, the other more so"),
            (0.95, 0.9, 1, "both are, the other less so"),
        ] {
            rooms.note_busy(0, own);
            rooms.note_busy(1, other);
            assert_eq!(rooms.seat(&room, None).worker(), worker, "{claim}");
        }
    }
}
