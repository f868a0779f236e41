//! `lianmai serve`: puts everything together, runs until it is asked to end, and takes it apart in order.
//!
//! In: the configuration. Out: sockets, worker threads, the HTTP server. Time: [`DRAIN_MAX`] for letting everyone go.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use proto::seed::Seed;
use proto::units::Bitrate;
use sfu::network::dtls::Certificate;
use sfu::worker::{self, WorkerMark};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::banner::Started;
use crate::clock::Clock;
use crate::config::{Config, Downlink, Rtc, Secret};
use crate::http::room_stats::Asking;
use crate::http::{self, App};
use crate::media::tcp::{Door, Places};
use crate::media::{self, Command, Pin, Published};
use crate::ports::{PortError, Ports};
use crate::rooms::{Rooms, Spans};
use crate::token::Keys;
use crate::{addresses, shutdown};

/// The name of the key that is made when there is none.
const DEV_KEY: &str = "devkey";
/// The length of its secret: 256 bits in letters and digits.
const DEV_SECRET: usize = 43;
/// How long everyone may take to be let go: the workers' own limit, and a little for the close frames.
const DRAIN_MAX: Duration = Duration::from_millis(2_500);

/// Connections of scrapers at a time.
const SCRAPERS_MAX: usize = 16;
/// How often histograms' samples are summed up: 2000 subscribers leave 30,000 of them meanwhile.
const KEEP_UP_INTERVAL: Duration = Duration::from_secs(5);

/// Why the server did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A media worker ended by itself.
    #[error("media worker {0} ended; the lines above say why")]
    WorkerEnded(usize),
    /// The system denies something else.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

/// Whether to print the line for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// On stdout.
    Print,
    /// Not at all.
    Keep,
}

/// Runs the server until it is asked to end.
pub(crate) async fn run(mut config: Config, ready: Ready) -> Result<(), ServeError> {
    raise_file_limit();
    let seed = Seed::new(random());
    let dev_key = make_dev_key(&mut config.keys, &seed);
    let Ports { bound, listener, metrics: scraped, media: sockets, media_tcp } = Ports::open(&config)?;
    let interfaces = addresses::interfaces().map_err(system("cannot list the network interfaces"))?;
    let announced = addresses::announced(&config, bound, &interfaces);
    let http = listener.local_addr().map_err(system("cannot read the TCP port"))?;
    let metrics = scraped.local_addr().map_err(system("cannot read the metrics' TCP port"))?;
    let udp = udp_ports(&sockets).map_err(system("cannot read the UDP ports"))?;
    let tcp = media_tcp.as_ref().map(TcpListener::local_addr).transpose();
    let tcp = tcp.map_err(system("cannot read the TCP port for media"))?.map(|address| address.port());

    let recorder = media::recorder();
    media::describe_metrics();
    tokio::spawn(keep_up(recorder.clone()));
    let clock = Clock::start();
    let (closing, is_closing) = watch::channel(false);
    let listening = Listening { sockets, udp: &udp, tcp, announced: &announced };
    let mut workers = Workers::start(&config, clock, &seed, listening)?;
    let door = Door { workers: workers.inboxes.clone(), places: Places::new(config.limit.sockets) };
    let letting_in = media_tcp.map(|listener| tokio::spawn(door.serve(listener)));
    let app = Arc::new(App {
        dev_key,
        keys: config.keys,
        rooms: Arc::clone(&workers.rooms),
        workers: workers.inboxes.clone(),
        sockets: Arc::new(Semaphore::new(config.limit.sockets)),
        sockets_max: config.limit.sockets,
        next_socket: AtomicU64::new(0),
        closing: is_closing,
        clock,
        asking: workers.inboxes.iter().map(|_| Asking::new(clock.now())).collect(),
        metrics: recorder,
        residence: workers.residence.clone(),
    });
    let scraping = http::metrics_router(Arc::clone(&app));
    tokio::spawn(http::accept::serve(scraped, scraping, SCRAPERS_MAX));
    let router = http::router(Arc::clone(&app));
    let accepting =
        tokio::spawn(http::accept::serve(listener, router, app.sockets_max + http::accept::SPARE));

    let external_ip = config.rtc.external_ip;
    let dev_key = app.dev_key.as_deref().map(|name| (name, &app.keys[name]));
    let keys = app.keys.keys().map(String::as_str).collect();
    let (udp_ports, announced) = (&udp[..], &announced[..]);
    let started = Started { http, metrics, udp: udp_ports, tcp, announced, external_ip, keys, dev_key };
    started.lines().iter().for_each(|line| eprintln!("{line}"));
    if ready == Ready::Print {
        println!("{}", started.ready());
    }

    tokio::select! {
        asked = shutdown::asked() => asked.map_err(system("cannot wait for signals"))?,
        Some(index) = workers.ended.recv() => return Err(ServeError::WorkerEnded(index)),
    }
    tracing::info!(
        "shutting down: {} participants are told; Ctrl-C again ends at once",
        workers.participants()
    );
    accepting.abort();
    letting_in.iter().for_each(JoinHandle::abort);
    closing.send_replace(true);
    let everyone = async {
        workers.drain().await;
        let _ = app.sockets.acquire_many(app.sockets_max as u32).await; // each WebSocket has said goodbye
    };
    if timeout(DRAIN_MAX, everyone).await.is_err() {
        tracing::warn!("some clients did not say goodbye in time");
    }
    Ok(())
}

