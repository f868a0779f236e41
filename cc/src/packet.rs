//! What a sender knows of a packet: when it left, and what feedback said of it.

pub use proto::feedback::Ecn;
use proto::time::Instant;
use proto::units::DataSize;

/// What a packet carries, in the order in which a pacer lets packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketClass {
    /// Signaling and reports: few, and what they say decides what becomes of all others.
    Control,
    /// Sound: never waits behind pictures.
    Audio,
    /// Retransmissions and forward repair: never behind pictures, of which many may wait for one repaired.
    Repair,
    /// Pictures of the lowest tier or layer, which all others refer to or fall back on.
    Base,
    /// All other pictures.
    Video,
    /// Nothing useful: sent only to learn what the path carries.
    Padding,
}

/// Which probe cluster a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// A packet that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentPacket {
    /// Its number on this connection, from 0, without wrapping.
    pub number: u64,
    /// Its size as congestion control counts it: the UDP datagram with its IP and UDP headers.
    pub size: DataSize,
    /// When it left.
    pub sent: Instant,
    /// What it carries.
    pub class: PacketClass,
    /// The probe cluster it belongs to.
    pub probe: Option<ProbeId>,
    /// What was sent before it and neither reported nor given up, itself not counted.
    pub in_flight: DataSize,
    /// Whether the sender had less to send than it was allowed when this left (a rate sample is then a lower bound).
    pub app_limited: bool,
}

/// What feedback said of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// The packet.
    pub sent: SentPacket,
    /// When it arrived by the receiver's clock, whose zero is unknown; `None` if it is taken for lost.
    pub received: Option<Instant>,
    /// How it was marked on its way, where the feedback's format tells.
    pub ecn: Ecn,
}
