//! `dead-letters`: the events that the relay could not publish and the records that a consumer cannot apply, on the
//! command line. The same rows as the admin API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::confirmation::Confirmation;
use crate::config::Config;
use crate::domain::{CampaignId, DeadLetterId, DeadLetterSource, EventId, Origin};
use crate::operate::dead_letters::{self, Letter, LetterAction};
use crate::parts::store::{DeadLetterFilter, Store};
use crate::runtime::clock::Clock;
use crate::runtime::table::{Column, table};

/// Dead letters read by one statement.
const PAGE_ROWS: u32 = 500;

/// The actions on dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Lists dead letters, in order of event.
    List(Filter),
    /// Publishes dead letters of the relay again, and has those of a consumer applied again by it, at a bounded rate.
    Replay {
        /// The dead letters.
        #[command(flatten)]
        selection: Selection,
        /// Dead letters per second.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        per_second: u32,
        /// Only prints their number.
        #[arg(long)]
        dry_run: bool,
        /// Whether to ask for confirmation.
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Discards dead letters: they are never published; the rows remain as a record.
    Discard {
        /// The dead letters.
        #[command(flatten)]
        selection: Selection,
        /// Only prints their number.
        #[arg(long)]
        dry_run: bool,
        /// Whether to ask for confirmation.
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// The selected dead letters; at least one option is required.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Some of them.
    #[command(flatten)]
    filter: Filter,
    /// All of them, of every campaign.
    #[arg(long, conflicts_with_all = ["source", "event", "campaign", "key", "from", "until"])]
    all: bool,
}

impl Selection {
    fn checked(&self) -> anyhow::Result<&Filter> {
        ensure!(
            self.all || self.filter.is_selective(),
            "select dead letters: use --source, --event, --campaign, --key, --from, --until, or --all"
        );
        Ok(&self.filter)
    }
}

/// The selected dead letters; without any option, all.
#[derive(Args, Clone, Debug)]
pub struct Filter {
    /// Only those of this source: relay, consumer:points or consumer:coupons.
    #[arg(long, value_parser = source)]
    source: Option<DeadLetterSource>,
    /// Only this event.
    #[arg(long)]
    event: Option<Uuid>,
    /// Only those of this campaign.
    #[arg(long)]
    campaign: Option<i64>,
    /// Only those with this key.
    #[arg(long)]
    key: Option<String>,
    /// Only those parked at this time (RFC 3339) or later.
    #[arg(long)]
    from: Option<DateTime<Utc>>,
    /// Only those parked before this time.
    #[arg(long)]
    until: Option<DateTime<Utc>>,
}

fn source(word: &str) -> Result<DeadLetterSource, String> {
    DeadLetterSource::parse(word)
        .ok_or_else(|| format!("must be one of {}", DeadLetterSource::WORDS.join(", ")))
}

impl Filter {
    const fn is_selective(&self) -> bool {
        self.source.is_some()
            || self.event.is_some()
            || self.campaign.is_some()
            || self.key.is_some()
            || self.from.is_some()
            || self.until.is_some()
    }

    fn after(&self, after: Option<DeadLetterId>) -> DeadLetterFilter {
        DeadLetterFilter {
            source: self.source,
            event: self.event.map(EventId),
            campaign: self.campaign.map(CampaignId),
            key: self.key.clone(),
            from: self.from,
            until: self.until,
            after,
        }
    }
}

/// The selected dead letters, in pages.
struct Pages<'a> {
    store: &'a Store,
    filter: &'a Filter,
    after: Option<DeadLetterId>,
}

impl<'a> Pages<'a> {
    const fn of(store: &'a Store, filter: &'a Filter) -> Self {
        Self {
            store,
            filter,
            after: None,
        }
    }

    /// Their current number.
    async fn count(mut self) -> anyhow::Result<usize> {
        let mut count = 0;
        loop {
            match self.next(PAGE_ROWS).await?.len() {
                0 => return Ok(count),
                more => count += more,
            }
        }
    }

