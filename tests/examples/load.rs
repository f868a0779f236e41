//! The load generator as a program, so that it is built in release and runs on a core of its own: `cargo xtask bench forward` starts it.
//!
//! In: a plan as JSON on the standard input, by the word that says of which kind: `plan` or `core`. Out: the report as JSON.

#![expect(clippy::print_stdout, reason = "it is a tool")]

use anyhow::{Result, bail};
use lianmai_tests::load::{core, run};

fn main() -> Result<()> {
    let input = std::io::read_to_string(std::io::stdin())?;
    let report = match std::env::args().nth(1).as_deref() {
        Some("plan") => serde_json::to_string(&run::run(&serde_json::from_str(&input)?)?)?,
        Some("core") => serde_json::to_string(&core::run(&serde_json::from_str(&input)?)?)?,
        word => bail!("what to do? `plan` or `core`, not {word:?}"),
    };
    println!("{report}");
    Ok(())
}
