//! A thread that works to the microsecond, and the way to tell it things.
//!
//! In: commands. Out: its answers. Limit: [`COMMANDS_MAX`] commands wait, then whoever sends one waits.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rustix::process::setpriority_process;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use crate::wait::Wake;

/// Commands that wait for one thread.
const COMMANDS_MAX: usize = 1_024;
/// The strongest wish for a core that an ordinary thread may have.
const NICE_LEAST: i32 = -20;

/// The thread has ended: it was told to, or its descriptors failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the emulator's thread has ended")]
pub struct Ended;

/// A thread at work; dropping this ends it.
pub(crate) struct Worker<C> {
    commands: Option<SyncSender<C>>,
    wake: Wake,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// The thread's end: what it has been told.
pub(crate) struct Inbox<C>(Receiver<C>);

/// What a thread finds in its inbox.
pub(crate) enum Mail<C> {
    /// A command.
    Command(C),
    /// Nothing more for now.
    Nothing,
    /// Nobody will ever send anything more.
    End,
}

impl<C: Send + 'static> Worker<C> {
    /// Starts a thread that does `body`, whose waits `wake` ends.
    pub(crate) fn start(
        name: &str,
        wake: Wake,
        body: impl FnOnce(Inbox<C>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            hurry();
            body(Inbox(inbox))
        })?;
        Ok(Self { commands: Some(commands), wake, thread: Some(thread) })
    }

    /// Tells the thread something.
    pub(crate) fn tell(&self, command: C) -> Result<(), Ended> {
        self.commands.as_ref().ok_or(Ended)?.send(command).map_err(|_| Ended)?;
        self.wake.wake();
        Ok(())
    }

    /// Tells the thread something that it answers.
    pub(crate) fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> C) -> Result<T, Ended> {
        let (reply, answer) = sync_channel(1);
        self.tell(command(reply))?;
        answer.recv().map_err(|_| Ended)
    }

    /// Ends the thread, and tells why it had ended by itself if it had.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.join()
    }
}

impl<C> Worker<C> {
    fn join(&mut self) -> io::Result<()> {
        self.commands = None;
        self.wake.wake();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    }
}

impl<C> Drop for Worker<C> {
    fn drop(&mut self) {
        let _ = self.join(); // why it failed, if it did, nobody asked
    }
}

impl<C> Inbox<C> {
    /// The next command, if there is one.
    pub(crate) fn poll(&self) -> Mail<C> {
        match self.0.try_recv() {
            Ok(command) => Mail::Command(command),
            Err(TryRecvError::Empty) => Mail::Nothing,
            Err(TryRecvError::Disconnected) => Mail::End,
        }
    }
}

/// Puts this thread before others, as far as the process may: then a busy machine does not make links slower than
/// planned. Without the right (`CAP_SYS_NICE`) it is one thread among others.
fn hurry() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_err() {
        let _ = setpriority_process(None, NICE_LEAST); // of this thread only; refused as a rule
    }
}
