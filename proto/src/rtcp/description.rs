//! Source descriptions: which canonical name a stream has (RFC 3550 §6.5).
//!
//! In: a packet's body, or a name. Out: names, or a packet. Time: none. Limit: 31 chunks, 255 bytes a name.
//!
//! Not rtc-rtcp: it takes items of types that it does not know (RFC 7941) for the end of a chunk, and ends chunks
//! that it writes with a count instead of null.

use crate::rtp::Ssrc;

/// The packet type.
pub(super) const KIND: u8 = 202;

/// The item that carries a canonical name (RFC 3550 §6.5.1).
const ITEM_CNAME: u8 = 1;

/// The longest text of an item, in bytes: its length is one of them.
const TEXT_MAX: usize = 255;

/// Every source of the body's `count` chunks that has a canonical name; `None` if the chunks do not fit the body.
pub(super) fn read(count: u8, body: &[u8]) -> Option<Vec<(Ssrc, String)>> {
    let mut sources = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let ssrc: &[u8; 4] = body.get(at..)?.first_chunk()?;
        at += ssrc.len();
        let mut cname = None;
        loop {
            let item = *body.get(at)?;
            at += 1;
            if item == 0 {
                break;
            }
            let length = usize::from(*body.get(at)?);
            let text = body.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if item == ITEM_CNAME && cname.is_none() {
                cname = Some(String::from_utf8_lossy(text).into_owned());
            }
        }
        at = at.next_multiple_of(4); // a chunk ends at a word; a missing end shows in the next one
        sources.extend(cname.map(|cname| (Ssrc(u32::from_be_bytes(*ssrc)), cname)));
    }
    Some(sources)
}

/// Appends a packet that says one source's canonical name, cut to 255 bytes at a character's end.
pub(super) fn write(ssrc: Ssrc, cname: &str, out: &mut Vec<u8>) {
    let length = (0..=cname.len().min(TEXT_MAX)).rfind(|&at| cname.is_char_boundary(at)).unwrap_or(0);
    let cname = &cname[..length];
    let chunk = (4 + 2 + cname.len() + 1).next_multiple_of(4);
    let end = out.len() + 4 + chunk;
    out.extend_from_slice(&[0x81, KIND]);
    out.extend_from_slice(&((chunk / 4) as u16).to_be_bytes());
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    out.extend_from_slice(&[ITEM_CNAME, cname.len() as u8]);
    out.extend_from_slice(cname.as_bytes());
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_among_other_items() {
        for (name, count, body, sources) in [
            ("none", 0, &[][..], Some(&[][..])),
            ("one", 1, &[0, 0, 0, 9, 1, 1, b'a', 0], Some(&[(9, "a")])),
            ("an empty name", 1, &[0, 0, 0, 9, 1, 0, 0, 0], Some(&[(9, "")])),
            ("no name", 1, &[0, 0, 0, 9, 0, 0, 0, 0], Some(&[])),
            ("no item and no padding", 1, &[0, 0, 0, 9, 0], Some(&[])),
            (
                "behind an item of RFC 7941",
                1,
                &[0, 0, 0, 9, 15, 1, b'x', 1, 1, b'a', 0, 0],
                Some(&[(9, "a")]),
            ),
            ("the first of two", 1, &[0, 0, 0, 9, 1, 1, b'a', 1, 1, b'b', 0, 0], Some(&[(9, "a")])),
            (
                "two sources, one with a whole word of nulls",
                2,
                &[0, 0, 0, 8, 1, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 9, 1, 1, b'c', 0],
                Some(&[(8, "ab"), (9, "c")]),
            ),
            ("not text", 1, &[0, 0, 0, 9, 1, 1, 0xff, 0], Some(&[(9, "\u{fffd}")])),
            ("half a source", 1, &[0, 0, 0], None),
            ("no end", 1, &[0, 0, 0, 9, 1, 2, b'a', b'b'], None),
            ("no length", 1, &[0, 0, 0, 9, 1], None),
            ("a text that is too long", 1, &[0, 0, 0, 9, 1, 4, b'a', 0], None),
            ("fewer chunks than counted", 2, &[0, 0, 0, 9, 1, 1, b'a', 0], None),
        ] {
            let expected = sources.map(|sources| {
                sources.iter().map(|&(ssrc, cname): &(u32, &str)| (Ssrc(ssrc), cname.to_owned())).collect()
            });
            assert_eq!(read(count, body), expected, "{name}");
        }
    }

    #[test]
    fn names_are_written_with_null_behind() {
        for (name, cname, length, ending) in [
            ("empty", "", 12, &[1, 0, 0, 0][..]),
            ("up to the word", "a", 12, &[1, 1, b'a', 0]),
            ("a word of nulls more", "ab", 16, &[b'a', b'b', 0, 0, 0, 0]),
        ] {
            let mut out = vec![7];
            write(Ssrc(9), cname, &mut out);
            assert_eq!(out.len(), 1 + length, "{name}");
            assert_eq!(out[..9], [7, 0x81, 202, 0, (length / 4 - 1) as u8, 0, 0, 0, 9], "{name}");
            assert!(out.ends_with(ending), "{name}: {out:?}");
            assert_eq!(read(1, &out[5..]), Some(vec![(Ssrc(9), cname.to_owned())]), "{name}");
        }
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let mut out = Vec::new();
        write(Ssrc(9), &format!("a{}", "é".repeat(200)), &mut out);
        let sources = read(1, &out[4..]).expect("a whole chunk");
        assert_eq!(sources[0].1, format!("a{}", "é".repeat(127)), "255 bytes");
        write(Ssrc(9), &"é".repeat(200), &mut out);
        assert_eq!(out[out.len() - 268..][8..10], [1, 254], "not half a character");
    }
}
