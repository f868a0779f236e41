//! Flight: what has left the server and not yet arrived. It fills no buffer.
//!
//! In: departures, in order. Out: `poll`, in order of arrival. Chance: one draw for each parcel where there is jitter.
//!
//! Jitter is RFC 8868's NR-BPDV: each parcel's delay gets an offset `z` from a normal distribution cut off at
//! `sigmas_max` deviations on both sides (beyond it, it is the bound), and `j(n) = max(j(n), j(n-1) + serialization)`:
//! a parcel arrives no earlier than the one before it and its own serialization, so nothing is reordered. The offset
//! is centered: it is added to the planned delay, or to the greatest offset where that is more, so that the mean of
//! `delay + z` is the plan's whenever the delay leaves room, and no parcel arrives before it departed. With the RFC's
//! 5 ms and three deviations, delays range over 30 ms, which is what RFC 8867 §4.2 asks for. (§4.5.3 of RFC 8868 prints
//! bars around `z`, as if it were an absolute value; §4.5.1 defines it as a sample of mean zero, and so it is here.) That parcels never overtake holds across changes of the plan
//! too: a shorter delay lets those that are behind catch up, not pass.

use std::collections::VecDeque;
use std::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;

use super::plan::{Jitter, LinkPlan};
use super::{Passed, draw};

/// What leaves a server.
#[derive(Debug)]
pub(super) struct Departure<P> {
    pub(super) parcel: P,
    /// When the last bit left.
    pub(super) at: Instant,
    /// How long it had waited by then, its serialization not counted.
    pub(super) queued: Duration,
    /// How long its own bits took to leave.
    pub(super) serialization: Duration,
    /// What the air adds (retransmissions below IP) before propagation.
    pub(super) held_back: Duration,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Flight<P> {
    delay: Duration,
    jitter: Option<Jitter>,
    chance: Chance,
    /// When the latest one to arrive of all so far arrives.
    latest: Instant,
    flying: VecDeque<Passed<P>>,
}

impl<P> Flight<P> {
    pub(super) fn new(plan: &LinkPlan, seed: &Seed) -> Self {
        Self {
            delay: plan.delay,
            jitter: plan.jitter,
            chance: seed.fork("jitter").generator(),
            latest: Instant::ZERO,
            flying: VecDeque::new(),
        }
    }

    /// What departs from now on flies by another plan.
    pub(super) fn replan(&mut self, plan: &LinkPlan) {
        (self.delay, self.jitter) = (plan.delay, plan.jitter);
    }

    /// Takes what left the server.
    pub(super) fn handle_departure(&mut self, departure: Departure<P>) {
        let Departure { parcel, at, queued, serialization, held_back } = departure;
        let at = at + held_back + self.draw_delay();
        if self.jitter.is_some_and(|jitter| jitter.reorder) {
            let place = self.flying.partition_point(|other| other.at <= at);
            self.latest = self.latest.max(at);
            self.flying.insert(place, Passed { parcel, queued, at });
        } else {
            let at = at.max(self.latest + serialization);
            self.latest = at;
            self.flying.push_back(Passed { parcel, queued, at });
        }
    }

    /// The next parcel that has arrived by `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Passed<P>> {
        if self.flying.front()?.at > now {
            return None;
        }
        self.flying.pop_front()
    }

