//! `verify`: the invariants, on a running system.

use std::process::ExitCode;

use crate::clock::Clock;
use crate::config::Config;
use crate::reconcile::{Reconciler, verify};

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Verifies and prints; non-zero on a breach. An in-process gate lives in another process and is not
/// looked at.
pub async fn run(config: &Config, form: Form) -> anyhow::Result<ExitCode> {
    let store = super::parts::store(config, Clock::System).await?;
    let gate = super::parts::gate(config, Clock::System).await?;
    let findings = Reconciler::new(store, gate).verify().await?;
    super::print(&match form {
        Form::Table => verify::table(&findings),
        Form::Json => serde_json::to_string_pretty(&findings)?,
    })?;
    let clean = findings.iter().all(|finding| finding.breaches.is_empty());
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
