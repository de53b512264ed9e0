//! The service as a process, used over HTTP: on nothing at all and on the real parts.

mod dead_letters;
mod embedded;
pub mod process;
mod real;
mod records;
mod sale;
