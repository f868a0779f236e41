//! Datagrams in a stream of bytes: each behind its length in two bytes, the most significant first (RFC 4571 §2).
//!
//! In: bytes in any portions, as TCP gives them. Out: datagrams, in place where they lie whole. Time: none. Limit: one begun
//! frame of [`FRAME_MAX`] bytes; a longer one ends the stream, for nothing that is spoken here has such.

/// The longest datagram that is taken: an Ethernet frame's payload. RFC 4571 could announce 65,535 bytes, and a peer could
/// make us hold so many.
pub const FRAME_MAX: usize = 1_500;

const HEAD: usize = 2;

/// Why a stream cannot go on: its next frame cannot be found without the one that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A frame is longer than any datagram of ours.
    #[error("a frame of {0} bytes, {FRAME_MAX} are the most")]
    TooLong(usize),
}

/// What stands before a datagram of so many bytes; `None` if it is too long for two bytes.
pub fn head(length: usize) -> Option<[u8; HEAD]> {
    u16::try_from(length).ok().map(u16::to_be_bytes)
}

/// The length that a frame's head announces, in bytes.
pub fn announced(head: [u8; HEAD]) -> Result<usize, FramingError> {
    let length = usize::from(u16::from_be_bytes(head));
    if length > FRAME_MAX { Err(FramingError::TooLong(length)) } else { Ok(length) }
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The beginning of a frame whose end has not come.
    begun: Vec<u8>,
}

impl Deframer {
    /// Takes the stream's next bytes, and gives each datagram that is complete to `handle`; empty ones are none.
    pub fn handle_bytes(
        &mut self,
        mut bytes: &mut [u8],
        mut handle: impl FnMut(&mut [u8]),
    ) -> Result<(), FramingError> {
        while !self.begun.is_empty() && !bytes.is_empty() {
            let missing = self.missing()?.min(bytes.len());
            let (more, rest) = bytes.split_at_mut(missing);
            self.begun.extend_from_slice(more);
            bytes = rest;
            if self.missing()? == 0 {
                if self.begun.len() > HEAD {
                    handle(&mut self.begun[HEAD..]);
                }
                self.begun.clear();
            }
        }
        while let Some(head) = bytes.first_chunk::<HEAD>() {
            let end = HEAD + announced(*head)?;
            if bytes.len() < end {
                break;
            }
            let (frame, rest) = std::mem::take(&mut bytes).split_at_mut(end);
            if frame.len() > HEAD {
                handle(&mut frame[HEAD..]);
            }
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes the begun frame, or its head, wants yet.
    fn missing(&self) -> Result<usize, FramingError> {
        match self.begun.first_chunk::<HEAD>() {
            Some(head) => Ok(HEAD + announced(*head)? - self.begun.len()),
            None => Ok(HEAD - self.begun.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(datagrams: &[Vec<u8>]) -> Vec<u8> {
        let frame = |datagram: &Vec<u8>| [&head(datagram.len()).expect("short")[..], datagram].concat();
        datagrams.iter().flat_map(frame).collect()
    }

    /// What is found in `stream` when it comes in portions of these sizes, used again and again.
    fn deframe(stream: &[u8], portions: &[usize]) -> (Vec<Vec<u8>>, Result<(), FramingError>) {
        let (mut deframer, mut found, mut rest) = (Deframer::default(), Vec::new(), stream.to_vec());
        for portion in portions.iter().cycle() {
            let mut bytes: Vec<u8> = rest.drain(..rest.len().min(*portion)).collect();
            let handled = deframer.handle_bytes(&mut bytes, |datagram| found.push(datagram.to_vec()));
            if handled.is_err() || rest.is_empty() {
                return (found, handled);
            }
        }
        (found, Ok(()))
    }

    #[test]
    fn a_frame_longer_than_a_datagram_ends_the_stream() {
        for (name, length, expected) in [
            ("the longest", FRAME_MAX, Ok(())),
            ("one more", FRAME_MAX + 1, Err(FramingError::TooLong(FRAME_MAX + 1))),
            ("all bits set", 65_535, Err(FramingError::TooLong(65_535))),
        ] {
            let stream = framed(&[vec![1; 3], vec![2; length]]);
            for portions in [&[usize::MAX][..], &[1], &[6, 1_000]] {
                let (found, ended) = deframe(&stream, portions);
                assert_eq!((found.len(), ended), (1 + usize::from(expected.is_ok()), expected), "{name}");
            }
        }
        assert_eq!((head(65_535), head(65_536)), (Some([0xff; 2]), None));
    }

    #[test]
    fn what_is_held_does_not_grow() {
        let mut deframer = Deframer::default();
        let mut stream = framed(&vec![vec![7; FRAME_MAX]; 50]);
        for portion in stream.chunks_mut(700) {
            deframer.handle_bytes(portion, |_| ()).expect("no frame is too long");
            assert!(deframer.begun.len() < HEAD + FRAME_MAX);
        }
        assert!(deframer.begun.is_empty() && deframer.begun.capacity() <= 2 * (HEAD + FRAME_MAX));
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_datagrams(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            portions in prop::collection::vec(1_usize..100, 1..20),
        ) {
            let (found, ended) = deframe(&framed(&datagrams), &portions);
            let expected: Vec<_> = datagrams.into_iter().filter(|datagram| !datagram.is_empty()).collect();
            prop_assert_eq!((found, ended), (expected, Ok(())));
        }

        #[test]
        fn any_split_of_any_bytes_comes_to_the_same(
            stream in prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..3_000),
            portions in prop::collection::vec(1_usize..100, 1..20),
        ) {
            prop_assert_eq!(deframe(&stream, &portions), deframe(&stream, &[usize::MAX]));
        }
    }
}
