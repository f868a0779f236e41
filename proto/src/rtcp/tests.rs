//! Tables for compounds: what is read, split, skipped and refused.

use super::*;

const SENDER: Ssrc = Ssrc(0x0102_0304);
const MEDIA: Ssrc = Ssrc(0x0506_0708);

fn block(lost: i32) -> ReportBlock {
    ReportBlock {
        ssrc: MEDIA,
        fraction_lost: 128,
        lost,
        highest_seq: 0x0001_fffe,
        jitter: 90,
        last_sr: 0x1111_2222,
        delay_since_last_sr: 65_536,
    }
}

fn nack(lost: &[u16]) -> Rtcp {
    Rtcp::Nack { sender: SENDER, media: MEDIA, lost: lost.iter().copied().map(SeqNo).collect() }
}

#[test]
fn a_compound_of_everything_comes_back() {
    let packets = [
        Rtcp::SenderReport(SenderReport {
            ssrc: SENDER,
            ntp: NtpTime::from_bits(0x1234_5678_9abc_def0),
            rtp_timestamp: 0xffff_fff0,
            packets: 7,
            octets: 8_000,
            reports: vec![block(3), block(-3)],
        }),
        Rtcp::ReceiverReport(ReceiverReport { ssrc: SENDER, reports: vec![] }),
        Rtcp::SourceDescription { ssrc: SENDER, cname: "seat-1".into() },
        nack(&[1, 2, 18, 40]),
        Rtcp::Pli { sender: SENDER, media: MEDIA },
        Rtcp::Fir { sender: SENDER, requests: vec![(MEDIA, 9), (SENDER, 255)] },
        Rtcp::TransportFeedback(TransportFeedback {
            sender: SENDER,
            media: MEDIA,
            feedback_count: 3,
            base: SeqNo(65_535),
            reference_time: 0xff_ffff,
            arrivals: vec![Some(250), None, Some(100_000), Some(-250)],
        }),
        Rtcp::CongestionFeedback(CongestionFeedback {
            sender: SENDER,
            streams: vec![
                ccfb::StreamReport { media: MEDIA, base: SeqNo(65_535), packets: vec![None; 3] },
                ccfb::StreamReport { media: SENDER, base: SeqNo(7), packets: vec![] },
            ],
            timestamp: 0x1234_5678,
        }),
        Rtcp::Bye { ssrcs: vec![SENDER, MEDIA] },
    ];
    let datagram = write(&packets);
    assert_eq!(parse(&datagram).as_deref(), Ok(&packets[..]));
    for packet in packets {
        assert_eq!(parse(&write(std::slice::from_ref(&packet))), Ok(vec![packet]), "alone (RFC 5506)");
    }
}

#[test]
fn lost_packets_are_counted_in_24_bits_with_a_sign() {
    for (name, lost, wire, read) in [
        ("none", 0, [0, 0, 0], 0),
        ("duplicates", -1, [0xff, 0xff, 0xff], -1),
        ("the most", 0x7f_ffff, [0x7f, 0xff, 0xff], 0x7f_ffff),
        ("more", i32::MAX, [0x7f, 0xff, 0xff], 0x7f_ffff),
        ("the least", -0x80_0000, [0x80, 0, 0], -0x80_0000),
        ("less", i32::MIN, [0x80, 0, 0], -0x80_0000),
    ] {
        let datagram =
            write(&[Rtcp::ReceiverReport(ReceiverReport { ssrc: SENDER, reports: vec![block(lost)] })]);
        assert_eq!(datagram[13..16], wire, "{name}");
        let reports = vec![block(read)];
        assert_eq!(
            parse(&datagram),
            Ok(vec![Rtcp::ReceiverReport(ReceiverReport { ssrc: SENDER, reports })]),
            "{name}"
        );
    }
}

