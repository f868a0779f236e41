//! What travels between nodes.

use std::sync::Arc;

use cc::{Ecn, PacketClass};
use proto::time::Instant;
use proto::units::DataSize;

use crate::link::Parcel;

/// A node of a world, in the order of addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A link of a world, in the order of addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// Packets that metrics count together: one sender's media, one TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u32);

/// IPv4 and UDP headers, which every size on a link includes, in bytes.
pub const IP_UDP_HEADERS: u64 = 28;

/// A packet on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its number in this world, given when it is sent.
    pub number: u64,
    /// What it is counted with.
    pub flow: FlowId,
    /// Who sent it.
    pub from: NodeId,
    /// Who shall get it.
    pub to: NodeId,
    /// Its size on the wire, headers of IP and UDP included.
    pub size: DataSize,
    /// Its ECN bits.
    pub ecn: Ecn,
    /// When it left its sender, set by the world.
    pub sent: Instant,
    /// What is inside.
    pub payload: Payload,
}

/// What is inside a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing that anybody looks at: constant-rate traffic.
    Filler,
    /// A media packet of a plain flow (no SFU between sender and receiver).
    Media(MediaPacket),
    /// A UDP payload as the real cores write and read it.
    Datagram(Vec<u8>),
    /// A signaling message on a connection that loses nothing.
    Message(String),
}

/// The part of an RTP packet that simulated senders and receivers look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPacket {
    /// The transport-wide sequence number, without wrapping.
    pub transport_seq: u64,
    /// Its number in its stream (sound and pictures are a stream each), without wrapping; a retransmission repeats it.
    pub seq: u64,
    /// What it carries.
    pub class: PacketClass,
    /// Which part of which picture it is, if of one.
    pub part: Option<FramePart>,
    /// What it repairs, if it is a repair packet; those are a stream of their own.
    pub parity: Option<Arc<Parity>>,
}

/// What a repair packet is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// The pictures' packets that it protects, by number in their stream, the oldest first.
    pub covered: Vec<(u64, FramePart)>,
    /// How.
    pub code: Code,
}

/// How repair packets restore others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// By XOR: one packet, when all others that it protects are there.
    Xor,
    /// As the best code there is: those of one block restore as many packets as there are of them.
    Perfect {
        /// The block.
        block: u64,
    },
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePart {
    /// The picture's number, from 0.
    pub frame: u64,
    /// This part's number, from 0.
    pub index: u16,
    /// How many parts the picture has.
    pub parts: u16,
    /// Whether the picture needs no earlier one.
    pub key: bool,
    /// When the picture was taken.
    pub captured: Instant,
}

impl Parcel for Packet {
    fn wire_size(&self) -> DataSize {
        self.size
    }

    fn ecn(&self) -> Ecn {
        self.ecn
    }

    fn mark_congested(&mut self) {
        self.ecn = Ecn::Congested;
    }
}
