//! Two network namespaces with a link each way between them, for whole hosts: TCP, QUIC, programs that cannot be told
//! of a relay.
//!
//! In: IP packets that one namespace sends into its TUN device. Out: the same from the other's, later, fewer. Sizes are
//! those of the IP packets. Time: its own thread's clock; a packet arrives when it is read, since TUN devices have no
//! timestamps. Chance: one seed. Limit: [`TunConfig::held_max`]; [`BATCH_MAX`] packets are read in one go.

mod namespace;
mod packet;
mod run;

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::SyncSender;

use proto::seed::Seed;
use proto::units::DataSize;
use rustix::thread::{CapabilitySet, capabilities};
use simulator::link::LinkPlan;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::clock::Clock;
use crate::counts::Counts;
use crate::thread::{Ended, Worker};
use crate::wait::Waiter;
use namespace::Namespace;

/// What the device is called in either namespace.
pub const DEVICE: &str = "emu0";
/// Packets read from one device before what is due is sent: some ms of work.
const BATCH_MAX: usize = 256;

/// What a pair of devices is started with.
#[derive(Clone)]
pub struct TunConfig {
    /// The namespace on the left.
    pub left: End,
    /// The namespace on the right.
    pub right: End,
    /// The link from left to right.
    pub up: LinkPlan,
    /// The link from right to left.
    pub down: LinkPlan,
    /// Bytes queued and in flight in each direction. What exceeds them is dropped.
    pub held_max: DataSize,
    /// Where the links' chance comes from.
    pub seed: Seed,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its name, as `ip netns` has it. It is made if it is not there, and then removed at the end.
    pub namespace: String,
    /// The address of its device.
    pub address: IpAddr,
}

/// Why there is no such pair of devices.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The process may not do it.
    #[error(
        "{0} is missing, which TUN devices and network namespaces need: run it as root (`sudo emu tun …`, or a \
         container with --cap-add NET_ADMIN --cap-add SYS_ADMIN); `emu relay` needs no rights"
    )]
    NotAllowed(&'static str),
    /// The device cannot be made.
    #[error(
        "cannot make a TUN device: {0}; /dev/net/tun must be there (`modprobe tun`, or a container with \
         --device /dev/net/tun)"
    )]
    NoDevice(io::Error),
    /// There is no program `ip`.
    #[error("cannot run `ip`: {0}; it is in the package iproute2")]
    NoIproute(io::Error),
    /// The program `ip` did not do what it was told.
    #[error("`ip {command}`: {said}")]
    Refused {
        /// Its arguments.
        command: String,
        /// What it said.
        said: String,
    },
    /// The thread does not start.
    #[error("cannot start: {0}")]
    NoThread(#[from] io::Error),
}

/// See the module's description. It ends when this is dropped, and with it the devices and the namespaces that it made.
pub struct Tun {
    clock: Clock,
    worker: Worker<Command>,
    _namespaces: [Namespace; 2],
}

/// What the thread is told.
enum Command {
    SetLinks(Box<(LinkPlan, LinkPlan)>),
    Counts(SyncSender<Counts>),
}

impl Tun {
    /// Makes the namespaces and the devices, and forwards until it is dropped.
    pub fn start(config: TunConfig) -> Result<Self, TunError> {
        check_rights()?;
        let namespaces =
            [Namespace::open(&config.left.namespace)?, Namespace::open(&config.right.namespace)?];
        let devices = [device()?, device()?];
        let ends = [(&config.left, &config.right), (&config.right, &config.left)];
        for ((device, namespace), (own, peer)) in devices.iter().zip(&namespaces).zip(ends) {
            let name = device.name().map_err(TunError::NoDevice)?;
            namespace.adopt(&name, own.address, peer.address)?;
        }
        let clock = Clock::start();
        let waiter = Waiter::new(clock)?;
        let wake = waiter.wake();
        let engine = run::Engine::new(config, clock, devices, waiter)?;
        let worker = Worker::start("emu-tun", wake, |inbox| engine.run(&inbox))?;
        Ok(Self { clock, worker, _namespaces: namespaces })
    }

    /// The clock that its times are of; rate steps and outages of plans count from this clock's zero.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Uses other links from now on; what is on its way stays there.
    pub fn set_links(&self, up: LinkPlan, down: LinkPlan) -> Result<(), Ended> {
        self.worker.tell(Command::SetLinks(Box::new((up, down))))
    }

    /// What became of the packets so far.
    pub fn counts(&self) -> Result<Counts, Ended> {
        self.worker.ask(Command::Counts)
    }

    /// Ends it, and tells why it had ended by itself if it had.
    pub fn end(self) -> io::Result<()> {
        self.worker.end()
    }
}

/// Whether the process may make devices and namespaces.
fn check_rights() -> Result<(), TunError> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    for (needed, name) in
        [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")]
    {
        if !effective.contains(needed) {
            return Err(TunError::NotAllowed(name));
        }
    }
    Ok(())
}

/// A TUN device of the kernel's naming, without addresses. It is gone when this is dropped.
fn device() -> Result<SyncDevice, TunError> {
    let device = DeviceBuilder::new().enable(false).build_sync().map_err(TunError::NoDevice)?;
    device.set_nonblocking(true).map_err(TunError::NoDevice)?;
    Ok(device)
}
