//! RTCP: reports, descriptions and feedback, in compounds (RFC 3550 §6, RFC 4585, RFC 5104).
//!
//! In: a datagram, or packets. Out: packets, or a datagram. Time: none, NTP times are values. Limit: `DATAGRAM_MAX`,
//! `PACKETS_MAX` and, over all feedback of a datagram, [`twcc::STATUSES_MAX`].
//!
//! Reports, NACK, PLI, FIR and goodbyes are read and, but for goodbyes, written by rtc-rtcp, one at a time. What
//! stands around it is our own because rtc-rtcp would: take padding for contents, refuse a whole compound for one
//! packet that we do not care about (REMB, SLI, XR), overflow on a FIR of 64 KiB, and pad goodbyes by less than a
//! word. [`twcc`], [`ccfb`] and `description` say what is not its work at all, and why.

pub mod ccfb;
mod description;
mod frame;
pub mod twcc;

#[cfg(test)]
mod oracle;

use ::rtcp::goodbye::Goodbye;
use ::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use ::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use ::rtcp::reception_report::ReceptionReport;
use ::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc_shared::marshal::{Marshal, Unmarshal};

pub use self::ccfb::{CcfbError, CongestionFeedback};
use self::frame::Frame;
pub use self::twcc::{TransportFeedback, TwccError};
use crate::rtp::{SeqNo, Ssrc};
use crate::time::NtpTime;

/// The longest datagram that is read, in bytes: UDP has none longer.
const DATAGRAM_MAX: usize = 65_535;

/// The most packets that a compound may have; browsers send fewer than ten.
const PACKETS_MAX: usize = 128;

/// The most reports or sources in one packet: its header counts them in five bits.
const COUNT_MAX: usize = 31;

/// The most pairs in one NACK, 1012 bytes, and requests in one FIR, 1028 bytes, so that each fits a datagram.
const NACK_PAIRS_MAX: usize = 250;
const FIR_REQUESTS_MAX: usize = 127;

/// Why a datagram is not RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// It is longer than any datagram.
    #[error("{0} bytes, more than a datagram has")]
    TooLong(usize),
    /// It has more packets than are read.
    #[error("more than {PACKETS_MAX} packets")]
    TooMany,
    /// It ends before the packet does.
    #[error("the packet at byte {at} takes {needed} bytes, {available} are left")]
    Truncated {
        /// Where the packet begins.
        at: usize,
        /// Its length as it states it.
        needed: usize,
        /// What the datagram has from there on.
        available: usize,
    },
    /// A packet is not of version 2.
    #[error("the packet at byte {at} is of version {version}, not 2")]
    Version {
        /// Where the packet begins.
        at: usize,
        /// Its version.
        version: u8,
    },
    /// A packet's padding bit is set but its last byte does not count padding that fits.
    #[error("the packet at byte {at} has {count} bytes of padding in {available}")]
    Padding {
        /// Where the packet begins.
        at: usize,
        /// The padding's length as the last byte states it; 0 if there is no last byte.
        count: u8,
        /// The bytes behind the header.
        available: usize,
    },
    /// What a packet has does not fit its length.
    #[error("the packet of type {kind} at byte {at} does not hold what it counts")]
    Malformed {
        /// Where the packet begins.
        at: usize,
        /// Its packet type.
        kind: u8,
    },
    /// A packet of transport feedback is not right.
    #[error("transport feedback: {0}")]
    Feedback(#[from] TwccError),
    /// A packet of congestion control feedback is not right.
    #[error("congestion control feedback: {0}")]
    CongestionFeedback(#[from] CcfbError),
}

/// One RTCP packet, of the types that we use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rtcp {
    /// How far a stream has been sent, and how others are received.
    SenderReport(SenderReport),
    /// How streams are received.
    ReceiverReport(ReceiverReport),
    /// A source's canonical name; a packet with several sources is read as several.
    SourceDescription {
        /// The source.
        ssrc: Ssrc,
        /// The name that all streams on the same clock share.
        cname: String,
    },
    /// Streams that end.
    Bye {
        /// The streams.
        ssrcs: Vec<Ssrc>,
    },
    /// Packets to send again (RFC 4585 §6.2.1).
    Nack {
        /// Who asks.
        sender: Ssrc,
        /// The stream that lacks packets.
        media: Ssrc,
        /// The packets; in what is read, at most 17 for each four bytes.
        lost: Vec<SeqNo>,
    },
    /// A picture was lost: send a key frame (RFC 4585 §6.3.1).
    Pli {
        /// Who asks.
        sender: Ssrc,
        /// The stream.
        media: Ssrc,
    },
    /// A key frame is needed (RFC 5104 §4.3.1).
    Fir {
        /// Who asks.
        sender: Ssrc,
        /// The streams, each with the request's number: one seen before is the same request again.
        requests: Vec<(Ssrc, u8)>,
    },
    /// Which packets of a connection arrived, and when.
    TransportFeedback(TransportFeedback),
    /// Which packets of each stream arrived, when, and how they were marked.
    CongestionFeedback(CongestionFeedback),
}

