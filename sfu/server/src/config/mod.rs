//! The configuration: embedded defaults, then a TOML file, then environment variables, then flags.
//!
//! In: [`Sources`]. Out: a checked [`Config`], or every complaint with the key, where it was set and what was
//! expected. `default.toml` explains the keys.

mod known;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use proto::scene::Scene;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sfu::worker::WorkerMark;

use known::{KEYS, Misfit};
use settings::Settings;
pub(crate) use settings::{FILE_VARIABLE, Setting};

/// The defaults, which are also the documentation of every key.
pub(crate) const DEFAULTS: &str = include_str!("default.toml");

/// The file that is read if it is there and no other was named.
pub(crate) const FILE: &str = "lianmai.toml";

/// The shortest secret, in bytes: HS256 wants a key as long as its hash (RFC 7518 §3.2).
pub(crate) const SECRET_MIN: usize = 32;

/// The most media threads.
const WORKERS_MAX: usize = WorkerMark::WORKERS_MAX;
/// The most that one subscriber may be sent: 10 Gbit/s, in kbit/s.
const DOWNLINK_MAX: u64 = 10_000_000;
/// The most addresses to announce: each is an ICE candidate that every client probes.
const NODE_IPS_MAX: usize = 16;

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The address to listen on.
    pub(crate) bind: IpAddr,
    /// TCP port; 0 picks one.
    pub(crate) port: u16,
    /// Media.
    pub(crate) rtc: Rtc,
    /// Who may sign tokens.
    pub(crate) keys: BTreeMap<String, Secret>,
    /// Rooms.
    pub(crate) room: Room,
    /// What subscribers are sent.
    pub(crate) downlink: Downlink,
    /// Where metrics are read.
    pub(crate) metrics: Metrics,
    /// Limits of the whole server.
    pub(crate) limit: Limit,
    /// Logging.
    pub(crate) log: Log,
}

/// How media is received and where from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rtc {
    /// UDP port of the first worker; 0 picks free ones.
    pub(crate) udp_port: u16,
    /// TCP port of all workers; 0 picks one.
    pub(crate) tcp_port: u16,
    /// Whether media is received by TCP at all.
    pub(crate) use_tcp: bool,
    /// Media threads.
    pub(crate) workers: usize,
    /// Whether each stays on one core.
    pub(crate) pin_workers: bool,
    /// From which share of time on that a worker is busy its rooms' newcomers go to others.
    pub(crate) span_above_load: f32,
    /// The most signaling connections of a room on one worker before its newcomers go to others.
    pub(crate) span_participants: usize,
    /// Addresses announced instead of the interfaces'.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub(crate) node_ip: Vec<IpAddr>,
    /// A public address announced in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_ip: Option<IpAddr>,
    /// Whether loopback addresses are announced.
    pub(crate) use_loopback: bool,
}

/// What rooms may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Room {
    /// The most participants in one.
    pub(crate) max_participants: usize,
    /// What people do in them.
    #[serde(serialize_with = "write_scene", deserialize_with = "read_scene")]
    pub(crate) scene: Scene,
}

/// How subscribers are sent to; rates in kbit/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Downlink {
    /// Never less, however bad the path.
    pub(crate) min_kbps: u64,
    /// Before anything is known of the path.
    pub(crate) start_kbps: u64,
    /// Never more, however good the path.
    pub(crate) max_kbps: u64,
    /// Whether losses may be repaired before anybody asks.
    pub(crate) forward_repair: bool,
    /// Whether who begins to watch gets the last key frame and what came since.
    pub(crate) instant_start: bool,
}

/// Where Prometheus reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metrics {
    /// The address to listen on.
    pub(crate) bind: IpAddr,
    /// TCP port; 0 picks one.
    pub(crate) port: u16,
}

/// What the server may carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// The most signaling `WebSocket`s.
    pub(crate) sockets: usize,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// How much.
    pub(crate) level: Level,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may be wrong.
    Warn,
    /// Who comes and goes.
    Info,
    /// What the server does.
    Debug,
    /// Everything.
    Trace,
}

/// A key's secret; it shows itself only to who asks by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// A secret from its text.
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("********")
    }
}

