//! What a worker counts, and how it is named to the outside.

use core::time::Duration;

use proto::path_class::PathClass;
use proto::units::Bitrate;

use cc::PacketClass;

use super::instant::InstantStats;
use super::relay::Batch;
use crate::transport::connection::queue::{Dropped, Step};
use crate::transport::rtp_send::RepeatedAudio;

/// Why a datagram or packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Not STUN, DTLS, RTP or RTCP by its first byte (RFC 7983).
    UnknownProtocol,
    /// STUN that cannot be read, or is no binding request.
    StunMalformed,
    /// A binding request for an ICE user fragment that nobody has.
    StunUnknownUser,
    /// A binding request whose integrity check failed.
    StunUnauthenticated,
    /// DTLS, RTP or RTCP from an address that has not proved itself by ICE.
    UnknownAddress,
    /// RTP or RTCP before the DTLS handshake gave keys.
    NoKeys,
    /// SRTP or SRTCP whose authentication failed.
    Unauthenticated,
    /// SRTP or SRTCP that came before.
    Replayed,
    /// RTP or RTCP that cannot be read after decryption.
    Malformed,
    /// RTP of a stream that no media section claims.
    UnknownStream,
    /// RTP of a stream that begins too soon after the last one of its kind, or of one source too many.
    TooManyStreams,
    /// RTP whose payload type was not negotiated, by its publisher or by a subscriber.
    UnknownPayloadType,
    /// RTP that came before, by itself or by a retransmission, or that was given up meanwhile.
    Duplicate,
    /// A retransmission without payload: a probe for bandwidth, which has done its work.
    Padding,
    /// Redundant audio (RFC 2198) whose lengths, offsets, depth or payload types lie.
    MalformedRedundancy,
    /// A retransmission of nothing that can be: of a payload type that was not negotiated for one, of a number far
    /// ahead, or without a number.
    RtxRefused,
    /// A repair packet that cannot be one, or what it restored.
    FecRefused,
}

impl DropReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::UnknownProtocol,
        Self::StunMalformed,
        Self::StunUnknownUser,
        Self::StunUnauthenticated,
        Self::UnknownAddress,
        Self::NoKeys,
        Self::Unauthenticated,
        Self::Replayed,
        Self::Malformed,
        Self::UnknownStream,
        Self::TooManyStreams,
        Self::UnknownPayloadType,
        Self::Duplicate,
        Self::Padding,
        Self::MalformedRedundancy,
        Self::RtxRefused,
        Self::FecRefused,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownProtocol => "unknown_protocol",
            Self::StunMalformed => "stun_malformed",
            Self::StunUnknownUser => "stun_unknown_user",
            Self::StunUnauthenticated => "stun_unauthenticated",
            Self::UnknownAddress => "unknown_address",
            Self::NoKeys => "no_keys",
            Self::Unauthenticated => "unauthenticated",
            Self::Replayed => "replayed",
            Self::Malformed => "malformed",
            Self::UnknownStream => "unknown_stream",
            Self::TooManyStreams => "too_many_streams",
            Self::UnknownPayloadType => "unknown_payload_type",
            Self::Duplicate => "duplicate",
            Self::Padding => "padding",
            Self::MalformedRedundancy => "malformed_redundancy",
            Self::RtxRefused => "rtx_refused",
            Self::FecRefused => "fec_refused",
        }
    }
}

/// A worker's numbers since its start, and its present state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Bytes of those.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of those.
    pub bytes_out: u64,
    /// RTP packets forwarded to subscribers, without retransmissions.
    pub forwarded: u64,
    /// RTP packets sent to subscribers again.
    pub retransmitted: u64,
    /// Packets asked for again that could not be sent again.
    pub retransmissions_refused: u64,
    /// Publishers' packets that retransmissions recovered.
    pub recovered: u64,
    /// Publishers' repair packets, the refused left out.
    pub fec_received: u64,
    /// Publishers' packets that those restored, or redundancy.
    pub fec_recovered: u64,
    /// Pictures that subscribers' paths did not carry, and that were given up before they were sent.
    pub given_up: u64,
    /// Pictures dropped from subscribers' send queues because they would have waited for too long.
    pub queue_dropped: Dropped,
    /// Bytes sent to subscribers to learn what their paths carry, retransmissions that nobody asked for included.
    pub padding_bytes: u64,
    /// Repair packets sent to subscribers before they asked.
    pub parities: u64,
    /// Their bytes.
    pub parity_bytes: u64,
    /// Retransmissions that subscribers asked for and repair packets spared.
    pub answers_spared: u64,
    /// Packets of sound sent to subscribers together with the last ones before them (RED).
    pub repeated_audio: RepeatedAudio,
    /// Probes of subscribers' paths.
    pub probes: u64,
    /// Times that a subscriber was switched to another stream of a track.
    pub layer_switches: u64,
    /// Key frames asked of publishers.
    pub key_frame_requests: u64,
    /// How subscribers began that needed a key frame.
    pub instant: InstantStats,
    /// Demands said to publishers, those said again included.
    pub demands: u64,
    /// Demands that publishers have confirmed.
    pub demands_applied: u64,
    /// What was handed over to other workers.
    pub relay: RelayStats,
    /// Rooms now that span several workers.
    pub rooms_spanning: u64,
    /// Rooms now.
    pub rooms: u64,
    /// Participants now.
    pub participants: u64,
    /// Published tracks now.
    pub tracks: u64,
    /// Subscribers' downlinks now.
    pub downlinks: DownlinkStats,
    drops: [u64; DropReason::ALL.len()],
}

