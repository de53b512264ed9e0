//! The stored sums of sound segments, valid until a participation changes.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, Value,
};

use super::sums::{campaign, count};
use super::{Segment, Snapshot};
use crate::domain::CampaignId;
use crate::parts::store::entity::verified_segment::{Column, Entity, Model};
use crate::parts::store::entity::{insert, insert_rows};
use crate::parts::store::numbers::{narrow, to_signed, to_unsigned};
use crate::parts::store::query::on_key;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

/// The sums of a segment when it was sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSums {
    /// The segment.
    pub segment: Segment,
    /// Its generation: the number of recorded changes of its participations; 0: there is no row.
    pub generation: u64,
    /// Participations.
    pub participations: u64,
    /// Units held.
    pub units: u64,
    /// Changes.
    pub changes: u64,
    /// The digest of the changes.
    pub digest: i64,
    /// The limit that no user exceeded.
    pub per_user_limit: u32,
    /// Whether nothing has changed since.
    pub is_valid: bool,
}

/// Maximum number of segments invalidated by one statement.
pub(super) const SEGMENTS_MAX: usize = 500;

impl Store {
    /// Invalidates the sums of a segment. Every change of a participation calls it with the rank in its transaction
    /// `on`; for several participations in order of rank, so that concurrent callers cannot deadlock. It always
    /// writes a row, so that it and the storing of sums wait for each other.
    pub async fn invalidate_segment(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        rank: u64,
    ) -> Result<(), StoreError> {
        let segment = Segment::of(campaign, rank);
        let mut row = insert::<Entity, _>([
            (Column::CampaignId, campaign.0.into()),
            (Column::Segment, to_signed(segment.number).into()),
            (Column::Generation, 1.into()),
            (Column::Participations, 0.into()),
            (Column::Units, 0.into()),
            (Column::Changes, 0.into()),
            (Column::Digest, 0.into()),
            (Column::PerUserLimit, 0.into()),
        ]);
        let generation = Expr::col((Entity, Column::Generation));
        let invalid = on_key::<Entity>()
            .value(Column::Generation, generation.add(1))
            .value(Column::VerifiedAt, Expr::null())
            .to_owned();
        on.execute(row.on_conflict(invalid)).await?;
        Ok(())
    }

    /// Invalidates the sums of unsound segments.
    pub async fn forget_segments(&self, segments: &[Segment]) -> Result<(), StoreError> {
        for some in segments.chunks(SEGMENTS_MAX) {
            let keys = padded(some).map(|segment| {
                let number = to_signed(segment.number);
                [Value::from(segment.campaign.0), Value::from(number)]
            });
            let columns = [Column::CampaignId, Column::Segment].map(|column| (Entity, column));
            let unsound = Entity::update_many()
                .col_expr(Column::VerifiedAt, Expr::null())
                .filter(self.are_among(columns, keys));
            unsound.exec(&self.db).await?;
        }
        Ok(())
    }

    /// Stores the sums of sound segments, except those with a change since their snapshot, which has this
    /// `generation`.
    pub async fn store_sums(&self, stored: &[StoredSums]) -> Result<(), StoreError> {
        // Always in this order, so that concurrent callers cannot deadlock.
        let mut stored = stored.to_vec();
        stored.sort_by_key(|stored| stored.segment);
        for some in stored.chunks(SEGMENTS_MAX) {
            let rows = some.iter().map(|stored| {
                let limit = narrow(stored.per_user_limit);
                [
                    (Column::CampaignId, stored.segment.campaign.0.into()),
                    (Column::Segment, to_signed(stored.segment.number).into()),
                    (Column::Generation, to_signed(stored.generation).into()),
                    (
                        Column::Participations,
                        to_signed(stored.participations).into(),
                    ),
                    (Column::Units, to_signed(stored.units).into()),
                    (Column::Changes, to_signed(stored.changes).into()),
                    (Column::Digest, stored.digest.into()),
                    (Column::PerUserLimit, limit.into()),
                    (Column::VerifiedAt, self.now_expr()),
                ]
            });
            let mut insert = insert_rows::<Entity, _>(rows);
            self.db.execute(insert.on_conflict(self.merge())).await?;
        }
        Ok(())
    }

