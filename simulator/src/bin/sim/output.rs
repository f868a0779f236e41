//! What comes out: rows on the standard output, tables on the standard error, pages in files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use simulator::report::page::Page;
use simulator::report::{Group, Row, table};

use crate::play::{Job, Played, play};

/// What a run that broke a rule ends the program with.
pub(crate) const BROKEN: u8 = 1;

/// What to write, and where.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Output {
    /// Prints a JSON object a line for each scenario and estimator; the table goes to the standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Writes a page with tables and plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<std::path::PathBuf>,
}

/// The words of a page.
pub(crate) struct Words {
    /// Its title.
    pub(crate) title: String,
    /// What it is for.
    pub(crate) about: String,
    /// What was chosen.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Output {
    /// Plays jobs and writes what was asked for.
    pub(crate) fn play(&self, jobs: &[Job], words: Words) -> Result<ExitCode> {
        self.play_and(jobs, words, |_| Ok(()))
    }

    /// The same, and shows something more.
    pub(crate) fn play_and(
        &self,
        jobs: &[Job],
        words: Words,
        show: impl FnOnce(&Played) -> Result<()>,
    ) -> Result<ExitCode> {
        self.check()?;
        let played = play(jobs, |group| if self.json { print_row(&Row::of(group)) } else { Ok(()) })?;
        let rows: Vec<Row> = played.groups.iter().map(Row::of).collect();
        for line in table::of_rows(&rows) {
            eprintln!("{line}");
        }
        show(&played)?;
        if let Some(file) = &self.html {
            write_page(file, words, &played.groups)?;
        }
        Ok(verdict(&played))
    }

    /// Whether a page could be written: better told before an hour of runs than after it.
    fn check(&self) -> Result<()> {
        self.html.as_deref().map_or(Ok(()), check_folder)
    }
}

/// Whether there is a folder for a file.
pub(crate) fn check_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(folder.is_dir(), "{}: there is no folder {}", file.display(), folder.display());
    Ok(())
}

/// The exit code: whether a rule was broken.
pub(crate) fn verdict(played: &Played) -> ExitCode {
    if played.broken == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} runs broke a rule", played.broken);
    ExitCode::from(BROKEN)
}

fn print_row(row: &Row) -> Result<()> {
    print(&serde_json::to_string(row)?)
}

/// A line on the standard output.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    Ok(())
}

fn write_page(file: &Path, words: Words, groups: &[Group]) -> Result<()> {
    let Words { title, about, parameters } = words;
    let page = Page { title, about, command: command(), parameters, groups };
    std::fs::write(file, page.html()?).with_context(|| format!("writing {}", file.display()))?;
    eprintln!("plotted in {}", file.display());
    Ok(())
}

/// The command that was given, as one would type it.
pub(crate) fn command() -> String {
    let mut command = "sim".to_owned();
    for argument in std::env::args().skip(1) {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=,:%+".contains(letter);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            let _ = write!(command, " {argument}");
        } else {
            let _ = write!(command, " '{}'", argument.replace('\'', "'\\''"));
        }
    }
    command
}