/// Whether a printed configuration contains the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// Stars instead.
    Masked,
    /// In the clear.
    Shown,
}

/// Where configuration comes from, besides the defaults.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file named by the operator; otherwise [`FILE`] is read if it is there.
    pub(crate) file: Option<PathBuf>,
    /// The environment, all of it.
    pub(crate) environment: Vec<(String, String)>,
    /// The flags given.
    pub(crate) flags: Vec<Setting>,
    /// The machine's cores: the default number of workers.
    pub(crate) cores: usize,
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The named file is not there.
    #[error("the configuration file {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that does not exist.
    #[error("unknown key {path} ({origin}); the nearest known key is {nearest}")]
    Unknown {
        /// The key as written.
        path: String,
        /// Where.
        origin: String,
        /// What it was probably meant to be.
        nearest: &'static str,
    },
    /// A value that its key does not take.
    #[error("{path} = {value} ({origin}): expected {expected}")]
    Value {
        /// The key.
        path: String,
        /// The value, masked if secret.
        value: String,
        /// Where it was set.
        origin: String,
        /// What the key takes.
        expected: &'static str,
    },
    /// A secret that is too short for HS256.
    #[error(
        "keys.{name} ({origin}): the secret has {length} bytes, expected at least 32; `openssl rand -base64 32` makes one"
    )]
    ShortSecret {
        /// The key's name.
        name: String,
        /// Where it was set.
        origin: String,
        /// How many bytes it has.
        length: usize,
    },
}

impl Config {
    /// Reads and checks all sources.
    pub(crate) fn load(sources: Sources) -> Result<Self, Vec<ConfigError>> {
        let figment = layers(sources).map_err(|error| vec![error])?;
        let values = figment.data().map_err(|error| vec![ConfigError::Syntax(error.to_string())])?;
        let values = values.get(&Profile::Default).cloned().unwrap_or_default();
        let misfits: Vec<_> =
            known::misfits(&values).iter().map(|misfit| complain(&figment, misfit)).collect();
        if !misfits.is_empty() {
            return Err(misfits);
        }
        let no_keys = values.get(KEYS).and_then(Value::as_dict).is_none_or(Dict::is_empty);
        let figment = figment.join(Serialized::default("rtc.use_loopback", no_keys));
        let config: Self = figment.extract().map_err(|errors| {
            errors.into_iter().map(|error| value_error(&figment, &error.path.join("."))).collect::<Vec<_>>()
        })?;
        let errors = config.out_of_range(&figment);
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// This configuration as TOML.
    pub(crate) fn to_toml(&self, secrets: Secrets) -> String {
        let mut table = toml::Table::try_from(self).expect("a configuration is plain values");
        if secrets == Secrets::Shown {
            let shown =
                self.keys.iter().map(|(name, secret)| (name.clone(), secret.reveal().into())).collect();
            table.insert(KEYS.to_owned(), toml::Value::Table(shown));
        }
        toml::to_string_pretty(&table).expect("a table is TOML")
    }

    /// The values that have the right type but no sense.
    fn out_of_range(&self, figment: &Figment) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = [
            ("rtc.workers", (1..=WORKERS_MAX).contains(&self.rtc.workers)),
            (
                "rtc.node_ip",
                self.rtc.node_ip.len() <= NODE_IPS_MAX
                    && !self.rtc.node_ip.iter().any(IpAddr::is_unspecified),
            ),
            ("rtc.span_above_load", (0.0..=1.0).contains(&self.rtc.span_above_load)),
            ("rtc.span_participants", (1..=10_000).contains(&self.rtc.span_participants)),
            ("rtc.external_ip", !self.rtc.external_ip.is_some_and(|ip| ip.is_unspecified())),
            ("room.max_participants", (1..=10_000).contains(&self.room.max_participants)),
            ("downlink.min_kbps", (1..=DOWNLINK_MAX).contains(&self.downlink.min_kbps)),
            (
                "downlink.start_kbps",
                (self.downlink.min_kbps..=DOWNLINK_MAX).contains(&self.downlink.start_kbps),
            ),
            (
                "downlink.max_kbps",
                (self.downlink.start_kbps..=DOWNLINK_MAX).contains(&self.downlink.max_kbps),
            ),
            ("limit.sockets", (1..=1_000_000).contains(&self.limit.sockets)),
            ("rtc.tcp_port", !self.rtc.use_tcp || self.rtc.tcp_port == 0 || self.rtc.tcp_port != self.port),
            (
                "rtc.udp_port",
                self.rtc.udp_port == 0 || usize::from(self.rtc.udp_port) + self.rtc.workers <= 65_536,
            ),
        ]
        .into_iter()
        .filter(|(_, fits)| !fits)
        .map(|(path, _)| value_error(figment, path))
        .collect();
        for (name, secret) in &self.keys {
            let length = secret.reveal().len();
            if length < SECRET_MIN {
                let origin = origin(figment, &["keys", name]);
                errors.push(ConfigError::ShortSecret { name: name.clone(), origin, length });
            }
        }
        errors
    }
}

