//! Encrypted connections: to the real parts, which were started with certificates of a test's own, and to the
//! service itself.

pub mod authority;
mod listener;
mod parts;
