//! Protocol adaptation: room signaling's text and session descriptions become values that the worker acts on.

pub mod negotiation;
pub mod room_signal;
