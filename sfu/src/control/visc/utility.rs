//! Utility: what a picture at a tier is worth in a slot.
//!
//! In: the tier, the slot. Out: a number that is rounded to [`GRAIN`], so that sums and comparisons are the same on every
//! machine. Pure.
//!
//! **Quality** is the logarithm of the rate a tier is made for, 1 at [`RATE_FULL`], times what fewer pictures a second leave
//! of it. A tier larger than the slot is worth no more than the smallest that fills it. **Weight** is the role's, times the
//! one that the layout states, times the side of the slot: the side and not the area, because two pictures of half the
//! area are worth more than one.

use proto::units::Bitrate;

use super::problem::{Offer, Role, Slot};

/// Utilities are multiples of this.
const GRAIN: f64 = 1.0 / (1 << 20) as f64;

/// From here on the logarithm is steep no more: the rate of the smallest tier.
const RATE_KNEE: Bitrate = Bitrate::kbps(100);

/// The rate that is as good as any.
const RATE_FULL: Bitrate = Bitrate::mbps(3);

/// How fast quality falls with pictures left out: half of them leave 88 %, a quarter 65 %. The form is that of Ou, Ma and
/// Wang (IEEE TCSVT 21(3), 2011); the number is below theirs, because conversation is judged by its motion.
const MOTION: f64 = 4.0;

/// The slot whose size counts once.
const USUAL_AREA: f64 = 640.0 * 360.0;

/// How much the size of a slot may count.
const SIDE_MIN: f64 = 0.25;
const SIDE_MAX: f64 = 4.0;

/// A tier with this share of a slot's pixels fills it.
const FILLS: f64 = 0.9;

/// What a slot weighs; 0 if it is out of sight.
pub fn weight(slot: &Slot) -> f64 {
    if !slot.visible || slot.width == 0 || slot.height == 0 {
        return 0.0;
    }
    let role = match slot.role {
        Role::Screen => 8.0,
        Role::Speaker => 4.0,
        Role::Grid => 1.0,
        Role::Thumbnail => 0.5,
    };
    let side = (slot_area(slot) / USUAL_AREA).sqrt().clamp(SIDE_MIN, SIDE_MAX);
    rounded(role * f64::from(slot.weight.0) / 100.0 * side)
}

/// What a slot gets of each layer of each tier, before it is weighed: the tiers' layers one after another.
pub fn qualities(slot: &Slot, offers: &[Offer]) -> impl Iterator<Item = f64> {
    let fills = |offer: &Offer| offer.tier.area() as f64 >= FILLS * slot_area(slot);
    let cap = offers.iter().position(fills).unwrap_or(offers.len().saturating_sub(1));
    let fps_max = slot.fps_max.map_or(f64::INFINITY, f64::from);
    offers.iter().enumerate().flat_map(move |(place, offer)| {
        let quality = of_rate(offers[place.min(cap)].tier.rate);
        let fps = f64::from(offer.tier.fps);
        let useful = fps.min(fps_max);
        offer
            .layers
            .picture_shares()
            .iter()
            .map(move |share| quality * of_pictures((fps * share).min(useful) / fps))
    })
}

/// The quality of a picture at a rate, 0 to 1.
pub fn of_rate(rate: Bitrate) -> f64 {
    let log = |rate: Bitrate| (1.0 + rate.ratio(RATE_KNEE)).ln();
    rounded(log(rate.min(RATE_FULL)) / log(RATE_FULL))
}

/// What is left of it with this share of its pictures, 0 to 1.
pub fn of_pictures(share: f64) -> f64 {
    rounded((1.0 - (-MOTION * share).exp()) / (1.0 - (-MOTION).exp()))
}

/// To the grain: `ln` and `exp` differ in the last bits from machine to machine.
pub(super) fn rounded(utility: f64) -> f64 {
    (utility / GRAIN).round() * GRAIN
}

fn slot_area(slot: &Slot) -> f64 {
    f64::from(slot.width) * f64::from(slot.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::visc::ladder::Ladder;
    use crate::control::visc::problem::{SourceKey, TemporalLayers, Weight};

    fn slot(width: u32, height: u32, role: Role) -> Slot {
        Slot {
            source: SourceKey(0),
            width,
            height,
            role,
            weight: Weight::USUAL,
            fps_max: None,
            visible: true,
        }
    }

    fn offers(layers: TemporalLayers) -> Vec<Offer> {
        Ladder::default().tiers().iter().map(|tier| Offer::unmeasured(*tier, layers)).collect()
    }

    #[test]
    fn weights_are_by_role_side_and_word() {
        for (claim, slot, expected) in [
            ("one among equals", slot(640, 360, Role::Grid), 1.0),
            ("twice the side", slot(1_280, 720, Role::Grid), 2.0),
            ("a screen", slot(640, 360, Role::Screen), 8.0),
            ("a speaker in a corner", slot(160, 90, Role::Speaker), 1.0),
            ("no smaller than that", slot(16, 9, Role::Grid), 0.25),
            ("no larger than that", slot(7_680, 4_320, Role::Thumbnail), 2.0),
            ("half as important", Slot { weight: Weight(50), ..slot(640, 360, Role::Grid) }, 0.5),
            ("hidden", Slot { visible: false, ..slot(640, 360, Role::Screen) }, 0.0),
            ("of no size", slot(640, 0, Role::Screen), 0.0),
        ] {
            assert!((weight(&slot) - expected).abs() < 1e-5, "{claim}: {}", weight(&slot));
        }
    }

    #[test]
    fn quality_is_concave_and_ends_with_the_slot() {
        let slot = slot(640, 360, Role::Grid);
        let qualities: Vec<f64> = qualities(&slot, &offers(TemporalLayers::One)).collect();
        let fills = 4; // 640 × 360
        assert!(qualities[..=fills].is_sorted_by(|a, b| a < b), "{qualities:?}");
        assert!(
            qualities[fills..].iter().all(|quality| quality.to_bits() == qualities[fills].to_bits()),
            "{qualities:?}"
        );
        let rates: Vec<f64> =
            Ladder::default().tiers().iter().map(|tier| tier.rate.as_bps() as f64).collect();
        let slopes: Vec<f64> =
            (0..fills).map(|at| (qualities[at + 1] - qualities[at]) / (rates[at + 1] - rates[at])).collect();
        assert!(slopes.is_sorted_by(|a, b| a > b), "{slopes:?}");
    }

    #[test]
    fn fewer_pictures_are_worth_less_and_more_than_the_slot_wants_no_more() {
        let all: Vec<f64> = qualities(&slot(640, 360, Role::Grid), &offers(TemporalLayers::Three)).collect();
        let tier = &all[4 * 3..5 * 3]; // 640 × 360 at 30
        assert!(tier[0] < tier[1] && tier[1] < tier[2], "{tier:?}");
        assert!(tier[0] > 0.6 * tier[2] && tier[0] < 0.7 * tier[2], "{tier:?}");
        let slow = Slot { fps_max: Some(15), ..slot(640, 360, Role::Grid) };
        let slow: Vec<f64> = qualities(&slow, &offers(TemporalLayers::Three)).collect();
        assert_eq!(slow[13].to_bits(), slow[14].to_bits(), "30 a second where 15 are of use");
        assert_eq!(slow[12].to_bits(), tier[0].to_bits());
    }
}
