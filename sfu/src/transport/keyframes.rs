//! Key frame requests for one publisher stream: many wishes, few requests (RFC 4585 §6.3.1, RFC 5104 §4.3.1.2).
//!
//! In: wishes and key frames. Out: `poll_request`. Time: `now`, monotonic. Limit: constant memory; one request per
//! `THROTTLE` and round trip for new wishes, repeats further and further apart.

use core::time::Duration;

use proto::time::Instant;

const THROTTLE: Duration = Duration::from_millis(300); // Chromium's encoder makes no two key frames within 300 ms
const REPEAT_MIN: Duration = Duration::from_millis(200); // three frame times at 15 fps: an encoder's answer takes as long
const REPEAT_MAX: Duration = Duration::from_secs(2); // where growing ends; beyond RTT_MAX, so growing never shrinks
const RTT_DEFAULT: Duration = Duration::from_millis(100); // until it is measured
const RTT_MAX: Duration = Duration::from_secs(1); // a longer one is a measuring error

/// For how long an unanswered wish is repeated. A camera that gave nothing for so long is off, not lossy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Merges the wishes of all subscribers and repeats the request until a key frame comes.
///
/// Tell it every wish as often as it occurs (each packet that a subscriber cannot use is one): this costs nothing, and
/// after the repeats ended because nobody wished any more, the next wish starts them again.
#[derive(Debug)]
pub struct KeyFrameRequester {
    rtt: Duration,
    asked: Option<Instant>,
    wait: Option<Wait>,
    pending: Pending,
    stats: KeyFrameStats,
}

/// What a [`KeyFrameRequester`] did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyFrameStats {
    /// Wishes told, each as often as it was.
    pub wanted: u64,
    /// Requests made, repeats included.
    pub asked: u64,
    /// Times that repeating ended without a key frame.
    pub given_up: u64,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    wanted: Instant, // the latest wish
    due: Instant,
    repeat: Duration, // from the next request to the one after
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    Request,
}

impl Default for KeyFrameRequester {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyFrameRequester {
    /// A requester with nobody waiting.
    pub fn new() -> Self {
        Self {
            rtt: RTT_DEFAULT,
            asked: None,
            wait: None,
            pending: Pending::Nothing,
            stats: KeyFrameStats::default(),
        }
    }

    /// The round trip to the publisher; larger than a second counts as that.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.min(RTT_MAX);
    }

    /// Somebody needs a key frame: asked for at once, unless one was asked for a moment ago.
    pub fn want(&mut self, now: Instant) {
        self.stats.wanted += 1;
        if let Some(wait) = &mut self.wait {
            wait.wanted = now;
            return;
        }
        let allowed = self.asked.map_or(now, |asked| asked + THROTTLE + self.rtt);
        let repeat = (self.rtt * 2).max(REPEAT_MIN);
        self.wait = Some(Wait { wanted: now, due: allowed.max(now), repeat });
        self.handle_timeout(now);
    }

    /// A key frame began to arrive: all who waited have it.
    pub fn handle_key_frame(&mut self, _now: Instant) {
        self.wait = None;
        self.pending = Pending::Nothing;
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(wait) = &mut self.wait else { return };
        if wait.due > now {
            return;
        }
        if now.since(wait.wanted) >= PATIENCE {
            self.wait = None;
            self.pending = Pending::Nothing;
            self.stats.given_up += 1;
            return;
        }
        wait.due = now + wait.repeat;
        wait.repeat = (wait.repeat * 3 / 2).min(REPEAT_MAX.max(self.rtt * 2));
        self.asked = Some(now);
        self.pending = Pending::Request;
    }

    /// Whether to send a request now; poll once after each `handle_*` and `want`.
    pub fn poll_request(&mut self) -> bool {
        let asks = core::mem::replace(&mut self.pending, Pending::Nothing) == Pending::Request;
        self.stats.asked += u64::from(asks);
        asks
    }

