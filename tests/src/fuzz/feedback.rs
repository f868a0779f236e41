//! Congestion control against whatever feedback says: bytes are a program of what a connection sends and hears.
//!
//! In: a program, four bytes of settings and then steps of an opcode with its operands; what is missing is zero. Out:
//! nothing, or a panic where a claim of [`Connection`] fails. Time: the program's own. Limit: `STEPS_MAX` steps and
//! `DEPARTURES_MAX` packets, so that a batch of programs takes far less than a second.

mod connection;

use std::time::Duration;

use cc::estimator::hybrid::Settings;
use cc::history::Departure;
use cc::{Demand, PacketClass, ProbeCluster, ProbeId, RateLimits};
use proto::feedback::{Arrival, Ecn};
use proto::rtcp::{self, CongestionFeedback, Rtcp, TransportFeedback};
use proto::rtp::{SeqNo, Ssrc};
use proto::scene::Scene;
use proto::time::Instant;
use proto::units::{Bitrate, DataSize};

use self::connection::{Connection, Filler, Path};

/// Programs of several minutes come to that, most of it within [`Op::Live`].
const STEPS_MAX: usize = 500;
const DEPARTURES_MAX: usize = 4_000;

/// IPv4 and UDP, in bytes.
const HEADERS: u16 = 28;

const CLASSES: [PacketClass; 5] =
    [PacketClass::Audio, PacketClass::Repair, PacketClass::Base, PacketClass::Video, PacketClass::Padding];
const MARKS: [Ecn; 4] = [Ecn::NotCapable, Ecn::Capable0, Ecn::Capable1, Ecn::Congested];
const FILLERS: [Filler; 4] = [Filler::AsAsked, Filler::Nothing, Filler::Small, Filler::Large];

/// The rates of a downlink, of a phone, of one who may not choose, and of a fast link.
const LIMITS: [RateLimits; 4] = [
    RateLimits { min: Bitrate::kbps(60), start: Bitrate::mbps(1), max: Bitrate::mbps(25) },
    RateLimits { min: Bitrate::kbps(30), start: Bitrate::kbps(300), max: Bitrate::kbps(2_500) },
    RateLimits { min: Bitrate::kbps(500), start: Bitrate::kbps(500), max: Bitrate::kbps(500) },
    RateLimits { min: Bitrate::kbps(100), start: Bitrate::mbps(5), max: Bitrate::mbps(100) },
];

/// What a program is made of; its byte is its place, modulo their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// A packet leaves past the pacer: flags (class, [`PROBE`], [`LIMITED`]), 16 bits of size.
    Leave,
    /// Packets wait in the pacer: class, count, 16 bits of size.
    Media,
    /// Time passes: 16 bits of 8 µs; odd ones are those of a shell that oversleeps every timer.
    Pass,
    /// A report of what a path has carried: delay in 4 ms, capacity in 40 kbit/s, which of eight packets are lost, buffer in 4 ms.
    Report,
    /// Pictures, time and reports of a path: rounds of 33 ms, then as for [`Op::Report`].
    Live,
    /// A report of anything: count, then for each [`Story`] four bytes.
    Rumor,
    /// A datagram of RTCP: 16 bits of length, the bytes.
    Datagram,
    /// What the sender could make use of: kind, twice 16 bits of kbit/s.
    Demand,
    /// A probe for the pacer: 16 bits of kbit/s, milliseconds, packets; none of either calls all off.
    Probe,
    /// People do something else: which.
    Scene,
    /// Another path.
    Route,
}

const OPS: [Op; 11] = [
    Op::Leave,
    Op::Media,
    Op::Pass,
    Op::Report,
    Op::Live,
    Op::Rumor,
    Op::Datagram,
    Op::Demand,
    Op::Probe,
    Op::Scene,
    Op::Route,
];

/// The flags of [`Op::Leave`].
const PROBE: u8 = 0x80;
const LIMITED: u8 = 0x40;

/// What a [`Op::Rumor`] says of a packet: flags, how far behind the newest, 16 bits of time.
///
/// The flags, from the lowest bits: two of [`WHENS`], two of its unit, two of marks, said twice, far behind.
#[derive(Debug, Clone, Copy)]
struct Story {
    flags: u8,
    behind: u8,
    time: u16,
}

const WHENS: [fn(Instant, Duration) -> Option<Instant>; 4] = [
    |_, _| None,
    |clock, time| Some(clock + time),
    |clock, time| Some(clock - time),
    |_, time| Some(if time.is_zero() { Instant::ZERO } else { Instant::from_nanos(u64::MAX) }),
];
const UNITS: [Duration; 4] = [
    Duration::from_micros(1),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_secs(3_600),
];
const TWICE: u8 = 0x40;
const FAR: u8 = 0x80;

