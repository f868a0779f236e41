//! Knapsack, merge, reduction: what is known of GSO-Simulcast (SIGCOMM 2022) from others' notes; hence `kmr-style`.
//!
//! In: a [`Room`]. Out: who gets what. Every subscriber's knapsack is solved as if publishers could send everything; what is
//! asked of a publisher in one band of sizes is merged to the smallest of it; where that is still more than it can send, the largest
//! tier is taken from what it may send, and all begins again. Ends, because each turn takes a tier.

use super::knapsack;
use super::room::Room;

/// Tiers of one band of sizes are merged: the four bands of the default ladder, from the smallest tier.
const BANDS: [usize; 10] = [0, 1, 1, 2, 2, 2, 3, 3, 3, 3];

/// By pair: the point it gets; by source: which tiers are sent.
pub(super) struct Solution {
    pub(super) given: Vec<Option<usize>>,
    /// Mbit/s that all publishers send.
    pub(super) uplink: f64,
}

/// Solves.
pub(super) fn solve(room: &Room) -> Solution {
    let mut feasible: Vec<Vec<bool>> = room.feeds.iter().map(|feed| vec![true; feed.rates.len()]).collect();
    loop {
        let given = knapsack::fit(room, &feasible);
        let sent = merge(&asked(room, &given));
        if !reduce(room, &sent, &mut feasible) {
            let given = knapsack::fit(room, &sent);
            let uplink = sum(room, &asked(room, &given));
            return Solution { given, uplink };
        }
    }
}

/// Which tiers somebody was given.
fn asked(room: &Room, given: &[Option<usize>]) -> Vec<Vec<bool>> {
    let mut asked: Vec<Vec<bool>> = room.feeds.iter().map(|feed| vec![false; feed.rates.len()]).collect();
    for (pair, point) in room.pairs.iter().zip(given) {
        if let Some(point) = point {
            asked[pair.feed][room.feeds[pair.feed].points[*point].tier] = true;
        }
    }
    asked
}

/// Of each band the smallest that is asked for.
fn merge(asked: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let band = |tier: usize| BANDS[tier.min(BANDS.len() - 1)];
    let merged = |asked: &Vec<bool>| {
        let first = |tier: usize| !(0..tier).any(|other| asked[other] && band(other) == band(tier));
        (0..asked.len()).map(|tier| asked[tier] && first(tier)).collect()
    };
    asked.iter().map(merged).collect()
}

/// Takes the largest tier from each publisher that would send too much; whether there was one.
fn reduce(room: &Room, sent: &[Vec<bool>], feasible: &mut [Vec<bool>]) -> bool {
    let mut reduced = false;
    for (publisher, limits) in room.publishers.iter().enumerate() {
        let own: Vec<usize> =
            (0..room.feeds.len()).filter(|feed| room.feeds[*feed].publisher == publisher).collect();
        let total = |of: fn(&super::room::Feed) -> &Vec<f64>| -> f64 {
            own.iter().map(|feed| taken(of(&room.feeds[*feed]), &sent[*feed])).sum()
        };
        let over = total(|feed| &feed.rates) > limits.rate + 1e-6
            || total(|feed| &feed.pixels) > limits.pixels + 1e-6;
        for feed in own {
            let streams = sent[feed].iter().filter(|sent| **sent).count();
            if let Some(top) = sent[feed]
                .iter()
                .rposition(|sent| *sent)
                .filter(|_| over || streams > room.feeds[feed].streams)
            {
                feasible[feed][top] = false;
                reduced = true;
            }
        }
    }
    reduced
}

fn taken(amounts: &[f64], sent: &[bool]) -> f64 {
    amounts.iter().zip(sent).filter(|(_, sent)| **sent).map(|(amount, _)| amount).sum()
}

fn sum(room: &Room, sent: &[Vec<bool>]) -> f64 {
    room.feeds.iter().zip(sent).map(|(feed, sent)| taken(&feed.rates, sent)).sum()
}
