//! Network namespaces by their names, through iproute2, which knows where names are kept.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::{DEVICE, TunError};

/// Where iproute2 keeps the names.
const NAMES: &str = "/run/netns";

/// A namespace; one that was made here is removed when this is dropped.
pub(super) struct Namespace {
    name: String,
    made: bool,
}

impl Namespace {
    /// The namespace of a name, made if it is not there.
    pub(super) fn open(name: &str) -> Result<Self, TunError> {
        let made = !Path::new(NAMES).join(name).exists();
        if made {
            ip(&["netns", "add", name])?;
        }
        Ok(Self { name: name.to_owned(), made })
    }

    /// Moves a device here, gives it its addresses and brings it up.
    pub(super) fn adopt(&self, device: &str, own: IpAddr, peer: IpAddr) -> Result<(), TunError> {
        let (name, own, peer) = (self.name.as_str(), own.to_string(), peer.to_string());
        ip(&["link", "set", "dev", device, "netns", name, "name", DEVICE])?;
        ip(&["-n", name, "link", "set", "dev", "lo", "up"])?;
        // Without an address of its own making, the kernel sends nothing on its own account (router solicitations).
        ip(&["-n", name, "link", "set", "dev", DEVICE, "addrgenmode", "none"])?;
        ip(&["-n", name, "address", "add", &own, "peer", &peer, "dev", DEVICE])?;
        ip(&["-n", name, "link", "set", "dev", DEVICE, "up"])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.made {
            let _ = ip(&["netns", "delete", &self.name]); // somebody else may have done so
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), TunError> {
    let output = Command::new("ip").args(arguments).output().map_err(TunError::NoIproute)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TunError::Refused { command: arguments.join(" "), said })
}
