//! `openapi`: prints the document that `/openapi.json` serves.

use std::process::ExitCode;

/// Prints the OpenAPI document.
pub fn run() -> anyhow::Result<ExitCode> {
    super::print(&crate::http::openapi_document())?;
    Ok(ExitCode::SUCCESS)
}
