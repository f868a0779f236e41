//! Loss recovery by itself: blocks of packets over lossy paths, by the product's plan and by others'.
//!
//! In: a [`Cell`] (round trip, deadline, losses, size of blocks), a [`Policy`], seeds. Out: [`Row`]s with the redundancy that
//! was sent and how many blocks it did not save, and [`check`]'s verdicts. Nothing but the path's losses and its delay is
//! simulated: no queue, no rate, no loss on the way back. What the plan knows of the path it has learned from what it sent;
//! only `hairpin` and `opt` are told.

mod air;
mod browser;
pub mod cell;
pub mod check;
mod experience;
mod oracle;
mod ours;
mod play;
mod policy;
mod rivals;
mod row;
mod weather;

pub use cell::Cell;
pub use experience::Experience;
pub use play::Tally;
pub use policy::{Policy, UnknownPolicy};
pub use row::{Optimum, Row, lines};
pub use weather::{Burst, UnknownBurst};
