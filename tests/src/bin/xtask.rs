//! `cargo xtask`: the tests, benches and pictures of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    lianmai_tests::xtask::main()
}