    /// When the next one arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.flying.front().map(|passed| passed.at)
    }

    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }

    fn draw_delay(&mut self) -> Duration {
        let Some(jitter) = self.jitter else { return self.delay };
        let sigma = jitter.sigma.as_nanos() as f64;
        let bound = sigma * jitter.sigmas_max.max(0.0);
        let offset = (draw::normal(&mut self.chance) * sigma).clamp(-bound, bound);
        let center = (self.delay.as_nanos() as f64).max(bound);
        Duration::from_nanos((center + offset).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PARCELS: u64 = 20_000;

    /// The delays in milliseconds of parcels that leave one each `gap`, in the order of arrival, with their numbers.
    fn delays(delay: Duration, gap: Duration, reorder: bool) -> Vec<(u64, f64)> {
        let jitter = Some(Jitter { sigma: 5 * MS, sigmas_max: 3.0, reorder });
        let plan = LinkPlan { delay, jitter, ..LinkPlan::default() };
        let mut flight = Flight::new(&plan, &Seed::from_number(1));
        let left = |number: u64| Instant::ZERO + gap * number as u32;
        for number in 0..PARCELS {
            let (at, queued) = (left(number), Duration::ZERO);
            let (serialization, held_back) = (MS / 10, Duration::ZERO);
            flight.handle_departure(Departure { parcel: number, at, queued, serialization, held_back });
        }
        let end = Instant::from_millis(100_000_000);
        std::iter::from_fn(|| flight.poll(end))
            .map(|passed| (passed.parcel, passed.at.since(left(passed.parcel)).as_secs_f64() * 1e3))
            .collect()
    }

    #[test]
    fn offsets_are_centered_on_the_delay_and_range_over_six_deviations() {
        // Parcels 100 ms apart never meet, so that the offsets show as they were drawn.
        for (delay, center) in [(50 * MS, 50.0), (15 * MS, 15.0), (5 * MS, 15.0), (Duration::ZERO, 15.0)] {
            let delays: Vec<f64> =
                delays(delay, 100 * MS, false).into_iter().map(|(_, delay)| delay).collect();
            let mean = delays.iter().sum::<f64>() / delays.len() as f64;
            let (least, most) = delays.iter().fold((f64::MAX, 0.0_f64), |(a, b), d| (a.min(*d), b.max(*d)));
            assert!((mean - center).abs() < 0.1, "{delay:?}: mean {mean}");
            assert!(least >= center - 15.0 && least < center - 14.0, "{delay:?}: least {least}");
            assert!(most <= center + 15.0 && most > center + 14.0, "{delay:?}: most {most}");
        }
    }

    #[test]
    fn parcels_overtake_each_other_only_where_they_may() {
        for (reorder, gap) in [(false, MS), (true, MS), (false, MS / 20), (true, MS / 20)] {
            let arrived = delays(50 * MS, gap, reorder);
            let in_order = arrived.is_sorted_by_key(|(number, _)| *number);
            assert_eq!(in_order, !reorder, "gap {gap:?}");
            assert!(arrived.iter().all(|(_, delay)| *delay >= 35.0));
            assert_eq!(arrived.len() as u64, PARCELS);
        }
    }

    #[test]
    fn without_reordering_arrivals_are_a_serialization_apart() {
        let arrived = delays(50 * MS, MS / 10, false);
        let times = arrived.iter().map(|(number, delay)| *number as f64 / 10.0 + delay);
        let apart = times.clone().zip(times.skip(1)).map(|(a, b)| b - a).fold(f64::MAX, f64::min);
        assert!((apart - 0.1).abs() < 1e-6, "{apart}");
        let most = arrived.iter().map(|(_, delay)| *delay).fold(0.0, f64::max);
        assert!(most <= 65.0, "pushed back beyond the bound: {most}");
    }

    #[test]
    fn a_shorter_delay_lets_parcels_catch_up_but_not_pass() {
        let mut plan = LinkPlan { delay: 100 * MS, ..LinkPlan::default() };
        let mut flight = Flight::new(&plan, &Seed::from_number(1));
        let departure = |parcel, ms| Departure {
            parcel,
            at: Instant::from_millis(ms),
            queued: Duration::ZERO,
            serialization: MS,
            held_back: Duration::ZERO,
        };
        flight.handle_departure(departure(0, 0));
        plan.delay = 10 * MS;
        flight.replan(&plan);
        flight.handle_departure(departure(1, 5));
        flight.handle_departure(departure(2, 200));
        let end = Instant::from_millis(1_000);
        let arrived: Vec<_> =
            std::iter::from_fn(|| flight.poll(end)).map(|p| p.at.as_nanos() / 1_000_000).collect();
        assert_eq!(arrived, [100, 101, 210]);
    }
}
