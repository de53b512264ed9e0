//! The sums of segments that were found sound, kept until somebody changes a participation.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};

use super::sums::{campaign, count};
use super::{Segment, Snapshot};
use crate::domain::CampaignId;
use crate::parts::store::campaigns::{narrow, to_signed};
use crate::parts::store::outbox::Sql;
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// What a segment summed up to when it was sound. Its events are as many as its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which segment.
    pub segment: Segment,
    /// Changes of participations that were announced; 0: no row.
    pub generation: u64,
    /// Participations.
    pub participations: u64,
    /// Units held by those that stand.
    pub units: u64,
    /// Changes.
    pub changes: u64,
    /// The limit nobody was above.
    pub per_user_limit: u32,
    /// Whether nothing was changed since.
    pub is_valid: bool,
}

const COLUMNS: &str = "SELECT campaign_id, segment, generation, participations, units, changes, \
     per_user_limit, verified_at IS NOT NULL AS is_valid FROM verified_segment WHERE ";
/// Segments that are invalidated in one statement at most.
const SEGMENTS_MAX: usize = 500;

impl Store {
    /// Sums of a segment are not to be trusted any more. To be called by whoever changes a
    /// participation, with its rank, in the same transaction `on`; for several, in order of rank, so
    /// that two who do so wait for each other and never in a circle. A row is written in any case: it
    /// is what this and the keeping of sums wait for each other at.
    pub async fn invalidate_segment(
        &self,
        on: &impl ConnectionTrait,
        campaign: CampaignId,
        rank: u64,
    ) -> Result<(), StoreError> {
        let segment = Segment::of(campaign, rank);
        let mut sql = Sql::new(self, "INSERT INTO verified_segment (campaign_id, segment, ");
        sql.push("generation, participations, units, changes, per_user_limit) VALUES (")
            .bind(campaign.0)
            .push(",")
            .bind(to_signed(segment.number));
        sql.push(match on.get_database_backend() {
            DbBackend::Sqlite => ",1,0,0,0,0) ON CONFLICT (campaign_id, segment) DO UPDATE SET ",
            _ => ",1,0,0,0,0) ON DUPLICATE KEY UPDATE ",
        });
        sql.push("generation = verified_segment.generation + 1, verified_at = NULL");
        sql.run(on).await?;
        Ok(())
    }

    /// These segments were found unsound: their sums are forgotten.
    pub async fn forget_segments(&self, segments: &[Segment]) -> Result<(), StoreError> {
        for some in segments.chunks(SEGMENTS_MAX) {
            let mut sql = Sql::new(
                self,
                "UPDATE verified_segment SET verified_at = NULL WHERE (campaign_id, segment) IN ",
            );
            sql.pairs(padded(some).map(|segment| {
                let number = to_signed(segment.number);
                (Value::from(segment.campaign.0), Value::from(number))
            }));
            sql.run(self.connection()).await?;
        }
        Ok(())
    }

    /// Keeps the sums of sound segments, each unless a change was announced since the snapshot that
    /// they and `generation` are from.
    pub async fn keep_segments(&self, kept: &[Kept]) -> Result<(), StoreError> {
        // Always in this order, so that two who keep wait for each other and never in a circle.
        let mut kept = kept.to_vec();
        kept.sort_by_key(|kept| kept.segment);
        for some in kept.chunks(SEGMENTS_MAX) {
            let mut sql = Sql::new(self, "INSERT INTO verified_segment (campaign_id, segment, ");
            sql.push("generation, participations, units, changes, per_user_limit, verified_at)");
            sql.push(" VALUES ");
            for (nth, kept) in some.iter().enumerate() {
                sql.push(if nth == 0 { "(" } else { ",(" });
                let numbers = [
                    kept.segment.campaign.0,
                    to_signed(kept.segment.number),
                    to_signed(kept.generation),
                    to_signed(kept.participations),
                    to_signed(kept.units),
                    to_signed(kept.changes),
                    i64::from(narrow(kept.per_user_limit)),
                ];
                for number in numbers {
                    sql.bind(number).push(",");
                }
                sql.now().push(")");
            }
            sql.push(self.merge()).run(self.connection()).await?;
        }
        Ok(())
    }

