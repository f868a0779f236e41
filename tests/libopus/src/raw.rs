//! The functions of libopus by their names.

use std::ffi::{c_int, c_uchar};
use std::marker::{PhantomData, PhantomPinned};

use libloading::{Library, Symbol};

/// `OPUS_APPLICATION_VOIP`
pub(crate) const VOIP: c_int = 2048;
/// `OPUS_SET_BITRATE_REQUEST`
pub(crate) const SET_BITRATE: c_int = 4002;
/// `OPUS_SET_INBAND_FEC_REQUEST`
pub(crate) const SET_INBAND_FEC: c_int = 4012;
/// `OPUS_SET_PACKET_LOSS_PERC_REQUEST`
pub(crate) const SET_PACKET_LOSS_PERC: c_int = 4014;

/// A type whose content is libopus' own; only pointers to it exist.
#[repr(C)]
pub(crate) struct Opaque<Name> {
    content: [u8; 0],
    name: PhantomData<(Name, *mut u8, PhantomPinned)>,
}

#[derive(Debug)]
pub(crate) enum EncoderName {}
#[derive(Debug)]
pub(crate) enum DecoderName {}

pub(crate) type OpusEncoder = Opaque<EncoderName>;
pub(crate) type OpusDecoder = Opaque<DecoderName>;

/// What is called of the library, which stays loaded as long as this is there.
#[derive(Debug)]
pub(crate) struct Functions {
    pub(crate) encoder_create: unsafe extern "C" fn(i32, c_int, c_int, *mut c_int) -> *mut OpusEncoder,
    pub(crate) encoder_destroy: unsafe extern "C" fn(*mut OpusEncoder),
    pub(crate) encoder_ctl: unsafe extern "C" fn(*mut OpusEncoder, c_int, ...) -> c_int,
    pub(crate) encode: unsafe extern "C" fn(*mut OpusEncoder, *const i16, c_int, *mut c_uchar, i32) -> i32,
    pub(crate) decoder_create: unsafe extern "C" fn(i32, c_int, *mut c_int) -> *mut OpusDecoder,
    pub(crate) decoder_destroy: unsafe extern "C" fn(*mut OpusDecoder),
    pub(crate) decode:
        unsafe extern "C" fn(*mut OpusDecoder, *const c_uchar, i32, *mut i16, c_int, c_int) -> c_int,
    _library: Library,
}

impl Functions {
    pub(crate) fn load() -> Result<Self, libloading::Error> {
        // SAFETY: libopus does nothing when it is loaded or unloaded.
        let library = unsafe { Library::new("libopus.so.0") }?;
        // SAFETY: the types are those of `opus.h`, and the functions stay as long as `library`, which is kept with them.
        unsafe {
            Ok(Self {
                encoder_create: named(&library, b"opus_encoder_create\0")?,
                encoder_destroy: named(&library, b"opus_encoder_destroy\0")?,
                encoder_ctl: named(&library, b"opus_encoder_ctl\0")?,
                encode: named(&library, b"opus_encode\0")?,
                decoder_create: named(&library, b"opus_decoder_create\0")?,
                decoder_destroy: named(&library, b"opus_decoder_destroy\0")?,
                decode: named(&library, b"opus_decode\0")?,
                _library: library,
            })
        }
    }
}

/// # Safety
/// `F` must be the function's type, and must not be called after the library is unloaded.
unsafe fn named<F: Copy>(library: &Library, name: &[u8]) -> Result<F, libloading::Error> {
    // SAFETY: as the caller says.
    let symbol: Symbol<'_, F> = unsafe { library.get(name) }?;
    Ok(*symbol)
}
