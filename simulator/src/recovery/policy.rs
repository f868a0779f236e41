//! Who decides what is sent: ours, others', and those who know the path.

use std::fmt;
use std::str::FromStr;

use fec::loss_model::PacketFate;
use fec::plan::Receiver;
use proto::time::Instant;

use super::air::Air;
use super::cell::Cell;
use super::experience::Experience;
use super::oracle::{Model, Oracle, Question};
use super::ours::Ours;
use super::rivals::{Parity, Rival};

/// The names of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Ours towards our own receivers: the product's plan on the product's loss model.
    LianmaiNative,
    /// Ours towards browsers.
    LianmaiBrowser,
    /// What is missing is sent again, once a round.
    Nack,
    /// Libwebrtc's table.
    Libwebrtc,
    /// As much parity as that, in percent of the media (`LiveKit`'s presets).
    Fixed(u8),
    /// Hairpin's policy, with the path's true losses.
    Hairpin,
    /// The optimum, with the path's true losses.
    Opt,
}

impl Policy {
    /// All policies, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::LianmaiNative,
        Self::LianmaiBrowser,
        Self::Nack,
        Self::Libwebrtc,
        Self::Fixed(15),
        Self::Fixed(25),
        Self::Fixed(35),
        Self::Hairpin,
        Self::Opt,
    ];

    /// Its name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LianmaiNative => "lianmai-native",
            Self::LianmaiBrowser => "lianmai-browser",
            Self::Nack => "nack",
            Self::Libwebrtc => "libwebrtc",
            Self::Fixed(..=15) => "fixed-15",
            Self::Fixed(16..=25) => "fixed-25",
            Self::Fixed(26..) => "fixed-35",
            Self::Hairpin => "hairpin",
            Self::Opt => "opt",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no policy {0:?}; there are {names}", names = Policy::ALL.map(Policy::name).join(", "))]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// A policy at work in a cell.
pub(super) enum Player {
    Ours(Box<Ours>),
    Rival(Rival),
    Oracle(Model, Oracle),
}

impl Player {
    /// A policy in a cell that has been up for a while; when it is.
    pub(super) fn new(
        policy: Policy,
        cell: &Cell,
        seed: u64,
        experience: &mut Experience,
    ) -> (Self, Instant) {
        let known = experience.path(cell, seed);
        let begin = known.at;
        let ours = |receiver, experience: &mut Experience| {
            Self::Ours(Box::new(Ours::new(receiver, known.model, begin, cell, experience)))
        };
        let oracle = |model, experience: &mut Experience| {
            Self::Oracle(model, experience.oracle(&Question::of(model, cell)))
        };
        let player = match policy {
            Policy::LianmaiNative => ours(Receiver::Native, experience),
            Policy::LianmaiBrowser => ours(Receiver::FlexFec, experience),
            Policy::Nack => Self::Rival(Rival::new(Parity::None)),
            Policy::Libwebrtc => Self::Rival(known.libwebrtc),
            Policy::Fixed(percent) => Self::Rival(Rival::new(Parity::Fixed(f64::from(percent) / 100.0))),
            Policy::Hairpin => oracle(Model::Hairpin, experience),
            Policy::Opt => oracle(Model::Optimum, experience),
        };
        (player, begin)
    }

    /// What became of packets, in the order in which they left.
    pub(super) fn handle_fates(
        &mut self,
        now: Instant,
        cell: &Cell,
        fates: &[PacketFate],
        experience: &mut Experience,
    ) {
        match self {
            Self::Ours(ours) => ours.handle_fates(now, cell, fates, experience),
            Self::Rival(rival) => rival.handle_fates(now, fates),
            Self::Oracle(..) => {}
        }
    }

    /// Sends a block and whatever repairs it.
    pub(super) fn send(&mut self, air: &mut Air<'_>) {
        match self {
            Self::Ours(ours) => ours.send(air),
            Self::Rival(rival) => rival.send(air),
            Self::Oracle(Model::Optimum, oracle) => send_optimum(oracle, air),
            Self::Oracle(Model::Hairpin, oracle) => send_hairpin(oracle, air),
        }
    }
}

/// Every packet that arrives counts.
fn send_optimum(oracle: &Oracle, air: &mut Air<'_>) {
    let (media, rounds) = (air.cell.media, air.cell.rounds());
    let parities = oracle.packets(media, rounds) - media;
    send_counted(air, parities, |_, missing, left| (left > 0).then(|| oracle.packets(missing, left)));
}

/// Sends symbols of which any that arrive count: `repair` says how many for what is missing, with so many of the cell's
/// rounds left at that time.
pub(super) fn send_counted(
    air: &mut Air<'_>,
    parities: usize,
    mut repair: impl FnMut(&Air<'_>, usize, usize) -> Option<usize>,
) {
    let media = air.cell.media;
    let mut missing = media - air.send_media().count_ones() as usize;
    if missing == 0 {
        air.note_whole(air.at(0, media - 1));
    }
    for parity in 0..parities {
        let at = air.at(0, media + parity);
        if air.send_repair(at) && missing > 0 {
            missing -= 1;
            if missing == 0 {
                air.note_whole(at);
            }
        }
    }
    for round in 1.. {
        if missing == 0 || air.left(round).is_none() {
            break;
        }
        let left = air.cell.rounds().saturating_sub(round);
        let Some(packets) = repair(air, missing, left) else { break };
        for packet in 0..packets {
            let at = air.at(round, packet);
            if air.send_repair(at) && missing > 0 {
                missing -= 1;
                if missing == 0 {
                    air.note_whole(at);
                }
            }
        }
    }
}

/// Each round is a block by itself: what is missing, and parity over it that is of no use to the next.
fn send_hairpin(oracle: &Oracle, air: &mut Air<'_>) {
    let (media, rounds) = (air.cell.media, air.cell.rounds());
    let mut missing = media;
    for round in 0..rounds {
        let packets = oracle.packets(missing, rounds - round);
        let (mut arrived, mut arrived_media) = (0, 0);
        if round == 0 {
            arrived = air.send_media().count_ones() as usize;
            arrived_media = arrived;
        }
        let sent = if round == 0 { media } else { 0 };
        let mut last = air.at(round, sent.max(1) - 1);
        if arrived < missing {
            for packet in sent..packets {
                let at = air.at(round, packet);
                let is_there = usize::from(air.send_repair(at));
                arrived += is_there;
                arrived_media += if packet < missing { is_there } else { 0 };
                if arrived == missing && is_there == 1 {
                    last = at;
                }
            }
        } else {
            (sent..packets).for_each(|packet| {
                air.send_repair(air.at(round, packet));
            });
        }
        if arrived >= missing {
            air.note_whole(last);
            return;
        }
        missing -= arrived_media;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_policies_and_others_nowhere() {
        for policy in Policy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        assert!("fixed-20".parse::<Policy>().is_err());
    }
}
