//! Encoder and decoder against each other, and against elimination done the slow way.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proto::rtp::symbol::Symbol;

use super::*;

fn packet(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 31) as u8).collect()
}

fn source(number: SeqNo, packet: &[u8]) -> Vec<u8> {
    let mut symbol = Vec::new();
    Symbol::write_source(number, &mut symbol);
    symbol.extend_from_slice(packet);
    symbol
}

/// An encoder with these packets, and their source symbols; the first packet's number is `skipped`.
fn encode(skipped: usize, lens: &[usize]) -> (WindowEncoder, Vec<Vec<u8>>) {
    let mut encoder = WindowEncoder::new();
    for _ in 0..skipped {
        encoder.add(&[0]).unwrap();
    }
    let symbols = lens.iter().enumerate().map(|(at, &len)| {
        let packet = packet(at, len);
        source(encoder.add(&packet).unwrap(), &packet)
    });
    let symbols = symbols.collect();
    (encoder, symbols)
}

fn repair(encoder: &mut WindowEncoder, first: usize, span: usize) -> Vec<u8> {
    let mut symbol = Vec::new();
    encoder.write_repair(SeqNo(first as u16), span as u8, &mut symbol).unwrap();
    symbol
}

fn drain(decoder: &mut WindowDecoder) -> BTreeMap<u16, Vec<u8>> {
    std::iter::from_fn(|| decoder.poll_restored().map(|(number, packet)| (number.0, packet.to_vec())))
        .collect()
}

#[test]
fn fresh_sums_of_a_block_repair_it_rounds_later() {
    let (mut encoder, symbols) = encode(0, &[100, 1, 1500, 30, 200, 90]);
    let mut decoder = WindowDecoder::new();
    decoder.handle_symbol(&symbols[0]).unwrap();
    decoder.handle_symbol(&symbols[5]).unwrap();
    for round in 0..4 {
        assert!(drain(&mut decoder).is_empty());
        let _lost = repair(&mut encoder, 0, 6);
        assert_eq!(decoder.waiting(), round);
        decoder.handle_symbol(&repair(&mut encoder, 0, 6)).unwrap();
    }
    let restored = drain(&mut decoder);
    assert!((1..5).all(|at| source(SeqNo(at as u16), &restored[&(at as u16)]) == symbols[at]));
    let stats = WindowStats { repairs: 4, restored: 4, ..WindowStats::default() };
    assert_eq!((decoder.stats(), decoder.waiting()), (stats, 0));
    decoder.handle_symbol(&repair(&mut encoder, 0, 6)).unwrap();
    assert_eq!(decoder.stats().unneeded, 1);
}

#[test]
fn a_window_over_the_last_frames_repairs_a_burst_that_no_frame_could() {
    // One packet a frame and one sum a frame over the last four: three frames in a row are lost, with their sums.
    let (mut encoder, mut decoder) = (WindowEncoder::new(), WindowDecoder::new());
    let mut repaired_at = None;
    for frame in 0..12 {
        let packet = packet(frame, 50);
        let number = encoder.add(&packet).unwrap();
        let span = 4.min(frame + 1);
        let sum = repair(&mut encoder, frame + 1 - span, span);
        if (4..6).contains(&frame) {
            continue;
        }
        decoder.handle_symbol(&source(number, &packet)).unwrap();
        decoder.handle_symbol(&sum).unwrap();
        if !drain(&mut decoder).is_empty() {
            assert_eq!((repaired_at.replace(frame), decoder.stats().restored), (None, 2));
        }
    }
    assert_eq!(repaired_at, Some(7), "as soon as two sums are there");
}

#[test]
fn what_cannot_be_encoded_is_named() {
    let (mut encoder, _) = encode(0, &[10; 300]);
    let mut out = Vec::new();
    let not_there = |first, span| Err(EncodeError::NotThere { first: SeqNo(first), span });
    for (name, first, span, result) in [
        ("nothing", 299, 0, Err(EncodeError::Span(0))),
        ("too wide", 200, 65, Err(EncodeError::Span(65))),
        ("not yet", 299, 2, not_there(299, 2)),
        ("not any more", 43, 1, not_there(43, 1)),
        ("never", 60_000, 1, not_there(60_000, 1)),
    ] {
        assert_eq!(encoder.write_repair(SeqNo(first), span, &mut out), result, "{name}");
    }
    assert!(out.is_empty());
    assert_eq!(encoder.write_repair(SeqNo(44), 64, &mut out).map(|id| id.row), Ok(0));
    assert_eq!(encoder.write_repair(SeqNo(44), 64, &mut out).map(|id| id.row), Ok(1));
    assert_eq!(encoder.add(&[]), Err(EncodeError::Size(0)));
    assert_eq!(encoder.add(&[0; 1501]), Err(EncodeError::Size(1501)));
}

