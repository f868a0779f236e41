//! Waiting for descriptors, for a moment, and for other threads: whichever comes first.
//!
//! In: descriptors, each with a token. Out: the tokens of those that are ready. Time: an absolute timer of the kernel,
//! which has no slack, unlike the time-out of a poll (50 us, or a thousandth of it). Limit: [`READY_MAX`] tokens at
//! once, the rest the next time.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use proto::time::Instant;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::Clock;

/// Descriptors told of at once.
const READY_MAX: usize = 64;

/// What a descriptor is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) usize);

const TIMER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// See the module's description.
pub(crate) struct Waiter {
    clock: Clock,
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<Instant>,
    wake: Wake,
}

/// Ends a wait from another thread.
#[derive(Clone)]
pub(crate) struct Wake(Arc<OwnedFd>);

impl Waiter {
    /// A waiter on nothing but time and [`Wake`].
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let wake = Wake(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &*wake.0, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self { clock, epoll, timer, armed: None, wake })
    }

    /// What ends a wait.
    pub(crate) fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Waits for `source` too from now on.
    pub(crate) fn watch(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.0 as u64);
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    /// Waits until a descriptor is readable, [`Wake::wake`] is called or it is `until`; `ready` has the descriptors.
    pub(crate) fn wait(&mut self, until: Option<Instant>, ready: &mut Vec<Token>) -> io::Result<()> {
        ready.clear();
        self.arm(until)?;
        let mut events = [const { MaybeUninit::uninit() }; READY_MAX];
        let events = match epoll::wait(&self.epoll, &mut events, None) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            match event.data.u64() {
                TIMER => {} // stays ready until it is armed for another moment
                WAKE => {
                    let _ = rustix::io::read(&*self.wake.0, &mut [0; 8]); // fails if another wait has cleared it
                }
                token => ready.push(Token(token as usize)),
            }
        }
        Ok(())
    }

    fn arm(&mut self, until: Option<Instant>) -> io::Result<()> {
        if self.armed == until {
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = until.map_or(never, |until| self.clock.kernel_time(until)); // a past one fires at once
        let once = Itimerspec { it_interval: never, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed = until;
        Ok(())
    }
}

impl Wake {
    /// Ends the present wait, or the next one if there is none.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes()); // fails if it is full of calls already
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_ends_in_time_or_when_it_is_woken_or_when_something_is_there() {
        let clock = Clock::start();
        let mut waiter = Waiter::new(clock).unwrap();
        let mut ready = Vec::new();

        let due = clock.now() + Duration::from_millis(5);
        waiter.wait(Some(due), &mut ready).unwrap();
        assert!(clock.now() >= due && ready.is_empty());

        waiter.wait(Some(Instant::from_nanos(1)), &mut ready).unwrap(); // has passed: it does not wait

        waiter.wake().wake();
        waiter.wait(None, &mut ready).unwrap();
        let due = clock.now() + Duration::from_millis(5);
        waiter.wait(Some(due), &mut ready).unwrap();
        assert!(clock.now() >= due, "one wake ends one wait");

        let (one, two) = std::os::unix::net::UnixStream::pair().unwrap();
        waiter.watch(&one, Token(7)).unwrap();
        rustix::io::write(&two, b"!").unwrap();
        waiter.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [Token(7)]);
    }
}
