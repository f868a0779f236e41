//! Accepts TCP connections and speaks HTTP/1.1 on each.
//!
//! In: a listener. Out: requests to the router. Time: [`HEADER_MAX`] for a request's header, also between requests.
//! Limit: a number of connections; further ones wait in the kernel's backlog.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections beyond those of `WebSocket`s: pages being loaded, scrapers, health checks.
pub(crate) const SPARE: usize = 1024;
/// How long a client may take to send a request's header.
const HEADER_MAX: Duration = Duration::from_secs(15);
/// The longest request header, in bytes: a token of the greatest length in the address, and room for the rest.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// How long to wait after a failure such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`; `::` takes IPv4 too.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?; // a restart need not wait for the old connections' TIME_WAIT
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until it is dropped; connections that are open then go on.
pub(crate) async fn serve(listener: TcpListener, router: Router, connections_max: usize) {
    let permits = Arc::new(Semaphore::new(connections_max));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true); // signaling is small messages that should not wait for each other
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("an HTTP connection ended early: {error}");
    }
}
