//! What others do: as much parity as a rule says, and whatever is missing again, once a round.
//!
//! Parity is taken to repair as many packets as it has, which flatters all of these: theirs is XOR. Browsers ask for what is
//! missing before parity can have arrived, and these senders answer at once, so what parity repairs is paid for twice, as
//! measured (references §0.5: 36 retransmissions for 37 losses).

use std::collections::VecDeque;

use fec::loss_model::{Fate, PacketFate};
use proto::time::Instant;

use super::air::Air;

/// How much parity a block has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Parity {
    None,
    /// This share of the media, at least one packet.
    Fixed(f64),
    /// By libwebrtc's table, from the most that was lost in one of the last ten seconds.
    Libwebrtc,
}

/// How many seconds libwebrtc looks back (`kLossPrHistorySize`).
const SECONDS: usize = 10;

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Rival {
    parity: Parity,
    /// Packets reported and lost, by second, the current one last.
    seconds: VecDeque<(u64, u32, u32)>,
}

impl Rival {
    pub(super) fn new(parity: Parity) -> Self {
        Self { parity, seconds: VecDeque::with_capacity(SECONDS + 1) }
    }

    pub(super) fn handle_fates(&mut self, now: Instant, fates: &[PacketFate]) {
        let second = now.as_micros() / 1_000_000;
        if self.seconds.back().is_none_or(|(last, ..)| *last != second) {
            self.seconds.push_back((second, 0, 0));
        }
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        if let Some((_, reported, lost)) = self.seconds.back_mut() {
            *reported += fates.len() as u32;
            *lost += fates.iter().filter(|fate| fate.fate != Fate::Received).count() as u32;
        }
    }

    pub(super) fn send(&self, air: &mut Air<'_>) {
        let media = air.cell.media;
        let parities = match self.parity {
            Parity::None => 0,
            Parity::Fixed(share) => ((media as f64 * share).round() as usize).max(1),
            // Below 20 ms of round trip libwebrtc sends no parity (`kLowRttNackMs`).
            Parity::Libwebrtc if air.cell.round_trip.as_millis() < 20 => 0,
            Parity::Libwebrtc => libwebrtc_parities(media, self.loss()),
        };
        send(air, parities);
    }

    fn loss(&self) -> f64 {
        // A second that has just begun says little; its packets count once it is over.
        let whole = self.seconds.iter().take(self.seconds.len().saturating_sub(1));
        whole.map(|(_, reported, lost)| f64::from(*lost) / f64::from((*reported).max(1))).fold(0.0, f64::max)
    }
}

fn send(air: &mut Air<'_>, parities: usize) {
    let media = air.cell.media;
    let mut missing = media - air.send_media().count_ones() as usize;
    if missing == 0 {
        air.note_whole(air.at(0, media - 1));
    }
    // Symbols that are still needed: parity replaces any packet.
    let mut needed = missing;
    for parity in 0..parities {
        let at = air.at(0, media + parity);
        if air.send_repair(at) && needed > 0 {
            needed -= 1;
            if needed == 0 {
                air.note_whole(at);
            }
        }
    }
    let is_repaired = needed == 0;
    for round in 1.. {
        // The first answers go out whatever parity does, later ones only while something is missing.
        if missing == 0 || air.left(round).is_none() || (needed == 0 && round > 1) {
            break;
        }
        if is_repaired {
            air.paid_twice += missing;
        }
        let asked = missing;
        for packet in 0..asked {
            let at = air.at(round, packet);
            if air.send_repair(at) {
                missing -= 1;
                if needed > 0 {
                    needed -= 1;
                    if needed == 0 {
                        air.note_whole(at);
                    }
                }
            }
        }
    }
}

/// Points of what libwebrtc's table gives, as references §1.1 and §5 have them: packets of media, then parity over media at
/// 0.5, 1, 2, 5, 10, 20 % loss. The table itself is not copied; what lies between is interpolated.
const PRODUCED: [(f64, [f64; 6]); 6] = [
    (2.0, [0.50, 0.50, 0.50, 0.50, 0.50, 1.00]),
    (4.0, [0.25, 0.25, 0.25, 0.25, 0.50, 1.00]),
    (5.0, [0.20, 0.20, 0.20, 0.20, 0.40, 0.80]),
    (12.0, [0.25, 0.25, 0.25, 0.417, 0.917, 1.00]),
    (14.0, [0.29, 0.29, 0.29, 0.36, 0.79, 1.00]),
    (32.0, [0.25, 0.25, 0.281, 0.656, 0.875, 1.00]),
];
const PRODUCED_AT: [f64; 6] = [0.005, 0.01, 0.02, 0.05, 0.10, 0.20];
/// Below that, reported loss is rounded to nothing (1/255).
const LOSS_MIN: f64 = 0.004;
/// Single packets get parity only from there on.
const SINGLE_LOSS: f64 = 0.2;

/// How many packets of parity libwebrtc sends.
fn libwebrtc_parities(media: usize, loss: f64) -> usize {
    if loss < LOSS_MIN || (media < 2 && loss < SINGLE_LOSS) {
        return 0;
    }
    let at = |shares: &[f64; 6]| interpolate(PRODUCED_AT.iter().copied().zip(shares.iter().copied()), loss);
    let share = interpolate(PRODUCED.iter().map(|(packets, shares)| (*packets, at(shares))), media as f64);
    ((media as f64 * share).round() as usize).max(1)
}

/// The value at `x` on straight lines between points by ascending x; beyond the ends, theirs.
fn interpolate(points: impl Iterator<Item = (f64, f64)>, x: f64) -> f64 {
    let mut last: Option<(f64, f64)> = None;
    for (at, value) in points {
        if x <= at {
            return last.map_or(value, |(before, from)| from + (value - from) * (x - before) / (at - before));
        }
        last = Some((at, value));
    }
    last.map_or(0.0, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libwebrtc_sends_what_its_table_was_seen_to_give() {
        for (media, loss, parities) in [
            (12, 0.01, 3),
            (12, 0.02, 3),
            (12, 0.05, 5),
            (12, 0.10, 11),
            (32, 0.05, 21),
            (4, 0.10, 2),
            (2, 0.005, 1),
            (1, 0.10, 0),
            (1, 0.20, 1),
            (48, 0.30, 48),
            (12, 0.003, 0),
        ] {
            assert_eq!(libwebrtc_parities(media, loss), parities, "{media} packets at {loss}");
        }
    }

    #[test]
    fn libwebrtc_goes_by_the_worst_of_ten_seconds() {
        let mut rival = Rival::new(Parity::Libwebrtc);
        let fate = |fate| PacketFate { sent: Instant::ZERO, fate };
        for second in 0..30_u64 {
            let lost = if second == 5 { 20 } else { 1 };
            let fates: Vec<PacketFate> = (0..100)
                .map(|at| {
                    fate(if at < lost { Fate::Lost(fec::loss_model::Cause::Path) } else { Fate::Received })
                })
                .collect();
            rival.handle_fates(Instant::from_millis(second * 1_000), &fates);
            let expected = if (6..15).contains(&second) { 0.2 } else { 0.01 };
            if second > 0 {
                assert!((rival.loss() - expected).abs() < 1e-9, "second {second}: {}", rival.loss());
            }
        }
    }
}
