//! How many TCP connections there may be: in all, from one address, and of those that have said nothing yet.
//!
//! In: connections that come, speak and go. Out: a [`Place`] for each, or why there is none. Limit: an entry for each address
//! that has a connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most connections from one address: an office behind one NAT whose firewall lets no UDP through.
const PER_ADDRESS_MAX: usize = 1_000;
/// The most connections that have said nothing yet. Each does so within a second or is closed a little later.
const SILENT_MAX: usize = 1_000;
/// Of those, from one address.
const SILENT_PER_ADDRESS_MAX: usize = 50;

/// See the module's description.
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Count,
    by_address: HashMap<IpAddr, Count>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    connections: usize,
    silent: usize,
}

/// Why a connection has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// There are too many.
    Full,
    /// There are too many from its address.
    FullForAddress,
    /// Too many have said nothing yet.
    FullOfSilent,
}

impl Places {
    /// Room for so many connections.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// A place for a connection from `address` that has said nothing yet.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let address = network(address);
        let mut taken = self.lock();
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all.connections >= self.most {
            return Err(NoPlace::Full);
        }
        if of_address.connections >= PER_ADDRESS_MAX {
            return Err(NoPlace::FullForAddress);
        }
        if taken.all.silent >= SILENT_MAX || of_address.silent >= SILENT_PER_ADDRESS_MAX {
            return Err(NoPlace::FullOfSilent);
        }
        taken.change(address, |count| {
            count.connections += 1;
            count.silent += 1;
        });
        Ok(Place { places: Arc::clone(self), address, is_silent: true })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let count = self.by_address.entry(address).or_default();
        change(count);
        if count.connections == 0 {
            self.by_address.remove(&address);
        }
    }
}

/// What counts as one address: of IPv6, the network of one site (RFC 6177 §2), within which a host has as many as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// A connection's place; free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    is_silent: bool,
}

impl Place {
    /// The connection has said something.
    pub(super) fn note_heard(&mut self) {
        if std::mem::take(&mut self.is_silent) {
            self.places.lock().change(self.address, |count| count.silent -= 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.note_heard();
        self.places.lock().change(self.address, |count| count.connections -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn fill(places: &Arc<Places>, address: IpAddr, heard: bool) -> (Vec<Place>, NoPlace) {
        let mut held = Vec::new();
        loop {
            match places.take(address) {
                Ok(mut place) => {
                    if heard {
                        place.note_heard();
                    }
                    held.push(place);
                }
                Err(why) => return (held, why),
            }
        }
    }

    #[test]
    fn each_limit_has_its_reason_and_a_place_can_be_taken_again() {
        for (name, most, heard, held, why) in [
            ("in all", 20, false, 20, NoPlace::Full),
            ("silent ones of an address", 2_000, false, SILENT_PER_ADDRESS_MAX, NoPlace::FullOfSilent),
            ("of an address", 2_000, true, PER_ADDRESS_MAX, NoPlace::FullForAddress),
        ] {
            let places = Places::new(most);
            let (mut places_held, reason) = fill(&places, HERE, heard);
            assert_eq!((places_held.len(), reason), (held, why), "{name}");
            assert_eq!(places.take(THERE).is_ok(), why != NoPlace::Full, "{name}: another address");
            places_held.pop();
            assert!(places.take(HERE).is_ok(), "{name}: one has gone");
            drop(places_held);
            assert_eq!(places.lock().all, Count::default(), "{name}: all have gone");
            assert!(places.lock().by_address.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_ipv6_site_is_one_address() {
        let places = Places::new(2_000);
        let host = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]);
        let held: Vec<_> = (0..200).filter_map(|number| places.take(host(number)).ok()).collect();
        assert_eq!(held.len(), SILENT_PER_ADDRESS_MAX);
        assert!(places.take("2001:db8:0:1::1".parse().unwrap()).is_ok(), "another site");
    }
}
