//! A problem as tables, for what it is measured by: the solver of integer programs and other algorithms.
//!
//! In: a [`Problem`]. Out: who is to be served, by the rule that the floor comes first, and what each point is worth. Done
//! here once more, beside the planner's own way, so that neither's mistakes hide the other's.

use std::collections::BTreeMap;

use sfu::control::visc::problem::{Problem, Slot, Source, SourceKey, Subscriber};
use sfu::control::visc::{Plan, utility};

/// Rounding is less than that: Mbit/s, megapixels a second, utility.
const EPSILON: f64 = 1e-6;

/// What a subscriber can be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) tier: usize,
    pub(super) layer: usize,
    /// Mbit/s.
    pub(super) rate: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
}

/// A picture that is published.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    pub(super) key: SourceKey,
    pub(super) publisher: usize,
    pub(super) streams: usize,
    /// Mbit/s by tier.
    pub(super) rates: Vec<f64>,
    pub(super) pixels: Vec<f64>,
    pub(super) points: Vec<Point>,
}

/// Who is to be served what.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) feed: usize,
    pub(super) viewer: usize,
    pub(super) slot: Slot,
    pub(super) weight: f64,
    /// By point.
    pub(super) worth: Vec<f64>,
}

/// What a path and a device carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Mbit/s.
    pub(super) rate: f64,
    /// Megapixels a second.
    pub(super) pixels: f64,
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub(super) publishers: Vec<Limits>,
    pub(super) feeds: Vec<Feed>,
    pub(super) viewers: Vec<Limits>,
    pub(super) pairs: Vec<Pair>,
}

impl Room {
    /// A problem's tables.
    pub(super) fn new(problem: &Problem) -> Self {
        let mut room =
            Self { publishers: Vec::new(), feeds: Vec::new(), viewers: Vec::new(), pairs: Vec::new() };
        for (place, publisher) in problem.publishers.iter().enumerate() {
            let pixels = megapixels(publisher.pixel_rate.0);
            room.publishers.push(Limits { rate: mbps(publisher.uplink.as_bps()), pixels });
            room.feeds.extend(publisher.sources.iter().map(|source| feed(place, source)));
        }
        let sent = room.sent(problem);
        for subscriber in &problem.subscribers {
            room.admit(problem, subscriber, &sent);
        }
        room
    }

    /// Which sources can be sent at all.
    fn sent(&self, problem: &Problem) -> Vec<bool> {
        let mut left = self.publishers.clone();
        let slots = || problem.subscribers.iter().flat_map(|subscriber| &subscriber.layout.slots);
        let can = |feed: &Feed| {
            let seen = slots().any(|slot| slot.source == feed.key && utility::weight(slot) > 0.0);
            let left = &mut left[feed.publisher];
            let can = seen
                && feed.streams > 0
                && feed.rates[0] <= left.rate + EPSILON
                && feed.pixels[0] <= left.pixels + EPSILON;
            if can {
                left.rate -= feed.rates[0];
                left.pixels -= feed.pixels[0];
            }
            can
        };
        self.feeds.iter().map(can).collect()
    }

