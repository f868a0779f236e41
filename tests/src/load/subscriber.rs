//! What a client receives: every stream counted, losses asked for again, reports and arrivals told as a browser does.
//!
//! In: RTP and sender reports. Out: RTCP datagrams, which packet of whom came. Time: `poll_timeout`. Limit: `STREAMS_MAX`
//! streams; packets of others are not looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use fec::nack::NackGenerator;
use proto::rtcp::{self, ReceiverReport, ReportBlock, Rtcp};
use proto::rtp::{ExtensionId, RtpView, SeqNo, SeqUnwrapper, Ssrc, rtx};
use proto::time::{Instant, earliest};
use sfu::transport::arrivals::ArrivalLog;
use sfu::transport::reception::Reception;
use simulator::node::client::payload;

use super::tally::{Counts, Tally};

/// Between receiver reports: libwebrtc's own interval for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Streams of one subscriber.
const STREAMS_MAX: usize = 64;

/// Packets that a hostile client asks for at a time.
const FLOOD_PACKETS: u16 = 60;

/// The clock rate of pictures.
const RATE: u32 = 90_000;

/// What a subscriber tells of what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    /// When each packet arrived, and reports.
    Arrivals(ExtensionId),
    /// Reports alone.
    Reports,
}

/// A packet of somebody's pictures that came for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    /// The publisher's number.
    pub(super) publisher: u16,
    /// The packet's, among those of its stream.
    pub(super) serial: u32,
}

/// See the module's description.
pub(super) struct Subscriber {
    own: Ssrc,
    tells: Tells,
    streams: Vec<Stream>,
    /// Whose retransmissions each stream of such brings.
    rtx: BTreeMap<Ssrc, Ssrc>,
    arrivals: ArrivalLog,
    report_at: Option<Instant>,
}

struct Stream {
    ssrc: Ssrc,
    seqs: SeqUnwrapper,
    newest: SeqNo,
    reception: Reception,
    nack: NackGenerator,
    tally: Tally,
}

impl Subscriber {
    /// A subscriber that names itself `own` in its RTCP.
    pub(super) fn new(own: Ssrc, tells: Tells) -> Self {
        Self {
            own,
            tells,
            streams: Vec::new(),
            rtx: BTreeMap::new(),
            arrivals: ArrivalLog::new(own, own),
            report_at: None,
        }
    }

    /// The server will send retransmissions of `media` in `rtx`.
    pub(super) fn add_rtx(&mut self, media: Ssrc, rtx: Ssrc) {
        self.rtx.insert(rtx, media);
    }

    /// A packet came.
    pub(super) fn handle_rtp(&mut self, now: Instant, bytes: &[u8]) -> Option<Arrived> {
        let view = RtpView::parse(bytes).ok()?;
        if let Tells::Arrivals(id) = self.tells
            && let Some(&[high, low]) = view.extension(id)
        {
            self.arrivals.set_media(view.ssrc());
            self.arrivals.handle_arrival(now, SeqNo(u16::from_be_bytes([high, low])));
        }
        self.report_at.get_or_insert(now + REPORT_INTERVAL / 5);
        let (ssrc, again) = match self.rtx.get(&view.ssrc()) {
            Some(media) => (*media, Some(rtx::unwrap(view.payload())?)),
            None => (view.ssrc(), None),
        };
        let payload = again.map_or(view.payload(), |(_, payload)| payload);
        let stamp = payload::read(payload, true)?.stamp; // others are padding or repair
        let stream = self.stream(ssrc)?;
        if let Some((seq, _)) = again {
            let seq = stream.seqs.peek(seq);
            stream.nack.handle_recovered(now, seq);
        } else {
            stream.reception.handle_packet(now, view.seq(), view.timestamp(), RATE);
            let seq = stream.seqs.unwrap(view.seq());
            stream.nack.handle_arrival(now, seq);
            stream.newest = view.seq();
        }
        let is_new = stream.tally.note(stamp.serial.into());
        is_new.then_some(Arrived { publisher: stamp.publisher, serial: stamp.serial })
    }

    /// A sender report came.
    pub(super) fn handle_rtcp(&mut self, now: Instant, packet: &Rtcp) {
        if let Rtcp::SenderReport(report) = packet
            && let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == report.ssrc)
        {
            stream.reception.handle_sender_report(now, report.ntp, report.rtp_timestamp);
        }
    }

    /// Puts out what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        self.arrivals.handle_timeout(now);
        while let Some(feedback) = self.arrivals.poll_feedback() {
            send(&rtcp::write(&[Rtcp::TransportFeedback(feedback)]));
        }
        for stream in &mut self.streams {
            if stream.nack.poll_timeout().is_some_and(|at| at <= now) {
                stream.nack.handle_timeout(now);
            }
            while let Some(lost) = stream.nack.poll_nack() {
                let lost = lost.into_iter().map(|seq| SeqNo(seq as u16)).collect();
                send(&rtcp::write(&[Rtcp::Nack { sender: self.own, media: stream.ssrc, lost }]));
            }
            if stream.nack.take_given_up() > 0 {
                send(&rtcp::write(&[Rtcp::Pli { sender: self.own, media: stream.ssrc }]));
            }
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_INTERVAL);
            let reports: Vec<ReportBlock> =
                self.streams.iter_mut().filter_map(|stream| stream.reception.report(now)).collect();
            for reports in reports.chunks(31) {
                let report = ReceiverReport { ssrc: self.own, reports: reports.to_vec() };
                send(&rtcp::write(&[Rtcp::ReceiverReport(report)]));
            }
        }
    }

    /// Asks for the newest packets of each stream, which were not lost.
    pub(super) fn ask_for_everything(&self, mut send: impl FnMut(&[u8])) {
        for stream in &self.streams {
            let lost =
                (0..FLOOD_PACKETS).rev().map(|behind| stream.newest.plus(behind.wrapping_neg())).collect();
            send(&rtcp::write(&[Rtcp::Nack { sender: self.own, media: stream.ssrc, lost }]));
        }
    }

    /// When to call [`Subscriber::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = earliest(self.report_at, self.arrivals.poll_timeout());
        self.streams.iter().fold(own, |at, stream| earliest(at, stream.nack.poll_timeout()))
    }

    /// The round trip to the server.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.streams.iter_mut().for_each(|stream| stream.nack.set_rtt(rtt));
    }

    /// What came since the last call.
    pub(super) fn take(&mut self) -> Counts {
        let mut counts = Counts::default();
        self.streams.iter_mut().for_each(|stream| counts.add(stream.tally.take()));
        counts
    }

    /// The streams that brought pictures.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    fn stream(&mut self, ssrc: Ssrc) -> Option<&mut Stream> {
        if let Some(place) = self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            return self.streams.get_mut(place);
        }
        if self.streams.len() == STREAMS_MAX {
            return None;
        }
        self.streams.push(Stream {
            ssrc,
            seqs: SeqUnwrapper::default(),
            newest: SeqNo(0),
            reception: Reception::new(ssrc),
            nack: NackGenerator::new(),
            tally: Tally::new(),
        });
        self.streams.last_mut()
    }
}
