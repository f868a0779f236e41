//! How long a retransmission may wait for parity in flight that repairs the same packets (references §4.4).
//!
//! Chromium asks for a packet as soon as it sees a gap, before the parity that follows can have arrived: answered at once,
//! most of what parity repairs is paid for twice. Who holds back knows the masks, and so whether what was asked for can be
//! decoded from the parity; here is whether waiting is worth it, and how long.

use core::time::Duration;

use super::timing::Timing;

/// Parity that arrives less often than that is not waited for.
const TRUST: f64 = 0.9;
/// Reports of arrivals come so late at most, after the round trip.
const REPORT_DELAY: Duration = Duration::from_millis(10);

/// How long after the parity left the answer to a request may wait; `None` if it should be given at once.
///
/// `needed` packets of parity repair all that was asked for; each is lost with a chance of `loss`; `age` ago the last of
/// them left; after `left` from now the block is too late. The wait ends sooner if a needed packet is reported lost or the
/// receiver asks again; the request is void once they are reported received.
pub fn hold_off(
    timing: &Timing,
    loss: f64,
    needed: usize,
    age: Duration,
    left: Duration,
) -> Option<Duration> {
    let arrive = (0..needed).fold(1.0, |chance, _| chance * (1.0 - loss));
    let end = timing.one_way * 2 + REPORT_DELAY;
    let wait = end.checked_sub(age)?;
    let is_time_left = left >= wait + timing.one_way;
    (needed > 0 && arrive >= TRUST && is_time_left).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_is_waited_for_if_it_comes_and_there_is_time() {
        let ms = Duration::from_millis;
        let timing = Timing::symmetric(ms(60), ms(10), ms(5));
        for (name, loss, needed, age, left, held) in [
            ("one parity, time enough", 0.05, 1, 20, 150, Some(70)),
            ("three at 5 % come too rarely together", 0.05, 3, 20, 150, None),
            ("three at 1 % do come", 0.01, 3, 20, 150, Some(70)),
            ("no time for an answer afterwards", 0.01, 1, 20, 70, None),
            ("the parity should have been reported by now", 0.01, 1, 80, 150, None),
            ("no parity repairs it", 0.01, 0, 20, 150, None),
        ] {
            assert_eq!(hold_off(&timing, loss, needed, ms(age), ms(left)), held.map(ms), "{name}");
        }
    }
}
