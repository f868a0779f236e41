//! The thread between two TUN devices: reads what was sent, gives it to the links, writes what is due.

use std::io;

use proto::time::{Instant, earliest};
use proto::units::DataSize;
use tun_rs::SyncDevice;

use super::packet::IpPacket;
use super::{BATCH_MAX, Command, TunConfig};
use crate::clock::Clock;
use crate::counts::{Counts, Way};
use crate::lane::{Lane, way_seed};
use crate::thread::{Inbox, Mail};
use crate::wait::{Token, Waiter};

/// The longest IP packet.
const PACKET_MAX: usize = 65_535;

/// See the module's description.
pub(super) struct Engine {
    clock: Clock,
    waiter: Waiter,
    held_max: DataSize,
    buffer: Box<[u8]>,
    sides: [Side; 2],
    counts: Counts,
}

/// A device, and the link that begins at it.
struct Side {
    device: SyncDevice,
    lane: Lane<IpPacket>,
    way: Way,
}

impl Engine {
    /// An engine at rest between the left and the right device.
    pub(super) fn new(
        config: TunConfig,
        clock: Clock,
        devices: [SyncDevice; 2],
        waiter: Waiter,
    ) -> io::Result<Self> {
        let [left, right] = devices;
        let side =
            |device, plan, way| Side { device, lane: Lane::new(plan, &way_seed(&config.seed, way)), way };
        let sides = [side(left, config.up, Way::Up), side(right, config.down, Way::Down)];
        for (number, side) in sides.iter().enumerate() {
            waiter.watch(&side.device, Token(number))?;
        }
        let buffer = vec![0; PACKET_MAX].into();
        Ok(Self { clock, waiter, held_max: config.held_max, buffer, sides, counts: Counts::default() })
    }

    /// Works until nobody holds the other end of `inbox`.
    pub(super) fn run(mut self, inbox: &Inbox<Command>) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            let due = self.sides.iter().map(|side| side.lane.poll_timeout()).fold(None, earliest);
            self.waiter.wait(due, &mut ready)?;
            loop {
                match inbox.poll() {
                    Mail::Command(command) => self.handle_command(command),
                    Mail::Nothing => break,
                    Mail::End => return Ok(()),
                }
            }
            for Token(number) in &ready {
                self.read(*number)?;
            }
            self.send_due(self.clock.now());
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::SetLinks(links) => {
                let now = self.clock.now();
                let [left, right] = &mut self.sides;
                left.lane.set_plan(now, links.0);
                right.lane.set_plan(now, links.1);
            }
            Command::Counts(reply) => {
                let _ = reply.send(self.counts); // who asked may be gone
            }
        }
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let Some(side) = self.sides.get_mut(number) else { return Ok(()) };
        for _ in 0..BATCH_MAX {
            let length = match side.device.recv(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error), // the device is gone, with its namespace perhaps
            };
            let packet = IpPacket(self.buffer[..length].into());
            let counts = self.counts.way_mut(side.way);
            side.lane.handle_arrival(self.clock.now(), packet, counts, self.held_max);
        }
        Ok(())
    }

    fn send_due(&mut self, now: Instant) {
        let [left, right] = &mut self.sides;
        for (lane, to, way) in
            [(&mut left.lane, &right.device, Way::Up), (&mut right.lane, &left.device, Way::Down)]
        {
            let counts = self.counts.way_mut(way);
            while let Some(passed) = lane.poll_passed(now, counts) {
                counts.unsent += u64::from(to.send(&passed.parcel.0).is_err());
                counts.count_late(self.clock.now(), passed.at);
            }
        }
    }
}
