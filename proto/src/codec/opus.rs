//! How long an Opus packet plays (RFC 6716 §3.1 and §3.2).
//!
//! In: payloads. Out: durations. Time: none. Limit: 120 ms a packet.

/// Units of the RTP clock in a packet at most: 120 ms at 48 kHz (RFC 6716 §3.2.5, R5).
const SAMPLES_MAX: u32 = 5760;

/// How long a packet plays, in units of its RTP clock of 48 kHz; `None` if it is none.
pub fn duration(payload: &[u8]) -> Option<u32> {
    let &toc = payload.first()?;
    let config = u32::from(toc >> 3);
    let frame = match config {
        0..12 => [480, 960, 1920, 2880][config as usize % 4], // SILK
        12..16 => [480, 960][config as usize % 2],            // hybrid
        _ => [120, 240, 480, 960][config as usize % 4],       // CELT
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1)? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=SAMPLES_MAX).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_and_sometimes_the_second() {
        for (name, payload, samples) in [
            ("nothing", &[][..], None),
            ("SILK, 60 ms", &[0x18], Some(2880)),
            ("hybrid, 20 ms", &[0x68, 1], Some(960)),
            ("CELT, 2.5 ms", &[0x80], Some(120)),
            ("CELT, 20 ms, as Chromium sends", &[0xf8, 1, 2], Some(960)),
            ("two frames of one size", &[0xf9], Some(1920)),
            ("two frames of two sizes", &[0xfa], Some(1920)),
            ("three frames", &[0xfb, 3], Some(2880)),
            ("six frames of 20 ms", &[0xfb, 0x86], Some(5760)),
            ("seven are too many", &[0xfb, 7], None),
            ("no frames", &[0xfb, 0], None),
            ("no count", &[0xfb], None),
        ] {
            assert_eq!(duration(payload), samples, "{name}");
        }
    }
}