/// The bytes that are left of a program.
struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn kbps(&mut self) -> Bitrate {
        Bitrate::kbps(u64::from(self.word()))
    }

    /// No packet is smaller than its IP and UDP headers.
    fn size(&mut self, most: u16) -> DataSize {
        DataSize::bytes(u64::from(self.word().clamp(HEADERS, most)))
    }

    /// One of several.
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.word()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    fn path(&mut self) -> Path {
        Path {
            delay: Duration::from_millis(4) * u32::from(self.byte()),
            capacity: Bitrate::kbps(40) * u64::from(self.byte()),
            lost: self.byte(),
            buffer: Duration::from_millis(4) * u32::from(self.byte()),
        }
    }
}

/// Runs a program to its end, or until it has sent enough.
pub(super) fn run(input: &[u8]) {
    // Whatever it has heard, its timers come to an end when nothing more happens.
    play(input).rest();
}

fn play(input: &[u8]) -> Connection {
    let mut program = Program(input);
    let scene = program.one_of(&Scene::ALL);
    let limits = program.one_of(&LIMITS);
    let weight = f64::from(program.byte()) / 16.0;
    let filler = program.one_of(&FILLERS);
    let mut connection = Connection::new(Settings { limits, scene, weight }, filler);
    for _ in 0..STEPS_MAX {
        if program.0.is_empty() || connection.departures() > DEPARTURES_MAX {
            break;
        }
        step(&mut program, &mut connection);
        connection.check();
    }
    connection
}

fn step(program: &mut Program<'_>, connection: &mut Connection) {
    match program.one_of(&OPS) {
        Op::Leave => {
            let flags = program.byte();
            let departure = Departure {
                size: program.size(u16::MAX),
                class: CLASSES[usize::from(flags) % CLASSES.len()],
                probe: (flags & PROBE != 0).then_some(ProbeId(u32::from(flags))),
                app_limited: flags & LIMITED != 0,
            };
            connection.leave(departure);
        }
        Op::Media => {
            let (class, count) = (program.one_of(&CLASSES), program.byte());
            connection.enqueue(class, usize::from(count), program.size(1_500));
        }
        Op::Pass => {
            let length = program.word();
            let time = (Duration::from_micros(8) * u32::from(length)).min(Duration::from_millis(500));
            if length.is_multiple_of(2) { connection.pass(time) } else { connection.oversleep(time) }
        }
        Op::Report => {
            let path = program.path();
            connection.report(path);
        }
        Op::Live => {
            let (rounds, path) = (program.byte(), program.path());
            for _ in 0..rounds {
                if connection.departures() > DEPARTURES_MAX {
                    break;
                }
                connection.live(path);
                connection.check();
            }
        }
        Op::Rumor => rumor(program, connection),
        Op::Datagram => connection.handle_datagram(program.bytes()),
        Op::Demand => {
            let kind = program.byte();
            let (current, next) = (program.kbps(), program.kbps());
            connection.set_demand(match kind % 4 {
                0 => Demand::Elastic,
                1 => Demand::Steps { current, next: None },
                2 => Demand::Steps { current, next: Some(current + next) },
                _ => Demand::Steps { current, next: Some(Bitrate::MAX) },
            });
        }
        Op::Probe => probe(program, connection),
        Op::Scene => connection.set_scene(program.one_of(&Scene::ALL)),
        Op::Route => connection.handle_route_change(),
    }
}

fn rumor(program: &mut Program<'_>, connection: &mut Connection) {
    let count = program.byte() % 64;
    let (newest, clock) = (connection.newest(), connection.receiver_clock());
    let mut arrivals = Vec::new();
    for _ in 0..count {
        let story = Story { flags: program.byte(), behind: program.byte(), time: program.word() };
        let place = |shift: u8| usize::from(story.flags >> shift & 3);
        let behind = u16::from(story.behind) * if story.flags & FAR == 0 { 1 } else { 257 };
        let arrival = Arrival {
            seq: SeqNo(newest.0.wrapping_sub(behind)),
            received: WHENS[place(0)](clock, UNITS[place(2)] * u32::from(story.time)),
            ecn: MARKS[place(4)],
        };
        arrivals.push(arrival);
        if story.flags & TWICE != 0 {
            arrivals.push(arrival);
        }
    }
    connection.handle_arrivals(&arrivals);
}

fn probe(program: &mut Program<'_>, connection: &mut Connection) {
    let (rate, millis, packets) = (program.kbps(), program.byte(), program.byte());
    if millis == 0 && packets == 0 {
        return connection.abort_probes();
    }
    let duration = Duration::from_millis(u64::from(millis));
    connection.probe(|id| ProbeCluster { id, rate, duration, packets: u32::from(packets) });
}

