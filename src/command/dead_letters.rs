//! `dead-letters`: events the relay has given up, on the command line. The same rows as the admin API.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{CampaignId, EventId, Origin};
use crate::store::{DeadLetter, DeadLetterFilter, Store};

/// What the audit log calls whoever uses the command line.
pub(super) const COMMAND_LINE: &str = "command-line";

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

/// Dead letters that are meant, page by page.
struct Pages<'a> {
    store: &'a Store,
    selection: &'a Selection,
    after: Option<EventId>,
}

impl Pages<'_> {
    /// The next ones, at most so many; none are left when there are none.
    async fn next(&mut self, rows_max: u32) -> anyhow::Result<Vec<DeadLetter>> {
        let filter = self.selection.filter(self.after);
        let page = self.store.dead_letters(&filter, rows_max).await?;
        self.after = page.last().map(|letter| letter.event_id);
        Ok(page)
    }

    /// The ids of the next ones.
    async fn next_ids(&mut self, rows_max: u32) -> anyhow::Result<Vec<EventId>> {
        let page = self.next(rows_max).await?;
        Ok(page.iter().map(|letter| letter.event_id).collect())
    }
}

/// Runs the action and prints what came of it.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    let store = super::parts::store(config, Clock::System).await?;
    let (Action::List(selection)
    | Action::Replay { selection, .. }
    | Action::Discard { selection, .. }) = action;
    let mut pages = Pages {
        store: &store,
        selection,
        after: None,
    };
    let here = Origin {
        actor: COMMAND_LINE.to_owned(),
        request_id: None,
        address: None,
    };
    let by = Some(&here);
    let (mut matched, mut changed) = (0, 0);
    let said = match action {
        Action::List(_) => return list(pages).await,
        Action::Replay {
            per_second,
            dry_run,
            ..
        } => {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let ids = pages.next_ids(*per_second).await?;
                if ids.is_empty() {
                    break "replayed";
                }
                matched += ids.len();
                if !dry_run {
                    changed += store.replay_dead_letters(&ids, by).await?;
                }
            }
        }
        Action::Discard { dry_run, .. } => loop {
            let ids = pages.next_ids(PAGE_ROWS).await?;
            if ids.is_empty() {
                break "discarded";
            }
            matched += ids.len();
            if !dry_run {
                changed += store.discard_dead_letters(&ids, by).await?;
            }
        },
    };
    super::print(&format!("{matched} dead letters, {changed} {said}"))?;
    if let (0, Some(event)) = (matched, selection.event) {
        let why = "it was replayed or discarded already, or never was one";
        super::print(&format!("event {event} is no dead letter: {why}"))?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(mut pages: Pages<'_>) -> anyhow::Result<ExitCode> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "event", "campaign", "key", "attempts", "class", "given up", "error",
    ]);
    let mut count = 0;
    loop {
        let page = pages.next(PAGE_ROWS).await?;
        if page.is_empty() {
            break;
        }
        count += page.len();
        for letter in &page {
            table.add_row(row(letter));
        }
    }
    super::print(&format!("{table}\n{count} dead letters"))?;
    Ok(ExitCode::SUCCESS)
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
