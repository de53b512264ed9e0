//! Events that the position has passed and that are not published: they wait to be tried again, behind an earlier
//! event of their key, for their writer, or for somebody to decide.
//!
//! Of a key at most one row is tried again at a time; the others are `blocked`, and when it is delivered or given up
//! the next one, in order of sequence, becomes a retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{QueryResult, Value};

use super::{in_buckets, place};
use crate::domain::words::words;
use crate::domain::{CampaignId, EventId, LogPlace, OutboxEvent, Topic, key_hash};
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::to_signed;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::{Store, StoreError};

words! {
    /// Why a row is parked.
    pub enum ParkedState {
        /// Tried again at its time.
        Retry = "retry",
        /// Its topic or partition takes no records: tried when that does, without an attempt charged.
        Waiting = "waiting",
        /// Waits behind a row of its key.
        Blocked = "blocked",
        /// Its writer publishes it; tried again if that takes too long.
        Held = "held",
        /// It was published, and the position has not passed it yet.
        Acknowledged = "acknowledged",
        /// Given up; a dead letter.
        Dead = "dead",
        /// Discarded by an admin; the row stays as a record.
        Discarded = "discarded",
    }
}

/// The new state of a row that could not be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its state.
    pub state: ParkedState,
    /// Attempts charged so far.
    pub attempts: u32,
    /// Class of the failure: one word.
    pub error_class: &'static str,
    /// The failure as people read it; cut to what the column takes.
    pub error: String,
    /// When it is tried again; none: only on request.
    pub next_in: Option<Duration>,
}

/// The lease of a bucket under which a row was read. A relay that has lost the bucket since parks none of its rows:
/// another relay has read them, and may have published later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The bucket.
    pub bucket: u16,
    /// How many owners it had had.
    pub epoch: u64,
}

/// An event to be parked.
#[derive(Clone, Debug)]
pub struct NewlyParked {
    /// Where it is.
    pub place: LogPlace,
    /// Which event.
    pub id: EventId,
    /// Its topic.
    pub topic: Topic,
    /// Its key; empty if it cannot be read.
    pub key: Arc<str>,
    /// The state it is parked in.
    pub verdict: Verdict,
    /// The lease it was read under.
    pub tenure: Tenure,
}

impl NewlyParked {
    /// That of an event.
    #[must_use]
    pub fn of(event: &OutboxEvent, verdict: Verdict, epoch: u64) -> Self {
        Self {
            place: event.place(),
            id: event.id,
            topic: event.topic,
            key: Arc::clone(&event.key),
            verdict,
            tenure: Tenure {
                bucket: event.campaign_id.bucket(),
                epoch,
            },
        }
    }
}

/// A parked row, and the key that it holds up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParkedRow {
    /// Where its event is.
    pub place: LogPlace,
    /// The key of its event.
    pub key: Arc<str>,
}

impl ParkedRow {
    /// The key within its stream.
    #[must_use]
    pub fn stream_key(&self) -> StreamKey {
        (self.place.campaign, Arc::clone(&self.key))
    }
}

/// A key within a stream: order is kept among its events.
pub type StreamKey = (CampaignId, Arc<str>);

/// What still waits of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing: its next event may be sent.
    Free,
    /// A row waits to be tried again.
    Waits,
    /// The same, and it may be tried at once.
    Due,
}

/// States of rows that are tried again.
const TRIED_AGAIN: &str = "('retry', 'held', 'waiting')";
/// States of rows that hold back the later rows of their key.
const HOLDS_BACK: &str = "('retry', 'held', 'waiting', 'blocked')";

/// Whether the position has passed a row that is acknowledged.
const IS_FORGOTTEN: &str = "state = 'acknowledged' AND sequence <= \
     (SELECT o.published FROM outbox_position o WHERE o.campaign_id = outbox_parked.campaign_id)";

/// Maximum number of keys released by one search for orphans.
pub const ORPHAN_KEYS_MAX: usize = 100;

const ERROR_CHARACTERS_MAX: usize = 1_000;