/// How far a stream has been sent (RFC 3550 §6.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderReport {
    /// The stream.
    pub ssrc: Ssrc,
    /// When this was sent.
    pub ntp: NtpTime,
    /// The same time on the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Bytes of payload sent so far.
    pub octets: u32,
    /// How its sender receives others.
    pub reports: Vec<ReportBlock>,
}

/// How streams are received (RFC 3550 §6.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Who receives.
    pub ssrc: Ssrc,
    /// How each stream is received.
    pub reports: Vec<ReportBlock>,
}

/// How one stream is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// The share of packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost so far; negative if duplicates arrived. 24 bits, what is beyond is written as the nearest.
    pub lost: i32,
    /// The highest sequence number received, with the number of wraps in the upper half.
    pub highest_seq: u32,
    /// How uneven packets arrive, in units of the stream's clock.
    pub jitter: u32,
    /// The middle of the last sender report's NTP time, [`NtpTime::compact`]; 0 before there was one.
    pub last_sr: u32,
    /// The time since then, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// Reads a datagram's packets, in order; those of other types are skipped.
///
/// An error means that nothing of it is to be used.
pub fn parse(datagram: &[u8]) -> Result<Vec<Rtcp>, RtcpError> {
    if datagram.len() > DATAGRAM_MAX {
        return Err(RtcpError::TooLong(datagram.len()));
    }
    let mut packets = Vec::new();
    let mut rest = datagram;
    let mut statuses = 0;
    for _ in 0..PACKETS_MAX {
        let at = datagram.len() - rest.len();
        let (frame, behind) = Frame::split(rest, at)?;
        rest = behind;
        let before = packets.len();
        read(&frame, at, &mut packets)?;
        if let Some(Rtcp::TransportFeedback(feedback)) = packets.get(before) {
            statuses += feedback.arrivals.len();
            if statuses > twcc::STATUSES_MAX {
                return Err(TwccError::TooMany(statuses).into());
            }
        }
        if rest.is_empty() {
            return Ok(packets);
        }
    }
    Err(RtcpError::TooMany)
}

/// Writes packets as one datagram; the order is the caller's, as is how much it may hold.
///
/// What does not fit one packet is written as several: reports and sources beyond 31, NACKs beyond 250 pairs. A
/// packet that says nothing, such as a NACK of no packets, is left out. A canonical name is cut to 255 bytes, and
/// transport feedback where [`TransportFeedback::encode`] says.
pub fn write(packets: &[Rtcp]) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        match packet {
            Rtcp::SenderReport(report) => write_sender_report(report, &mut out),
            Rtcp::ReceiverReport(report) => write_receiver_report(report, &mut out),
            Rtcp::SourceDescription { ssrc, cname } => description::write(*ssrc, cname, &mut out),
            Rtcp::Bye { ssrcs } => write_bye(ssrcs, &mut out),
            Rtcp::Nack { sender, media, lost } => write_nack(*sender, *media, lost, &mut out),
            Rtcp::Pli { sender, media } => {
                append(&PictureLossIndication { sender_ssrc: sender.0, media_ssrc: media.0 }, &mut out);
            }
            Rtcp::Fir { sender, requests } => write_fir(*sender, requests, &mut out),
            Rtcp::TransportFeedback(feedback) => {
                feedback.encode(&mut out);
            }
            Rtcp::CongestionFeedback(feedback) => feedback.encode(&mut out),
        }
    }
    out
}

