//! How many frames share their parity (references §4.5).
//!
//! Of a frame of one packet, parity is a copy: a hundred percent. And a burst that takes a frame takes its parity with it.
//! Where there are few packets a frame, or no time for a second round, parity covers the last few frames as well, a sliding
//! window: the parity of each frame helps those before it, as long as they can still be shown in time.

use core::time::Duration;

use super::masks::PARITIES_MAX;
use super::node::MEDIA_MAX;
use super::timing::Timing;

/// The most frames of a window.
const FRAMES_MAX: usize = 6;
/// Frames of so many packets have parity of their own.
const LARGE: usize = 4;

/// How many frames of about `media` packets, one each `interval`, share their parity; at least one.
///
/// The oldest of them must still be of use when the newest one's parity arrives, and the window's packets must fit a mask.
pub fn span(media: usize, rounds: usize, timing: &Timing, deadline: Duration, interval: Duration) -> usize {
    if (media >= LARGE && rounds > 1) || media == 0 || interval.is_zero() {
        return 1;
    }
    let time = timing.slack(deadline, 1);
    let frames = 1 + usize::try_from(time.as_nanos() / interval.as_nanos()).unwrap_or(FRAMES_MAX);
    frames.min(FRAMES_MAX).min((MEDIA_MAX - 2) / media).max(1)
}

/// What of a window's `parities` leaves with this frame, of `frames`; `turn`, 0 to 1, spreads what does not divide.
pub fn part(parities: usize, frames: usize, turn: f32) -> usize {
    let frames = frames.max(1);
    let rest = (parities % frames) as f32 / frames as f32;
    (parities / frames + usize::from(turn < rest)).min(PARITIES_MAX.max(parities))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_and_single_rounds_share_parity_while_there_is_time() {
        let ms = Duration::from_millis;
        let timing = |round_trip| Timing::symmetric(ms(round_trip), ms(10), ms(5));
        for (name, media, rounds, round_trip, deadline, frames) in [
            ("large frames, two rounds", 12, 2, 60, 150, 1),
            ("large frames, one round", 12, 1, 100, 150, 3),
            ("one packet a frame", 1, 2, 60, 150, 4),
            ("one packet a frame, no time", 1, 1, 100, 60, 1),
            ("one packet a frame, much time", 1, 3, 60, 800, 6),
            ("frames that fill a mask", 40, 1, 100, 150, 1),
            ("nothing", 0, 1, 100, 150, 1),
        ] {
            let found = span(media, rounds, &timing(round_trip), ms(deadline), ms(33));
            assert_eq!(found, frames, "{name}");
        }
    }

    #[test]
    fn parts_add_up() {
        for (parities, frames) in [(0, 3), (1, 3), (4, 3), (6, 6), (7, 1)] {
            let sent: usize = (0..frames * 100)
                .map(|frame| part(parities, frames, (frame as f32 * 0.618_034).fract()))
                .sum();
            let expected = parities * 100;
            assert!(sent.abs_diff(expected) <= 5, "{parities} over {frames}: {sent}, {expected} expected");
        }
    }
}