/// The layers in the order of precedence, the computed defaults lowest.
fn layers(sources: Sources) -> Result<Figment, ConfigError> {
    let mut figment = Figment::from(Toml::string(DEFAULTS))
        .join(Serialized::default("rtc.workers", sources.cores.clamp(1, WORKERS_MAX)));
    if let Some(path) = sources.file {
        std::fs::File::open(&path).map_err(|error| ConfigError::File(path.clone(), error.to_string()))?;
        figment = figment.merge(Toml::file_exact(path));
    } else if std::fs::exists(FILE).unwrap_or(false) {
        figment = figment.merge(Toml::file_exact(FILE));
    }
    let variables = sources.environment.iter().filter_map(|(name, value)| Setting::variable(name, value));
    figment = figment.merge(Settings { kind: "environment variable", entries: variables.collect() });
    Ok(figment.merge(Settings { kind: "flag", entries: sources.flags }))
}

fn complain(figment: &Figment, misfit: &Misfit<'_>) -> ConfigError {
    match misfit {
        Misfit::Unknown(path, value) => {
            let origin = origin_of(figment, value, path);
            ConfigError::Unknown { path: path.clone(), origin, nearest: known::nearest(path) }
        }
        Misfit::NotATable(path) => value_error(figment, path),
    }
}

fn value_error(figment: &Figment, path: &str) -> ConfigError {
    let value = match figment.find_value(path) {
        Ok(_) if path.starts_with(KEYS) => "********".to_owned(),
        Ok(value) => show(&value),
        Err(_) => "nothing".to_owned(),
    };
    let parts: Vec<&str> = path.split('.').collect();
    let expected = known::expected(path);
    ConfigError::Value { path: path.to_owned(), value, origin: origin(figment, &parts), expected }
}

fn origin(figment: &Figment, path: &[&str]) -> String {
    let path = path.join(".");
    figment.find_value(&path).map_or_else(|_| "default".to_owned(), |value| origin_of(figment, &value, &path))
}

fn origin_of(figment: &Figment, value: &Value, path: &str) -> String {
    // A table has no origin of its own after merging: its first value's is as good.
    let tag = value.as_dict().and_then(|table| table.values().next()).map_or(value.tag(), Value::tag);
    let Some(metadata) = figment.get_metadata(tag) else { return "default".to_owned() };
    if let Some(file) = metadata.source.as_ref().and_then(figment::Source::file_path) {
        return format!("file {}", file.display());
    }
    let parts: Vec<&str> = path.split('.').collect();
    match metadata.name.as_ref() {
        "environment variable" | "flag" => {
            format!("{} {}", metadata.name, metadata.interpolate(figment.profile(), &parts))
        }
        _ => "default".to_owned(),
    }
}

fn show(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "?".to_owned())
}

/// Addresses as a list, or as one text with commas.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Text(String),
        List(Vec<IpAddr>),
    }
    match OneOrMany::deserialize(deserializer)? {
        OneOrMany::List(list) => Ok(list),
        OneOrMany::Text(text) => {
            text.split(',').map(|part| part.trim().parse().map_err(serde::de::Error::custom)).collect()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn write_scene<S: Serializer>(scene: &Scene, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scene.name())
}

fn read_scene<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scene, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