    /// How new sums replace those of an existing row: all or none.
    fn merge(&self) -> OnConflict {
        let stored = |column| Expr::col((Entity, column));
        let is_same = || stored(Column::Generation).eq(self.fresh(Column::Generation));
        let mut merge = on_key::<Entity>();
        for column in [
            Column::Participations,
            Column::Units,
            Column::Changes,
            Column::Digest,
            Column::PerUserLimit,
            Column::VerifiedAt,
        ] {
            let merged = Expr::case(is_same(), self.fresh(column)).finally(stored(column));
            merge.value(column, merged);
        }
        merge
    }

    /// The segments to be read again: those read longest ago, with about the n-th part of all stored participations,
    /// and all that are older than `age_max`.
    pub async fn segments_due(
        &self,
        nth_part: u32,
        age_max: Duration,
    ) -> Result<HashSet<Segment>, StoreError> {
        let (table, rows) = ("verified_segment", "participations");
        self.due(table, rows, nth_part, age_max).await
    }

    /// The segments of a table of sums to be read again; `rows` is the column with the number of rows of a segment.
    pub(super) async fn due(
        &self,
        table: &str,
        rows: &str,
        nth_part: u32,
        age_max: Duration,
    ) -> Result<HashSet<Segment>, StoreError> {
        // An empty segment also costs a little work.
        let mut sql = self.sql(&format!(
            "SELECT campaign_id, segment, {rows} AS row_count, CASE WHEN verified_at < "
        ));
        sql.before(age_max)
            .push(" THEN 1 ELSE 0 END AS is_old FROM ");
        sql.push(table)
            .push(" WHERE verified_at IS NOT NULL ORDER BY verified_at, campaign_id, segment");
        let mut stored = Vec::new();
        for row in &sql.rows(&self.db).await? {
            let is_old: i64 = row.try_get("", "is_old")?;
            let reads = u128::from(count(row, "row_count")?) + 1;
            stored.push((segment(row)?, reads, is_old != 0));
        }
        let in_all: u128 = stored.iter().map(|(_, reads, _)| reads).sum();
        let mut read_earlier = 0;
        let mut due = HashSet::new();
        for (segment, reads, is_old) in stored {
            if is_old || read_earlier * u128::from(nth_part) < in_all {
                due.insert(segment);
            }
            read_earlier += reads;
        }
        Ok(due)
    }

    /// The current sums of these campaigns.
    pub async fn stored_sums(&self, ids: &[CampaignId]) -> Result<Vec<StoredSums>, StoreError> {
        read(&self.db, ids).await
    }
}

impl Snapshot {
    /// The sums of these campaigns, in order of segment.
    pub async fn stored_sums(&self, ids: &[CampaignId]) -> Result<Vec<StoredSums>, StoreError> {
        read(&self.tx, ids).await
    }

    /// The generation of a segment; 0: no change was recorded and no sums are stored.
    pub async fn generation(&self, segment: Segment) -> Result<u64, StoreError> {
        let key = (segment.campaign.0, to_signed(segment.number));
        let row = Entity::find_by_id(key).one(&self.tx).await?;
        Ok(row.map_or(0, |row| to_unsigned(row.generation)))
    }
}

async fn read(
    on: &impl ConnectionTrait,
    ids: &[CampaignId],
) -> Result<Vec<StoredSums>, StoreError> {
    let rows = Entity::find()
        .filter(Column::CampaignId.is_in(padded(ids).map(|id| id.0)))
        .order_by_asc(Column::CampaignId)
        .order_by_asc(Column::Segment)
        .all(on)
        .await?;
    Ok(rows.into_iter().map(StoredSums::from).collect())
}

fn segment(row: &QueryResult) -> Result<Segment, StoreError> {
    Ok(Segment {
        campaign: campaign(row)?,
        number: count(row, "segment")?,
    })
}

impl From<Model> for StoredSums {
    fn from(row: Model) -> Self {
        Self {
            segment: Segment {
                campaign: CampaignId(row.campaign_id),
                number: to_unsigned(row.segment),
            },
            generation: to_unsigned(row.generation),
            participations: to_unsigned(row.participations),
            units: to_unsigned(row.units),
            changes: to_unsigned(row.changes),
            digest: row.digest,
            per_user_limit: row.per_user_limit.unsigned_abs(),
            is_valid: row.verified_at.is_some(),
        }
    }
}
