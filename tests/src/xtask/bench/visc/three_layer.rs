//! Three layers with a greedy allocation and dynacast: what LiveKit's server does (`pkg/sfu/streamallocator`).
//!
//! In: a [`Room`]. Out: who gets what. A publisher sends 320 × 180, 640 × 360 and 1280 × 720 of the ladder, as libwebrtc shares
//! rates out: the smaller first, the last with what is left if that is half of its rate. A subscriber's pictures climb layer by layer,
//! the weightiest first, none beyond its view. Layers above the
//! greatest that anybody's view asks for are paused, whether or not its path carries them; those below are sent.

use sfu::control::visc::problem::{Offer, Problem};
use sfu::control::visc::utility;

use super::room::Room;

/// The layers, by their pixels.
const LAYERS: [u64; 3] = [320 * 180, 640 * 360, 1_280 * 720];

/// A layer with less than this share of its rate is not sent.
const LEAST: f64 = 0.5;

const EPSILON: f64 = 1e-6;

/// What it comes to.
pub(super) struct Solution {
    pub(super) utility: f64,
    /// The share of those to be served that are.
    pub(super) floor: f64,
    /// Mbit/s that all publishers send.
    pub(super) uplink: f64,
}

/// A step of a picture.
#[derive(Clone, Copy)]
struct Step {
    layer: usize,
    rate: f64,
    pixels: f64,
    worth: f64,
}

/// Solves.
pub(super) fn solve(problem: &Problem, room: &Room) -> Solution {
    let layers: Vec<Vec<Offer>> = problem
        .sources()
        .zip(&room.feeds)
        .map(|(source, feed)| layers(&source.offers, room.publishers[feed.publisher].rate))
        .collect();
    let mut steps: Vec<Vec<Step>> = Vec::new();
    for pair in &room.pairs {
        steps.push(climb(pair, &layers[pair.feed]));
    }
    let mut held: Vec<Option<usize>> = vec![None; room.pairs.len()];
    for (viewer, limits) in room.viewers.iter().enumerate() {
        let mut own: Vec<usize> =
            (0..room.pairs.len()).filter(|pair| room.pairs[*pair].viewer == viewer).collect();
        own.sort_by(|a, b| room.pairs[*b].weight.total_cmp(&room.pairs[*a].weight));
        let (mut rate, mut pixels) = (limits.rate, limits.pixels);
        let most = own.iter().map(|pair| steps[*pair].len()).max().unwrap_or(0);
        for (step, pair) in (0..most).flat_map(|step| own.iter().map(move |pair| (step, *pair))) {
            let Some(next) = steps[pair].get(step) else { continue };
            let now = held[pair].map(|at| steps[pair][at]);
            let (more, area) =
                now.map_or((next.rate, next.pixels), |now| (next.rate - now.rate, next.pixels - now.pixels));
            if more <= rate + EPSILON && area <= pixels + EPSILON {
                (rate, pixels) = (rate - more, pixels - area);
                held[pair] = Some(step);
            }
        }
    }
    let taken = |pair: usize| held[pair].map(|at| steps[pair][at]);
    let mut uplink = 0.0;
    for (feed, layers) in layers.iter().enumerate() {
        let own = (0..room.pairs.len()).filter(|pair| room.pairs[*pair].feed == feed);
        let asked = own.filter_map(|pair| steps[pair].last()).map(|step| step.layer + 1);
        let sent = asked.max().unwrap_or(0);
        uplink += layers[..sent].iter().map(|layer| layer.rate.as_bps() as f64 / 1e6).sum::<f64>();
    }
    let served: Vec<Step> = (0..room.pairs.len()).filter_map(taken).collect();
    Solution {
        utility: served.iter().map(|step| step.worth).sum(),
        floor: served.len() as f64 / (room.pairs.len() as f64).max(1.0),
        uplink,
    }
}

/// The layers that an uplink carries, in Mbit/s.
fn layers(offers: &[Offer], uplink: f64) -> Vec<Offer> {
    let mut left = proto::units::Bitrate::bps((uplink * 1e6).round() as u64);
    let mut layers: Vec<Offer> = Vec::new();
    for area in LAYERS {
        let nearest = offers.iter().min_by_key(|offer| offer.tier.area().abs_diff(area));
        let Some(mut offer) = nearest.copied() else { break };
        if layers.last().is_some_and(|last| last.tier.area() >= offer.tier.area()) {
            continue; // a ladder with fewer sizes
        }
        let rate = offer.rate.min(left);
        if rate < offer.rate.scaled(LEAST) {
            break;
        }
        left -= rate;
        (offer.rate, offer.tier.rate) = (rate, rate);
        layers.push(offer);
    }
    layers
}

/// The steps of a pair: each layer up to the one that fills its view, each of its temporal layers.
fn climb(pair: &super::room::Pair, layers: &[Offer]) -> Vec<Step> {
    let most = pair.worth.iter().copied().fold(0.0, f64::max); // what fills the view in the ladder
    let mut worths = utility::qualities(&pair.slot, layers);
    let mut steps: Vec<Step> = Vec::new();
    let fills = |offer: &Offer| {
        offer.tier.area() >= u64::from(pair.slot.width) * u64::from(pair.slot.height) * 9 / 10
    };
    let last = layers.iter().position(fills).unwrap_or(layers.len());
    for (layer, offer) in layers.iter().enumerate() {
        for (rate, pictures) in offer.layers.rate_shares().iter().zip(offer.layers.picture_shares()) {
            let worth = (worths.next().unwrap_or(0.0) * pair.weight).min(most);
            if layer <= last {
                steps.push(Step {
                    layer,
                    rate: offer.rate.as_bps() as f64 / 1e6 * rate,
                    pixels: offer.tier.pixel_rate().0 as f64 / 1e6 * pictures,
                    worth,
                });
            }
        }
    }
    steps
}
