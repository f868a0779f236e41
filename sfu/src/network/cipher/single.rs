//! Whole packets in buffers of their own, for an end that has one at a time: a client, a tool, a test.
//!
//! In: packets. Out: the same, sealed or opened. Time: none. Limit: see [`SrtpCipher`]; each packet is a buffer more, which is
//! why nothing that forwards uses this.

use proto::rtp::RtpView;

use super::{CipherError, OVERHEAD_MAX, SrtpCipher, authenticate};

impl SrtpCipher {
    /// Seals an RTP packet, with its tag.
    pub fn protect_rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, CipherError> {
        let header = RtpView::parse_protected(packet).map_err(|_| CipherError::Malformed)?.header_len();
        let mut out = [packet, &[0; OVERHEAD_MAX]].concat();
        let sealed = self.seal_rtp_in_place(&mut out, header, packet.len() - header)?;
        out.truncate(sealed.length);
        if let Some(tag) = sealed.tag {
            authenticate(&mut out, &[(0..sealed.length, tag)]);
        }
        Ok(out)
    }

    /// Seals a compound RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut out = [packet, &[0; OVERHEAD_MAX]].concat();
        let length = self.seal_rtcp(&mut out, packet.len())?;
        out.truncate(length);
        Ok(out)
    }

    /// Opens an RTP packet.
    pub fn unprotect_rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut opened = packet.to_vec();
        let length = self.open_rtp(&mut opened)?;
        opened.truncate(length);
        Ok(opened)
    }

    /// Opens a compound RTCP packet.
    pub fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut opened = packet.to_vec();
        let length = self.open_rtcp(&mut opened)?;
        opened.truncate(length);
        Ok(opened)
    }
}
