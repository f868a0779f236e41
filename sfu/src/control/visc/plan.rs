//! The plan: what every source is to send, and which point of it every subscriber is to get.
//!
//! In: a [`Problem`], when anything in it has changed, debounced by the caller. Out: a [`Plan`] with its certificate. Time:
//! `now`, monotonic; no timer. Limit: the problem's; buffers are kept from plan to plan.
//!
//! **Hysteresis.** Estimates are steadied first ([`super::steady`]). A subscriber that gets another tier, and a source that
//! has to start one, cost utility ([`Rules`]): a plan changes where that is worth it, and where what is held fits no more.

use proto::time::Instant;
use proto::units::Bitrate;

use super::certify::Certifier;
use super::fit::Price;
use super::instance::Instance;
use super::problem::{Problem, ProblemError, SourceKey, SubscriberKey};
use super::solve::{Outcome, Solver};
use super::steady::Paths;
use super::subsets::TierSet;

/// What things cost, against what pictures are worth: a picture of usual size and weight at full quality is worth 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Utility that each Mbit/s of all uplinks must bring.
    pub uplink_price: f64,
    /// Utility that another tier must bring a subscriber, as a share of the slot's weight: it takes a key frame.
    pub switch: f64,
    /// Utility that a tier that is not sent yet must bring, as a share of the weights of all who see the source: browsers
    /// start all tiers with key frames.
    pub start: f64,
}

impl Rules {
    /// Of two plans that are worth the same the one that sends less, and nothing held.
    pub const BEST: Self = Self { uplink_price: 1e-4, switch: 0.0, start: 0.0 };
}

impl Default for Rules {
    fn default() -> Self {
        Self { uplink_price: 0.01, switch: 0.01, start: 0.02 }
    }
}

/// A tier that a source is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Which source.
    pub source: SourceKey,
    /// Which of its offers, by place.
    pub tier: usize,
    /// What it takes.
    pub rate: Bitrate,
}

/// What a subscriber is to get of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Who.
    pub subscriber: SubscriberKey,
    /// Which source.
    pub source: SourceKey,
    /// Which of its offers, by place.
    pub tier: usize,
    /// Up to which of its temporal layers.
    pub layer: usize,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What is to be sent, by source and tier; what is not here is not to be sent.
    pub demands: Vec<Demand>,
    /// Who gets what, by subscriber and source; who is not here goes without.
    pub served: Vec<Served>,
    /// What all pictures are worth to those who see them.
    pub utility: f64,
    /// Of what the best plan could be worth, less its costs, at most this share is missing: 0 to 1.
    pub gap: f64,
}

impl Plan {
    /// What a subscriber is to get of a source; `None` if it goes without.
    pub fn served(&self, subscriber: SubscriberKey, source: SourceKey) -> Option<&Served> {
        let found =
            self.served.binary_search_by_key(&(subscriber, source), |one| (one.subscriber, one.source));
        found.ok().map(|at| &self.served[at])
    }

    /// What all uplinks carry.
    pub fn uplink(&self) -> Bitrate {
        self.demands.iter().map(|demand| demand.rate).sum()
    }
}

/// What was planned before.
#[derive(Debug, Default)]
pub(super) struct Held {
    sets: Vec<(SourceKey, TierSet)>,
    tiers: Vec<((SubscriberKey, SourceKey), usize)>,
    prices: Vec<(SubscriberKey, Price)>,
}

impl Held {
    /// What a source was asked to send.
    pub(super) fn tiers(&self, source: SourceKey) -> TierSet {
        self.sets.binary_search_by_key(&source, |(key, _)| *key).map_or(TierSet::NONE, |at| self.sets[at].1)
    }

    /// The tier that a subscriber was given.
    pub(super) fn tier(&self, subscriber: SubscriberKey, source: SourceKey) -> Option<usize> {
        let found = self.tiers.binary_search_by_key(&(subscriber, source), |(key, _)| *key);
        found.ok().map(|at| self.tiers[at].1)
    }

    fn price(&self, subscriber: SubscriberKey) -> Option<Price> {
        self.prices.binary_search_by_key(&subscriber, |(key, _)| *key).ok().map(|at| self.prices[at].1)
    }
}

/// What paths are taken to carry, in the problem's order.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    pub(super) uplinks: Vec<Bitrate>,
    pub(super) downlinks: Vec<Bitrate>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Planner {
    rules: Rules,
    uplinks: Paths,
    downlinks: Paths,
    budgets: Budgets,
    held: Held,
    room: Instance,
    solver: Solver,
    certifier: Certifier,
    outcome: Outcome,
    plan: Plan,
}

