//! Loss recovery and congestion control together: one stream of pictures over a bottleneck, towards a browser.
//!
//! In: a [`Scenario`](crate::scenario::Scenario), a [`Contender`] (an estimator and what is done about losses), seeds. Out:
//! [`Row`]s with stalls, delays of pictures, and what repair took, and [`check`]'s verdicts.
//!
//! Pictures, pacing and congestion control are those of every flow here; the receiver reports, restores and asks as a browser
//! does. Behind the SFU two things would differ between contenders that shall not: which layers there are to choose from, and
//! what a sender other than ours would do with them. So an encoder follows the rate, and all that differs is the estimator
//! and the repair; of Lianmai's, every part that decides is the product's.

mod cache;
pub mod check;
mod contender;
mod cost;
mod decoder;
mod libwebrtc;
mod parity;
mod planned;
mod play;
mod receiver;
mod requests;
mod row;
mod tally;

pub use contender::{Contender, Repair, UnknownContender};
pub use play::{Options, SCENARIOS, play, scenario};
pub use row::{NUMBERS, Number, Row, lines};
pub use tally::Outcome;
