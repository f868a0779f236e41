//! RED towards a subscriber (RFC 2198): while its leg loses packets, each packet of sound carries the last ones before it.
//!
//! In: what the leg loses; packets of sound as they leave. Out: how many predecessors the next one carries, and its payload
//! with them. Time: `now`, monotonic. Limit: two predecessors, and what [`RedEncoder`] keeps; where nothing is lost nothing
//! is kept, and packets are plain Opus.
//!
//! Browsers do not ask for lost sound. Both payload types are negotiated, so each packet is what serves it best.

use core::ops::AddAssign;
use core::time::Duration;

use fec::loss_model::{LossEstimate, LossModel};
use fec::plan::red::red_depth;
use fec::plan::{Kind, Receiver};
use fec::scheme::red::RedEncoder;
use proto::codec::{Codec, opus};
use proto::rtp::PayloadType;
use proto::rtp::red::BLOCK_HEADER_LEN;
use proto::scene::Scene;
use proto::sdp::SectionCodec;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use super::RtpSendPipeline;
use super::plaintext::Plaintext;
use crate::transport::packet::SourcePacket;
use crate::transport::rewriter::Place;
use crate::transport::strategy::Strategy;

/// Where people sing together a predecessor that comes two packets later is too late.
const DEPTH_MAX_CHORUS: usize = 1;

/// Packets are taken to be so far apart before any was seen: what browsers send.
const INTERVAL: Duration = Duration::from_millis(20);

/// A depth is kept for so long at least, and for so many round trips, before one less will do (references §4.7).
const KEPT_MIN: Duration = Duration::from_secs(1);
const KEPT_ROUND_TRIPS: u32 = 4;

/// One less must do for so much more loss, too.
const MARGIN: f64 = 1.25;

/// After so long without a loss nothing is repeated, however slowly the estimate forgets what it was sure of: five hundred
/// packets of sound went through.
const CALM: Duration = Duration::from_secs(10);

/// From here on down (in −dBov, RFC 6464) sound without speech is as good as silence: it is not missed.
const QUIET: u8 = 60;

/// The bit that says that there is speech (RFC 6464 §3).
const SPEECH: u8 = 0x80;

/// What was sent with predecessors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepeatedAudio {
    /// Packets that carried some.
    pub packets: u64,
    /// What they were longer for it, in bytes.
    pub bytes: u64,
}

impl AddAssign for RepeatedAudio {
    fn add_assign(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

/// What of its predecessors a packet that waits shall carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Predecessors {
    /// How many.
    depth: usize,
    /// What they make of the packet's length, in bytes, as far as is known before it leaves.
    pub(super) size: usize,
}

/// A packet that leaves as RED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carrying {
    /// What it is.
    pub(super) payload_type: PayloadType,
    depth: usize,
}

/// See the module's description.
#[derive(Debug)]
pub struct RedundantAudio {
    payload_type: PayloadType,
    inside: PayloadType,
    strategy: Strategy,
    encoder: RedEncoder,
    depth: usize,
    /// When the depth was raised or confirmed last.
    needed_at: Instant,
    interval: Duration,
    /// How many packets in a row were quiet.
    quiet: usize,
    last_size: usize,
    sent: RepeatedAudio,
}

impl RedundantAudio {
    /// For a subscriber that negotiated these codecs; `None` if it does not take RED.
    pub fn new(negotiated: &[SectionCodec], strategy: Strategy) -> Option<Self> {
        let (payload_type, inside) = types(negotiated)?;
        Some(Self {
            payload_type,
            inside,
            strategy,
            encoder: RedEncoder::new(inside),
            depth: 0,
            needed_at: Instant::ZERO,
            interval: INTERVAL,
            quiet: 0,
            last_size: 0,
            sent: RepeatedAudio::default(),
        })
    }

    /// Whether it is what would be made of these codecs, too.
    pub(super) fn fits(&self, negotiated: &[SectionCodec]) -> bool {
        types(negotiated) == Some((self.payload_type, self.inside))
    }

