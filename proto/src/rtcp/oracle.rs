//! Properties with rtc-rtcp as the oracle: it reads what we write, we read what it writes, and where both accept
//! arbitrary bytes they agree.
//!
//! Where they differ on purpose, rtc-rtcp
//! - takes padding for contents, so packets with padding are compared only as written by it or us,
//! - takes items of RFC 7941 for the end of a source description's chunk,
//! - refuses feedback of lost packets only, and takes symbols beyond the status count for packets,
//! - refuses a compound for one packet of a type that we skip.

use ::rtcp::Packet;
use ::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use ::rtcp::transport_feedbacks::cc_feedback_report::{
    CcFeedbackMetricBlock, CcFeedbackReport, CcFeedbackReportBlock, Ecn as TheirEcn,
};
use ::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::ccfb::{ArrivalOffset, Reception, StreamReport};
use super::*;
use crate::feedback::Ecn;

/// A datagram as rtc-rtcp reads it, in our words.
fn theirs(datagram: &[u8]) -> Option<Vec<Rtcp>> {
    let packets = ::rtcp::packet::unmarshal(&mut &datagram[..]).ok()?;
    Some(packets.iter().flat_map(|packet| translated(packet.as_ref())).collect())
}

fn translated(packet: &dyn Packet) -> Vec<Rtcp> {
    let any = packet.as_any();
    if let Some(report) = any.downcast_ref::<::rtcp::sender_report::SenderReport>() {
        vec![Rtcp::SenderReport(SenderReport {
            ssrc: Ssrc(report.ssrc),
            ntp: NtpTime::from_bits(report.ntp_time),
            rtp_timestamp: report.rtp_time,
            packets: report.packet_count,
            octets: report.octet_count,
            reports: report.reports.iter().map(translated_block).collect(),
        })]
    } else if let Some(report) = any.downcast_ref::<::rtcp::receiver_report::ReceiverReport>() {
        let reports = report.reports.iter().map(translated_block).collect();
        vec![Rtcp::ReceiverReport(ReceiverReport { ssrc: Ssrc(report.ssrc), reports })]
    } else if let Some(description) = any.downcast_ref::<SourceDescription>() {
        let cname = |chunk: &SourceDescriptionChunk| {
            let item = chunk.items.iter().find(|item| item.sdes_type == SdesType::SdesCname)?;
            let cname = String::from_utf8_lossy(&item.text).into_owned();
            Some(Rtcp::SourceDescription { ssrc: Ssrc(chunk.source), cname })
        };
        description.chunks.iter().filter_map(cname).collect()
    } else if let Some(bye) = any.downcast_ref::<Goodbye>() {
        let ssrcs: Vec<_> = bye.sources.iter().copied().map(Ssrc).collect();
        if ssrcs.is_empty() { vec![] } else { vec![Rtcp::Bye { ssrcs }] }
    } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
        let lost = nack.nacks.iter().flat_map(NackPair::packet_list).map(SeqNo).collect();
        vec![Rtcp::Nack { sender: Ssrc(nack.sender_ssrc), media: Ssrc(nack.media_ssrc), lost }]
    } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
        vec![Rtcp::Pli { sender: Ssrc(pli.sender_ssrc), media: Ssrc(pli.media_ssrc) }]
    } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
        let requests = fir.fir.iter().map(|entry| (Ssrc(entry.ssrc), entry.sequence_number)).collect();
        vec![Rtcp::Fir { sender: Ssrc(fir.sender_ssrc), requests }]
    } else if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
        vec![Rtcp::TransportFeedback(translated_feedback(feedback))]
    } else if let Some(feedback) = any.downcast_ref::<CcFeedbackReport>() {
        vec![Rtcp::CongestionFeedback(CongestionFeedback {
            sender: Ssrc(feedback.sender_ssrc),
            streams: feedback.report_blocks.iter().map(translated_stream).collect(),
            timestamp: feedback.report_timestamp,
        })]
    } else {
        vec![]
    }
}

