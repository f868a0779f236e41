//! Which of a track's streams a subscriber gets: the one chosen, from its next key frame on.
//!
//! In: the target, packets. Out: whether a packet is forwarded. The old stream goes on until the new one's key frame
//! is there, so a switch never freezes the picture; to begin with, other streams may do as well (see [`First`]).

use super::packet::StreamId;

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It continues what the subscriber sees.
    Forward,
    /// It is the first of another stream: the rewriter must join it to the last one.
    Switch,
    /// The subscriber does not get it.
    Drop,
}

/// Which stream may be shown while nothing is, instead of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum First {
    /// Any of the track's: better any picture than none.
    #[default]
    Any,
    /// This one, the smallest: larger ones may be more than the path carries.
    Smallest(StreamId),
}

/// Chooses a stream for one subscriber; see the module's description.
#[derive(Debug, Default)]
pub struct Selector {
    current: Option<StreamId>,
    target: Option<StreamId>,
    first: First,
}

impl Selector {
    /// Wants `target` from its next key frame on, and `first` until there is one; `None` stops at once.
    pub fn set_target(&mut self, target: Option<StreamId>, first: First) {
        self.target = target;
        self.first = first;
        if target.is_none() {
            self.current = None;
        }
    }

    /// Forgets the current stream: the slot carries another track now.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Waits for a key frame again: the subscriber has missed too much of the current stream to go on with it.
    pub fn restart(&mut self) {
        self.current = None;
    }

    /// Decides about a packet of `stream`, which is a stream of the slot's track.
    ///
    /// `joinable` says that a decoder can begin with this packet: always for audio, at a key frame for video. While
    /// nothing is shown yet, [`First`] will do.
    pub fn admit(&mut self, stream: StreamId, joinable: bool) -> Admission {
        let Some(target) = self.target else { return Admission::Drop };
        if self.current == Some(stream) {
            return Admission::Forward;
        }
        let may_be_first = match self.first {
            First::Any => true,
            First::Smallest(smallest) => stream == smallest,
        };
        if joinable && (stream == target || self.current.is_none() && may_be_first) {
            self.current = Some(stream);
            return Admission::Switch;
        }
        Admission::Drop
    }

    /// The stream that the subscriber sees now.
    pub fn current(&self) -> Option<StreamId> {
        self.current
    }

    /// The stream that is wanted.
    pub fn target(&self) -> Option<StreamId> {
        self.target
    }

    /// The stream that may be shown until the target can be, while nothing is: the smallest, if it is known.
    pub fn stand_in(&self) -> Option<StreamId> {
        match self.first {
            First::Smallest(smallest) if self.current.is_none() && self.target.is_some() => Some(smallest),
            First::Smallest(_) | First::Any => None,
        }
    }

    /// Whether a stream is known to be the smallest.
    pub fn is_smallest(&self, stream: StreamId) -> bool {
        self.first == First::Smallest(stream)
    }

    /// The stream that a key frame is needed of, if the subscriber does not see it yet.
    pub fn awaited(&self) -> Option<StreamId> {
        self.target.filter(|target| self.current != Some(*target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::{Drop, Forward, Switch};

    const LOW: StreamId = StreamId { connection: 1, index: 0 };
    const HIGH: StreamId = StreamId { connection: 1, index: 1 };

    #[test]
    fn streams_switch_at_key_frames_only() {
        let mut selector = Selector::default();
        assert_eq!(selector.admit(LOW, true), Drop, "nothing wanted");
        selector.set_target(Some(LOW), First::Any);
        for (stream, key, expected, claim) in [
            (LOW, false, Drop, "a decoder cannot begin here"),
            (HIGH, true, Switch, "better any picture than none"),
            (HIGH, false, Forward, "until the wanted one has a key frame"),
            (LOW, false, Drop, "the wanted one, not joinable"),
            (LOW, true, Switch, "the wanted one's key frame"),
            (HIGH, true, Drop, "no way back unasked"),
            (LOW, false, Forward, "goes on"),
        ] {
            assert_eq!(selector.admit(stream, key), expected, "{claim}");
        }
        assert_eq!(selector.awaited(), None);
        selector.set_target(Some(HIGH), First::Any);
        assert_eq!((selector.awaited(), selector.admit(LOW, false)), (Some(HIGH), Forward));
        selector.set_target(None, First::Any);
        assert_eq!((selector.current(), selector.admit(LOW, true)), (None, Drop));
    }

    #[test]
    fn to_begin_with_only_the_smallest_may_stand_in_where_larger_ones_may_be_too_much() {
        const MIDDLE: StreamId = StreamId { connection: 1, index: 2 };
        let mut selector = Selector::default();
        selector.set_target(Some(MIDDLE), First::Smallest(LOW));
        assert_eq!(selector.admit(HIGH, true), Drop);
        assert_eq!(selector.admit(LOW, true), Switch);
        assert_eq!(selector.admit(MIDDLE, true), Switch);
        assert_eq!(selector.admit(LOW, true), Drop, "something is shown");
        selector.restart();
        assert_eq!(selector.admit(HIGH, true), Drop);
        assert_eq!(selector.admit(MIDDLE, true), Switch);
    }
}
