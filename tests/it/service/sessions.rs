//! Log-ins over HTTP: on embedded parts and on the real ones.

mod away;
mod command_line;
mod concurrent;
mod forging;
mod guessing;
mod logging_in;
mod managing;
mod messages;
mod own;
mod remembered;
mod replicas;
pub mod scene;
mod secrets;
mod sign_up;
mod totp;
mod verified_sign_up;
