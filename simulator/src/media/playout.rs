//! Playout: when a receiver shows which picture, when its picture stands still, and when it needs a key frame.
//!
//! In: complete pictures, and those given up. Out: [`PlayoutEvent`]s. Time: `now`, monotonic; `poll_timeout`. Limit:
//! [`WAITING_MAX`] pictures wait, the oldest is dropped; they wait for [`DELAY_MAX`] at most, once they can be decoded.
//!
//! A picture is shown `captured + offset`, where the offset is the longest way from camera to completeness of the last
//! [`WINDOW`]: the buffer's delay is the greatest lateness there was, and a path without jitter has none. It grows at
//! once and shrinks by [`SHRINK_PERCENT`] (libwebrtc's `VCMTiming` moves by 100 ms a second too). Decoding and
//! rendering take no time here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::time::{Instant, earliest};

/// For how long the latest picture is remembered.
const WINDOW: Duration = Duration::from_secs(10);

/// The most that pictures are held back for the sake of smoothness: those later than this are shown when they come.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// How fast the delay shrinks, in percent of the time that passes.
const SHRINK_PERCENT: i64 = 10;

/// The most pictures that wait to be shown: ten seconds of them, without a key frame among them.
const WAITING_MAX: usize = 300;

/// A picture that stands longer than this is frozen.
pub const FREEZE_MIN: Duration = Duration::from_millis(200);

/// How much longer than the source itself a picture must stand to be frozen (W3C webrtc-stats: mean + 150 ms).
const FREEZE_MARGIN: Duration = Duration::from_millis(150);

/// How long a key frame is waited for before it is asked for again: a round trip, the encoder, and a key frame's way
/// through a queue of 300 ms.
const KEY_FRAME_RETRY: Duration = Duration::from_millis(500);

/// What pictures need in order to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// Nothing: each stands alone, a lost one is just not shown.
    Standalone,
    /// The one before, if they are no key frames: after a loss the picture stands still until the next key frame.
    Chained,
}

/// A complete picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutFrame {
    /// Its number; the one before has the number before.
    pub number: u64,
    /// Whether it needs no earlier one.
    pub key: bool,
    /// When it was taken, by any clock that runs as fast as ours.
    pub captured: Instant,
}

/// What playout did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayoutEvent {
    /// It showed a picture.
    Shown(PlayoutFrame),
    /// The picture stood still for this long, up to the next `Shown`.
    Froze(Duration),
    /// Nothing can be decoded any more: the sender should be asked for a key frame.
    KeyFrameWanted,
}

/// See the module's description. After each `handle_*`, drain [`Playout::poll_event`].
#[derive(Debug)]
pub struct Playout {
    decoding: Decoding,
    waiting: BTreeMap<u64, PlayoutFrame>,
    transit: Extremes,
    /// Pictures are shown this many nanoseconds after they were taken.
    offset: i64,
    /// When `offset` was last brought up to date; `None` before the first picture.
    offset_at: Option<Instant>,
    shown: Option<(PlayoutFrame, Instant)>,
    wanted: Option<Wanted>,
    events: VecDeque<PlayoutEvent>,
}

/// A key frame that is needed.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// It must have this number at least.
    from: u64,
    /// When to ask for it, again.
    ask_at: Instant,
}

impl Playout {
    /// Playout that has seen no picture.
    pub fn new(decoding: Decoding) -> Self {
        Self {
            decoding,
            waiting: BTreeMap::new(),
            transit: Extremes::default(),
            offset: 0,
            offset_at: None,
            shown: None,
            wanted: None,
            events: VecDeque::new(),
        }
    }

    /// A picture is complete.
    pub fn handle_frame(&mut self, now: Instant, frame: PlayoutFrame) {
        self.adapt(now, frame.captured);
        if self.shown.is_none_or(|(shown, _)| frame.number > shown.number) {
            self.waiting.insert(frame.number, frame);
            if self.waiting.len() > WAITING_MAX {
                self.waiting.pop_first();
            }
            let has_base = frame.key || self.shown.is_some() || self.decoding == Decoding::Standalone;
            if frame.key && self.wanted.is_some_and(|wanted| frame.number >= wanted.from) {
                self.wanted = None;
            } else if !has_base && self.wanted.is_none() {
                // Not at once: a key frame is large, and may still be on its way.
                self.wanted = Some(Wanted { from: 0, ask_at: now + KEY_FRAME_RETRY });
            }
        }
        self.handle_timeout(now);
    }

