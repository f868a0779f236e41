//! `googcc`: libwebrtc's own congestion control, from the snapshot that Debian packages as libtgowt-dev.
//!
//! In: what left and feedback. Out: libwebrtc's target, pacing and probes. Time: it is woken each 25 ms from the first
//! packet on. It gets what libwebrtc's transport would give it: receive times moved near the sender's clock
//! (`TransportFeedbackAdapter`), and each second a round trip and a loss count, as RTCP receiver reports tell them.
//! Settings are libwebrtc's for video with send-side estimation: pacing at 1.1 times the estimate, probes while the
//! application sends too little, no padding beside that, no field trials. A probe lasts as long as libwebrtc's, which
//! fills it with retransmissions of whole packets, five at least. Limit: it knows the last `CLUSTERS_MAX` probes.
//!
//! Utilization (and loss) here, seeds 1 to 10, against congestion-control.md §3.3 (libwebrtc of July 2026, 3 seeds):
//!
//! | | 1 ms here | §3.3 | without round trips | 40 ms here | §3.3 |
//! |---|---|---|---|---|---|
//! | fixed-4m | .89 | .93 | .91 | .93 | .90 |
//! | rfc8867-5.1 | .87 (.3 %) | .86 (.5 %) | .85 (.3 %) | .88 (.4 %) | none |
//! | shallow-10 | .95 (3.3 %) | .98 (3.6 %) | .99 (5.7 %) | .28 (5.5 %) | .27 (8.8 %) |
//! | shallow-20 | .89 (0) | .96 (2.6 %) | .99 (5.6 %) | .57 (6.4 %) | .57 (4.9 %) |
//!
//! All are within .05 but shallow-20 at 1 ms, where §3.3 looks wrong: its harness seems to have told no round trips.
//! Then libwebrtc takes its default of 200 ms for the 60 there are and adds 15 kbit/s each second, not 30, and its
//! detector sees so slow a climb late: queues of 12 ms (p95 on fixed-4m; §3.3 has 13, here it is 2) overflow 20.
//! Browsers know their round trips, so this one is told. The losses differ as `LossBasedBweV2` was a trial in January
//! 2023: without it the rate holds up to 10 % of loss. No field trial makes it today's: V2 with today's constants
//! lacks the floor at the acknowledged rate and the hold (shallow-10 .88; the policer .74 at 10 % where §3.3 has .99
//! at 4 %; though 5 % of random loss gives .82 for .79, and .53 without); today's throughput estimator alone makes
//! fixed-4m .87.

use std::collections::VecDeque;
use std::time::Duration;

use ::googcc::{Config, Feedback, GoogCc as Peer, LossReport, PacedPacket, PacketResult as Result, State};
use cc::{Estimator, PacketClass, PacketResult, ProbeCluster, ProbeId, RateLimits, SentPacket, Target};
use proto::time::Instant;
use proto::units::DataSize;

/// `kDefaultPaceMultiplierWithSendSideBwe`.
const PACING_FACTOR: f64 = 1.1;

/// How often receiver reports come for video (RFC 3550 §6.2, libwebrtc's default for video).
const RECEIVER_REPORTS: Duration = Duration::from_secs(1);

/// What a retransmission takes: libwebrtc's largest packet (1200 bytes), with IPv4 and UDP. It takes whole packets up
/// to three times what it wants to pad (`kMaxPaddingSizeFactor` in `rtp_sender.cc`), which is 4 ms of the probe's
/// rate.
const RETRANSMISSION: DataSize = DataSize::bytes(1_228);

/// Feedback on a probe comes within a second, and no more than three are sent at once.
const CLUSTERS_MAX: usize = 32;

/// See the module's description.
#[derive(Debug)]
pub(super) struct GoogCc {
    limits: RateLimits,
    burst: Duration,
    /// There is one from the first packet on.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    peer: Peer,
    next_interval: Instant,
    in_flight: DataSize,
    clusters: VecDeque<PacedPacket>,
    /// What to add to the receiver's clock to come near the sender's, in nanoseconds.
    clock_offset: Option<i128>,
    reports: ReceiverReports,
    phase: &'static str,
}

/// What receiver reports would have told since the last of them.
#[derive(Debug)]
struct ReceiverReports {
    since: Instant,
    next: Option<Instant>,
    lost: u64,
    received: u64,
}

