//! Plan files: the links of both ways as TOML, read again when the file changes.
//!
//! In: a path. Out: plans, or the line and the reason why not. Time: whoever polls a [`Watch`] decides how often. The
//! `[links.NAME]` tables are those of `simulator::link::file`; one more table, `[relay]`, says whose links they are:
//!
//! ```toml
//! [links.up]       # from clients to the server, or from the left namespace to the right one
//! rate = "2mbit"
//! queue = "200ms"
//! delay = "20ms"
//!
//! [links.down]     # back
//! rate = [["0s", "8mbit"], ["30s", "1mbit"]] # times count from the start of the emulator
//! loss = "1%"
//! delay = "20ms"
//!
//! [relay]          # optional
//! clients = "own"  # each client has links of its own; "shared": all clients meet in one pair
//! ```

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use simulator::link::LinkPlan;
use simulator::link::file::{self, LinkSpec};

use crate::relay::Sharing;

/// What a plan file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Plans {
    /// The link up.
    pub up: LinkPlan,
    /// The link down.
    pub down: LinkPlan,
    /// Whose links they are; nothing to a TUN device.
    pub sharing: Sharing,
}

/// Which links of a file are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The link up.
    pub up: String,
    /// The link down.
    pub down: String,
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It says something that is no plan.
    #[error("{}:{}: {}", path.display(), error.line, error.reason)]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line and the reason.
        error: file::PlanError,
    },
    /// It has no link of a name.
    #[error("{}: there is no [links.{name}]; there is {known}", path.display())]
    NoSuchLink {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    links: BTreeMap<String, LinkSpec>,
    #[serde(default)]
    relay: RelayTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RelayTable {
    #[serde(default)]
    clients: Sharing,
}

/// Reads a plan file. Files that it names are looked for from its folder.
pub fn read(path: &Path, names: &Names) -> Result<Plans, PlanError> {
    let text =
        fs::read_to_string(path).map_err(|error| PlanError::Unreadable { path: path.to_owned(), error })?;
    let wrong = |error| PlanError::Wrong { path: path.to_owned(), error };
    let document: Document =
        toml::from_str(&text).map_err(|error| wrong(file::PlanError::of_toml(&text, &error)))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let read = |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
    let mut plans = BTreeMap::new(); // of all links, used or not: a mistake does not wait for its use
    for (name, spec) in &document.links {
        plans.insert(name.as_str(), spec.plan(&text, &read).map_err(wrong)?);
    }
    let plan = |name: &str| {
        plans.get(name).cloned().ok_or_else(|| PlanError::NoSuchLink {
            path: path.to_owned(),
            name: name.to_owned(),
            known: known(document.links.keys()),
        })
    };
    Ok(Plans { up: plan(&names.up)?, down: plan(&names.down)?, sharing: document.relay.clients })
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.map(|name| format!("[links.{name}]")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A plan file that may change.
pub struct Watch {
    path: PathBuf,
    names: Names,
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

/// What differs when a file was written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl Watch {
    /// Reads the file for the first time, to be told of later changes.
    pub fn start(path: PathBuf, names: Names) -> Result<(Self, Plans), PlanError> {
        let stamp = Stamp::of(&path);
        let plans = read(&path, &names)?;
        Ok((Self { path, names, read: stamp, seen: stamp }, plans))
    }

    /// What the file says now, if it was changed and looks the same as at the last poll: nobody is writing to it any
    /// more. A file that is gone for now has not changed.
    pub fn poll(&mut self) -> Option<Result<Plans, PlanError>> {
        let stamp = Stamp::of(&self.path)?;
        let settled = self.seen.replace(stamp) == Some(stamp);
        if !settled || self.read == Some(stamp) {
            return None;
        }
        Some(self.read_now())
    }

    /// What the file says now, changed or not.
    pub fn read_now(&mut self) -> Result<Plans, PlanError> {
        self.read = Stamp::of(&self.path);
        read(&self.path, &self.names)
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of_metadata)
    }

    fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GOOD: &str = "[links.up]\ndelay = \"10ms\"\n[links.down]\n";

    fn names() -> Names {
        Names { up: "up".to_owned(), down: "down".to_owned() }
    }

    #[test]
    fn both_links_and_whose_they_are_come_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        fs::write(folder.path().join("lost.txt"), "0\n1\n").unwrap();
        let text = format!("{GOOD}loss = {{ trace = \"lost.txt\" }}\n[relay]\nclients = \"shared\"\n");
        fs::write(&path, text).unwrap();
        let plans = read(&path, &names()).unwrap();
        assert_eq!(plans.up.delay, Duration::from_millis(10));
        assert_eq!(plans.sharing, Sharing::Shared);
        fs::write(&path, GOOD).unwrap();
        assert_eq!(read(&path, &names()).unwrap().sharing, Sharing::Own, "if it does not say");
        let both = Names { up: "up".to_owned(), down: "up".to_owned() };
        assert_eq!(read(&path, &both).unwrap().down.delay, Duration::from_millis(10), "other names");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        for (name, text, said) in [
            ("no TOML", "[links.up\n", ":1: "),
            ("a negative rate", "[links.up]\nrate = \"-1mbit\"\n[links.down]\n", ":2: "),
            (
                "an unknown key",
                "[links.up]\n[links.down]\ndelai = \"1ms\"\n",
                ":3: unknown key `delai`; did you mean",
            ),
            (
                "a missing trace",
                "[links.up]\n[links.down]\nloss = { trace = \"no.txt\" }\n",
                ":3: trace file \"no.txt\"",
            ),
            ("a mistake in another link", "[links.up]\n[links.down]\n[links.x]\nloss = 2\n", ":4: "),
            (
                "an unknown table",
                "[links.up]\n[links.down]\n[relais]\n",
                ":3: unknown key `relais`; did you mean",
            ),
            ("neither own nor shared", "[links.up]\n[links.down]\n[relay]\nclients = \"x\"\n", ":4: "),
            ("a link is missing", "[links.up]\n", ": there is no [links.down]; there is [links.up]"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path, &names()).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && error.contains(said), "{name}: {error}");
        }
        let missing = read(&folder.path().join("none.toml"), &names()).unwrap_err().to_string();
        assert!(missing.contains("none.toml: No such file"), "{missing}");
    }

    #[test]
    fn a_change_is_told_once_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        fs::write(&path, GOOD).unwrap();
        let (mut watch, _) = Watch::start(path.clone(), names()).unwrap();
        assert!(watch.poll().is_none(), "nothing changed");
        fs::write(&path, "[links.up]\n").unwrap();
        assert!(watch.poll().is_none(), "perhaps half of it");
        fs::write(&path, format!("{GOOD}delay = \"7ms\"\n")).unwrap();
        assert!(watch.poll().is_none(), "perhaps half of it still");
        assert_eq!(watch.poll().unwrap().unwrap().down.delay, Duration::from_millis(7));
        assert!(watch.poll().is_none(), "told already");
        fs::remove_file(&path).unwrap();
        assert!(watch.poll().is_none(), "an editor may be about to replace it");
        fs::write(&path, "links = 3\n").unwrap();
        assert!(watch.poll().is_none());
        assert!(watch.poll().unwrap().is_err());
        assert!(watch.poll().is_none(), "an error is told once too");
        assert!(watch.read_now().is_err(), "but again when asked");
    }
}
