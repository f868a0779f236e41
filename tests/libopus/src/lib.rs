//! The installed libopus (`libopus.so.0`), loaded while the program runs: nothing is needed to build this.
//!
//! In: samples at 48 kHz, one channel. Out: packets, and samples again, concealed or out of in-band redundancy where a
//! packet is lost. Time: none. Limit: [`PACKET_MAX`] bytes a packet, [`SAMPLES_MAX`] samples; an encoder or decoder stays in
//! its thread. The same calls give the same answers. Source of the interface: libopus 1.3's `opus.h` and `opus_defines.h`.

mod raw;

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use raw::{Functions, OpusDecoder, OpusEncoder};

/// Samples in a second.
pub const SAMPLE_RATE: u32 = 48_000;

/// The longest packet that an encoder makes, in bytes: what libopus itself recommends room for is 4000.
pub const PACKET_MAX: usize = 1_275;

/// The most samples in a packet: 120 ms (RFC 6716 §2.1.4).
pub const SAMPLES_MAX: usize = 5_760;

/// Why there is no libopus, or why it did not do something.
#[derive(Debug, thiserror::Error)]
pub enum OpusError {
    /// It is not installed, or is another one.
    #[error("no libopus.so.0 that can be loaded: {0}; Debian has it in the package libopus0")]
    NotInstalled(#[from] libloading::Error),
    /// It refused, with this code of `opus_defines.h`.
    #[error("libopus: error {0}")]
    Refused(i32),
}

/// The library.
#[derive(Debug, Clone)]
pub struct Opus(Rc<Functions>);

impl Opus {
    /// Loads it.
    pub fn load() -> Result<Self, OpusError> {
        Ok(Self(Rc::new(Functions::load()?)))
    }

    /// An encoder for speech over a network (`OPUS_APPLICATION_VOIP`), with so many bits a second.
    pub fn encoder(&self, bits_per_second: u32) -> Result<Encoder, OpusError> {
        let mut error = 0;
        // SAFETY: the rate and the count of channels are legal, and `error` is there to be written to.
        let state = unsafe { (self.0.encoder_create)(SAMPLE_RATE as i32, 1, raw::VOIP, &raw mut error) };
        let state = NonNull::new(state).ok_or(OpusError::Refused(error))?;
        let mut encoder = Encoder { functions: Rc::clone(&self.0), state };
        encoder.set(raw::SET_BITRATE, bits_per_second as i32)?;
        Ok(encoder)
    }

    /// A decoder that has heard nothing.
    pub fn decoder(&self) -> Result<Decoder, OpusError> {
        let mut error = 0;
        // SAFETY: as above.
        let state = unsafe { (self.0.decoder_create)(SAMPLE_RATE as i32, 1, &raw mut error) };
        let state = NonNull::new(state).ok_or(OpusError::Refused(error))?;
        Ok(Decoder { functions: Rc::clone(&self.0), state })
    }
}

/// Makes packets.
#[derive(Debug)]
pub struct Encoder {
    functions: Rc<Functions>,
    state: NonNull<OpusEncoder>,
}

impl Encoder {
    /// Sends the packet before with each one, coarsely, as far as `percent` of packets lost make it worth while; 0 ends it.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.set(raw::SET_INBAND_FEC, i32::from(percent > 0))?;
        self.set(raw::SET_PACKET_LOSS_PERC, i32::from(percent.min(100)))
    }

    /// The packet of these samples, 2.5 to 60 ms of them.
    pub fn encode(&mut self, samples: &[i16]) -> Result<Vec<u8>, OpusError> {
        let mut packet = vec![0; PACKET_MAX];
        let count = samples.len() as c_int;
        // SAFETY: the state is alive until this is dropped; both slices are as long as is said.
        let length = unsafe {
            (self.functions.encode)(
                self.state.as_ptr(),
                samples.as_ptr(),
                count,
                packet.as_mut_ptr(),
                PACKET_MAX as i32,
            )
        };
        packet.truncate(checked(length)?);
        Ok(packet)
    }

    fn set(&mut self, request: c_int, value: i32) -> Result<(), OpusError> {
        // SAFETY: all requests that are made take one number of 32 bits.
        checked(unsafe { (self.functions.encoder_ctl)(self.state.as_ptr(), request, value) }).map(|_| ())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `encoder_create`, and used by nobody after this.
        unsafe { (self.functions.encoder_destroy)(self.state.as_ptr()) }
    }
}

/// Makes samples of packets, and up for those that are lost.
#[derive(Debug)]
pub struct Decoder {
    functions: Rc<Functions>,
    state: NonNull<OpusDecoder>,
}

impl Decoder {
    /// The next packet's samples; how many there are.
    pub fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> Result<usize, OpusError> {
        self.call(Some(packet), samples, Redundancy::Leave)
    }

    /// Makes up what a lost packet would have been: as many samples as there is room for.
    pub fn conceal(&mut self, samples: &mut [i16]) -> Result<usize, OpusError> {
        self.call(None, samples, Redundancy::Leave)
    }

