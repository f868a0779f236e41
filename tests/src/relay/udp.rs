//! A UDP relay: what a browser sends to its port goes to the server and back, late and with losses.
//!
//! In: datagrams. Out: the same, later, fewer. Limit: `CAPTURED_MAX`, `QUEUE_MAX`. Each client address gets an
//! upstream socket of its own, so that the server tells clients apart as it does on a real network. Chance comes
//! from one seed, so that the share of losses is the same in every run.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use proto::seed::{Chance, Seed};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const CAPTURED_MAX: usize = 20_000; // datagrams: a minute of one sender's media
const QUEUE_MAX: usize = 10_000; // datagrams on their way: far above rate × delay of any test
const DATAGRAM_MAX: usize = 65_535;

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Direction {
    /// The share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// How long a datagram takes.
    pub delay: Duration,
}

/// Both directions of a link.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Link {
    /// From the browser to the server.
    pub up: Direction,
    /// From the server to the browser.
    pub down: Direction,
}

impl Link {
    /// The same loss each way, and a delay that makes the round trip `rtt`.
    pub fn symmetric(loss: f64, rtt: Duration) -> Self {
        let one = Direction { loss, delay: rtt / 2 };
        Self { up: one, down: one }
    }
}

/// A relay on a port of its own; it ends when this is dropped.
pub struct UdpRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    target: SocketAddr,
    front: UdpSocket,
    cut: AtomicBool,
    captures: AtomicBool,
    captured: Mutex<VecDeque<Vec<u8>>>,
    upstreams: Mutex<BTreeMap<SocketAddr, Arc<UdpSocket>>>,
    carried: [AtomicU64; 2],
    lost: [AtomicU64; 2],
}

impl UdpRelay {
    /// Listens on loopback and forwards to `target` over `link`.
    pub async fn start(target: SocketAddr, link: Link, seed: &Seed) -> Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            front,
            cut: AtomicBool::new(false),
            captures: AtomicBool::new(false),
            captured: Mutex::default(),
            upstreams: Mutex::default(),
            carried: Default::default(),
            lost: Default::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(run(Arc::clone(&shared), link, seed.clone()));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses everything from now on, or no longer.
    pub fn set_cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::Relaxed);
    }

    /// Starts to keep copies of what browsers send.
    pub fn capture(&self) {
        self.shared.captures.store(true, Ordering::Relaxed);
    }

    /// The copies kept so far, the oldest first.
    pub fn captured(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.captured).iter().cloned().collect()
    }

    /// Sends a datagram to the server from every address that a browser has there.
    pub async fn inject(&self, datagram: &[u8]) -> Result<()> {
        let sockets: Vec<Arc<UdpSocket>> = lock(&self.shared.upstreams).values().cloned().collect();
        for socket in sockets {
            socket.send(datagram).await?;
        }
        Ok(())
    }

    /// How many datagrams were carried and lost: up, then down.
    pub fn counts(&self) -> [(u64, u64); 2] {
        let count = |way: usize| {
            let (carried, lost) = (&self.shared.carried[way], &self.shared.lost[way]);
            (carried.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
        };
        [count(UP), count(DOWN)]
    }
}

const UP: usize = 0;
const DOWN: usize = 1;

/// One direction at work: decides what is lost, and hands the rest to a task that sends it later.
struct Pipe {
    shared: Arc<Shared>,
    way: usize,
    direction: Direction,
    chance: Chance,
    queue: mpsc::Sender<(Instant, SocketAddr, Vec<u8>)>,
}

