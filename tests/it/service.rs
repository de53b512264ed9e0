//! The service as a process, used over HTTP: on nothing at all and on the real parts.

mod access;
mod asyncapi;
mod away;
#[cfg(feature = "failpoints")]
mod crashes;
mod dead_letters;
mod doctor;
mod embedded;
mod keys;
mod limits;
mod orders;
mod overload;
pub mod process;
pub mod real;
mod records;
mod roles;
mod sale;
mod scopes;
mod tokens;
mod topic;
