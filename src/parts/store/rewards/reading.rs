//! Rewards of a user, for display.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, Order, UnionType};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use uuid::Uuid;

use super::Rewards;
use super::coupons::coupon_status;
use crate::domain::{
    CampaignId, Coupon, CouponId, Entry, EntryKind, EventId, Granted, ParticipationId, UserId,
};
use crate::parts::store::StoreError;
use crate::parts::store::entity::{balance, coupon, ledger};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;

/// Maximum number of coupons shown for one participation.
const COUPONS_SHOWN_MAX: i32 = 100;

impl Rewards {
    /// A user's points.
    pub async fn points(&self, user: UserId) -> Result<i64, StoreError> {
        let row = balance::Entity::find_by_id(user.0).one(&self.db).await?;
        Ok(row.map_or(0, |row| row.points))
    }

    /// A page of a user's ledger, newest first.
    pub async fn ledger(
        &self,
        user: UserId,
        after: Option<EventId>,
        limit: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows = ledger::Entity::find()
            .filter(ledger::Column::UserId.eq(user.0))
            .apply_if(after, |rows, id| {
                rows.filter(ledger::Column::EventId.lt(id.0))
            })
            .order_by_desc(ledger::Column::EventId)
            .limit(limit)
            .all(&self.db)
            .await?;
        let entry = |row: ledger::Model| {
            Ok(Entry {
                event: EventId(row.event_id),
                participation: ParticipationId(row.participation_id),
                campaign: CampaignId(row.campaign_id),
                kind: parse("the kind of an entry", &row.kind, EntryKind::parse)?,
                amount: row.amount,
                created_at: row.created_at,
            })
        };
        rows.into_iter().map(entry).collect()
    }

    /// A page of a user's coupons, newest first.
    pub async fn coupons_of(
        &self,
        user: UserId,
        after: Option<CouponId>,
        limit: u64,
    ) -> Result<Vec<Coupon>, StoreError> {
        let rows = coupon::Entity::find()
            .filter(coupon::Column::UserId.eq(user.0))
            .apply_if(after, |rows, id| rows.filter(coupon::Column::Id.lt(id.0)))
            .order_by_desc(coupon::Column::Id)
            .limit(limit)
            .all(&self.db)
            .await?;
        rows.into_iter().map(Coupon::try_from).collect()
    }

    /// The rewards of these participations. Bounded: at most the first hundred coupons of one are included.
    pub async fn granted(
        &self,
        participations: &[ParticipationId],
    ) -> Result<HashMap<ParticipationId, Granted>, StoreError> {
        let mut found: HashMap<ParticipationId, Granted> = HashMap::new();
        if participations.is_empty() {
            return Ok(found);
        }
        let ids: Vec<Uuid> = padded(participations).map(|id| id.0).collect();
        let coupons = coupon::Entity::find()
            .select_only()
            .columns([coupon::Column::ParticipationId, coupon::Column::Status])
            .expr(Expr::Constant(0.into()))
            .columns([coupon::Column::Id, coupon::Column::Nth])
            .filter(coupon::Column::ParticipationId.is_in(ids.iter().copied()))
            .filter(coupon::Column::Nth.lte(COUPONS_SHOWN_MAX));
        let mut rows = ledger::Entity::find()
            .select_only()
            .columns([ledger::Column::ParticipationId, ledger::Column::Kind])
            .column(ledger::Column::Amount)
            .expr_as(Expr::null(), "coupon")
            .expr_as(Expr::Constant(0.into()), "nth")
            .filter(ledger::Column::ParticipationId.is_in(ids))
            .into_query();
        rows.union(UnionType::All, coupons.into_query())
            .order_by("nth", Order::Asc);
        for row in self.db.query_all(&rows).await? {
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