    /// A picture will never be complete.
    pub fn handle_lost(&mut self, now: Instant, number: u64) {
        let is_past = self.shown.is_some_and(|(shown, _)| number <= shown.number);
        if self.decoding == Decoding::Chained && !is_past && !self.has_key_after(number) {
            let ask_at = self.wanted.map_or(now, |wanted| wanted.ask_at);
            self.wanted = Some(Wanted { from: number + 1, ask_at });
        }
        self.handle_timeout(now);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(frame) = self.next().filter(|frame| self.due(frame) <= now) {
            self.show(now, frame);
        }
        if let Some(wanted) = &mut self.wanted
            && wanted.ask_at <= now
        {
            wanted.ask_at = now + KEY_FRAME_RETRY;
            self.events.push_back(PlayoutEvent::KeyFrameWanted);
        }
    }

    /// What playout did; poll until `None`.
    pub fn poll_event(&mut self) -> Option<PlayoutEvent> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`]; `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.next().map(|frame| self.due(&frame)), self.wanted.map(|wanted| wanted.ask_at))
    }

    /// How long the picture has been standing still; `None` before the first one.
    pub fn still_for(&self, now: Instant) -> Option<Duration> {
        self.shown.map(|(_, at)| now.since(at))
    }

    /// How long the quickest picture waits: what the buffer adds to the delay of the path.
    pub fn delay(&self) -> Duration {
        let quickest = self.transit.least().unwrap_or(self.offset);
        Duration::from_nanos((self.offset - quickest).max(0) as u64)
    }

    /// The next picture to show, as far as is known now.
    fn next(&self) -> Option<PlayoutFrame> {
        let (_, first) = self.waiting.first_key_value()?;
        let follows = self.shown.is_some_and(|(shown, _)| first.number == shown.number + 1);
        if self.decoding == Decoding::Standalone || first.key || follows {
            return Some(*first);
        }
        self.waiting.values().find(|frame| frame.key).copied()
    }

    fn has_key_after(&self, number: u64) -> bool {
        self.waiting.range(number..).any(|(_, frame)| frame.key)
    }

    fn due(&self, frame: &PlayoutFrame) -> Instant {
        Instant::from_nanos(frame.captured.as_nanos().saturating_add_signed(self.offset))
    }

    fn show(&mut self, now: Instant, frame: PlayoutFrame) {
        while self.waiting.first_key_value().is_some_and(|(&number, _)| number <= frame.number) {
            self.waiting.pop_first();
        }
        if let Some((last, at)) = self.shown {
            let still = now.since(at);
            let source_stood = frame.number == last.number + 1
                && still <= frame.captured.since(last.captured) + FREEZE_MARGIN;
            if still > FREEZE_MIN && !source_stood {
                self.events.push_back(PlayoutEvent::Froze(still));
            }
        }
        self.shown = Some((frame, now));
        self.events.push_back(PlayoutEvent::Shown(frame));
    }

    /// Brings the delay up to date with a picture that is complete now.
    fn adapt(&mut self, now: Instant, captured: Instant) {
        let transit = now.as_nanos() as i64 - captured.as_nanos() as i64;
        self.transit.insert(now, transit);
        let (least, greatest) = (self.transit.least(), self.transit.greatest());
        let wanted = least.zip(greatest).map_or(transit, |(least, greatest)| {
            greatest.min(least.saturating_add(DELAY_MAX.as_nanos() as i64))
        });
        let passed = self.offset_at.map(|at| now.since(at).as_nanos() as i64);
        let shrunk = passed.map_or(wanted, |passed| self.offset - passed * SHRINK_PERCENT / 100);
        self.offset = wanted.max(shrunk);
        self.offset_at = Some(now);
    }
}

/// The least and the greatest value of the last [`WINDOW`].
#[derive(Debug, Default)]
struct Extremes {
    /// Each greater than all before it; what a lesser one follows does not count any more.
    rising: VecDeque<(Instant, i64)>,
    falling: VecDeque<(Instant, i64)>,
}

impl Extremes {
    fn insert(&mut self, now: Instant, value: i64) {
        for (queue, is_covered) in [
            (&mut self.rising, (|old, new| old >= new) as fn(i64, i64) -> bool),
            (&mut self.falling, |old, new| old <= new),
        ] {
            while queue.back().is_some_and(|&(_, old)| is_covered(old, value)) {
                queue.pop_back();
            }
            queue.push_back((now, value));
            while queue.front().is_some_and(|&(at, _)| now.since(at) > WINDOW) {
                queue.pop_front();
            }
        }
    }

    fn least(&self) -> Option<i64> {
        self.rising.front().map(|&(_, value)| value)
    }

