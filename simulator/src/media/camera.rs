//! A camera and its encoder: pictures at exact times, of sizes that follow a rate.
//!
//! In: `set_rate`, `request_key_frame`, `pause`, `resume`. Out: `poll_frame`. Time: `now`, monotonic; `poll_timeout`.
//! Chance: one seed at construction. Limit: `RATES_MAX` rates on their way through the encoder.
//!
//! Pictures are taken each 1/fps from a phase that chance chooses once, so that cameras started together do not take
//! pictures together. A new rate takes effect a fixed lag after it was set (RFC 8867 allows an encoder 100 ms), not
//! bit by bit. Sizes of delta pictures have a normal distribution around the rate's share, cut off at three standard
//! deviations. A key picture is as many times a delta picture as planned; delta pictures after it are smaller until it
//! is paid for, which takes a second, or as long as until the next one if that is sooner: planned, or to be expected
//! because the last one came so soon after the one before. So the rate holds, however often key pictures are asked for.

use std::collections::VecDeque;
use std::time::Duration;

use proto::seed::{Chance, Seed};
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use crate::scenario::CameraPlan;

const RATES_MAX: usize = 256; // 100 ms of lag with a new rate each 0.4 ms; then the last one is replaced

/// The smallest picture: nothing moves, and the quantizer is at its end.
const FRAME_MIN: f64 = 100.0; // bytes: 24 kbit/s at 30 pictures a second

/// A key picture is not made sooner after another, however often it is asked for (libwebrtc's `kMinKeyframeSendIntervalMs`).
const KEY_INTERVAL_MIN: Duration = Duration::from_millis(300);

/// Over how long delta pictures pay for a key picture at most.
const PAYBACK: Duration = Duration::from_secs(1);

/// Where the variation of sizes is cut off, in standard deviations.
const SIGMAS_MAX: f64 = 3.0;

const NANOS: u128 = 1_000_000_000;

/// A picture, encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its number, from 0; pictures that were not encoded have none.
    pub number: u64,
    /// Whether it needs no earlier one.
    pub key: bool,
    /// Its size without any headers.
    pub size: DataSize,
    /// When it was taken.
    pub captured: Instant,
}

/// See the module's description.
#[derive(Debug)]
pub struct Camera {
    plan: CameraPlan,
    /// When the first picture is taken.
    first: Instant,
    /// Which picture is taken next, counted from the first one, and those that were not encoded too.
    next: u64,
    frames: u64,
    rate: Option<Bitrate>,
    /// Rates that are still to take effect.
    coming: VecDeque<(Instant, Bitrate)>,
    /// Bytes that key pictures took and delta pictures have not paid back.
    owed: f64,
    /// What a delta picture has of the mean while they do.
    delta_share: f64,
    key_wanted: bool,
    last_key: Option<Instant>,
    is_paused: bool,
    chance: Chance,
}

impl Camera {
    /// A camera that takes its first picture within one interval after `start`.
    ///
    /// Times of the plan count from [`Instant::ZERO`]. The first rate that is set takes effect at once.
    pub fn new(plan: CameraPlan, start: Instant, seed: &Seed) -> Self {
        let mut chance = seed.generator();
        let interval = (NANOS / u128::from(plan.fps.max(1))) as u64;
        let first = start + Duration::from_nanos(chance.long_number() % interval);
        Self {
            plan,
            first,
            next: 0,
            frames: 0,
            rate: None,
            coming: VecDeque::new(),
            owed: 0.0,
            delta_share: 1.0,
            key_wanted: true,
            last_key: None,
            is_paused: false,
            chance,
        }
    }

