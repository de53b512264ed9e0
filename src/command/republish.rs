//! `outbox republish`: sends published events once more, because their records were lost in Kafka. The relay of a running
//! process sends them.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use uuid::Uuid;

use super::confirmation::Confirmation;
use super::verify::topic;
use crate::config::Config;
use crate::domain::{CampaignId, LogPlace, Origin, ParticipationId, StreamId, Topic};
use crate::events::topic_check::Truncation;
use crate::parts::store::{REPUBLISH_MAX, Store};
use crate::runtime::clock::Clock;

/// Which events are sent, and how.
#[derive(Args, Clone, Debug)]
pub struct Republish {
    #[command(flatten)]
    selection: Selection,
    /// Of a campaign: the first sequence (`ce_sequence`).
    #[arg(long, value_name = "N", conflicts_with_all = ["lost", "participation"], default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// Of a campaign: the last sequence.
    #[arg(long, value_name = "N", conflicts_with_all = ["lost", "participation"], value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Of a campaign: the stream, `participation`, `campaign` or `order`.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["lost", "participation"], default_value = "participation", value_parser = topic_of)]
    topic: Topic,
    /// Events per second.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_second: u32,
    /// How long reading the topic may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, conflicts_with_all = ["campaign", "participation"], value_parser = clap::value_parser!(u64).range(1..=86_400))]
    topic_seconds_max: u64,
    /// Only prints their number.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Exactly one of them.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The events of the topic of participations that are published and not in the topic: reads the topic from its
    /// beginning, as `verify --topic` does.
    #[arg(long)]
    lost: bool,
    /// The events of this campaign.
    #[arg(long, value_name = "ID")]
    campaign: Option<i64>,
    /// The events of this participation.
    #[arg(long, value_name = "ID")]
    participation: Option<Uuid>,
}

fn topic_of(word: &str) -> Result<Topic, String> {
    Topic::parse(word).ok_or_else(|| {
        let words = Topic::ALL.map(Topic::as_str).join(", ");
        format!("must be one of {words}")
    })
}

/// Sends the selected events again, and prints their number.
pub(super) async fn run(config: &Config, options: &Republish) -> anyhow::Result<ExitCode> {
    let store = super::parts::store(config, Clock::System).await?;
    let events = selected(config, &store, options).await?;
    if !events.is_empty() && !options.dry_run {
        let question = format!("Publish {} events again?", events.len());
        options.confirmation.ask(&question)?;
    }
    let parked = if options.dry_run {
        0
    } else {
        republish(&store, &events, options.per_second).await?
    };
    super::print(&format!(
        "{} published events selected, {parked} will be sent again",
        events.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn selected(
    config: &Config,
    store: &Store,
    options: &Republish,
) -> anyhow::Result<Vec<LogPlace>> {
    let selection = &options.selection;
    if let Some(campaign) = selection.campaign {
        let campaign = CampaignId(campaign);
        let is_there = store.counters_of(campaign).await?.is_some();
        ensure!(is_there, "there is no campaign {campaign}");
        let range = options.from..=options.to.unwrap_or(u64::MAX);
        ensure!(!range.is_empty(), "--to is before --from");
        let topic = options.topic;
        return of_stream(store, StreamId { campaign, topic }, range).await;
    }
    if let Some(id) = selection.participation {
        let found = store.events_of(ParticipationId(id)).await?;
        let found = found.with_context(|| format!("there is no participation {id}"))?;
        let stream = StreamId::of_participations(found.campaign);
        let places = found.events.iter().map(|event| LogPlace {
            stream,
            sequence: event.sequence,
        });
        return Ok(places.collect());
    }
    lost(
        config,
        store,
        Duration::from_secs(options.topic_seconds_max),
    )
    .await
}

async fn of_stream(
    store: &Store,
    stream: StreamId,
    range: RangeInclusive<u64>,
) -> anyhow::Result<Vec<LogPlace>> {
    const PAGE: u64 = 10_000;
    let mut places: Vec<LogPlace> = Vec::new();
    loop {
        let from = places
            .last()
            .map_or(*range.start(), |last| last.sequence + 1);
        if from > *range.end() {
            return Ok(places);
        }
        let page = store.published_places(stream, from..=*range.end(), PAGE);
        let page = page.await?;
        let is_last = (page.len() as u64) < PAGE;
        places.extend(page);
        if is_last {
            return Ok(places);
        }
    }
}

/// The events that are published and not in the topic.
async fn lost(config: &Config, store: &Store, within: Duration) -> anyhow::Result<Vec<LogPlace>> {
    super::parts::need_kafka(config, "outbox republish --lost")?;
    let kafka = super::parts::kafka(config).await?;
    let name = Topic::Participation.name(&config.kafka.topic_prefix);
    let campaigns = store.published_campaigns().await?;
    let compared = topic::differences(store, &campaigns, &kafka, (&name, within));
    let (_, differences, truncation) = compared.await?;
    ensure!(
        truncation == Truncation::None,
        "the first records of {name} were deleted, so nobody knows which events were lost: select a campaign"
    );
    let places = differences.campaigns.iter().flat_map(|(campaign, found)| {
        let stream = StreamId::of_participations(*campaign);
        let events = found.missing.iter();
        events.map(move |event| LogPlace {
            stream,
            sequence: event.position,
        })
    });
    let mut places: Vec<LogPlace> = places.collect();
    places.sort_unstable();
    Ok(places)
}

async fn republish(store: &Store, events: &[LogPlace], per_second: u32) -> anyhow::Result<u64> {
    let origin = Origin::of_command_line();
    let per_step = per_second.min(REPUBLISH_MAX);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) * per_step / per_second);
    let mut parked = 0;
    for step in events.chunks(usize::try_from(per_step)?) {
        ticks.tick().await;
        parked += store.republish(step, Some(&origin)).await?;
    }
    Ok(parked)
}
