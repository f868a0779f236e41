//! A subscriber's share of what is sent, for the algorithms that ours is measured against.
//!
//! In: a [`Room`], which tiers of each source there are. Out: a point for each pair, or none. Dynamic programming over
//! [`CELL`]; where a device cannot decode all of it, the pictures with most pixels step down.

use super::room::Room;

/// Mbit/s; rates are rounded up to it.
const CELL: f64 = 0.01;

/// Cells at most: nobody is given more than 40 Mbit/s.
const CELLS_MAX: usize = 4_000;

/// Whoever plans is asked to serve everybody first: a picture at all is worth more than any gain elsewhere.
const FLOOR: f64 = 1e4;

/// Rates of whole cells stay so.
const EPSILON: f64 = 1e-6;

/// Fits everybody into the tiers that `sent` has by source, each as well as can be.
pub(super) fn fit(room: &Room, sent: &[Vec<bool>]) -> Vec<Option<usize>> {
    let mut given = vec![None; room.pairs.len()];
    for viewer in 0..room.viewers.len() {
        let own: Vec<usize> =
            (0..room.pairs.len()).filter(|pair| room.pairs[*pair].viewer == viewer).collect();
        fit_one(room, viewer, &own, (sent, &mut given));
    }
    given
}

fn fit_one(room: &Room, viewer: usize, own: &[usize], (sent, given): (&[Vec<bool>], &mut [Option<usize>])) {
    let limits = room.viewers[viewer];
    let cells = ((limits.rate / CELL + EPSILON).floor() as usize).min(CELLS_MAX);
    let mut best = vec![0.0; cells + 1];
    let mut table: Vec<Vec<Option<usize>>> = Vec::new();
    for pair in own {
        let of = &room.pairs[*pair];
        let (mut next, mut taken) = (best.clone(), vec![None; cells + 1]);
        for (place, point) in room.feeds[of.feed].points.iter().enumerate() {
            let cost = (point.rate / CELL - EPSILON).ceil() as usize;
            if !sent[of.feed][point.tier] || cost > cells {
                continue;
            }
            for cell in cost..=cells {
                let found = best[cell - cost] + FLOOR + of.worth[place];
                if found > next[cell] {
                    (next[cell], taken[cell]) = (found, Some(place));
                }
            }
        }
        best = next;
        table.push(taken);
    }
    let mut at = cells;
    for (pair, taken) in own.iter().zip(&table).rev() {
        given[*pair] = taken[at];
        if let Some(place) = taken[at] {
            at -= (room.feeds[room.pairs[*pair].feed].points[place].rate / CELL - EPSILON).ceil() as usize;
        }
    }
    step_down(room, own, limits.pixels, (sent, given));
}

/// Lowers the picture with most pixels until a device can decode all.
fn step_down(room: &Room, own: &[usize], limit: f64, (sent, given): (&[Vec<bool>], &mut [Option<usize>])) {
    let pixels = |pair: usize, point: Option<usize>| {
        point.map_or(0.0, |point| room.feeds[room.pairs[pair].feed].points[point].pixels)
    };
    loop {
        let total: f64 = own.iter().map(|pair| pixels(*pair, given[*pair])).sum();
        let most = own.iter().copied().filter(|pair| given[*pair].is_some());
        let most = most.max_by(|a, b| pixels(*a, given[*a]).total_cmp(&pixels(*b, given[*b])));
        let Some(pair) = most.filter(|_| total > limit + EPSILON) else { return };
        let feed = &room.feeds[room.pairs[pair].feed];
        let held = given[pair].map(|point| feed.points[point]);
        let is_less = |place: &usize| {
            let point = &feed.points[*place];
            let less = held.is_some_and(|held| point.pixels < held.pixels && point.rate <= held.rate);
            less && sent[room.pairs[pair].feed][point.tier]
        };
        given[pair] = (0..feed.points.len())
            .filter(is_less)
            .max_by(|a, b| feed.points[*a].pixels.total_cmp(&feed.points[*b].pixels));
    }
}
