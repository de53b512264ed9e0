//! `migrate`: the schema, up or down.

use std::process::ExitCode;

use super::confirmation::Confirmation;
use crate::config::Config;
use crate::runtime::clock::Clock;

/// The direction of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// Applies the missing migrations.
    Up,
    /// Deletes all tables, with all data.
    Down,
}

/// Migrates the configured databases: that of the events, and that of the rewards if it is used. Embedded databases must
/// not be in use by another process.
pub async fn run(
    config: &Config,
    direction: Direction,
    confirmation: Confirmation,
) -> anyhow::Result<ExitCode> {
    if direction == Direction::Down {
        confirmation.ask("Delete all tables of the configured databases, with all data?")?;
    }
    let clock = Clock::System;
    let _data_folder = super::data_folder::acquire(config)?;
    let store = super::parts::store(config, clock.clone()).await?;
    // Opening it brings its schema up to date.
    let rewards = super::rewards::open_if_used(config, &store, &clock).await?;
    match direction {
        Direction::Up => store.migrate().await?,
        Direction::Down => {
            if let Some(rewards) = rewards {
                rewards.migrate_down().await?;
            }
            store.migrate_down().await?;
        }
    }
    super::print(match direction {
        Direction::Up => "the schema is up to date",
        Direction::Down => "all tables are deleted",
    })?;
    Ok(ExitCode::SUCCESS)
}
