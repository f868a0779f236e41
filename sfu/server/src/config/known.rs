//! The keys there are, what each expects, and which one an unknown key was probably meant to be.
//!
//! In: merged values. Out: complaints. Limit: none; configuration is the operator's.

use figment::value::{Dict, Value};

/// A key and, for error messages, what it expects.
pub(super) struct Known {
    /// The path with dots.
    pub(super) path: &'static str,
    /// What follows the word "expected".
    pub(super) expected: &'static str,
}

/// The table of key names and secrets: the one place where any name is known.
pub(super) const KEYS: &str = "keys";

/// Every key. A test holds it against the type that is read from them.
pub(super) const KNOWN: &[Known] = &[
    Known { path: "bind", expected: "an IP address such as \"::\" or \"0.0.0.0\"" },
    Known { path: "port", expected: "a TCP port, 0 to 65535 (0 picks a free one)" },
    Known {
        path: "rtc.udp_port",
        expected: "a UDP port with udp_port + workers - 1 at most 65535 (0 picks free ones)",
    },
    Known {
        path: "rtc.tcp_port",
        expected: "a TCP port other than `port`, 0 to 65535 (0 picks a free one; use_tcp = false does without)",
    },
    Known { path: "rtc.use_tcp", expected: "true or false" },
    Known { path: "rtc.workers", expected: "a number of threads, 1 to 64" },
    Known { path: "rtc.pin_workers", expected: "true or false" },
    Known { path: "rtc.span_above_load", expected: "a share of time, 0.0 to 1.0" },
    Known { path: "rtc.span_participants", expected: "a number of participants, 1 to 10000" },
    Known { path: "rtc.node_ip", expected: "an IP address or a list of at most 16" },
    Known { path: "rtc.external_ip", expected: "an IP address" },
    Known { path: "rtc.use_loopback", expected: "true or false" },
    Known { path: KEYS, expected: "a table of name = \"secret\", each secret a text of at least 32 bytes" },
    Known { path: "room.max_participants", expected: "a number of participants, 1 to 10000" },
    Known { path: "room.scene", expected: "game, chorus, pk, chat or watch" },
    Known { path: "downlink.min_kbps", expected: "kbit/s, 1 to 10000000" },
    Known { path: "downlink.start_kbps", expected: "kbit/s, from min_kbps to 10000000" },
    Known { path: "downlink.max_kbps", expected: "kbit/s, from start_kbps to 10000000" },
    Known { path: "downlink.forward_repair", expected: "true or false" },
    Known { path: "downlink.instant_start", expected: "true or false" },
    Known { path: "metrics.bind", expected: "an IP address such as \"127.0.0.1\" or \"::\"" },
    Known { path: "metrics.port", expected: "a TCP port, 0 to 65535 (0 picks a free one)" },
    Known { path: "limit.sockets", expected: "a number of WebSockets, 1 to 1000000" },
    Known { path: "log.level", expected: "off, error, warn, info, debug or trace" },
];

/// What the key at `path` expects.
pub(super) fn expected(path: &str) -> &'static str {
    let key = if path.starts_with(KEYS) { KEYS } else { path };
    KNOWN.iter().find(|known| known.path == key).map_or("a table of keys", |known| known.expected)
}

/// A key that is not known, or a value where a table belongs.
pub(super) enum Misfit<'a> {
    /// No such key.
    Unknown(String, &'a Value),
    /// The key is a table, the value is not.
    NotATable(String),
}

/// Everything in `values` that no key of ours takes.
pub(super) fn misfits(values: &Dict) -> Vec<Misfit<'_>> {
    let mut found = Vec::new();
    collect("", values, &mut found);
    found
}

fn collect<'a>(prefix: &str, values: &'a Dict, found: &mut Vec<Misfit<'a>>) {
    for (name, value) in values {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let table = format!("{path}.");
        if KNOWN.iter().any(|known| known.path == path) {
            continue;
        }
        if !KNOWN.iter().any(|known| known.path.starts_with(&table)) {
            found.push(Misfit::Unknown(path, value));
        } else if let Some(inner) = value.as_dict() {
            collect(&path, inner, found);
        } else {
            found.push(Misfit::NotATable(path));
        }
    }
}

/// The known key that looks most like `path`: by the whole path, or by its last word put into another table.
pub(super) fn nearest(path: &str) -> &'static str {
    let alike = |a: &str, b: &str| strsim::normalized_damerau_levenshtein(a, b) + strsim::jaro_winkler(a, b);
    let likeness = |known: &str| alike(path, known).max(alike(last(path), last(known)) * 0.95);
    let tables = KNOWN.iter().filter_map(|known| known.path.split_once('.')).map(|(table, _)| table);
    KNOWN
        .iter()
        .map(|known| known.path)
        .chain(tables)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("the table of keys is not empty")
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("prot", "port"),
            ("rtc.upd_port", "rtc.udp_port"),
            ("udp_port", "rtc.udp_port"),
            ("rtc.use_external_ip", "rtc.external_ip"),
            ("rtcc", "rtc"),
            ("room.max_participant", "room.max_participants"),
            ("log_level", "log.level"),
            ("bind_addresses", "bind"),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }
}
