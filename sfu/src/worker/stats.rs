//! What a worker counts, and how it is named to the outside.

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
}

impl DropReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 14] = [
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
    /// Key frames asked of publishers.
    pub key_frame_requests: u64,
    /// Rooms now.
    pub rooms: u64,
    /// Participants now.
    pub participants: u64,
    /// Published tracks now.
    pub tracks: u64,
    drops: [u64; DropReason::ALL.len()],
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
        use MetricKind::{Counter, Gauge};
        let metric = |name, help, kind, value| Metric { name, help, kind, label: None, value };
        let mut metrics = vec![
            metric("lianmai_datagrams_received_total", "UDP datagrams received.", Counter, self.datagrams_in),
            metric(
                "lianmai_received_bytes_total",
                "Bytes of UDP datagrams received.",
                Counter,
                self.bytes_in,
            ),
            metric("lianmai_datagrams_sent_total", "UDP datagrams sent.", Counter, self.datagrams_out),
            metric("lianmai_sent_bytes_total", "Bytes of UDP datagrams sent.", Counter, self.bytes_out),
            metric(
                "lianmai_packets_forwarded_total",
                "RTP packets sent to subscribers.",
                Counter,
                self.forwarded,
            ),
            metric(
                "lianmai_packets_retransmitted_total",
                "RTP packets sent to subscribers again because they asked.",
                Counter,
                self.retransmitted,
            ),
            metric(
                "lianmai_retransmissions_refused_total",
                "RTP packets that subscribers asked for again too late or too often.",
                Counter,
                self.retransmissions_refused,
            ),
            metric(
                "lianmai_packets_recovered_total",
                "Publishers' RTP packets that were lost and came by retransmission.",
                Counter,
                self.recovered,
            ),
            metric(
                "lianmai_key_frame_requests_total",
                "Key frames asked of publishers.",
                Counter,
                self.key_frame_requests,
            ),
            metric("lianmai_rooms", "Rooms with at least one participant.", Gauge, self.rooms),
            metric("lianmai_participants", "Participants in all rooms.", Gauge, self.participants),
            metric("lianmai_tracks", "Published tracks in all rooms.", Gauge, self.tracks),
        ];
        metrics.extend(DropReason::ALL.map(|reason| Metric {
            name: "lianmai_dropped_total",
            help: "Datagrams and packets that went no further, by reason.",
            kind: Counter,
            label: Some(("reason", reason.name())),
            value: self.drops(reason),
        }));
        metrics
    }
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
        let labels: Vec<_> =
            stats.metrics().into_iter().filter_map(|metric| Some((metric.label?.1, metric.value))).collect();
        let expected: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).zip(0..).collect();
        assert_eq!(labels, expected);
    }
}
