//! A worker's TCP connections: reads frames from all that have some, writes what the core sends on them.
//!
//! In: connections from the door, runs of datagrams. Out: datagrams. Time: `now`, monotonic. Limit: [`READ_MAX`] bytes of one
//! connection, and [`TURNS_MAX`] connections, before others get their turn; nothing waits for a connection that does not take
//! what is sent on it, whose queue drops. What was read needs no copy unless a frame's end has not come.
//!
//! A connection that has something rings a bell with its number on it, so that waiting for any of them is waiting for one
//! thing, and nothing is asked of those that are quiet.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proto::time::Instant;
use sfu::network::framing::Deframer;
use sfu::worker::{Path, Protocol, Transmits};
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::door::Handed;
use super::place::Place;
use super::queue::Queue;

/// Bytes taken from one connection at a time.
const READ_MAX: usize = 64 * 1024;
/// Connections read before anything else gets its turn.
const TURNS_MAX: usize = 64;
/// How long a connection may be without a check that its client is there. It may be spare, while media goes by UDP, and
/// browsers check a spare one every 25 s; RFC 7675 §5.1 ends consent after 30 s.
const UNCHECKED_MAX: Duration = Duration::from_secs(30);

/// What became of connections and frames.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::media) struct Counts {
    /// Frames that came.
    pub(in crate::media) received: u64,
    /// Frames that the kernel took for sending.
    pub(in crate::media) sent: u64,
    /// Frames dropped since too much waited on their connection.
    pub(in crate::media) full: u64,
    /// Frames dropped since their connection was gone.
    pub(in crate::media) gone: u64,
    /// Connections closed, by reason.
    pub(in crate::media) closed: [u64; Closed::ALL.len()],
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) enum Closed {
    /// Its first frame was not made with the session's password.
    Unproved,
    /// The client closed it, or it broke.
    Ended,
    /// It sent what is no frame of a datagram.
    Misframed,
    /// It took nothing for too long.
    Stuck,
    /// Its client has left, or did not check it for too long.
    Unchecked,
}

impl Closed {
    /// All reasons.
    pub(in crate::media) const ALL: [Self; 5] =
        [Self::Unproved, Self::Ended, Self::Misframed, Self::Stuck, Self::Unchecked];

    /// As metrics name it.
    pub(in crate::media) fn reason(self) -> &'static str {
        match self {
            Self::Unproved => "unproved",
            Self::Ended => "ended",
            Self::Misframed => "misframed",
            Self::Stuck => "stuck",
            Self::Unchecked => "unchecked",
        }
    }
}

/// See the module's description.
pub(in crate::media) struct Connections {
    bells: Arc<Bells>,
    open: Slab<Connection>,
    by_path: HashMap<Path, usize>,
    /// Those that may have something to read.
    readable: VecDeque<usize>,
    /// Those that may take what waits for them.
    writable: Vec<usize>,
    buffer: Box<[u8]>,
    /// What happened so far.
    pub(in crate::media) counts: Counts,
}

/// Which connections have rung.
#[derive(Default)]
struct Bells {
    rung: Mutex<Vec<usize>>,
    any: Notify,
}

/// One connection's bell: the runtime rings it when the connection may be read or written.
struct Bell {
    key: usize,
    bells: Arc<Bells>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bells.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        self.bells.any.notify_one();
    }
}

struct Connection {
    stream: TcpStream,
    bell: Waker,
    path: Path,
    /// Given back when it is closed.
    #[expect(dead_code, reason = "held, not read")]
    place: Place,
    deframer: Deframer,
    queue: Queue,
    /// Whether it is among the readable ones.
    is_readable: bool,
    /// Whether it is among the writable ones.
    is_writable: bool,
}

impl Connections {
    /// None yet.
    pub(in crate::media) fn new() -> Self {
        Self {
            bells: Arc::default(),
            open: Slab::new(),
            by_path: HashMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            buffer: vec![0; READ_MAX].into(),
            counts: Counts::default(),
        }
    }

