//! The SSRCs of one direction, and what is kept for each.
//!
//! In: SSRCs. Out: what is kept, by its place. Time: none. Limit: `SSRCS_MAX`; more are refused.

use core::ops::{Index, IndexMut};

use proto::rtp::Ssrc;

use super::CipherError;

pub(super) const SSRCS_MAX: usize = 256; // a browser with three cameras in three layers each, RTX and FEC has about 30

/// SSRCs in order, so that a packet's is found in a few steps, or in one if the last packet had the same.
#[derive(Debug)]
pub(super) struct Sources<T> {
    ssrcs: Vec<Ssrc>,
    kept: Vec<T>, // as `ssrcs`
    last: usize,
}

impl<T> Sources<T> {
    pub(super) fn new() -> Self {
        Self { ssrcs: Vec::new(), kept: Vec::new(), last: 0 }
    }

    /// Where an SSRC is.
    pub(super) fn find(&mut self, ssrc: Ssrc) -> Option<usize> {
        if self.ssrcs.get(self.last) != Some(&ssrc) {
            self.last = self.ssrcs.binary_search(&ssrc).ok()?;
        }
        Some(self.last)
    }

    /// Whether there is room for one more.
    pub(super) fn check_room(&self) -> Result<(), CipherError> {
        if self.ssrcs.len() < SSRCS_MAX { Ok(()) } else { Err(CipherError::TooManySources) }
    }

    /// Keeps something for an SSRC; says where.
    pub(super) fn insert(&mut self, ssrc: Ssrc, kept: T) -> Result<usize, CipherError> {
        let at = match self.ssrcs.binary_search(&ssrc) {
            Ok(at) => {
                self.kept[at] = kept;
                at
            }
            Err(at) => {
                self.check_room()?;
                self.ssrcs.insert(at, ssrc);
                self.kept.insert(at, kept);
                at
            }
        };
        self.last = at;
        Ok(at)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ssrcs.len()
    }
}

impl<T: Default> Sources<T> {
    /// Where an SSRC is, from now on if it was not known.
    pub(super) fn find_or_insert(&mut self, ssrc: Ssrc) -> Result<usize, CipherError> {
        match self.find(ssrc) {
            Some(at) => Ok(at),
            None => self.insert(ssrc, T::default()),
        }
    }
}

impl<T> Index<usize> for Sources<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.kept[at]
    }
}

impl<T> IndexMut<usize> for Sources<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.kept[at]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0..400_u32, any::<bool>()), 1..900)) {
            let (mut sources, mut all) = (Sources::<usize>::new(), BTreeMap::new());
            for (number, (ssrc, adds)) in steps.into_iter().enumerate() {
                let found = sources.find(Ssrc(ssrc)).map(|at| sources[at]);
                prop_assert_eq!(found, all.get(&ssrc).copied());
                let fits = all.contains_key(&ssrc) || all.len() < SSRCS_MAX;
                if adds {
                    prop_assert_eq!(sources.insert(Ssrc(ssrc), number).is_ok(), fits);
                    if fits {
                        all.insert(ssrc, number);
                    }
                } else {
                    let at = sources.find_or_insert(Ssrc(ssrc));
                    prop_assert_eq!(at.map(|at| sources[at]).ok(), fits.then(|| *all.entry(ssrc).or_default()));
                }
                prop_assert_eq!(sources.len(), all.len());
            }
        }
    }
}
