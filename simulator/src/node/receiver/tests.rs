//! The receiver against a script of packets: what it reports, asks for and shows.

use proto::feedback::{Arrival, CcfbClock, TwccClock};

use super::*;
use crate::packet::FramePart;
use crate::scenario::FeedbackFormat;

const FLOW: FlowId = FlowId(7);

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn lasting(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn setup(format: FeedbackFormat) -> ReceiverSetup {
    ReceiverSetup {
        flow: FLOW,
        sender: NodeId(3),
        plan: FeedbackPlan { format, interval: lasting(50) },
        repair: false,
        decoding: Decoding::Standalone,
    }
}

fn media(transport_seq: u64, seq: u64, class: PacketClass, part: Option<FramePart>) -> MediaPacket {
    MediaPacket { transport_seq, seq, class, part, parity: None }
}

/// Pictures of two packets each 20 ms; the number of a packet is its transport sequence number too.
fn video(seq: u64) -> MediaPacket {
    let frame = seq / 2;
    let part =
        FramePart { frame, index: (seq % 2) as u16, parts: 2, key: frame == 0, captured: ms(frame * 20) };
    media(seq, seq, PacketClass::Video, Some(part))
}

fn packet(media: MediaPacket, ecn: Ecn) -> Packet {
    Packet {
        number: 0,
        flow: FLOW,
        from: NodeId(3),
        to: NodeId(4),
        size: DataSize::bytes(1_228),
        ecn,
        sent: Instant::ZERO,
        payload: Payload::Media(media),
    }
}

/// A receiver, the time, and all that it has sent and told.
struct Bench {
    receiver: Receiver,
    now: Instant,
    sent: Vec<(Instant, Rtcp)>,
    facts: Vec<(Instant, Fact)>,
}

impl Bench {
    fn new(setup: ReceiverSetup, seed: u64) -> Self {
        let receiver = Receiver::new(setup, &Seed::from_number(seed));
        Self { receiver, now: Instant::ZERO, sent: Vec::new(), facts: Vec::new() }
    }

    fn arrive(&mut self, at: Instant, media: MediaPacket, ecn: Ecn) {
        self.wait(at);
        self.receiver.handle_packet(at, packet(media, ecn));
        self.drain();
    }

    fn wait(&mut self, until: Instant) {
        while let Some(at) = self.receiver.poll_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.receiver.handle_timeout(at);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(packet) = self.receiver.poll_packet(self.now) {
            let Payload::Datagram(bytes) = packet.payload else { panic!("RTCP is a datagram") };
            assert_eq!(packet.size, DataSize::bytes(bytes.len() as u64 + 28));
            assert_eq!((packet.to, packet.flow), (NodeId(3), FLOW));
            self.sent.extend(rtcp::parse(&bytes).expect("RTCP").into_iter().map(|rtcp| (self.now, rtcp)));
        }
        self.facts.extend(std::iter::from_fn(|| self.receiver.poll_fact()).map(|fact| (self.now, fact)));
        assert!(self.receiver.poll_timeout().is_none_or(|at| at > self.now), "a wake-up in the past");
    }

    /// Each report with its time, as a sender reads it.
    fn reports(&self) -> Vec<(Instant, Vec<Arrival>)> {
        let (mut twcc, mut ccfb) = (TwccClock::default(), CcfbClock::default());
        let mut reports = Vec::new();
        for (at, rtcp) in &self.sent {
            match rtcp {
                Rtcp::TransportFeedback(feedback) => reports.push((*at, twcc.arrivals(feedback).collect())),
                Rtcp::CongestionFeedback(feedback) => {
                    let arrivals = ccfb.arrivals(feedback).map(|(media, arrival)| {
                        assert_eq!(media, PICTURES_SSRC);
                        arrival
                    });
                    reports.push((*at, arrivals.collect()));
                }
                other => assert!(matches!(other, Rtcp::Nack { .. } | Rtcp::Pli { .. })),
            }
        }
        reports
    }
}

#[test]
fn reports_tell_the_true_arrivals_each_interval() {
    for (format, seed, error) in [
        (FeedbackFormat::Twcc, 1, 250),
        (FeedbackFormat::Twcc, 2, 250),
        (FeedbackFormat::Ccfb, 1, 1_000),
        (FeedbackFormat::Ccfb, 2, 1_000),
    ] {
        let mut bench = Bench::new(setup(format), seed);
        let mut truth = Vec::new();
        let marks = [Ecn::NotCapable, Ecn::Capable1, Ecn::Congested];
        for seq in 65_000..66_000 {
            let at = Instant::from_nanos((seq - 65_000) * 7_300_000);
            let ecn = marks[seq as usize % 3];
            let came = seq % 11 != 4;
            if came {
                bench.arrive(at, media(seq, seq, PacketClass::Audio, None), ecn);
            }
            truth.push((SeqNo(seq as u16), came.then_some((at, ecn))));
        }
        bench.wait(ms(20_000));
        let reports = bench.reports();
        let gaps: Vec<_> = reports.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
        assert!(gaps.iter().all(|gap| *gap == lasting(50)), "{gaps:?}");
        assert_eq!(reports.len(), 146, "7300 ms of them");
        let told: Vec<_> = reports.into_iter().flat_map(|(_, arrivals)| arrivals).collect();
        assert_eq!(told.len(), truth.len(), "each once");
        let mut first = None;
        for (told, (seq, came)) in told.iter().zip(&truth) {
            assert_eq!((told.seq, told.received.is_some()), (*seq, came.is_some()));
            let (Some(received), Some((at, ecn))) = (told.received, came) else { continue };
            assert_eq!(told.ecn, if format == FeedbackFormat::Ccfb { *ecn } else { Ecn::NotCapable });
            let offset = received.as_nanos() as i64 - at.as_nanos() as i64;
            // A crystal's 50 ppm over 7.3 s are 365 µs.
            let off = offset.abs_diff(*first.get_or_insert(offset));
            assert!(off <= (error + 365) * 1_000, "{format:?}: off by {off} ns");
        }
        assert!(first.is_some_and(|offset| offset > 1_000_000_000), "another zero");
    }
}

#[test]
fn clocks_differ_in_zero_and_pace() {
    let clocks: Vec<_> = (0..100).map(|seed| Clock::new(&Seed::from_number(seed))).collect();
    let hour = Instant::from_millis(3_600_000);
    let paces: Vec<i64> = clocks
        .iter()
        .map(|clock| {
            clock.read(hour).as_nanos() as i64
                - clock.read(Instant::ZERO).as_nanos() as i64
                - 3_600_000_000_000
        })
        .collect();
    assert!(paces.iter().all(|pace| pace.abs() <= 3_600 * 50_000), "50 ppm at most");
    assert!(
        paces.iter().any(|&pace| pace > 3_600 * 30_000) && paces.iter().any(|&pace| pace < -3_600 * 30_000)
    );
    assert!(clocks.windows(2).all(|pair| pair[0].read(hour) != pair[1].read(hour)));
}

#[test]
fn nothing_arrives_nothing_is_reported() {
    let mut bench = Bench::new(setup(FeedbackFormat::Twcc), 1);
    bench.arrive(ms(10), media(0, 0, PacketClass::Padding, None), Ecn::NotCapable);
    bench.wait(ms(5_000));
    assert_eq!(bench.receiver.poll_timeout(), None);
    bench.arrive(ms(5_010), media(1, 1, PacketClass::Padding, None), Ecn::NotCapable);
    bench.wait(ms(9_000));
    let times: Vec<_> = bench.reports().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(60), ms(5_060)]);
}

