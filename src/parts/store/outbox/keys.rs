//! The keys of parked rows: which of them block later events, and which row of a key is retried next.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::parked::{HOLDS_BACK, ParkedState, StreamKey, TRIED_AGAIN};
use super::{in_buckets, parse_topic};
use crate::domain::{CampaignId, LogPlace, StreamId, Topic};
use crate::parts::store::entity::by_index;
use crate::parts::store::entity::outbox_parked::{Column, Entity};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// Maximum number of keys released by one search for orphans.
pub const ORPHAN_KEYS_MAX: usize = 100;

/// Rows with waiting keys that are read by one statement.
const WAITING_PAGE: usize = 20_000;

const BLOCKED: &str = ParkedState::Blocked.as_str();

/// What still waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing: its next event may be sent.
    Free,
    /// A row waits for a retry.
    Waits,
    /// A row may be retried at once.
    Due,
}

/// Campaign, topic, sequence and key of a row.
type KeyRow = (i64, String, i64, String);

impl Store {
    /// Makes the next blocked row of each key a retry, unless a row of the key already is one. Returns what still
    /// waits for each key.
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
        let rows: Vec<(i64, String, i64, String, String)> = blocking_rows()
            .column(Column::State)
            .filter(Column::MessageKey.is_in(padded(&names)))
            .into_tuple()
            .all(&tx)
            .await?;
        let mut due = Vec::new();
        for (campaign, topic, sequence, key, state) in rows {
            let (stream, sequence) = (stream(campaign, &topic)?, to_unsigned(sequence));
            let place = LogPlace { stream, sequence };
            let is_blocked = state == BLOCKED;
            let key: StreamKey = (stream, key.into());
            // Another stream may have the same key.
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
            let rows = Entity::update_many()
                .col_expr(Column::State, ParkedState::Retry.as_str().into())
                .col_expr(Column::NextAt, self.now_expr())
                .filter(self.are_at(&due))
                .filter(Column::State.eq(BLOCKED));
            rows.exec(&self.db).await?;
        }
        for key in keys {
            released.entry(key.clone()).or_insert(Released::Free);
        }
        Ok(released)
    }

    /// Keys of `buckets` with a row that blocks later ones. After a long outage of a partition there may be millions of
    /// rows, so they are read in pages.
    pub async fn waiting_keys(&self, buckets: &[u16]) -> Result<BTreeSet<StreamKey>, StoreError> {
        let mut keys = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.waiting_page(buckets, after).await?;
            let is_last = page.len() < WAITING_PAGE;
            for (campaign, topic, sequence, key) in page {
                let stream = stream(campaign, &topic)?;
                keys.insert((stream, key.into()));
                after = Some((stream, sequence));
            }
            if is_last {
                return Ok(keys);
            }
        }
    }

    /// Campaign, topic, sequence and key of the next rows in order of the primary key.
    async fn waiting_page(
        &self,
        buckets: &[u16],
        after: Option<(StreamId, i64)>,
    ) -> Result<Vec<KeyRow>, StoreError> {
        let mut rows = blocking_rows()
            .filter(in_buckets(Column::CampaignId, buckets))
            .limit(WAITING_PAGE as u64);
        if let Some((stream, sequence)) = after {
            let topic = stream.topic.as_str();
            let of_stream = Column::Topic.eq(topic).and(Column::Sequence.gt(sequence));
            let of_campaign = Column::CampaignId.eq(stream.campaign.0);
            let of_campaign = of_campaign.and(Column::Topic.gt(topic).or(of_stream));
            rows = rows
                .filter(Column::CampaignId.gte(stream.campaign.0))
                .filter(Column::CampaignId.gt(stream.campaign.0).or(of_campaign));
        }
        by_index(&mut rows, "PRIMARY");
        let tx = self.begin_current().await?;
        let rows = rows.into_tuple().all(&tx).await?;
        self.end_current(tx).await?;
        Ok(rows)
    }

    /// Keys of `buckets` whose blocked rows have no row before them, after a crash. At most `ORPHAN_KEYS_MAX`.
    pub async fn orphan_keys(&self, buckets: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let same = |column| Expr::col(("r", column)).equals((Entity, column));
        let waits = Query::select()
            .expr(Expr::Constant(1.into()))
            .from_as(Entity, "r")
            .and_where(same(Column::MessageKey))
            .and_where(same(Column::CampaignId))
            .and_where(same(Column::Topic))
            .and_where(Expr::col(("r", Column::State)).is_in(TRIED_AGAIN))
            .to_owned();
        let rows = stream_keys()
            .filter(Column::State.eq(BLOCKED))
            .filter(Expr::not_exists(waits))
            .filter(in_buckets(Column::CampaignId, buckets))
            .limit(ORPHAN_KEYS_MAX as u64);
        self.keys(rows).await
    }

    /// A missed key would let rows pass blocked ones, so the server must accept writes (it must be the primary).
    async fn keys(&self, keys: Select<Entity>) -> Result<Vec<StreamKey>, StoreError> {
        let tx = self.begin_current().await?;
        let rows: Vec<(i64, String, String)> = keys.into_tuple().all(&tx).await?;
        self.end_current(tx).await?;
        rows.into_iter()
            .map(|(campaign, topic, key)| Ok((stream(campaign, &topic)?, key.into())))
            .collect()
    }
}

fn stream(campaign: i64, topic: &str) -> Result<StreamId, StoreError> {
    Ok(StreamId {
        campaign: CampaignId(campaign),
        topic: parse_topic(topic)?,
    })
}

/// Campaign, topic, sequence and key of the rows that block later ones, in order of the primary key, for the topics
/// that this release knows.
fn blocking_rows() -> Select<Entity> {
    Entity::find()
        .select_only()
        .columns([
            Column::CampaignId,
            Column::Topic,
            Column::Sequence,
            Column::MessageKey,
        ])
        .filter(Column::Topic.is_in(Topic::ALL.map(Topic::as_str)))
        .filter(Column::State.is_in(HOLDS_BACK))
        .order_by_asc(Column::CampaignId)
        .order_by_asc(Column::Topic)
        .order_by_asc(Column::Sequence)
}

/// The keys of rows, for the topics that this release knows.
fn stream_keys() -> Select<Entity> {
    Entity::find()
        .select_only()
        .distinct()
        .columns([Column::CampaignId, Column::Topic, Column::MessageKey])
        .filter(Column::Topic.is_in(Topic::ALL.map(Topic::as_str)))
}