/// Programs of connections as they are: good ones, each kind of bad ones, and each way to hear of them.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let code = |op: Op| OPS.iter().position(|other| *other == op).expect("all are in it") as u8;
    let live = |rounds: u8, path: [u8; 4]| [&[code(Op::Live), rounds][..], &path].concat();
    let pass = |millis: u16| {
        let [high, low] = (millis * 125).to_be_bytes();
        vec![code(Op::Pass), high, low & !1]
    };
    let pk = [2, 0, 16, 0];
    let (good, narrow, lossy) = ([10, 60, 0, 0], [10, 20, 0, 0], [10, 60, 0b10, 0]);
    let demand = |kind: u8, current: u16, next: u16| {
        [&[code(Op::Demand), kind][..], &current.to_be_bytes(), &next.to_be_bytes()].concat()
    };
    let media =
        |class: u8, count: u8| [&[code(Op::Media), class, count][..], &1_200_u16.to_be_bytes()].concat();
    let probe = [&[code(Op::Probe)][..], &3_000_u16.to_be_bytes(), &[15, 5]].concat();
    let leave = |flags: u8| [&[code(Op::Leave), flags][..], &1_100_u16.to_be_bytes()].concat();
    let datagram =
        |bytes: &[u8]| [&[code(Op::Datagram)][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let stories = [[1, 0, 0, 100], [0x26, 3, 0, 5], [0, 4, 0, 0], [0x41, 5, 1, 0], [0x8d, 9, 0, 1]].concat();
    let rumor = [&[code(Op::Rumor), 5][..], &stories].concat();
    // Packets each 5 ms, and each one's own report 30 ms later.
    let told = |report: &dyn Fn(u64) -> Vec<Rtcp>| {
        let heard = |number: u64| number.checked_sub(6).map(report).unwrap_or_default();
        (0..60)
            .flat_map(|number| [leave(3), pass(5), datagram(&rtcp::write(&heard(number)))].concat())
            .collect()
    };
    let by_hand: Vec<Vec<u8>> =
        (0..40).flat_map(|_| [media(3, 5), pass(34), [&[code(Op::Report)][..], &good].concat()]).collect();
    let programs = [
        [live(60, good), live(60, narrow), live(60, good)].concat(),
        [live(60, good), live(60, lossy), live(60, [10, 60, 0xff, 0]), pass(500).repeat(10), live(60, good)]
            .concat(),
        [demand(1, 800, 0), live(60, good), demand(2, 800, 1_000), live(60, good), live(60, narrow)].concat(),
        [
            live(30, good),
            vec![code(Op::Route)],
            live(30, [80, 60, 0, 0]),
            vec![code(Op::Scene), 0],
            live(9, good),
        ]
        .concat(),
        by_hand.concat(),
        [live(20, good), media(3, 9), probe, pass(60), media(0, 9), media(1, 9), pass(60), live(20, good)]
            .concat(),
        [leave(3).repeat(12), pass(40), leave(PROBE), leave(LIMITED), pass(40), rumor.clone(), pass(500)]
            .concat(),
        [live(40, narrow), rumor.repeat(9), live(9, good), media(3, 255).repeat(10), pass(500).repeat(7)]
            .concat(),
        [live(100, [10, 40, 0, 2]), live(255, [10, 40, 0, 2])].concat(),
        [live(90, good), live(200, [45, 30, 0, 0])].concat(),
        told(&|number| {
            let at = [(number != 9).then(|| Instant::from_millis(number * 5 + 20))];
            let report = TransportFeedback::reports(Ssrc(1), Ssrc(2), 0, SeqNo(number as u16), &at);
            report.into_iter().map(Rtcp::TransportFeedback).collect()
        }),
        told(&|number| {
            let (at, now) = (Instant::from_millis(number * 5 + 20), Instant::from_millis(number * 5 + 25));
            let arrival = [(number % 7 != 0).then_some((at, MARKS[number as usize % MARKS.len()]))];
            let report = CongestionFeedback::reports(Ssrc(1), Ssrc(2), now, SeqNo(number as u16), &arrival);
            report.into_iter().map(Rtcp::CongestionFeedback).collect()
        }),
    ];
    let phone = [2, 1, 16, 2];
    let near_most = [live(100, [10, 62, 0, 2]), live(255, [10, 62, 0, 2])].concat();
    let of_phone = [near_most, programs[1].clone()].map(|program| [&phone[..], &program].concat());
    programs.iter().map(|program| [&pk[..], program].concat()).chain(of_phone).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sensible_programs_are_heard_and_lead_through_every_phase() {
        let mut phases: BTreeSet<&str> = BTreeSet::new();
        for (place, program) in corpus().iter().enumerate() {
            let connection = play(program);
            assert!(program.len() < 6_000 && connection.departures() < DEPARTURES_MAX, "program {place}");
            assert!(connection.heard() > 3, "program {place}");
            phases.extend(connection.phases().iter().copied());
        }
        let all = [
            "climb",
            "compete",
            "cruise",
            "drain",
            "hold",
            "loss-test",
            "probe",
            "shallow",
            "startup",
            "starved",
        ];
        assert_eq!(phases, BTreeSet::from(all));
    }

    #[test]
    fn what_is_missing_of_a_program_is_zero() {
        run(&[]);
        assert_eq!(play(&[0; 4]).departures(), 0);
        assert_eq!(play(&[0, 0, 0, 0, 0]).departures(), 1);
    }
}