impl Store {
    /// Parks events, each unless another relay has its bucket now; returns which. One that is parked already stays as
    /// it is: a repetition after a lost answer changes nothing.
    pub async fn park(
        &self,
        owner: &str,
        rows: &[NewlyParked],
    ) -> Result<BTreeSet<LogPlace>, StoreError> {
        let tx = self.begin().await?;
        let tenures: BTreeSet<u16> = rows.iter().map(|row| row.tenure.bucket).collect();
        let leased = self.leased(&tx, owner, &tenures).await?;
        let ours: Vec<&NewlyParked> = rows
            .iter()
            .filter(|row| leased.get(&row.tenure.bucket) == Some(&row.tenure.epoch))
            .collect();
        if ours.is_empty() {
            tx.rollback().await?;
            return Ok(BTreeSet::new());
        }
        let mut sql = self.sql(
            "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, \
             attempts, error_class, error, next_at, parked_at) VALUES ",
        );
        for (nth, row) in ours.iter().enumerate() {
            values(sql.push(if nth == 0 { "(" } else { ",(" }), row);
        }
        sql.push(if self.is_embedded() {
            " ON CONFLICT (campaign_id, sequence) DO NOTHING"
        } else {
            " ON DUPLICATE KEY UPDATE attempts = outbox_parked.attempts"
        });
        sql.run(&tx).await?;
        tx.commit().await?;
        Ok(ours.iter().map(|row| row.place).collect())
    }

    /// The epochs of the buckets that `owner` leases among these; they stay so until the transaction ends, and the
    /// next owner reads what the transaction wrote.
    async fn leased(
        &self,
        tx: &Tx,
        owner: &str,
        buckets: &BTreeSet<u16>,
    ) -> Result<BTreeMap<u16, u64>, StoreError> {
        let buckets: Vec<u16> = buckets.iter().copied().collect();
        let mut sql = self.sql("SELECT bucket, epoch FROM outbox_lease WHERE bucket IN ");
        sql.list(padded(&buckets)).push(" AND owner = ").bind(owner);
        if !self.is_embedded() {
            sql.push(" FOR SHARE");
        }
        let rows = sql.rows(tx).await?;
        rows.iter()
            .map(|row| {
                let (bucket, epoch): (i64, i64) =
                    (row.try_get("", "bucket")?, row.try_get("", "epoch")?);
                Ok((
                    u16::try_from(bucket).unwrap_or(u16::MAX),
                    epoch.unsigned_abs(),
                ))
            })
            .collect()
    }

