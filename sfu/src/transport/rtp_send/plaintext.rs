//! `Plaintext`: a packet on its way to the cipher, its header written and its payload where it lies.
//!
//! In: a header, and a payload that is the publisher's own or one that was made. Out: both. Time: none. Limit: a packet; its
//! memory is used again. A payload in which nothing changes is not copied: the cipher reads it out of the publisher's
//! packet.

use proto::codec::PictureIdOffsets;

use crate::transport::packet::SourcePacket;

/// The bit that tells of padding (RFC 3550 §5.1).
const PADDING_BIT: u8 = 0x20;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Plaintext {
    /// The header, and the payload unless it is shared.
    bytes: Vec<u8>,
    header: usize,
    shared: Option<SourcePacket>,
}

impl Plaintext {
    /// The header.
    pub fn header(&self) -> &[u8] {
        &self.bytes[..self.header]
    }

    /// The payload, with padding if there is some.
    pub fn payload(&self) -> &[u8] {
        self.shared.as_ref().map_or(&self.bytes[self.header..], SourcePacket::payload)
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.header + self.payload().len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All of it, in one piece.
    pub fn contiguous(&mut self) -> &[u8] {
        if let Some(packet) = self.shared.take() {
            self.bytes.extend_from_slice(packet.payload());
        }
        &self.bytes
    }

    /// Forgets what there is.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.header = 0;
        self.shared = None;
    }

    /// Begins with a header; nothing else may be there.
    pub(super) fn put_header(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.header = self.bytes.len();
    }

    /// Goes on with a payload that is made.
    pub(super) fn put_payload(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// Ends with a publisher's payload, its picture ids shifted.
    pub(super) fn put_source(&mut self, packet: &SourcePacket, picture_ids: PictureIdOffsets) {
        if picture_ids.alter(packet.picture_ids()) || self.bytes.len() > self.header {
            picture_ids.rewrite(packet.picture_ids(), packet.payload(), &mut self.bytes);
        } else {
            self.shared = Some(packet.clone());
        }
    }

    /// Puts so much padding behind the payload, 1 to 255 bytes.
    pub(super) fn pad(&mut self, length: usize) {
        self.contiguous();
        let length = length.clamp(1, 255);
        self.bytes[0] |= PADDING_BIT;
        self.bytes.resize(self.bytes.len() + length - 1, 0);
        self.bytes.push(length as u8);
    }
}
