//! What the holes of a stream teach: how long one is worth waiting for, and how long an answer takes.
//!
//! In: what became of holes. Out: [`Patience::wait`], [`RoundTrip::get`]. Time: none. Limit: the last [`FATES`] holes and
//! the last [`ANSWERS`] answers.

use core::time::Duration;

/// Holes that are remembered: at 5 % loss of a stream of 1 Mbit/s those of the last six seconds.
const FATES: usize = 32;

/// From so many of them on that came unasked, the next is likely to.
const UNASKED_MIN: usize = FATES / 2;

/// A longer wait costs the packets that do not come unasked more than it spares: a picture at 40 a second.
const WAIT_MAX: Duration = Duration::from_millis(25);

/// Answers that are remembered: the quickest of eight met no loss on its way, at any loss that lets a call go on.
const ANSWERS: usize = 8;

/// Until the round trip is known; Chromium's default too.
const RTT_DEFAULT: Duration = Duration::from_millis(100);

/// A longer one is a measuring error or a call beyond repair.
const RTT_MAX: Duration = Duration::from_secs(1);

/// How long to wait for a missing packet before asking for it, where packets overtake one another or repair packets
/// restore them: the time within which 95 % of those came that came unasked, if most did.
///
/// By time and not by packets, as in RACK (RFC 8985 §6.2): paced pictures have gaps that a count does not see.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    /// After what time a hole was filled by itself; `None` if it was not, or too late to be waited for.
    fates: [Option<Duration>; FATES],
    next: usize,
    quantile: Option<Duration>,
}

impl Patience {
    /// A hole was filled unasked, or would have been: by a packet out of order or by repair packets.
    pub(super) fn note_came(&mut self, took: Duration) {
        self.note(Some(took).filter(|&took| took <= WAIT_MAX));
    }

    /// A hole was filled because it was asked for, or never.
    pub(super) fn note_lost(&mut self) {
        self.note(None);
    }

    /// How long to wait; `None` if waiting is worth nothing. Never longer than the round trip, which asking takes.
    pub(super) fn wait(&self, rtt: Duration) -> Option<Duration> {
        self.quantile.map(|quantile| (quantile + quantile / 4).min(WAIT_MAX).min(rtt))
    }

    fn note(&mut self, fate: Option<Duration>) {
        self.fates[self.next] = fate;
        self.next = (self.next + 1) % FATES;
        let mut sorted = self.fates;
        sorted.sort_unstable(); // `None` comes first
        let unasked = &sorted[sorted.partition_point(Option::is_none)..];
        let enough = unasked.len() >= UNASKED_MIN;
        self.quantile = unasked.get((unasked.len() * 19).div_ceil(20).saturating_sub(1)).copied().flatten();
        self.quantile = self.quantile.filter(|_| enough);
    }
}

/// The round trip to whoever answers: as it is told, or as the answers show it.
#[derive(Debug, Clone)]
pub(super) struct RoundTrip {
    told: Option<Duration>,
    answers: [Duration; ANSWERS],
    next: usize,
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self { told: None, answers: [Duration::MAX; ANSWERS], next: 0 }
    }
}

impl RoundTrip {
    /// It was measured otherwise; that counts from now on.
    pub(super) fn tell(&mut self, rtt: Duration) {
        self.told = Some(rtt.min(RTT_MAX));
    }

    /// What was first asked for so long ago has come. The quickest of the last ones counts: which of several requests
    /// an answer is to cannot be told.
    pub(super) fn note_answer(&mut self, took: Duration) {
        self.answers[self.next] = took;
        self.next = (self.next + 1) % ANSWERS;
    }

    /// The round trip, at most a second.
    pub(super) fn get(&self) -> Duration {
        let answered = self.answers.iter().copied().min().filter(|&quickest| quickest != Duration::MAX);
        self.told.or(answered).unwrap_or(RTT_DEFAULT).min(RTT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn waiting_is_worth_it_where_most_holes_fill_unasked_and_soon() {
        let (soon, late, rtt) = (Some(8), Some(26), ms(60));
        for (name, fates, wait) in [
            ("nothing is known", &[][..], None),
            ("too few", &[(15, soon)], None),
            ("enough", &[(16, soon)], Some(ms(10))),
            ("most are lost", &[(16, soon), (17, None)], None),
            ("they come too late", &[(32, late)], None),
            ("one in twenty is slow", &[(30, soon), (1, Some(20))], Some(ms(10))),
            ("more of them are", &[(28, soon), (4, Some(16))], Some(ms(20))),
            ("the longest wait", &[(32, Some(25))], Some(ms(25))),
            ("it is over", &[(32, soon), (17, None)], None),
        ] {
            let mut patience = Patience::default();
            for &(count, took) in fates {
                for _ in 0..count {
                    match took {
                        Some(took) => patience.note_came(ms(took)),
                        None => patience.note_lost(),
                    }
                }
            }
            assert_eq!(patience.wait(rtt), wait, "{name}");
            assert_eq!(patience.wait(ms(4)), wait.map(|_| ms(4)), "{name}: asking takes no longer");
        }
    }

    #[test]
    fn the_round_trip_is_what_is_told_or_the_quickest_of_eight_answers() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.get(), RTT_DEFAULT);
        for (took, rtt) in [(300, 300), (290, 290), (650, 290), (40, 40)] {
            trip.note_answer(ms(took));
            assert_eq!(trip.get(), ms(rtt));
        }
        (0..7).for_each(|_| trip.note_answer(ms(90)));
        assert_eq!(trip.get(), ms(40));
        trip.note_answer(ms(90));
        assert_eq!(trip.get(), ms(90), "the path has become longer");
        trip.tell(ms(5_000));
        assert_eq!(trip.get(), RTT_MAX);
        trip.tell(ms(70));
        trip.note_answer(ms(10));
        assert_eq!(trip.get(), ms(70));
    }
}