/// Appends what a frame says to `packets`.
fn read(frame: &Frame<'_>, at: usize, packets: &mut Vec<Rtcp>) -> Result<(), RtcpError> {
    let malformed = RtcpError::Malformed { at, kind: frame.kind };
    match (frame.kind, frame.count) {
        (200, _) => {
            let report = unmarshal::<::rtcp::sender_report::SenderReport>(frame).ok_or(malformed)?;
            packets.push(Rtcp::SenderReport(report.into()));
        }
        (201, _) => {
            let report = unmarshal::<::rtcp::receiver_report::ReceiverReport>(frame).ok_or(malformed)?;
            packets.push(Rtcp::ReceiverReport(report.into()));
        }
        (description::KIND, count) => {
            let sources = description::read(count, frame.body()).ok_or(malformed)?;
            let described = sources.into_iter().map(|(ssrc, cname)| Rtcp::SourceDescription { ssrc, cname });
            packets.extend(described);
        }
        (203, 0) => {} // means nothing (RFC 3550 §6.6)
        (203, _) => {
            let bye: Goodbye = unmarshal(frame).ok_or(malformed)?;
            packets.push(Rtcp::Bye { ssrcs: bye.sources.into_iter().map(Ssrc).collect() });
        }
        (205, 1) => {
            let nack: TransportLayerNack = unmarshal(frame).ok_or(malformed)?;
            packets.push(Rtcp::Nack {
                sender: Ssrc(nack.sender_ssrc),
                media: Ssrc(nack.media_ssrc),
                lost: nack.nacks.into_iter().flatten().map(SeqNo).collect(),
            });
        }
        (twcc::KIND, twcc::FORMAT) => {
            packets.push(Rtcp::TransportFeedback(TransportFeedback::read(frame.body())?));
        }
        (ccfb::KIND, ccfb::FORMAT) => {
            packets.push(Rtcp::CongestionFeedback(CongestionFeedback::read(frame.body())?));
        }
        (206, 1) => {
            let pli: PictureLossIndication = unmarshal(frame).ok_or(malformed)?;
            packets.push(Rtcp::Pli { sender: Ssrc(pli.sender_ssrc), media: Ssrc(pli.media_ssrc) });
        }
        (206, 4) => {
            let fir: FullIntraRequest = unmarshal(frame).ok_or(malformed)?;
            let requests = fir.fir.into_iter().map(|entry| (Ssrc(entry.ssrc), entry.sequence_number));
            packets.push(Rtcp::Fir { sender: Ssrc(fir.sender_ssrc), requests: requests.collect() });
        }
        _ => {} // of no use to us, or of the future
    }
    Ok(())
}

fn unmarshal<T: Unmarshal>(frame: &Frame<'_>) -> Option<T> {
    frame.with_packet(|mut packet| T::unmarshal(&mut packet).ok())
}

fn append(packet: &impl Marshal, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + packet.marshal_size(), 0);
    packet.marshal_to(&mut out[start..]).expect("nothing in it is beyond what the format can say");
}

fn write_sender_report(report: &SenderReport, out: &mut Vec<u8>) {
    let (first, rest) = report.reports.split_at(report.reports.len().min(COUNT_MAX));
    let packet = ::rtcp::sender_report::SenderReport {
        ssrc: report.ssrc.0,
        ntp_time: report.ntp.to_bits(),
        rtp_time: report.rtp_timestamp,
        packet_count: report.packets,
        octet_count: report.octets,
        reports: first.iter().map(ReceptionReport::from).collect(),
        ..Default::default()
    };
    append(&packet, out);
    if !rest.is_empty() {
        write_receiver_report(&ReceiverReport { ssrc: report.ssrc, reports: rest.to_vec() }, out);
    }
}