    /// The samples of the packet before this one out of this one's redundancy: as many as there is room for, which must be
    /// as many as that packet had. Without redundancy in it ([`has_redundancy`]) they are made up.
    pub fn decode_redundancy(&mut self, packet: &[u8], samples: &mut [i16]) -> Result<usize, OpusError> {
        self.call(Some(packet), samples, Redundancy::Take)
    }

    fn call(
        &mut self,
        packet: Option<&[u8]>,
        samples: &mut [i16],
        redundancy: Redundancy,
    ) -> Result<usize, OpusError> {
        let (data, length) = packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), packet.len()));
        let room = samples.len().min(SAMPLES_MAX) as c_int;
        let take = c_int::from(matches!(redundancy, Redundancy::Take));
        // SAFETY: the state is alive until this is dropped; both slices are as long as is said.
        let decode = unsafe {
            (self.functions.decode)(
                self.state.as_ptr(),
                data,
                length as i32,
                samples.as_mut_ptr(),
                room,
                take,
            )
        };
        checked(decode)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `decoder_create`, and used by nobody after this.
        unsafe { (self.functions.decoder_destroy)(self.state.as_ptr()) }
    }
}

#[derive(Clone, Copy)]
enum Redundancy {
    Leave,
    Take,
}

/// Whether a packet of one frame of 20 ms at most and one channel carries the packet before it, too: the bit after that of
/// voice activity, which only SILK has (RFC 6716 §4.2.3).
pub fn has_redundancy(packet: &[u8]) -> bool {
    const CELT_ONLY: u8 = 0x80;
    const ONE_FRAME: u8 = 0;
    let &[toc, first, ..] = packet else { return false };
    toc & CELT_ONLY == 0 && toc & 3 == ONE_FRAME && first & 0x40 != 0
}

fn checked(code: c_int) -> Result<usize, OpusError> {
    usize::try_from(code).map_err(|_| OpusError::Refused(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 960;

    /// Samples of vowels, three a second: a tone of 150 Hz and its harmonics, which fall off.
    fn vowel(frame: usize) -> Vec<i16> {
        let at = |sample: usize| (frame * FRAME + sample) as f64 / f64::from(SAMPLE_RATE);
        let sum = |time: f64| {
            let harmonic =
                |n: u32| (time * f64::from(n) * 150.0 * std::f64::consts::TAU).sin() / f64::from(n);
            let syllable = 0.2 + 0.8 * (time * 3.0 * std::f64::consts::PI).sin().abs();
            (1..12).map(harmonic).sum::<f64>() * syllable
        };
        (0..FRAME).map(|sample| (sum(at(sample)) * 6_000.0) as i16).collect()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn sound_survives_the_round_trip_and_what_is_lost_is_made_up() {
        let opus = Opus::load().expect("libopus0 is installed for tests");
        let (mut encoder, mut decoder) = (opus.encoder(32_000).unwrap(), opus.decoder().unwrap());
        for frame in 0..50 {
            let packet = encoder.encode(&vowel(frame)).unwrap();
            assert!((20..200).contains(&packet.len()), "{} bytes", packet.len());
            let mut samples = vec![0; FRAME];
            let count = match frame {
                30 => decoder.conceal(&mut samples).unwrap(),
                _ => decoder.decode(&packet, &mut samples).unwrap(),
            };
            assert_eq!(count, FRAME);
            let ratio = power(&samples) / power(&vowel(frame));
            assert!(frame < 5 || (0.2..2.0).contains(&ratio), "frame {frame}: {ratio}");
        }
        assert!(matches!(decoder.decode(&[0xff, 0xff], &mut [0; FRAME]), Err(OpusError::Refused(_))));
    }

    #[test]
    fn redundancy_is_there_once_losses_are_expected_and_better_than_nothing() {
        let opus = Opus::load().expect("libopus0 is installed for tests");
        for (percent, redundant) in [(0, false), (20, true)] {
            let mut encoder = opus.encoder(32_000).unwrap();
            encoder.expect_loss(percent).unwrap();
            let packets: Vec<_> = (0..50).map(|frame| encoder.encode(&vowel(frame)).unwrap()).collect();
            let found = packets[10..].iter().filter(|packet| has_redundancy(packet)).count();
            assert_eq!(found > 20, redundant, "{found} of 40 packets with {percent} % expected");
            assert!(redundant || found == 0);
            let (mut decoder, mut samples) = (opus.decoder().unwrap(), vec![0; FRAME]);
            for packet in &packets[..40] {
                decoder.decode(packet, &mut samples).unwrap();
            }
            assert_eq!(decoder.decode_redundancy(&packets[41], &mut samples).unwrap(), FRAME);
            assert!(power(&samples) > 1e5);
        }
    }

    #[test]
    fn the_bit_of_redundancy_is_read_of_speech_alone() {
        for (name, packet, redundant) in [
            ("nothing", &[][..], false),
            ("no frame", &[0x08], false),
            ("SILK without", &[0x08, 0x80], false),
            ("SILK with", &[0x08, 0xc0], true),
            ("hybrid with", &[0x78, 0x40], true),
            ("CELT", &[0xf8, 0xff], false),
            ("two frames", &[0x09, 0xff], false),
        ] {
            assert_eq!(has_redundancy(packet), redundant, "{name}");
        }
    }
}