fn translated_block(report: &ReceptionReport) -> ReportBlock {
    let sign = if report.total_lost & 0x80_0000 == 0 { 0 } else { -0x100_0000 };
    ReportBlock {
        ssrc: Ssrc(report.ssrc),
        fraction_lost: report.fraction_lost,
        lost: report.total_lost as i32 + sign,
        highest_seq: report.last_sequence_number,
        jitter: report.jitter,
        last_sr: report.last_sender_report,
        delay_since_last_sr: report.delay,
    }
}

fn translated_feedback(feedback: &TransportLayerCc) -> TransportFeedback {
    let symbols = feedback.packet_chunks.iter().flat_map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; usize::from(run.run_length)],
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    });
    let mut deltas = feedback.recv_deltas.iter();
    let mut now = 0;
    let arrivals = symbols.take(usize::from(feedback.packet_status_count)).map(|symbol| match symbol {
        SymbolTypeTcc::PacketNotReceived | SymbolTypeTcc::PacketReceivedWithoutDelta => None,
        SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
            now += deltas.next().expect("one for each that arrived").delta;
            Some(now)
        }
    });
    TransportFeedback {
        sender: Ssrc(feedback.sender_ssrc),
        media: Ssrc(feedback.media_ssrc),
        feedback_count: feedback.fb_pkt_count,
        base: SeqNo(feedback.base_sequence_number),
        reference_time: feedback.reference_time,
        arrivals: arrivals.collect(),
    }
}

fn translated_stream(block: &CcFeedbackReportBlock) -> StreamReport {
    let reception = |block: &CcFeedbackMetricBlock| Reception {
        ecn: match block.ecn {
            TheirEcn::NotEct => Ecn::NotCapable,
            TheirEcn::Ect1 => Ecn::Capable1,
            TheirEcn::Ect0 => Ecn::Capable0,
            TheirEcn::Ce => Ecn::Congested,
        },
        offset: match block.arrival_time_offset {
            0x1ffe => ArrivalOffset::TooLong,
            0x1fff => ArrivalOffset::Unknown,
            ticks => ArrivalOffset::Ticks(ticks),
        },
    };
    StreamReport {
        media: Ssrc(block.media_ssrc),
        base: SeqNo(block.begin_sequence),
        packets: block.metric_blocks.iter().map(|block| block.received.then(|| reception(block))).collect(),
    }
}

fn ssrc() -> impl Strategy<Value = Ssrc> {
    any::<u32>().prop_map(Ssrc)
}

fn blocks() -> impl Strategy<Value = Vec<ReportBlock>> {
    let block = (ssrc(), any::<u8>(), -0x80_0000..=0x7f_ffff_i32, any::<[u32; 4]>()).prop_map(
        |(ssrc, fraction_lost, lost, [highest_seq, jitter, last_sr, delay_since_last_sr])| ReportBlock {
            ssrc,
            fraction_lost,
            lost,
            highest_seq,
            jitter,
            last_sr,
            delay_since_last_sr,
        },
    );
    vec(block, 0..=COUNT_MAX)
}

/// Sequence numbers in the order in which a NACK says them: each once, not far ahead of the one before.
fn lost() -> impl Strategy<Value = Vec<SeqNo>> {
    (any::<u16>(), vec(1..40_u16, 1..100)).prop_map(|(start, steps)| {
        steps
            .into_iter()
            .scan(SeqNo(start), |seq, step| {
                *seq = seq.plus(step);
                Some(*seq)
            })
            .collect()
    })
}

/// Arrivals of whole ticks, with runs of lost ones, small steps and a few large ones either way.
fn arrivals() -> impl Strategy<Value = Vec<Option<i64>>> {
    let step = prop_oneof![
        4 => Just(None),
        8 => (0..=255_i64).prop_map(Some),
        1 => (-32_768..=32_767_i64).prop_map(Some),
    ];
    let repeated = (step, prop_oneof![Just(1_usize), 1..40_usize]);
    vec(repeated, 0..40).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .flat_map(|(step, times)| std::iter::repeat_n(step, times))
            .map(|step| {
                step.map(|step| {
                    now += step * 250;
                    now
                })
            })
            .collect()
    })
}

fn feedback() -> impl Strategy<Value = TransportFeedback> {
    (ssrc(), ssrc(), any::<u8>(), any::<u16>(), 0..=0xff_ffff_u32, arrivals()).prop_map(
        |(sender, media, feedback_count, base, reference_time, arrivals)| TransportFeedback {
            sender,
            media,
            feedback_count,
            base: SeqNo(base),
            reference_time,
            arrivals,
        },
    )
}