    fn greatest(&self) -> Option<i64> {
        self.falling.front().map(|&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PlayoutEvent::{Froze, KeyFrameWanted, Shown};

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn lasting(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What happens to a picture, and when; pictures are taken each 40 ms, from 0 on.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Delta(u64, u64),
        Key(u64, u64),
        Lost(u64, u64),
    }
    use Step::{Delta, Key, Lost};

    fn step(playout: &mut Playout, step: Step) -> u64 {
        let frame = |number, key| PlayoutFrame { number, key, captured: ms(number * 40) };
        match step {
            Delta(at, number) => {
                playout.handle_frame(ms(at), frame(number, false));
                at
            }
            Key(at, number) => {
                playout.handle_frame(ms(at), frame(number, true));
                at
            }
            Lost(at, number) => {
                playout.handle_lost(ms(at), number);
                at
            }
        }
    }

    /// All events with their times in milliseconds; time ends 100 ms after the last step.
    fn play(decoding: Decoding, steps: &[Step]) -> Vec<(u64, PlayoutEvent)> {
        let mut playout = Playout::new(decoding);
        let mut events = Vec::new();
        let mut end = 0;
        for &next in steps {
            let (Delta(at, _) | Key(at, _) | Lost(at, _)) = next;
            wait(&mut playout, ms(at), &mut events);
            end = step(&mut playout, next);
            drain(&mut playout, ms(end), &mut events);
        }
        wait(&mut playout, ms(end + 101), &mut events);
        events
    }

    /// Lets time pass until just before `end`.
    fn wait(playout: &mut Playout, end: Instant, events: &mut Vec<(u64, PlayoutEvent)>) {
        while let Some(at) = playout.poll_timeout().filter(|&at| at < end) {
            playout.handle_timeout(at);
            drain(playout, at, events);
            assert!(playout.poll_timeout().is_none_or(|next| next > at), "a wake-up in the past");
        }
    }

    fn drain(playout: &mut Playout, at: Instant, events: &mut Vec<(u64, PlayoutEvent)>) {
        events
            .extend(std::iter::from_fn(|| playout.poll_event()).map(|event| (at.as_micros() / 1_000, event)));
    }

    /// The numbers of what was shown, and when.
    fn shown(events: &[(u64, PlayoutEvent)]) -> Vec<(u64, u64)> {
        let number = |event: &PlayoutEvent| if let Shown(frame) = event { Some(frame.number) } else { None };
        events.iter().filter_map(|(at, event)| Some((*at, number(event)?))).collect()
    }

    fn others(events: &[(u64, PlayoutEvent)]) -> Vec<(u64, PlayoutEvent)> {
        events.iter().filter(|(_, event)| !matches!(event, Shown(_))).copied().collect()
    }

    #[test]
    fn pictures_are_shown_in_time_and_order() {
        for (name, steps, expected) in [
            (
                "no jitter, no delay",
                &[Key(20, 0), Delta(60, 1), Delta(100, 2)][..],
                &[(20, 0), (60, 1), (100, 2)][..],
            ),
            (
                "a late one holds back those after it",
                &[Key(20, 0), Delta(90, 1), Delta(100, 2), Delta(140, 3)],
                &[(20, 0), (90, 1), (130, 2), (170, 3)],
            ),
        ] {
            for decoding in [Decoding::Standalone, Decoding::Chained] {
                let events = play(decoding, steps);
                assert_eq!(shown(&events), expected, "{name}");
                assert_eq!(others(&events), [], "{name}");
            }
        }
    }

    #[test]
    fn a_late_picture_is_waited_for_only_by_those_that_need_it() {
        let steps = [Key(20, 0), Delta(102, 2), Delta(104, 1)];
        assert_eq!(shown(&play(Decoding::Standalone, &steps)), [(20, 0), (102, 2)]);
        assert_eq!(shown(&play(Decoding::Chained, &steps)), [(20, 0), (104, 1), (144, 2)]);
    }

    #[test]
    fn a_lost_picture_matters_only_to_those_that_need_it() {
        let steps = [
            Key(20, 0),
            Delta(100, 2),
            Lost(110, 1),
            Delta(140, 3),
            Delta(180, 4),
            Delta(220, 5),
            Delta(260, 6),
        ];
        let events = play(Decoding::Standalone, &steps);
        assert_eq!(shown(&events), [(20, 0), (100, 2), (140, 3), (180, 4), (220, 5), (260, 6)]);
        assert_eq!(others(&events), []);
        let events = play(Decoding::Chained, &steps);
        assert_eq!(shown(&events), [(20, 0)]);
        assert_eq!(others(&events), [(110, KeyFrameWanted)]);
    }

    #[test]
    fn a_key_frame_ends_a_freeze_of_exactly_its_length() {
        let steps = [
            Key(20, 0),
            Delta(100, 2),
            Lost(110, 1),
            Delta(140, 3),
            Key(260, 6), // it answers what was asked
            Delta(300, 7),
        ];
        let events = play(Decoding::Chained, &steps);
        assert_eq!(shown(&events), [(20, 0), (260, 6), (300, 7)]);
        assert_eq!(others(&events), [(110, KeyFrameWanted), (260, Froze(lasting(240)))]);
    }

    #[test]
    fn freezes_are_told_beyond_200_ms_and_not_before() {
        for (name, back, frozen) in
            [("just not", 220, None), ("just", 221, Some(201)), ("long", 3_020, Some(3_000))]
        {
            let steps = [Key(20, 0), Lost(30, 1), Lost(30, 2), Key(back, 3)];
            let events = play(Decoding::Chained, &steps);
            let froze: Vec<_> = events
                .iter()
                .filter_map(|(_, event)| if let Froze(length) = event { Some(*length) } else { None })
                .collect();
            assert_eq!(froze, frozen.map(lasting).into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn what_the_source_did_not_make_is_no_freeze() {
        let mut playout = Playout::new(Decoding::Chained);
        let frame = |number, captured| PlayoutFrame { number, key: number == 0, captured: ms(captured) };
        for (at, number, captured) in [(20, 0, 0), (5_020, 1, 5_000), (5_260, 2, 5_040)] {
            playout.handle_frame(ms(at), frame(number, captured));
        }
        let events: Vec<_> = std::iter::from_fn(|| playout.poll_event()).collect();
        let expected = [
            Shown(frame(0, 0)),
            Shown(frame(1, 5_000)), // the source paused
            Froze(lasting(240)),    // the path did
            Shown(frame(2, 5_040)),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn a_key_frame_is_asked_for_until_it_comes() {
        for (name, steps, asked) in [
            ("at once after a loss", &[Key(20, 0), Lost(110, 1), Lost(1_300, 9)][..], &[110, 610, 1_110][..]),
            (
                "a key frame before the loss is no answer",
                &[Key(20, 0), Key(60, 1), Lost(110, 2), Delta(150, 3)],
                &[110],
            ),
            (
                "an older key frame is none either",
                &[Key(20, 0), Lost(110, 2), Key(120, 1), Delta(700, 3)],
                &[110, 610],
            ),
            ("a newer one is", &[Key(20, 0), Lost(110, 1), Key(120, 2), Delta(700, 3)], &[110]),
            ("it was there already", &[Key(20, 0), Key(100, 2), Lost(110, 1), Delta(140, 3)], &[]),
            ("a late joiner waits a while", &[Delta(20, 0), Delta(560, 1)], &[520]),
            ("so that a large one can come", &[Delta(60, 1), Key(100, 0), Delta(900, 2)], &[]),
        ] {
            let events = play(Decoding::Chained, steps);
            let got: Vec<u64> =
                events.iter().filter(|(_, event)| *event == KeyFrameWanted).map(|(at, _)| *at).collect();
            assert_eq!(got, asked, "{name}");
        }
    }

    #[test]
    fn the_delay_grows_at_once_shrinks_slowly_and_is_bounded() {
        let mut playout = Playout::new(Decoding::Standalone);
        let mut number = 0;
        let mut complete = |playout: &mut Playout, transit: u64| {
            let captured = ms(number * 40);
            playout.handle_frame(captured + lasting(transit), PlayoutFrame { number, key: true, captured });
            number += 1;
            playout.delay()
        };
        for _ in 0..10 {
            assert_eq!(complete(&mut playout, 20), Duration::ZERO);
        }
        assert_eq!(complete(&mut playout, 100), lasting(80), "at once");
        for _ in 0..200 {
            assert!(complete(&mut playout, 20) >= lasting(60), "remembered");
        }
        for _ in 0..60 {
            complete(&mut playout, 20);
        }
        let delay = playout.delay();
        assert!(
            (lasting(40)..lasting(60)).contains(&delay),
            "{delay:?}: forgotten after ten seconds, by and by"
        );
        for _ in 0..30 {
            complete(&mut playout, 20);
        }
        assert_eq!(playout.delay(), Duration::ZERO);
        assert_eq!(complete(&mut playout, 5_000), DELAY_MAX);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut playout = Playout::new(Decoding::Chained);
        for number in 1..=10_000 {
            playout.handle_frame(
                ms(number * 40),
                PlayoutFrame { number, key: false, captured: ms(number * 40) },
            );
        }
        assert_eq!(playout.waiting.len(), WAITING_MAX);
        assert_eq!(playout.still_for(ms(400_000)), None);
    }
}
