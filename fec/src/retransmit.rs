//! Retransmission: the packets to answer NACKs from, and how many answers are too many (RFC 4588 §7, RFC 4585 §6.2.1).
//!
//! In: packets as they arrive from a publisher, media as it goes to a subscriber, NACKs. Out: `get`, `admit`.
//! Time: `now`, monotonic. Limit: `PACKETS_MAX` packets of at most `AGE_MAX`; retransmissions at most half the media.

use core::time::Duration;
use std::collections::VecDeque;

use proto::time::Instant;

const PACKETS_MAX: usize = 1024; // four seconds at 2.5 Mbit/s, or `AGE_MAX` at 5 Mbit/s; a power of two for the ring

/// Packets older than this are not kept.
///
/// Chromium asks up to ten times, once a round trip: at 200 ms the last one comes after two seconds. A picture that
/// much later is not shown any more, its receiver asks for a key frame.
const AGE_MAX: Duration = Duration::from_secs(2);

/// A publisher stream's latest packets, each stored once for all subscribers, by extended sequence number.
#[derive(Debug)]
pub struct PacketCache<P> {
    slots: VecDeque<Option<Slot<P>>>, // the packet with number `first + index`; the last is there
    first: u64,
    packets: usize,
}

#[derive(Debug)]
struct Slot<P> {
    stored: Instant,
    packet: P,
}

impl<P> Default for PacketCache<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> PacketCache<P> {
    /// An empty cache, which takes no memory before its first packet.
    pub const fn new() -> Self {
        Self { slots: VecDeque::new(), first: 0, packets: 0 }
    }

    /// Stores a packet, unless it is one already stored or is more than `PACKETS_MAX` behind the newest.
    ///
    /// Older packets make room: those more than `PACKETS_MAX` behind this one, and those of more than two seconds.
    pub fn insert(&mut self, now: Instant, seq: u64, packet: P) {
        self.evict(now);
        let slot = Some(Slot { stored: now, packet });
        if self.slots.is_empty() || seq >= self.end() + PACKETS_MAX as u64 {
            self.clear();
            self.first = seq;
            self.slots.push_back(slot);
        } else if seq < self.first {
            if self.end() - seq > PACKETS_MAX as u64 {
                return;
            }
            while self.first > seq + 1 {
                self.slots.push_front(None);
                self.first -= 1;
            }
            self.slots.push_front(slot);
            self.first = seq;
        } else if seq < self.end() {
            let stored = &mut self.slots[(seq - self.first) as usize];
            if stored.is_some() {
                return;
            }
            *stored = slot;
        } else {
            self.make_room(seq);
            while self.end() < seq {
                self.slots.push_back(None);
            }
            self.slots.push_back(slot);
        }
        self.packets += 1;
    }

    /// Drops what is too old; needed only while nothing is inserted, which does the same.
    ///
    /// A packet that came late may keep those after it for as long as itself.
    pub fn evict(&mut self, now: Instant) {
        while let Some(slot) = self.slots.front() {
            if slot.as_ref().is_some_and(|slot| now.since(slot.stored) <= AGE_MAX) {
                return;
            }
            self.drop_first();
        }
    }

    /// Drops every packet, as when the source restarts.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.packets = 0;
    }

    /// The packet with extended sequence number `seq`, if it is still there.
    pub fn get(&self, seq: u64) -> Option<&P> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        Some(&self.slots.get(index)?.as_ref()?.packet)
    }

    /// The packets from extended sequence number `first` to the newest, in order; `None` for each that is missing.
    ///
    /// What lies before the oldest that is stored is not missing but left out.
    pub fn since(&self, first: u64) -> impl Iterator<Item = Option<&P>> {
        let skipped = usize::try_from(first.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.iter().skip(skipped).map(|slot| Some(&slot.as_ref()?.packet))
    }

    /// How many packets are stored.
    pub const fn len(&self) -> usize {
        self.packets
    }

    /// Whether no packet is stored.
    pub const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// The number after the newest.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Drops what is `PACKETS_MAX` or more behind `seq`.
    fn make_room(&mut self, seq: u64) {
        while !self.slots.is_empty() && seq - self.first >= PACKETS_MAX as u64 {
            self.drop_first();
        }
        if self.slots.is_empty() {
            self.first = seq;
        }
    }

    fn drop_first(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.packets -= usize::from(slot.is_some());
            self.first += 1;
        }
    }
}

