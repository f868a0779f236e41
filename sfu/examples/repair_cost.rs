//! What loss recovery costs a packet where nothing is lost: a slot forwards pictures, and nanoseconds a packet are printed.
//!
//! In: nothing. Out: the least of many rounds, in ns a packet. `cargo xtask bench fec-forwarding` builds it with loss recovery
//! and, by the feature `without-repair`, without, and compares the two.

#![expect(clippy::print_stdout, reason = "it is a tool")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use core::time::Duration;
use std::hint::black_box;

use proto::codec::Codec;
use proto::rtp::extension::{Extension, ExtensionMap};
use proto::rtp::{ExtensionId, PayloadType, SeqNo};
use proto::sdp::{Fmtp, SectionCodec};
use proto::seed::Seed;
use proto::time::{Instant, NtpTime};
use sfu::transport::clock::RtpClock;
use sfu::transport::packet::{SourceHeader, SourcePacket, StreamId};
use sfu::transport::rtp_send::{Admitted, Plaintext, RtpSendPipeline};
use sfu::transport::selector::First;

const WALL: NtpTime = NtpTime::from_bits(0xE000_0000_0000_0000);
const STREAM: StreamId = StreamId { connection: 1, index: 0 };
const PAYLOAD: usize = 1_150;
const PACKETS_A_FRAME: u64 = 7;
const PACKETS: u64 = 20_000;
const ROUNDS: usize = 40;

fn main() {
    let packets: Vec<SourcePacket> = (0..PACKETS).map(packet).collect();
    let least = (0..ROUNDS).map(|_| round(&packets)).fold(f64::INFINITY, f64::min);
    println!("{least:.3}");
}

/// Forwards two minutes of pictures; how long a packet took.
fn round(packets: &[SourcePacket]) -> f64 {
    let mut slot = slot();
    let mut out = Plaintext::default();
    let mut forwarded = 0;
    let began = std::time::Instant::now();
    for (number, packet) in (0_u64..).zip(packets) {
        let now = Instant::from_millis(number * 5);
        let Admitted::Yes(pending) = slot.admit(now, STREAM, packet) else { continue };
        out.clear();
        slot.write(now, WALL, &pending, Some(SeqNo(number as u16)), &mut out);
        forwarded += u64::from(!black_box(&out).is_empty());
    }
    let took = began.elapsed();
    assert_eq!(forwarded, PACKETS, "every packet is forwarded");
    took.as_secs_f64() * 1e9 / PACKETS as f64
}

fn slot() -> RtpSendPipeline {
    let codec = SectionCodec {
        payload_type: PayloadType(102),
        codec: Some(Codec::Vp8),
        clock_rate: 90_000,
        channels: 1,
        fmtp: Fmtp::default(),
        rtx: Some(PayloadType(103)),
        nack: true,
        pli: true,
        fir: true,
        transport_cc: true,
    };
    let mut extensions = ExtensionMap::default();
    extensions.set(Extension::TransportSequence, ExtensionId(3));
    let mut chance = Seed::from_number(1).generator();
    let mut slot = RtpSendPipeline::new(vec![codec.clone()], extensions, &mut chance);
    slot.protect(Some(PayloadType(49)), &mut chance);
    slot.bind(Some(&[codec]));
    slot.set_target(Some(STREAM), First::Any);
    slot
}

fn packet(number: u64) -> SourcePacket {
    let frame = number / PACKETS_A_FRAME;
    let mut payload = vec![0x55; PAYLOAD];
    // A frame begins (RFC 7741 §4.2), and the first one is a key frame (§4.3).
    payload[0] = if number.is_multiple_of(PACKETS_A_FRAME) { 0x10 } else { 0x00 };
    payload[1] = u8::from(number > 0);
    let header = SourceHeader {
        seq: 70_000 + number,
        timestamp: frame as u32 * 3_000,
        marker: number % PACKETS_A_FRAME == PACKETS_A_FRAME - 1,
        payload_type: PayloadType(102),
        codec: Codec::Vp8,
        clock: RtpClock { at: WALL, rtp: 0, rate: 90_000 },
        audio_level: None,
        orientation: None,
        repair_time: Duration::ZERO,
    };
    SourcePacket::new(header, &payload)
}
