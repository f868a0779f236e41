//! The sending half of a worker's socket.
//!
//! In: [`Transmits`]. Out: datagrams, by as few system calls as there can be. Time: none. Limit: nothing waits here. A run
//! that the kernel or the path cannot segment (EIO, EINVAL, EMSGSIZE) goes as single datagrams; after EIO, which says that
//! the interface has no checksum offload, all do.

use std::io;
use std::sync::Arc;

use sfu::worker::{Protocol, Run, Transmits};

use super::Shared;
#[cfg(target_os = "linux")]
use super::mmsg::{BATCH_MAX, Sender};
#[cfg(not(target_os = "linux"))]
use super::one_by_one::{BATCH_MAX, Sender};

/// What was sent.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::media) struct Sent {
    /// Datagrams the kernel took.
    pub(in crate::media) datagrams: u64,
    /// Runs they went in: datagrams of one size to one destination, which cost the kernel hardly more than one.
    pub(in crate::media) runs: u64,
    /// System calls made.
    pub(in crate::media) calls: u64,
    /// Datagrams dropped since the kernel's buffer was full.
    pub(in crate::media) full: u64,
    /// Datagrams the kernel refused, such as without a route.
    pub(in crate::media) failed: u64,
}

/// See the module's description.
pub(in crate::media) struct Outgoing {
    shared: Arc<Shared>,
    /// Whether runs can be segmented.
    segments: bool,
    sender: Sender,
    /// What was sent so far.
    pub(in crate::media) counts: Sent,
}

/// What to do about a run that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The kernel's buffer is full: nothing else will fit either.
    DropAll,
    /// The call was interrupted.
    Again,
    /// Its datagrams go one by one.
    Split,
    /// Nobody can be reached there.
    Drop,
}

impl Outgoing {
    /// `mapped`: whether the socket is an IPv6 one, to which IPv4 is `::ffff:0:0/96`.
    pub(super) fn new(shared: Arc<Shared>, mapped: bool) -> Self {
        let segments = shared.state.max_gso_segments() > 1;
        Self { shared, segments, sender: Sender::new(mapped), counts: Sent::default() }
    }

    /// Sends what there is and goes by UDP.
    pub(in crate::media) fn send(&mut self, transmits: &Transmits) {
        let runs = transmits.runs().filter(|run| run.path.protocol == Protocol::Udp);
        if self.segments {
            self.send_runs(runs);
        } else {
            self.send_runs(runs.flat_map(singly));
        }
    }

    fn send_runs<'a>(&mut self, mut runs: impl Iterator<Item = Run<'a>>) {
        let Some(first) = runs.next() else { return };
        let mut batch = [first; BATCH_MAX];
        let mut count = 1;
        loop {
            for (place, run) in batch[count..].iter_mut().zip(runs.by_ref()) {
                *place = run;
                count += 1;
            }
            if count == 0 {
                return;
            }
            self.send_batch(&batch[..count]);
            count = 0;
        }
    }

    fn send_batch(&mut self, mut batch: &[Run<'_>]) {
        while let [first, others @ ..] = batch {
            self.counts.calls += 1;
            match self.sender.send(&self.shared, batch) {
                Ok(sent) => {
                    let (sent, rest) = batch.split_at(sent);
                    self.counts.runs += sent.len() as u64;
                    self.counts.datagrams += count(sent);
                    batch = rest;
                }
                Err(error) => match remedy(&error, *first) {
                    Remedy::Again => {}
                    Remedy::DropAll => {
                        self.counts.full += count(batch);
                        return;
                    }
                    Remedy::Split => {
                        self.segments &= error.raw_os_error() != Some(libc::EIO);
                        self.send_runs(singly(*first));
                        batch = others;
                    }
                    Remedy::Drop => {
                        self.counts.failed += count(&batch[..1]);
                        tracing::trace!("cannot send to {}: {error}", first.path.remote);
                        batch = others;
                    }
                },
            }
        }
    }
}

/// What is to be done about a refusal of `first`.
fn remedy(error: &io::Error, first: Run<'_>) -> Remedy {
    let is_run = first.datagrams().len() > 1;
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS) => Remedy::DropAll,
        Some(libc::EINTR) => Remedy::Again,
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE) if is_run => Remedy::Split,
        _ => Remedy::Drop, // an error code, of which there are a hundred
    }
}

fn count(runs: &[Run<'_>]) -> u64 {
    runs.iter().map(|run| run.datagrams().len() as u64).sum()
}

/// The datagrams of a run, each a run of its own.
fn singly(run: Run<'_>) -> impl Iterator<Item = Run<'_>> {
    run.datagrams().map(move |bytes| Run { path: run.path, bytes, segment: bytes.len() })
}

#[cfg(test)]
mod tests {
    use sfu::network::path::Path;

    use super::*;

    #[test]
    fn each_refusal_has_its_remedy() {
        let path = Path::udp(None, ([192, 0, 2, 1], 9).into());
        let one = Run { path, bytes: &[0; 100], segment: 100 };
        let two = Run { path, bytes: &[0; 100], segment: 50 };
        for (name, code, run, expected) in [
            ("no room", libc::EAGAIN, two, Remedy::DropAll),
            ("a signal", libc::EINTR, one, Remedy::Again),
            ("an interface without checksums", libc::EIO, two, Remedy::Split),
            ("a datagram beyond the path's limit", libc::EMSGSIZE, two, Remedy::Split),
            ("a kernel that knows no segments", libc::EINVAL, two, Remedy::Split),
            ("one datagram cannot be split", libc::EMSGSIZE, one, Remedy::Drop),
            ("no route", libc::ENETUNREACH, two, Remedy::Drop),
        ] {
            assert_eq!(remedy(&io::Error::from_raw_os_error(code), run), expected, "{name}");
        }
    }
}
