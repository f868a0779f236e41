//! The TCP listener: lets in whoever says first whom it is for, and hands the connection to that worker.
//!
//! In: connections. Out: [`Handed`] to a worker. Time: [`FIRST_FRAME_WITHIN`] for the first frame. Limit: [`Places`]; of each
//! connection no more than its first frame is read, [`FIRST_FRAME_MAX`] bytes. Nothing is proved here: the worker's core
//! checks the request's integrity, and a connection that fails that is closed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use sfu::network::framing;
use sfu::network::stun::BindingRequest;
use sfu::worker::{Path, WorkerMark};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::place::{NoPlace, Place, Places};
use crate::media::Command;

/// How long a connection may take for its first frame. Browsers send it as soon as they are connected: five seconds are two
/// retransmissions on a bad path.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(5);
/// The longest first frame: browsers' requests have about 120 bytes, one with the longest fragments (RFC 8839 §5.4) 600.
const FIRST_FRAME_MAX: usize = 600;
/// How many bytes the kernel holds that it has not sent yet. What waits is to wait in our queue, which drops in time; this
/// much keeps a connection of 10 Mbit/s busy for 13 ms until our next turn.
const UNSENT_MAX: u32 = 16 * 1024;
/// How long to wait after a failure such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that comes to a worker.
pub(crate) struct Handed {
    /// The connection, of which one frame was read.
    pub(in crate::media) stream: std::net::TcpStream,
    /// Its ends.
    pub(in crate::media) path: Path,
    /// What the first frame held: a binding request.
    pub(in crate::media) first: Vec<u8>,
    /// Its place among all connections.
    pub(in crate::media) place: Place,
}

/// See the module's description.
pub(crate) struct Door {
    /// The workers' inboxes, by their numbers.
    pub(crate) workers: Vec<mpsc::Sender<Command>>,
    /// Places for connections.
    pub(crate) places: Arc<Places>,
}

/// Why a connection was closed before any worker had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NoPlace(NoPlace),
    /// The first frame did not come in time, or the connection broke.
    Silent,
    /// What came first is no binding request of reasonable length.
    NoRequest,
    /// No worker has made that user name fragment.
    UnknownWorker,
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Self::NoPlace(NoPlace::Full) => "limit",
            Self::NoPlace(NoPlace::FullForAddress) => "limit_of_address",
            Self::NoPlace(NoPlace::FullOfSilent) => "limit_of_silent",
            Self::Silent => "silent",
            Self::NoRequest => "no_request",
            Self::UnknownWorker => "unknown_worker",
        }
    }
}

impl Door {
    /// Lets connections in until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => match door.places.take(remote.ip().to_canonical()) {
                    Ok(place) => drop(tokio::spawn(Arc::clone(&door).let_in(stream, place))),
                    Err(why) => refuse(Refusal::NoPlace(why)),
                },
                Err(error) => {
                    tracing::warn!("cannot accept a media connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn let_in(self: Arc<Self>, stream: TcpStream, place: Place) {
        let entered = timeout(FIRST_FRAME_WITHIN, self.hand_over(stream, place)).await;
        if let Err(why) = entered.unwrap_or(Err(Refusal::Silent)) {
            refuse(why);
        }
    }

    async fn hand_over(&self, mut stream: TcpStream, mut place: Place) -> Result<(), Refusal> {
        let first = first_frame(&mut stream).await?;
        let request = BindingRequest::parse(&first).map_err(|_| Refusal::NoRequest)?;
        let mark = WorkerMark::of(request.local_ufrag()).ok_or(Refusal::UnknownWorker)?;
        let worker = self.workers.get(mark.worker()).ok_or(Refusal::UnknownWorker)?;
        place.note_heard();
        let (stream, path) = prepare(stream).map_err(|_| Refusal::Silent)?; // it broke meanwhile
        let handed = Handed { stream, path, first, place };
        worker.send(Command::Connected(handed)).await.map_err(|_| Refusal::UnknownWorker) // that worker has ended
    }
}

async fn first_frame(stream: &mut TcpStream) -> Result<Vec<u8>, Refusal> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.map_err(|_| Refusal::Silent)?;
    let length = framing::announced(head).map_err(|_| Refusal::NoRequest)?;
    if length > FIRST_FRAME_MAX {
        return Err(Refusal::NoRequest);
    }
    let mut first = vec![0; length];
    stream.read_exact(&mut first).await.map_err(|_| Refusal::Silent)?;
    Ok(first)
}

/// Makes the kernel send at once what it has, and hold little that it cannot send.
fn prepare(stream: TcpStream) -> io::Result<(std::net::TcpStream, Path)> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_MAX)?;
    let (local, mut remote) = (stream.local_addr()?.ip().to_canonical(), stream.peer_addr()?);
    remote.set_ip(remote.ip().to_canonical());
    Ok((stream.into_std()?, Path::tcp(Some(local), remote)))
}

fn refuse(why: Refusal) {
    counter!("lianmai_tcp_refused_total", "reason" => why.reason()).increment(1);
}

/// A connection as if its first frame had been read.
#[cfg(test)]
pub(super) fn handed(stream: TcpStream, places: &Arc<Places>, remote: std::net::SocketAddr) -> Handed {
    let Ok(place) = places.take(remote.ip()) else { panic!("there is no room") };
    let (stream, path) = prepare(stream).expect("it is open");
    Handed { stream, path, first: Vec::new(), place }
}
