//! Media by TCP (RFC 6544's passive candidates): for clients that UDP does not reach.
//!
//! One listener for all workers: [`door`] waits for a connection's first frame, which names the worker, and hands the
//! connection to that worker's thread. There [`connections`] reads and writes it; what waits to be written, and what is dropped
//! instead, is [`queue`]'s matter.

mod connections;
mod door;
mod place;
mod queue;

pub(super) use connections::{Closed, Connections, Counts};
pub(crate) use door::{Door, Handed};
pub(crate) use place::Places;
