//! `cargo xtask bench fec --audio`: lossy sound by what repairs it, decoded by the real libopus.
//!
//! In: options. Out: JSON rows on the standard output, a table on the standard error, a page, a verdict.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use simulator::sweep::Seeds;

use crate::sound::{self, Point, Row};
use crate::xtask::install;

/// What chooses this bench among those of loss recovery.
const AUDIO: &str = "--audio";

/// What to measure.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench fec --audio", about = "Lossy sound, decoded by the real libopus")]
pub(super) struct Options {
    /// Prints a JSON object a line for each path and policy; the table goes to the standard error all the same
    #[arg(long)]
    json: bool,
    /// Writes a page with the table
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The seeds, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..3")]
    seeds: Seeds,
    /// How long each of them is heard
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Ends with 1 if RED does not leave fewer gaps than in-band redundancy, and that fewer than nothing, at a bounded cost
    #[arg(long)]
    check: bool,
}

/// The options, if it is this bench that they ask for.
pub(super) fn options(all: &[OsString]) -> Option<Result<Options>> {
    all.iter().any(|option| option == AUDIO).then(|| {
        let others = all.iter().filter(|option| *option != AUDIO).cloned();
        let parsed = Options::try_parse_from([OsString::from("fec")].into_iter().chain(others));
        let options = parsed.unwrap_or_else(|error| error.exit()); // as clap ends for wrong options and for --help
        ensure!((1..=86_400).contains(&options.seconds), "--seconds is from 1 to a day");
        Ok(options)
    })
}

/// Measures.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let opus = install::libopus()?;
    let mut rows = Vec::new();
    for point in Point::all() {
        eprintln!("{point} …");
        rows.extend(sound::measure(&opus, point, options.seeds, options.seconds)?);
    }
    for line in sound::lines(&rows) {
        eprintln!("{line}");
    }
    if options.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    }
    if let Some(file) = &options.html {
        write_page(file, &rows)?;
    }
    let verdicts = sound::verdicts(&rows);
    for verdict in &verdicts {
        eprintln!("{verdict}");
    }
    Ok(if options.check && !verdicts.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n<title>Lossy sound · Lianmai</title>\n\
    <style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #8884}\
    td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}</style>\n<h1>Lossy sound</h1>\n\
    <p>Packets of 20 ms over lossy paths, 60 ms RTT, 60 ms of playout buffer, decoded by libopus: what was missing in \
    time, what the decoder made up, where that was to be heard, and what it cost on the wire.</p>\n";

fn write_page(file: &Path, rows: &[Row]) -> Result<()> {
    std::fs::write(file, page(rows)).with_context(|| format!("writing {}", file.display()))
}

/// Nothing in it needs escaping: the words are ours, the rest are numbers.
fn page(rows: &[Row]) -> String {
    let (headings, rows) = sound::cells(rows);
    let mut html = HEAD.to_owned();
    let mut line = |cell: &str, cells: &[String]| {
        html.push_str("<tr>");
        for text in cells {
            let _ = write!(html, "<{cell}>{text}</{cell}>");
        }
        html.push_str("</tr>\n");
    };
    line("th", &headings.map(str::to_owned));
    for row in rows {
        line("td", &row);
    }
    let body = html.split_off(HEAD.len());
    format!("{html}<table>\n{body}</table>\n</html>\n")
}

#[cfg(test)]
mod tests {
    use libopus::Opus;

    use super::*;

    fn parse(line: &str) -> Option<Options> {
        let all: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        options(&all).map(Result::unwrap)
    }

    #[test]
    fn only_sound_is_asked_for_here() {
        assert!(parse("--rtt 60 --check").is_none());
        let options = parse("--json --audio --seeds 4..6 --check").unwrap();
        assert!(options.json && options.check && options.html.is_none());
        assert_eq!(options.seeds, Seeds::new(4, 6).unwrap());
    }

    #[test]
    fn lossy_sound_is_best_with_red_then_in_band_then_without_and_red_is_free_on_clean_paths() {
        let opus = Opus::load().expect("libopus0 is installed for tests");
        let mut rows = Vec::new();
        for point in Point::all() {
            rows.extend(sound::measure(&opus, point, Seeds::new(1, 2).unwrap(), 60).unwrap());
        }
        assert_eq!(sound::verdicts(&rows), Vec::<String>::new(), "{}", sound::lines(&rows).join("\n"));
        let page = page(&rows);
        assert_eq!(page.matches("<tr>").count(), rows.len() + 1);
    }

    #[test]
    fn a_policy_that_does_not_help_is_told_of() {
        let opus = Opus::load().expect("libopus0 is installed for tests");
        let point = Point::all()[1];
        let rows = sound::measure(&opus, point, Seeds::one(1), 20).unwrap();
        let mut worse = rows.clone();
        worse[2].concealed = rows[0].concealed;
        worse[2].overhead = 2.0;
        let verdicts = sound::verdicts(&worse);
        assert!(verdicts.iter().any(|verdict| verdict.contains("fewer gaps than in-band")), "{verdicts:?}");
        assert!(verdicts.iter().any(|verdict| verdict.contains("at most")), "{verdicts:?}");
        assert_eq!(sound::verdicts(&rows[..2]).len(), 1, "a row is missing");
    }
}
