//! `Carried`: what a slot remembers of what it has carried: pictures, their order, answers to NACKs, counts. A slot that
//! has carried nothing has none.
//!
//! In: what [`RtpSendPipeline`](super::RtpSendPipeline) notes. Out: the same. Time: none. Limit: that of its parts.

use std::collections::VecDeque;

use fec::repeat::Repeats;
use fec::retransmit::RetransmitLimiter;
use proto::time::Instant;

use super::pending::SendStats;
use crate::transport::on_demand::Unused;
use crate::transport::packet::StreamId;
use crate::transport::rewriter::CatchUp;
use crate::transport::stats::LegCounts;

/// See the module's description. As in the slot, first comes what a packet needs first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Carried {
    /// The picture that was left out last.
    pub(super) left_out: Option<(StreamId, u32)>,
    /// The stream and the source's timestamp of the picture whose packets were admitted last.
    pub(super) picture: Option<(StreamId, u32)>,
    /// When a packet of a picture of the track was admitted last.
    pub(super) pictured_at: Option<Instant>,
    /// The length of that picture's largest payload so far.
    pub(super) largest: usize,
    /// The key frame that was admitted last.
    pub(super) key_picture: Option<(StreamId, u32)>,
    pub(super) newest: Option<(StreamId, u64)>,
    /// The picture whose first packets have left and whose last one has not.
    pub(super) partial: Option<(StreamId, u32)>,
    pub(super) stats: SendStats,
    pub(super) counts: LegCounts,
    pub(super) limiter: RetransmitLimiter,
    pub(super) repeats: Repeats,
    pub(super) key_frame_at: Option<Instant>,
    /// The stream and first packet with which the slot begins that is followed by more to be caught up with.
    pub(super) catch_up: Option<(StreamId, u64, CatchUp)>,
    /// The stream that was awaited when it could not be begun with at once.
    pub(super) refused: Option<StreamId>,
    /// Packets that came after later ones, and when: a subscriber may have asked for them meanwhile.
    pub(super) late: VecDeque<(StreamId, u64, Instant)>,
}

impl Carried {
    const NOTHING: Self = Self {
        left_out: None,
        picture: None,
        pictured_at: None,
        largest: 0,
        key_picture: None,
        newest: None,
        partial: None,
        stats: SendStats { packets: 0, octets: 0 },
        counts: LegCounts::NONE,
        limiter: RetransmitLimiter::new(),
        repeats: Repeats::new(),
        key_frame_at: None,
        catch_up: None,
        refused: None,
        late: VecDeque::new(),
    };
}

impl Default for Carried {
    fn default() -> Self {
        Self::NOTHING
    }
}

impl Unused for Carried {
    const UNUSED: &'static Self = &Self::NOTHING;
}
