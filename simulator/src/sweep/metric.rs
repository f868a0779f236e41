//! What rows hold: each metric's name, unit and direction, and how the runs of several seeds become one number.
//!
//! Two numbers stand for all seeds: the mean, and the worst (the least of what should be high, the greatest of what
//! should be low). A run in which a metric has no meaning counts in neither; without any the row says null.

use crate::metrics::Metrics;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The more, the better: the worst is the least.
    Higher,
    /// The less, the better: the worst is the greatest.
    Lower,
}

/// How a metric's value is written for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A share or an index, 0 to 1.
    Share,
    /// A share that is small when all is well: in percent.
    Percent,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Seconds a minute.
    SecondsPerMinute,
    /// How many times as much.
    Times,
    /// How often a minute.
    PerMinute,
    /// Nanoseconds.
    Nanos,
}

/// A metric as rows, tables and plots show it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its field's name, in [`Metrics`] and in rows.
    pub name: &'static str,
    /// Its heading in tables, short, without the unit.
    pub heading: &'static str,
    /// What it is, in some words.
    pub about: &'static str,
    /// Which way is good.
    pub better: Better,
    /// Whether the best in a column deserves a mark; a fair share, for one, does not get better without end.
    pub ranked: bool,
    unit: Unit,
    of: fn(&Metrics) -> Option<f64>,
}

impl Metric {
    /// Its value in a run; what is not finite has no meaning.
    pub fn of(&self, metrics: &Metrics) -> Option<f64> {
        (self.of)(metrics).filter(|value| value.is_finite())
    }

    /// The mean and the worst over runs.
    pub fn summary<'a>(&self, runs: impl IntoIterator<Item = &'a Metrics>) -> Summary {
        let values: Vec<f64> = runs.into_iter().filter_map(|metrics| self.of(metrics)).collect();
        if values.is_empty() {
            return Summary::default();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Summary { mean: Some(mean), worst: values.into_iter().reduce(|a, b| self.worse(a, b)) }
    }

    /// Whether one value is worse than another, equal ones not.
    pub fn is_worse(&self, a: f64, b: f64) -> bool {
        match self.better {
            Better::Higher => a < b,
            Better::Lower => a > b,
        }
    }

    /// The worse of two values.
    pub fn worse(&self, a: f64, b: f64) -> f64 {
        match self.better {
            Better::Higher => a.min(b),
            Better::Lower => a.max(b),
        }
    }

    /// The unit as headings and axes name it; empty if there is none.
    pub fn unit(&self) -> &'static str {
        match self.unit {
            Unit::Share => "",
            Unit::Percent => "%",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
            Unit::SecondsPerMinute => "s/min",
            Unit::Times => "×",
            Unit::PerMinute => "/min",
            Unit::Nanos => "ns",
        }
    }

    /// A value in the unit of headings.
    pub fn in_unit(&self, value: f64) -> f64 {
        if self.unit == Unit::Percent { value * 100.0 } else { value }
    }

    /// A value as tables write it, without the unit.
    pub fn show(&self, value: f64) -> String {
        let value = self.in_unit(value);
        match self.unit {
            Unit::Share => format!("{value:.3}"),
            Unit::Percent | Unit::Times | Unit::Seconds | Unit::SecondsPerMinute => format!("{value:.2}"),
            Unit::Millis | Unit::PerMinute => format!("{value:.1}"),
            Unit::Nanos => format!("{value:.0}"),
        }
    }

    /// The metric with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }
}

/// A metric over the seeds of a row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// The mean over the runs that have a value.
    pub mean: Option<f64>,
    /// The worst of them.
    pub worst: Option<f64>,
}

macro_rules! metric {
    ($name:ident, $heading:literal, $unit:ident, $better:ident, $ranked:literal, $about:literal) => {
        Metric {
            name: stringify!($name),
            heading: $heading,
            about: $about,
            better: Better::$better,
            ranked: $ranked,
            unit: Unit::$unit,
            of: |metrics| metrics.$name,
        }
    };
}

/// How many of [`METRICS`], from the first on, tables show; the others are in rows only.
pub(crate) const IN_TABLES: usize = 19;