    /// The weightiest slots first, as long as the smallest point of each fits.
    fn admit(&mut self, problem: &Problem, subscriber: &Subscriber, sent: &[bool]) {
        let decode = subscriber.decode;
        let limits =
            Limits { rate: mbps(subscriber.downlink.as_bps()), pixels: megapixels(decode.pixel_rate.0) };
        let mut slots: Vec<(&Slot, f64)> =
            subscriber.layout.slots.iter().map(|slot| (slot, utility::weight(slot))).collect();
        slots.retain(|(_, weight)| *weight > 0.0);
        slots.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut left, mut streams) = (limits, decode.streams);
        let viewer = self.viewers.len();
        let sources: BTreeMap<SourceKey, &Source> =
            problem.sources().map(|source| (source.key, source)).collect();
        for (slot, weight) in slots {
            let Some(place) = self.feeds.iter().position(|feed| feed.key == slot.source) else { continue };
            let floor = self.feeds[place].points[0];
            let fits = floor.rate <= left.rate + EPSILON && floor.pixels <= left.pixels + EPSILON;
            if !sent[place] || streams == 0 || !fits {
                continue;
            }
            left = Limits { rate: left.rate - floor.rate, pixels: left.pixels - floor.pixels };
            streams -= 1;
            let qualities = utility::qualities(slot, &sources[&slot.source].offers);
            let worth = qualities.map(|quality| quality * weight).collect();
            self.pairs.push(Pair { feed: place, viewer, slot: *slot, weight, worth });
        }
        self.viewers.push(limits);
    }

    /// What is given to each pair by a plan, by place among the source's points; an error if the plan breaks a limit.
    pub(super) fn check(&self, problem: &Problem, plan: &Plan) -> Result<Vec<Option<usize>>, String> {
        let sent = |source: SourceKey, tier: usize| {
            plan.demands.iter().filter(|demand| demand.source == source && demand.tier == tier).count()
        };
        let mut given = Vec::new();
        for pair in &self.pairs {
            let (feed, subscriber) = (&self.feeds[pair.feed], &problem.subscribers[pair.viewer]);
            let served = plan.served(subscriber.key, feed.key);
            let point = served.and_then(|served| {
                feed.points.iter().position(|point| point.tier == served.tier && point.layer == served.layer)
            });
            if let Some(served) = served.filter(|served| sent(feed.key, served.tier) != 1) {
                return Err(format!("{served:?} is not sent once"));
            }
            given.push(point);
        }
        if plan.served.len() > given.iter().flatten().count() {
            return Err("somebody is served who cannot be".to_owned());
        }
        self.check_publishers(plan)?;
        self.check_viewers(&given)?;
        Ok(given)
    }

    fn check_publishers(&self, plan: &Plan) -> Result<(), String> {
        let mut left = self.publishers.clone();
        for feed in &self.feeds {
            let own = plan.demands.iter().filter(|demand| demand.source == feed.key);
            let tiers: Vec<usize> = own.map(|demand| demand.tier).collect();
            if tiers.len() > feed.streams {
                return Err(format!("{:?} sends {tiers:?}", feed.key));
            }
            for tier in tiers {
                left[feed.publisher].rate -= feed.rates[tier];
                left[feed.publisher].pixels -= feed.pixels[tier];
            }
        }
        let over = left.iter().position(|left| left.rate < -EPSILON || left.pixels < -EPSILON);
        over.map_or(Ok(()), |publisher| Err(format!("publisher {publisher} sends too much")))
    }

    /// Whether what is given fits everybody.
    pub(super) fn check_viewers(&self, given: &[Option<usize>]) -> Result<(), String> {
        let mut left = self.viewers.clone();
        for (pair, point) in self.pairs.iter().zip(given) {
            if let Some(point) = point.map(|point| self.feeds[pair.feed].points[point]) {
                left[pair.viewer].rate -= point.rate;
                left[pair.viewer].pixels -= point.pixels;
            }
        }
        let over = left.iter().position(|left| left.rate < -EPSILON || left.pixels < -EPSILON);
        over.map_or(Ok(()), |viewer| Err(format!("viewer {viewer} gets too much")))
    }

    /// What is given is worth.
    pub(super) fn worth(&self, given: &[Option<usize>]) -> f64 {
        let worth = |(pair, point): (&Pair, &Option<usize>)| point.map_or(0.0, |point| pair.worth[point]);
        self.pairs.iter().zip(given).map(worth).sum()
    }

    /// The share of those to be served that are.
    pub(super) fn floor(&self, given: &[Option<usize>]) -> f64 {
        let served = given.iter().flatten().count() as f64;
        if given.is_empty() { 1.0 } else { served / self.pairs.len() as f64 } // nobody is missed where nobody is to be served
    }
}

fn feed(publisher: usize, source: &Source) -> Feed {
    let mut points = Vec::new();
    let rates: Vec<f64> = source.offers.iter().map(|offer| mbps(offer.rate.as_bps())).collect();
    let pixels: Vec<f64> = source.offers.iter().map(|offer| megapixels(offer.tier.pixel_rate().0)).collect();
    for (tier, offer) in source.offers.iter().enumerate() {
        let shares = offer.layers.rate_shares().iter().zip(offer.layers.picture_shares());
        points.extend(shares.enumerate().map(|(layer, (rate, pictures))| Point {
            tier,
            layer,
            rate: rates[tier] * rate,
            pixels: pixels[tier] * pictures,
        }));
    }
    Feed { key: source.key, publisher, streams: source.streams, rates, pixels, points }
}

fn mbps(bps: u64) -> f64 {
    bps as f64 / 1e6
}

fn megapixels(pixels: u64) -> f64 {
    if pixels == u64::MAX { f64::INFINITY } else { pixels as f64 / 1e6 }
}