    /// Feedback came: what the leg is like by now.
    pub fn handle_feedback(&mut self, now: Instant, losses: &LossModel, round_trip: Duration) {
        let is_calm = losses.lost_at().is_none_or(|at| now.since(at) >= CALM);
        self.adapt(now, (!is_calm).then(|| losses.estimate()), round_trip);
    }

    /// Follows what the leg loses, if it loses anything.
    fn adapt(&mut self, now: Instant, losses: Option<LossEstimate>, round_trip: Duration) {
        let worse = losses.map(|losses| LossEstimate { bound: losses.bound * MARGIN, ..losses });
        let depth = |losses: Option<LossEstimate>| losses.map_or(0, |losses| self.depth_for(&losses));
        let (wanted, cautious) = (depth(losses), depth(worse));
        if wanted > self.depth {
            self.depth = wanted;
        }
        if cautious >= self.depth {
            self.needed_at = now;
        } else if now.since(self.needed_at) >= KEPT_MIN.max(round_trip * KEPT_ROUND_TRIPS) {
            self.depth -= 1;
            self.needed_at = now;
        }
        if self.depth == 0 {
            self.encoder.reset();
        }
    }

    /// How many predecessors packets carry now, if they are worth it.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What predecessors take now on top of the sound itself.
    pub fn rate(&self) -> Bitrate {
        Bitrate::of(DataSize::bytes(self.plan().size as u64), self.interval).unwrap_or_default()
    }

    /// What was sent with predecessors since the last call.
    pub fn take_sent(&mut self) -> RepeatedAudio {
        core::mem::take(&mut self.sent)
    }

    /// What a packet shall carry that is let in now.
    pub(super) fn plan(&self) -> Predecessors {
        if self.quiet >= self.depth {
            return Predecessors::default(); // depth 0 as well
        }
        Predecessors { depth: self.depth, size: 1 + self.depth * (BLOCK_HEADER_LEN + self.last_size) }
    }

    /// Notes a packet of this payload type and outgoing timestamp that leaves now; whether it leaves as RED. If so,
    /// [`Self::write`] must be called.
    pub(super) fn handle_packet(
        &mut self,
        (payload_type, timestamp): (PayloadType, u32),
        packet: &SourcePacket,
        predecessors: Predecessors,
    ) -> Option<Carrying> {
        if self.depth == 0 || payload_type != self.inside {
            return None;
        }
        let payload = packet.payload();
        self.last_size = payload.len();
        self.quiet = if is_quiet(packet) { self.quiet.saturating_add(1) } else { 0 };
        if let Some(samples) = opus::duration(payload) {
            self.interval = Duration::from_secs(1) * samples / Codec::Opus.clock_rate();
        }
        let depth = self.encoder.carried(timestamp, payload.len(), predecessors.depth);
        if depth == 0 {
            self.encoder.note(timestamp, payload);
            return None;
        }
        Some(Carrying { payload_type: self.payload_type, depth })
    }

    /// Appends the payload of a packet that leaves as RED; tells how many bytes longer it is for that.
    pub(super) fn write(
        &mut self,
        carrying: Carrying,
        timestamp: u32,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        self.encoder.encode(timestamp, payload, carrying.depth, out);
        let added = out.len() - start - payload.len();
        self.sent += RepeatedAudio { packets: 1, bytes: added as u64 };
        added
    }

    fn depth_for(&self, losses: &LossEstimate) -> usize {
        let failure = self.strategy.goal(Kind::Audio).failure;
        let depth = usize::from(red_depth(losses, self.interval, failure, Receiver::FlexFec));
        match self.strategy.scene {
            Scene::Chorus => depth.min(DEPTH_MAX_CHORUS),
            Scene::Game | Scene::Pk | Scene::Chat | Scene::Watch => depth,
        }
    }
}