fn congestion_feedback() -> impl Strategy<Value = CongestionFeedback> {
    let ecn =
        prop_oneof![Just(Ecn::NotCapable), Just(Ecn::Capable0), Just(Ecn::Capable1), Just(Ecn::Congested)];
    let offset = prop_oneof![
        8 => (0..=0x1ffd_u16).prop_map(ArrivalOffset::Ticks),
        1 => Just(ArrivalOffset::TooLong),
        1 => Just(ArrivalOffset::Unknown),
    ];
    let reception = proptest::option::of((ecn, offset).prop_map(|(ecn, offset)| Reception { ecn, offset }));
    let stream = (ssrc(), any::<u16>(), vec(reception, 0..40))
        .prop_map(|(media, base, packets)| StreamReport { media, base: SeqNo(base), packets });
    (ssrc(), vec(stream, 0..4), any::<u32>()).prop_map(|(sender, streams, timestamp)| CongestionFeedback {
        sender,
        streams,
        timestamp,
    })
}

fn packet() -> impl Strategy<Value = Rtcp> {
    prop_oneof![
        (ssrc(), any::<u64>(), any::<[u32; 3]>(), blocks()).prop_map(
            |(ssrc, ntp, [rtp_timestamp, packets, octets], reports)| {
                let ntp = NtpTime::from_bits(ntp);
                Rtcp::SenderReport(SenderReport { ssrc, ntp, rtp_timestamp, packets, octets, reports })
            }
        ),
        (ssrc(), blocks()).prop_map(|(ssrc, reports)| Rtcp::ReceiverReport(ReceiverReport { ssrc, reports })),
        (ssrc(), "[a-zé]{0,40}").prop_map(|(ssrc, cname)| Rtcp::SourceDescription { ssrc, cname }),
        vec(ssrc(), 1..=COUNT_MAX).prop_map(|ssrcs| Rtcp::Bye { ssrcs }),
        (ssrc(), ssrc(), lost()).prop_map(|(sender, media, lost)| Rtcp::Nack { sender, media, lost }),
        (ssrc(), ssrc()).prop_map(|(sender, media)| Rtcp::Pli { sender, media }),
        (ssrc(), vec((ssrc(), any::<u8>()), 1..20))
            .prop_map(|(sender, requests)| Rtcp::Fir { sender, requests }),
        feedback().prop_map(Rtcp::TransportFeedback),
        congestion_feedback().prop_map(Rtcp::CongestionFeedback),
    ]
}

/// Whether rtc-rtcp refuses this feedback although it is good: it wants a byte behind the chunks.
fn they_refuse(packet: &Rtcp) -> bool {
    matches!(packet, Rtcp::TransportFeedback(feedback) if feedback.arrivals.iter().all(Option::is_none))
}

/// Packets as only rtc-rtcp writes them: texts of other kinds, goodbyes with a reason, chunks chosen at random.
fn their_packet() -> impl Strategy<Value = (Box<dyn Packet>, Vec<Rtcp>)> {
    let item = (1..=8_u8, vec(b'a'..=b'z', 0..20))
        .prop_map(|(kind, text)| SourceDescriptionItem { sdes_type: kind.into(), text: text.into() });
    let chunk =
        (any::<u32>(), vec(item, 0..4)).prop_map(|(source, items)| SourceDescriptionChunk { source, items });
    let description =
        vec(chunk, 0..4).prop_map(|chunks| Box::new(SourceDescription { chunks }) as Box<dyn Packet>);
    let bye = (vec(any::<u32>(), 0..=COUNT_MAX), vec(b'a'..=b'z', 0..30)).prop_map(|(sources, reason)| {
        Box::new(Goodbye { sources, reason: reason.into() }) as Box<dyn Packet>
    });
    let pair = (any::<u16>(), any::<u16>())
        .prop_map(|(packet_id, lost_packets)| NackPair { packet_id, lost_packets });
    let nack = (any::<[u32; 2]>(), vec(pair, 1..60)).prop_map(|([sender_ssrc, media_ssrc], nacks)| {
        Box::new(TransportLayerNack { sender_ssrc, media_ssrc, nacks }) as Box<dyn Packet>
    });
    prop_oneof![description, bye, nack, their_feedback(), their_congestion_feedback()].prop_map(|packet| {
        let translated = translated(packet.as_ref());
        (packet, translated)
    })
}

