//! `dead-letters`: events the relay has given up, on the command line. The same rows as the admin API.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{CampaignId, EventId};
use crate::store::{DeadLetter, DeadLetterFilter, Store};

/// Dead letters read at once.
const PAGE_ROWS: u32 = 500;

/// What is done with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Lists them, in order of event.
    List(Selection),
    /// Publishes them again, so many a second.
    Replay {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// How many a second.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        per_second: u32,
        /// Only says how many there are.
        #[arg(long)]
        dry_run: bool,
    },
    /// Never publishes them; the rows stay as a record.
    Discard {
        /// Which ones.
        #[command(flatten)]
        selection: Selection,
        /// Only says how many there are.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which ones are meant; without any of these, all.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// This event alone.
    #[arg(long)]
    event: Option<Uuid>,
    /// Those of this campaign.
    #[arg(long)]
    campaign: Option<i64>,
    /// Those with this key.
    #[arg(long)]
    key: Option<String>,
    /// Those given up at this time (RFC 3339) or later.
    #[arg(long)]
    from: Option<DateTime<Utc>>,
    /// Those given up before this time.
    #[arg(long)]
    until: Option<DateTime<Utc>>,
}

impl Selection {
    fn filter(&self, after: Option<EventId>) -> DeadLetterFilter {
        DeadLetterFilter {
            event_id: self.event.map(EventId),
            campaign_id: self.campaign.map(CampaignId),
            key: self.key.clone(),
            from: self.from,
            until: self.until,
            after,
        }
    }
}

/// Runs the action and prints what came of it.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    let store = super::parts::store(config, Clock::System).await?;
    match action {
        Action::List(selection) => list(&store, selection).await?,
        Action::Replay {
            selection,
            per_second,
            dry_run,
        } => {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            let mut replayed = 0;
            let mut matched = 0;
            let mut after = None;
            loop {
                ticks.tick().await;
                let ids = ids(&store, selection, after, *per_second).await?;
                let Some(last) = ids.last().copied() else {
                    break;
                };
                after = Some(last);
                matched += ids.len();
                if !dry_run {
                    replayed += store.replay_dead_letters(&ids).await?;
                }
            }
            super::print(&format!("{matched} dead letters, {replayed} replayed"))?;
        }
        Action::Discard { selection, dry_run } => {
            let mut discarded = 0;
            let mut matched = 0;
            let mut after = None;
            while let Some(last) = after_page(&store, selection, after).await? {
                after = last.last().copied();
                matched += last.len();
                if !dry_run {
                    discarded += store.discard_dead_letters(&last).await?;
                }
            }
            super::print(&format!("{matched} dead letters, {discarded} discarded"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Store, selection: &Selection) -> anyhow::Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "event", "campaign", "key", "attempts", "class", "given up", "error",
    ]);
    let mut after = None;
    let mut count = 0;
    loop {
        let page = store
            .dead_letters(&selection.filter(after), PAGE_ROWS)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.event_id);
        count += page.len();
        for letter in &page {
            table.add_row(row(letter));
        }
    }
    super::print(&format!("{table}\n{count} dead letters"))
}

fn row(letter: &DeadLetter) -> [String; 7] {
    [
        letter.event_id.to_string(),
        letter.campaign_id.to_string(),
        letter.key.clone(),
        letter.attempts.to_string(),
        letter.error_class.clone(),
        letter.parked_at.to_rfc3339(),
        letter.error.clone(),
    ]
}

async fn ids(
    store: &Store,
    selection: &Selection,
    after: Option<EventId>,
    rows_max: u32,
) -> anyhow::Result<Vec<EventId>> {
    let found = store
        .dead_letters(&selection.filter(after), rows_max)
        .await?;
    Ok(found.iter().map(|letter| letter.event_id).collect())
}

async fn after_page(
    store: &Store,
    selection: &Selection,
    after: Option<EventId>,
) -> anyhow::Result<Option<Vec<EventId>>> {
    let page = ids(store, selection, after, PAGE_ROWS).await?;
    Ok((!page.is_empty()).then_some(page))
}
