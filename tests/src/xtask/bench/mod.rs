//! `cargo xtask bench`: JSON rows on the standard output, tables for people on the standard error.

mod cc;
mod cc_browser;
mod fec;
mod fec_audio;
mod fec_browser;
mod fec_forwarding;
mod first_frame;
mod forward;
mod visc;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// From joining to the first decoded frame: through the server, against a direct `PeerConnection`.
    FirstFrame(first_frame::Options),
    /// Congestion control: every estimator in every scenario, in the simulator (`--help` names the options).
    #[command(disable_help_flag = true)]
    Cc(cc::Options),
    /// Congestion control in the real thing: our server to Chromium, against Chromium to Chromium, on bad networks.
    CcBrowser(cc_browser::Options),
    /// Loss recovery: what repairs blocks in time and what it costs, in the simulator (`--help` names the options); with
    /// `--audio`, sound decoded by the real libopus (`--audio --help`).
    #[command(disable_help_flag = true)]
    Fec(fec::Options),
    /// Loss recovery in the real thing: our server to Chromium behind losses, in every codec.
    FecBrowser(fec_browser::Options),
    /// Loss recovery where nothing is lost: what it costs to forward a packet, against its being compiled out.
    FecForwarding(fec_forwarding::Options),
    /// What forwarding costs: against bare sealing and sending, against a server without its parts, against Janus.
    Forward(forward::Options),
    /// Which tiers publishers send: against the optimum, three layers, and knapsack with merge and reduction.
    Visc(visc::Options),
}

/// Measures it.
pub(super) async fn run(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::FirstFrame(options) => first_frame::run(options).await.map(|()| ExitCode::SUCCESS),
        Bench::Cc(options) => cc::run(options),
        Bench::Fec(options) => fec::run(options),
        Bench::FecBrowser(options) => fec_browser::run(options).await,
        Bench::FecForwarding(options) => fec_forwarding::run(options),
        Bench::Forward(options) => forward::run(options).await,
        Bench::Visc(options) => visc::run(options),
        Bench::CcBrowser(options) => cc_browser::run(options).await.map(|()| ExitCode::SUCCESS),
    }
}
