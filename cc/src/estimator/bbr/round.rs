//! Packet-timed round trips (draft §5.5.1, "Tracking Packet-Timed Round Trips").
//!
//! In: what was delivered, and what had been when a reported packet left. Out: how many rounds there were, and
//! whether this report begins one.

use proto::units::DataSize;

/// Counts rounds: one ends when a packet is reported that left after its beginning.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// How many there were.
    pub(super) count: u64,
    /// Whether the latest report began one.
    pub(super) started: bool,
    /// How many since the last probe for bandwidth; [`super::probe_bw`] sets it.
    pub(super) since_probe: u64,
    next_delivered: DataSize,
    window_full: [bool; 2],
}

impl Rounds {
    /// A report came: its newest packet left when `prior_delivered` was delivered; now `delivered` is.
    pub(super) fn handle_report(&mut self, prior_delivered: DataSize, delivered: DataSize) {
        self.started = prior_delivered >= self.next_delivered;
        if self.started {
            self.begin(delivered);
            self.count += 1;
            self.since_probe += 1;
            self.window_full = [false, self.window_full[0]];
        }
    }

    /// A round begins here, whatever was before.
    pub(super) const fn begin(&mut self, delivered: DataSize) {
        self.next_delivered = delivered;
    }

    /// A packet left that filled the window.
    pub(super) const fn note_full_window(&mut self) {
        self.window_full[0] = true;
    }

    /// Whether the window was full at some time in this round or the one before (the draft's `C.is_cwnd_limited`).
    pub(super) const fn is_window_limited(&self) -> bool {
        self.window_full[0] || self.window_full[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_with_a_packet_that_left_after_its_beginning() {
        let mut rounds = Rounds::default();
        for (prior, delivered, started, count) in
            [(0, 10, true, 1), (0, 20, false, 1), (9, 30, false, 1), (10, 40, true, 2), (30, 50, false, 2)]
        {
            rounds.handle_report(DataSize::bytes(prior), DataSize::bytes(delivered));
            assert_eq!((rounds.started, rounds.count), (started, count), "{prior} of {delivered}");
        }
    }

    #[test]
    fn a_full_window_is_remembered_for_a_round_more() {
        let mut rounds = Rounds::default();
        let next = |rounds: &mut Rounds, delivered: u64| {
            rounds.handle_report(DataSize::bytes(delivered - 1), DataSize::bytes(delivered));
        };
        rounds.note_full_window();
        next(&mut rounds, 1);
        assert!(rounds.is_window_limited());
        next(&mut rounds, 2);
        assert!(!rounds.is_window_limited());
    }
}