const RTT_DEFAULT: Duration = Duration::from_millis(100); // until it is measured
const REPEAT_MIN: Duration = Duration::from_millis(10); // even beside each other: one datagram's worth of NACKs
const RECENT_MAX: usize = 256; // packets remembered as just sent: one second at 2.5 Mbit/s
const BURST_MIN: u64 = 32_000; // bytes: a lost 200 ms at 1.2 Mbit/s is answered in full from the start
const MEDIA_SHARE: u64 = 2; // one byte of retransmission for two of media: enough for a loss of one in three
const WINDOW: Duration = Duration::from_secs(1); // over which the burst follows the media

/// Bounds the answers to one subscriber's NACKs for one stream, so that a flood of them cannot amplify.
///
/// A packet is sent again at most once in seven eighths of a round trip (at least 10 ms), not counting a second copy of the
/// same answer, and all together stay within half of the media plus one burst of half a second's media (at least 32 kB).
#[derive(Debug)]
pub struct RetransmitLimiter {
    recent: Vec<Option<(u64, Instant)>>, // by sequence number modulo `RECENT_MAX`; empty before the first NACK
    rtt: Duration,
    budget: u64,    // half-bytes: bytes × `MEDIA_SHARE`, so that nothing is rounded away
    window: Window, // how much media lately
    refused: u64,
}

#[derive(Debug, Default)]
struct Window {
    began: Instant,
    current: u64, // bytes
    last: u64,    // bytes
}

impl Default for RetransmitLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl RetransmitLimiter {
    /// A limiter with one burst to spend.
    pub const fn new() -> Self {
        Self {
            recent: Vec::new(),
            rtt: RTT_DEFAULT,
            budget: BURST_MIN * MEDIA_SHARE,
            window: Window { began: Instant::ZERO, current: 0, last: 0 },
            refused: 0,
        }
    }

    /// The round trip to the subscriber.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// A media packet of `size` bytes was sent for the first time.
    pub fn note_media(&mut self, now: Instant, size: usize) {
        self.window.add(now, size as u64);
        self.budget = (self.budget + size as u64).min(self.burst());
    }

    /// Whether the packet `seq` has been sent again lately.
    pub fn has_answered(&self, now: Instant, seq: u64) -> bool {
        self.answered(seq).is_some_and(|sent| now.since(sent) <= AGE_MAX)
    }

    /// Whether the packet `seq` of `size` bytes may be sent again now; if so, it counts as sent.
    pub fn admit(&mut self, now: Instant, seq: u64, size: usize) -> bool {
        let cost = size as u64 * MEDIA_SHARE;
        // Who asks once a round trip comes a few ms early now and then, and would have to ask a third time.
        let patience = (self.rtt * 7 / 8).max(REPEAT_MIN);
        let repeats = self.answered(seq).is_some_and(|sent| now.since(sent) < patience);
        if repeats || cost > self.budget {
            self.refused += 1;
            return false;
        }
        if self.recent.is_empty() {
            self.recent.resize(RECENT_MAX, None);
        }
        self.recent[slot(seq)] = Some((seq, now));
        self.budget -= cost;
        true
    }

    /// Whether a second copy of an answer of `size` bytes may be sent; if so, it counts as sent.
    ///
    /// The upper half of the budget is for copies, the lower half for first answers alone.
    pub fn admit_copy(&mut self, size: usize) -> bool {
        let left = self.budget.checked_sub(size as u64 * MEDIA_SHARE);
        let Some(left) = left.filter(|left| *left >= self.burst() / 2) else {
            self.refused += 1;
            return false;
        };
        self.budget = left;
        true
    }

    /// How many retransmissions were refused since the limiter was made.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The most that can be saved, in half-bytes.
    fn burst(&self) -> u64 {
        (self.window.bytes() / 2).max(BURST_MIN) * MEDIA_SHARE
    }

    /// When the packet `seq` was last sent again, if that is remembered.
    fn answered(&self, seq: u64) -> Option<Instant> {
        let (sent_seq, sent) = self.recent.get(slot(seq)).copied().flatten()?;
        (sent_seq == seq).then_some(sent)
    }
}

/// Where a packet is remembered.
const fn slot(seq: u64) -> usize {
    (seq % RECENT_MAX as u64) as usize
}