#[test]
fn a_late_packet_is_reported_after_all() {
    let mut bench = Bench::new(setup(FeedbackFormat::Ccfb), 1);
    let sound = |seq| media(seq, seq, PacketClass::Audio, None);
    for (at, seq, ecn) in [
        (0, 0, Ecn::Capable1),
        (10, 2, Ecn::Capable1),
        (60, 1, Ecn::Capable1),
        (70, 1, Ecn::Congested), // twice, and marked on its other way
        (700, 3, Ecn::Capable1),
        (800, 4, Ecn::Capable1),
        (810, 0, Ecn::Capable1), // too late to be remembered
    ] {
        bench.arrive(ms(at), sound(seq), ecn);
    }
    bench.wait(ms(2_000));
    let told: Vec<Vec<(u16, Option<Ecn>)>> = bench
        .reports()
        .into_iter()
        .map(|(_, arrivals)| {
            arrivals.iter().map(|told| (told.seq.0, told.received.map(|_| told.ecn))).collect()
        })
        .collect();
    let came = Some(Ecn::Capable1);
    let expected = [
        vec![(0, came), (1, None), (2, came)],
        vec![(1, Some(Ecn::Congested)), (2, came)],
        vec![(3, came)],
        vec![(4, came)],
    ];
    assert_eq!(told, expected);
}

