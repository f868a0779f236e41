//! Rows: what one estimator did in one scenario over all seeds, as one JSON object.
//!
//! First the fields that every bench names in this order (`scenario`, `estimator`, `scene`, `seeds`, `util`,
//! `util_worst`, …), then all other metrics, the worst of each, and what was set. Null where a field has no meaning.

use std::fmt;

use proto::scene::Scene;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Case, Group};
use crate::sweep::{METRICS, Metric, Seeds, Summary};

/// What a field's name ends with if it holds the worst of a metric.
const WORST: &str = "_worst";

/// The metric whose worst stands beside its mean; the others' come after all means.
const FIRST: &str = "util";

/// Digits behind the point in rows: a millionth of a share is one packet in four hours.
const DIGITS: i32 = 6;

/// See the module's description.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was played.
    pub case: Case,
    /// With which seeds.
    pub seeds: Seeds,
    /// How many runs the numbers come from.
    pub runs: u64,
    /// How many packets they sent together.
    pub packets: u64,
    /// How many rules they broke together.
    pub violations: u64,
    summaries: [Summary; METRICS.len()],
}

impl Row {
    /// The row of a group.
    pub fn of(group: &Group) -> Self {
        Self {
            case: group.case.clone(),
            seeds: group.seeds,
            runs: group.runs.len() as u64,
            packets: group.runs.iter().map(|run| run.packets).sum(),
            violations: group.runs.iter().map(|run| run.violations as u64).sum(),
            summaries: METRICS.map(|metric| metric.summary(group.runs.iter().map(|run| &run.metrics))),
        }
    }

    /// A metric over the seeds.
    pub fn summary(&self, metric: &Metric) -> Summary {
        let place = METRICS.iter().position(|other| other.name == metric.name);
        place.map(|place| self.summaries[place]).unwrap_or_default()
    }

    /// A metric's mean, by the metric's name.
    pub fn mean(&self, name: &str) -> Option<f64> {
        Metric::named(name).and_then(|metric| self.summary(metric).mean)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Case { scenario, estimator, scene, set } = &self.case;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("scenario", scenario)?;
        map.serialize_entry("estimator", estimator)?;
        map.serialize_entry("scene", scene.name())?;
        map.serialize_entry("seeds", &self.seeds)?;
        for (metric, summary) in METRICS.iter().zip(&self.summaries) {
            map.serialize_entry(metric.name, &rounded(summary.mean))?;
            if metric.name == FIRST {
                map.serialize_entry(&format!("{}{WORST}", metric.name), &rounded(summary.worst))?;
            }
        }
        for (metric, summary) in
            METRICS.iter().zip(&self.summaries).filter(|(metric, _)| metric.name != FIRST)
        {
            map.serialize_entry(&format!("{}{WORST}", metric.name), &rounded(summary.worst))?;
        }
        map.serialize_entry("set", &(!set.is_empty()).then_some(set))?;
        map.serialize_entry("runs", &self.runs)?;
        map.serialize_entry("packets", &self.packets)?;
        map.serialize_entry("violations", &self.violations)?;
        map.end()
    }
}