impl GoogCc {
    /// `burst` is how much the pacer may send at once.
    pub(super) fn new(limits: RateLimits, burst: Duration) -> Self {
        Self { limits, burst, running: None }
    }

    fn running(&mut self, now: Instant) -> &mut Running {
        self.running.get_or_insert_with(|| Running::new(now, self.limits))
    }

    fn state_of_peer(&self) -> State {
        let start = self.limits.start;
        self.running.as_ref().map_or_else(
            || State {
                target: start,
                pacing: start.scaled(PACING_FACTOR),
                padding: proto::units::Bitrate::ZERO,
                window: None,
            },
            |running| running.peer.state(),
        )
    }
}

impl Estimator for GoogCc {
    fn handle_sent(&mut self, now: Instant, packet: &SentPacket) {
        self.running(now).handle_sent(packet);
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        if !results.is_empty() {
            self.running(now).handle_feedback(now, results);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.handle_timeout(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.next_interval)
    }

    fn poll_probe(&mut self) -> Option<ProbeCluster> {
        self.running.as_mut().and_then(Running::poll_probe)
    }

    fn target(&self) -> Target {
        let State { target, pacing, padding, window } = self.state_of_peer();
        Target { rate: target, pacing, burst: self.burst, window, padding }
    }

    /// How the last feedback moved the rate: libwebrtc does not tell its phases.
    fn state(&self) -> &'static str {
        self.running.as_ref().map_or("start", |running| running.phase)
    }
}

impl Running {
    fn new(now: Instant, limits: RateLimits) -> Self {
        let RateLimits { min, start, max } = limits;
        let mut peer = Peer::new(now, &Config { min, start, max, pacing_factor: PACING_FACTOR });
        peer.handle_interval(now); // libwebrtc's transport does so at once, and so gets the first probes
        Self {
            peer,
            next_interval: now + Peer::interval(),
            in_flight: DataSize::ZERO,
            clusters: VecDeque::new(),
            clock_offset: None,
            reports: ReceiverReports { since: now, next: None, lost: 0, received: 0 },
            phase: "start",
        }
    }

    fn handle_sent(&mut self, packet: &SentPacket) {
        self.in_flight = packet.in_flight + packet.size;
        let packet = peer_packet(&self.clusters, packet);
        self.peer.handle_sent(&packet);
    }

    fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
        let before = self.peer.state().target;
        self.tell_receiver_reports(now, results);
        let prior_in_flight = self.in_flight;
        self.in_flight -= results.iter().map(|result| result.sent.size).sum();
        let offset = self.offset(now, results);
        let feedback = Feedback { now, prior_in_flight, in_flight: self.in_flight };
        let results = results.iter().map(|result| Result {
            sent: peer_packet(&self.clusters, &result.sent),
            received: result.received.map(|at| moved(at, offset)),
        });
        self.peer.handle_feedback(&feedback, results);
        let after = self.peer.state().target;
        self.phase = match after.cmp(&before) {
            core::cmp::Ordering::Less => "decrease",
            core::cmp::Ordering::Equal => "hold",
            core::cmp::Ordering::Greater => "increase",
        };
    }

    fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_interval {
            self.peer.handle_interval(now);
            self.next_interval = now + Peer::interval();
        }
    }

    fn poll_probe(&mut self) -> Option<ProbeCluster> {
        let probe = self.peer.poll_probe()?;
        if self.clusters.len() == CLUSTERS_MAX {
            self.clusters.pop_front();
        }
        self.clusters.push_back(PacedPacket {
            id: probe.id,
            rate: probe.rate,
            min_packets: probe.min_packets,
            min_size: probe.rate * probe.duration,
        });
        let filled = RETRANSMISSION * u64::from(probe.min_packets) / probe.rate;
        Some(ProbeCluster {
            id: ProbeId(probe.id),
            rate: probe.rate,
            duration: probe.duration.max(filled),
            packets: probe.min_packets,
        })
    }

    /// The first packet that feedback reports is taken to have arrived when its feedback did.
    fn offset(&mut self, now: Instant, results: &[PacketResult]) -> i128 {
        let first = results.iter().find_map(|result| result.received);
        match (self.clock_offset, first) {
            (Some(offset), _) => offset,
            (None, Some(first)) => {
                *self.clock_offset.insert(i128::from(now.as_nanos()) - i128::from(first.as_nanos()))
            }
            (None, None) => 0,
        }
    }

    fn tell_receiver_reports(&mut self, now: Instant, results: &[PacketResult]) {
        let received = results.iter().filter(|result| result.received.is_some()).count() as u64;
        self.reports.received += received;
        self.reports.lost += results.len() as u64 - received;
        let newest =
            results.iter().filter(|result| result.received.is_some()).max_by_key(|result| result.received);
        let Some(newest) = newest.filter(|_| self.reports.next.is_none_or(|next| now >= next)) else {
            return;
        };
        self.peer.handle_round_trip(now, now.since(newest.sent.sent));
        let ReceiverReports { since, lost, received, .. } = self.reports;
        self.peer.handle_loss(&LossReport { from: since, now, lost, received });
        self.reports =
            ReceiverReports { since: now, next: Some(now + RECEIVER_REPORTS), lost: 0, received: 0 };
    }
}

