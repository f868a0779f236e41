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
pub(super) type Handed = (PeerId, Batch);

/// A worker's ways to and from the others.
pub(crate) struct Links {
    own: PeerId,
    inbox: mpsc::Receiver<Handed>,
    /// By number; its own is among them and not used.
    peers: Vec<mpsc::Sender<Handed>>,
    is_held_up: bool,
}

/// The ways between so many workers, by their numbers.
pub(crate) fn links(workers: usize) -> Vec<Links> {
    let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(BATCHES_MAX)).unzip();
    let link =
        |(own, inbox)| Links { own: PeerId(own as u32), inbox, peers: peers.clone(), is_held_up: false };
    inboxes.into_iter().enumerate().map(link).collect()
}

impl Links {
    /// Hands over what the core has for others, as far as they take it.
    pub(super) fn hand_over(&mut self, worker: &mut Worker) {
        self.is_held_up = false;
        loop {
            let Some(peer) = worker.relays().find(|peer| self.takes(*peer)) else { return };
            let batch = worker.take_relay(peer);
            if let Some(sender) = self.peers.get(peer.0 as usize) {
                let _ = sender.try_send((self.own, batch)); // fails if that worker has ended: then nobody is there
            }
        }
    }

    /// Waits for a batch.
    pub(super) async fn receive(&mut self) -> Option<Handed> {
        self.inbox.recv().await
    }

    /// A batch that is there.
    pub(super) fn take(&mut self) -> Option<Handed> {
        self.inbox.try_recv().ok()
    }

    /// Whether something could not be handed over.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_held_up
    }

    /// Whether there is room for a batch to a worker, or that worker is gone.
    fn takes(&mut self, peer: PeerId) -> bool {
        let Some(sender) = self.peers.get(peer.0 as usize) else { return true };
        let is_full = matches!(sender.try_reserve(), Err(TrySendError::Full(())));
        self.is_held_up |= is_full;
        !is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_way_to_each_other() {
        let mut links = links(3);
        for (from, to) in [(0, 1), (2, 1), (1, 0)] {
            assert!(links[from].takes(PeerId(to as u32)));
            links[from].peers[to].try_send((PeerId(from as u32), Batch::default())).unwrap();
        }
        let from: Vec<u32> = std::iter::from_fn(|| links[1].take()).map(|(from, _)| from.0).collect();
        assert_eq!((from, links[0].take().is_some(), links[2].take().is_some()), (vec![0, 2], true, false));
    }

    #[test]
    fn a_worker_that_takes_nothing_holds_others_up_and_one_that_is_gone_does_not() {
        let mut links = links(2);
        for _ in 0..BATCHES_MAX {
            assert!(links[0].takes(PeerId(1)));
            links[0].peers[1].try_send((PeerId(0), Batch::default())).unwrap();
        }
        assert!(!links[0].takes(PeerId(1)) && links[0].is_held_up());
        links.pop();
        assert!(links[0].takes(PeerId(1)), "what it is sent is nobody's");
        assert!(links[0].takes(PeerId(9)));
    }
}