    /// Takes a connection whose first frame the core accepted. Called within the runtime that shall wait for it.
    pub(in crate::media) fn insert(&mut self, now: Instant, handed: Handed) -> io::Result<()> {
        let Handed { stream, path, place, .. } = handed;
        let stream = TcpStream::from_std(stream)?;
        if let Some(former) = self.by_path.remove(&path) {
            self.close(former, Closed::Ended); // the kernel gives no address twice, so it knows more than we
        }
        let entry = self.open.vacant_entry();
        let key = entry.key();
        entry.insert(Connection {
            stream,
            bell: Waker::from(Arc::new(Bell { key, bells: Arc::clone(&self.bells) })),
            path,
            place,
            deframer: Deframer::default(),
            queue: Queue::new(now),
            is_readable: true,
            is_writable: false,
        });
        self.by_path.insert(path, key);
        self.readable.push_back(key);
        self.counts.received += 1;
        Ok(())
    }

    /// Counts a connection that was closed before it was taken.
    pub(in crate::media) fn note_unproved(&mut self) {
        self.counts.closed[Closed::Unproved as usize] += 1;
    }

    /// How many there are.
    pub(in crate::media) fn len(&self) -> usize {
        self.open.len()
    }

    /// Waits until one of them may be read or written.
    pub(in crate::media) async fn ready(&self) {
        if self.readable.is_empty() {
            self.bells.any.notified().await;
        }
    }

    /// Takes what came and gives each datagram to `handle`.
    pub(in crate::media) fn receive(&mut self, mut handle: impl FnMut(Path, &mut [u8])) {
        self.answer_bells();
        for _ in 0..TURNS_MAX {
            let Some(key) = self.readable.pop_front() else { break };
            let Some(connection) = self.open.get_mut(key) else { continue };
            let (path, mut frames) = (connection.path, 0);
            let more = connection.read(&mut self.buffer, |datagram| {
                frames += 1;
                handle(path, datagram);
            });
            self.counts.received += frames;
            match more {
                Ok(true) => self.readable.push_back(key),
                Ok(false) => connection.is_readable = false,
                Err(why) => self.close(key, why),
            }
        }
    }

    /// Takes the runs that go by TCP; [`Self::flush`] writes them.
    pub(in crate::media) fn send(&mut self, now: Instant, transmits: &Transmits) {
        for run in transmits.runs().filter(|run| run.path.protocol == Protocol::Tcp) {
            let frames = run.datagrams().len() as u64;
            let Some(&key) = self.by_path.get(&run.path) else {
                self.counts.gone += frames;
                continue;
            };
            let connection = &mut self.open[key];
            if connection.queue.push(now, run).is_err() {
                self.counts.full += frames;
            } else if !std::mem::replace(&mut connection.is_writable, true) {
                self.writable.push(key);
            }
        }
    }

    /// Writes what waits, as far as the kernel takes it.
    pub(in crate::media) fn flush(&mut self, now: Instant) {
        while let Some(key) = self.writable.pop() {
            let Some(connection) = self.open.get_mut(key) else { continue };
            connection.is_writable = false;
            match connection.write(now) {
                Ok(frames) => self.counts.sent += frames,
                Err(why) => self.close(key, why),
            }
        }
    }

    /// Closes those that are of no use any more; `checked_at` tells when the core heard last that a path's client is there.
    pub(in crate::media) fn sweep(&mut self, now: Instant, checked_at: impl Fn(Path) -> Option<Instant>) {
        let verdict = |connection: &Connection| {
            let is_checked = checked_at(connection.path).is_some_and(|at| now.since(at) < UNCHECKED_MAX);
            let stuck = connection.queue.is_stuck(now).then_some(Closed::Stuck);
            stuck.or((!is_checked).then_some(Closed::Unchecked))
        };
        let of_no_use = self.open.iter().filter_map(|(key, one)| Some((key, verdict(one)?)));
        for (key, why) in of_no_use.collect::<Vec<_>>() {
            self.close(key, why);
        }
    }

    /// Notes which have rung. Whether to read or to write is not said, so both are tried; a try in vain asks the kernel nothing.
    fn answer_bells(&mut self) {
        let mut rung = self.bells.rung.lock().unwrap_or_else(PoisonError::into_inner);
        for key in rung.drain(..) {
            let Some(connection) = self.open.get_mut(key) else { continue };
            if !std::mem::replace(&mut connection.is_readable, true) {
                self.readable.push_back(key);
            }
            if !connection.queue.is_empty() && !std::mem::replace(&mut connection.is_writable, true) {
                self.writable.push(key);
            }
        }
    }

    fn close(&mut self, key: usize, why: Closed) {
        let connection = self.open.remove(key);
        self.by_path.remove(&connection.path);
        self.counts.closed[why as usize] += 1;
    }
}

