//! What feedback tells of the packets that left, and who is to know: the estimator, the model of losses, repair.
//!
//! In: arrivals that RTCP told of. Out: the same, judged. Time: `now`, monotonic. Limit: none of its own.

use core::time::Duration;

use cc::PacketClass;
use fec::loss_model::{Fate, Judged, LossModel, PacketFate};
use proto::time::Instant;

use super::{ConnectionPipeline, Outgoing, RtpSendPipeline};

/// Reports that are farther apart belong to no steady stream (libwebrtc's are at most 250 ms apart).
const REPORT_MAX: Duration = Duration::from_millis(250);

/// How much a packet's fate counts when the next one's is told: of 200, a second at 2 Mbit/s, two thirds count.
const LATELY: f64 = 1.0 - 1.0 / 200.0;

/// What became of the packets of a second or so, the newest counting most, and how often that is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lately {
    pub(super) told: f64,
    pub(super) lost: f64,
    pub(super) at: Option<Instant>,
    pub(super) interval: Duration,
}

impl Lately {
    fn note_report(&mut self, now: Instant) {
        if let Some(before) = self.at.replace(now) {
            self.interval = (self.interval * 7 + now.since(before).min(REPORT_MAX)) / 8;
        }
    }

    fn add(&mut self, has_arrived: bool) {
        self.told = self.told * LATELY + 1.0;
        self.lost = self.lost * LATELY + f64::from(!has_arrived);
    }
}

impl ConnectionPipeline {
    /// Tells the estimator, the model of losses and whoever waits for repair packets of the arrivals that RTCP told of.
    pub(in crate::transport::connection) fn settle_arrivals(&mut self, now: Instant) {
        let Some(downlink) = &mut self.downlink else { return };
        let judged = self.outgoing.blame.judge(now, downlink.path_class());
        let Judged { cause, is_acquitted, may_protect } = judged;
        self.outgoing.may_protect = may_protect;
        if is_acquitted {
            self.losses = LossModel::default();
        }
        let Outgoing { recent, fates, told, lately, .. } = &mut self.outgoing;
        let slots = &mut self.slots;
        downlink.handle_arrivals(now, |result| {
            let has_arrived = result.received.is_some();
            let fate = if has_arrived { Fate::Received } else { Fate::Lost(cause) };
            fates.push(PacketFate { sent: result.sent.sent, fate });
            told.add(fate);
            lately.add(has_arrived);
            if result.sent.class == PacketClass::Repair {
                let number = result.sent.number;
                for repair in slots.iter_mut().filter_map(RtpSendPipeline::planned_repair_mut) {
                    repair.handle_fate(now, number, has_arrived);
                }
            }
            if result.received.is_some()
                && let Ok(place) = recent.binary_search_by_key(&result.sent.number, |recent| recent.number)
            {
                recent[place].arrived = true;
            }
        });
        if !self.outgoing.fates.is_empty() {
            self.outgoing.lately.note_report(now);
        }
        self.losses.handle_fates(self.outgoing.fates.drain(..));
    }
}