#[test]
fn hostile_symbols_are_refused_and_counted() {
    let (mut encoder, symbols) = encode(0, &[100; 256]);
    let good = repair(&mut encoder, 0, 6);
    let mut decoder = WindowDecoder::new();
    assert_eq!(decoder.handle_symbol(&good), Err(Refusal::TooFar(SeqNo(0))), "before any packet");
    decoder.handle_symbol(&symbols[0]).unwrap();
    let far = repair(&mut encoder, 65, 1);
    let short = [0, 0, 2, 0, 0, 9, 1];
    for (name, symbol, refusal) in [
        ("cut off", good[..4].to_vec(), Refusal::Symbol(proto::rtp::symbol::SymbolError::Truncated(4))),
        ("no sum", good[..5].to_vec(), Refusal::Size(1)),
        ("too long", [&good[..], &[0; 1500]].concat(), Refusal::Size(1602)),
        ("too long a packet", source(SeqNo(1), &[0; 1501]), Refusal::Size(1501)),
        ("far ahead", far, Refusal::TooFar(SeqNo(65))),
        ("shorter than what it protects", short.to_vec(), Refusal::TooShort(SeqNo(0))),
    ] {
        assert_eq!(decoder.handle_symbol(&symbol), Err(refusal), "{name}");
    }
    decoder.handle_symbol(&source(SeqNo(256), &[1])).unwrap();
    assert_eq!(decoder.handle_symbol(&good), Err(Refusal::TooOld(SeqNo(0))));
    assert_eq!(decoder.handle_symbol(&symbols[0]), Err(Refusal::TooOld(SeqNo(0))));
    assert_eq!(decoder.stats().refused, 9);
}

#[test]
fn lying_sums_are_dropped_and_do_no_harm() {
    let (mut encoder, symbols) = encode(0, &[100, 60]);
    let good = repair(&mut encoder, 0, 2);
    let with = |at: usize, flip: u8| {
        let mut symbol = good.clone();
        symbol[at] ^= flip;
        symbol
    };
    for (name, lie) in [("length", with(4, 0x40)), ("no zeros behind", with(4 + 2 + 99, 1))] {
        let mut decoder = WindowDecoder::new();
        decoder.handle_symbol(&symbols[0]).unwrap();
        decoder.handle_symbol(&lie).unwrap();
        assert!(drain(&mut decoder).is_empty(), "{name}");
        assert_eq!(decoder.stats().inconsistent, 1, "{name}");
        decoder.handle_symbol(&good).unwrap();
        assert_eq!(drain(&mut decoder)[&1], packet(1, 60), "{name}");
    }
    // Three packets of which the third turns out to be longer than the sum.
    let mut decoder = WindowDecoder::new();
    decoder.handle_symbol(&source(SeqNo(0), &[1])).unwrap();
    decoder.handle_symbol(&[0, 0, 3, 0, 0, 0, 9, 9]).unwrap();
    decoder.handle_symbol(&source(SeqNo(1), &[1, 2, 3])).unwrap();
    assert_eq!((decoder.waiting(), decoder.stats().inconsistent), (0, 1));
}

#[test]
fn what_waits_is_bounded_and_ages() {
    let (mut encoder, symbols) = encode(0, &[20; 150]);
    let mut decoder = WindowDecoder::new();
    decoder.handle_symbol(&symbols[0]).unwrap();
    for first in (1..86).chain(1..40) {
        decoder.handle_symbol(&repair(&mut encoder, first, 64)).unwrap();
        assert!(decoder.waiting() <= 64);
    }
    assert!(decoder.stats().expired > 0 && decoder.waiting() > 32);
    decoder.handle_symbol(&source(SeqNo(400), &[1])).unwrap();
    assert_eq!(decoder.waiting(), 0);
}

/// Which of the packets lost are determined by the sums that arrived: those that are pivots of equations without other
/// unknowns, by plain elimination over bits multiplied one by one.
fn determined(lost: &[usize], sums: &[RepairId]) -> Vec<usize> {
    fn times(mut one: u8, mut other: u8) -> u8 {
        let mut sum = 0;
        while other > 0 {
            sum ^= if other & 1 == 1 { one } else { 0 };
            one = (one << 1) ^ if one & 0x80 == 0 { 0 } else { 0x1d };
            other >>= 1;
        }
        sum
    }
    let over = |id: &RepairId, number: usize| {
        let place = SeqNo(number as u16).distance(id.first);
        if (0..i16::from(id.span)).contains(&place) { factor(id.row, SeqNo(number as u16)) } else { 0 }
    };
    let mut rows: Vec<Vec<u8>> =
        sums.iter().map(|id| lost.iter().map(|&number| over(id, number)).collect()).collect();
    let mut done = 0;
    for column in 0..lost.len() {
        let Some(found) = (done..rows.len()).find(|&row| rows[row][column] != 0) else { continue };
        rows.swap(done, found);
        let undo = (1..=255).find(|&undo| times(undo, rows[done][column]) == 1).unwrap();
        rows[done] = rows[done].iter().map(|&factor| times(undo, factor)).collect();
        let pivot = rows[done].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(number, _)| *number != done) {
            let factor = row[column];
            row.iter_mut().zip(&pivot).for_each(|(entry, &other)| *entry ^= times(factor, other));
        }
        done += 1;
    }
    let alone = rows.iter().filter(|row| row.iter().filter(|&&factor| factor != 0).count() == 1);
    alone.filter_map(|row| row.iter().position(|&factor| factor != 0)).map(|at| lost[at]).collect()
}