    /// The next ones, at most `rows_max`; empty at the end.
    async fn next(&mut self, rows_max: u32) -> anyhow::Result<Vec<Letter>> {
        let filter = self.filter.after(self.after);
        let page = dead_letters::list(self.store, &filter, rows_max).await?;
        self.after = page.last().map(|letter| letter.id);
        Ok(page)
    }

    /// The ids of the next ones.
    async fn next_ids(&mut self, rows_max: u32) -> anyhow::Result<Vec<DeadLetterId>> {
        let page = self.next(rows_max).await?;
        Ok(page.iter().map(|letter| letter.id).collect())
    }
}

/// The action for the selected ones.
#[derive(Clone, Copy)]
enum Move {
    /// At this number per second.
    Replay(u32),
    Discard,
}

impl Move {
    const fn verb(self) -> &'static str {
        match self {
            Self::Replay(_) => "Replay",
            Self::Discard => "Discard",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Replay(_) => "replayed",
            Self::Discard => "discarded",
        }
    }
}

/// Runs the action, and prints its result.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    let (selection, dry_run, confirmation, what) = match action {
        Action::List(filter) => {
            let store = super::parts::store(config, Clock::System).await?;
            return list(Pages::of(&store, filter)).await;
        }
        Action::Replay {
            selection,
            per_second,
            dry_run,
            confirmation,
        } => (selection, *dry_run, confirmation, Move::Replay(*per_second)),
        Action::Discard {
            selection,
            dry_run,
            confirmation,
        } => (selection, *dry_run, confirmation, Move::Discard),
    };
    let filter = selection.checked()?;
    let store = super::parts::store(config, Clock::System).await?;
    let selected = Pages::of(&store, filter).count().await?;
    if selected > 0 && !dry_run {
        confirmation.ask(&format!("{} {selected} dead letters?", what.verb()))?;
    }
    let changed = if dry_run {
        0
    } else {
        carry_out(Pages::of(&store, filter), what).await?
    };
    super::print(&format!(
        "{selected} dead letters, {changed} {}",
        what.done()
    ))?;
    if let (0, Some(event)) = (selected, filter.event) {
        let why = "it was replayed or discarded, or never was one";
        super::print(&format!("event {event} is not a dead letter: {why}"))?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Moves them in pages. Returns the number of changed rows.
async fn carry_out(mut pages: Pages<'_>, what: Move) -> anyhow::Result<u64> {
    let origin = Origin::of_command_line();
    let (store, by) = (pages.store, Some(&origin));
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut changed = 0;
    loop {
        let rows_max = match what {
            Move::Replay(per_second) => {
                ticks.tick().await;
                per_second
            }
            Move::Discard => PAGE_ROWS,
        };
        let ids = pages.next_ids(rows_max).await?;
        if ids.is_empty() {
            return Ok(changed);
        }
        let action = match what {
            Move::Replay(_) => LetterAction::Replay,
            Move::Discard => LetterAction::Discard,
        };
        changed += dead_letters::carry_out(store, action, &ids, by).await?;
    }
}

async fn list(mut pages: Pages<'_>) -> anyhow::Result<ExitCode> {
    let mut letters = Vec::new();
    loop {
        let page = pages.next(PAGE_ROWS).await?;
        if page.is_empty() {
            break;
        }
        // The table has no payloads, which can be long.
        letters.extend(page.into_iter().map(|letter| Letter {
            payload: String::new(),
            ..letter
        }));
    }
    let columns: [Column<Letter>; 8] = [
        ("event", |of| of.id.event.to_string()),
        ("source", |of| of.id.source.as_str().to_owned()),
        ("campaign", |of| {
            let campaign = of.campaign.map(|campaign| campaign.to_string());
            campaign.unwrap_or_else(|| "-".to_owned())
        }),
        ("key", |of| of.key.clone()),
        ("attempts", |of| of.attempts.to_string()),
        ("class", |of| of.error_class.clone()),
        ("given up", |of| of.parked_at.to_rfc3339()),
        ("error", |of| of.error.clone()),
    ];
    let (table, count) = (table(&letters, &columns), letters.len());
    super::print(&format!("{table}\n{count} dead letters"))?;
    Ok(ExitCode::SUCCESS)
}
