//! What a [`ConnectionPipeline`] knows of itself, for statistics.

use core::time::Duration;

use fec::loss_model::LossEstimate;
use proto::ids::Mid;

use super::{ConnectionPipeline, RtpRecvPipeline};
use crate::transport::stats::LossCounts;

impl ConnectionPipeline {
    /// The round trip to the client, as its reports tell; `None` before the first.
    pub fn round_trip(&self) -> Option<Duration> {
        self.rtt
    }

    /// What the way to the client loses by itself, as far as it is known.
    pub fn losses(&self) -> LossEstimate {
        self.losses.estimate()
    }

    /// What the way to the client has lost so far, and why.
    pub fn loss_counts(&self) -> LossCounts {
        self.outgoing.loss_counts()
    }

    /// All streams that the client sends, in the order of their beginning.
    pub fn all_streams(&self) -> impl Iterator<Item = &RtpRecvPipeline> {
        self.streams.values()
    }

    /// The name of a media section in which the client sends.
    pub fn section_mid(&self, section: usize) -> Option<&Mid> {
        Some(&self.sections.get(section)?.as_ref()?.mid)
    }
}
