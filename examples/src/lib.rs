//! Filters to copy from: what transforms, checks or watches the bytes of a bufferevent.
//!
//! Each is a file of its own that needs nothing of the others.

mod lines;
mod tap;
mod zlib;

pub use self::{
    lines::{LineError, Lines},
    tap::{Passed, Tap},
    zlib::{Deflate, Inflate, Zlib, ZlibError},
};
