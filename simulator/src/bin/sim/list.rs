//! `sim list`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use simulator::baseline;
use simulator::report::table::{self, Align};
use simulator::scenario;

use crate::ask;
use crate::output::print;

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Shows the scenarios of the grids as well, by the thousand
    #[arg(long)]
    grids: bool,
}

/// Prints scenarios with what they are, and estimators.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let grids = options.grids.then(scenario::grids).into_iter().flatten();
    let row = |scenario: scenario::Scenario| {
        let seconds = format!("{}", scenario.duration.as_secs_f64());
        vec![scenario.name, seconds, scenario.flows.len().to_string(), scenario.about]
    };
    let mut rows: Vec<Vec<String>> = scenario::catalog().into_iter().chain(grids).map(row).collect();
    let trace = "one flow over a recorded link (--trace FILE)";
    rows.push(["trace", table::NOTHING, "1", trace].map(str::to_owned).to_vec());
    let columns =
        [("scenario", Align::Left), ("s", Align::Right), ("flows", Align::Right), ("", Align::Left)];
    for line in table::lines(&columns.map(|(heading, align)| (heading.to_owned(), align)), &rows) {
        print(&line)?;
    }
    print("")?;
    print("estimators")?;
    for name in baseline::NAMES {
        match ask::missing(name) {
            None => print(&format!("  {name}"))?,
            Some(reason) => print(&format!("  {name}  (not in this build: {reason})"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