impl Connection {
    /// Reads until nothing is left, which arms the bell, or the buffer was filled once in all. True if there may be more.
    fn read(&mut self, buffer: &mut [u8], mut handle: impl FnMut(&mut [u8])) -> Result<bool, Closed> {
        let mut context = Context::from_waker(&self.bell);
        let mut left = buffer.len();
        while left > 0 {
            let mut into = ReadBuf::new(&mut buffer[..left]);
            match Pin::new(&mut self.stream).poll_read(&mut context, &mut into) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => {
                    let bytes = into.filled_mut();
                    if bytes.is_empty() {
                        return Err(Closed::Ended);
                    }
                    left -= bytes.len();
                    self.deframer.handle_bytes(bytes, &mut handle).map_err(|_| Closed::Misframed)?;
                }
                Poll::Ready(Err(_)) => return Err(Closed::Ended), // whatever broke it, of which there are dozens of names
            }
        }
        Ok(true)
    }

    /// Writes until nothing waits, or the kernel takes no more, which arms the bell; tells how many frames have left.
    fn write(&mut self, now: Instant) -> Result<u64, Closed> {
        let mut context = Context::from_waker(&self.bell);
        let mut frames = 0;
        while !self.queue.is_empty() {
            match Pin::new(&mut self.stream).poll_write_vectored(&mut context, &self.queue.slices()) {
                Poll::Pending => break,
                Poll::Ready(Ok(count @ 1..)) => frames += self.queue.note_written(now, count),
                Poll::Ready(Ok(0) | Err(_)) => return Err(Closed::Ended), // as above
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};

    use sfu::network::framing::head;

    use super::super::door::handed;
    use super::super::place::Places;
    use super::*;
    use crate::clock::Clock;

    /// A worker's connections, and clients at their other ends.
    struct Hall {
        listener: TcpListener,
        places: Arc<Places>,
        connections: Connections,
        clock: Clock,
    }

    impl Hall {
        fn new() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let (connections, clock) = (Connections::new(), Clock::start());
            Self { listener, places: Places::new(10), connections, clock }
        }

        async fn enter(&mut self) -> (std::net::TcpStream, Path) {
            let client = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (stream, remote) = self.listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let handed = handed(TcpStream::from_std(stream).unwrap(), &self.places, remote);
            let path = handed.path;
            self.connections.insert(self.clock.now(), handed).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await; // the runtime learns that it may be written
            (client, path)
        }

        /// Waits until `count` datagrams came: which way, and the first bytes.
        async fn receive(&mut self, count: usize) -> Vec<(Path, Vec<u8>)> {
            let mut found = Vec::new();
            while found.len() < count {
                let ready = tokio::time::timeout(Duration::from_secs(5), self.connections.ready());
                ready.await.expect("something comes");
                self.connections.receive(|path, bytes| found.push((path, bytes.to_vec())));
            }
            found
        }

        fn send(&mut self, path: Path, bytes: &[u8]) {
            let now = self.clock.now();
            let mut transmits = Transmits::default();
            bytes.chunks(1_200).for_each(|datagram| transmits.push(path, datagram));
            self.connections.send(now, &transmits);
            self.connections.flush(now);
        }

        fn closed(&self, why: Closed) -> u64 {
            self.connections.counts.closed[why as usize]
        }
    }

    fn frame(datagram: &[u8]) -> Vec<u8> {
        [&head(datagram.len()).unwrap()[..], datagram].concat()
    }

    fn read_frame(client: &mut std::net::TcpStream) -> Vec<u8> {
        let mut head = [0; 2];
        client.read_exact(&mut head).unwrap();
        let mut datagram = vec![0; usize::from(u16::from_be_bytes(head))];
        client.read_exact(&mut datagram).unwrap();
        datagram
    }

    #[tokio::test]
    async fn frames_are_found_however_they_come_and_replies_go_back() {
        let mut hall = Hall::new();
        let (mut ann, anns) = hall.enter().await;
        let (mut bob, bobs) = hall.enter().await;
        let whole = [frame(&[1; 300]), frame(&[2; 1_500])].concat();
        ann.write_all(&whole[..400]).unwrap();
        bob.write_all(&frame(&[3; 20])).unwrap();
        let mut found = hall.receive(2).await;
        found.sort();
        let mut expected = vec![(anns, vec![1; 300]), (bobs, vec![3; 20])];
        expected.sort();
        assert_eq!(found, expected);
        ann.write_all(&whole[400..]).unwrap();
        assert_eq!(hall.receive(1).await, [(anns, vec![2; 1_500])]);
        hall.send(bobs, &[7; 3_000]);
        for size in [1_200, 1_200, 600] {
            assert_eq!(read_frame(&mut bob), vec![7; size]);
        }
        let Counts { received, sent, full, gone, .. } = hall.connections.counts;
        assert_eq!((received, sent, full, gone), (3 + 2, 3, 0, 0), "two were read at the door");
        hall.send(Path::tcp(None, ([192, 0, 2, 1], 9).into()), &[7; 100]);
        assert_eq!(hall.connections.counts.gone, 1);
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_loses_frames_and_delays_nobody() {
        let mut hall = Hall::new();
        let (mut lazy, lazys) = hall.enter().await;
        let (mut eager, eagers) = hall.enter().await;
        let rounds = 2_000; // 24 MB, more than the kernel holds
        let mut slowest = Duration::ZERO;
        for _ in 0..rounds {
            tokio::task::yield_now().await; // the runtime lets a task do so much at a time, as the worker's loop does
            let begun = hall.clock.now();
            hall.send(lazys, &[1; 12_000]);
            hall.send(eagers, &[2; 1_200]);
            assert_eq!(read_frame(&mut eager), vec![2; 1_200], "what is sent to others arrives at once");
            slowest = slowest.max(hall.clock.now().since(begun));
        }
        let Counts { full, sent, .. } = hall.connections.counts;
        assert!(full > 1_000 && full % 10 == 0, "{full} dropped, in whole runs");
        assert!(slowest < Duration::from_secs(1), "a round took {slowest:?}");

        // What it gets in the end is whole frames, as many as were not dropped.
        let queued = rounds * 10 - full;
        let reader = std::thread::spawn(move || {
            (0..queued).for_each(|_| assert_eq!(read_frame(&mut lazy), vec![1; 1_200]));
            lazy
        });
        while hall.connections.counts.sent < queued + rounds {
            tokio::time::timeout(Duration::from_secs(5), hall.connections.ready()).await.expect("it drains");
            hall.connections.receive(|_, _| panic!("nobody sends"));
            hall.connections.flush(hall.clock.now());
        }
        assert!(sent < hall.connections.counts.sent);
        let mut lazy = reader.join().unwrap();
        hall.send(lazys, &[5; 100]);
        assert_eq!(read_frame(&mut lazy), vec![5; 100], "and it is served again");
    }

    #[tokio::test]
    async fn what_is_of_no_use_is_closed_and_the_rest_is_not() {
        let mut hall = Hall::new();
        let (_stuck, stucks) = hall.enter().await;
        let (_spare, spares) = hall.enter().await;
        let (_left, lefts) = hall.enter().await;
        let (gone, _) = hall.enter().await;
        let (mut wrong, _) = hall.enter().await;
        drop(gone);
        wrong.write_all(&[0xff; 2]).unwrap();
        while hall.connections.len() > 3 {
            hall.connections.ready().await;
            hall.connections.receive(|_, _| panic!("nothing whole came"));
        }
        assert_eq!((hall.closed(Closed::Ended), hall.closed(Closed::Misframed)), (1, 1));
        (0..2_000).for_each(|_| hall.send(stucks, &[1; 12_000]));
        let (now, ms) = (hall.clock.now(), Duration::from_millis);
        let checked = |at: Instant| move |path: Path| (path != lefts).then_some(at);
        hall.connections.sweep(now, |_| Some(now));
        assert_eq!(hall.connections.len(), 3, "not yet");
        let now = now + ms(5_000);
        hall.connections.sweep(now, checked(now));
        assert_eq!((hall.closed(Closed::Stuck), hall.closed(Closed::Unchecked)), (1, 1));
        hall.connections.sweep(now + ms(29_999), checked(now));
        assert_eq!(hall.connections.by_path.keys().collect::<Vec<_>>(), [&spares]);
        hall.connections.sweep(now + ms(30_000), checked(now));
        assert_eq!((hall.connections.len(), hall.closed(Closed::Unchecked)), (0, 2));
        assert!(
            (0..10).all(|_| hall.places.take(Ipv4Addr::LOCALHOST.into()).is_ok()),
            "their places are free"
        );
    }
}
