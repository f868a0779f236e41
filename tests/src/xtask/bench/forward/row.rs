//! A row of results: medians over runs, for people and for programs.

use serde_json::{Map, Value, json};

/// See the module's description.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The case's name.
    pub(super) case: &'static str,
    /// Which of its rows it is, for people; empty if it has but one.
    pub(super) variant: String,
    /// What `ours` and `reference` are in.
    pub(super) unit: &'static str,
    /// Each run's measurement of ours and of the reference.
    pub(super) runs: Vec<(f64, f64)>,
    /// Whether `ratio` is the reference's cost by ours: then more is better.
    pub(super) inverse: bool,
    /// What the ratio is to be: at most, or at least if more is better.
    pub(super) goal: Option<f64>,
    /// What there is to say beside that.
    pub(super) more: Map<String, Value>,
}

impl Row {
    /// A row of a case.
    pub(super) fn new(case: &'static str, unit: &'static str) -> Self {
        Self {
            case,
            variant: String::new(),
            unit,
            runs: Vec::new(),
            inverse: false,
            goal: None,
            more: Map::new(),
        }
    }

    /// The same with another field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same with another field, the median of these.
    pub(super) fn with_median(self, name: &str, values: impl IntoIterator<Item = f64>) -> Self {
        self.with(name, rounded(median(values)))
    }

    /// Ours.
    pub(super) fn ours(&self) -> f64 {
        median(self.runs.iter().map(|run| run.0))
    }

    /// The reference.
    pub(super) fn reference(&self) -> f64 {
        median(self.runs.iter().map(|run| run.1))
    }

    /// The ratio of each run.
    pub(super) fn ratios(&self) -> impl Iterator<Item = f64> {
        let ratio = |&(ours, reference): &(f64, f64)| {
            if self.inverse { reference / ours } else { ours / reference }
        };
        self.runs.iter().map(ratio)
    }

    /// The median of the runs' ratios.
    pub(super) fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// Between which the middle half of the runs' ratios lie.
    pub(super) fn middle_half(&self) -> (f64, f64) {
        let mut sorted: Vec<f64> = self.ratios().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        (at(last / 4), at((last * 3).div_ceil(4)))
    }

    /// Its name for people.
    pub(super) fn title(&self) -> String {
        if self.variant.is_empty() {
            self.case.to_owned()
        } else {
            format!("{}, {}", self.case, self.variant)
        }
    }

    /// As programs read it. What is not a number, where there is no reference, is null.
    pub(super) fn json(&self) -> Value {
        let mut row = json!({
            "bench": "forward",
            "case": self.case,
            "ours": rounded(self.ours()),
            "reference": rounded(self.reference()),
            "unit": self.unit,
            "ratio": rounded(self.ratio()),
            "ratio_middle_half": [rounded(self.middle_half().0), rounded(self.middle_half().1)],
            "goal": self.goal,
            "ratio_is": if self.inverse { "reference / ours" } else { "ours / reference" },
            "load_average": load_average(),
            "runs": self.runs.iter().map(|(ours, reference)| [rounded(*ours), rounded(*reference)]).collect::<Vec<_>>(),
        });
        for (name, value) in &self.more {
            row[name] = value.clone();
        }
        row
    }

    /// As people read it, on the standard error: one line, and what else there is in further ones.
    pub(super) fn show(&self) {
        let (title, unit) = (self.title(), self.unit);
        let (ours, reference, ratio) = (self.ours(), self.reference(), self.ratio());
        let (low, high) = self.middle_half();
        eprint!("\r{title:<28} {ours:>10.2}");
        if ratio.is_nan() {
            eprint!(" {unit}");
        } else {
            eprint!(" against {reference:>8.2} {unit:<13} ratio {ratio:.3} ({low:.3} to {high:.3})");
        }
        let which = if self.inverse { "least" } else { "most" };
        eprintln!("{}", self.goal.map_or(String::new(), |goal| format!(", goal: at {which} {goal}")));
        let short = self.more.iter().filter(|(_, value)| !value.is_array());
        let short: Vec<String> = short.map(|(name, value)| format!("{name} {}", plain(value))).collect();
        for line in short.chunks(5) {
            eprintln!("    {}", line.join(", "));
        }
    }
}

/// The middle one; not a number if there are none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A value as people read it.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How many processes wanted a core in the last minute: figures that were measured beside others' work say so.
fn load_average() -> Value {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!(text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()))
}

/// To a thousandth; null if it is no number.
pub(super) fn rounded(value: f64) -> Value {
    json!((value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_medians_and_which_way_its_ratio_goes() {
        let mut row = Row::new("core", "ns");
        row.runs = vec![(10.0, 5.0), (12.0, 4.0), (30.0, 20.0)];
        let json = row.clone().with_median("x", [1.0, 3.0, 2.0]).json();
        assert_eq!(
            (&json["ours"], &json["reference"], &json["ratio"], &json["x"]),
            (&json!(12.0), &json!(5.0), &json!(2.0), &json!(2.0))
        );
        assert_eq!(row.json()["ratio_middle_half"], json!([1.5, 3.0]));
        assert_eq!(row.title(), "core");
        row.variant = "4 at a time".to_owned();
        assert_eq!(row.title(), "core, 4 at a time");
        row.inverse = true;
        assert_eq!(row.json()["ratio"], json!(0.5));
        let empty = Row::new("residence", "subscribers").json();
        assert_eq!(
            (&empty["ratio"], &empty["goal"], &empty["ratio_middle_half"][0]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
}
