//! Transport processing: RTP in and out, its repair, its clocks and its feedback.

pub mod arrivals;
pub mod clock;
pub mod connection;
pub mod downlink;
pub mod keyframes;
pub mod meter;
pub mod on_demand;
pub mod packet;
pub mod reception;
pub mod rewriter;
pub mod rtp_recv;
pub mod rtp_send;
pub mod selector;
pub mod stats;
pub mod strategy;
