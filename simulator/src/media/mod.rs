//! Media as simulated peers make and show it: cameras, microphones, playout, and how pictures are packed.

pub mod camera;
pub mod microphone;
pub mod playout;

use proto::units::{Bitrate, DataSize};

use crate::packet::IP_UDP_HEADERS;

/// What each RTP packet has around its payload: IPv4 and UDP, RTP's fixed header, and one header extension with the
/// transport-wide sequence number (RFC 8285: 4 bytes of header, 3 of extension, 1 of filling).
pub const HEADERS: DataSize = DataSize::bytes(IP_UDP_HEADERS + 12 + 8);

/// The most payload in one RTP packet, which browsers too keep to.
pub const PAYLOAD_MAX: DataSize = DataSize::bytes(1_200);

/// The weight of each new picture in what headers take on average: half of it is forgotten in eleven pictures.
const NEW_WEIGHT: f64 = 1.0 / 16.0;

/// Packs pictures, and knows what rate the encoder may have so that its packets take another.
///
/// What headers take is measured, for sizes vary and one byte more than a packet holds costs another header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packetizer {
    /// Header bytes for each byte of payload lately; `None` before the first picture.
    overhead: Option<f64>,
}

impl Packetizer {
    /// The rate of pictures whose packets, with their headers, take `wire` when there are `fps` pictures a second.
    pub fn payload_rate(&self, wire: Bitrate, fps: u32) -> Bitrate {
        let overhead = self.overhead.unwrap_or_else(|| {
            let frame = DataSize::bytes(wire.as_bps() / 8 / u64::from(fps.max(1)));
            let headers = HEADERS * frame.as_bytes().div_ceil((PAYLOAD_MAX + HEADERS).as_bytes());
            ratio(headers, frame - headers)
        });
        wire.scaled(1.0 / (1.0 + overhead))
    }

    /// The payloads of the packets that carry a picture of `size`: as few as possible, and as equal as possible.
    pub fn parts(&mut self, size: DataSize) -> impl ExactSizeIterator<Item = DataSize> + use<> {
        let count = size.as_bytes().div_ceil(PAYLOAD_MAX.as_bytes()).clamp(1, u64::from(u16::MAX));
        let overhead = ratio(HEADERS * count, size);
        self.overhead = Some(self.overhead.map_or(overhead, |mean| mean + (overhead - mean) * NEW_WEIGHT));
        let (each, longer) = (size.as_bytes() / count, size.as_bytes() % count);
        (0..count as u16).map(move |part| DataSize::bytes(each + u64::from(u64::from(part) < longer)))
    }
}

/// Header bytes for each byte of payload, of which there is at least one.
fn ratio(headers: DataSize, payload: DataSize) -> f64 {
    headers.as_bytes() as f64 / payload.as_bytes().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_cut_into_few_equal_parts() {
        for (size, expected) in [
            (0, vec![0]),
            (1, vec![1]),
            (1_200, vec![1_200]),
            (1_201, vec![601, 600]),
            (3_602, vec![901, 901, 900, 900]),
        ] {
            let parts = Packetizer::default().parts(DataSize::bytes(size));
            assert_eq!(parts.map(DataSize::as_bytes).collect::<Vec<u64>>(), expected, "{size} bytes");
        }
    }

    #[test]
    fn packets_with_their_headers_take_the_rate_that_they_may() {
        for kbps in [50, 150, 300, 600, 1_000, 4_000, 10_000] {
            let wire = Bitrate::kbps(kbps);
            let mut packetizer = Packetizer::default();
            let mut sent = DataSize::ZERO;
            for picture in 0..3_000_u64 {
                let size = packetizer.payload_rate(wire, 30) * core::time::Duration::from_nanos(33_333_333);
                let varied = size.scaled(1.0 + 0.1 * ((picture * 7_919 % 1_000) as f64 / 1_000.0 - 0.5));
                sent += packetizer.parts(varied).map(|part| part + HEADERS).sum();
            }
            let share = sent.as_bits() as f64 / 100.0 / (kbps as f64 * 1e3);
            assert!((0.995..1.005).contains(&share), "{kbps} kbit/s: {share}");
        }
    }
}
