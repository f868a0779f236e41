//! What waits for another worker.
//!
//! In: messages. Out: [`Batch`]es, each of all that waits. Time: none. Limit: [`MEDIA_MAX`] packets as they come,
//! [`BEGINNINGS_MAX`] with which streams begin. Of what is told besides, whatever says all that there is to say replaces what
//! waits of its kind: for each member one state and two lists of streams, for each of its media sections one list of viewers, for
//! each stream one wish, one request for a key frame and one gap; once more after each shard that opened or ended. Apart from
//! these there is what happens once: a shard opens or ends, somebody leaves, a stream begins. Clients can do that no faster
//! than they may join, and a stream begins twice no sooner than after it has not been watched for a while.
//!
//! **Drop rule.** Beyond half of [`MEDIA_MAX`] packets, those of enhancement layers are dropped, beyond seven eighths those of
//! the smallest layers, beyond all of it those of sound. What is told besides is never dropped. Streams that have
//! lost something say so at the beginning of the next batch: whoever watches them needs a key frame. A stream whose newest
//! pictures have no place in [`BEGINNINGS_MAX`] begins without, [`Outbox::takes_beginning`]: with a key frame that is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::Message;
use crate::transport::downlink::PACKET_OVERHEAD;
use crate::transport::packet::{SourcePacket, StreamId};

/// Packets that wait for a peer: half a second of twenty pictures at 4 Mbit/s each.
pub(super) const MEDIA_MAX: usize = 4_096;

/// Packets that wait of the pictures with which streams begin: a second of twenty at 2 Mbit/s each, apart from the others since
/// they all come at once when somebody enters.
pub(super) const BEGINNINGS_MAX: usize = 4_096;

/// What a packet is to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// The smallest layer of a picture, or sound, which is known by its packets.
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

/// What a message says all about: another one of the same can take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Member(u64),
    Streams(u64),
    Viewers(u64, usize),
    Wish(StreamId),
    KeyFrame(StreamId),
    Gap(StreamId),
}

impl Topic {
    fn of(message: &Message) -> Option<Self> {
        match message {
            Message::Member { member, .. } => Some(Self::Member(member.number)),
            Message::Streams { number, .. } => Some(Self::Streams(*number)),
            Message::Viewers { number, section, .. } => Some(Self::Viewers(*number, *section)),
            Message::Want { stream } | Message::Unwant { stream } => Some(Self::Wish(*stream)),
            Message::KeyFrame { stream } => Some(Self::KeyFrame(*stream)),
            Message::Gap { stream } => Some(Self::Gap(*stream)),
            Message::Hello { .. }
            | Message::Bye { .. }
            | Message::Left { .. }
            | Message::Begun { .. }
            | Message::Packet { .. } => None,
        }
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    batch: Batch,
    /// Where in the batch the message on each topic is that another one may replace.
    topics: BTreeMap<Topic, usize>,
    /// How many packets of the batch are those with which streams begin.
    beginnings: usize,
    /// Streams of which something was dropped from the batch.
    torn: BTreeSet<StreamId>,
    dropped: u64,
    /// How many messages the last batch had: the next one will have about as many.
    usual: usize,
}

impl Outbox {
    /// Something is to be told.
    pub(super) fn push(&mut self, message: Message) {
        match &message {
            Message::Begun { stream, packets, .. } => {
                self.topics.remove(&Topic::Gap(*stream)); // who has begun must hear of the next one
                self.beginnings += packets.len();
                for packet in packets {
                    self.batch.count(packet);
                }
            }
            // They say what members are, or end what was said of them: nothing said later may be put before.
            Message::Hello { .. } | Message::Bye { .. } => self.topics.clear(),
            Message::Member { .. }
            | Message::Left { .. }
            | Message::Streams { .. }
            | Message::Packet { .. }
            | Message::Gap { .. }
            | Message::Want { .. }
            | Message::Unwant { .. }
            | Message::KeyFrame { .. }
            | Message::Viewers { .. } => {}
        }
        let Some(topic) = Topic::of(&message) else { return self.batch.messages.push(message) };
        let place = self.topics.get(&topic).and_then(|place| self.batch.messages.get_mut(*place));
        if let Some(place) = place {
            *place = message;
            return;
        }
        if let Topic::Member(number) = topic {
            self.topics.remove(&Topic::Streams(number)); // which are those of media sections that it tells of
        }
        self.topics.insert(topic, self.batch.messages.len());
        self.batch.messages.push(message);
    }

    /// Whether a stream may begin with so many packets.
    pub(super) fn takes_beginning(&self, packets: usize) -> bool {
        self.beginnings + packets <= BEGINNINGS_MAX
    }

