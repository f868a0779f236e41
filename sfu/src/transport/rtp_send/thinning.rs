//! Thinning: which temporal layers of a stream a subscriber goes without while its queue is too long.
//!
//! In: that the queue is too long, pictures' layers. Out: which pictures are left out. Time: none. Limit: constant memory.
//!
//! A layer that was left out comes back when the queue is short again, and then only by a picture that leans on nothing
//! of it (VP8's Y, VP9's U, a dependency descriptor's switching points). Where nothing tells of layers, nothing is left out.

use proto::codec::Temporal;

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinning {
    /// Layers from this one on are left out.
    from: Option<u8>,
}

impl Thinning {
    /// Leaves out all layers from this one on, the lowest never.
    pub fn leave_out(&mut self, from: u8) {
        let from = from.max(1);
        self.from = Some(self.from.map_or(from, |before| before.min(from)));
    }

    /// Whether anything is left out.
    pub fn is_idle(&self) -> bool {
        self.from.is_none()
    }

    /// Whether the subscriber goes without a picture that comes now.
    pub fn is_left_out(&mut self, picture: Option<Temporal>, is_calm: bool) -> bool {
        let (Some(from), Some(picture)) = (self.from, picture) else { return false };
        if picture.layer < from {
            return false;
        }
        if !is_calm || picture.layer > from || !picture.joins {
            return true;
        }
        self.from = Some(picture.layer + 1); // what is above may come back next
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_go_at_once_and_come_back_one_by_one_where_they_may() {
        let mut thinning = Thinning::default();
        assert!(!thinning.is_left_out(Some(Temporal { layer: 2, joins: false }), false), "nothing is");
        thinning.leave_out(1);
        thinning.leave_out(2);
        for (layer, joins, is_calm, left_out, claim) in [
            (0, false, false, false, "the lowest never"),
            (1, true, false, true, "the queue is too long"),
            (1, false, true, true, "it leans on what was left out"),
            (2, true, true, true, "what it may lean on was left out"),
            (1, true, true, false, "it comes back"),
            (2, false, true, true, "and what is above it"),
            (2, true, true, false, "when it may"),
            (1, false, true, false, "all is as it was"),
            (2, false, false, false, "until it is told again"),
        ] {
            let picture = Some(Temporal { layer, joins });
            assert_eq!(thinning.is_left_out(picture, is_calm), left_out, "{claim}");
        }
        assert!(!Thinning { from: Some(1) }.is_left_out(None, false), "nothing is known of its layer");
        thinning.leave_out(0);
        assert!(!thinning.is_left_out(Some(Temporal { layer: 0, joins: false }), false));
    }
}