impl RtpSendPipeline {
    /// Predecessors packets of sound if the subscriber takes that and the slot's strategy allows it.
    pub(super) fn repeat_sound(&mut self) {
        let strategy = self.strategy;
        let is_wanted = strategy.repair.redundant_audio && self.is_numbered(); // else nobody tells of losses
        let kept = self.redundant_audio.take().filter(|own| is_wanted && own.fits(&self.negotiated));
        let make = || RedundantAudio::new(&self.negotiated, strategy).map(Box::new);
        self.redundant_audio = kept.or_else(|| make().filter(|_| is_wanted));
        if let Some(own) = &mut self.redundant_audio {
            own.strategy = strategy;
        }
    }

    /// What predecessors packets of sound, if the subscriber takes that.
    pub fn redundant_audio(&self) -> Option<&RedundantAudio> {
        self.redundant_audio.as_deref()
    }

    /// The same, to tell it something.
    pub fn redundant_audio_mut(&mut self) -> Option<&mut RedundantAudio> {
        self.redundant_audio.as_deref_mut()
    }

    /// What a packet shall carry that is let in now.
    pub(super) fn plan_predecessors(&self, packet: &SourcePacket) -> Predecessors {
        let sound = self.redundant_audio.as_ref().filter(|_| packet.is_sound());
        sound.map_or_else(Predecessors::default, |own| own.plan())
    }

    /// Notes a packet of this payload type and outgoing timestamp that leaves now; whether it leaves as RED.
    pub(super) fn carry(
        &mut self,
        (payload_type, timestamp): (PayloadType, u32),
        packet: &SourcePacket,
        predecessors: Predecessors,
    ) -> Option<Carrying> {
        self.redundant_audio.as_mut()?.handle_packet((payload_type, timestamp), packet, predecessors)
    }

    /// Appends a packet's payload, with what it carries.
    pub(super) fn write_payload(
        &mut self,
        carrying: Option<Carrying>,
        place: Place,
        packet: &SourcePacket,
        out: &mut Plaintext,
    ) {
        let Some((carrying, own)) = carrying.zip(self.redundant_audio.as_mut()) else {
            return out.put_source(packet, self.rewriter.picture_ids(place, packet));
        };
        let mut added = 0;
        out.put_payload(|out| added = own.write(carrying, place.timestamp, packet.payload(), out));
        self.carried.stats.octets = self.carried.stats.octets.wrapping_add(added as u32);
    }
}

/// RED's payload type, and that of what is in it.
fn types(negotiated: &[SectionCodec]) -> Option<(PayloadType, PayloadType)> {
    negotiated.iter().find_map(|codec| Some((codec.payload_type, codec.red_inside()?)))
}

/// Whether nobody would miss it: there is neither speech in it nor anything as loud as that.
fn is_quiet(packet: &SourcePacket) -> bool {
    packet.audio_level.is_some_and(|level| level & SPEECH == 0 && level >= QUIET)
}

#[cfg(test)]
mod tests {
    use fec::loss_model::{Cause, Fate, PacketFate};
    use fec::scheme::red::{RedDecoder, Taken};
    use proto::rtp::SeqNo;
    use proto::sdp::Fmtp;
    use proto::time::NtpTime;

    use super::*;
    use crate::transport::clock::RtpClock;
    use crate::transport::packet::SourceHeader;

    const OPUS: PayloadType = PayloadType(111);
    const RED: PayloadType = PayloadType(63);
    const FRAME: u32 = 960;
    const ROUND_TRIP: Duration = Duration::from_millis(60);

    fn codec(payload_type: PayloadType, codec: Codec, fmtp: &str) -> SectionCodec {
        SectionCodec {
            payload_type,
            codec: Some(codec),
            clock_rate: 48_000,
            channels: 2,
            fmtp: Fmtp::new(fmtp),
            rtx: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: true,
        }
    }

    fn leg(scene: Scene) -> RedundantAudio {
        let negotiated = [codec(OPUS, Codec::Opus, ""), codec(RED, Codec::Red, "111/111")];
        RedundantAudio::new(&negotiated, Strategy::of(scene)).unwrap()
    }