    /// A packet is to be relayed, if there is room for it.
    pub(super) fn push_packet(&mut self, stream: StreamId, packet: SourcePacket, rank: Rank) {
        let most = match rank {
            Rank::Base if packet.is_sound() => MEDIA_MAX,
            Rank::Base => MEDIA_MAX / 8 * 7,
            Rank::Enhancement => MEDIA_MAX / 2,
        };
        if self.batch.packets - self.beginnings >= most {
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
        self.beginnings = 0;
        self.topics.clear();
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
    use proto::signal::LeaveReason;
    use proto::time::{Instant, NtpTime};

    use super::super::MemberState;
    use super::*;
    use crate::transport::clock::RtpClock;
    use crate::transport::packet::SourceHeader;

    const LOW: StreamId = StreamId { connection: 1, index: 0 };
    const HIGH: StreamId = StreamId { connection: 1, index: 1 };

    fn packet(seq: u64) -> SourcePacket {
        packet_of(Codec::Vp8, seq)
    }

    fn packet_of(codec: Codec, seq: u64) -> SourcePacket {
        let header = SourceHeader {
            seq,
            timestamp: 0,
            marker: false,
            payload_type: PayloadType(96),
            codec,
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
            outbox.push(Message::Left { number: seq, reason: LeaveReason::Left });
        }
        let low_max = MEDIA_MAX / 8 * 5;
        assert_eq!(outbox.dropped() as usize, MEDIA_MAX * 2 - MEDIA_MAX / 8 * 7);
        let batch = outbox.take();
        assert_eq!((batch.packets(), batch.bytes() % batch.packets() as u64), (MEDIA_MAX / 8 * 7, 0));
        let words = told(&batch);
        let count = |what| words.iter().filter(|word| **word == what).count();
        assert_eq!((count("low"), count("high")), (low_max, MEDIA_MAX / 4));
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

    #[test]
    fn beginnings_take_no_room_from_what_flows_and_sound_is_dropped_last() {
        const SOUND: StreamId = StreamId { connection: 2, index: 0 };
        let mut outbox = Outbox::default();
        let mut begun = 0;
        for index in 0..20 {
            let takes = outbox.takes_beginning(400);
            begun += usize::from(takes);
            let packets = if takes { (0..400).map(packet).collect() } else { Vec::new() };
            let stream = StreamId { connection: 3, index };
            outbox.push(Message::Begun { stream, began: Instant::ZERO, packets });
        }
        assert_eq!(begun, BEGINNINGS_MAX / 400);
        for seq in 0..1_000 {
            outbox.push_packet(SOUND, packet_of(Codec::Opus, seq), Rank::Base);
            outbox.push_packet(HIGH, packet(seq), Rank::Enhancement);
        }
        assert_eq!(outbox.dropped(), 0, "there is room");
        for seq in 1_000..3_000 {
            outbox.push_packet(LOW, packet(seq), Rank::Base);
        }
        let dropped = outbox.dropped();
        assert!(dropped > 0);
        for seq in 1_000..1_500 {
            outbox.push_packet(SOUND, packet_of(Codec::Opus, seq), Rank::Base);
        }
        assert_eq!(outbox.dropped(), dropped, "nothing of sound");
        outbox.take();
        assert!(outbox.takes_beginning(BEGINNINGS_MAX) && !outbox.takes_beginning(BEGINNINGS_MAX + 1));
    }

    fn streams(number: u64, millis: u64) -> Message {
        Message::Streams { number, round_trip: Some(Duration::from_millis(millis)), streams: Vec::new() }
    }

    fn member(number: u64, name: &str) -> Message {
        let member = MemberState {
            number,
            participant: "PA_1".into(),
            identity: "ana".into(),
            name: name.to_owned(),
            joined: Instant::ZERO,
            sections: Vec::new(),
            tracks: Vec::new(),
        };
        Message::Member { room: "show".into(), member: Box::new(member) }
    }

    #[test]
    fn what_says_all_replaces_what_waits_of_its_kind_unless_something_is_between() {
        let hello = || Message::Hello { room: "show".into(), members: Vec::new() };
        let begun = || Message::Begun { stream: LOW, began: Instant::ZERO, packets: Vec::new() };
        let gap = || Message::Gap { stream: LOW };
        for (claim, told, left) in [
            ("the newer one", vec![streams(1, 1), streams(1, 2)], "S2"),
            ("of each member", vec![streams(1, 1), streams(2, 2), streams(1, 3)], "S3 S2"),
            ("a state before its streams", vec![member(1, "a"), streams(1, 1), member(1, "b")], "Mb S1"),
            (
                "streams after the state that they are of",
                vec![streams(1, 1), member(1, "a"), streams(1, 2), member(1, "b"), streams(1, 3)],
                "S1 Mb S3",
            ),
            ("not across a hello", vec![member(1, "a"), hello(), member(1, "b")], "Ma H Mb"),
            ("the last wish", vec![Message::Want { stream: LOW }, Message::Unwant { stream: LOW }], "unwant"),
            ("a gap after a beginning", vec![gap(), gap(), begun(), gap(), gap()], "gap begun gap"),
        ] {
            let mut outbox = Outbox::default();
            for message in told {
                outbox.push(message);
            }
            let word = |message: &Message| match message {
                Message::Streams { round_trip, .. } => format!("S{}", round_trip.unwrap().as_millis()),
                Message::Member { member, .. } => format!("M{}", member.name),
                Message::Hello { .. } => "H".to_owned(),
                Message::Unwant { .. } => "unwant".to_owned(),
                Message::Gap { .. } => "gap".to_owned(),
                Message::Begun { .. } => "begun".to_owned(),
                other => format!("{other:?}"),
            };
            let words: Vec<String> = outbox.take().messages.iter().map(word).collect();
            assert_eq!(words.join(" "), left, "{claim}");
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_for_long_has_no_more_waiting_than_there_are_topics() {
        let mut outbox = Outbox::default();
        let mut rounds = Vec::new();
        for round in 0..1_000 {
            for number in 0..20 {
                outbox.push(member(number, "ana"));
                outbox.push(streams(number, round));
                outbox.push(Message::Viewers { number: 100 + number, section: 1, viewers: Vec::new() });
                outbox.push(Message::KeyFrame { stream: StreamId { connection: number, index: 0 } });
            }
            rounds.push(outbox.batch.messages.len());
        }
        assert_eq!((rounds.first(), rounds.last()), (Some(&80), Some(&80)));
    }
}
