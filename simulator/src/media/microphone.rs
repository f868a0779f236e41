//! A microphone and Opus: 50 packets a second while somebody speaks, and hardly any in silence.
//!
//! In: `pause`, `resume`. Out: `poll_packet`. Time: `now`, monotonic; `poll_timeout`. Chance: one seed at construction.
//!
//! With discontinuous transmission, speech and silence last for exponential times of the means of ITU-T P.59 (1.004 s
//! and 1.587 s: speech 39 % of the time), in steps of a packet. In silence a packet comes each 400 ms (RFC 7587 §3.1.3).

use std::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::DataSize;

use crate::scenario::MicrophonePlan;

/// The sound in a packet.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many packets' time lies between two packets in silence.
const SILENT_STEPS: u32 = 20;

/// What a packet of silence has: Opus codes the noise anew in a few bytes.
const SILENT_SIZE: DataSize = DataSize::bytes(10);

/// The chance that speech ends with a packet, and that silence ends with the time of one, in 2^-32.
const SPEECH_ENDS: u32 = (4_294_967_296_u64 * 20 / 1_004) as u32;
const SILENCE_ENDS: u32 = (4_294_967_296_u64 * 20 / 1_587) as u32;

/// A packet of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// Its size without any headers.
    pub size: DataSize,
    /// When it was complete.
    pub captured: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub struct Microphone {
    plan: MicrophonePlan,
    next: Instant,
    next_is_speech: bool,
    is_paused: bool,
    chance: Chance,
}

impl Microphone {
    /// A microphone that has its first packet within 20 ms after `start`; it begins with speech.
    pub fn new(plan: MicrophonePlan, start: Instant, seed: &Seed) -> Self {
        let mut chance = seed.generator();
        let phase = Duration::from_nanos(chance.long_number() % INTERVAL.as_nanos() as u64);
        Self { plan, next: start + phase, next_is_speech: true, is_paused: false, chance }
    }

    /// Takes in no more sound.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Takes in sound again, beginning with speech.
    pub fn resume(&mut self, now: Instant) {
        self.is_paused = false;
        self.next_is_speech = true;
        let steps = now.since(self.next).as_nanos().div_ceil(INTERVAL.as_nanos());
        self.next += INTERVAL * steps as u32;
    }

    /// The packet that is complete by `now`, if there is one; to be asked until there is none.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Sound> {
        let captured = self.poll_timeout().filter(|at| *at <= now)?;
        let size = if self.next_is_speech { self.plan.rate * INTERVAL } else { SILENT_SIZE };
        let goes_on = self.next_is_speech && !(self.plan.dtx && self.chance.number() < SPEECH_ENDS);
        let steps = if goes_on { 1 } else { self.silence() };
        self.next += INTERVAL * steps;
        Some(Sound { size, captured })
    }

    /// When the next packet is complete.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_paused).then_some(self.next)
    }

    /// After how many packets' time there is something to send, and whether it is speech.
    fn silence(&mut self) -> u32 {
        let speech = (1..=SILENT_STEPS).find(|_| self.chance.number() < SILENCE_ENDS);
        self.next_is_speech = speech.is_some();
        speech.unwrap_or(SILENT_STEPS)
    }
}

#[cfg(test)]
mod tests {
    use proto::units::Bitrate;

    use super::*;

    fn microphone(dtx: bool) -> Microphone {
        let plan = MicrophonePlan { rate: Bitrate::kbps(32), dtx };
        Microphone::new(plan, Instant::ZERO, &Seed::from_number(9))
    }

    fn record(microphone: &mut Microphone, end: Instant) -> Vec<Sound> {
        let mut sounds = Vec::new();
        while let Some(at) = microphone.poll_timeout().filter(|at| *at < end) {
            sounds.push(microphone.poll_packet(at).expect("it is due"));
        }
        sounds
    }

    #[test]
    fn without_dtx_there_are_fifty_packets_a_second_for_ever() {
        let sounds = record(&mut microphone(false), Instant::from_millis(60_000));
        assert_eq!(sounds.len(), 3_000);
        assert!(sounds.iter().all(|sound| sound.size == DataSize::bytes(80)));
        assert!(sounds.windows(2).all(|pair| pair[1].captured.since(pair[0].captured) == INTERVAL));
    }

    #[test]
    fn with_dtx_speech_is_39_percent_of_the_time_and_silence_has_a_packet_each_400_ms() {
        let sounds = record(&mut microphone(true), Instant::from_millis(10_000_000));
        let speech = sounds.iter().filter(|sound| sound.size > SILENT_SIZE).count() as f64 * 0.02 / 10_000.0;
        assert!((0.37..0.41).contains(&speech), "{speech}");
        let gaps: Vec<Duration> =
            sounds.windows(2).map(|pair| pair[1].captured.since(pair[0].captured)).collect();
        assert_eq!(gaps.iter().max(), Some(&Duration::from_millis(400)));
        assert_eq!(gaps.iter().min(), Some(&INTERVAL));
        let spurts = sounds.windows(2).filter(|pair| {
            pair[1].size > SILENT_SIZE
                && (pair[0].size == SILENT_SIZE || pair[1].captured.since(pair[0].captured) > INTERVAL)
        });
        let mean = speech * 10_000.0 / spurts.count() as f64;
        assert!((0.95..1.08).contains(&mean), "a spurt takes {mean} s");
    }

    #[test]
    fn a_pause_is_silent_and_ends_with_speech() {
        let mut microphone = microphone(true);
        microphone.pause();
        assert_eq!(
            (microphone.poll_timeout(), microphone.poll_packet(Instant::from_millis(500))),
            (None, None)
        );
        microphone.resume(Instant::from_millis(1_000));
        let next = microphone.poll_timeout().expect("it goes on");
        assert!(next.since(Instant::from_millis(1_000)) < INTERVAL);
        assert_eq!(microphone.poll_packet(next).map(|sound| sound.size), Some(DataSize::bytes(80)));
    }
}