    /// Writes a new verdict about a row that was tried again; false: it no longer waits for that.
    pub async fn park_again(&self, place: LogPlace, verdict: &Verdict) -> Result<bool, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET state = ");
        sql.bind(verdict.state.as_str());
        sql.push(", attempts = ").bind(verdict.attempts);
        sql.push(", error_class = ").bind(verdict.error_class);
        sql.push(", error = ").bind(shortened(&verdict.error));
        sql.push(", next_at = ");
        at(&mut sql, verdict.next_in);
        sql.push(" WHERE campaign_id = ").bind(place.campaign.0);
        sql.push(" AND sequence = ").bind(to_signed(place.sequence));
        sql.push(" AND state IN ").push(TRIED_AGAIN);
        Ok(sql.run(&self.db).await? == 1)
    }

    /// Notes that rows that were tried again, or published by their writer, are acknowledged. Those that the position
    /// has passed are deleted; the others stay, because whoever reads the stream would publish their events again.
    pub async fn unpark(&self, places: &[LogPlace]) -> Result<u64, StoreError> {
        if places.is_empty() {
            return Ok(0);
        }
        let acknowledged = self.note_acknowledged(places).await?;
        let mut sql = self.sql(&self.db.delete_by_key("outbox_parked"));
        sql.push(" WHERE (campaign_id, sequence) IN ");
        sql.pairs(padded(places).map(pair));
        sql.push(" AND ").push(IS_FORGOTTEN).run(&self.db).await?;
        Ok(acknowledged)
    }

    /// Notes that rows are acknowledged; how many were still to be tried.
    pub(super) async fn note_acknowledged(&self, places: &[LogPlace]) -> Result<u64, StoreError> {
        let mut sql = self.sql("UPDATE outbox_parked SET state = 'acknowledged', next_at = NULL");
        sql.push(" WHERE (campaign_id, sequence) IN ");
        sql.pairs(padded(places).map(pair));
        sql.push(" AND state IN ").push(TRIED_AGAIN);
        sql.run(&self.db).await
    }

    /// Deletes the rows of acknowledged events that positions have passed since.
    pub async fn sweep_acknowledged(&self) -> Result<u64, StoreError> {
        let mut sql = self.sql("DELETE FROM outbox_parked WHERE ");
        sql.push(IS_FORGOTTEN).run(&self.db).await
    }

    /// Makes the next blocked row of each key a retry, unless a row of the key waits for that already. Returns what
    /// still waits of each key.
    pub async fn release_keys(
        &self,
        keys: &[StreamKey],
    ) -> Result<BTreeMap<StreamKey, Released>, StoreError> {
        let mut released: BTreeMap<StreamKey, Released> = BTreeMap::new();
        if keys.is_empty() {
            return Ok(released);
        }
        let names: Vec<&str> = keys.iter().map(|(_, key)| &**key).collect();
        let tx = self.begin_current().await?;
        let mut sql =
            self.sql("SELECT campaign_id, sequence, message_key, state FROM outbox_parked");
        sql.push(" WHERE message_key IN ").list(padded(&names));
        sql.push(" AND state IN ").push(HOLDS_BACK);
        sql.push(" ORDER BY campaign_id, sequence");
        let rows = sql.rows(&tx).await?;
        let mut due = Vec::new();
        for row in &rows {
            let place = place(row)?;
            let key: String = row.try_get("", "message_key")?;
            let state: String = row.try_get("", "state")?;
            let is_blocked = state == ParkedState::Blocked.as_str();
            let key: StreamKey = (place.campaign, key.into());
            // Another campaign may have the same key.
            if !keys.contains(&key) {
                continue;
            }
            released.entry(key).or_insert_with(|| {
                if is_blocked {
                    due.push(place);
                    Released::Due
                } else {
                    Released::Waits
                }
            });
        }
        self.end_current(tx).await?;
        if !due.is_empty() {
            let mut sql = self.sql("UPDATE outbox_parked SET state = 'retry', next_at = ");
            sql.now().push(" WHERE (campaign_id, sequence) IN ");
            sql.pairs(padded(&due).map(pair));
            sql.push(" AND state = 'blocked'").run(&self.db).await?;
        }
        for key in keys {
            released.entry(key.clone()).or_insert(Released::Free);
        }
        Ok(released)
    }

    /// Keys of `buckets` with a row that holds later ones back.
    pub async fn waiting_keys(&self, buckets: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let mut sql = self.sql("SELECT DISTINCT p.campaign_id, p.message_key FROM outbox_parked p");
        sql.push(" WHERE p.state IN ")
            .push(HOLDS_BACK)
            .push(" AND ");
        self.keys(in_buckets(&mut sql, "p.campaign_id", buckets))
            .await
    }

    /// Keys of `buckets` whose rows wait behind nothing, left by a crash. No more than `ORPHAN_KEYS_MAX`.
    pub async fn orphan_keys(&self, buckets: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let mut sql = self.sql("SELECT DISTINCT p.campaign_id, p.message_key FROM outbox_parked p");
        sql.push(" WHERE p.state = 'blocked' AND NOT EXISTS (SELECT 1 FROM outbox_parked r");
        sql.push(" WHERE r.message_key = p.message_key AND r.campaign_id = p.campaign_id");
        sql.push(" AND r.state IN ")
            .push(TRIED_AGAIN)
            .push(") AND ");
        in_buckets(&mut sql, "p.campaign_id", buckets);
        let rows_max = i64::try_from(ORPHAN_KEYS_MAX).unwrap_or(i64::MAX);
        self.keys(sql.push(" LIMIT ").bind(rows_max)).await
    }

    /// A key that is missed here lets rows pass those that wait: a server that takes no writes is not trusted.
    async fn keys(&self, sql: &mut Sql) -> Result<Vec<StreamKey>, StoreError> {
        let tx = self.begin_current().await?;
        let rows = sql.rows(&tx).await?;
        self.end_current(tx).await?;
        rows.iter().map(stream_key).collect()
    }
}

/// Appends the values of a row.
fn values(sql: &mut Sql, row: &NewlyParked) {
    let verdict = &row.verdict;
    let columns: [Value; 10] = [
        row.place.campaign.0.into(),
        to_signed(row.place.sequence).into(),
        row.id.0.into(),
        row.topic.as_str().into(),
        Value::from(&*row.key),
        key_hash(&row.key).into(),
        verdict.state.as_str().into(),
        verdict.attempts.into(),
        verdict.error_class.into(),
        shortened(&verdict.error).into(),
    ];
    for column in columns {
        sql.bind(column).push(",");
    }
    at(sql, verdict.next_in).push(",").now().push(")");
}

fn stream_key(row: &QueryResult) -> Result<StreamKey, StoreError> {
    let campaign = CampaignId(row.try_get("", "campaign_id")?);
    Ok((campaign, row.try_get::<String>("", "message_key")?.into()))
}

fn pair(place: LogPlace) -> (Value, Value) {
    (place.campaign.0.into(), to_signed(place.sequence).into())
}

fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARACTERS_MAX).collect()
}

/// Appends the time `delay` from now, or none.
fn at(sql: &mut Sql, delay: Option<Duration>) -> &mut Sql {
    match delay {
        Some(delay) => sql.after(delay),
        None => sql.push("NULL"),
    }
}
