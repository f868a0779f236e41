//! One policy at one point with one seed: from the voice to what is heard.
//!
//! In: how many packets. Out: [`Play`], what there was of everything. Time: virtual, by the packet's number.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::Result;
use fec::loss_model::{Cause, Fate, PacketFate};
use libopus::Opus;
use proto::seed::Seed;
use proto::time::Instant;

use super::Policy;
use super::path::{Path, Point};
use super::receiver::Receiver;
use super::sender::{Sender, loudness};
use super::voice::Voice;

/// From one packet to the next.
pub(super) const INTERVAL: Duration = Duration::from_millis(20);

/// How many there are in a second.
pub(super) const PACKETS_A_SECOND: u32 = 50;

/// What becomes of a packet is known so much later, with others of this many.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(60);
const FEEDBACK_PACKETS: u32 = 3;

/// What there was, in frames of 20 ms unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Play {
    pub(super) frames: u64,
    /// Packets that the path lost.
    pub(super) lost: u64,
    /// Neither they nor what carries them again were there in time.
    pub(super) missing: u64,
    /// The decoder made them up.
    pub(super) concealed: u64,
    /// The same, where there was something to be heard.
    pub(super) audible: u64,
    /// Runs of frames made up, and the longest.
    pub(super) gaps: u64,
    pub(super) longest: u64,
    /// Bytes that left, with all headers.
    pub(super) bytes: u64,
    /// The energy of the sound without losses, and that of the difference.
    pub(super) signal: f64,
    pub(super) noise: f64,
}

impl AddAssign for Play {
    fn add_assign(&mut self, more: Self) {
        self.frames += more.frames;
        self.lost += more.lost;
        self.missing += more.missing;
        self.concealed += more.concealed;
        self.audible += more.audible;
        self.gaps += more.gaps;
        self.longest = self.longest.max(more.longest);
        self.bytes += more.bytes;
        self.signal += more.signal;
        self.noise += more.noise;
    }
}

/// Plays it.
pub(super) fn play(opus: &Opus, policy: Policy, point: Point, seed: &Seed, packets: u32) -> Result<Play> {
    let (mut voice, mut path) = (Voice::new(seed), Path::new(point, seed));
    let mut sender = Sender::new(opus.encoder(32_000)?, policy, seed);
    let mut receiver = Receiver::new();
    let mut play = Play { frames: packets.into(), ..Play::default() };
    let mut unreported = VecDeque::new();
    for number in 0..packets {
        let now = Instant::ZERO + INTERVAL * number;
        let samples = voice.frame();
        let sent = sender.send(now, number, &samples)?;
        play.bytes += sent.wire_len();
        receiver.note_sent(&sent, loudness(&samples));
        let jitter = path.pass();
        play.lost += u64::from(jitter.is_none());
        if let Some(jitter) = jitter {
            receiver.handle_packet(now + jitter, &sent.rtp);
        }
        let fate = if jitter.is_some() { Fate::Received } else { Fate::Lost(Cause::Path) };
        unreported.push_back(PacketFate { sent: now, fate });
        if number % FEEDBACK_PACKETS == 0 {
            let known = unreported.partition_point(|fate| now.since(fate.sent) >= ROUND_TRIP);
            sender.handle_feedback(now, unreported.drain(..known))?;
        }
    }
    receiver.hear(opus, policy, &mut play)?;
    Ok(play)
}
