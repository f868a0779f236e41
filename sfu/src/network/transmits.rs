//! `Transmits`: datagrams that are ready to leave, one behind the other in one buffer, in runs that one system call can take.
//!
//! In: datagrams with their paths. Out: [`Run`]s. Time: none. Limit: [`FULL`] bytes and one client's burst, if whoever fills
//! it asks [`Transmits::is_full`]; the buffer is kept from batch to batch, so that nothing is allocated in the steady state.
//!
//! A run is what generic segmentation offload takes: one path, equal sizes, only the last datagram may be shorter. The cost
//! of sending is one walk through the kernel for each run, hardly more for each datagram.

use super::cipher::{Cipher, CipherError, OVERHEAD_MAX, PendingTag, Sealed, authenticate};
use super::path::Path;

/// When so many bytes wait they are to be sent first: 800 datagrams of media, less than the cache of a core.
const FULL: usize = 1 << 20;

/// The most datagrams in a run (`UDP_MAX_SEGMENTS` of Linux before 6.9).
const RUN_DATAGRAMS_MAX: usize = 64;

/// The most bytes in a run: a UDP payload's limit, less room for headers.
const RUN_BYTES_MAX: usize = 65_000;

/// By how much the buffer grows at least.
const GROWTH: usize = 64 * 1024;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Transmits {
    /// Initialized to its whole length; the first `used` bytes count.
    slab: Vec<u8>,
    used: usize,
    spans: Vec<Span>,
    datagrams: usize,
    /// Packets whose authentication tags are computed together, and where they are.
    unauthenticated: Vec<(core::ops::Range<usize>, PendingTag)>,
}

/// A run's place in the buffer.
#[derive(Debug, Clone, Copy)]
struct Span {
    path: Path,
    start: usize,
    end: usize,
    segment: usize,
}

impl Span {
    fn datagrams(&self) -> usize {
        (self.end - self.start).div_ceil(self.segment)
    }

    /// Whether a datagram of so many bytes can be its next.
    fn takes(&self, path: Path, length: usize) -> bool {
        let bytes = self.end - self.start;
        self.path == path
            && length <= self.segment
            && bytes.is_multiple_of(self.segment)
            && bytes + length <= RUN_BYTES_MAX
            && self.datagrams() < RUN_DATAGRAMS_MAX
    }
}

/// Datagrams on one path: all of `segment` bytes, the last one perhaps of fewer.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Where from and where to.
    pub path: Path,
    /// The datagrams, one behind the other.
    pub bytes: &'a [u8],
    /// The size of each but the last.
    pub segment: usize,
}

impl<'a> Run<'a> {
    /// The datagrams, one by one.
    pub fn datagrams(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.bytes.chunks(self.segment)
    }
}

impl Transmits {
    /// Adds a datagram; an empty one is none.
    pub fn push(&mut self, path: Path, datagram: &[u8]) {
        self.room(datagram.len())[..datagram.len()].copy_from_slice(datagram);
        self.commit(path, datagram.len());
    }

    /// Adds an RTP packet, sealed, and tells how long it is; nothing if that fails. [`Self::finish`] completes it.
    pub fn push_rtp(
        &mut self,
        path: Path,
        (header, payload): (&[u8], &[u8]),
        cipher: &mut Cipher,
    ) -> Result<usize, CipherError> {
        let start = self.used;
        let out = self.room(header.len() + payload.len() + OVERHEAD_MAX);
        out[..header.len()].copy_from_slice(header);
        let Sealed { length, tag } = cipher.seal_rtp(out, header.len(), payload)?;
        self.unauthenticated.extend(tag.map(|tag| (start..start + length, tag)));
        self.commit(path, length);
        Ok(length)
    }

    /// Adds a compound RTCP packet, sealed, and tells how long it is; nothing if that fails.
    pub fn push_rtcp(
        &mut self,
        path: Path,
        packet: &[u8],
        cipher: &mut Cipher,
    ) -> Result<usize, CipherError> {
        let out = self.room(packet.len() + OVERHEAD_MAX);
        out[..packet.len()].copy_from_slice(packet);
        let length = cipher.seal_rtcp(out, packet.len())?;
        self.commit(path, length);
        Ok(length)
    }

    /// Completes what was sealed: where a cipher computes authentication tags by SHA-1, many at a time cost a fraction.
    pub fn finish(&mut self) {
        authenticate(&mut self.slab, &self.unauthenticated);
        self.unauthenticated.clear();
    }

