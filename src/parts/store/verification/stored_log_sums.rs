//! The stored sums of segments of streams. Events never change, so the sums are valid until events of the campaign
//! are deleted, which its row counts.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::log::StoredLogSums;
use super::stored_sums::SEGMENTS_MAX;
use super::{Segment, Snapshot};
use crate::domain::CampaignId;
use crate::parts::store::entity::insert_rows;
use crate::parts::store::entity::verified_log::{Column, Entity, Model};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::or_replace;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Stores the sums of segments of streams. Sums of an older snapshot that are stored later do no harm: their
    /// counts show that they are outdated.
    pub async fn store_log_sums(&self, stored: &[StoredLogSums]) -> Result<(), StoreError> {
        // Always in this order, so that concurrent callers cannot deadlock.
        let mut stored = stored.to_vec();
        stored.sort_by_key(|stored| stored.segment);
        for some in stored.chunks(SEGMENTS_MAX) {
            let rows = some.iter().map(|stored| {
                [
                    (Column::CampaignId, stored.segment.campaign.0.into()),
                    (Column::Segment, to_signed(stored.segment.number).into()),
                    (Column::LastSequence, to_signed(stored.last).into()),
                    (Column::PurgedEvents, to_signed(stored.purged_events).into()),
                    (Column::Events, to_signed(stored.events).into()),
                    (Column::Digest, stored.digest.into()),
                    (Column::VerifiedAt, self.now_expr()),
                ]
            });
            let mut insert = insert_rows::<Entity, _>(rows);
            self.db
                .execute(insert.on_conflict(or_replace::<Entity>()))
                .await?;
        }
        Ok(())
    }

    /// The segments of streams to be read again, like `segments_due` for participations.
    pub async fn logs_due(
        &self,
        nth_part: u32,
        age_max: Duration,
    ) -> Result<HashSet<Segment>, StoreError> {
        self.due("verified_log", "events", nth_part, age_max).await
    }

    /// The current sums of the streams of these campaigns, in order of segment.
    pub async fn stored_log_sums(
        &self,
        ids: &[CampaignId],
    ) -> Result<Vec<StoredLogSums>, StoreError> {
        read(&self.db, ids).await
    }
}

impl Snapshot {
    /// The sums of the streams of these campaigns, in order of segment.
    pub async fn stored_log_sums(
        &self,
        ids: &[CampaignId],
    ) -> Result<Vec<StoredLogSums>, StoreError> {
        read(&self.tx, ids).await
    }
}

async fn read(
    on: &impl ConnectionTrait,
    ids: &[CampaignId],
) -> Result<Vec<StoredLogSums>, StoreError> {
    let rows = Entity::find()
        .filter(Column::CampaignId.is_in(padded(ids).map(|id| id.0)))
        .order_by_asc(Column::CampaignId)
        .order_by_asc(Column::Segment)
        .all(on)
        .await?;
    Ok(rows.into_iter().map(StoredLogSums::from).collect())
}

impl From<Model> for StoredLogSums {
    fn from(row: Model) -> Self {
        Self {
            segment: Segment {
                campaign: CampaignId(row.campaign_id),
                number: to_unsigned(row.segment),
            },
            last: to_unsigned(row.last_sequence),
            purged_events: to_unsigned(row.purged_events),
            events: to_unsigned(row.events),
            digest: row.digest,
        }
    }
}
