//! What waits for another worker.
//!
//! In: messages. Out: [`Batch`]es, each of all that waits. Time: none. Limit: [`MEDIA_MAX`] packets.
//!
//! **Drop rule.** Beyond half of [`MEDIA_MAX`] packets, those of enhancement layers are dropped, beyond all of it those of the
//! smallest layers and of sound too. What is told besides is never dropped. Streams that have
//! lost something say so at the beginning of the next batch: whoever watches them needs a key frame.

use std::collections::BTreeSet;

use super::Message;
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::packet::{SourcePacket, StreamId};

/// Packets that wait for a peer: half a second of twenty pictures at 4 Mbit/s each.
pub(super) const MEDIA_MAX: usize = 4_096;

/// What a packet is to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Sound, or the smallest layer of a picture.
    Base,
    /// A larger layer.
    Enhancement,
}

/// What is handed to another worker at a time, in order.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    packets: usize,
    bytes: u64,
}

impl Batch {
    /// How many packets of media are in it.
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// What they take, with as much for headers as they would take to a client.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    fn count(&mut self, packet: &SourcePacket) {
        self.packets += 1;
        self.bytes += packet.payload().len() as u64 + PACKET_OVERHEAD;
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    batch: Batch,
    /// Streams of which something was dropped from the batch.
    torn: BTreeSet<StreamId>,
    dropped: u64,
    /// How many messages the last batch had: the next one will have about as many.
    usual: usize,
}

impl Outbox {
    /// Something is to be told.
    pub(super) fn push(&mut self, message: Message) {
        if let Message::Begun { packets, .. } = &message {
            for packet in packets {
                self.batch.count(packet);
            }
        }
        self.batch.messages.push(message);
    }

    /// A packet is to be relayed, if there is room for it.
    pub(super) fn push_packet(&mut self, stream: StreamId, packet: SourcePacket, rank: Rank) {
        let most = match rank {
            Rank::Base => MEDIA_MAX,
            Rank::Enhancement => MEDIA_MAX / 2,
        };
        if self.batch.packets >= most {
            self.torn.insert(stream);
            self.dropped += 1;
            return;
        }
        self.batch.count(&packet);
        self.batch.messages.push(Message::Packet { stream, packet });
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> Batch {
        let next = Batch { messages: Vec::with_capacity(self.usual), ..Batch::default() };
        let batch = core::mem::replace(&mut self.batch, next);
        self.usual = batch.messages.len().min(MEDIA_MAX);
        while let Some(stream) = self.torn.pop_first() {
            self.push(Message::Gap { stream });
        }
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.messages.is_empty()
    }

    /// How many packets were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proto::codec::Codec;
    use proto::rtp::PayloadType;
    use proto::time::NtpTime;

    use super::*;
    use crate::transport::clock::RtpClock;
    use crate::transport::packet::SourceHeader;

    const LOW: StreamId = StreamId { connection: 1, index: 0 };
    const HIGH: StreamId = StreamId { connection: 1, index: 1 };

    fn packet(seq: u64) -> SourcePacket {
        let header = SourceHeader {
            seq,
            timestamp: 0,
            marker: false,
            payload_type: PayloadType(96),
            codec: Codec::Vp8,
            clock: RtpClock { at: NtpTime::from_bits(0), rtp: 0, rate: 90_000 },
            audio_level: None,
            orientation: None,
            repair_time: Duration::ZERO,
        };
        SourcePacket::new(header, &[1; 100])
    }

    fn told(batch: &Batch) -> Vec<&'static str> {
        let name = |message: &Message| match message {
            Message::Packet { stream: LOW, .. } => "low",
            Message::Packet { .. } => "high",
            Message::Gap { stream: LOW } => "low gap",
            Message::Gap { .. } => "high gap",
            _ => "word",
        };
        batch.messages.iter().map(name).collect()
    }

    #[test]
    fn enhancement_layers_are_dropped_first_and_words_never() {
        let mut outbox = Outbox::default();
        for seq in 0..MEDIA_MAX as u64 {
            outbox.push_packet(LOW, packet(seq), Rank::Base);
            outbox.push_packet(HIGH, packet(seq), Rank::Enhancement);
            outbox.push(Message::Want { stream: LOW });
        }
        assert_eq!(outbox.dropped() as usize, MEDIA_MAX);
        let batch = outbox.take();
        assert_eq!((batch.packets(), batch.bytes() % MEDIA_MAX as u64), (MEDIA_MAX, 0));
        let words = told(&batch);
        let count = |what| words.iter().filter(|word| **word == what).count();
        assert_eq!((count("low"), count("high")), (MEDIA_MAX * 3 / 4, MEDIA_MAX / 4));
        assert_eq!((count("word"), count("low gap"), count("high gap")), (MEDIA_MAX, 0, 0));
        assert_eq!(told(&outbox.take()), ["low gap", "high gap"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_lost_something_says_so_once_before_its_next_packets() {
        let mut outbox = Outbox::default();
        for seq in 0..3_000 {
            outbox.push_packet(HIGH, packet(seq), Rank::Enhancement);
        }
        outbox.take();
        for seq in 3_000..3_002 {
            outbox.push_packet(LOW, packet(seq), Rank::Base);
            outbox.push_packet(HIGH, packet(seq), Rank::Enhancement);
        }
        assert_eq!(told(&outbox.take()), ["high gap", "low", "high", "low", "high"]);
        outbox.push_packet(HIGH, packet(3_002), Rank::Enhancement);
        assert_eq!(told(&outbox.take()), ["high"]);
    }
}
