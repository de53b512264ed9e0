//! Encrypted connections: to the real parts, which are started with certificates of the test, and to the
//! service itself.

pub mod authority;
mod listener;
mod parts;