impl Planner {
    /// A planner that has planned nothing.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            uplinks: Paths::default(),
            downlinks: Paths::default(),
            budgets: Budgets::default(),
            held: Held::default(),
            room: Instance::default(),
            solver: Solver::default(),
            certifier: Certifier::default(),
            outcome: Outcome { worth: 0.0, bound: 0.0 },
            plan: Plan::default(),
        }
    }

    /// Plans anew; the last plan stays if the problem is none.
    pub fn plan(&mut self, now: Instant, problem: &Problem) -> Result<&Plan, ProblemError> {
        problem.check()?;
        let uplinks = problem.publishers.iter().map(|publisher| (publisher.key.0, publisher.uplink));
        self.uplinks.handle_estimates(now, uplinks, &mut self.budgets.uplinks);
        let downlinks = problem.subscribers.iter().map(|subscriber| (subscriber.key.0, subscriber.downlink));
        self.downlinks.handle_estimates(now, downlinks, &mut self.budgets.downlinks);
        self.room.fill(problem, &self.budgets, &self.held, &self.rules);
        let warm = self.warm_up(problem);
        let outcome = self.solver.solve(&self.room, warm);
        self.write_plan(problem, outcome);
        self.hold(problem);
        Ok(&self.plan)
    }

    /// Tightens the last plan's [`Plan::gap`]; takes longer than planning, for when nothing is urgent.
    ///
    /// More `rounds` give a tighter bound: some fifty are of use.
    pub fn certify(&mut self, rounds: usize) -> &Plan {
        let Outcome { worth, bound } = self.outcome;
        if bound > worth {
            let tighter = self.certifier.bound(&self.room, &self.solver.prices, worth, rounds);
            self.outcome.bound = bound.min(tighter);
            self.plan.gap = self.outcome.gap();
        }
        &self.plan
    }

    /// The last plan.
    pub fn last(&self) -> &Plan {
        &self.plan
    }

    /// Takes prices from the last plan; whether all were there.
    fn warm_up(&mut self, problem: &Problem) -> bool {
        self.solver.prices.clear();
        let known = problem.subscribers.iter().filter_map(|subscriber| self.held.price(subscriber.key));
        self.solver.prices.extend(known);
        self.solver.prices.len() == problem.subscribers.len()
    }

    fn write_plan(&mut self, problem: &Problem, outcome: Outcome) {
        let (room, plan) = (&self.room, &mut self.plan);
        plan.demands.clear();
        for (feed, set) in room.feeds.iter().zip(&self.solver.sets) {
            let demand = |tier: usize| {
                let rate = Bitrate::bps((feed.rates[tier] * 1e6).round() as u64);
                Demand { source: feed.key, tier, rate }
            };
            plan.demands.extend(set.iter().map(demand));
        }
        plan.demands.sort_unstable_by_key(|demand| (demand.source, demand.tier));
        plan.served.clear();
        plan.utility = 0.0;
        for (place, chosen) in room.by_viewer.iter().zip(&self.solver.points) {
            let pair = &room.pairs[*place];
            let point = &room.points_of(pair.source)[*chosen];
            plan.utility += room.plain_worth(pair, *chosen);
            let subscriber = problem.subscribers[pair.viewer].key;
            let source = room.feeds[pair.source].key;
            plan.served.push(Served { subscriber, source, tier: point.tier, layer: point.layer });
        }
        plan.served.sort_unstable_by_key(|one| (one.subscriber, one.source));
        plan.gap = outcome.gap();
        self.outcome = outcome;
    }

    fn hold(&mut self, problem: &Problem) {
        let Held { sets, tiers, prices } = &mut self.held;
        sets.clear();
        sets.extend(self.room.feeds.iter().zip(&self.solver.sets).map(|(feed, set)| (feed.key, *set)));
        sets.sort_unstable_by_key(|(key, _)| *key);
        tiers.clear();
        tiers.extend(self.plan.served.iter().map(|one| ((one.subscriber, one.source), one.tier)));
        prices.clear();
        prices.extend(
            problem
                .subscribers
                .iter()
                .map(|subscriber| subscriber.key)
                .zip(self.solver.prices.iter().copied()),
        );
        prices.sort_unstable_by_key(|(key, _)| *key);
    }
}
