//! The commands: wiring only. Each opens the parts it needs and leaves the work to the modules.

pub mod asyncapi;
mod background;
pub mod dead_letters;
pub mod doctor;
pub mod migrate;
pub mod openapi;
mod parts;
pub mod serve;
pub mod verify;

use std::io::Write;

/// Prints for people or for pipes; a reader that went away is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
