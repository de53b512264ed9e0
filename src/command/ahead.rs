//! `outbox ahead`: lists the participations whose records in the topic are ahead of the database, so that people can
//! settle them. Only a database that was set back has any.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::verify::topic::read_into;
use crate::config::Config;
use crate::domain::{ParticipationId, Topic};
use crate::events::topic_check::{LatestChange, LatestChanges, Truncation};
use crate::operate::export::csv_line;
use crate::parts::store::Store;
use crate::runtime::clock::Clock;

/// Participations that one statement reads.
const PAGE: usize = 1_024;

/// The columns, named as in the API. `databaseStatus` is empty if the database does not have the participation.
const COLUMNS: [&str; 8] = [
    "campaignId",
    "rank",
    "participationId",
    "userId",
    "quantity",
    "status",
    "occurredAt",
    "databaseStatus",
];

/// How the topic is read.
#[derive(Args, Clone, Debug)]
pub struct Ahead {
    /// How long reading the topic may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    topic_seconds_max: u64,
}

/// Reads the topic from its beginning, and prints the list.
pub(super) async fn run(config: &Config, options: &Ahead) -> anyhow::Result<ExitCode> {
    super::parts::need_kafka(config, "outbox ahead")?;
    let store = super::parts::store(config, Clock::System).await?.patient();
    let kafka = super::parts::kafka(config).await?;
    let topic = Topic::Participation.name(&config.kafka.topic_prefix);
    let within = Duration::from_secs(options.topic_seconds_max);
    let (latest, truncation) = read_into(&kafka, &topic, within, LatestChanges::feed).await?;
    if truncation == Truncation::Beginning {
        tracing::warn!(%topic, "the first records were deleted: participations with deleted records only are not listed");
    }
    if latest.unreadable > 0 {
        let records = latest.unreadable;
        tracing::warn!(%topic, records, "records that the relay has not written are ignored");
    }
    // Read after the topic: each record was committed before it was sent.
    let known = known(&store, &latest).await?;
    let mut csv = Vec::new();
    csv_line(&mut csv, &COLUMNS);
    for (id, change) in latest.ahead_of(&known) {
        let status = known.get(&id).map_or("", |(_, status)| status);
        csv_line(&mut csv, &cells(id, change, status));
    }
    super::print(String::from_utf8(csv)?.trim_end_matches('\n'))?;
    Ok(ExitCode::SUCCESS)
}

/// The number of changes and the status of each of these participations that the database has.
async fn known(
    store: &Store,
    latest: &LatestChanges,
) -> anyhow::Result<HashMap<ParticipationId, (u32, String)>> {
    let ids: Vec<ParticipationId> = latest.changes.keys().copied().collect();
    let mut known = HashMap::new();
    for page in ids.chunks(PAGE) {
        known.extend(store.changes_of(page).await?);
    }
    Ok(known)
}

fn cells(id: ParticipationId, change: LatestChange, status: &str) -> [String; COLUMNS.len()] {
    let LatestChange {
        campaign,
        user,
        rank,
        quantity,
        occurred_at,
        ..
    } = change;
    [
        campaign.to_string(),
        rank.to_string(),
        id.to_string(),
        user.to_string(),
        quantity.to_string(),
        change.status.as_str().to_owned(),
        occurred_at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        status.to_owned(),
    ]
}