/// Where media comes in.
struct Listening<'a> {
    /// A socket for each worker.
    sockets: Vec<UdpSocket>,
    /// Their ports.
    udp: &'a [u16],
    /// The port for TCP connections, if there is one.
    tcp: Option<u16>,
    /// The addresses to tell clients.
    announced: &'a [IpAddr],
}

/// The media workers.
struct Workers {
    inboxes: Vec<mpsc::Sender<Command>>,
    rooms: Arc<Rooms>,
    residence: Vec<Arc<Published>>,
    /// The numbers of those that ended.
    ended: mpsc::Receiver<usize>,
}

impl Workers {
    fn start(
        config: &Config,
        clock: Clock,
        seed: &Seed,
        listening: Listening<'_>,
    ) -> Result<Self, ServeError> {
        let Listening { sockets, udp, tcp, announced } = listening;
        let at = |port: u16| announced.iter().map(move |&ip| SocketAddr::new(ip, port));
        let Rtc { span_above_load: above_load, span_participants: participants, .. } = config.rtc;
        let rooms = Rooms::new(sockets.len(), Spans { above_load, participants });
        let links = media::relay::links(sockets.len());
        let (tell, ended) = mpsc::channel(sockets.len().max(1));
        let certificate = Certificate::generate();
        let residence: Vec<Arc<Published>> = (0..sockets.len()).map(|_| Arc::default()).collect();
        let mut inboxes = Vec::with_capacity(sockets.len());
        for (index, ((socket, port), links)) in sockets.into_iter().zip(udp).zip(links).enumerate() {
            let core = worker::Config {
                candidates: at(*port).collect(),
                tcp_candidates: tcp.into_iter().flat_map(at).collect(),
                mark: WorkerMark::new(index).expect("the configuration limits the workers to the marks"),
                protection: worker::Protection::Srtp {
                    certificate: certificate.clone(),
                    epoch: clock.epoch(),
                },
                seed: seed.fork(&format!("worker {index}")),
                wall_clock: clock.wall_clock(),
                room_participants_max: config.room.max_participants,
                downlink: downlink(config),
            };
            let pin = if config.rtc.pin_workers { Pin::ToCore } else { Pin::Nowhere };
            let (rooms, residence) = (Arc::clone(&rooms), Arc::clone(&residence[index]));
            let start = media::Start { index, socket, config: core, rooms, clock, pin, residence, links };
            inboxes.push(media::spawn(start, tell.clone()).map_err(system("cannot start a thread"))?);
        }
        Ok(Self { inboxes, rooms, residence, ended })
    }

    fn participants(&self) -> usize {
        (0..self.inboxes.len()).map(|index| self.rooms.participants(index)).sum()
    }

    /// Lets everyone go and waits until all workers have ended.
    async fn drain(&mut self) {
        for inbox in &self.inboxes {
            let _ = inbox.send(Command::Drain).await; // fails if that worker has already ended
        }
        for _ in &self.inboxes {
            self.ended.recv().await;
        }
    }
}

/// Makes room among the histograms' samples, as their library wants it, also while nobody scrapes.
async fn keep_up(recorder: PrometheusHandle) {
    let mut beat = tokio::time::interval(KEEP_UP_INTERVAL);
    loop {
        beat.tick().await;
        recorder.run_upkeep();
    }
}

/// How subscribers are sent to.
fn downlink(config: &Config) -> worker::DownlinkSettings {
    let Downlink { min_kbps, start_kbps, max_kbps, forward_repair, instant_start } = config.downlink;
    let limits = worker::RateLimits {
        min: Bitrate::kbps(min_kbps),
        start: Bitrate::kbps(start_kbps),
        max: Bitrate::kbps(max_kbps),
    };
    let (scene, defaults) = (config.room.scene, worker::DownlinkSettings::default());
    worker::DownlinkSettings { limits, scene, forward_repair, instant_start, ..defaults }
}

/// Makes a development key if there are no keys, and says its name.
fn make_dev_key(keys: &mut Keys, seed: &Seed) -> Option<String> {
    if !keys.is_empty() {
        return None;
    }
    let secret = seed.fork("development key").generator().text(DEV_SECRET);
    keys.insert(DEV_KEY.to_owned(), Secret::new(secret));
    Some(DEV_KEY.to_owned())
}

fn udp_ports(sockets: &[UdpSocket]) -> io::Result<Vec<u16>> {
    sockets.iter().map(|socket| socket.local_addr().map(|address| address.port())).collect()
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// Allows as many open files as the system lets this process have: each WebSocket is one.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit); // if not, `limit.sockets` may be out of reach, which accept() says
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::System(what, error)
}