    /// How a row that is there already takes over new sums: whole, or not at all.
    fn merge(&self) -> &'static str {
        if self.is_embedded() {
            return " ON CONFLICT (campaign_id, segment) DO UPDATE SET \
                 participations = excluded.participations, units = excluded.units, \
                 changes = excluded.changes, per_user_limit = excluded.per_user_limit, \
                 verified_at = excluded.verified_at \
                 WHERE verified_segment.generation = excluded.generation";
        }
        " AS n ON DUPLICATE KEY UPDATE \
         participations = IF(verified_segment.generation = n.generation, n.participations, verified_segment.participations), \
         units = IF(verified_segment.generation = n.generation, n.units, verified_segment.units), \
         changes = IF(verified_segment.generation = n.generation, n.changes, verified_segment.changes), \
         per_user_limit = IF(verified_segment.generation = n.generation, n.per_user_limit, verified_segment.per_user_limit), \
         verified_at = IF(verified_segment.generation = n.generation, n.verified_at, verified_segment.verified_at)"
    }

    /// The segments whose time it is to be read again: those read longest ago, with the n-th part of
    /// all participations that are kept or a little more, and everything older than `age_max`.
    pub async fn segments_due(
        &self,
        nth_part: u32,
        age_max: Duration,
    ) -> Result<HashSet<Segment>, StoreError> {
        // An empty segment is a little work, too.
        let mut sql = Sql::new(
            self,
            "SELECT campaign_id, segment FROM (SELECT campaign_id, segment, verified_at, \
             SUM(participations + 1) OVER () AS in_all, SUM(participations + 1) OVER \
             (ORDER BY verified_at, campaign_id, segment) - participations - 1 AS read_earlier \
             FROM verified_segment WHERE verified_at IS NOT NULL) k WHERE read_earlier * ",
        );
        sql.bind(nth_part)
            .push(" < in_all OR verified_at < ")
            .before(age_max);
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(segment).collect()
    }

    /// What is kept of these campaigns, as it is now.
    pub async fn kept(&self, ids: &[CampaignId]) -> Result<Vec<Kept>, StoreError> {
        read(self, self.connection(), ids).await
    }
}

impl Snapshot {
    /// What is kept of these campaigns, in order of segment.
    pub async fn kept(&self, ids: &[CampaignId]) -> Result<Vec<Kept>, StoreError> {
        read(&self.store, &self.tx, ids).await
    }

    /// The generation of a segment; 0: no change was ever announced and no sums are kept.
    pub async fn generation(&self, segment: Segment) -> Result<u64, StoreError> {
        let mut sql = Sql::new(&self.store, COLUMNS);
        sql.push("campaign_id = ").bind(segment.campaign.0);
        sql.push(" AND segment = ").bind(to_signed(segment.number));
        let rows = sql.rows(&self.tx).await?;
        rows.first().map_or(Ok(0), |row| Ok(kept(row)?.generation))
    }
}

async fn read(
    store: &Store,
    on: &impl ConnectionTrait,
    ids: &[CampaignId],
) -> Result<Vec<Kept>, StoreError> {
    let mut sql = Sql::new(store, COLUMNS);
    sql.push("campaign_id IN ")
        .list(padded(ids).map(|id| id.0))
        .push(" ORDER BY campaign_id, segment");
    sql.rows(on).await?.iter().map(kept).collect()
}

fn segment(row: &QueryResult) -> Result<Segment, StoreError> {
    Ok(Segment {
        campaign: campaign(row)?,
        number: count(row, "segment")?,
    })
}

fn kept(row: &QueryResult) -> Result<Kept, StoreError> {
    let limit: i32 = row.try_get("", "per_user_limit")?;
    Ok(Kept {
        segment: segment(row)?,
        generation: count(row, "generation")?,
        participations: count(row, "participations")?,
        units: count(row, "units")?,
        changes: count(row, "changes")?,
        per_user_limit: limit.unsigned_abs(),
        is_valid: row.try_get::<i64>("", "is_valid")? != 0,
    })
}