#[test]
fn lost_packets_are_paired_across_the_wrap() {
    for (name, lost, pairs) in [
        ("none", &[][..], &[][..]),
        ("one", &[7], &[(7, 0)]),
        ("neighbors", &[7, 8, 23], &[(7, 0x8001)]),
        ("the first that is too far", &[7, 24], &[(7, 0), (24, 0)]),
        ("over the wrap", &[65_534, 65_535, 0, 14], &[(65_534, 0x8003)]),
        ("twice", &[7, 7, 8, 8], &[(7, 1)]),
        ("backwards", &[8, 7], &[(8, 0), (7, 0)]),
    ] {
        let datagram = write(&[nack(lost)]);
        let wire: Vec<(u16, u16)> = datagram
            .get(12..)
            .unwrap_or_default()
            .chunks(4)
            .map(|pair| (u16::from_be_bytes([pair[0], pair[1]]), u16::from_be_bytes([pair[2], pair[3]])))
            .collect();
        assert_eq!(wire, pairs, "{name}");
    }
}

#[test]
fn what_does_not_fit_one_packet_is_several() {
    let lost: Vec<u16> = (0..600).map(|at| at * 17).collect();
    let ssrcs: Vec<Ssrc> = (0..70).map(Ssrc).collect();
    let requests: Vec<(Ssrc, u8)> = (0..300).map(|ssrc| (Ssrc(ssrc), ssrc as u8)).collect();
    let sender_report = SenderReport {
        ssrc: SENDER,
        ntp: NtpTime::from_bits(1),
        rtp_timestamp: 2,
        packets: 3,
        octets: 4,
        reports: vec![block(0); 70],
    };
    for (name, packet, counts) in [
        ("a sender report", Rtcp::SenderReport(sender_report), &[31, 31, 8][..]),
        (
            "a receiver report",
            Rtcp::ReceiverReport(ReceiverReport { ssrc: SENDER, reports: vec![block(0); 62] }),
            &[31, 31],
        ),
        ("a goodbye", Rtcp::Bye { ssrcs }, &[31, 31, 8]),
        ("a nack", nack(&lost), &[250, 250, 100]),
        ("a fir", Rtcp::Fir { sender: SENDER, requests }, &[127, 127, 46]),
        ("a goodbye to nobody", Rtcp::Bye { ssrcs: vec![] }, &[]),
        ("a nack of nothing", nack(&[]), &[]),
        ("a fir to nobody", Rtcp::Fir { sender: SENDER, requests: vec![] }, &[]),
    ] {
        let datagram = write(&[packet]);
        let parsed = if datagram.is_empty() { vec![] } else { parse(&datagram).expect(name) };
        let got: Vec<usize> = parsed
            .iter()
            .map(|packet| match packet {
                Rtcp::SenderReport(report) => report.reports.len(),
                Rtcp::ReceiverReport(report) => report.reports.len(),
                Rtcp::Bye { ssrcs } => ssrcs.len(),
                Rtcp::Nack { lost, .. } => lost.len(),
                Rtcp::Fir { requests, .. } => requests.len(),
                Rtcp::SourceDescription { .. }
                | Rtcp::Pli { .. }
                | Rtcp::TransportFeedback(_)
                | Rtcp::CongestionFeedback(_) => 0,
            })
            .collect();
        assert_eq!(got, counts, "{name}");
    }
}

