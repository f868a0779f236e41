//! What a receiver's RTCP says: arrivals for the send history, packets to send again, the wish for a key picture.
//!
//! In: datagrams. Out: [`Heard`]. Limit: what one datagram holds; nothing of it is kept but the receiver's clock.
//!
//! Simulated receivers number packets by the connection in both formats, so RFC 8888's report of a stream too speaks of
//! transport-wide numbers.

use proto::feedback::{Arrival, CcfbClock, TwccClock};
use proto::rtcp::{self, Rtcp};
use proto::rtp::SeqNo;

/// Reads a receiver's reports; see the module's description.
#[derive(Debug, Default)]
pub(super) struct Reader {
    twcc: TwccClock,
    ccfb: CcfbClock,
    heard: Heard,
}

/// What one datagram said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// How packets arrived, in the order of the reports.
    pub(super) arrivals: Vec<Arrival>,
    /// The pictures' packets to send again.
    pub(super) lost: Vec<SeqNo>,
    /// Whether the receiver can decode nothing before the next key picture.
    pub(super) key_wanted: bool,
}

impl Reader {
    /// The arrivals that the last datagram told of.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = Arrival> {
        self.heard.arrivals.iter().copied()
    }

    /// What a datagram says; nothing if it is no RTCP.
    pub(super) fn read(&mut self, datagram: &[u8]) -> &Heard {
        self.heard.arrivals.clear();
        self.heard.lost.clear();
        self.heard.key_wanted = false;
        for packet in rtcp::parse(datagram).unwrap_or_default() {
            match packet {
                Rtcp::TransportFeedback(feedback) => {
                    self.heard.arrivals.extend(self.twcc.arrivals(&feedback));
                }
                Rtcp::CongestionFeedback(feedback) => {
                    let arrivals = self.ccfb.arrivals(&feedback).map(|(_, arrival)| arrival);
                    self.heard.arrivals.extend(arrivals);
                }
                Rtcp::Nack { lost, .. } => self.heard.lost.extend(lost),
                Rtcp::Pli { .. } | Rtcp::Fir { .. } => self.heard.key_wanted = true,
                Rtcp::SenderReport(_)
                | Rtcp::ReceiverReport(_)
                | Rtcp::SourceDescription { .. }
                | Rtcp::Bye { .. } => {}
            }
        }
        &self.heard
    }
}
