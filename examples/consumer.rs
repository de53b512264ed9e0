//! Consumes participations and applies each event exactly once, although Kafka delivers at least once.
//!
//! The effect is a count of confirmed units per user. One transaction writes the event's id and its effect; the
//! offsets are committed after it. After a crash between the two, the records arrive again and their ids show that
//! they are applied. `docs/examples/consumer.py` does the same in Python.
//!
//! ```sh
//! cargo run --example consumer -- 127.0.0.1:9092 firstcome consumer.db
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait, Value,
};
use serde_json::Value as Json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout_at};

const BATCH_MAX: usize = 500;
const WAIT: Duration = Duration::from_secs(1);

const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS inbox (event_id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS units (user_id INTEGER PRIMARY KEY, quantity INTEGER NOT NULL)",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(brokers) = arguments.next() else {
        bail!("usage: consumer BROKERS [PREFIX] [DATABASE]");
    };
    let prefix = arguments.next().unwrap_or_else(|| "firstcome".to_owned());
    let file = arguments.next().unwrap_or_else(|| "consumer.db".to_owned());

    let database = Database::connect(format!("sqlite://{file}?mode=rwc")).await?;
    for table in SCHEMA {
        execute(&database, table, []).await?;
    }
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", format!("{prefix}.example"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[&format!("{prefix}.participation.v1")])?;

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let batch = tokio::select! {
            batch = read_batch(&consumer) => batch?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        if batch.is_empty() {
            continue;
        }
        let new = apply_batch(&database, &batch).await?;
        commit_offsets(&consumer, &batch)?;
        writeln!(std::io::stdout(), "{} records, {new} new", batch.len())?;
    }
}

/// The records that arrive within `WAIT`, at most `BATCH_MAX`.
async fn read_batch(consumer: &StreamConsumer) -> anyhow::Result<Vec<OwnedMessage>> {
    let end = Instant::now() + WAIT;
    let mut batch = Vec::new();
    while batch.len() < BATCH_MAX {
        match timeout_at(end, consumer.recv()).await {
            Ok(record) => batch.push(record?.detach()),
            Err(_elapsed) => break,
        }
    }
    Ok(batch)
}

/// Applies all records in one transaction. Returns the number of new ones.
async fn apply_batch(
    database: &DatabaseConnection,
    batch: &[OwnedMessage],
) -> anyhow::Result<usize> {
    let transaction = database.begin().await?;
    let mut new = 0;
    for record in batch {
        if apply(&transaction, record).await? {
            new += 1;
        }
    }
    transaction.commit().await?;
    Ok(new)
}

/// Applies one record, unless its event has been applied before. Returns whether it was new.
async fn apply(transaction: &DatabaseTransaction, record: &OwnedMessage) -> anyhow::Result<bool> {
    let id = header(record, "ce_id")?;
    let insert = "INSERT OR IGNORE INTO inbox VALUES (?)";
    if execute(transaction, insert, [Value::from(id)]).await? == 0 {
        return Ok(false);
    }
    // A later release may add types of events: they are recorded and have no effect.
    if header(record, "ce_type")? != "firstcome.participation.confirmed" {
        return Ok(true);
    }
    let payload = record.payload().context("a record without a value")?;
    let change: Json = serde_json::from_slice(payload)?;
    let number = |field: &str| {
        let value = change.get(field).and_then(Json::as_i64);
        value.with_context(|| format!("{field} is not a number"))
    };
    let upsert = "INSERT INTO units VALUES (?, ?) \
                  ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity";
    let values = [number("userId")?, number("quantity")?].map(Value::from);
    execute(transaction, upsert, values).await?;
    Ok(true)
}

/// The text of a header.
fn header<'a>(record: &'a OwnedMessage, name: &str) -> anyhow::Result<&'a str> {
    let mut headers = record.headers().into_iter().flat_map(Headers::iter);
    let found = headers.find(|header| header.key == name);
    let value = found.and_then(|header| header.value);
    let value = value.with_context(|| format!("a record without the header {name}"))?;
    Ok(std::str::from_utf8(value)?)
}

/// Runs a statement. Returns the number of rows that it changed.
async fn execute(
    database: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> anyhow::Result<u64> {
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, values);
    Ok(database.execute_raw(statement).await?.rows_affected())
}

/// Commits the position after the last record of each partition.
fn commit_offsets(consumer: &StreamConsumer, batch: &[OwnedMessage]) -> anyhow::Result<()> {
    let mut positions = BTreeMap::new();
    for record in batch {
        positions.insert((record.topic(), record.partition()), record.offset() + 1);
    }
    let mut offsets = TopicPartitionList::new();
    for ((topic, partition), position) in positions {
        offsets.add_partition_offset(topic, partition, Offset::Offset(position))?;
    }
    consumer.commit(&offsets, CommitMode::Sync)?;
    Ok(())
}
