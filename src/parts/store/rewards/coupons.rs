//! The effects of the consumer of coupons, and the redemption of a coupon.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::Rewards;
use super::due::Due;
use super::plan::{AppliedState, Plan};
use crate::domain::campaign::CouponTerms;
use crate::domain::{
    CampaignId, Coupon, CouponId, CouponStatus, ParticipationId, Reward, Timestamp, UserId,
    to_stored_precision,
};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::coupon::{ActiveModel, Column, Entity, Model};
use crate::parts::store::numbers::{narrow, to_signed, to_unsigned};
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::unreadable::parse;

/// The digits of a code, without ambiguous ones (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CODE_DIGITS: usize = 26;

/// The size of a row in a statement.
const ROW_BYTES: usize = 180;

/// Identifies a coupon and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// A user sends the id of their coupon.
    OfUser {
        /// The coupon.
        id: CouponId,
        /// Its user.
        by: UserId,
    },
    /// A shop enters the code.
    OfShop {
        /// The code.
        code: String,
        /// The name of the shop.
        by: String,
    },
}

/// The order for which a coupon is redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its amount.
    pub amount: u64,
    /// The shop's name of the order: a repeated request for the same order gets the same answer.
    pub id: Option<String>,
}

/// The result of redeeming a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// It is redeemed, now or before, by the same user or shop for the same order.
    Used(Coupon),
    /// It was redeemed before, by the same user or shop for this order, with another amount.
    OtherAmount(Coupon),
    /// It is not redeemed; the reason follows from its status, its terms and the amount.
    Refused(Coupon),
    /// There is no such coupon, or it belongs to another user.
    Unknown,
}

impl Rewards {
    /// Adds the numbers of issued coupons to the applied states.
    pub(super) async fn issued(
        tx: &Tx,
        states: &mut HashMap<ParticipationId, AppliedState>,
    ) -> Result<(), StoreError> {
        if states.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = states.keys().map(|id| id.0).collect();
        let counts: Vec<(Uuid, i64)> = Entity::find()
            .select_only()
            .column(Column::ParticipationId)
            .column_as(Column::Id.count(), "coupons")
            .filter(Column::ParticipationId.is_in(padded(&ids)))
            .group_by(Column::ParticipationId)
            .into_tuple()
            .all(tx)
            .await?;
        for (id, coupons) in counts {
            // A repeated revocation has no effect: only issued coupons are revoked.
            states.entry(ParticipationId(id)).or_default().granted = Some(coupons);
        }
        Ok(())
    }

    /// Issues the coupons that the plan grants, and revokes those that it takes back, unless they were used.
    pub(super) async fn issue(&self, tx: &Tx, plan: &Plan<'_>) -> Result<(), StoreError> {
        let coupons: Vec<(&Due, &CouponTerms, u32)> = plan
            .grants
            .iter()
            .filter_map(|due| match due.reward.as_ref()? {
                Reward::Coupon(terms) => Some((*due, terms)),
                Reward::Points(_) => None,
            })
            .flat_map(|(due, terms)| (1..=due.change.quantity).map(move |nth| (due, terms, nth)))
            .collect();
        let now = to_stored_precision(self.clock.now());
        let row = |(due, terms, nth): &(&Due, &CouponTerms, u32)| {
            let change = &due.change;
            [
                (Column::Id, Uuid::now_v7().into()),
                (Column::Code, code().into()),
                (Column::UserId, change.user.0.into()),
                (Column::CampaignId, change.campaign.0.into()),
                (Column::ParticipationId, change.participation.0.into()),
                (Column::Nth, narrow(*nth).into()),
                (
                    Column::DiscountAmount,
                    to_signed(terms.discount_amount).into(),
                ),
                (
                    Column::MinimumOrderAmount,
                    to_signed(terms.minimum_order_amount).into(),
                ),
                (
                    Column::ValidFrom,
                    terms.valid_from.map(to_stored_precision).into(),
                ),
                (
                    Column::ValidUntil,
                    terms.valid_until.map(to_stored_precision).into(),
                ),
                (Column::Status, CouponStatus::Issued.as_str().into()),
                (Column::CreatedAt, now.into()),
            ]
        };
        self.insert::<Entity, _, _>(tx, ROW_BYTES, &coupons, row, None)
            .await?;
        let mut issued: Vec<Uuid> = coupons
            .iter()
            .map(|(due, ..)| due.change.participation.0)
            .collect();
        issued.dedup();
        self.suspend_issued(tx, &issued).await?;
        let revoked = plan.reversals.iter();
        let mut revoked: Vec<Uuid> = revoked.map(|(due, _)| due.change.participation.0).collect();
        revoked.sort_unstable();
        for unused in [CouponStatus::Issued, CouponStatus::Suspended] {
            self.move_coupons(tx, &revoked, unused, CouponStatus::Revoked)
                .await?;
        }
        let ended: Vec<Uuid> = plan.ended.iter().map(|id| id.0).collect();
        self.forget_revocations(tx, &ended).await
    }