#[test]
fn other_packets_are_skipped_and_their_neighbors_are_not() {
    let pli = write(&[Rtcp::Pli { sender: SENDER, media: MEDIA }]);
    for (name, other) in [
        (
            "remb",
            &[0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 3, 4, 5, 0, 0, 0, 2][..],
        ),
        ("a remb that rtc-rtcp refuses", &[0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, b'L', b'N', b'T', b'F']),
        ("sli, which rtc-rtcp refuses", &[0x82, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]),
        ("an extended report of nonsense", &[0x80, 207, 0, 2, 0, 0, 0, 1, 42, 0, 255, 255]),
        ("application defined", &[0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e']),
        ("a type of the future", &[0x80, 250, 0, 0]),
        ("a goodbye to nobody", &[0x80, 203, 0, 0]),
        ("a description of nobody", &[0x80, 202, 0, 0]),
    ] {
        let datagram = [other, &pli, other].concat();
        assert_eq!(parse(&datagram), Ok(vec![Rtcp::Pli { sender: SENDER, media: MEDIA }]), "{name}");
        assert_eq!(parse(other), Ok(vec![]), "{name}, alone");
    }
}

#[test]
fn padding_is_not_taken_for_lost_packets() {
    let mut datagram = write(&[nack(&[7])]);
    datagram.extend_from_slice(&[0, 0, 0, 4]);
    datagram[0] |= 0x20;
    datagram[3] += 1;
    assert_eq!(parse(&datagram), Ok(vec![nack(&[7])]));
}

#[test]
fn the_reason_of_a_goodbye_is_passed_over() {
    let bye = [0x81, 203, 0, 2, 1, 2, 3, 4, 3, b'b', b'y', b'e'];
    assert_eq!(parse(&bye), Ok(vec![Rtcp::Bye { ssrcs: vec![SENDER] }]));
}

#[test]
fn datagrams_that_lie_are_refused() {
    let rr = write(&[Rtcp::ReceiverReport(ReceiverReport { ssrc: SENDER, reports: vec![block(0)] })]);
    let mut counts_two = rr.clone();
    counts_two[0] += 1;
    let lost: Vec<u8> =
        [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0x1f, 0xff, 0, 0, 0, 0, 0x1f, 0xff, 0, 0].into();
    let malformed = |kind| RtcpError::Malformed { at: 0, kind };
    for (name, datagram, error) in [
        ("nothing", vec![], RtcpError::Truncated { at: 0, needed: 4, available: 0 }),
        (
            "a byte behind",
            [&rr[..], &[0x80]].concat(),
            RtcpError::Truncated { at: 32, needed: 4, available: 1 },
        ),
        ("a report more than there is", counts_two, malformed(201)),
        ("a sender report without a sender", vec![0x80, 200, 0, 1, 0, 0, 0, 1], malformed(200)),
        ("a goodbye to more", vec![0x82, 203, 0, 1, 0, 0, 0, 1], malformed(203)),
        ("a goodbye with half a reason", vec![0x81, 203, 0, 2, 0, 0, 0, 1, 9, 0, 0, 0], malformed(203)),
        ("a nack of nothing", vec![0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2], malformed(205)),
        ("half a pli", vec![0x81, 206, 0, 1, 0, 0, 0, 1], malformed(206)),
        ("half a request", vec![0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3], malformed(206)),
        ("a description without an end", vec![0x81, 202, 0, 1, 0, 0, 0, 1], malformed(202)),
        ("feedback without a fixed part", vec![0x8f, 205, 0, 0], TwccError::Truncated(0).into()),
        ("too many packets", [0x80, 250, 0, 0].repeat(PACKETS_MAX + 1), RtcpError::TooMany),
        ("feedback of too many packets together", lost.repeat(2), TwccError::TooMany(2 * 8191).into()),
        ("longer than a datagram", vec![0; 65_536], RtcpError::TooLong(65_536)),
    ] {
        assert_eq!(parse(&datagram), Err(error), "{name}");
    }
    assert_eq!(parse(&[0x80, 250, 0, 0].repeat(PACKETS_MAX)), Ok(vec![]), "just not too many");
    assert!(parse(&lost).is_ok(), "just not too many");
}

/// From 65540 bytes on, rtc-rtcp overflows 16 bits: it panics where overflow is checked. No datagram is so long.
#[test]
fn regression_a_fir_as_long_as_a_datagram() {
    let fir = |length: usize| {
        let mut datagram = vec![0; length];
        datagram[..2].copy_from_slice(&[0x84, 206]);
        datagram[2..4].copy_from_slice(&((length / 4 - 1) as u16).to_be_bytes());
        parse(&datagram)
    };
    let longest = fir(65_532).expect("whole entries");
    assert!(matches!(&longest[..], [Rtcp::Fir { requests, .. }] if requests.len() == 8_190));
    assert!(matches!(fir(65_528), Err(RtcpError::Malformed { at: 0, kind: 206 })), "half an entry");
    assert!(matches!(fir(65_540), Err(RtcpError::TooLong(65_540))));
}