/// Every metric, in the order of rows.
pub const METRICS: [Metric; 31] = [
    metric!(
        util,
        "util",
        Share,
        Higher,
        true,
        "own bytes delivered, as a share of what the bottleneck could carry"
    ),
    metric!(q95_ms, "queue p95", Millis, Lower, true, "queue delay at the bottleneck, 95th percentile"),
    metric!(loss, "loss", Percent, Lower, true, "own packets lost"),
    metric!(frames_hit, "frames hit", Percent, Lower, true, "pictures with a lost packet, before repair"),
    metric!(
        frame_p95_ms,
        "frame p95",
        Millis,
        Lower,
        true,
        "from a picture's taking to its completion, 95th percentile"
    ),
    metric!(
        stall_s_per_min,
        "stalls",
        SecondsPerMinute,
        Lower,
        true,
        "gaps of more than 200 ms between complete pictures"
    ),
    metric!(jain, "Jain 5 s", Share, Higher, true, "Jain's fairness index over spans of 5 s"),
    metric!(
        own_share,
        "own share",
        Share,
        Higher,
        false,
        "own part of what the bottleneck carried while TCP was there"
    ),
    metric!(tcp_share, "TCP share", Share, Higher, false, "TCP's part of the bottleneck's capacity"),
    metric!(converge_s, "converge", Seconds, Lower, true, "from a flow's start to 80 % of its share"),
    metric!(recover_s, "recover", Seconds, Lower, true, "from a rise of what media may have to 80 % of it"),
    metric!(
        overshoot,
        "overshoot",
        Times,
        Lower,
        true,
        "the greatest rate sent over 200 ms, over the capacity"
    ),
    metric!(padding_share, "padding", Percent, Lower, true, "padding among own bytes sent"),
    metric!(
        cpu_ns_per_packet,
        "CPU/packet",
        Nanos,
        Lower,
        false,
        "CPU time of the estimator for each packet"
    ),
    metric!(
        right_tier_share,
        "right tier",
        Share,
        Higher,
        true,
        "time with the best layer that the capacity allows"
    ),
    metric!(switches_per_min, "switches", PerMinute, Lower, false, "layer switches of a receiver"),
    metric!(
        own_freeze_s_per_min,
        "own freezes",
        SecondsPerMinute,
        Lower,
        true,
        "freezes after packets that found the queue full or exceeded a policer"
    ),
    metric!(
        padding_satisfied_share,
        "padding satisfied",
        Percent,
        Lower,
        true,
        "padding to viewers who have all that they want"
    ),
    metric!(
        after_tcp_s,
        "after TCP",
        Seconds,
        Lower,
        true,
        "from the end of TCP's transfer to 80 % of what media may have"
    ),
    metric!(media_share, "media share", Share, Higher, true, "media among own bytes delivered"),
    metric!(
        frames_missed,
        "frames missed",
        Percent,
        Lower,
        true,
        "pictures not complete by the scenario's deadline"
    ),
    metric!(q50_ms, "queue p50", Millis, Lower, true, "queue delay at the bottleneck, median"),
    metric!(q99_ms, "queue p99", Millis, Lower, true, "queue delay at the bottleneck, 99th percentile"),
    metric!(loss_random, "loss, random", Percent, Lower, false, "own packets lost by chance"),
    metric!(loss_overflow, "loss, overflow", Percent, Lower, true, "own packets that found the queue full"),
    metric!(loss_policer, "loss, policer", Percent, Lower, true, "own packets that exceeded a policer"),
    metric!(
        stall_before_repair_s_per_min,
        "stalls unrepaired",
        SecondsPerMinute,
        Lower,
        true,
        "gaps of more than 200 ms between pictures that needed no repair"
    ),
    metric!(jain_1s, "Jain 1 s", Share, Higher, true, "Jain's fairness index over spans of 1 s"),
    metric!(jain_20s, "Jain 20 s", Share, Higher, true, "Jain's fairness index over spans of 20 s"),
    metric!(
        oscillation,
        "oscillation",
        Percent,
        Lower,
        true,
        "mean change of the target in 500 ms, over its mean"
    ),
    metric!(redundancy_share, "repair", Percent, Lower, false, "repair among own bytes sent"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_a_run_is_here_once() {
        let run = serde_json::to_value(Metrics::default()).unwrap();
        let mut fields: Vec<&str> = run.as_object().unwrap().keys().map(String::as_str).collect();
        let mut named: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        fields.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, fields);
    }

    #[test]
    fn the_mean_and_the_worst_are_taken_the_right_way() {
        let runs = [
            Metrics { util: Some(0.9), loss: Some(0.01), ..Metrics::default() },
            Metrics { util: Some(0.7), loss: Some(0.0), ..Metrics::default() },
            Metrics { util: Some(0.8), loss: None, jain: Some(f64::NAN), ..Metrics::default() },
        ];
        for (name, mean, worst) in [
            ("util", Some(0.8), Some(0.7)),
            ("loss", Some(0.005), Some(0.01)),
            ("jain", None, None),
            ("q95_ms", None, None),
        ] {
            let summary = Metric::named(name).unwrap().summary(&runs);
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            assert!(close(summary.mean, mean) && close(summary.worst, worst), "{name}: {summary:?}");
        }
    }

    #[test]
    fn values_are_written_in_their_unit() {
        for (name, value, shown) in [
            ("util", 0.934_4, "0.934"),
            ("loss", 0.026_1, "2.61"),
            ("q95_ms", 13.04, "13.0"),
            ("cpu_ns_per_packet", 812.4, "812"),
        ] {
            assert_eq!(Metric::named(name).unwrap().show(value), shown, "{name}");
        }
        assert!(Metric::named("nothing").is_none());
    }
}
