//! `asyncapi`: prints the document that describes the topics.

use std::process::ExitCode;

/// Prints the AsyncAPI document.
pub fn run() -> anyhow::Result<ExitCode> {
    super::print(crate::events::asyncapi::document())?;
    Ok(ExitCode::SUCCESS)
}
