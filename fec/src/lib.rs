//! Loss recovery: what to ask for again, and from what to answer.
//!
//! Both directions of RFC 4585's negative acknowledgements, without clock or socket: [`nack`] is the receiver's
//! side (which holes to ask for, when, and when to stop), [`retransmit`] the sender's (what to answer from, and
//! how much of it; [`repeat`] which answers go twice). [`repair_time`] says what repair costs whoever plays the stream.

pub mod nack;
pub mod repair_time;
pub mod repeat;
pub mod retransmit;
