//! What a client publishes: pictures shaped like VP8's, 30 a second, the packets of each at once. So they come from libwebrtc,
//! whose pacer lets go at once what its rate carries in 40 ms, which is more than a picture. Publishers begin at different times.
//!
//! In: `now`, RTCP about the stream. Out: RTP, RTCP. Time: `poll_timeout`. Packets are the simulator's
//! ([`SendStream`]), each with its number, and of the largest payload; when each left is kept for `SENT` packets, so that whoever
//! receives one in the same process knows how long it took.

use std::time::Duration;

use proto::rtcp::{self, Rtcp};
use proto::seed::Seed;
use proto::time::{Instant, NtpTime, earliest};
use proto::units::{Bitrate, DataSize};
use simulator::node::client::offer::Dialect;
use simulator::node::client::stream::{Encoded, Origin, PAYLOAD_MAX, SendStream};

/// Between pictures.
const INTERVAL: Duration = Duration::from_nanos(33_333_333);

/// Between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What the clock of all publishers shows at the start.
const WALL_START: NtpTime = NtpTime::from_bits(0xE900_0000_0000_0000);

/// Packets whose leaving is remembered: eight seconds at 2.5 Mbit/s.
pub(super) const SENT: usize = 2_048;

/// See the module's description.
pub(super) struct Publisher {
    stream: SendStream,
    dialect: Dialect,
    rate: Bitrate,
    /// Bytes that the pictures so far were too small by.
    credit: u64,
    next_picture: Option<Instant>,
    /// How long after it is told to it begins.
    phase: Duration,
    /// The numbers of the picture's packets that have not left.
    waiting: core::ops::Range<u64>,
    key_wanted: bool,
    transport: u16,
    first: Option<u64>,
    sent: Box<[Instant; SENT]>,
    packets: u64,
    report_at: Option<Instant>,
    rtt: Duration,
    scratch: Vec<u8>,
}

impl Publisher {
    /// A publisher in the section `section` of its offer, which is silent until [`Publisher::start`].
    pub(super) fn new((number, section): (u16, u8), dialect: Dialect, rate: Bitrate, seed: &Seed) -> Self {
        let phase =
            INTERVAL.mul_f64(f64::from(seed.fork("phase").generator().number()) / f64::from(u32::MAX));
        let origin = Origin { publisher: number, section, layer: 0, rid: None, is_video: true };
        Self {
            stream: SendStream::new(origin, &mut seed.fork("stream").generator()),
            dialect,
            rate,
            credit: 0,
            next_picture: None,
            phase,
            waiting: 0..0,
            key_wanted: true,
            transport: 0,
            first: None,
            sent: Box::new([Instant::ZERO; SENT]),
            packets: 0,
            report_at: None,
            rtt: Duration::from_millis(1),
            scratch: Vec::new(),
        }
    }

    /// Pictures from now on, the first of them in between: cameras do not know of each other.
    pub(super) fn start(&mut self, now: Instant) {
        self.next_picture.get_or_insert(now + self.phase);
    }

    /// No more pictures; the one that is leaving is finished.
    pub(super) fn stop(&mut self) {
        self.next_picture = None;
    }

    /// The next packet that is due, plain.
    pub(super) fn poll_rtp(&mut self, now: Instant) -> Option<&[u8]> {
        if self.waiting.is_empty() {
            self.encode(now);
        }
        let number = self.waiting.next()?;
        self.scratch.clear();
        self.stream.write(now, (number, self.transport), &self.dialect, &mut self.scratch);
        self.transport = self.transport.wrapping_add(1);
        let serial = number - *self.first.get_or_insert(number);
        self.sent[serial as usize % SENT] = now;
        self.packets += 1;
        self.report_at.get_or_insert(now);
        Some(&self.scratch)
    }

    /// The sender report that is due.
    pub(super) fn poll_rtcp(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.report_at.filter(|at| *at <= now)?;
        self.report_at = Some(now + REPORT_INTERVAL);
        let wall = WALL_START.offset_nanos(now.as_nanos() as i64);
        let name = Rtcp::SourceDescription { ssrc: self.stream.ssrc(), cname: "load".to_owned() };
        Some(rtcp::write(&[self.stream.report(now, wall), name]))
    }

    /// RTCP came; packets that were asked for again go to `send`.
    pub(super) fn handle_rtcp(&mut self, now: Instant, packet: &Rtcp, mut send: impl FnMut(&[u8])) {
        match packet {
            Rtcp::Nack { media, lost, .. } if *media == self.stream.ssrc() => {
                for lost in lost {
                    let Some(number) = self.stream.repair_of(now, *lost, self.rtt) else { continue };
                    self.scratch.clear();
                    self.stream.write_again(number, self.transport, &self.dialect, &mut self.scratch);
                    self.transport = self.transport.wrapping_add(1);
                    send(&self.scratch);
                }
            }
            Rtcp::Pli { media, .. } => self.key_wanted |= *media == self.stream.ssrc(),
            Rtcp::Fir { requests, .. } => {
                self.key_wanted |= requests.iter().any(|(media, _)| *media == self.stream.ssrc());
            }
            Rtcp::Nack { .. }
            | Rtcp::SenderReport(_)
            | Rtcp::ReceiverReport(_)
            | Rtcp::SourceDescription { .. }
            | Rtcp::Bye { .. }
            | Rtcp::TransportFeedback(_)
            | Rtcp::CongestionFeedback(_) => {}
        }
    }

    /// The round trip to the server.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// When the packet with this number of the stream left, if that is remembered.
    pub(super) fn sent_at(&self, serial: u32) -> Option<Instant> {
        let newest = self.packets.checked_sub(1)?;
        let behind = newest.checked_sub(serial.into())?;
        (behind < SENT as u64).then(|| self.sent[serial as usize % SENT])
    }

    /// How many packets left, retransmissions not counted.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// When there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.next_picture, self.report_at)
    }

    fn encode(&mut self, now: Instant) {
        let Some(at) = self.next_picture.filter(|at| *at <= now) else { return };
        // After a pause of the whole process pictures are left out, as a camera does.
        let late = now.since(at) > INTERVAL * 3;
        self.next_picture = Some(if late { now } else { at } + INTERVAL);
        self.credit += (self.rate * INTERVAL).as_bytes();
        let parts = (self.credit / PAYLOAD_MAX).max(1);
        self.credit = self.credit.saturating_sub(parts * PAYLOAD_MAX);
        let key = std::mem::take(&mut self.key_wanted);
        let size = DataSize::bytes(parts * PAYLOAD_MAX);
        self.waiting = self.stream.packetize(&Encoded { captured: at, size, key, pixels: (1_280, 720) });
    }
}
