//! What waits to be written on one connection: whole frames, in the order of their coming.
//!
//! In: runs of datagrams, what the kernel took. Out: bytes. Time: `now`, monotonic. Limit: [`BYTES_MAX`], and a run that comes
//! while another has waited for [`WAIT_MAX`] is dropped: the newest goes, and whole, as at the end of a full buffer on any
//! path, so that feedback tells congestion control of it. How much fits thus follows from how fast the connection lately
//! drained: what is behind the front will wait about as long as the front has.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use proto::time::Instant;
use sfu::network::framing;
use sfu::worker::Run;

/// The most bytes: 100 ms at 20 Mbit/s.
pub(super) const BYTES_MAX: usize = 256 * 1024;

/// The longest that anything waits while more is taken: a little less than what congestion control bears on a path before it
/// calls it overused, for the kernel's queue and the network's come on top.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(200);

/// A connection that takes nothing for so long is of no use to a conversation.
pub(super) const STUCK_MAX: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Queue {
    bytes: VecDeque<u8>,
    runs: VecDeque<Waiting>,
    /// When the kernel last took something, or when something first waited for it.
    progress_at: Instant,
}

/// A run whose end was not written yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    bytes: usize,
    frames: u64,
    at: Instant,
}

/// There is no room: nothing of the run was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// An empty one.
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: VecDeque::new(), runs: VecDeque::new(), progress_at: now }
    }

    /// Takes all frames of a run, or none.
    pub(super) fn push(&mut self, now: Instant, run: Run<'_>) -> Result<(), Full> {
        let frames = run.datagrams().len();
        let head = framing::head(0).map_or(0, |head| head.len());
        let bytes = run.bytes.len() + frames * head;
        let waits_long = self.runs.front().is_some_and(|front| now.since(front.at) >= WAIT_MAX);
        if waits_long
            || self.bytes.len() + bytes > BYTES_MAX
            || run.datagrams().any(|datagram| framing::head(datagram.len()).is_none())
        {
            return Err(Full);
        }
        if self.bytes.is_empty() {
            self.progress_at = now;
        }
        for datagram in run.datagrams() {
            self.bytes.extend(framing::head(datagram.len()).into_iter().flatten());
            self.bytes.extend(datagram);
        }
        self.runs.push_back(Waiting { bytes, frames: frames as u64, at: now });
        Ok(())
    }

    /// What is to be written next.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        let (front, back) = self.bytes.as_slices();
        [IoSlice::new(front), IoSlice::new(back)]
    }

    /// The kernel took so many bytes; tells how many frames' last ones were among them, counted by runs.
    pub(super) fn note_written(&mut self, now: Instant, mut count: usize) -> u64 {
        self.bytes.drain(..count);
        self.progress_at = now;
        let mut frames = 0;
        while let Some(front) = self.runs.front_mut() {
            if front.bytes > count {
                front.bytes -= count;
                break;
            }
            count -= front.bytes;
            frames += front.frames;
            self.runs.pop_front();
        }
        frames
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether something waits and the kernel took nothing for too long.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        !self.is_empty() && now.since(self.progress_at) >= STUCK_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfu::network::framing::Deframer;
    use sfu::worker::Path;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn push(queue: &mut Queue, millis: u64, bytes: &[u8], segment: usize) -> bool {
        let path = Path::tcp(None, ([192, 0, 2, 1], 9).into());
        queue.push(at(millis), Run { path, bytes, segment }).is_ok()
    }

    /// Writes up to so many bytes.
    fn write(queue: &mut Queue, millis: u64, most: usize) -> (Vec<u8>, u64) {
        let mut bytes: Vec<u8> = queue.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(most);
        let frames = queue.note_written(at(millis), bytes.len());
        (bytes, frames)
    }

    #[test]
    fn a_run_that_would_wait_too_long_is_dropped_and_those_before_it_are_not() {
        let mut queue = Queue::new(at(0));
        for (name, millis, written, taken) in [
            ("the first", 0, 0, true),
            ("the front is young", 199, 0, true),
            ("the front is old", 200, 0, false),
            ("a part of it has left", 250, 101, false),
            ("all of it has", 250, 103, true),
            ("the next one is old by now", 399, 0, false),
            ("and has left", 400, 204, true),
        ] {
            write(&mut queue, millis, written);
            assert_eq!(push(&mut queue, millis, &[7; 200], 100), taken, "{name}");
        }
    }

    #[test]
    fn no_more_bytes_wait_than_there_is_room_for_and_a_run_is_never_cut() {
        let mut queue = Queue::new(at(0));
        let taken = (0..1_000).filter(|_| push(&mut queue, 0, &vec![7; 60_000], 1_200)).count();
        assert_eq!((taken, queue.bytes.len()), (4, 4 * (60_000 + 50 * 2)));
        assert!(push(&mut queue, 0, &[7; 1_200], 1_200), "a smaller one still has room");
        assert_eq!(write(&mut queue, 1, usize::MAX).1, 201);
        assert!(queue.is_empty() && queue.runs.is_empty());
        assert!(push(&mut queue, 1_000, &vec![7; 60_000], 1_200), "there is room again");
    }

    #[test]
    fn a_connection_is_stuck_when_something_waits_and_nothing_moves() {
        let mut queue = Queue::new(at(0));
        assert!(!queue.is_stuck(at(60_000)), "nothing waits");
        assert!(push(&mut queue, 60_000, &[7; 100], 100));
        assert!(!queue.is_stuck(at(64_999)) && queue.is_stuck(at(65_000)));
        write(&mut queue, 65_000, 1);
        assert!(!queue.is_stuck(at(69_999)) && queue.is_stuck(at(70_000)), "one byte is progress");
        write(&mut queue, 70_000, usize::MAX);
        assert!(!queue.is_stuck(at(90_000)), "all is gone");
    }

    proptest! {
        #[test]
        fn what_was_taken_leaves_whole_and_in_order(
            steps in prop::collection::vec((0_u64..80, 1_usize..3_000, 1_usize..1_500, 0_usize..4_000), 1..60),
        ) {
            let (mut queue, mut now) = (Queue::new(at(0)), 0);
            let (mut expected, mut stream, mut counted) = (Vec::new(), Vec::new(), 0);
            for (index, (later, size, segment, written)) in steps.into_iter().enumerate() {
                now += later;
                let bytes = vec![index as u8; size];
                if push(&mut queue, now, &bytes, segment) {
                    expected.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
                }
                let (bytes, frames) = write(&mut queue, now, written);
                stream.extend(bytes);
                counted += frames;
            }
            let (bytes, frames) = write(&mut queue, now, usize::MAX);
            stream.extend(bytes);
            let mut found = Vec::new();
            Deframer::default().handle_bytes(&mut stream, |datagram| found.push(datagram.to_vec())).unwrap();
            prop_assert_eq!(counted + frames, expected.len() as u64);
            prop_assert_eq!(found, expected);
        }
    }
}
