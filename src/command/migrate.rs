//! `migrate`: the schema, up or down.

use std::process::ExitCode;

use crate::clock::Clock;
use crate::config::Config;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// Applies what is missing.
    Up,
    /// Takes everything down, data included.
    Down,
}

/// Migrates the configured database.
pub async fn run(config: &Config, direction: Direction) -> anyhow::Result<ExitCode> {
    let store = super::parts::store(config, Clock::System).await?;
    match direction {
        Direction::Up => store.migrate().await?,
        Direction::Down => store.migrate_down().await?,
    }
    super::print(match direction {
        Direction::Up => "the schema is up to date",
        Direction::Down => "the schema is gone",
    })?;
    Ok(ExitCode::SUCCESS)
}