    /// The encoder shall make so much, headers not counted, from [`CameraPlan::lag`] on.
    pub fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        if self.rate.is_none() {
            self.rate = Some(rate);
        }
        let is_full = self.coming.len() >= RATES_MAX;
        match self.coming.back_mut() {
            Some((_, last)) if *last == rate => {}
            None if self.rate == Some(rate) => {}
            Some((_, last)) if is_full => *last = rate,
            Some(_) | None => self.coming.push_back((now + self.plan.lag, rate)),
        }
    }

    /// The next picture shall be a key picture, or the first one at least 300 ms after the last key picture.
    pub fn request_key_frame(&mut self) {
        self.key_wanted = true;
    }

    /// Takes no more pictures.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Takes pictures again, at the times at which it would have.
    pub fn resume(&mut self, now: Instant) {
        self.is_paused = false;
        self.skip_until(now);
    }

    /// The picture that was taken by `now`, if there is one; to be asked until there is none.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Frame> {
        self.poll_frame_within(now, DataSize::bytes(u64::MAX))
    }

    /// As [`Self::poll_frame`], with an encoder that aims at no more than `limit`, headers not counted.
    ///
    /// The size varies around its aim as ever. What is cut from a picture is paid back for a key picture.
    pub fn poll_frame_within(&mut self, now: Instant, limit: DataSize) -> Option<Frame> {
        let captured = self.poll_timeout().filter(|at| *at <= now)?;
        self.next += 1;
        let mean = self.mean(captured);
        let key = self.is_key(captured);
        let planned = if key { self.key_size(captured, mean) } else { self.delta_size(mean) };
        let aim = planned.min(limit.as_bytes() as f64);
        self.owed = (self.owed - (planned - aim)).max(0.0);
        let size = if key { aim } else { aim * (1.0 + self.plan.variation * self.normal()) };
        let number = self.frames;
        self.frames += 1;
        if key {
            self.key_wanted = false;
            self.last_key = Some(captured);
        }
        Some(Frame { number, key, size: DataSize::bytes(size.max(FRAME_MIN).round() as u64), captured })
    }

    /// Leaves the pictures that were taken by `now` unencoded; the next one refers to the last that was.
    pub fn skip(&mut self, now: Instant) {
        self.skip_until(now + Duration::from_nanos(1));
    }

    /// Whether the next picture is a key picture.
    pub fn is_key_next(&self) -> bool {
        self.is_key(self.capture(self.next))
    }

    /// When the next picture is taken.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_paused).then(|| self.capture(self.next))
    }

    /// How many pictures a second.
    pub fn fps(&self) -> u32 {
        self.plan.fps.max(1)
    }

    fn capture(&self, picture: u64) -> Instant {
        let nanos = u128::from(picture) * NANOS / u128::from(self.fps());
        self.first + Duration::from_nanos(nanos as u64)
    }

    fn skip_until(&mut self, time: Instant) {
        let passed = time.since(self.first).as_nanos() * u128::from(self.fps()) / NANOS;
        self.next = self.next.max(passed as u64);
        while self.capture(self.next) < time {
            self.next += 1;
        }
    }

    /// The mean size at the rate of that time, in bytes.
    fn mean(&mut self, at: Instant) -> f64 {
        while let Some((_, rate)) = self.coming.front().filter(|(from, _)| *from <= at) {
            self.rate = Some(*rate);
            self.coming.pop_front();
        }
        let caps = self.plan.caps.iter().take_while(|(from, _)| Instant::ZERO + *from <= at);
        let cap = caps.last().map_or(Bitrate::MAX, |(_, cap)| *cap);
        self.rate.unwrap_or_default().min(cap).as_bps() as f64 / 8.0 / f64::from(self.fps())
    }

    fn is_key(&self, at: Instant) -> bool {
        let Some(last) = self.last_key else { return true };
        let since = at.since(last);
        self.plan.key_every.is_some_and(|every| since >= every)
            || (self.key_wanted && since >= KEY_INTERVAL_MIN)
    }

    /// The size of a key picture; says what delta pictures have until it is paid for: `n` pictures, of which one is a key
    /// picture of `f` times a delta picture's size, take as much as `n` mean ones.
    fn key_size(&mut self, at: Instant, mean: f64) -> f64 {
        let since = self.last_key.map_or(PAYBACK, |last| at.since(last));
        let span = since.min(self.plan.key_every.unwrap_or(PAYBACK)).min(PAYBACK);
        let pictures = (span.as_secs_f64() * f64::from(self.fps())).max(1.0);
        self.delta_share = (pictures / (pictures - 1.0 + self.plan.key_factor)).min(1.0);
        let size = mean * self.delta_share * self.plan.key_factor;
        let debt_max = mean * f64::from(self.fps()) * PAYBACK.as_secs_f64(); // of a higher rate: forgiven
        self.owed = (self.owed + size - mean).clamp(0.0, debt_max);
        size
    }

    /// The size that a delta picture has on average.
    fn delta_size(&mut self, mean: f64) -> f64 {
        let paid = self.owed.min(mean * (1.0 - self.delta_share));
        self.owed -= paid;
        mean - paid
    }

    /// A standard normal number within [`SIGMAS_MAX`]: the sum of twelve uniform ones, less its mean.
    fn normal(&mut self) -> f64 {
        if self.plan.variation == 0.0 {
            return 0.0;
        }
        loop {
            let mut sum = 0.0;
            for _ in 0..3 {
                let word = self.chance.long_number();
                sum += (0..4).map(|place| f64::from((word >> (16 * place)) as u16)).sum::<f64>();
            }
            let number = (sum + 6.0) / 65_536.0 - 6.0; // a uniform one is half a step more than its digits
            if number.abs() <= SIGMAS_MAX {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> CameraPlan {
        CameraPlan {
            fps: 30,
            variation: 0.05,
            lag: Duration::ZERO,
            key_every: None,
            key_factor: 1.0,
            caps: Vec::new(),
        }
    }

    fn camera(plan: CameraPlan, rate: Bitrate) -> Camera {
        let mut camera = Camera::new(plan, Instant::ZERO, &Seed::from_number(1));
        camera.set_rate(Instant::ZERO, rate);
        camera
    }

    /// The pictures taken before `end`.
    fn take(camera: &mut Camera, end: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(at) = camera.poll_timeout().filter(|at| *at < end) {
            frames.push(camera.poll_frame(at).expect("it is due"));
        }
        frames
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    fn rate(frames: &[Frame], seconds: f64) -> f64 {
        frames.iter().map(|frame| frame.size.as_bits() as f64).sum::<f64>() / seconds
    }

    #[test]
    fn pictures_come_at_exact_times_and_make_the_rate() {
        for (fps, kbps) in [(30, 300), (30, 4_000), (25, 1_000), (60, 10_000), (7, 200)] {
            let mut camera = camera(CameraPlan { fps, ..plan() }, Bitrate::kbps(kbps));
            let frames = take(&mut camera, secs(100));
            assert_eq!(frames.len(), fps as usize * 100, "{fps} a second");
            let seventh = frames[7 * fps as usize].captured.since(frames[0].captured);
            assert_eq!(seventh, Duration::from_secs(7), "no drift");
            let share = rate(&frames, 100.0) / (kbps as f64 * 1e3);
            assert!((0.99..1.01).contains(&share), "{fps} a second at {kbps} kbit/s: {share}");
            assert!(frames.iter().enumerate().all(|(at, frame)| frame.number == at as u64));
        }
    }

    #[test]
    fn sizes_vary_as_planned_and_not_beyond_three_sigmas() {
        for variation in [0.0, 0.05, 0.2] {
            let mut camera = camera(CameraPlan { variation, ..plan() }, Bitrate::mbps(4));
            let frames = take(&mut camera, secs(300));
            let mean = 4e6 / 8.0 / 30.0;
            let off: Vec<f64> =
                frames[1..].iter().map(|frame| frame.size.as_bytes() as f64 / mean - 1.0).collect();
            let sigma = (off.iter().map(|off| off * off).sum::<f64>() / off.len() as f64).sqrt();
            // Cutting at three sigmas makes the deviation 1.3 % smaller.
            assert!((sigma - variation * 0.987).abs() <= variation * 0.02 + 1e-4, "{variation}: {sigma}");
            assert!(off.iter().all(|off| off.abs() <= 3.0 * variation + 1e-4), "{variation}");
        }
    }

    #[test]
    fn key_pictures_are_six_delta_pictures_and_the_rate_holds() {
        let key_plan = CameraPlan { variation: 0.0, key_factor: 6.0, ..plan() };
        for (name, key_every, keys) in [
            ("only the first", None, 1),
            ("each two seconds", Some(Duration::from_secs(2)), 50),
            ("each half second", Some(Duration::from_millis(500)), 200),
        ] {
            let mut camera = camera(CameraPlan { key_every, ..key_plan.clone() }, Bitrate::mbps(2));
            let frames = take(&mut camera, secs(100));
            assert!(frames[0].key, "{name}");
            assert_eq!(frames.iter().filter(|frame| frame.key).count(), keys, "{name}");
            let ratio = frames[0].size.as_bytes() as f64 / frames[1].size.as_bytes() as f64;
            assert!((5.99..6.01).contains(&ratio), "{name}: {ratio}");
            let share = rate(&frames, 100.0) / 2e6;
            assert!((0.99..1.01).contains(&share), "{name}: {share}");
        }
    }

    #[test]
    fn a_key_picture_on_request_comes_next_but_not_twice_in_300_ms() {
        let mut camera = camera(plan(), Bitrate::mbps(1));
        assert!(!take(&mut camera, secs(1))[1].key);
        camera.request_key_frame();
        camera.request_key_frame();
        let first = take(&mut camera, secs(2));
        assert_eq!(
            first.iter().map(|frame| frame.key).collect::<Vec<_>>(),
            [vec![true], vec![false; 29]].concat()
        );
        camera.request_key_frame();
        let key = take(&mut camera, secs(2) + Duration::from_millis(34)).pop().expect("one");
        camera.request_key_frame();
        let next = take(&mut camera, secs(4)).into_iter().find(|frame| frame.key).expect("it comes");
        assert!(key.key);
        assert_eq!(next.number - key.number, 9, "300 ms later");
    }

    #[test]
    fn the_rate_holds_however_often_key_pictures_are_asked_for() {
        let mut camera = camera(CameraPlan { key_factor: 6.0, ..plan() }, Bitrate::mbps(2));
        let mut frames = Vec::new();
        for tenth in 1..=300 {
            camera.request_key_frame();
            frames.extend(take(&mut camera, Instant::from_millis(tenth * 100)));
        }
        assert_eq!(frames.iter().filter(|frame| frame.key).count(), 100);
        let share = rate(&frames, 30.0) / 2e6;
        assert!((0.99..1.02).contains(&share), "{share}");
    }

    #[test]
    fn a_new_rate_takes_effect_after_the_lag() {
        let lag = Duration::from_millis(100);
        let mut camera = camera(CameraPlan { lag, variation: 0.0, ..plan() }, Bitrate::mbps(1));
        take(&mut camera, secs(1));
        camera.set_rate(secs(1), Bitrate::mbps(2));
        camera.set_rate(secs(1) + Duration::from_millis(50), Bitrate::kbps(500));
        for frame in take(&mut camera, secs(2)) {
            let bits = match frame.captured.since(secs(1)).as_millis() {
                0..100 => 1_000_000,
                100..150 => 2_000_000,
                150.. => 500_000,
            };
            let expected = (f64::from(bits) / 8.0 / 30.0).round() as u64;
            assert_eq!(frame.size.as_bytes(), expected, "{:?}", frame.captured);
        }
    }

    #[test]
    fn caps_hold_from_their_time_on() {
        let at = |secs: u64, rate: Bitrate| (Duration::from_secs(secs), rate);
        let caps = vec![at(10, Bitrate::mbps(1)), at(20, Bitrate::MAX)];
        let mut camera = camera(CameraPlan { caps, ..plan() }, Bitrate::mbps(4));
        for (end, expected) in [(10, 4e6), (20, 1e6), (30, 4e6)] {
            let share = rate(&take(&mut camera, secs(end)), 10.0) / expected;
            assert!((0.98..1.02).contains(&share), "until {end}: {share}");
        }
    }

    #[test]
    fn pauses_and_skipped_pictures_leave_no_hole_in_the_numbers() {
        let mut camera = camera(plan(), Bitrate::mbps(1));
        let before = take(&mut camera, secs(1));
        camera.pause();
        assert_eq!((camera.poll_timeout(), camera.poll_frame(secs(3))), (None, None));
        camera.resume(secs(3));
        let first = camera.poll_timeout().expect("it goes on");
        assert_eq!(first.since(before[0].captured), Duration::from_secs(3), "on the old times");
        camera.skip(first);
        let after = take(&mut camera, secs(4));
        assert_eq!((after[0].number, after.len()), (30, 29));
    }

    #[test]
    fn a_limited_picture_is_smaller_and_the_next_is_not_larger_for_it() {
        for (name, key_factor, limit, expected) in [
            ("wide", 1.0, 5_000, [4_167; 3]),
            ("narrow", 1.0, 1_000, [1_000, 4_167, 4_167]),
            ("nothing", 1.0, 0, [100, 4_167, 4_167]),
            ("a key picture that is cut owes less", 6.0, 5_000, [5_000, 3_571, 3_929]),
        ] {
            let mut camera = camera(CameraPlan { variation: 0.0, key_factor, ..plan() }, Bitrate::mbps(1));
            let first = camera.poll_timeout().expect("it takes pictures");
            assert!(camera.is_key_next(), "{name}");
            let mut sizes = vec![camera.poll_frame_within(first, DataSize::bytes(limit)).expect("due").size];
            assert!(!camera.is_key_next(), "{name}");
            sizes.extend(take(&mut camera, secs(1))[..2].iter().map(|frame| frame.size));
            assert_eq!(sizes, expected.map(DataSize::bytes), "{name}");
        }
        let shares = [6_000, 30_000].map(|limit| {
            let key_plan = CameraPlan { variation: 0.0, key_factor: 6.0, ..plan() };
            let mut camera = camera(key_plan, Bitrate::mbps(1));
            let first = camera.poll_timeout().expect("it takes pictures");
            let cut = camera.poll_frame_within(first, DataSize::bytes(limit)).expect("due");
            let rest = take(&mut camera, first + Duration::from_millis(3_999));
            rate(&[vec![cut], rest].concat(), 4.0) / 1e6
        });
        assert!(
            shares.iter().all(|share| (0.99..1.01).contains(share)),
            "cut or not, the rate holds: {shares:?}"
        );
    }

    #[test]
    fn cameras_started_together_take_pictures_apart() {
        let first = |seed: u64| {
            Camera::new(plan(), secs(5), &Seed::from_number(seed))
                .poll_timeout()
                .expect("it takes pictures")
                .since(secs(5))
        };
        assert_ne!(first(1), first(2));
        assert_eq!(first(1), first(1));
        assert!((1..100).all(|seed| first(seed) < Duration::from_nanos(33_333_334)));
    }
}
