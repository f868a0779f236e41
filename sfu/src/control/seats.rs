//! Seats: which of a subscriber's slots carries which track.
//!
//! The K-th audio slot and the K-th video slot share seat K, and with it the `MediaStream` by which a browser keeps lips
//! and voice together; so a person's tracks go to one seat where that is possible. A track that is still wanted never
//! moves. Pure: slots and wishes in, assignments out.

use proto::ids::{Mid, ParticipantId, TrackId};
use proto::signal::Kind;

/// A subscriber's `recvonly` media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub mid: Mid,
    /// What it can carry.
    pub kind: Kind,
    /// Its seat.
    pub seat: usize,
    /// Whether the subscriber's last offer still has it.
    pub open: bool,
    /// What it carries.
    pub occupant: Option<Occupant>,
}

/// A track that is wanted, or has a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The track.
    pub track: TrackId,
    /// Who publishes it.
    pub participant: ParticipantId,
    /// Sound or picture.
    pub kind: Kind,
}

/// A track that a subscriber wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The track.
    pub track: Occupant,
    /// Whether it is seen or heard now, or only kept at hand.
    pub urgency: Urgency,
}

/// How much a track is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It is seen or heard now.
    Now,
    /// It is out of sight: it keeps a slot that nobody else needs.
    Spare,
}

/// Gives every wanted track a slot, those in sight first, and empties the others. Tells how many in sight found none.
pub fn assign(slots: &mut [Slot], wishes: &[Wish]) -> Shortage {
    for slot in slots.iter_mut() {
        let wished = |occupant: &Occupant| wishes.iter().any(|wish| wish.track == *occupant);
        if !(slot.open && slot.occupant.as_ref().is_some_and(wished)) {
            slot.occupant = None;
        }
    }
    let mut shortage = Shortage::default();
    for urgency in [Urgency::Now, Urgency::Spare] {
        for Wish { track, .. } in wishes.iter().filter(|wish| wish.urgency == urgency) {
            if slots.iter().any(|slot| slot.occupant.as_ref() == Some(track)) {
                continue;
            }
            let spare = || (urgency == Urgency::Now).then(|| spare_slot(slots, wishes, track.kind)).flatten();
            match best_free(slots, track).or_else(spare) {
                Some(index) => slots[index].occupant = Some(track.clone()),
                None if urgency == Urgency::Spare => {}
                None if track.kind == Kind::Audio => shortage.audio += 1,
                None => shortage.video += 1,
            }
        }
    }
    shortage
}

/// A slot whose occupant is out of sight.
fn spare_slot(slots: &[Slot], wishes: &[Wish], kind: Kind) -> Option<usize> {
    slots.iter().position(|slot| {
        let spare =
            |wish: &Wish| wish.urgency == Urgency::Spare && slot.occupant.as_ref() == Some(&wish.track);
        slot.open && slot.kind == kind && wishes.iter().any(spare)
    })
}

/// Tracks that found no slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Audio tracks.
    pub audio: usize,
    /// Video tracks.
    pub video: usize,
}

/// The free slot that suits best: beside the person's other track, else where nobody else sits, else any.
fn best_free(slots: &[Slot], track: &Occupant) -> Option<usize> {
    let neighbor = |slot: &Slot| {
        let other = slots.iter().find(|other| other.seat == slot.seat && other.kind != slot.kind)?;
        other.occupant.as_ref().map(|occupant| &occupant.participant)
    };
    let rank = |slot: &Slot| match neighbor(slot) {
        Some(participant) if *participant == track.participant => 0,
        None => 1,
        Some(_) => 2,
    };
    let free = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.open && slot.occupant.is_none() && slot.kind == track.kind);
    free.min_by_key(|(index, slot)| (rank(slot), *index)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(seats: usize) -> Vec<Slot> {
        let slot = |kind, seat: usize| Slot {
            mid: Mid(format!("{kind:?}{seat}")),
            kind,
            seat,
            open: true,
            occupant: None,
        };
        (0..seats).flat_map(|seat| [slot(Kind::Audio, seat), slot(Kind::Video, seat)]).collect()
    }

    /// `1a` is the first person's sound, `2v` the second one's picture, `3v?` the third one's, out of sight.
    fn wish(name: &str) -> Wish {
        let urgency = if name.ends_with('?') { Urgency::Spare } else { Urgency::Now };
        let kind = if name[1..].starts_with('a') { Kind::Audio } else { Kind::Video };
        let track = Occupant { track: name[..2].into(), participant: name[..1].into(), kind };
        Wish { track, urgency }
    }

    fn seated(slots: &[Slot]) -> String {
        let name =
            |slot: &Slot| slot.occupant.as_ref().map_or("-".to_owned(), |found| found.track.to_string());
        slots.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn people_sit_together_and_stay() {
        let mut slots = slots(2);
        for (wanted, expected, claim) in [
            (vec!["1a"], "1a - - -", "the first seat"),
            (vec!["1a", "2v"], "1a - - 2v", "not beside a stranger"),
            (vec!["1a", "2v", "2a", "1v"], "1a 1v 2a 2v", "each to their own"),
            (vec!["2a", "2v", "3v"], "- 3v 2a 2v", "the second stay where they are"),
            (vec!["2v?", "3v", "4v?"], "- 3v - 2v", "out of sight, but at hand"),
            (
                vec!["2v?", "3v?", "4v", "5v"],
                "- 4v - 5v",
                "who comes into sight takes the slots of the unseen",
            ),
            (vec!["2v", "3v", "4v?", "5v?"], "- 2v - 3v", "and back"),
        ] {
            let wanted: Vec<Wish> = wanted.into_iter().map(wish).collect();
            assert_eq!(assign(&mut slots, &wanted), Shortage::default());
            assert_eq!(seated(&slots), expected, "{claim}");
        }
    }

    #[test]
    fn a_shortage_is_told_and_closed_slots_are_not_used() {
        let mut slots = slots(2);
        slots[1].open = false;
        let wanted: Vec<Wish> = ["1v", "2v", "3v", "1a"].into_iter().map(wish).collect();
        assert_eq!(assign(&mut slots, &wanted), Shortage { audio: 0, video: 2 });
        assert_eq!(seated(&slots), "- - 1a 1v");
    }
}
