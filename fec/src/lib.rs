//! Loss recovery: what to ask for again, and from what to answer.
//!
//! Both directions of RFC 4585's negative acknowledgements, without clock or socket: [`nack`] is the receiver's
//! side (which holes to ask for, when, and when to stop), [`retransmit`] the sender's (what to answer from, and
//! how much of it; [`repeat`] which answers go twice, [`hold_off`] which wait because repair packets may spare them).
//! [`scheme`] has the ways to send repair before anybody asks. [`repair_time`] says what repair costs whoever plays the
//! stream.

pub mod hold_off;
pub mod loss_model;
pub mod nack;
pub mod plan;
pub mod repair_time;
pub mod repeat;
pub mod retransmit;
pub mod scheme;
