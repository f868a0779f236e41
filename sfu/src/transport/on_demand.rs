//! `OnDemand`: state of which most connections need none, and which takes memory from its first change on.
//!
//! In: a value that can be [`Unused`]. Out: the value, to read and to change. Time: none. Limit: one value.
//!
//! A client negotiates slots for as many as it may ever see, and most of them stay empty. To read what has never been
//! changed shows a constant; the first change makes it.

use core::ops::{Deref, DerefMut};

/// What there is a constant of, which is how it is before anything has happened.
pub trait Unused: Default + 'static {
    /// That constant; equal to the default.
    const UNUSED: &'static Self;
}

/// See the module's description.
#[derive(Debug)]
pub struct OnDemand<T>(Option<Box<T>>);

impl<T> OnDemand<T> {
    /// What has been made, to change it without making it.
    pub fn made_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Unused> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::UNUSED)
    }
}

impl<T: Unused> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Counts {
        of: [u64; 9],
    }

    impl Unused for Counts {
        const UNUSED: &'static Self = &Self { of: [0; 9] };
    }

    #[test]
    fn nothing_is_made_before_the_first_change() {
        let mut counts = OnDemand::<Counts>::default();
        let read = allocation_counter::measure(|| assert_eq!(counts.of[3], 0));
        assert_eq!((read.count_total, counts.made_mut()), (0, None));
        let changed = allocation_counter::measure(|| counts.of[3] += 1);
        assert_eq!((changed.count_total, changed.bytes_current), (1, 72));
        assert_eq!((counts.of[3], counts.made_mut().map(|counts| counts.of[3])), (1, Some(1)));
    }
}