    /// Feedback after so much time: independent losses of this share.
    fn feed(own: &mut RedundantAudio, millis: u64, loss: f64) -> usize {
        let losses = LossEstimate { loss, bound: loss, correlation: 0.0, ..LossEstimate::COLD };
        own.adapt(Instant::from_millis(millis), Some(losses), ROUND_TRIP);
        own.depth()
    }

    fn packet(number: u16, level: Option<u8>) -> SourcePacket {
        let header = SourceHeader {
            seq: number.into(),
            timestamp: u32::from(number) * FRAME,
            marker: false,
            payload_type: OPUS,
            codec: Codec::Opus,
            clock: RtpClock { at: NtpTime::from_bits(0), rtp: 0, rate: 48_000 },
            audio_level: level,
            orientation: None,
            repair_time: Duration::ZERO,
        };
        SourcePacket::new(header, &[0xf8, number as u8, 1])
    }

    /// What a packet leaves as, and how much was planned for it.
    fn send(own: &mut RedundantAudio, number: u16, level: Option<u8>) -> (Option<Vec<u8>>, usize) {
        let (packet, planned) = (packet(number, level), own.plan());
        let carrying = own.handle_packet((OPUS, packet.timestamp), &packet, planned);
        let red = carrying.map(|carrying| {
            assert_eq!(carrying.payload_type, RED);
            let mut out = Vec::new();
            let added = own.write(carrying, packet.timestamp, packet.payload(), &mut out);
            assert_eq!(out.len(), added + packet.payload().len());
            out
        });
        (red, planned.size)
    }

    #[test]
    fn depth_follows_losses_up_at_once_and_down_step_by_step() {
        for (name, scene, steps) in [
            ("without losses", Scene::Pk, &[(0, 0.0, 0), (5_000, 0.0, 0)][..]),
            ("a few percent", Scene::Pk, &[(0, 0.02, 1), (50, 0.1, 2), (5_000, 0.1, 2)]),
            (
                "they end",
                Scene::Pk,
                &[(0, 0.1, 2), (900, 0.0, 2), (1_100, 0.0, 1), (1_900, 0.0, 1), (2_200, 0.0, 0)],
            ),
            ("one less would hardly do", Scene::Pk, &[(0, 0.1, 2), (2_000, 0.03, 2), (9_000, 0.03, 2)]),
            ("one less does", Scene::Pk, &[(0, 0.1, 2), (2_000, 0.02, 1), (9_000, 0.02, 1)]),
            ("they come again", Scene::Pk, &[(0, 0.1, 2), (1_100, 0.0, 1), (1_150, 0.1, 2)]),
            ("a chorus does not wait for the second", Scene::Chorus, &[(0, 0.3, 1), (5_000, 0.3, 1)]),
        ] {
            let mut own = leg(scene);
            for &(millis, loss, depth) in steps {
                assert_eq!(feed(&mut own, millis, loss), depth, "{name}, after {millis} ms");
            }
        }
    }

    #[test]
    fn repeats_end_soon_after_the_last_loss_however_sure_the_estimate_is() {
        let (mut own, mut model) = (leg(Scene::Pk), LossModel::default());
        let mut ended = None;
        for packet in 0..20_000_u64 {
            let sent = Instant::from_millis(packet * 4);
            let is_lost = packet % 10 == 3 && packet < 10_000; // for 40 s
            let fate = if is_lost { Fate::Lost(Cause::Path) } else { Fate::Received };
            model.handle_fates([PacketFate { sent, fate }]);
            if packet % 25 == 0 {
                own.handle_feedback(sent, &model, ROUND_TRIP);
                ended = ended.or_else(|| (packet > 10_000 && own.depth() == 0).then_some(packet * 4));
                assert!(!(1_000..10_000).contains(&packet) || own.depth() == 2, "packet {packet}");
            }
        }
        assert!(ended.is_some_and(|ended| (41_000..53_000).contains(&ended)), "{ended:?}");
        assert!(model.estimate().bound > 0.0, "it would have gone on for longer");
    }

