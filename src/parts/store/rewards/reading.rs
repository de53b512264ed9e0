//! What users are shown of their rewards.

use std::collections::HashMap;

use uuid::Uuid;

use super::Rewards;
use super::coupons::{COLUMNS, coupon, coupon_status};
use crate::domain::{
    CampaignId, Coupon, CouponId, Entry, EntryKind, EventId, Granted, ParticipationId, UserId,
};
use crate::parts::store::StoreError;
use crate::parts::store::campaigns::to_unsigned;
use crate::parts::store::shapes::padded;

/// Coupons shown of one participation at most.
const COUPONS_SHOWN_MAX: i32 = 100;

impl Rewards {
    /// A user's points.
    pub async fn points(&self, user: UserId) -> Result<i64, StoreError> {
        let mut sql = self.sql("SELECT points FROM balance WHERE user_id = ");
        let rows = sql.bind(user.0).rows(&self.db).await?;
        let points = rows.first().map(|row| row.try_get_by_index(0));
        Ok(points.transpose()?.unwrap_or(0))
    }

    /// A page of a user's ledger, newest first.
    pub async fn ledger(
        &self,
        user: UserId,
        after: Option<EventId>,
        limit: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut sql = self.sql(
            "SELECT event_id, participation_id, campaign_id, kind, amount, created_at FROM ledger \
             WHERE user_id = ",
        );
        sql.bind(user.0);
        if let Some(after) = after {
            sql.push(" AND event_id < ").bind(after.0);
        }
        sql.push(" ORDER BY event_id DESC LIMIT ").bind(limit);
        let mut entries = Vec::new();
        for row in sql.rows(&self.db).await? {
            let kind: String = row.try_get_by_index(3)?;
            entries.push(Entry {
                event: EventId(row.try_get_by_index(0)?),
                participation: ParticipationId(row.try_get_by_index(1)?),
                campaign: CampaignId(row.try_get_by_index(2)?),
                kind: EntryKind::parse(&kind).ok_or_else(|| StoreError::Unreadable {
                    what: "the kind of an entry",
                    value: kind,
                })?,
                amount: row.try_get_by_index(4)?,
                created_at: row.try_get_by_index(5)?,
            });
        }
        Ok(entries)
    }

    /// A page of a user's coupons, newest first.
    pub async fn coupons_of(
        &self,
        user: UserId,
        after: Option<CouponId>,
        limit: u64,
    ) -> Result<Vec<Coupon>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {COLUMNS} FROM coupon WHERE user_id = "));
        sql.bind(user.0);
        if let Some(after) = after {
            sql.push(" AND id < ").bind(after.0);
        }
        sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
        sql.rows(&self.db).await?.iter().map(coupon).collect()
    }

    /// What these participations were granted, where they were. Bounded: of the coupons of one the first
    /// hundred are named.
    pub async fn granted(
        &self,
        participations: &[ParticipationId],
    ) -> Result<HashMap<ParticipationId, Granted>, StoreError> {
        let mut found: HashMap<ParticipationId, Granted> = HashMap::new();
        if participations.is_empty() {
            return Ok(found);
        }
        let ids: Vec<Uuid> = padded(participations).map(|id| id.0).collect();
        let mut sql = self.sql(
            "SELECT participation_id, kind, amount, NULL AS coupon, 0 AS nth FROM ledger \
             WHERE participation_id IN ",
        );
        sql.list(ids.iter().copied());
        sql.push(
            " UNION ALL SELECT participation_id, status, 0, id, nth FROM coupon \
             WHERE participation_id IN ",
        );
        sql.list(ids.iter().copied());
        sql.push(" AND nth <= ").bind(COUPONS_SHOWN_MAX);
        for row in sql.push(" ORDER BY nth").rows(&self.db).await? {
            let word: String = row.try_get_by_index(1)?;
            let granted = found
                .entry(ParticipationId(row.try_get_by_index(0)?))
                .or_default();
            match row.try_get_by_index::<Option<Uuid>>(3)? {
                Some(id) => granted.coupons.push((CouponId(id), coupon_status(&word)?)),
                None if word == EntryKind::Granted.as_str() => {
                    granted.points = Some(to_unsigned(row.try_get_by_index(2)?));
                }
                None => granted.points_reversed = true,
            }
        }
        Ok(found)
    }
}
