//! `config`: prints the schema of the configuration file, or the effective configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::config::{Config, reference};

/// What is printed.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Output {
    /// Prints the JSON schema of the configuration file.
    #[arg(long)]
    schema: bool,
    /// Prints the effective configuration as a file; secrets are masked.
    #[arg(long)]
    print: bool,
    /// Prints this page of the documentation with new tables of settings and metrics.
    #[arg(long, value_name = "PAGE", hide = true)]
    tables: Option<PathBuf>,
}

/// Prints; `load` reads the configuration, where that is needed.
pub fn run(
    output: &Output,
    load: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<ExitCode> {
    let text = if output.print {
        reference::effective(&load()?)
    } else if let Some(page) = &output.tables {
        let text = std::fs::read_to_string(page);
        let text = text.with_context(|| format!("cannot read {}", page.display()))?;
        reference::with_tables(&text)
    } else {
        serde_json::to_string_pretty(&reference::schema())?
    };
    super::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