fn peer_packet(clusters: &VecDeque<PacedPacket>, packet: &SentPacket) -> ::googcc::SentPacket {
    let probe = packet.probe.and_then(|ProbeId(id)| clusters.iter().rev().find(|cluster| cluster.id == id));
    ::googcc::SentPacket {
        number: packet.number,
        sent: packet.sent,
        size: packet.size,
        in_flight: packet.in_flight,
        audio: packet.class == PacketClass::Audio,
        probe: probe.copied(),
    }
}

fn moved(at: Instant, offset: i128) -> Instant {
    Instant::from_nanos(u64::try_from(i128::from(at.as_nanos()) + offset).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proto::units::Bitrate;

    use super::super::path::{Outcome, Path};
    use super::*;
    use crate::metrics::Metrics;
    use crate::run::{RunOptions, run};

    const LIMITS: RateLimits =
        RateLimits { min: Bitrate::kbps(150), start: Bitrate::kbps(300), max: Bitrate::mbps(10) };

    fn googcc(burst_ms: u64) -> GoogCc {
        GoogCc::new(LIMITS, Duration::from_millis(burst_ms))
    }

    fn play(path: &Path, burst_ms: u64, seconds: u64) -> Outcome {
        path.play(&mut googcc(burst_ms), Duration::from_secs(seconds))
    }

    fn loss(outcome: &Outcome) -> f64 {
        outcome.lost as f64 / outcome.sent as f64
    }

    fn packet(number: u64, sent: Instant, probe: Option<ProbeId>) -> SentPacket {
        SentPacket {
            number,
            size: DataSize::bytes(1_200),
            sent,
            class: PacketClass::Video,
            probe,
            in_flight: DataSize::ZERO,
            app_limited: false,
        }
    }

    #[test]
    fn it_begins_with_the_first_packet_at_the_start_rate_and_probes_at_once() {
        let mut googcc = googcc(1);
        assert_eq!(googcc.poll_timeout(), None);
        assert_eq!((googcc.poll_probe(), googcc.state()), (None, "start"));
        let target = googcc.target();
        assert_eq!((target.rate, target.pacing), (LIMITS.start, Bitrate::kbps(330)));
        let now = Instant::from_millis(20_000);
        googcc.handle_sent(now, &packet(0, now, None));
        assert_eq!(googcc.poll_timeout(), Some(now + Duration::from_millis(25)));
        assert_eq!(googcc.target(), target);
        let probes: Vec<_> = core::iter::from_fn(|| googcc.poll_probe()).map(|probe| probe.rate).collect();
        assert_eq!(probes, [Bitrate::kbps(900), Bitrate::kbps(1_800)]);
    }

    #[test]
    fn a_probe_that_arrives_as_fast_as_it_left_raises_the_rate_and_one_that_is_unknown_does_not() {
        for (known, floor, ceiling) in [(true, 1_400, 2_000), (false, 300, 330)] {
            let mut googcc = googcc(1);
            googcc.handle_sent(Instant::ZERO, &packet(0, Instant::ZERO, None));
            let probe = googcc.poll_probe().into_iter().chain(googcc.poll_probe()).last().unwrap();
            let id = if known { probe.id } else { ProbeId(99) };
            let spacing = DataSize::bytes(1_200) / probe.rate;
            let results: Vec<_> = (1..=20)
                .map(|number| {
                    let sent = Instant::from_millis(5) + spacing * number;
                    let sent = packet(number.into(), sent, Some(id));
                    PacketResult {
                        sent,
                        received: Some(sent.sent + Duration::from_secs(90)),
                        ecn: cc::Ecn::NotCapable,
                    }
                })
                .collect();
            for result in &results {
                googcc.handle_sent(result.sent.sent, &result.sent);
            }
            googcc.handle_feedback(Instant::from_millis(180), &results);
            let rate = googcc.target().rate;
            assert!((Bitrate::kbps(floor)..=Bitrate::kbps(ceiling)).contains(&rate), "{known}: {rate}");
        }
    }

    #[test]
    fn a_probe_lasts_as_long_as_libwebrtcs_retransmissions_would_make_it() {
        for (start, micros) in [(300, [54_577, 27_288]), (1_000, [16_373, 15_000])] {
            let limits = RateLimits { start: Bitrate::kbps(start), ..LIMITS };
            let mut googcc = GoogCc::new(limits, Duration::from_millis(1));
            googcc.handle_sent(Instant::ZERO, &packet(0, Instant::ZERO, None));
            let probes: Vec<_> = core::iter::from_fn(|| googcc.poll_probe()).collect();
            let lasting: Vec<_> = probes.iter().map(|probe| probe.duration.as_micros()).collect();
            assert_eq!(lasting, micros, "from {start} kbit/s");
        }
    }

    /// One that hears of no round trip, and of no loss but by feedback.
    struct WithoutReports(GoogCc);

    impl Estimator for WithoutReports {
        fn handle_sent(&mut self, now: Instant, packet: &SentPacket) {
            self.0.running(now).reports.next = Some(Instant::from_millis(u64::from(u32::MAX)));
            self.0.handle_sent(now, packet);
        }

        fn handle_feedback(&mut self, now: Instant, results: &[PacketResult]) {
            self.0.handle_feedback(now, results);
        }

        fn handle_timeout(&mut self, now: Instant) {
            self.0.handle_timeout(now);
        }

        fn poll_timeout(&self) -> Option<Instant> {
            self.0.poll_timeout()
        }

        fn poll_probe(&mut self) -> Option<ProbeCluster> {
            self.0.poll_probe()
        }

        fn target(&self) -> Target {
            self.0.target()
        }

        fn state(&self) -> &'static str {
            self.0.state()
        }
    }

    #[test]
    fn who_tells_it_no_round_trips_sees_it_climb_half_as_fast() {
        let path = Path::new(Bitrate::mbps(4));
        let length = Duration::from_secs(60);
        let told = path.play(&mut googcc(1), length);
        let untold = path.play(&mut WithoutReports(googcc(1)), length);
        let climb = |outcome: &Outcome| (outcome.rate_between(16, 17) - outcome.rate_between(6, 7)) / 10e3;
        assert!((27.0..33.0).contains(&climb(&told)), "{} kbit/s each second", climb(&told));
        assert!((13.0..18.0).contains(&climb(&untold)), "{} kbit/s each second", climb(&untold));
        let (short, long) = (told.queue_p95, untold.queue_p95);
        assert!(long > short * 3 && long < Duration::from_millis(60), "{short:?}, {long:?}");
    }

    /// The means over seeds 1 to 10 of utilization and loss.
    fn row(scenario: &str, estimator: &str) -> (f64, f64) {
        let scenario = crate::scenario::find(scenario).unwrap();
        let metrics: Vec<_> = (1..=10)
            .map(|seed| {
                let epoch = super::super::tests::epoch();
                let estimator = estimator.to_owned();
                let options = RunOptions {
                    estimator,
                    scene: proto::scene::Scene::default(),
                    seed,
                    record: false,
                    epoch,
                    stopwatch: None,
                };
                run(&scenario, &options).unwrap().metrics
            })
            .collect();
        let mean = |of: fn(&Metrics) -> Option<f64>| metrics.iter().filter_map(of).sum::<f64>() / 10.0;
        (mean(|metrics| metrics.util), mean(|metrics| metrics.loss))
    }

    #[test]
    fn its_rows_agree_with_those_published_but_one() {
        for (scenario, estimator, published) in [
            ("fixed-4m", "googcc", 0.93),
            ("fixed-4m", "googcc-40ms", 0.90),
            ("rfc8867-5.1", "googcc", 0.86),
            ("shallow-10", "googcc", 0.98),
            ("shallow-10", "googcc-40ms", 0.27),
            ("shallow-20", "googcc-40ms", 0.57),
        ] {
            let (utilization, _) = row(scenario, estimator);
            let off = utilization - published;
            assert!(off.abs() <= 0.05, "{scenario}, {estimator}: {utilization}, published {published}");
        }
        let (utilization, loss) = row("shallow-20", "googcc");
        assert!(
            (0.86..0.91).contains(&utilization),
            "{utilization}: .96 is what it does untold of round trips"
        );
        assert!(loss < 0.005, "{loss}: .026 is what it loses untold of them");
    }

    #[test]
    fn it_fills_a_fixed_link_and_bursts_of_40_ms_make_a_queue() {
        // Its jitter does not keep packets a serialization apart, so this path is harder than the simulator's.
        let path = Path::jittery(Bitrate::mbps(4));
        let (best, bursts) = (play(&path, 1, 60), play(&path, 40, 60));
        assert!((0.83..=0.95).contains(&best.utilization), "{}", best.utilization);
        assert!((0.83..=0.95).contains(&bursts.utilization), "{}", bursts.utilization);
        assert!(best.queue_p95 < Duration::from_millis(25), "{:?}", best.queue_p95);
        assert!(bursts.queue_p95 > Duration::from_millis(60), "{:?}", bursts.queue_p95);
        assert_eq!((best.lost, bursts.lost), (0, 0));
    }

    #[test]
    fn it_loses_for_ever_on_a_shallow_buffer() {
        let path = Path { queue: Duration::from_millis(10), ..Path::jittery(Bitrate::mbps(4)) };
        let (best, bursts) = (play(&path, 1, 60), play(&path, 40, 60));
        assert!(best.utilization > 0.9, "{}", best.utilization);
        assert!((0.02..0.12).contains(&loss(&best)), "{}", loss(&best));
        assert!(bursts.utilization < 0.5, "{}", bursts.utilization);
        assert!((0.03..0.15).contains(&loss(&bursts)), "{}", loss(&bursts));
    }

    #[test]
    fn it_backs_off_when_a_queue_grows() {
        let capacity = vec![(Duration::ZERO, Bitrate::mbps(4)), (Duration::from_secs(20), Bitrate::mbps(1))];
        let outcome = play(&Path { capacity, ..Path::new(Bitrate::ZERO) }, 1, 30);
        let (high, low) = (outcome.rate_between(15, 20), outcome.rate_between(23, 30));
        assert!((3.2e6..4.4e6).contains(&high), "{high}");
        assert!((0.5e6..1.1e6).contains(&low), "{low}");
    }

    #[test]
    fn it_probes_while_the_application_sends_too_little() {
        let limited = Path { demand: Some(Bitrate::mbps(1)), ..Path::new(Bitrate::mbps(6)) };
        let [idle, busy] = [limited, Path::new(Bitrate::mbps(6))].map(|path| play(&path, 1, 60).probes);
        assert!((10..=30).contains(&idle), "{idle}: one each five seconds, and the first ones");
        assert!(busy < 8, "{busy}");
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs_beside_others_in_other_threads() {
        let paths: Vec<Path> = (1..=4)
            .map(|mbps| Path {
                demand: (mbps % 2 == 0).then_some(Bitrate::mbps(1)),
                ..Path::jittery(Bitrate::mbps(mbps))
            })
            .collect();
        let alone: Vec<Outcome> = paths.iter().map(|path| play(path, 1, 30)).collect();
        assert_eq!(alone, paths.iter().map(|path| play(path, 1, 30)).collect::<Vec<_>>());
        let together: Vec<Outcome> = std::thread::scope(|scope| {
            let threads: Vec<_> = paths.iter().map(|path| scope.spawn(|| play(path, 1, 30))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(alone, together);
        assert_ne!(alone[0].rates, alone[1].rates);
    }
}
