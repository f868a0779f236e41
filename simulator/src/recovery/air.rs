//! What a policy has of a block: it sends packets at times and learns what became of them.

use std::time::Duration;

use fec::loss_model::{Cause, Fate, PacketFate};
use proto::time::Instant;

use super::cell::Cell;
use super::weather::Weather;

/// A block on its way; times are from when its first packet leaves.
pub(super) struct Air<'a> {
    pub(super) cell: &'a Cell,
    begin: Instant,
    weather: &'a mut Weather,
    fates: &'a mut Vec<PacketFate>,
    /// Packets sent beyond the media.
    pub(super) repair: usize,
    /// Packets of media that were lost in the first round.
    pub(super) lost: usize,
    /// Of those, how many were sent again though parity alone repaired them.
    pub(super) paid_twice: usize,
    /// When the block was whole at the receiver; `None` until it is.
    pub(super) whole: Option<Duration>,
}

impl<'a> Air<'a> {
    pub(super) fn new(
        cell: &'a Cell,
        begin: Instant,
        weather: &'a mut Weather,
        fates: &'a mut Vec<PacketFate>,
    ) -> Self {
        Self { cell, begin, weather, fates, repair: 0, lost: 0, paid_twice: 0, whole: None }
    }

    /// Sends the media, one packet after the other; whether each arrived.
    pub(super) fn send_media(&mut self) -> u64 {
        let mut arrived = 0;
        for packet in 0..self.cell.media {
            let is_there = self.pass(self.at(0, packet));
            arrived |= u64::from(is_there) << packet;
            self.lost += usize::from(!is_there);
        }
        arrived
    }

    /// Sends a packet beyond the media; whether it arrived in time.
    pub(super) fn send_repair(&mut self, at: Duration) -> bool {
        self.repair += 1;
        self.pass(at) && at + self.one_way() <= self.cell.deadline
    }

    /// When a packet of a round leaves, unless copies are spread.
    pub(super) fn at(&self, round: usize, packet: usize) -> Duration {
        self.cell.timing().round() * round as u32 + self.cell.spacing() * packet as u32
    }

    /// The block became whole with a packet that left at this time.
    pub(super) fn note_whole(&mut self, at: Duration) {
        let there = at + self.one_way();
        if there <= self.cell.deadline {
            self.whole.get_or_insert(there);
        }
    }

    /// What is left of the time at the beginning of a round, if anything sent then could still arrive.
    pub(super) fn left(&self, round: usize) -> Option<Duration> {
        self.cell.deadline.checked_sub(self.at(round, 0)).filter(|left| *left >= self.one_way())
    }

    fn one_way(&self) -> Duration {
        self.cell.timing().one_way
    }

    fn pass(&mut self, at: Duration) -> bool {
        let sent = self.begin + at;
        let is_lost = self.weather.takes(sent);
        let fate = if is_lost { Fate::Lost(Cause::Path) } else { Fate::Received };
        self.fates.push(PacketFate { sent, fate });
        !is_lost
    }
}
