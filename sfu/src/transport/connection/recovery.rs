//! What repairs a [`ConnectionPipeline`]'s streams on their way in: which stream a source of retransmissions or of repair
//! packets is for, and what the latter restore.

use std::sync::Arc;

use fec::scheme::flexfec::Refusal;
use proto::ids::Rid;
use proto::rtp::extension::Extension;
use proto::rtp::flexfec::FlexFecView;
use proto::rtp::{RtpView, Ssrc};
use proto::time::Instant;

use super::{ConnectionPipeline, Received, RtpDrop};
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::{RecvDrop, RtpRecvPipeline, Way};
use crate::transport::strategy::Strategy;

impl ConnectionPipeline {
    /// The streams of a section come in this way from now on.
    pub fn set_section_strategy(&mut self, section: usize, strategy: Strategy) {
        let Some(Some(own)) = self.sections.get_mut(section) else { return };
        own.strategy = strategy;
        let streams = self.streams.values_mut().filter(|stream| stream.origin().section == section);
        streams.for_each(|stream| stream.set_strategy(strategy));
    }

    /// A packet that what was handled last has restored, or why it is not taken; poll until `None`.
    pub fn poll_restored(&mut self, now: Instant) -> Option<Result<Received, RtpDrop>> {
        let id = self.restoring?;
        let restored = self.streams.get_mut(&id).and_then(|stream| {
            let section = stream.origin().section;
            let codecs = Arc::clone(&self.sections.get(section)?.as_ref()?.codecs);
            let restored = stream.poll_restored(now, &codecs, &self.extensions)?;
            let received =
                |packet| Received { section, stream: id, is_new_stream: false, way: Way::Repair, packet };
            Some(restored.map(received).map_err(RtpDrop::from))
        });
        if restored.is_none() {
            self.restoring = None;
        }
        restored
    }

    /// The stream that a new stream of retransmissions repairs.
    pub(super) fn repaired_stream(&self, section: usize, view: &RtpView<'_>) -> Option<StreamId> {
        let offered = self.sections[section].as_ref()?;
        let offer = offered.ssrcs.iter().find(|offer| offer.ssrc == view.ssrc());
        let media = offer.and_then(|offer| offer.rtx_of);
        let rid = self.text(view, Extension::RepairedRid).map(Rid::from);
        let repaired = self.streams(section).find(|stream| match (&rid, media) {
            (Some(rid), _) => stream.origin().rid.as_ref() == Some(rid),
            (None, Some(media)) => stream.origin().ssrc == media,
            (None, None) => offered.rids.is_empty(),
        });
        repaired.map(RtpRecvPipeline::id)
    }

    /// Takes a source for that of the retransmissions of a stream.
    pub(super) fn add_rtx(&mut self, id: StreamId, ssrc: Ssrc) {
        let stream = self.streams.get_mut(&id).expect("repaired_stream found it");
        if let Some(old) = stream.rtx_ssrc() {
            self.by_ssrc.remove(&old);
        }
        stream.set_rtx(ssrc);
        self.by_ssrc.insert(ssrc, id);
    }

    /// Takes the source of a repair packet for that of the stream which the packet says it protects, one of the same
    /// media section. A stream has one such source, the newest.
    pub(super) fn add_repair(
        &mut self,
        now: Instant,
        section: usize,
        view: &RtpView<'_>,
    ) -> Result<StreamId, RtpDrop> {
        let repair = FlexFecView::parse(view.payload()).map_err(|error| RecvDrop::Repair(error.into()))?;
        let protected = repair.header().protected;
        let mut streams = self.streams.values_mut();
        let stream = streams.find(|stream| stream.origin().ssrc == protected);
        let stream = stream.filter(|stream| stream.origin().section == section && stream.can_ask());
        let stream = stream.ok_or(RecvDrop::Repair(Refusal::Stream(protected)))?;
        let id = stream.id();
        if let Some(old) = stream.set_repair(now, view.ssrc()) {
            self.by_ssrc.remove(&old);
        }
        self.by_ssrc.insert(view.ssrc(), id);
        Ok(id)
    }
}