fn their_feedback() -> impl Strategy<Value = Box<dyn Packet>> {
    let symbol = || {
        prop_oneof![
            Just(SymbolTypeTcc::PacketNotReceived),
            Just(SymbolTypeTcc::PacketReceivedSmallDelta),
            Just(SymbolTypeTcc::PacketReceivedLargeDelta),
        ]
    };
    let chunk = prop_oneof![
        (symbol(), 1..30_u16).prop_map(|(packet_status_symbol, run_length)| {
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol,
                run_length,
            })
        }),
        vec(symbol(), 7).prop_map(|symbol_list| {
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list,
            })
        }),
    ];
    (any::<[u32; 2]>(), any::<u16>(), any::<u8>(), vec(chunk, 1..8), any::<u64>()).prop_map(
        |([sender_ssrc, media_ssrc], base_sequence_number, fb_pkt_count, packet_chunks, seed)| {
            let symbols: Vec<_> = packet_chunks
                .iter()
                .flat_map(|chunk| match chunk {
                    PacketStatusChunk::RunLengthChunk(run) => {
                        vec![run.packet_status_symbol; usize::from(run.run_length)]
                    }
                    PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
                })
                .collect();
            let delta = |(at, &symbol): (usize, &SymbolTypeTcc)| {
                let chance = seed.rotate_left(at as u32 * 7);
                let delta = match symbol {
                    SymbolTypeTcc::PacketReceivedSmallDelta => i64::from(chance as u8) * 250,
                    SymbolTypeTcc::PacketReceivedLargeDelta => i64::from(chance as i16) * 250,
                    SymbolTypeTcc::PacketNotReceived | SymbolTypeTcc::PacketReceivedWithoutDelta => {
                        return None;
                    }
                };
                Some(RecvDelta { type_tcc_packet: symbol, delta })
            };
            Box::new(TransportLayerCc {
                sender_ssrc,
                media_ssrc,
                base_sequence_number,
                packet_status_count: symbols.len() as u16,
                reference_time: seed as u32 & 0xff_ffff,
                fb_pkt_count,
                recv_deltas: symbols.iter().enumerate().filter_map(delta).collect(),
                packet_chunks,
            }) as Box<dyn Packet>
        },
    )
}

fn their_congestion_feedback() -> impl Strategy<Value = Box<dyn Packet>> {
    let ecn =
        prop_oneof![Just(TheirEcn::NotEct), Just(TheirEcn::Ect0), Just(TheirEcn::Ect1), Just(TheirEcn::Ce)];
    let metric = (any::<bool>(), ecn, 0..=0x1fff_u16).prop_map(|(received, ecn, arrival_time_offset)| {
        CcFeedbackMetricBlock { received, ecn, arrival_time_offset }
    });
    let block = (any::<u32>(), any::<u16>(), vec(metric, 0..40)).prop_map(
        |(media_ssrc, begin_sequence, metric_blocks)| CcFeedbackReportBlock {
            media_ssrc,
            begin_sequence,
            metric_blocks,
        },
    );
    (any::<[u32; 2]>(), vec(block, 0..4)).prop_map(|([sender_ssrc, report_timestamp], report_blocks)| {
        Box::new(CcFeedbackReport { sender_ssrc, report_blocks, report_timestamp }) as Box<dyn Packet>
    })
}

