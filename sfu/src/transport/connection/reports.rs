//! A [`ConnectionPipeline`]'s reports: the clocks and round trips that its peer tells, and what it tells the peer.

use proto::rtcp::{ReceiverReport, ReportBlock, Rtcp, SenderReport};
use proto::time::{Instant, NtpTime};

use super::ConnectionPipeline;
use crate::transport::reception::round_trip;

/// Report blocks that fit one RTCP packet (RFC 3550 §6.4.1: a five-bit count).
const REPORT_BLOCKS_MAX: usize = 31;

impl ConnectionPipeline {
    pub(super) fn handle_sender_report(&mut self, now: Instant, wall: NtpTime, report: &SenderReport) {
        let Some(id) = self.by_ssrc.get(&report.ssrc) else { return };
        let stream = self.streams.get_mut(id).expect("by_ssrc names streams that exist");
        if stream.origin().ssrc != report.ssrc {
            return; // the clock of a stream of retransmissions is its media stream's
        }
        self.publisher_clock.handle_sender_report(wall, report.ntp);
        let at = self.publisher_clock.to_server(report.ntp).unwrap_or(wall);
        stream.handle_sender_report(now, report.ntp, at, report.rtp_timestamp);
    }

    pub(super) fn handle_report_blocks(&mut self, wall: NtpTime, blocks: &[ReportBlock]) {
        let Some(sample) = blocks.iter().find_map(|block| round_trip(block, wall)) else { return };
        // RFC 6298 §2.3's gain of 1/8.
        let rtt = self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8);
        self.rtt = Some(rtt);
        for stream in self.streams.values_mut() {
            stream.set_rtt(rtt);
        }
        for slot in &mut self.slots {
            slot.set_rtt(rtt);
        }
    }

    /// One round of reports (RFC 3550 §6.4): on every slot that has sent and every stream that came.
    pub(super) fn report(&mut self, now: Instant, wall: NtpTime) {
        let mut blocks: Vec<ReportBlock> =
            self.streams.values_mut().filter_map(|stream| stream.report(now)).collect();
        for slot in &mut self.slots {
            slot.read_pace(now);
            let (stats, Some(rtp_timestamp)) = (slot.stats(), slot.timestamp_at(wall)) else { continue };
            if slot.current().is_none() {
                continue;
            }
            self.waiting.push(Rtcp::SenderReport(SenderReport {
                ssrc: slot.ssrc(),
                ntp: wall,
                rtp_timestamp,
                packets: stats.packets,
                octets: stats.octets,
                reports: Vec::new(),
            }));
            self.waiting.push(Rtcp::SourceDescription { ssrc: slot.ssrc(), cname: self.cname.clone() });
        }
        while !blocks.is_empty() {
            let rest = blocks.split_off(blocks.len().min(REPORT_BLOCKS_MAX));
            self.waiting.push(Rtcp::ReceiverReport(ReceiverReport { ssrc: self.own_ssrc, reports: blocks }));
            blocks = rest;
        }
        if self.downlink.as_mut().is_some_and(|downlink| downlink.rest(now)) {
            self.outgoing.forget_recent();
        }
    }
}
