//! A synthetic voice: pulses and noise through three resonances that change from sound to sound, with pauses between.
//!
//! In: a seed. Out: frames of 20 ms at 48 kHz. Nothing of it is a word, but it has what speech codecs live on: a pitch that
//! glides, a spectrum that stays for some tens of milliseconds, and beginnings that cannot be told from what was before.

use std::f64::consts::{PI, TAU};

use libopus::SAMPLE_RATE;
use proto::seed::{Chance, Seed};

use super::path::uniform;

/// Samples in a frame: 20 ms.
pub(super) const FRAME: usize = 960;

/// Samples for which the voice says one sound: 60 to 240 ms.
const SOUND: (f64, f64) = (2_880.0, 11_520.0);

/// Bandwidths of the resonances, in hertz.
const BANDWIDTHS: [f64; 3] = [80.0, 110.0, 160.0];

/// What it is saying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Vowel,
    Consonant,
    Pause,
}

/// A resonance (Klatt 1980, eq. 1): its two last outputs.
#[derive(Debug, Clone, Copy, Default)]
struct Resonance(f64, f64);

impl Resonance {
    fn pass(&mut self, input: f64, hertz: f64, bandwidth: f64) -> f64 {
        let rate = f64::from(SAMPLE_RATE);
        let c = -(-TAU * bandwidth / rate).exp();
        let b = 2.0 * (-PI * bandwidth / rate).exp() * (TAU * hertz / rate).cos();
        let output = (1.0 - b - c) * input + b * self.0 + c * self.1;
        (self.0, self.1) = (output, self.0);
        output
    }
}

/// See the module's description.
pub(super) struct Voice {
    chance: Chance,
    source: Source,
    left: usize,
    loudness: f64,
    pitch: f64,
    glide: f64,
    phase: f64,
    formants: [f64; 3],
    resonances: [Resonance; 3],
}

impl Voice {
    pub(super) fn new(seed: &Seed) -> Self {
        Self {
            chance: seed.fork("voice").generator(),
            source: Source::Pause,
            left: 0,
            loudness: 0.0,
            pitch: 140.0,
            glide: 0.0,
            phase: 0.0,
            formants: [500.0, 1_500.0, 2_500.0],
            resonances: [Resonance::default(); 3],
        }
    }

    /// The next 20 ms.
    pub(super) fn frame(&mut self) -> Vec<i16> {
        (0..FRAME).map(|_| self.sample()).collect()
    }

    fn sample(&mut self) -> i16 {
        if self.left == 0 {
            self.next_sound();
        }
        self.left -= 1;
        self.pitch = (self.pitch + self.glide).clamp(90.0, 260.0);
        self.phase += self.pitch / f64::from(SAMPLE_RATE);
        let (aim, excitation) = match self.source {
            Source::Vowel if self.phase >= 1.0 => (1.0, 120.0),
            Source::Vowel => (1.0, 0.0),
            Source::Consonant => (0.15, self.between(-12.0, 12.0)),
            Source::Pause => (0.0, 0.0),
        };
        self.phase %= 1.0;
        self.loudness += (aim - self.loudness) * 0.002; // 10 ms
        let mut sound = excitation * self.loudness;
        for (resonance, (hertz, bandwidth)) in
            self.resonances.iter_mut().zip(self.formants.into_iter().zip(BANDWIDTHS))
        {
            sound = resonance.pass(sound, hertz, bandwidth);
        }
        let hiss = self.between(-8.0, 8.0); // of the room
        (sound * 600.0 + hiss).clamp(-30_000.0, 30_000.0) as i16
    }

    /// A vowel twice as often as a consonant, and now and then nothing.
    fn next_sound(&mut self) {
        self.source = match self.between(0.0, 1.0) {
            ..0.6 => Source::Vowel,
            ..0.88 => Source::Consonant,
            _ => Source::Pause,
        };
        self.left = self.between(SOUND.0, SOUND.1) as usize;
        self.glide = self.between(-0.004, 0.004); // hertz a sample: some 200 Hz a second
        let ranges = match self.source {
            Source::Vowel | Source::Pause => [(280.0, 800.0), (900.0, 2_300.0), (2_400.0, 3_200.0)],
            Source::Consonant => [(1_500.0, 2_500.0), (3_000.0, 4_500.0), (5_000.0, 7_000.0)],
        };
        self.formants = ranges.map(|(least, most)| self.between(least, most));
    }

    fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * uniform(&mut self.chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_and_pauses_and_says_the_same_again() {
        let speak = |number| {
            let mut voice = Voice::new(&Seed::from_number(number));
            (0..500).map(|_| voice.frame()).collect::<Vec<_>>()
        };
        let frames = speak(1);
        assert!(frames == speak(1) && frames != speak(2));
        let peaks: Vec<u16> = frames
            .iter()
            .map(|frame| frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0))
            .collect();
        let loud = peaks.iter().filter(|peak| **peak > 2_000).count();
        let quiet = peaks.iter().filter(|peak| **peak < 300).count();
        assert!(loud > 200 && quiet > 10, "{loud} of 500 frames are loud, {quiet} quiet");
        assert!(peaks.iter().filter(|peak| **peak >= 30_000).count() < 25, "it hardly clips");
    }
}
