//! The command line.
//!
//! In: arguments. Out: a [`Cli`], and the configuration's [`Sources`] with the flags among them. Every flag of `serve`
//! that sets a key goes through the same checks as the file and the environment.

#![expect(clippy::doc_markdown, reason = "clap shows these comments as they are")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{FILE_VARIABLE, Setting, Sources};

/// Lianmai: an SFU for people who broadcast together.
#[derive(Debug, Parser)]
#[command(name = "lianmai", version, about, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a subcommand: serve. Every key of the configuration: lianmai config --defaults"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

impl Cli {
    /// What to do; to serve unless something else is said.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the server (the default).
    Serve(Serve),
    /// Prints the effective configuration as TOML.
    Config(ShowConfig),
    /// Mints a token and prints it.
    Token(MintToken),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) keys: Flags,
    /// Prints one line of JSON on stdout when everything listens: {"http","metrics","udp","tcp","key","secret"}. For
    /// tests.
    #[arg(long)]
    pub(crate) print_ready: bool,
}

/// Flags of `config`.
#[derive(Debug, Args)]
pub(crate) struct ShowConfig {
    #[command(flatten)]
    pub(crate) keys: Flags,
    /// Prints secrets in the clear.
    #[arg(long)]
    pub(crate) show_secrets: bool,
    /// Prints the defaults with an explanation of every key instead.
    #[arg(long)]
    pub(crate) defaults: bool,
}

/// Flags of `token`.
#[derive(Debug, Args)]
pub(crate) struct MintToken {
    /// The room that may be joined.
    #[arg(long)]
    pub(crate) room: String,
    /// Who it is for.
    #[arg(long)]
    pub(crate) identity: String,
    /// The name to show; the identity if not given.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long it is valid: a number with s, m, h or d.
    #[arg(long, default_value = "6h", value_parser = seconds)]
    pub(crate) ttl: u64,
    /// Does not allow publishing.
    #[arg(long)]
    pub(crate) no_publish: bool,
    /// Does not allow receiving.
    #[arg(long)]
    pub(crate) no_subscribe: bool,
    /// The name of the key that signs; may be left out if the configuration has just one.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// The key's secret, if it is not in the configuration.
    #[arg(long, requires = "key")]
    pub(crate) secret: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    pub(crate) config: Option<PathBuf>,
}

/// Flags that set keys of the configuration.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The configuration file; ./lianmai.toml is read if it is there.
    #[arg(long, value_name = "FILE", env = FILE_VARIABLE)]
    config: Option<PathBuf>,
    /// The address to listen on [bind].
    #[arg(long, value_name = "IP")]
    bind: Option<String>,
    /// TCP port of page and signaling, 0 for a free one [port].
    #[arg(long, allow_negative_numbers = true)]
    port: Option<String>,
    /// UDP port of the first media worker, 0 for free ones [rtc.udp_port].
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    udp_port: Option<String>,
    /// TCP port for media, 0 for a free one [rtc.tcp_port].
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    tcp_port: Option<String>,
    /// Whether media may come by TCP, where UDP does not work [rtc.use_tcp].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    use_tcp: Option<String>,
    /// TCP port of /metrics, 0 for a free one [metrics.port].
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    metrics_port: Option<String>,
    /// Media threads [rtc.workers].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    workers: Option<String>,
    /// The addresses to announce instead of the interfaces', with commas between them [rtc.node_ip].
    #[arg(long, value_name = "IP,…")]
    node_ip: Option<String>,
    /// The public address to announce in addition [rtc.external_ip].
    #[arg(long, value_name = "IP")]
    external_ip: Option<String>,
    /// Whether loopback addresses are announced [rtc.use_loopback].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    use_loopback: Option<String>,
    /// A key that may sign tokens; may be repeated [keys].
    #[arg(long, value_name = "NAME=SECRET", value_parser = pair)]
    key: Vec<(String, String)>,
    /// The most participants in a room [room.max_participants].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_participants: Option<String>,
    /// The most `WebSocket`s [limit.sockets].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_sockets: Option<String>,
    /// off, error, warn, info, debug or trace [log.level].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Flags {
    /// The sources of the configuration: these flags and the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        for (path, spelled, value) in [
            (&["bind"][..], "--bind", &self.bind),
            (&["port"], "--port", &self.port),
            (&["rtc", "udp_port"], "--udp-port", &self.udp_port),
            (&["rtc", "tcp_port"], "--tcp-port", &self.tcp_port),
            (&["rtc", "use_tcp"], "--use-tcp", &self.use_tcp),
            (&["metrics", "port"], "--metrics-port", &self.metrics_port),
            (&["rtc", "workers"], "--workers", &self.workers),
            (&["rtc", "node_ip"], "--node-ip", &self.node_ip),
            (&["rtc", "external_ip"], "--external-ip", &self.external_ip),
            (&["rtc", "use_loopback"], "--use-loopback", &self.use_loopback),
            (&["room", "max_participants"], "--max-participants", &self.max_participants),
            (&["limit", "sockets"], "--max-sockets", &self.max_sockets),
            (&["log", "level"], "--log-level", &self.log_level),
        ] {
            flags.extend(value.as_ref().map(|value| Setting::flag(path, spelled, value)));
        }
        for (name, secret) in &self.key {
            flags.push(Setting::flag(&["keys", name], "--key", secret));
        }
        sources(self.config.clone(), flags)
    }
}

/// Sources with the process's environment and the machine's cores.
pub(crate) fn sources(file: Option<PathBuf>, flags: Vec<Setting>) -> Sources {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Sources { file, environment, flags, cores }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, secret) = text.split_once('=').ok_or("expected NAME=SECRET")?;
    if name.is_empty() {
        return Err("the name is empty");
    }
    Ok((name.to_owned(), secret.to_owned()))
}

/// A length of time such as `90s`, `30m`, `6h` or `7d`; a bare number is seconds.
fn seconds(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a number with s, m, h or d, such as 6h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(EXPECTED),
    };
    let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
    number.checked_mul(unit).filter(|&seconds| seconds > 0).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command_for_update().debug_assert();
        <Cli as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn lengths_of_time_have_units() {
        for (text, expected) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("6h", Some(21_600)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("h", None),
            ("6 weeks", None),
            ("-1h", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn serve_is_the_default_and_takes_its_flags_without_a_name() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(Cli::command);
        for line in ["lianmai", "lianmai --port 1", "lianmai serve --port 1 --use-loopback --key a=b"] {
            assert!(matches!(parse(line), Ok(Command::Serve(_))), "{line}");
        }
        assert!(matches!(parse("lianmai token --room r --identity i"), Ok(Command::Token(_))));
        assert!(matches!(parse("lianmai config --port 1"), Ok(Command::Config(_))));
        assert!(parse("lianmai --prot 1").is_err());
    }
}
