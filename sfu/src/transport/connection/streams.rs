//! How a [`ConnectionPipeline`]'s streams begin and end: which media section a source belongs to.
//!
//! In: packets of unknown sources, by SSRC, mid and rid (RFC 8843 §9.2, RFC 8852). Out: streams. Time: `now`, monotonic. Limit:
//! [`STREAMS_MAX`]; the one silent longest goes first.

use proto::ids::{Mid, Rid};
use proto::rtp::extension::Extension;
use proto::rtp::{RtpView, Ssrc};
use proto::time::{Instant, NtpTime};

use super::{ConnectionPipeline, RESTART_INTERVAL, RtpDrop, STREAMS_MAX};
use crate::transport::packet::StreamId;
use crate::transport::rtp_recv::{RecvDrop, RtpRecvPipeline, StreamOrigin};

impl ConnectionPipeline {
    /// The stream of an SSRC that is new: by its mid and rid (RFC 8843 §9.2, RFC 8852), else by the offer's SSRCs.
    pub(super) fn add_stream(
        &mut self,
        now: Instant,
        wall: NtpTime,
        view: &RtpView<'_>,
    ) -> Result<StreamId, RtpDrop> {
        let unknown = RtpDrop::UnknownStream(view.ssrc());
        let section = match self.text(view, Extension::Mid) {
            Some(mid) => self.section_of(&Mid::from(mid)),
            None => self.section_by_ssrc(view.ssrc()),
        };
        let section = section.ok_or(unknown)?;
        let offered = self.sections[section].as_ref().ok_or(unknown)?;
        let payload_type = view.payload_type();
        if offered.codecs.iter().any(|codec| codec.rtx == Some(payload_type)) {
            let id = self.repaired_stream(section, view).ok_or(unknown)?;
            self.add_rtx(id, view.ssrc());
            return Ok(id);
        }
        if offered.flexfec == Some(payload_type) {
            return self.add_repair(now, section, view);
        }
        let rid = self.text(view, Extension::Rid).map(Rid::from);
        if !offered.rids.is_empty() && !rid.as_ref().is_some_and(|rid| offered.rids.contains(rid)) {
            return Err(unknown);
        }
        let codec = offered.codecs.iter().find(|codec| codec.payload_type == payload_type);
        let codec = codec.ok_or(RecvDrop::UnknownPayloadType(payload_type.0))?.clone();
        let (origin, strategy) = (StreamOrigin { section, rid, ssrc: view.ssrc() }, offered.strategy);
        let mut stream = RtpRecvPipeline::new(now, wall, self.next_id()?, origin, &codec, view.timestamp());
        stream.set_strategy(strategy);
        self.insert_stream(now, stream)
    }

    /// A header extension that is a text.
    pub(super) fn text<'a>(&self, view: &RtpView<'a>, extension: Extension) -> Option<&'a str> {
        std::str::from_utf8(view.extension(self.extensions.id(extension)?)?).ok()
    }

    pub(super) fn next_id(&mut self) -> Result<StreamId, RtpDrop> {
        let id = StreamId { connection: self.connection, index: self.next_stream };
        self.next_stream = self.next_stream.checked_add(1).ok_or(RtpDrop::TooManyStreams(self.own_ssrc))?;
        Ok(id)
    }

    pub(super) fn insert_stream(
        &mut self,
        now: Instant,
        mut stream: RtpRecvPipeline,
    ) -> Result<StreamId, RtpDrop> {
        let (id, origin) = (stream.id(), stream.origin().clone());
        let replaced = self.streams(origin.section).find(|stream| stream.origin().rid == origin.rid);
        if let Some((replaced, since)) = replaced.map(|stream| (stream.id(), stream.since())) {
            if now.since(since) < RESTART_INTERVAL {
                return Err(RtpDrop::TooManyStreams(origin.ssrc));
            }
            self.remove_stream(replaced); // the client's encoder began anew under another SSRC
        }
        if self.streams.len() >= STREAMS_MAX {
            let idle = self.streams.values().find(|stream| !stream.is_alive(now));
            let idle = idle.or(self.streams.values().next()).map(RtpRecvPipeline::id);
            self.remove_stream(idle.expect("there are STREAMS_MAX streams"));
        }
        if let Some(rtt) = self.rtt {
            stream.set_rtt(rtt);
        }
        self.by_ssrc.insert(origin.ssrc, id);
        self.streams.insert(id, stream);
        Ok(id)
    }

    pub(super) fn remove_stream(&mut self, id: StreamId) {
        self.streams.remove(&id);
        self.by_ssrc.retain(|_, stream| *stream != id);
    }

    pub(super) fn section_by_ssrc(&self, ssrc: Ssrc) -> Option<usize> {
        self.sections.iter().position(|section| {
            section.as_ref().is_some_and(|section| section.ssrcs.iter().any(|offer| offer.ssrc == ssrc))
        })
    }
}