fn rounded(value: Option<f64>) -> Option<f64> {
    let scale = 10_f64.powi(DIGITS);
    value.map(|value| (value * scale).round() / scale)
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

/// Reads rows of this and of other versions: fields that are unknown are passed over, absent ones are null.
struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row with at least `scenario`, `estimator` and `seeds`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let missing = serde::de::Error::missing_field;
        let (mut scenario, mut estimator, mut seeds) = (None, None, None);
        let (mut scene, mut set) = (Scene::default(), None::<String>);
        let (mut runs, mut packets, mut violations) = (0, 0, 0);
        let mut summaries = [Summary::default(); METRICS.len()];
        while let Some(key) = map.next_key::<String>()? {
            let place = |name: &str| METRICS.iter().position(|metric| metric.name == name);
            match key.as_str() {
                "scenario" => scenario = Some(map.next_value()?),
                "estimator" => estimator = Some(map.next_value()?),
                "scene" => {
                    let name = map.next_value::<Option<String>>()?;
                    let parsed = name.map(|name| name.parse()).transpose();
                    scene = parsed.map_err(serde::de::Error::custom)?.unwrap_or_default();
                }
                "seeds" => seeds = Some(map.next_value()?),
                "set" => set = map.next_value()?,
                "runs" => runs = map.next_value()?,
                "packets" => packets = map.next_value()?,
                "violations" => violations = map.next_value()?,
                name => {
                    if let Some(place) = place(name) {
                        summaries[place].mean = map.next_value()?;
                    } else if let Some(place) = name.strip_suffix(WORST).and_then(place) {
                        summaries[place].worst = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
        }
        let scenario = scenario.ok_or_else(|| missing("scenario"))?;
        let estimator = estimator.ok_or_else(|| missing("estimator"))?;
        let seeds = seeds.ok_or_else(|| missing("seeds"))?;
        let case = Case { scenario, estimator, scene, set: set.unwrap_or_default() };
        Ok(Row { case, seeds, runs, packets, violations, summaries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::made_up;

    /// The fields that others rely on, in their order.
    const NAMED: [&str; 19] = [
        "scenario",
        "estimator",
        "scene",
        "seeds",
        "util",
        "util_worst",
        "q95_ms",
        "loss",
        "frames_hit",
        "frame_p95_ms",
        "stall_s_per_min",
        "jain",
        "own_share",
        "tcp_share",
        "converge_s",
        "recover_s",
        "overshoot",
        "padding_share",
        "cpu_ns_per_packet",
    ];

    /// The keys of a flat JSON object, in their order.
    fn keys(json: &str) -> Vec<&str> {
        let pairs = json.trim_matches(['{', '}']).split(",\"");
        pairs.map(|pair| pair.trim_start_matches('"').split("\":").next().unwrap()).collect()
    }

    #[test]
    fn a_row_begins_with_the_named_fields_and_has_every_metric_twice() {
        let json = serde_json::to_string(&Row::of(&made_up::group("gcc", 1..=3))).unwrap();
        let keys = keys(&json);
        assert_eq!(keys[..NAMED.len()], NAMED, "{json}");
        for metric in METRICS {
            let worst = format!("{}{WORST}", metric.name);
            for name in [metric.name, &worst] {
                assert_eq!(keys.iter().filter(|key| **key == name).count(), 1, "{name}");
            }
        }
        assert_eq!(keys.len(), 4 + 2 * METRICS.len() + 4, "nothing else but set, runs, packets, violations");
        assert_eq!(keys[keys.len() - 4..], ["set", "runs", "packets", "violations"]);
    }

    #[test]
    fn what_has_no_meaning_is_null_and_seeds_are_text() {
        let row = serde_json::to_value(Row::of(&made_up::group("gcc", 1..=3))).unwrap();
        assert_eq!(row["seeds"], "1..3");
        assert_eq!(row["scene"], "pk", "the default");
        for name in ["tcp_share", "tcp_share_worst", "set"] {
            assert!(row[name].is_null(), "{name}: {}", row[name]);
        }
        assert!(row["util"].as_f64().unwrap() > row["util_worst"].as_f64().unwrap());
        assert!(row["loss"].as_f64().unwrap() < row["loss_worst"].as_f64().unwrap());
    }

    #[test]
    fn rows_read_back() {
        let mut group = made_up::group("gcc", 1..=3);
        group.case.set = "rate=2000k".to_owned();
        group.case.scene = Scene::Game;
        let json = serde_json::to_string(&Row::of(&group)).unwrap();
        let row: Row = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        let sparse: Row =
            serde_json::from_str(r#"{"scenario":"a","estimator":"b","seeds":"1","new":[1],"util":0.5}"#)
                .unwrap();
        assert_eq!((sparse.mean("util"), sparse.mean("loss")), (Some(0.5), None));
        assert!(serde_json::from_str::<Row>(r#"{"estimator":"b","seeds":"1"}"#).is_err());
    }
}
