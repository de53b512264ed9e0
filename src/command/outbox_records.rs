//! `outbox`: actions on the events and their records in Kafka.

use std::process::ExitCode;

use clap::Subcommand;

use super::ahead::{self, Ahead};
use super::republish::{self, Republish};
use crate::config::Config;

/// The actions.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Sends published events once more. Consumers recognize them by `ce_id`.
    Republish(Republish),
    /// Lists, as CSV, the participations whose records in Kafka are ahead of the database: after a restore of an older
    /// state, those it has lost or has in an earlier status.
    Ahead(Ahead),
}

/// Runs an action.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Republish(options) => republish::run(config, options).await,
        Action::Ahead(options) => ahead::run(config, options).await,
    }
}