/// What was handed over to other workers, in rooms that span several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Packets of media.
    pub packets: u64,
    /// What they take, with as much for headers as they would take to a client.
    pub bytes: u64,
    /// Packets dropped since another worker took too few.
    pub dropped: u64,
}

impl RelayStats {
    /// A batch was handed over.
    pub(super) fn count(&mut self, batch: &Batch) {
        self.packets += batch.packets() as u64;
        self.bytes += batch.bytes();
    }
}

/// The downlinks of those subscribers that tell what arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownlinkStats {
    /// How many there are.
    pub count: u64,
    /// What they are allowed together.
    pub allowed: Bitrate,
    /// The longest time that a packet takes to leave a pacer.
    pub queue_max: Duration,
    classes: [u64; PathClass::ALL.len()],
}

impl DownlinkStats {
    /// Counts one more.
    pub fn add(&mut self, allowed: Bitrate, queue: Duration, class: PathClass) {
        self.count += 1;
        self.allowed += allowed;
        self.queue_max = self.queue_max.max(queue);
        self.classes[class as usize] += 1;
    }

    /// How many are of a class.
    pub fn of_class(&self, class: PathClass) -> u64 {
        self.classes[class as usize]
    }
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// One number for a metrics system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with Prometheus' endings.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// A label and its value, if it has one.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: u64,
}