proptest! {
    #[test]
    fn any_k_symbols_of_a_block_restore_it(
        lens in vec(1_usize..1400, 1..=64),
        skipped in prop_oneof![Just(0), 1_usize..400, 65_500_usize..65_536],
        choice in vec(any::<prop::sample::Index>(), 64),
        more in 0_usize..40,
    ) {
        let (mut encoder, symbols) = encode(skipped, &lens);
        let mut decoder = WindowDecoder::new();
        // One of the symbols tells where we are; of the others any k - 1 will do.
        let mut rest: Vec<_> = (1..lens.len()).map(|at| symbols[at].clone()).collect();
        for _ in 0..lens.len() + more {
            rest.push(repair(&mut encoder, skipped, lens.len()));
        }
        let mut there = BTreeMap::new();
        decoder.handle_symbol(&symbols[0]).unwrap();
        for index in choice.iter().take(lens.len() - 1) {
            let symbol = rest.swap_remove(index.index(rest.len()));
            decoder.handle_symbol(&symbol).unwrap();
            if let Ok(Symbol::Source { number, packet }) = Symbol::parse(&symbol) {
                there.insert(number.0, packet.to_vec());
            }
        }
        there.append(&mut drain(&mut decoder));
        there.insert(skipped as u16, packet(0, lens[0]));
        let block = (0..lens.len()).map(|at| ((skipped + at) as u16, packet(at, lens[at])));
        prop_assert_eq!(there, block.collect());
        prop_assert_eq!(decoder.stats().inconsistent, 0);
    }

    #[test]
    fn sliding_windows_restore_what_elimination_can(
        packets in vec((1_usize..200, any::<bool>()), 2..120),
        windows in vec((any::<prop::sample::Index>(), 1_usize..=64, any::<bool>()), 0..60),
    ) {
        let lens: Vec<_> = packets.iter().map(|&(len, _)| len).collect();
        let (mut encoder, symbols) = encode(0, &lens);
        let mut decoder = WindowDecoder::new();
        decoder.handle_symbol(&symbols[0]).unwrap();
        decoder.handle_symbol(&symbols[lens.len() - 1]).unwrap();
        let mut events: Vec<_> = (1..lens.len() - 1).filter(|&at| !packets[at].1).map(|at| symbols[at].clone()).collect();
        let mut sums = Vec::new();
        for (first, span, early) in windows {
            let first = first.index(lens.len());
            let mut symbol = Vec::new();
            let span = span.min(lens.len() - first);
            sums.push(encoder.write_repair(SeqNo(first as u16), span as u8, &mut symbol).unwrap());
            let at = if early { events.len() / 2 } else { events.len() };
            events.insert(at, symbol);
        }
        for event in &events {
            decoder.handle_symbol(event).unwrap();
        }
        let lost: Vec<_> = (1..lens.len() - 1).filter(|&at| packets[at].1).collect();
        let restored = drain(&mut decoder);
        for at in determined(&lost, &sums) {
            prop_assert_eq!(restored.get(&(at as u16)), Some(&packet(at, lens[at])));
        }
        for (number, found) in &restored {
            prop_assert_eq!(found, &packet(usize::from(*number), lens[usize::from(*number)]));
        }
        prop_assert_eq!(decoder.stats().inconsistent, 0);
    }

    #[test]
    fn arbitrary_symbols_are_borne(symbols in vec((0_u8..3, any::<u8>(), 0_u8..70, 0_u8..130, vec(any::<u8>(), 0..40)), 0..120)) {
        let mut decoder = WindowDecoder::new();
        for (high, low, span, row, rest) in symbols {
            let symbol = [&[high, low, span, row][..], &rest].concat();
            let _ = decoder.handle_symbol(&symbol);
            prop_assert!(decoder.waiting() <= 64);
            while let Some((_, packet)) = decoder.poll_restored() {
                prop_assert!((1..=PACKET_MAX).contains(&packet.len()));
            }
        }
    }
}
