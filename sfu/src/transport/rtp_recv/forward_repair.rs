//! `RepairReceiver`: restores what is lost of one stream from the repair packets by XOR that its publisher sends beside
//! it (FlexFEC-03).
//!
//! In: the stream's packets as they came, repair payloads. Out: `poll_restored`. Time: `now`, monotonic. Limit: the
//! decoder's: 192 packets of the stream and 48 repair packets of 1500 bytes each, 360 kB. Nothing is kept before the first
//! repair packet, nor once none has come for `IDLE`.
//!
//! Retransmissions are not for it: a repair packet is a sum of the originals to the byte, and libwebrtc writes other
//! header extensions into a retransmission than the original had (`CopyHeaderAndExtensionsToRtxPacket`).

use core::time::Duration;

use bytes::Bytes;
use fec::scheme::flexfec::{FlexFecDecoder, Refusal};
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{MutableExtension, Ssrc};
use proto::time::Instant;

/// Who has sent no repair packets for that long sees no loss: libwebrtc judges by the last ten seconds.
const IDLE: Duration = Duration::from_secs(10);

/// So many packets in a row from before all that is kept are no stragglers: the publisher counts anew.
const STRAYS_MAX: u8 = 8;

/// Header extensions whose value changes between what was summed up and what is sent.
const MUTABLE: [Extension; 2] = [Extension::TransportSequence, Extension::AbsSendTime];

/// See the module's description.
#[derive(Debug)]
pub(super) struct RepairReceiver {
    ssrc: Ssrc,
    decoder: Option<Box<FlexFecDecoder>>,
    last_repair: Instant,
    /// Whether the decoder knows any packets of the stream.
    is_fed: bool,
    strays: u8,
}

impl RepairReceiver {
    /// A receiver of the repair packets from the source `ssrc`.
    pub(super) fn new(now: Instant, ssrc: Ssrc) -> Self {
        Self { ssrc, decoder: None, last_repair: now, is_fed: false, strays: 0 }
    }

    /// The source of the repair packets.
    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Whether the stream's packets are kept.
    pub(super) fn is_awake(&self) -> bool {
        self.decoder.is_some()
    }

    /// A repair packet of the stream `media` came, with this payload.
    ///
    /// The first one, and those right behind it, only wake the decoder: what they repair was not kept.
    pub(super) fn handle_repair(
        &mut self,
        now: Instant,
        media: Ssrc,
        extensions: &ExtensionMap,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        self.last_repair = now;
        let Some(decoder) = &mut self.decoder else {
            let ids = MUTABLE.into_iter().filter_map(|extension| extensions.id(extension));
            let mutable: Vec<_> = ids.map(MutableExtension::whole).collect();
            self.decoder = Some(Box::new(FlexFecDecoder::new(media, &mutable)));
            self.is_fed = false;
            return Ok(());
        };
        if self.is_fed { decoder.handle_repair(payload) } else { Ok(()) }
    }

    /// A packet of the stream came as itself, whole and in the clear.
    pub(super) fn handle_media(&mut self, packet: &[u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        match decoder.handle_media(packet) {
            Err(Refusal::TooOld(_)) => self.strays += 1,
            Ok(()) => (self.strays, self.is_fed) = (0, true),
            // One that is too long is not protected; the others would have been dropped before.
            Err(
                Refusal::Header(_)
                | Refusal::Packet(_)
                | Refusal::Stream(_)
                | Refusal::TooLong(_)
                | Refusal::TooFar(_),
            ) => {}
        }
        if self.strays == STRAYS_MAX {
            self.strays = 0;
            decoder.reset();
        }
    }

    /// The next packet restored; poll until `None`.
    pub(super) fn poll_restored(&mut self) -> Option<Bytes> {
        self.decoder.as_mut()?.poll_restored().map(Bytes::copy_from_slice)
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now.since(self.last_repair) >= IDLE {
            self.decoder = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use fec::scheme::flexfec::{Column, FlexFecEncoder};
    use proto::rtp::{PayloadType, RtpHeader, RtpView, SeqNo};

    use super::*;

    const MEDIA: Ssrc = Ssrc(7);

    fn packet(seq: u16) -> Vec<u8> {
        let payload_type = PayloadType(96);
        let header = RtpHeader { payload_type, marker: false, seq: SeqNo(seq), timestamp: 9, ssrc: MEDIA };
        let mut packet = Vec::new();
        header.write(&[], &mut packet);
        packet.extend_from_slice(&seq.to_be_bytes());
        packet
    }

    /// One repair packet's payload over two packets from `first` on.
    fn repair(first: u16) -> Vec<u8> {
        let mut encoder = FlexFecEncoder::new(MEDIA, &[]);
        encoder.start(1);
        for seq in [first, first.wrapping_add(1)] {
            encoder.add(&packet(seq), Column(1)).unwrap();
        }
        let mut payload = Vec::new();
        encoder.poll_repair(&mut payload).unwrap();
        payload
    }

    fn repaired(receiver: &mut RepairReceiver, millis: u64, first: u16) -> Result<Option<u16>, Refusal> {
        let now = Instant::from_millis(millis);
        receiver.handle_repair(now, MEDIA, &ExtensionMap::default(), &repair(first))?;
        let restored = receiver.poll_restored();
        Ok(restored.map(|bytes| RtpView::parse(&bytes).unwrap().seq().0))
    }

    #[test]
    fn the_first_repair_packet_wakes_it_and_silence_puts_it_to_sleep() {
        let mut receiver = RepairReceiver::new(Instant::ZERO, Ssrc(8));
        receiver.handle_media(&packet(1));
        assert_eq!((repaired(&mut receiver, 0, 1), receiver.is_awake()), (Ok(None), true));
        assert_eq!(repaired(&mut receiver, 0, 1), Ok(None), "nor can the next one know what it repairs");
        receiver.handle_media(&packet(3));
        assert_eq!(repaired(&mut receiver, 1_000, 3), Ok(Some(4)));
        assert_eq!(repaired(&mut receiver, 1_000, 3), Ok(None), "again it restores nothing");
        for (millis, is_awake) in [(10_999, true), (11_000, false)] {
            receiver.handle_timeout(Instant::from_millis(millis));
            assert_eq!(receiver.is_awake(), is_awake, "{millis} ms");
        }
        assert_eq!((repaired(&mut receiver, 12_000, 5), receiver.is_awake()), (Ok(None), true));
    }

    #[test]
    fn a_stream_that_counts_anew_is_repaired_again() {
        let mut receiver = RepairReceiver::new(Instant::ZERO, Ssrc(8));
        repaired(&mut receiver, 0, 1).unwrap();
        receiver.handle_media(&packet(30_000));
        for seq in 100..108 {
            assert_eq!(repaired(&mut receiver, 0, seq), Err(Refusal::TooOld(SeqNo(seq))));
            receiver.handle_media(&packet(seq));
        }
        receiver.handle_media(&packet(108));
        assert_eq!(repaired(&mut receiver, 0, 108), Ok(Some(109)));
    }
}
