//! libwebrtc's own congestion control, to compare with: `GoogCcNetworkController` out of Debian's `libtgowt-dev`.
//!
//! Empty without the feature `linked`. Nothing of libwebrtc is in this repository: `shim.cc` is ours and calls the
//! interface `api/transport/network_control.h`, and the build links the archive that is installed.
//!
//! In: packets that left, feedback, round trips, losses. Out: [`State`] and [`ProbeCluster`]s. Time: an argument, in
//! microseconds' resolution; the clock that libwebrtc reads on its own shows, in each thread, that thread's argument.
//! Limit: a [`GoogCc`] stays in its thread, and any number of threads may have some. The same calls give the same
//! answers.

#[cfg(feature = "linked")]
mod linked;
#[cfg(feature = "linked")]
mod raw;

#[cfg(feature = "linked")]
pub use linked::{
    Config, Feedback, GoogCc, LossReport, PacedPacket, PacketResult, ProbeCluster, SentPacket, State,
};
