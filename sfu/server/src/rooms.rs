//! Which worker a room lives on.
//!
//! In: `WebSocket`s that open and close, and the workers' events. Out: the worker for each WebSocket. Limit: an entry
//! lives while its room has `WebSocket`s or participants, so there are no more rooms than `limit.sockets` and the
//! workers' participants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use proto::ids::RoomName;
use sfu::worker::Event;

/// Every room with its worker.
pub(crate) struct Rooms {
    places: DashMap<RoomName, Place>,
    loads: Vec<Load>,
}

struct Place {
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
}

impl Rooms {
    /// No rooms on `workers` workers.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let loads = (0..workers).map(|_| Load::default()).collect();
        Arc::new(Self { places: DashMap::new(), loads })
    }

    /// A seat in `room` for one WebSocket: on the room's worker, or for a new room on the one that carries least.
    pub(crate) fn seat(self: &Arc<Self>, room: &RoomName) -> Seat {
        let mut place = self.places.entry(room.clone()).or_insert_with(|| {
            let worker = self.least_loaded();
            Place { worker, seats: 0, open: false }
        });
        place.seats += 1;
        let worker = place.worker;
        self.loads[worker].seats.fetch_add(1, Relaxed);
        Seat { rooms: Arc::clone(self), room: room.clone(), worker }
    }

    /// Learns from what happened on `worker`.
    pub(crate) fn handle_event(&self, worker: usize, event: &Event) {
        let load = &self.loads[worker].participants;
        match event {
            Event::RoomOpened { room } => {
                let place = self.places.entry(room.clone());
                place.or_insert(Place { worker, seats: 0, open: false }).open = true;
            }
            Event::RoomClosed { room } => self.update(room, |place| place.open = false),
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

    /// The worker that `room` lives on, if there is such a room.
    pub(crate) fn worker_of(&self, room: &RoomName) -> Option<usize> {
        self.places.get(room).map(|place| place.worker)
    }

    /// How many rooms there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many participants `worker` carries.
    pub(crate) fn participants(&self, worker: usize) -> usize {
        self.loads[worker].participants.load(Relaxed)
    }

    fn update(&self, room: &RoomName, change: impl FnOnce(&mut Place)) {
        if let Entry::Occupied(mut place) = self.places.entry(room.clone()) {
            change(place.get_mut());
            if place.get().seats == 0 && !place.get().open {
                place.remove();
            }
        }
    }

    /// By participants first; `WebSocket`s that are about to join tell workers apart that have as many.
    fn least_loaded(&self) -> usize {
        let load = |&worker: &usize| {
            let load = &self.loads[worker];
            (load.participants.load(Relaxed), load.seats.load(Relaxed))
        };
        (0..self.loads.len()).min_by_key(load).unwrap_or(0)
    }
}

/// One WebSocket's hold on its room. It goes with the WebSocket to the worker and ends when the worker has seen the
/// WebSocket's end: until then nobody may open the same room elsewhere.
pub(crate) struct Seat {
    rooms: Arc<Rooms>,
    room: RoomName,
    worker: usize,
}

impl Seat {
    /// The worker that the room lives on.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rooms.loads[self.worker].seats.fetch_sub(1, Relaxed);
        self.rooms.update(&self.room, |place| place.seats -= 1);
    }
}

#[cfg(test)]
mod tests {
    use proto::signal::LeaveReason;

    use super::*;

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
        let rooms = Rooms::new(2);
        let (a, b, c) = (RoomName::from("a"), RoomName::from("b"), RoomName::from("c"));
        let first = rooms.seat(&a);
        assert_eq!((first.worker(), rooms.seat(&a).worker()), (0, 0));
        let second = rooms.seat(&b);
        assert_eq!(second.worker(), 1, "the other worker has no seats");
        assert_eq!((rooms.worker_of(&b), rooms.worker_of(&c)), (Some(1), None));
        rooms.handle_event(1, &joined(&b));
        let third = rooms.seat(&c);
        assert_eq!(third.worker(), 0, "participants weigh more than seats");
        let left = Event::ParticipantLeft { room: b, participant: "PA_1".into(), reason: LeaveReason::Left };
        rooms.handle_event(1, &left);
        rooms.handle_event(1, &left);
        assert_eq!(rooms.participants(1), 0);
    }

    #[test]
    fn an_entry_lives_while_the_room_has_sockets_or_participants() {
        let rooms = Rooms::new(2);
        let room = RoomName::from("a");
        let seat = rooms.seat(&room);
        rooms.handle_event(0, &Event::RoomOpened { room: room.clone() });
        drop(seat);
        assert_eq!(rooms.len(), 1, "its participants may come back");
        let seat = rooms.seat(&room);
        rooms.handle_event(0, &Event::RoomClosed { room: room.clone() });
        assert_eq!(rooms.len(), 1, "a socket is still there");
        drop(seat);
        assert_eq!(rooms.len(), 0);
        rooms.handle_event(1, &Event::RoomOpened { room: room.clone() });
        assert_eq!(rooms.seat(&room).worker(), 1, "where the worker says it is");
    }
}