    #[test]
    fn packets_are_plain_until_losses_come_and_again_when_they_are_gone() {
        let mut own = leg(Scene::Pk);
        assert_eq!(send(&mut own, 0, None), (None, 0), "nothing is lost");
        assert_eq!(own.rate(), Bitrate::ZERO);
        feed(&mut own, 0, 0.1);
        assert_eq!(send(&mut own, 1, None).0, None, "nothing is kept from before");
        let mut decoder = RedDecoder::new(OPUS);
        decoder.note(SeqNo(0));
        for (number, depth) in [(2, 1), (3, 2), (4, 2)] {
            let (red, planned) = send(&mut own, number, None);
            let red = red.unwrap();
            assert_eq!(red.len(), 1 + 3 + depth * (4 + 3));
            assert_eq!(planned, 1 + 2 * (4 + 3), "planned before it is known what there is");
            let mut found = Vec::new();
            let take = |taken: Taken<'_>| found.push((taken.seq.0, taken.payload.to_vec()));
            decoder.decode(SeqNo(number), u32::from(number) * FRAME, &red, take).unwrap();
            let expected = if number == 2 { vec![1, 2] } else { vec![number] };
            let expected: Vec<_> = expected.into_iter().map(|of| (of, vec![0xf8, of as u8, 1])).collect();
            assert_eq!(found, expected);
        }
        assert_eq!(own.rate(), Bitrate::bps(15 * 8 * 50));
        assert_eq!(own.take_sent(), RepeatedAudio { packets: 3, bytes: 3 + 5 * 7 });
        assert_eq!(own.take_sent(), RepeatedAudio::default());
        for millis in [2_000, 4_000] {
            feed(&mut own, millis, 0.0);
        }
        assert_eq!(send(&mut own, 5, None), (None, 0));
        feed(&mut own, 5_000, 0.1);
        assert_eq!(send(&mut own, 6, None).0, None, "what went before the pause is forgotten");
    }

    #[test]
    fn what_is_as_good_as_silence_is_not_repeated() {
        let quiet = Some(70);
        for (name, levels, is_red) in [
            ("unknown", [None; 3], true),
            ("loud", [Some(20); 3], true),
            ("quiet", [quiet; 3], false),
            ("quiet speech", [Some(0x80 | 0x46); 3], true),
            ("the last word", [Some(20), quiet, quiet], false),
            ("right after the last word", [quiet, Some(20), quiet], true),
            ("the first word", [quiet, quiet, Some(20)], true),
        ] {
            let mut own = leg(Scene::Pk);
            feed(&mut own, 0, 0.1);
            for (number, level) in levels.into_iter().enumerate() {
                send(&mut own, number as u16, level);
            }
            let (red, planned) = send(&mut own, 3, Some(20));
            // The packet itself is loud, and what counts is what it would repeat.
            assert_eq!((red.is_some(), planned > 0), (is_red, is_red), "{name}");
        }
    }

    #[test]
    fn only_who_negotiated_red_around_this_opus_gets_it() {
        let opus = codec(OPUS, Codec::Opus, "");
        let red = |fmtp: &str| codec(RED, Codec::Red, fmtp);
        assert!(RedundantAudio::new(std::slice::from_ref(&opus), Strategy::default()).is_none());
        assert!(RedundantAudio::new(&[opus.clone(), red("111/0")], Strategy::default()).is_none());
        let mut own = RedundantAudio::new(&[opus.clone(), red("96/96")], Strategy::default()).unwrap();
        assert!(own.fits(&[red("96/96")]) && !own.fits(&[red("111/111")]) && !own.fits(&[opus]));
        feed(&mut own, 0, 0.1);
        assert_eq!((send(&mut own, 0, None).0, send(&mut own, 1, None).0), (None, None));
    }
}