impl Window {
    fn add(&mut self, now: Instant, bytes: u64) {
        let elapsed = now.since(self.began);
        if elapsed >= WINDOW {
            self.last = if elapsed < WINDOW * 2 { self.current } else { 0 };
            self.current = 0;
            self.began = now;
        }
        self.current += bytes;
    }

    /// The media of a second, as far as known.
    fn bytes(&self) -> u64 {
        self.current.max(self.last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_cache_keeps_the_latest_and_each_once() {
        for (name, inserted, kept, gone) in [
            ("in order", vec![10, 11, 12], vec![10, 11, 12], vec![9, 13]),
            ("with a hole", vec![10, 12], vec![10, 12], vec![11]),
            ("a hole filled late", vec![10, 12, 11], vec![10, 11, 12], vec![]),
            ("one older than the first", vec![10, 7], vec![7, 10], vec![8, 9]),
            ("1023 ahead", vec![10, 1033], vec![10, 1033], vec![11]),
            ("1024 ahead", vec![10, 11, 1034], vec![11, 1034], vec![10]),
            ("far ahead", vec![10, 99_999], vec![99_999], vec![10]),
            ("too far behind", vec![2000, 976, 977], vec![977, 2000], vec![976]),
        ] {
            let mut cache = PacketCache::new();
            for seq in inserted {
                cache.insert(ms(0), seq, seq);
                cache.insert(ms(0), seq, 0); // a duplicate
            }
            assert!(kept.iter().all(|seq| cache.get(*seq) == Some(seq)), "{name}: kept");
            assert!(gone.iter().all(|seq| cache.get(*seq).is_none()), "{name}: gone");
            assert_eq!(cache.len(), kept.len(), "{name}");
        }
    }

    #[test]
    fn what_is_stored_is_listed_in_order_with_its_holes() {
        let mut cache = PacketCache::new();
        for seq in [10, 13, 11] {
            cache.insert(ms(0), seq, seq);
        }
        for (first, listed) in [
            (10, &[Some(10), Some(11), None, Some(13)][..]),
            (12, &[None, Some(13)]),
            (13, &[Some(13)]),
            (14, &[]),
            (u64::MAX, &[]),
            (3, &[Some(10), Some(11), None, Some(13)]),
        ] {
            let found: Vec<Option<u64>> = cache.since(first).map(Option::<&u64>::copied).collect();
            assert_eq!(found, listed, "from {first} on");
        }
    }

    #[test]
    fn packets_are_dropped_after_two_seconds_and_not_before() {
        let mut cache = PacketCache::new();
        cache.insert(ms(0), 1, 'a');
        cache.insert(ms(500), 3, 'b');
        cache.evict(ms(2000));
        assert_eq!((cache.len(), cache.get(1)), (2, Some(&'a')));
        cache.evict(ms(2001));
        assert_eq!((cache.len(), cache.get(1), cache.get(3)), (1, None, Some(&'b')));
        cache.insert(ms(3000), 4, 'c'); // does it by itself
        assert_eq!((cache.len(), cache.get(3), cache.get(4)), (1, None, Some(&'c')));
        cache.evict(ms(9000));
        assert!(cache.is_empty());
    }

    #[test]
    fn a_source_that_counts_anew_from_below_is_cached_once_the_old_packets_are_too_old() {
        let mut cache = PacketCache::new();
        cache.insert(ms(0), 90_000, ());
        cache.insert(ms(1000), 70_000, ());
        assert_eq!(cache.get(70_000), None);
        cache.insert(ms(2001), 70_060, ());
        assert_eq!(cache.get(70_060), Some(&()));
    }

    proptest! {
        #[test]
        fn the_cache_is_a_bounded_window_of_what_was_inserted(
            steps in prop::collection::vec((0_u64..20, prop_oneof![9 => 0_u64..64, 1 => 0_u64..3000]), 1..400),
        ) {
            let mut cache = PacketCache::new();
            let mut stored: BTreeMap<u64, Instant> = BTreeMap::new();
            let mut now = Instant::ZERO;
            let mut newest = 0;
            for (index, (wait, back)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                let seq = 100_000 + 8 * index as u64 - back;
                cache.insert(now, seq, seq);
                stored.entry(seq).or_insert(now);
                newest = newest.max(seq);
                prop_assert!(cache.len() <= PACKETS_MAX);
                for (&seq, &at) in &stored {
                    let found = cache.get(seq);
                    prop_assert!(found.is_none_or(|&packet| packet == seq));
                    let recent = newest - seq < PACKETS_MAX as u64 && now.since(at) <= AGE_MAX;
                    prop_assert!(found.is_some() || !recent, "{seq} of {at:?} is missing at {now:?}");
                }
                prop_assert_eq!(cache.len(), stored.keys().filter(|&&seq| cache.get(seq).is_some()).count());
            }
            cache.evict(now + AGE_MAX + Duration::from_millis(1));
            prop_assert!(cache.is_empty());
        }

        #[test]
        fn a_flood_of_nacks_gets_half_the_media_and_a_burst(
            steps in prop::collection::vec((0_u64..30, 0_usize..1200, 0_u64..40, 1_usize..1200), 1..400),
        ) {
            let mut limiter = RetransmitLimiter::new();
            let (mut now, mut media, mut again) = (Instant::ZERO, 0, 0);
            for (wait, media_size, nacks, size) in steps {
                now += Duration::from_millis(wait);
                limiter.note_media(now, media_size);
                media += media_size;
                for seq in 0..nacks {
                    again += if limiter.admit(now, seq, size) { size } else { 0 };
                    again += if limiter.admit_copy(size) { size } else { 0 };
                }
                prop_assert!(again <= media / 2 + 1 + BURST_MIN as usize, "{again} for {media}");
            }
        }
    }

    #[test]
    fn a_packet_goes_again_once_in_seven_eighths_of_a_round_trip() {
        for (rtt, refused_until) in [(0, 10), (56, 49), (320, 280)] {
            let mut limiter = RetransmitLimiter::new();
            limiter.set_rtt(Duration::from_millis(rtt));
            assert!(limiter.admit(ms(1000), 7, 100));
            assert!(limiter.admit(ms(1000), 8, 100), "another packet is free to go");
            assert!(!limiter.admit(ms(1000 + refused_until - 1), 7, 100), "round trip {rtt} ms");
            assert!(limiter.admit(ms(1000 + refused_until), 7, 100), "round trip {rtt} ms");
            assert_eq!(limiter.refused(), 1);
        }
    }

    #[test]
    fn an_answer_is_remembered_for_two_seconds() {
        let mut limiter = RetransmitLimiter::new();
        assert!(!limiter.has_answered(ms(0), 7));
        assert!(limiter.admit(ms(0), 7, 100));
        for (now, seq, answered) in [(0, 7, true), (2000, 7, true), (2001, 7, false), (0, 7 + 256, false)] {
            assert_eq!(limiter.has_answered(ms(now), seq), answered, "{seq} at {now} ms");
        }
    }

    #[test]
    fn copies_leave_half_the_budget_to_first_answers_and_delay_none() {
        let mut limiter = RetransmitLimiter::new();
        assert!(limiter.admit(ms(0), 1, 1000));
        let copies = (0..1000).filter(|_| limiter.admit_copy(1000)).count();
        assert_eq!(copies, 15);
        assert!(!limiter.admit_copy(1000));
        let answers = (2..1000).filter(|&seq| limiter.admit(ms(0), seq, 1000)).count();
        assert_eq!(answers, 16);
        limiter.note_media(ms(100), 100_000);
        limiter.set_rtt(Duration::from_millis(100));
        assert!(limiter.admit(ms(100), 1, 1000), "its copies do not count for the round trip");
    }

    #[test]
    fn the_burst_grows_with_the_media_and_is_spent_once() {
        for (kilobytes_per_second, burst) in [(0, 32_000), (40, 32_000), (500, 250_000)] {
            let mut limiter = RetransmitLimiter::new();
            for millis in 0..3000 {
                limiter.note_media(ms(millis), kilobytes_per_second);
            }
            let admitted = (0..1000).filter(|&seq| limiter.admit(ms(3000), seq, 1000)).count();
            assert_eq!(admitted * 1000, burst, "{kilobytes_per_second} kB/s");
        }
    }

    #[test]
    fn a_loss_of_three_in_ten_is_answered_for_good() {
        let mut limiter = RetransmitLimiter::new();
        limiter.set_rtt(Duration::from_millis(60));
        let lost = (0..100_000_u64).filter(|seq| seq % 10 < 3);
        let mut refused = 0;
        for seq in 0..100_000 {
            limiter.note_media(ms(seq), 1200);
            refused += u32::from(seq % 10 < 3 && !limiter.admit(ms(seq), seq, 1200));
        }
        assert_eq!((lost.count(), refused), (30_000, 0));
    }
}