impl Stats {
    /// Counts a drop.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// Drops for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// All numbers for a metrics system.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.counters();
        metrics.extend(self.gauges());
        metrics.extend(self.instant.metrics());
        metrics.extend(DropReason::ALL.map(|reason| Metric {
            name: "lianmai_dropped_total",
            help: "Datagrams and packets that went no further, by reason.",
            kind: MetricKind::Counter,
            label: Some(("reason", reason.name())),
            value: self.drops(reason),
        }));
        metrics.extend(Step::ALL.map(|step| Metric {
            name: "lianmai_queue_dropped_total",
            help: "Pictures dropped from subscribers' send queues, by the step that it took to shorten them.",
            kind: MetricKind::Counter,
            label: Some(("step", step.name())),
            value: self.queue_dropped.of_step(step),
        }));
        metrics.extend([("base", PacketClass::Base), ("video", PacketClass::Video)].map(|(name, class)| {
            Metric {
                name: "lianmai_queue_dropped_pictures_total",
                help: "The same by class: those of the smallest layers, and all others.",
                kind: MetricKind::Counter,
                label: Some(("class", name)),
                value: self.queue_dropped.of_class(class),
            }
        }));
        metrics.extend(PathClass::ALL.map(|class| Metric {
            name: "lianmai_downlinks",
            help: "Subscribers that tell what arrives, by the kind of their path.",
            kind: MetricKind::Gauge,
            label: Some(("class", class.name())),
            value: self.downlinks.of_class(class),
        }));
        metrics
    }

    fn counters(&self) -> Vec<Metric> {
        let counters = [
            ("lianmai_datagrams_received_total", "UDP datagrams received.", self.datagrams_in),
            ("lianmai_received_bytes_total", "Bytes of UDP datagrams received.", self.bytes_in),
            ("lianmai_datagrams_sent_total", "UDP datagrams sent.", self.datagrams_out),
            ("lianmai_sent_bytes_total", "Bytes of UDP datagrams sent.", self.bytes_out),
            ("lianmai_packets_forwarded_total", "RTP packets sent to subscribers.", self.forwarded),
            (
                "lianmai_packets_retransmitted_total",
                "RTP packets sent to subscribers again because they asked.",
                self.retransmitted,
            ),
            (
                "lianmai_retransmissions_refused_total",
                "RTP packets that subscribers asked for again too late or too often.",
                self.retransmissions_refused,
            ),
            (
                "lianmai_packets_recovered_total",
                "Publishers' RTP packets that were lost and came by retransmission.",
                self.recovered,
            ),
            ("lianmai_fec_received_total", "Publishers' repair packets.", self.fec_received),
            (
                "lianmai_fec_recovered_total",
                "Publishers' RTP packets that were lost and came by repair packets or redundancy.",
                self.fec_recovered,
            ),
            (
                "lianmai_fec_refused_total",
                "Publishers' repair packets that cannot be such, and what they restored.",
                self.drops(DropReason::FecRefused),
            ),
            (
                "lianmai_rtx_refused_total",
                "Publishers' retransmissions of what cannot be.",
                self.drops(DropReason::RtxRefused),
            ),
            ("lianmai_key_frame_requests_total", "Key frames asked of publishers.", self.key_frame_requests),
            (
                "lianmai_downlink_given_up_total",
                "Times that a subscriber's path did not carry a picture, which was given up before it was sent.",
                self.given_up,
            ),
            (
                "lianmai_downlink_padding_bytes_total",
                "Bytes sent to subscribers to learn what their paths carry.",
                self.padding_bytes,
            ),
            (
                "lianmai_fec_packets_total",
                "Repair packets sent to subscribers before they asked.",
                self.parities,
            ),
            ("lianmai_fec_bytes_total", "Their bytes.", self.parity_bytes),
            (
                "lianmai_retransmissions_spared_total",
                "Retransmissions that subscribers asked for and repair packets spared.",
                self.answers_spared,
            ),
            (
                "lianmai_red_packets_total",
                "RTP packets of sound sent to subscribers together with the last ones before them.",
                self.repeated_audio.packets,
            ),
            ("lianmai_red_bytes_total", "What that added to them, in bytes.", self.repeated_audio.bytes),
            ("lianmai_downlink_probes_total", "Probes of subscribers' paths.", self.probes),
            (
                "lianmai_layer_switches_total",
                "Times that a subscriber was switched to another stream.",
                self.layer_switches,
            ),
            (
                "lianmai_relayed_packets_total",
                "Packets handed over to other workers, in rooms that span several.",
                self.relay.packets,
            ),
            ("lianmai_relayed_bytes_total", "Their bytes, headers included.", self.relay.bytes),
            (
                "lianmai_relay_dropped_total",
                "Packets not handed over since another worker took too few.",
                self.relay.dropped,
            ),
            (
                "lianmai_demands_total",
                "Times that publishers were told how much their layers shall take.",
                self.demands,
            ),
            (
                "lianmai_demands_applied_total",
                "Times that publishers confirmed what they were told.",
                self.demands_applied,
            ),
        ];
        plain(MetricKind::Counter, &counters)
    }

    fn gauges(&self) -> Vec<Metric> {
        let gauges = [
            ("lianmai_rooms", "Rooms with at least one participant.", self.rooms),
            (
                "lianmai_rooms_spanning",
                "Rooms with participants here and on other workers.",
                self.rooms_spanning,
            ),
            ("lianmai_participants", "Participants in all rooms.", self.participants),
            ("lianmai_tracks", "Published tracks in all rooms.", self.tracks),
            (
                "lianmai_downlink_allowed_bits_per_second",
                "What subscribers' paths are believed to carry, together.",
                self.downlinks.allowed.as_bps(),
            ),
            (
                "lianmai_downlink_queue_max_milliseconds",
                "The longest time that a packet takes to leave a subscriber's pacer.",
                self.downlinks.queue_max.as_millis() as u64,
            ),
        ];
        plain(MetricKind::Gauge, &gauges)
    }
}

/// Metrics without labels.
fn plain(kind: MetricKind, all: &[(&'static str, &'static str, u64)]) -> Vec<Metric> {
    all.iter().map(|&(name, help, value)| Metric { name, help, kind, label: None, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut stats = Stats::default();
        for (count, reason) in DropReason::ALL.into_iter().enumerate() {
            (0..count).for_each(|_| stats.count_drop(reason));
        }
        let dropped = stats.metrics().into_iter().filter(|metric| metric.name == "lianmai_dropped_total");
        let labels: Vec<_> = dropped.filter_map(|metric| Some((metric.label?.1, metric.value))).collect();
        let expected: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).zip(0..).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn downlinks_are_counted_by_the_kind_of_their_path() {
        let mut stats = Stats::default();
        for (rate, class) in [(1, PathClass::Clean), (2, PathClass::Clean), (3, PathClass::Policed)] {
            stats.downlinks.add(Bitrate::mbps(rate), Duration::from_millis(rate), class);
        }
        let told = |name: &str, label: Option<&str>| {
            let metrics = stats.metrics();
            let found = metrics
                .iter()
                .find(|metric| metric.name == name && metric.label.map(|(_, value)| value) == label);
            found.map(|metric| metric.value)
        };
        assert_eq!(told("lianmai_downlinks", Some("clean")), Some(2));
        assert_eq!(told("lianmai_downlinks", Some("policed")), Some(1));
        assert_eq!(told("lianmai_downlinks", Some("bloated")), Some(0));
        assert_eq!(told("lianmai_downlink_allowed_bits_per_second", None), Some(6_000_000));
        assert_eq!(told("lianmai_downlink_queue_max_milliseconds", None), Some(3));
    }
}
