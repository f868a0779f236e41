//! The goals themselves: what must be reached, what is aimed at, and the best that others were measured to do.
//!
//! Bounds hold for the mean over seeds. Shares are 0 to 1, times in the unit that the metric's name ends with.
//! `anchor` is the mean of the best controller of others on the first bound's metric, measured outside this project
//! under the same conditions (`GoogCC` and `ScreamV2` of libwebrtc's head, `NADA`; three seeds). Where the one with the
//! greatest utilization pays for it with losses or fairness that the bounds rule out by far, it is the best of those
//! that do not: on a queue of 10 ms a `GoogCC` that fills .98 of the link and loses 3.6 % of the packets has no claim.

use proto::scene::Scene;

use super::{Bound, Goal};
use crate::sweep::Better::{self, Higher, Lower};

const fn bound(metric: &'static str, better: Better, must: f64, aim: Option<f64>) -> Bound {
    Bound { metric, better, must, aim }
}

const fn least(metric: &'static str, must: f64) -> Bound {
    bound(metric, Higher, must, None)
}

const fn most(metric: &'static str, must: f64) -> Bound {
    bound(metric, Lower, must, None)
}

const fn util(must: f64, aim: f64) -> Bound {
    bound("util", Higher, must, Some(aim))
}

const fn loss(must: f64) -> Bound {
    most("loss", must)
}

const fn q95(must: f64) -> Bound {
    most("q95_ms", must)
}

const fn goal(scenario: &'static str, anchor: f64, bounds: &'static [Bound]) -> Goal {
    Goal { scenario, scene: Scene::Pk, trace: None, anchor: Some(anchor), ahead: &[], bounds }
}

/// Ahead of whoever was played in the same run, on each of these metrics.
const fn ahead(scenario: &'static str, ahead: &'static [&'static str]) -> Goal {
    Goal { scenario, scene: Scene::Pk, trace: None, anchor: None, ahead, bounds: &[] }
}

const fn recorded(trace: &'static str, anchor: f64, bounds: &'static [Bound]) -> Goal {
    Goal { trace: Some(trace), ..goal("trace", anchor, bounds) }
}

const FAIR: &[&str] = &["util", "jain"];
const BESIDE_TCP: &[&str] = &["util", "jain", "tcp_share"];

/// All goals but those of `tiers-` scenarios ([`TIERS`]), in the order of tables.
pub(super) const GOALS: &[Goal] = &[
    goal("fixed-4m", 0.93, &[util(0.96, 0.97), bound("q95_ms", Lower, 20.0, Some(15.0))]),
    Goal { scene: Scene::Game, ..goal("fixed-4m", 0.93, &[least("util", 0.94), q95(12.0)]) },
    goal("jitter-20", 0.84, &[util(0.93, 0.96), q95(50.0)]),
    goal("stalls-80", 0.65, &[util(0.96, 0.97), q95(50.0)]),
    goal("rfc8867-5.1", 0.86, &[util(0.94, 0.96), q95(35.0), loss(0.0015)]),
    goal("rfc8867-5.1-owd100", 0.84, &[util(0.93, 0.96), q95(35.0), loss(0.0015)]),
    goal("rfc8867-5.2", 0.92, &[least("util", 0.95), bound("jain", Higher, 0.98, Some(0.99))]),
    ahead("rfc8867-5.3", FAIR),
    goal("rfc8867-5.4", 0.93, &[least("util", 0.95), bound("jain", Higher, 0.98, Some(0.99))]),
    goal("rfc8867-5.5", 0.94, &[least("util", 0.96), bound("jain", Higher, 0.97, Some(0.99))]),
    goal("rfc8867-5.6", 0.24, TCP),
    goal("rfc8867-5.6-1s", 0.24, TCP),
    ahead("rfc8867-5.7", BESIDE_TCP),
    ahead("rfc8867-5.8", FAIR),
    ahead("rfc8867-6.1", FAIR),
    ahead("rfc8867-6.3", FAIR),
    goal("shallow-10", 0.56, SHALLOW),
    goal("shallow-20", 0.56, SHALLOW),
    goal("shallow-40", 0.93, SHALLOW),
    goal("shallow-1m-30", 0.68, &[least("util", 0.95), loss(0.003)]),
    goal("policer-3m", 0.78, &[util(0.95, 0.97), bound("loss", Lower, 0.003, Some(0.001))]),
    goal("random-1", 0.87, &[util(0.94, 0.97), q95(30.0)]),
    goal("random-2", 0.86, &[util(0.92, 0.95), q95(30.0)]),
    goal("random-5", 0.79, &[util(0.88, 0.92), q95(30.0)]),
    goal("random-10", 0.37, &[util(0.80, 0.86), q95(30.0)]),
    goal("gilbert-elliott", 0.83, &[util(0.92, 0.95)]),
    goal("rtt-300", 0.93, &[util(0.95, 0.96), q95(40.0), most("converge_s", 3.0)]),
    goal(
        "step-4-1-4",
        0.76,
        &[util(0.92, 0.94), loss(0.003), most("recover_s", 2.5), most("frame_p95_ms", 75.0)],
    ),
    goal("feedback-loss-30", 0.76, &[util(0.93, 0.95)]),
    goal("app-limited", 0.90, &[util(0.97, 0.98), most("recover_s", 1.5), most("padding_share", 0.01)]),
    goal("cbr-on-off", 0.58, &[util(0.75, 0.80), bound("q95_ms", Lower, 150.0, Some(120.0)), loss(0.001)]),
    recorded("Verizon", 0.37, &[util(0.55, 0.65), q95(150.0)]),
    recorded("TMobile", 0.23, &[least("util", 0.35), q95(140.0)]),
    recorded("ATT", 0.27, &[least("util", 0.40), q95(260.0)]),
    goal("startup-jitter", 4.1, &[bound("converge_s", Lower, 1.8, Some(1.3)), most("stall_s_per_min", 0.0)]),
];

/// Beside CUBIC: neither starved nor starving it.
const TCP: &[Bound] = &[
    bound("own_share", Higher, 0.35, Some(0.40)),
    most("own_share", 0.55),
    least("tcp_share", 0.40),
    most("after_tcp_s", 3.0),
];

const SHALLOW: &[Bound] =
    &[util(0.95, 0.97), bound("loss", Lower, 0.001, Some(0.0002)), most("frames_hit", 0.01)];

/// Of every `tiers-` scenario: where the capacity is constant layers must not change often, and a viewer who has what
/// is wanted costs no padding.
pub(super) const TIERS: &[Bound] = &[
    least("right_tier_share", 0.95),
    most("switches_per_min", 2.0),
    most("own_freeze_s_per_min", 0.0),
    most("padding_satisfied_share", 0.0),
];

/// Over all rows together.
pub(super) const PADDING: Bound = bound("padding_share", Lower, 0.005, Some(0.002));
