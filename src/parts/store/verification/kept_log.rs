//! The stored sums of segments of streams. Events never change, so the sums hold until events of the campaign are
//! deleted, which its row counts.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::kept::SEGMENTS_MAX;
use super::log::KeptLog;
use super::{Segment, Snapshot};
use crate::domain::CampaignId;
use crate::parts::store::entity::insert_rows;
use crate::parts::store::entity::verified_log::{Column, Entity, Model};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::query::or_replace;
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// Keeps the sums of segments of streams. Those of an older snapshot that come later do no harm: their numbers
    /// show that they hold no more.
    pub async fn keep_logs(&self, kept: &[KeptLog]) -> Result<(), StoreError> {
        // Always in this order, so that concurrent callers cannot deadlock.
        let mut kept = kept.to_vec();
        kept.sort_by_key(|kept| kept.segment);
        for some in kept.chunks(SEGMENTS_MAX) {
            let rows = some.iter().map(|kept| {
                [
                    (Column::CampaignId, kept.segment.campaign.0.into()),
                    (Column::Segment, to_signed(kept.segment.number).into()),
                    (Column::LastSequence, to_signed(kept.last).into()),
                    (Column::PurgedEvents, to_signed(kept.purged_events).into()),
                    (Column::Events, to_signed(kept.events).into()),
                    (Column::Digest, kept.digest.into()),
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

    /// The segments of streams whose time it is to be read again, as `segments_due` says it of participations.
    pub async fn logs_due(
        &self,
        nth_part: u32,
        age_max: Duration,
    ) -> Result<HashSet<Segment>, StoreError> {
        self.due("verified_log", "events", nth_part, age_max).await
    }

    /// The present sums of the streams of these campaigns, in order of segment.
    pub async fn kept_logs(&self, ids: &[CampaignId]) -> Result<Vec<KeptLog>, StoreError> {
        read(&self.db, ids).await
    }
}

impl Snapshot {
    /// The sums of the streams of these campaigns, in order of segment.
    pub async fn kept_logs(&self, ids: &[CampaignId]) -> Result<Vec<KeptLog>, StoreError> {
        read(&self.tx, ids).await
    }
}

async fn read(on: &impl ConnectionTrait, ids: &[CampaignId]) -> Result<Vec<KeptLog>, StoreError> {
    let rows = Entity::find()
        .filter(Column::CampaignId.is_in(padded(ids).map(|id| id.0)))
        .order_by_asc(Column::CampaignId)
        .order_by_asc(Column::Segment)
        .all(on)
        .await?;
    Ok(rows.into_iter().map(KeptLog::from).collect())
}

impl From<Model> for KeptLog {
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
