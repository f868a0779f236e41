//! What workers of this server hand to each other for rooms that span several.
//!
//! In: a core's batches, once a turn. Out: the batches of others. Time: [`TRY_AGAIN`]. Limit: [`BATCHES_MAX`] batches wait for a
//! worker; then they stay with the core that has them, which has a limit and a drop rule of its own.

use std::time::Duration;

use sfu::worker::Worker;
use sfu::worker::relay::{Batch, PeerId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Batches that wait for one worker: some turns of each of the others.
const BATCHES_MAX: usize = 64;

/// When a batch is offered again that found no room.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(1);

/// A batch and whose it is.
pub(super) type Handed<B = Batch> = (PeerId, B);

/// A worker's ways to and from the others.
pub(crate) struct Links<B = Batch> {
    own: PeerId,
    inbox: mpsc::Receiver<Handed<B>>,
    /// By number; its own is among them and not used.
    peers: Vec<mpsc::Sender<Handed<B>>>,
    is_held_up: bool,
}

/// Who has batches for others: a core.
pub(super) trait Outboxes<B> {
    /// For whom there is something.
    fn relays(&self) -> impl Iterator<Item = PeerId>;

    /// All that there is for one of them.
    fn take_relay(&mut self, peer: PeerId) -> B;
}

impl Outboxes<Batch> for Worker {
    fn relays(&self) -> impl Iterator<Item = PeerId> {
        Self::relays(self)
    }

    fn take_relay(&mut self, peer: PeerId) -> Batch {
        Self::take_relay(self, peer)
    }
}

/// The ways between so many workers, by their numbers.
pub(crate) fn links(workers: usize) -> Vec<Links> {
    links_of(workers, BATCHES_MAX)
}

/// The same with place for so many batches in each.
fn links_of<B>(workers: usize, batches_max: usize) -> Vec<Links<B>> {
    let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(batches_max)).unzip();
    let link =
        |(own, inbox)| Links { own: PeerId(own as u32), inbox, peers: peers.clone(), is_held_up: false };
    inboxes.into_iter().enumerate().map(link).collect()
}

impl<B> Links<B> {
    /// Hands over what the core has for others, as far as they take it.
    pub(super) fn hand_over(&mut self, core: &mut impl Outboxes<B>) {
        loop {
            self.is_held_up = false;
            let (peers, is_held_up) = (&self.peers, &mut self.is_held_up);
            let takes = |peer: PeerId| match peers.get(peer.0 as usize).map(mpsc::Sender::try_reserve) {
                Some(Ok(place)) => Some((peer, Some(place))),
                Some(Err(TrySendError::Full(()))) => {
                    *is_held_up = true;
                    None
                }
                // That worker has ended: what it would be sent is nobody's.
                Some(Err(TrySendError::Closed(()))) | None => Some((peer, None)),
            };
            let Some((peer, place)) = core.relays().find_map(takes) else { return };
            let batch = core.take_relay(peer);
            // The place is held meanwhile: others send to the same worker, and a batch that was taken must arrive.
            if let Some(place) = place {
                place.send((self.own, batch));
            }
        }
    }

    /// Waits for a batch.
    pub(super) async fn receive(&mut self) -> Option<Handed<B>> {
        self.inbox.recv().await
    }

    /// A batch that is there.
    pub(super) fn take(&mut self) -> Option<Handed<B>> {
        self.inbox.try_recv().ok()
    }

    /// Whether something could not be handed over.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_held_up
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// Has numbers for some, in order, and gives away a few at a time.
    struct Counter {
        peers: Vec<(PeerId, Range<u64>)>,
        most: u64,
    }

    impl Counter {
        fn new(peers: &[u32], numbers: u64, most: u64) -> Self {
            Self { peers: peers.iter().map(|peer| (PeerId(*peer), 0..numbers)).collect(), most }
        }
    }

    impl Outboxes<Range<u64>> for Counter {
        fn relays(&self) -> impl Iterator<Item = PeerId> {
            self.peers.iter().filter(|(_, left)| !left.is_empty()).map(|(peer, _)| *peer)
        }

        fn take_relay(&mut self, peer: PeerId) -> Range<u64> {
            let (_, left) = self.peers.iter_mut().find(|(own, _)| *own == peer).unwrap();
            let first = left.start;
            left.start = left.end.min(first + self.most);
            first..left.start
        }
    }

    #[test]
    fn each_worker_has_a_way_to_each_other() {
        let mut links = links_of(3, 4);
        for (from, to) in [(0, 1), (2, 1), (1, 0)] {
            links[from].hand_over(&mut Counter::new(&[to], 1, 1));
        }
        let from: Vec<u32> = std::iter::from_fn(|| links[1].take()).map(|(from, _)| from.0).collect();
        assert_eq!((from, links[0].take().is_some(), links[2].take().is_some()), (vec![0, 2], true, false));
    }

    #[test]
    fn a_worker_that_takes_nothing_holds_others_up_and_one_that_is_gone_does_not() {
        let mut links = links_of(3, 4);
        let mut core = Counter::new(&[1, 2, 9], 5, 1);
        links[0].hand_over(&mut core);
        let left = |core: &Counter| core.peers.iter().map(|(_, left)| left.start).collect::<Vec<_>>();
        assert_eq!((left(&core), links[0].is_held_up()), (vec![4, 4, 5], true), "what has no place stays");
        assert_eq!(links[2].take(), Some((PeerId(0), 0..1)));
        links[0].hand_over(&mut core);
        assert_eq!((left(&core), links[0].is_held_up()), (vec![4, 5, 5], true));
        links.remove(1);
        links[0].hand_over(&mut core);
        assert_eq!(
            (left(&core), links[0].is_held_up()),
            (vec![5, 5, 5], false),
            "nobody is there to have it"
        );
    }

    #[test]
    fn whatever_is_taken_arrives_in_order_though_many_send_to_one() {
        const NUMBERS: u64 = 20_000;
        let mut links = links_of(5, 2);
        let mut inbox = links.remove(0);
        inbox.peers.clear();
        let threads: Vec<_> = links
            .into_iter()
            .map(|mut link| {
                std::thread::spawn(move || {
                    let mut core = Counter::new(&[0], NUMBERS, 3);
                    link.hand_over(&mut core);
                    while link.is_held_up() {
                        std::thread::yield_now();
                        link.hand_over(&mut core);
                    }
                })
            })
            .collect();
        let mut next = [0; 5];
        while let Some((from, numbers)) = inbox.inbox.blocking_recv() {
            let next = &mut next[from.0 as usize];
            assert_eq!(numbers.start, *next, "from {from:?}");
            *next = numbers.end;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(next, [0, NUMBERS, NUMBERS, NUMBERS, NUMBERS]);
    }
}