    /// Whether what there is should leave before more is added.
    pub fn is_full(&self) -> bool {
        self.used >= FULL
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many datagrams there are.
    pub fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// What there is, in the order of adding.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = Run<'_>> {
        self.spans.iter().map(|span| Run {
            path: span.path,
            bytes: &self.slab[span.start..span.end],
            segment: span.segment,
        })
    }

    /// Forgets what there is: it was sent.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams = 0;
        self.spans.clear();
        self.unauthenticated.clear();
    }

    fn room(&mut self, length: usize) -> &mut [u8] {
        let needed = self.used + length;
        if self.slab.len() < needed {
            self.slab.resize(needed.max(self.slab.len() + GROWTH), 0);
        }
        &mut self.slab[self.used..]
    }

    fn commit(&mut self, path: Path, length: usize) {
        if length == 0 {
            return;
        }
        let (start, end) = (self.used, self.used + length);
        self.used = end;
        self.datagrams += 1;
        match self.spans.last_mut().filter(|span| span.takes(path, length)) {
            Some(span) => span.end = end,
            None => self.spans.push(Span { path, start, end, segment: length }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(None, ([192, 0, 2, 1], port).into())
    }

    /// The runs of datagrams of these sizes to these ports: each as port, size and how many.
    fn runs(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let mut transmits = Transmits::default();
        for (port, size) in datagrams {
            transmits.push(path(*port), &vec![*size as u8; *size]);
        }
        for run in transmits.runs() {
            assert!(
                run.datagrams().all(|datagram| datagram.iter().all(|byte| *byte == datagram.len() as u8))
            );
        }
        let run = |run: Run<'_>| (run.path.remote.port(), run.segment, run.datagrams().len());
        transmits.runs().map(run).collect()
    }

    #[test]
    fn runs_are_of_equal_sizes_and_one_path() {
        for (name, datagrams, expected) in [
            ("nothing", vec![], vec![]),
            ("one", vec![(1, 100)], vec![(1, 100, 1)]),
            ("equal", vec![(1, 100); 3], vec![(1, 100, 3)]),
            ("the last is shorter", vec![(1, 100), (1, 60), (1, 60)], vec![(1, 100, 2), (1, 60, 1)]),
            ("the next is longer", vec![(1, 60), (1, 100)], vec![(1, 60, 1), (1, 100, 1)]),
            ("another path", vec![(1, 100), (2, 100), (1, 100)], vec![(1, 100, 1), (2, 100, 1), (1, 100, 1)]),
            ("more than the kernel joins", vec![(1, 9); 65], vec![(1, 9, 64), (1, 9, 1)]),
            ("more than a datagram's limit", vec![(1, 30_000); 3], vec![(1, 30_000, 2), (1, 30_000, 1)]),
            ("an empty one is none", vec![(1, 100), (1, 0), (1, 100)], vec![(1, 100, 2)]),
        ] {
            assert_eq!(runs(&datagrams), expected, "{name}");
        }
    }

    #[test]
    fn packets_are_joined_from_their_parts() {
        let mut transmits = Transmits::default();
        transmits.push(path(1), &[7; 20]);
        let sealed = transmits.push_rtp(path(1), (&[8; 12], &[9; 8]), &mut Cipher::Plain);
        assert_eq!(sealed, Ok(20));
        assert_eq!(transmits.push_rtcp(path(1), &[10; 20], &mut Cipher::Plain), Ok(20));
        transmits.finish();
        let bytes: Vec<u8> = transmits.runs().flat_map(Run::datagrams).flatten().copied().collect();
        assert_eq!(bytes, [&[7; 20][..], &[8; 12], &[9; 8], &[10; 20]].concat());
        assert_eq!((transmits.datagrams(), transmits.runs().len()), (3, 1));
        transmits.clear();
        assert!(transmits.is_empty() && transmits.datagrams() == 0);
    }

    #[test]
    fn it_is_full_before_it_holds_more_than_it_should() {
        let mut transmits = Transmits::default();
        let pushed = (0..).take_while(|_| {
            let is_room = !transmits.is_full();
            transmits.push(path(1), &[0; 1_200]);
            is_room
        });
        assert_eq!(pushed.count(), FULL.div_ceil(1_200));
        let capacity = transmits.slab.capacity();
        transmits.clear();
        transmits.push(path(1), &[0; 1_200]);
        assert_eq!((transmits.is_full(), transmits.slab.capacity()), (false, capacity));
    }
}