    /// Redeems a coupon for an order: once, also for concurrent requests, and only within its terms.
    pub async fn use_coupon(
        &self,
        voucher: &Voucher,
        order: &Order,
    ) -> Result<(UseOutcome, Timestamp), StoreError> {
        let now = to_stored_precision(self.clock.now());
        let amount = to_signed(order.amount);
        let by = match voucher {
            Voucher::OfUser { .. } => None,
            Voucher::OfShop { by, .. } => Some(by.clone()),
        };
        let row = ActiveModel {
            status: Set(CouponStatus::Used.as_str().to_owned()),
            used_at: Set(Some(now)),
            order_amount: Set(Some(amount)),
            order_id: Set(order.id.clone()),
            used_by: Set(by.clone()),
            ..ActiveModel::default()
        };
        let used = Entity::update_many()
            .set(row)
            .filter(voucher.condition())
            .filter(Column::Status.eq(CouponStatus::Issued.as_str()))
            .filter(Column::MinimumOrderAmount.lte(amount))
            .filter(Column::ValidFrom.is_null().or(Column::ValidFrom.lte(now)))
            .filter(Column::ValidUntil.is_null().or(Column::ValidUntil.gte(now)))
            .exec(&self.db)
            .await?;
        let is_used = used.rows_affected == 1;
        let outcome = match self.coupon(voucher).await? {
            Some(coupon) if is_used => UseOutcome::Used(coupon),
            // Two shops may use the same name for an order.
            Some(coupon)
                if order.id.is_some() && coupon.order_id == order.id && coupon.used_by == by =>
            {
                if coupon.order_amount == Some(order.amount) {
                    UseOutcome::Used(coupon)
                } else {
                    UseOutcome::OtherAmount(coupon)
                }
            }
            Some(coupon) => UseOutcome::Refused(coupon),
            None => UseOutcome::Unknown,
        };
        Ok((outcome, now))
    }

    /// One coupon.
    pub async fn coupon(&self, voucher: &Voucher) -> Result<Option<Coupon>, StoreError> {
        let row = Entity::find().filter(voucher.condition()).one(&self.db);
        row.await?.map(Coupon::try_from).transpose()
    }
}

impl Voucher {
    /// The condition on the coupon.
    fn condition(&self) -> Expr {
        match self {
            Self::OfUser { id, by } => Column::Id.eq(id.0).and(Column::UserId.eq(by.0)),
            Self::OfShop { code, .. } => Column::Code.eq(code.as_str()),
        }
    }
}

impl TryFrom<Model> for Coupon {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: CouponId(row.id),
            code: row.code,
            user: UserId(row.user_id),
            campaign: CampaignId(row.campaign_id),
            participation: ParticipationId(row.participation_id),
            terms: CouponTerms {
                discount_amount: to_unsigned(row.discount_amount),
                minimum_order_amount: to_unsigned(row.minimum_order_amount),
                valid_from: row.valid_from,
                valid_until: row.valid_until,
            },
            status: coupon_status(&row.status)?,
            used_at: row.used_at,
            order_amount: row.order_amount.map(to_unsigned),
            created_at: row.created_at,
            order_id: row.order_id,
            used_by: row.used_by,
        })
    }
}

pub(super) fn coupon_status(word: &str) -> Result<CouponStatus, StoreError> {
    parse("a coupon's status", word, CouponStatus::parse)
}

/// A new code: 128 random bits of the generator that is also used for keys.
fn code() -> String {
    let mut bits: u128 = rand::random();
    let mut digits = [b'0'; CODE_DIGITS];
    for digit in digits.iter_mut().rev() {
        let index = usize::try_from(bits % 32).unwrap_or_default();
        *digit = DIGITS.get(index).copied().unwrap_or(b'0');
        bits /= 32;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_long_readable_and_unique() {
        let codes: HashSet<String> = (0..10_000).map(|_| code()).collect();
        assert_eq!(codes.len(), 10_000);
        for code in &codes {
            assert_eq!(code.len(), CODE_DIGITS);
            assert!(code.bytes().all(|digit| DIGITS.contains(&digit)), "{code}");
        }
        // All digits occur in each place except the first, which has only the three remaining bits.
        for place in 1..CODE_DIGITS {
            let seen: HashSet<u8> = codes.iter().map(|code| code.as_bytes()[place]).collect();
            assert_eq!(seen.len(), 32, "place {place}");
        }
    }
}