/// Bytes that are close to a compound: the types are known and the lengths often right, the rest is anything.
fn nearly_a_compound() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just((200, None)),
        Just((201, None)),
        Just((203, None)),
        Just((205, Some(1))),
        Just((205, Some(15))),
        Just((205, Some(11))),
        Just((206, Some(1))),
        Just((206, Some(4))),
        Just((204, None)),
    ];
    let body = prop_oneof![vec(any::<u8>(), 0..60), vec(0..3_u8, 0..60)];
    let frame = (kind, 0..4_u8, body, prop_oneof![9 => Just(0_u8), 1 => Just(1)]).prop_map(
        |((kind, format), count, mut body, lie)| {
            body.resize(body.len().next_multiple_of(4), 0);
            if format == Some(15) && body.len() >= 16 {
                body[10] = 0; // fewer than 256 packets
            }
            if format == Some(11) && body.len() >= 12 {
                body[10] = 0;
                body[11] %= 16; // often no more packets than there is room for
            }
            let mut frame = vec![0x80 | format.unwrap_or(count), kind, 0, (body.len() / 4) as u8 + lie];
            frame.extend(body);
            frame
        },
    );
    let description = (0..3_u8, vec(0..3_u8, 0..40)).prop_map(|(count, mut body)| {
        body.resize(body.len().next_multiple_of(4), 0);
        let mut frame = vec![0x80 | count, 202, 0, (body.len() / 4) as u8];
        frame.extend(body);
        frame
    });
    vec(prop_oneof![8 => frame, 2 => description], 1..4).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn what_we_write_both_read(packets in vec(packet(), 1..6)) {
        let datagram = write(&packets);
        prop_assert_eq!(parse(&datagram), Ok(packets.clone()));
        if packets.iter().any(they_refuse) {
            return Ok(());
        }
        prop_assert_eq!(theirs(&datagram), Some(packets));
    }

    #[test]
    fn what_they_write_we_read(written in vec(their_packet(), 1..5)) {
        let (packets, translated): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        let datagram = ::rtcp::packet::marshal(&packets).expect("they write it");
        prop_assert_eq!(parse(&datagram), Ok(translated.concat()));
    }

    #[test]
    fn where_both_read_bytes_they_agree(datagram in nearly_a_compound()) {
        if let (Ok(ours), Some(theirs)) = (parse(&datagram), theirs(&datagram)) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn bytes_do_no_harm(datagram in prop_oneof![nearly_a_compound(), vec(any::<u8>(), 0..200)], cut in 0..9_usize) {
        let cut = &datagram[..datagram.len().saturating_sub(cut)];
        if let Ok(packets) = parse(cut) {
            // Nothing read is larger than it says, but for feedback, which has its own limit.
            let lost: usize = packets.iter().map(|packet| if let Rtcp::Nack { lost, .. } = packet { lost.len() } else { 0 }).sum();
            prop_assert!(lost <= cut.len() / 4 * 17);
            prop_assert_eq!(parse(&write(&packets)).unwrap_or_default().len(), packets.len(), "and can be written");
        }
        let _ = TransportFeedback::decode(cut);
        let _ = CongestionFeedback::decode(cut);
    }

    #[test]
    fn feedback_is_no_longer_than_with_two_bits_each(feedback in feedback()) {
        let mut out = Vec::new();
        prop_assert_eq!(feedback.encode(&mut out), feedback.arrivals.len());
        let deltas: usize = feedback.arrivals.iter().scan(0, |last, arrival| Some(arrival.map_or(0, |at| {
            let ticks = (at - *last) / 250;
            *last = at;
            if (0..=255).contains(&ticks) { 1 } else { 2 }
        }))).sum();
        let vectors = 2 * feedback.arrivals.len().div_ceil(7);
        prop_assert!(out.len() <= 20 + vectors + deltas + 3, "{} bytes", out.len());
        prop_assert_eq!(TransportFeedback::decode(&out), Ok(feedback));
    }
}

/// What of rtc-rtcp our own parts are there for, so that we notice when it is mended.
#[test]
fn the_oracle_still_differs_where_we_say() {
    let all_lost = [0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 30, 0, 0, 0, 0, 0, 15, 0, 15];
    let padded_nack = [0xa1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0, 4];
    let other_item = [0x81, 202, 0, 3, 0, 0, 0, 9, 15, 1, b'x', 1, 1, b'a', 0, 0];
    let sli = [0x82, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0];
    for (name, datagram) in
        [("all lost", &all_lost[..]), ("padding", &padded_nack), ("an item", &other_item), ("sli", &sli)]
    {
        let ours = parse(datagram).expect(name);
        assert_ne!(theirs(datagram), Some(ours), "{name}");
    }
}
