//! Who sends: the encoder, and behind it the product's send pipeline towards one subscriber.
//!
//! In: frames of samples, fates of packets. Out: RTP packets. Time: `now`. What is redundant depends on the policy: the
//! encoder's own, or the pipeline's.

use anyhow::{Result, bail};
use fec::loss_model::{LossModel, PacketFate};
use libopus::Encoder;
use proto::codec::Codec;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, PayloadType, SeqNo};
use proto::scene::Scene;
use proto::sdp::{Fmtp, SectionCodec};
use proto::seed::Seed;
use proto::time::{Instant, NtpTime};
use sfu::transport::clock::RtpClock;
use sfu::transport::downlink::IP_UDP_HEADERS;
use sfu::transport::packet::{SourceHeader, SourcePacket, StreamId};
use sfu::transport::rtp_send::{Admitted, Plaintext, RtpSendPipeline, Written};
use sfu::transport::selector::First;
use sfu::transport::strategy::{Repairs, Strategy};

use super::Policy;
use super::play::ROUND_TRIP;
use super::voice::FRAME;

pub(super) const OPUS: PayloadType = PayloadType(111);
pub(super) const RED: PayloadType = PayloadType(63);

const STREAM: StreamId = StreamId { connection: 0, index: 0 };
const WALL: NtpTime = NtpTime::from_bits(0xe9a1_0000_0000_0000);

/// What the cipher adds to a packet: the tag of AES-GCM.
const TAG: u64 = 16;

/// A packet that left.
pub(super) struct Sent {
    pub(super) rtp: Vec<u8>,
    /// The encoder's packet in it.
    pub(super) opus: Vec<u8>,
}

impl Sent {
    /// Its length on the wire.
    pub(super) fn wire_len(&self) -> u64 {
        self.rtp.len() as u64 + IP_UDP_HEADERS + TAG
    }
}

/// See the module's description.
pub(super) struct Sender {
    encoder: Encoder,
    pipeline: RtpSendPipeline,
    policy: Policy,
    losses: LossModel,
}

impl Sender {
    pub(super) fn new(encoder: Encoder, policy: Policy, seed: &Seed) -> Self {
        let negotiated = [codec(OPUS, Codec::Opus, "useinbandfec=1"), codec(RED, Codec::Red, "111/111")];
        let mut extensions = ExtensionMap::default();
        extensions.set(Extension::AudioLevel, ExtensionId(1));
        extensions.set(Extension::TransportSequence, ExtensionId(3));
        let mut chance = seed.fork("sender").generator();
        let mut pipeline = RtpSendPipeline::new(negotiated.to_vec(), extensions, &mut chance);
        let repair = Repairs { redundant_audio: policy == Policy::Red, ..Repairs::ALL };
        pipeline.set_strategy(Strategy { repair, ..Strategy::of(Scene::Pk) });
        pipeline.bind(Some(&negotiated[..1]));
        pipeline.set_target(Some(STREAM), First::Any);
        Self { encoder, pipeline, policy, losses: LossModel::default() }
    }

    /// The packet of the next frame.
    pub(super) fn send(&mut self, now: Instant, number: u32, samples: &[i16]) -> Result<Sent> {
        let opus = self.encoder.encode(samples)?;
        let header = SourceHeader {
            seq: 70_000 + u64::from(number),
            timestamp: number * FRAME as u32,
            marker: false,
            payload_type: OPUS,
            codec: Codec::Opus,
            clock: RtpClock { at: WALL, rtp: 0, rate: Codec::Opus.clock_rate() },
            audio_level: Some(loudness(samples)),
            orientation: None,
            repair_time: core::time::Duration::ZERO,
        };
        let packet = SourcePacket::new(header, &opus);
        let Admitted::Yes(pending) = self.pipeline.admit(now, STREAM, &packet) else {
            bail!("sound is always let in")
        };
        let wall = WALL.offset_nanos(now.since(Instant::ZERO).as_nanos() as i64);
        let (mut rtp, transport) = (Plaintext::default(), Some(SeqNo(number as u16)));
        match self.pipeline.write(now, wall, &pending, transport, &mut rtp) {
            Written::Media(_) | Written::Switched(..) => Ok(Sent { rtp: rtp.contiguous().to_vec(), opus }),
            other @ (Written::Again | Written::Parity(_) | Written::Nothing) => {
                bail!("{other:?} was written")
            }
        }
    }

    /// Feedback came.
    pub(super) fn handle_feedback(
        &mut self,
        now: Instant,
        fates: impl IntoIterator<Item = PacketFate>,
    ) -> Result<()> {
        self.losses.handle_fates(fates);
        if let Some(redundant_audio) = self.pipeline.redundant_audio_mut() {
            redundant_audio.handle_feedback(now, &self.losses, ROUND_TRIP);
        }
        if self.policy == Policy::InBand {
            self.encoder.expect_loss((self.losses.estimate().loss * 100.0).round() as u8)?;
        }
        Ok(())
    }
}

/// How loud it is, as RFC 6464 tells it: in −dBov, 0 to 127; nothing of speech.
pub(super) fn loudness(samples: &[i16]) -> u8 {
    let square = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64;
    (-10.0 * (square / 32_768.0_f64.powi(2)).max(1e-13).log10()).clamp(0.0, 127.0) as u8
}

fn codec(payload_type: PayloadType, codec: Codec, fmtp: &str) -> SectionCodec {
    SectionCodec {
        payload_type,
        codec: Some(codec),
        clock_rate: codec.clock_rate(),
        channels: 2,
        fmtp: Fmtp::new(fmtp),
        rtx: None,
        nack: false,
        pli: false,
        fir: false,
        transport_cc: true,
    }
}
