//! Which of a track's streams a subscriber gets: the one chosen, from its next key frame on.
//!
//! In: the target, packets. Out: whether a packet is forwarded. The old stream goes on until the new one's key frame
//! is there, so a switch never freezes the picture.

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

/// Chooses a stream for one subscriber; see the module's description.
#[derive(Debug, Default)]
pub struct Selector {
    current: Option<StreamId>,
    target: Option<StreamId>,
}

impl Selector {
    /// Wants `target` from its next key frame on; `None` stops at once.
    pub fn set_target(&mut self, target: Option<StreamId>) {
        self.target = target;
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
    /// nothing is shown yet, any of the track's streams will do.
    pub fn admit(&mut self, stream: StreamId, joinable: bool) -> Admission {
        let Some(target) = self.target else { return Admission::Drop };
        if self.current == Some(stream) {
            return Admission::Forward;
        }
        if joinable && (stream == target || self.current.is_none()) {
            self.current = Some(stream);
            return Admission::Switch;
        }
        Admission::Drop
    }

    /// The stream that the subscriber sees now.
    pub fn current(&self) -> Option<StreamId> {
        self.current
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
        selector.set_target(Some(LOW));
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
        selector.set_target(Some(HIGH));
        assert_eq!((selector.awaited(), selector.admit(LOW, false)), (Some(HIGH), Forward));
        selector.set_target(None);
        assert_eq!((selector.current(), selector.admit(LOW, true)), (None, Drop));
    }
}
