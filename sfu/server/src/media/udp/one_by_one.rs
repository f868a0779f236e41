//! Runs of datagrams, each by a system call of its own: where there is no `sendmmsg`.
//!
//! In: runs. Out: how many of the first ones the kernel took. Time: none. Limit: one run a call.

use std::io;

use sfu::worker::Run;

use super::{Shared, mapped};

/// Runs in one system call.
pub(super) const BATCH_MAX: usize = 1;

/// See the module's description.
pub(super) struct Sender {
    mapped: bool,
}

impl Sender {
    /// A sender for a socket that names IPv4 addresses by `::ffff:0:0/96`, if `mapped`.
    pub(super) fn new(mapped: bool) -> Self {
        Self { mapped }
    }

    /// Sends the first run, without waiting.
    pub(super) fn send(&mut self, shared: &Shared, runs: &[Run<'_>]) -> io::Result<usize> {
        let Some(run) = runs.first() else { return Ok(0) };
        let remote = run.path.remote;
        let transmit = quinn_udp::Transmit {
            destination: if self.mapped { mapped(remote) } else { remote },
            ecn: None,
            contents: run.bytes,
            segment_size: (run.bytes.len() > run.segment).then_some(run.segment),
            src_ip: run.path.local,
        };
        shared.state.try_send((&shared.io).into(), &transmit).map(|()| 1)
    }
}