fn write_receiver_report(report: &ReceiverReport, out: &mut Vec<u8>) {
    let mut rest = &report.reports[..];
    loop {
        let (first, behind) = rest.split_at(rest.len().min(COUNT_MAX));
        let packet = ::rtcp::receiver_report::ReceiverReport {
            ssrc: report.ssrc.0,
            reports: first.iter().map(ReceptionReport::from).collect(),
            ..Default::default()
        };
        append(&packet, out);
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

fn write_bye(ssrcs: &[Ssrc], out: &mut Vec<u8>) {
    for ssrcs in ssrcs.chunks(COUNT_MAX) {
        out.extend_from_slice(&[0x80 | ssrcs.len() as u8, 203, 0, ssrcs.len() as u8]);
        for ssrc in ssrcs {
            out.extend_from_slice(&ssrc.0.to_be_bytes());
        }
    }
}

fn write_nack(sender: Ssrc, media: Ssrc, lost: &[SeqNo], out: &mut Vec<u8>) {
    let mut pairs: Vec<NackPair> = Vec::new();
    for seq in lost {
        let pair = pairs.last_mut().map(|pair| (seq.distance(SeqNo(pair.packet_id)), pair));
        match pair {
            Some((0, _)) => {}
            Some((ahead @ 1..=16, pair)) => pair.lost_packets |= 1 << (ahead - 1),
            Some(_) | None => pairs.push(NackPair::new(seq.0)),
        }
    }
    for pairs in pairs.chunks(NACK_PAIRS_MAX) {
        append(
            &TransportLayerNack { sender_ssrc: sender.0, media_ssrc: media.0, nacks: pairs.to_vec() },
            out,
        );
    }
}

fn write_fir(sender: Ssrc, requests: &[(Ssrc, u8)], out: &mut Vec<u8>) {
    for requests in requests.chunks(FIR_REQUESTS_MAX) {
        let entry = |&(ssrc, sequence_number): &(Ssrc, u8)| FirEntry { ssrc: ssrc.0, sequence_number };
        // The media source is 0, for each entry names its own (RFC 5104 §4.3.1.2).
        let fir = requests.iter().map(entry).collect();
        append(&FullIntraRequest { sender_ssrc: sender.0, media_ssrc: 0, fir }, out);
    }
}

impl From<::rtcp::sender_report::SenderReport> for SenderReport {
    fn from(report: ::rtcp::sender_report::SenderReport) -> Self {
        Self {
            ssrc: Ssrc(report.ssrc),
            ntp: NtpTime::from_bits(report.ntp_time),
            rtp_timestamp: report.rtp_time,
            packets: report.packet_count,
            octets: report.octet_count,
            reports: report.reports.iter().map(ReportBlock::from).collect(),
        }
    }
}

impl From<::rtcp::receiver_report::ReceiverReport> for ReceiverReport {
    fn from(report: ::rtcp::receiver_report::ReceiverReport) -> Self {
        let reports = report.reports.iter().map(ReportBlock::from).collect();
        Self { ssrc: Ssrc(report.ssrc), reports }
    }
}

impl From<&ReceptionReport> for ReportBlock {
    fn from(report: &ReceptionReport) -> Self {
        Self {
            ssrc: Ssrc(report.ssrc),
            fraction_lost: report.fraction_lost,
            lost: (report.total_lost << 8) as i32 >> 8, // 24 bits with a sign, which rtc-rtcp does not extend
            highest_seq: report.last_sequence_number,
            jitter: report.jitter,
            last_sr: report.last_sender_report,
            delay_since_last_sr: report.delay,
        }
    }
}

impl From<&ReportBlock> for ReceptionReport {
    fn from(block: &ReportBlock) -> Self {
        Self {
            ssrc: block.ssrc.0,
            fraction_lost: block.fraction_lost,
            total_lost: block.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff,
            last_sequence_number: block.highest_seq,
            jitter: block.jitter,
            last_sender_report: block.last_sr,
            delay: block.delay_since_last_sr,
        }
    }
}

#[cfg(test)]
mod tests;
