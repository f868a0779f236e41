//! Names that were meant: what to offer when somebody asks for what there is not.

/// How many names are offered at most.
const OFFERED_MAX: usize = 3;

/// How alike names must be to be offered (Jaro-Winkler, 0 to 1): above it are slips of the fingers and shared beginnings.
const ALIKE: f64 = 0.8;

/// The names most like `name`, as a half sentence: `"; did you mean a or b?"`, or nothing if none is alike.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let mut alike: Vec<(f64, &str)> = names
        .into_iter()
        .map(|other| (strsim::jaro_winkler(&lower, &other.to_lowercase()), other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    alike.truncate(OFFERED_MAX);
    let alike: Vec<&str> = alike.into_iter().map(|(_, other)| other).collect();
    match alike.as_slice() {
        [] => String::new(),
        [only] => format!("; did you mean {only}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_nonsense_is_not() {
        let names = ["fixed-4m", "shallow-10", "shallow-20", "bloat-1s"];
        for (asked, offer) in [
            ("fixed4m", "; did you mean fixed-4m?"),
            ("Bloat-1s", "; did you mean bloat-1s?"),
            ("shallow-30", "; did you mean shallow-10 or shallow-20?"),
            ("zzz", ""),
        ] {
            assert_eq!(nearest(asked, names), offer, "{asked}");
        }
    }
}