impl Pipe {
    fn handle(&mut self, peer: SocketAddr, datagram: &[u8]) {
        let unlucky = f64::from(self.chance.number()) < self.direction.loss * f64::from(u32::MAX);
        let cut = self.shared.cut.load(Ordering::Relaxed);
        let entry = (Instant::now() + self.direction.delay, peer, datagram.to_vec());
        let count = if unlucky || cut || self.queue.try_send(entry).is_err() {
            &self.shared.lost[self.way]
        } else {
            &self.shared.carried[self.way]
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn run(shared: Arc<Shared>, link: Link, seed: Seed) {
    let mut tasks = JoinSet::new(); // ends with this task
    let mut open = |way: usize, direction: Direction, name: &str, peer: Option<Arc<UdpSocket>>| {
        let (queue, entries) = mpsc::channel(QUEUE_MAX);
        tasks.spawn(deliver(Arc::clone(&shared), peer, entries));
        Pipe { shared: Arc::clone(&shared), way, direction, chance: seed.fork(name).generator(), queue }
    };
    let mut up = BTreeMap::<SocketAddr, Pipe>::new();
    let mut downs = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let Ok((length, client)) = shared.front.recv_from(&mut buffer).await else { continue };
        if shared.captures.load(Ordering::Relaxed) {
            keep(&mut lock(&shared.captured), &buffer[..length]);
        }
        if let Some(pipe) = up.get_mut(&client) {
            pipe.handle(client, &buffer[..length]);
            continue;
        }
        let number = up.len();
        let Ok(upstream) = connect(shared.target).await else { continue };
        let upstream = Arc::new(upstream);
        lock(&shared.upstreams).insert(client, Arc::clone(&upstream));
        let down = open(DOWN, link.down, &format!("down {number}"), None);
        downs.spawn(return_path(Arc::clone(&upstream), client, down));
        let mut pipe = open(UP, link.up, &format!("up {number}"), Some(upstream));
        pipe.handle(client, &buffer[..length]);
        up.insert(client, pipe);
    }
}

async fn connect(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}

async fn return_path(upstream: Arc<UdpSocket>, client: SocketAddr, mut down: Pipe) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        if let Ok(length) = upstream.recv(&mut buffer).await {
            down.handle(client, &buffer[..length]);
        }
    }
}

/// Sends each datagram when its time has come: to the server by `upstream`, else to the client.
async fn deliver(
    shared: Arc<Shared>,
    upstream: Option<Arc<UdpSocket>>,
    mut entries: mpsc::Receiver<(Instant, SocketAddr, Vec<u8>)>,
) {
    while let Some((due, client, datagram)) = entries.recv().await {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        match &upstream {
            Some(socket) => socket.send(&datagram).await.ok(),
            None => shared.front.send_to(&datagram, client).await.ok(),
        };
    }
}

fn keep(captured: &mut VecDeque<Vec<u8>>, datagram: &[u8]) {
    if captured.len() == CAPTURED_MAX {
        captured.pop_front();
    }
    captured.push_back(datagram.to_vec());
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_server() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 100];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                socket.send_to(&buffer[..length], peer).await.ok();
            }
        });
        address
    }

    /// Sends `count` numbered datagrams at two a millisecond; returns how many came back and the median round trip.
    async fn exchange(link: Link, count: u32) -> (usize, Duration) {
        let relay = UdpRelay::start(echo_server().await, link, &Seed::from_number(7)).await.unwrap();
        let client = Arc::new(connect(relay.address()).await.unwrap());
        let sender = Arc::clone(&client);
        let started = Instant::now();
        tokio::spawn(async move {
            for number in 0..count {
                sender.send(&number.to_be_bytes()).await.ok();
                sleep_until(started + Duration::from_micros(500) * (number + 1)).await;
            }
        });
        let mut trips = Vec::new();
        let mut buffer = [0; 4];
        while let Ok(Ok(4)) = tokio::time::timeout(Duration::from_millis(300), client.recv(&mut buffer)).await
        {
            trips.push(
                started.elapsed().saturating_sub(Duration::from_micros(500) * u32::from_be_bytes(buffer)),
            );
        }
        trips.sort();
        (trips.len(), trips[trips.len() / 2])
    }

    #[tokio::test]
    async fn a_perfect_link_loses_nothing_and_waits_for_nothing() {
        let (returned, trip) = exchange(Link::default(), 500).await;
        assert_eq!(returned, 500);
        assert!(trip < Duration::from_millis(20), "{trip:?}");
    }

    #[tokio::test]
    async fn loss_and_delay_are_as_asked_each_way() {
        let (returned, trip) = exchange(Link::symmetric(0.05, Duration::from_millis(60)), 2_000).await;
        let share = returned as f64 / 2_000.0; // 0.95² = 0.9025 are expected; ±0.03 is four standard deviations
        assert!((0.87..0.93).contains(&share), "{share}");
        assert!((59..90).contains(&trip.as_millis()), "{trip:?}");
    }

    #[tokio::test]
    async fn a_cut_link_carries_nothing_and_an_injected_datagram_comes_from_the_clients_address() {
        let relay =
            UdpRelay::start(echo_server().await, Link::default(), &Seed::from_number(1)).await.unwrap();
        relay.capture();
        let client = connect(relay.address()).await.unwrap();
        let mut buffer = [0; 9];
        client.send(b"one").await.unwrap();
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 3);
        relay.inject(b"injected").await.unwrap();
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 8, "the echo reaches the client");
        relay.set_cut(true);
        client.send(b"two").await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), client.recv(&mut buffer)).await.is_err());
        assert_eq!(relay.captured(), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(relay.counts(), [(1, 1), (2, 0)]);
    }
}