    /// When to call [`KeyFrameRequester::handle_timeout`]; `None` while nobody waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wait.map(|wait| wait.due)
    }

    /// When the key frame that was asked for is due, if it was lately: a round trip later. `None` once it came, and when it
    /// is overdue.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.wait.and(self.asked)? + self.rtt;
        (due > now).then_some(due)
    }

    /// Whether somebody waits for a key frame.
    pub const fn is_waiting(&self) -> bool {
        self.wait.is_some()
    }

    /// What happened since the requester was made.
    pub const fn stats(&self) -> KeyFrameStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Want,
        KeyFrame,
    }

    /// When requests are made, in milliseconds, with wishes and key frames at the times given and a round trip of 50 ms.
    fn requests(events: &[(u64, Event)]) -> Vec<u64> {
        let mut requester = KeyFrameRequester::new();
        requester.set_rtt(Duration::from_millis(50));
        let mut asked = Vec::new();
        let mut events = events.iter().peekable();
        loop {
            let due = requester.poll_timeout();
            let now = match (events.peek(), due) {
                (None, None) => return asked,
                (Some((at, _)), None) => ms(*at),
                (None, Some(due)) => due,
                (Some((at, _)), Some(due)) => due.min(ms(*at)),
            };
            match events.next_if(|(at, _)| ms(*at) == now) {
                Some((_, Event::Want)) => requester.want(now),
                Some((_, Event::KeyFrame)) => requester.handle_key_frame(now),
                None => {
                    requester.handle_timeout(now);
                    assert!(requester.poll_timeout().is_none_or(|due| due > now));
                }
            }
            if requester.poll_request() {
                asked.push(now.as_micros() / 1000);
            }
            assert!(!requester.poll_request());
        }
    }

    #[test]
    fn wishes_are_merged_throttled_and_repeated() {
        use Event::{KeyFrame, Want};
        for (name, events, asked) in [
            ("nobody wishes", &[(10, KeyFrame)][..], &[][..]),
            ("one wish", &[(10, Want), (100, KeyFrame)], &[10]),
            ("many wishes", &[(10, Want), (11, Want), (60, Want), (100, KeyFrame)], &[10]),
            (
                "one just after the key frame began waits for the throttle",
                &[(10, Want), (100, KeyFrame), (110, Want), (400, KeyFrame)],
                &[10, 360],
            ),
            (
                "one long after does not",
                &[(10, Want), (100, KeyFrame), (900, Want), (950, KeyFrame)],
                &[10, 900],
            ),
            (
                "a key frame that comes by itself answers the one that waits",
                &[(10, Want), (100, KeyFrame), (110, Want), (300, KeyFrame)],
                &[10],
            ),
            ("an answer that is slow", &[(10, Want), (600, KeyFrame)], &[10, 210, 510]),
            ("no answer", &[(10, Want)], &[10, 210, 510, 960, 1635, 2647, 4166]),
            (
                "no answer, and another wish after giving up",
                &[(0, Want), (9000, Want), (9100, KeyFrame)],
                &[0, 200, 500, 950, 1625, 2637, 4156, 9000],
            ),
        ] {
            assert_eq!(requests(events), asked, "{name}");
        }
    }

    #[test]
    fn somebody_who_goes_on_wishing_is_never_forgotten_and_never_a_flood() {
        let wishes: Vec<(u64, Event)> = (0..6000).map(|index| (index * 10, Event::Want)).collect();
        let asked = requests(&wishes);
        for pair in asked.windows(2) {
            assert!((200..=2000).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
        assert!((30..=40).contains(&asked.len()), "{} in a minute", asked.len());
    }

    #[test]
    fn repeats_wait_for_two_round_trips() {
        for (rtt, second) in [(1, 200), (100, 200), (400, 800), (5000, 2000)] {
            let mut requester = KeyFrameRequester::new();
            requester.set_rtt(Duration::from_millis(rtt));
            requester.want(ms(0));
            assert!(requester.poll_request());
            assert_eq!(requester.poll_timeout(), Some(ms(second)), "round trip {rtt} ms");
        }
    }

    #[test]
    fn the_counters_tell_wishes_from_requests() {
        let mut requester = KeyFrameRequester::new();
        requester.want(ms(0));
        requester.want(ms(1));
        assert!(requester.poll_request() && requester.is_waiting());
        requester.handle_timeout(ms(200));
        requester.handle_key_frame(ms(201)); // before the repeat was polled: it is needless now
        assert!(!requester.poll_request() && !requester.is_waiting());
        assert_eq!(requester.stats(), KeyFrameStats { wanted: 2, asked: 1, given_up: 0 });
    }

    proptest! {
        #[test]
        fn every_wish_is_followed_by_a_request_or_a_key_frame(
            steps in prop::collection::vec((1_u64..600, any::<bool>()), 1..200),
        ) {
            let mut now = 0;
            let mut events = Vec::new();
            for (wait, wish) in steps {
                now += wait;
                events.push((now, if wish { Event::Want } else { Event::KeyFrame }));
            }
            let asked = requests(&events);
            for pair in asked.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 200, "{pair:?}");
            }
            // Unanswered, a wish is asked for within the longest pause between repeats.
            for (index, &(at, event)) in events.iter().enumerate() {
                if matches!(event, Event::Want) {
                    let answer = events[index..].iter().find(|(_, event)| matches!(event, Event::KeyFrame));
                    let next = asked.iter().find(|&&request| request >= at);
                    let patience = at + REPEAT_MAX.as_millis() as u64;
                    prop_assert!(
                        answer.is_some_and(|&(answer, _)| answer <= patience)
                            || next.is_some_and(|&request| request <= patience),
                        "the wish of {at} ms"
                    );
                }
            }
        }
    }
}
