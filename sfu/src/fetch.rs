//! Asks the processor for memory that is needed soon, so that what follows does not wait for it.
//!
//! In: values. Out: nothing but time. Time: none. Limit: [`BYTES_MAX`] of a value.
//!
//! With hundreds of subscribers the state of one has left the processor's caches when its turn comes again. Its cache lines
//! would be asked for one after the other, as the code comes to them, and each takes longer than to write a header. While
//! one subscriber's packet is sealed, the next one's lines are on their way.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "there is no other way to ask for memory without reading it")
)]

/// What is needed of a value for each packet lies in its first bytes: no more of it is asked for.
const BYTES_MAX: usize = 1_024;

/// The bytes that processors fetch at a time.
const LINE: usize = 64;

/// Asks for the first `bytes` of a value.
#[inline]
pub(crate) fn ahead<T: ?Sized>(value: &T, bytes: usize) {
    let start = core::ptr::from_ref(value).cast::<u8>();
    let bytes = bytes.min(size_of_val(value)).min(BYTES_MAX);
    for line in (0..bytes).step_by(LINE) {
        ask(start.wrapping_add(line));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ask(place: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: it reads nothing, and faults for no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
}

/// Elsewhere the processor sees for itself.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ask(_place: *const u8) {}
