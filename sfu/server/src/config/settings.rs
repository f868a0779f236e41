//! Environment variables and flags as a figment provider that remembers how each was spelled.
//!
//! In: names and texts. Out: nested values. A text is read as TOML would read it, except for secrets.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::known::KEYS;

/// What every environment variable of ours starts with.
const PREFIX: &str = "LIANMAI_";

/// The variable that names the configuration file; it is no key.
pub(crate) const FILE_VARIABLE: &str = "LIANMAI_CONFIG";

/// One key with its value, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The key's path, one element a table.
    path: Vec<String>,
    /// The name of the variable or flag, for messages.
    spelled: String,
    value: String,
}

impl Setting {
    /// A flag: `--udp-port` sets `rtc.udp_port`.
    pub(crate) fn flag(path: &[&str], spelled: &str, value: &str) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self { path, spelled: spelled.to_owned(), value: value.to_owned() }
    }

    /// The setting that an environment variable stands for, if it is one of ours: `LIANMAI_RTC__UDP_PORT` sets
    /// `rtc.udp_port`. Case does not matter but in the names of keys: `LIANMAI_KEYS__myKey`.
    pub(crate) fn variable(name: &str, value: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX).filter(|_| name != FILE_VARIABLE)?;
        let mut path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if path[0] == KEYS
            && let Some((_, key)) = rest.split_once("__")
        {
            path = vec![KEYS.to_owned(), key.to_owned()];
        }
        Some(Self { path, spelled: name.to_owned(), value: value.to_owned() })
    }

    fn parsed(&self) -> Value {
        if self.path[0] == KEYS && self.path.len() > 1 {
            return Value::from(self.value.as_str()); // a secret of digits is still a text
        }
        self.value.parse().expect("figment's parser takes any text")
    }
}

/// A layer of settings.
pub(crate) struct Settings {
    /// What they are, for messages: "environment variable" or "flag".
    pub(crate) kind: &'static str,
    /// The settings; later ones win.
    pub(crate) entries: Vec<Setting>,
}

impl Provider for Settings {
    fn metadata(&self) -> Metadata {
        let spellings: Vec<(String, String)> =
            self.entries.iter().map(|entry| (entry.path.join("."), entry.spelled.clone())).collect();
        Metadata::named(self.kind).interpolater(move |_: &Profile, path: &[&str]| {
            let path = path.join(".");
            let under = |known: &str| known == path || known.starts_with(&format!("{path}."));
            let found = spellings.iter().rev().find(|(known, _)| under(known));
            found.map_or(path.clone(), |(_, spelled)| spelled.clone())
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for entry in &self.entries {
            insert(&mut root, &entry.path, entry.parsed());
        }
        Ok(Map::from([(Profile::Default, root)]))
    }
}

fn insert(table: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = table.entry(name.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_keys() {
        for (name, path) in [
            ("LIANMAI_PORT", Some(&["port"][..])),
            ("LIANMAI_RTC__UDP_PORT", Some(&["rtc", "udp_port"])),
            ("LIANMAI_KEYS__myKey__a", Some(&["keys", "myKey__a"])),
            ("LIANMAI_CONFIG", None),
            ("PATH", None),
        ] {
            let setting = Setting::variable(name, "1");
            assert_eq!(
                setting.as_ref().map(|s| s.path.iter().map(String::as_str).collect::<Vec<_>>()),
                path.map(<[_]>::to_vec),
                "{name}"
            );
        }
    }
}