#[test]
fn pictures_are_told_complete_shown_and_lost() {
    let mut bench = Bench::new(setup(FeedbackFormat::Twcc), 1);
    for seq in (0..10).filter(|&seq| seq != 5) {
        bench.arrive(ms(seq / 2 * 20 + 30 + seq % 2), video(seq), Ecn::NotCapable);
    }
    bench.wait(ms(500));
    let flow = FLOW;
    let complete =
        |frame, at| (ms(at), Fact::FrameComplete { flow, frame, delay: lasting(31), repaired: false });
    let shown = |frame, at| (ms(at), Fact::FrameShown { flow, frame, delay: lasting(31) });
    let expected = [
        complete(0, 31),
        shown(0, 31),
        complete(1, 51),
        shown(1, 51),
        complete(3, 91),
        shown(3, 91),
        complete(4, 111),
        shown(4, 111),
        (ms(190), Fact::FrameLost { flow, frame: 2 }), // 100 ms after the next one began to come
    ];
    assert_eq!(bench.facts, expected);
    assert!(
        bench.sent.iter().all(|(_, rtcp)| matches!(rtcp, Rtcp::TransportFeedback(_))),
        "nothing is asked for"
    );
}

#[test]
fn what_is_lost_is_asked_for_and_what_was_repaired_says_so() {
    let mut bench = Bench::new(ReceiverSetup { repair: true, ..setup(FeedbackFormat::Twcc) }, 1);
    for seq in (0..8).filter(|&seq| seq != 3) {
        bench.arrive(ms(seq / 2 * 20 + 30 + seq % 2), video(seq), Ecn::NotCapable);
    }
    bench.arrive(
        ms(130),
        MediaPacket { transport_seq: 8, class: PacketClass::Repair, ..video(3) },
        Ecn::NotCapable,
    );
    bench.wait(ms(3_000));
    let asked: Vec<_> = bench
        .sent
        .iter()
        .filter_map(|(at, rtcp)| {
            if let Rtcp::Nack { media, lost, .. } = rtcp { Some((*at, *media, lost.clone())) } else { None }
        })
        .collect();
    assert_eq!(asked, [(ms(71), PICTURES_SSRC, vec![SeqNo(3)])], "with the second newer packet");
    let repaired: Vec<_> = bench
        .facts
        .iter()
        .filter_map(|(at, fact)| match fact {
            Fact::FrameComplete { frame, repaired: true, .. } => Some((*at, *frame)),
            _ => None,
        })
        .collect();
    assert_eq!(repaired, [(ms(130), 1)]);
    assert!(!bench.facts.iter().any(|(_, fact)| matches!(fact, Fact::FrameLost { .. })));
    assert_eq!(bench.receiver.nack.and_then(|nack| nack.rtt), Some(lasting(59)), "the round trip was seen");
}

#[test]
fn a_chained_picture_that_stays_lost_makes_a_freeze_and_a_key_frame_request() {
    let mut bench =
        Bench::new(ReceiverSetup { decoding: Decoding::Chained, ..setup(FeedbackFormat::Ccfb) }, 1);
    for seq in (0..40).filter(|&seq| seq != 5) {
        let mut media = video(seq);
        if let Some(part) = &mut media.part {
            part.key |= part.frame == 16;
        }
        bench.arrive(ms(seq / 2 * 20 + 30 + seq % 2), media, Ecn::NotCapable);
    }
    let asked: Vec<_> = bench
        .sent
        .iter()
        .filter(|(_, rtcp)| *rtcp == Rtcp::Pli { sender: OWN_SSRC, media: PICTURES_SSRC })
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(asked, [ms(190)]);
    let froze: Vec<_> = bench
        .facts
        .iter()
        .filter_map(
            |(at, fact)| if let Fact::Froze { length, .. } = fact { Some((*at, *length)) } else { None },
        )
        .collect();
    assert_eq!(froze, [(ms(351), lasting(300))], "from picture 1 to picture 16");
    let shown = bench.facts.iter().filter(|(_, fact)| matches!(fact, Fact::FrameShown { .. })).count();
    assert_eq!(shown, 2 + 4);
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let run = |seed| {
        let mut bench = Bench::new(ReceiverSetup { repair: true, ..setup(FeedbackFormat::Ccfb) }, seed);
        for seq in (0..500).filter(|seq| seq % 17 != 0) {
            bench.arrive(ms(seq * 10 + 30), video(seq), Ecn::NotCapable);
        }
        (bench.sent, bench.facts)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2), "the clock comes from the seed");
}
