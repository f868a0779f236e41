//! The house's walls: which crate may use which, and which folder of the SFU.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each crate's folder, its name in code, and the crates of ours that it may use (design.md §1).
const CRATES: [(&str, &str, &[&str]); 10] = [
    ("proto", "proto", &[]),
    ("cc", "cc", &["proto"]),
    ("fec", "fec", &["proto"]),
    ("sfu", "sfu", &["proto", "cc", "fec"]),
    ("sfu/server", "lianmai", &["proto", "sfu"]),
    ("simulator", "simulator", &["proto", "cc", "fec", "sfu", "googcc"]),
    ("simulator/emulator", "emulator", &["proto", "simulator"]),
    ("simulator/googcc", "googcc", &["proto"]),
    ("tests", "lianmai_tests", &["proto", "cc", "fec", "sfu", "simulator", "emulator", "libopus"]),
    ("tests/libopus", "libopus", &[]),
];

/// The crates that decide, and so have no clock, thread, socket or lock of their own.
const CORES: [&str; 5] = ["proto/src", "cc/src", "fec/src", "sfu/src", "simulator/src"];

/// What a core must not name. `std::time::Instant` itself may pass through to a library that wants one.
const SHELL_ONLY: [&str; 12] = [
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::env::",
    "std::fs::",
    "println!",
    "tokio",
];

/// The four layers: they exchange values, and only `worker` knows more than one of them.
const LAYERS: [&str; 4] = ["control", "adapter", "transport", "network"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' folder lies in the root")
}

#[test]
fn crates_depend_only_downwards() {
    for (folder, _, allowed) in CRATES {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let ours: BTreeSet<&str> =
            dependencies.keys().map(String::as_str).filter(|name| is_ours(name)).collect();
        for name in ours {
            assert!(allowed.contains(&name), "{folder}/Cargo.toml: {name} is not below it");
        }
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_place() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(
        members,
        CRATES.map(|(folder, _, _)| folder).into(),
        "state in this test what a new crate may use"
    );
}

#[test]
fn the_layers_of_the_sfu_do_not_use_each_other() {
    for layer in LAYERS {
        let folder = root().join("sfu/src").join(layer);
        assert!(folder.is_dir(), "sfu/src/{layer} is gone: state the layers anew");
        for (file, number, line) in lines(&folder) {
            for other in LAYERS.into_iter().filter(|other| *other != layer) {
                let uses = [format!("crate::{other}"), format!("super::super::{other}")];
                let found = uses.iter().any(|path| mentions(&line, path));
                assert!(!found, "{}:{number}: {layer} uses {other}: {line}", file.display());
            }
            assert!(!mentions(&line, "crate::worker"), "{}:{number}: {layer} uses worker", file.display());
        }
    }
}

#[test]
fn cores_have_no_clock_thread_socket_or_lock() {
    for core in CORES {
        for (file, number, line) in lines(&root().join(core)) {
            for word in SHELL_ONLY {
                assert!(!mentions(&line, word), "{}:{number}: a core names {word}: {line}", file.display());
            }
            let is_async = mentions(&line, "async fn") || mentions(&line, ".await");
            assert!(!is_async, "{}:{number}: a core is async: {line}", file.display());
        }
    }
}

#[test]
fn the_checks_see_what_they_should() {
    for (line, word, found) in [
        ("use crate::network::Path;", "crate::network", true),
        ("use crate::networks::Path;", "crate::network", false),
        ("let now = std::time::Instant::now();", "Instant::now", true),
        ("selector.awaited()", ".await", false),
        ("socket.recv().await?;", ".await", true),
        ("// the shell calls Instant::now", "Instant::now", false),
    ] {
        assert_eq!(mentions(line, word), found, "{line}");
    }
}

fn is_ours(name: &str) -> bool {
    CRATES.iter().any(|(_, own, _)| *own == name) || name.starts_with("lianmai")
}

/// Whether a line names `path` as a whole, outside of comments.
fn mentions(line: &str, path: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(path).any(|(at, _)| {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let ends = !path.ends_with(is_word) || !code[at + path.len()..].starts_with(is_word);
        let begins = !path.starts_with(is_word) || !code[..at].ends_with(is_word);
        begins && ends
    })
}

/// Every line of the Rust files in a folder, up to the file's tests: those may use what they like.
fn lines(folder: &Path) -> Vec<(PathBuf, usize, String)> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "oracle");
            if path.is_dir() {
                // A program beside a core is a shell of its own.
                folders.extend((!path.ends_with("src/bin")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
                lines.extend(code.enumerate().map(|(at, line)| (path.clone(), at + 1, line.to_owned())));
            }
        }
    }
    assert!(!lines.is_empty(), "{} has no Rust files", folder.display());
    lines
}
