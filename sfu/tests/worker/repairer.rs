//! A publisher's repair packets: one by XOR behind each picture, over all of its packets.
//!
//! In: the picture's packets as they leave. Out: `finish`.

use fec::scheme::flexfec::{Column, FlexFecEncoder};
use proto::rtp::extension::Extension;
use proto::rtp::{MutableExtension, PayloadType, RtpHeader, SeqNo, Ssrc};

use super::offer::Dialect;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Repairer {
    pub(crate) ssrc: Ssrc,
    payload_type: PayloadType,
    next: SeqNo,
    encoder: FlexFecEncoder,
}

impl Repairer {
    pub(crate) fn new(media: Ssrc, ssrc: Ssrc, dialect: &Dialect) -> Self {
        let stamp = dialect.extensions.id(Extension::TransportSequence).expect("all are set");
        let mut encoder = FlexFecEncoder::new(media, &[MutableExtension::whole(stamp)]);
        encoder.start(1);
        Self { ssrc, payload_type: dialect.flexfec, next: SeqNo(65_000), encoder }
    }

    pub(crate) fn add(&mut self, packet: &[u8]) {
        self.encoder.add(packet, Column(1)).expect("a short packet of a picture");
    }

    /// The picture is over: its repair packet's header and payload.
    pub(crate) fn finish(&mut self, timestamp: u32) -> (RtpHeader, Vec<u8>) {
        let mut payload = Vec::new();
        self.encoder.poll_repair(&mut payload).expect("a picture has packets");
        self.encoder.start(1);
        (self.header(timestamp), payload)
    }

    /// The header of the next repair packet.
    pub(crate) fn header(&mut self, timestamp: u32) -> RtpHeader {
        let (payload_type, seq, ssrc) = (self.payload_type, self.next, self.ssrc);
        self.next = self.next.plus(1);
        RtpHeader { payload_type, marker: false, seq, timestamp, ssrc }
    }
}
