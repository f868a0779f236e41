//! The Lianmai server: sockets, threads, HTTP, configuration and metrics around the SFU core.
//!
//! A shell: it carries bytes, messages and time to the cores of [`sfu::worker`] and their outputs out into the world,
//! and decides nothing about media. [`serve`] puts it together; [`media`] is the only part that knows the cores.

mod addresses;
mod banner;
mod cli;
mod clock;
mod config;
mod http;
mod media;
mod ports;
mod rooms;
mod serve;
mod shutdown;
mod token;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, MintToken, ShowConfig};
use clock::UnixSeconds;
use config::{Config, Level, Secret, Secrets, Sources};
use serve::Ready;
use token::{Claims, VideoGrant};

/// The exit status for a configuration that cannot be used, the same as clap's for flags.
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command() {
        Command::Serve(flags) => {
            let ready = if flags.print_ready { Ready::Print } else { Ready::Keep };
            load(flags.keys.sources()).and_then(|config| run(config, ready))
        }
        Command::Config(flags) => show_config(&flags),
        Command::Token(flags) => mint(flags),
    };
    result.map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

fn load(sources: Sources) -> Result<Config, ExitCode> {
    Config::load(sources).map_err(|errors| {
        for error in errors {
            eprintln!("error: {error}");
        }
        ExitCode::from(BAD_CONFIG)
    })
}

fn run(config: Config, ready: Ready) -> Result<(), ExitCode> {
    start_log(config.log.level);
    let fail = |error: &dyn std::fmt::Display| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| fail(&error))?;
    let result = runtime.block_on(serve::run(config, ready)).map_err(|error| fail(&error));
    runtime.shutdown_background(); // what is still open has had its time
    result
}

fn show_config(flags: &ShowConfig) -> Result<(), ExitCode> {
    if flags.defaults {
        print!("{}", config::DEFAULTS);
        return Ok(());
    }
    let config = load(flags.keys.sources())?;
    let secrets = if flags.show_secrets { Secrets::Shown } else { Secrets::Masked };
    print!("{}", config.to_toml(secrets));
    Ok(())
}

fn mint(flags: MintToken) -> Result<(), ExitCode> {
    let (key, secret) = signing_key(flags.key, flags.secret, flags.config)?;
    let forbidden = |forbid: bool| forbid.then_some(false);
    let claims = Claims {
        iss: key,
        sub: flags.identity,
        nbf: None,
        exp: Some((UnixSeconds::now().0 + flags.ttl) as f64),
        name: flags.name.unwrap_or_default(),
        video: VideoGrant {
            room: flags.room,
            room_join: true,
            can_publish: forbidden(flags.no_publish),
            can_subscribe: forbidden(flags.no_subscribe),
            can_publish_sources: Vec::new(),
        },
    };
    println!("{}", token::mint(&claims, &secret));
    Ok(())
}

/// The key given by flags, or the configuration's.
fn signing_key(
    key: Option<String>,
    secret: Option<String>,
    file: Option<std::path::PathBuf>,
) -> Result<(String, Secret), ExitCode> {
    let fail = |reason: &str| {
        eprintln!("error: {reason}");
        ExitCode::from(BAD_CONFIG)
    };
    if let (Some(key), Some(secret)) = (&key, secret) {
        if secret.len() < config::SECRET_MIN {
            return Err(fail(&format!(
                "--secret has {} bytes, expected at least {}",
                secret.len(),
                config::SECRET_MIN
            )));
        }
        return Ok((key.clone(), Secret::new(secret)));
    }
    let keys = load(cli::sources(file, Vec::new()))?.keys;
    match key {
        Some(key) => keys.get(&key).map(|secret| (key.clone(), secret.clone())).ok_or_else(|| {
            fail(&format!("there is no key {key:?} in the configuration; give its --secret too"))
        }),
        None if keys.len() == 1 => Ok(keys.into_iter().next().expect("there is just one")),
        None if keys.is_empty() => Err(fail(
            "the configuration has no keys; give --key and --secret, such as those that `lianmai serve` prints",
        )),
        None => Err(fail("the configuration has several keys; say which with --key")),
    }
}

/// Logs to stderr: our own lines at `level`, the libraries' warnings.
fn start_log(level: Level) {
    let filter = match level {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "warn,lianmai=info",
        Level::Debug => "warn,lianmai=debug",
        Level::Trace => "debug,lianmai=trace",
    };
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(false)
        .init();
}
