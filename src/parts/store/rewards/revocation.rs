//! Coupons of participations that are being cancelled. They are suspended before the cancellation commits in the
//! events' database, so that nobody uses coupons of returned units. Afterwards they are revoked or, if the
//! cancellation did not commit, issued again.
//!
//! The row of a revocation and the coupons of its participation are written by different transactions in different
//! orders: a cancellation writes the row and reads the coupons; a consumer writes the coupons and reads the row. Both
//! read with locks. So the second one sees the writes of the first, or one of them fails with a deadlock and is
//! retried.

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::Rewards;
use super::coupons::coupon_status;
use crate::domain::{CouponStatus, ParticipationId, Timestamp, to_stored_precision};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::revocation::{Column, Entity, Model};
use crate::parts::store::entity::{coupon, insert};
use crate::parts::store::query::{delete_by_key, on_key};
use crate::parts::store::statement_lengths::padded;

/// The result of suspending the coupons of a participation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// None of them can be used, including coupons that are not issued yet.
    Suspended,
    /// One was used; nothing changed.
    Used,
}

/// A participation with suspended coupons, and the time until which its cancellation can still commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The participation.
    pub participation: ParticipationId,
    /// By the clock of the events' database.
    pub undecided_until: Timestamp,
}

impl Rewards {
    /// Suspends the coupons of a participation, including those not issued yet, until it is decided, at `until` or
    /// later, whether the cancellation committed.
    pub async fn suspend_coupons(
        &self,
        participation: ParticipationId,
        until: Timestamp,
    ) -> Result<Suspension, StoreError> {
        let tx = self.begin().await?;
        self.expect_cancellation(&tx, participation, until).await?;
        let held: Vec<String> = coupon::Entity::find()
            .select_only()
            .column(coupon::Column::Status)
            .filter(coupon::Column::ParticipationId.eq(participation.0))
            .lock_exclusive()
            .into_tuple()
            .all(&tx)
            .await?;
        for status in held {
            if coupon_status(&status)? == CouponStatus::Used {
                tx.rollback().await?;
                return Ok(Suspension::Used);
            }
        }
        self.move_coupons(
            &tx,
            &[participation.0],
            CouponStatus::Issued,
            CouponStatus::Suspended,
        )
        .await?;
        tx.commit().await?;
        Ok(Suspension::Suspended)
    }

    /// Stores a pending cancellation. If there is another one, the later time is stored; a row of a committed
    /// cancellation stays.
    async fn expect_cancellation(
        &self,
        tx: &Tx,
        participation: ParticipationId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let mut row = insert::<Entity, _>([
            (Column::ParticipationId, participation.0.into()),
            (Column::UndecidedUntil, to_stored_precision(until).into()),
        ]);
        let known = Expr::col((Entity, Column::UndecidedUntil));
        let later = Func::greatest([known, self.fresh(Column::UndecidedUntil)]);
        let later = on_key::<Entity>()
            .value(Column::UndecidedUntil, later)
            .to_owned();
        tx.execute(row.on_conflict(later)).await?;
        Ok(())
    }

    /// Due revocations, whose cancellations cannot commit any more at `now`, by the clock of the events' database;
    /// the oldest first.
    pub async fn due_revocations(
        &self,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<(Uuid, Timestamp)> = Entity::find()
            .select_only()
            .columns([Column::ParticipationId, Column::UndecidedUntil])
            .filter(Column::UndecidedUntil.lte(to_stored_precision(now)))
            .order_by_asc(Column::UndecidedUntil)
            .limit(limit)
            .into_tuple()
            .all(&self.db)
            .await?;
        let revocation = |(id, undecided_until)| Revocation {
            participation: ParticipationId(id),
            undecided_until,
        };
        Ok(rows.into_iter().map(revocation).collect())
    }

    /// The cancellations have committed: revokes the coupons. If none were issued, the row stays until the consumer
    /// has applied the cancellation, because until then it may still issue them. If some were issued, it issues no
    /// more, and may have applied the cancellation before the row was written.
    pub async fn revoke_coupons(&self, decided: &[Revocation]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let ids = self.unchanged_since_read(&tx, decided).await?;
        self.move_coupons(&tx, &ids, CouponStatus::Suspended, CouponStatus::Revoked)
            .await?;
        let issued = self.with_coupons(&tx, &ids).await?;
        self.forget_revocations(&tx, &issued).await?;
        Self::date(&tx, &ids, None).await?;
        Ok(tx.commit().await?)
    }

    /// Those of the participations with issued coupons.
    async fn with_coupons(
        &self,
        tx: &Tx,
        participations: &[Uuid],
    ) -> Result<Vec<Uuid>, StoreError> {
        let ids = coupon::Entity::find()
            .select_only()
            .distinct()
            .column(coupon::Column::ParticipationId)
            .filter(coupon::Column::ParticipationId.is_in(padded(participations)));
        Ok(ids.into_tuple().all(tx).await?)
    }

    /// The cancellations did not commit, and cannot commit any more: the coupons can be used again. If another
    /// cancellation began since, they stay suspended for it.
    pub async fn restore_coupons(&self, decided: &[Revocation]) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let ids = self.unchanged_since_read(&tx, decided).await?;
        self.move_coupons(&tx, &ids, CouponStatus::Suspended, CouponStatus::Issued)
            .await?;
        self.forget_revocations(&tx, &ids).await?;
        Ok(tx.commit().await?)
    }

    /// Postpones undecided revocations, by the clock of the events' database.
    pub async fn postpone_revocations(
        &self,
        undecided: &[Revocation],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let ids = self.unchanged_since_read(&tx, undecided).await?;
        Self::date(&tx, &ids, Some(to_stored_precision(until))).await?;
        Ok(tx.commit().await?)
    }

    /// Sets the time until which these revocations are undecided.
    async fn date(tx: &Tx, ids: &[Uuid], until: Option<Timestamp>) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::UndecidedUntil, until.into())
            .filter(Column::ParticipationId.is_in(padded(ids)))
            .exec(tx)
            .await?;
        Ok(())
    }

    /// Those of the revocations that are unchanged since they were read, locked.
    async fn unchanged_since_read(
        &self,
        tx: &Tx,
        read: &[Revocation],
    ) -> Result<Vec<Uuid>, StoreError> {
        let ids: Vec<Uuid> = read.iter().map(|one| one.participation.0).collect();
        let rows = locked_revocations(&ids).all(tx).await?;
        let is_same = |row: &Model| {
            let mut read = read.iter();
            read.any(|one| {
                let is_this = one.participation.0 == row.participation_id;
                is_this && Some(one.undecided_until) == row.undecided_until
            })
        };
        let same = rows.into_iter().filter(is_same);
        Ok(same.map(|row| row.participation_id).collect())
    }

    /// Suspends newly issued coupons of participations that are being cancelled.
    pub(super) async fn suspend_issued(&self, tx: &Tx, issued: &[Uuid]) -> Result<(), StoreError> {
        if issued.is_empty() {
            return Ok(());
        }
        let rows = locked_revocations(issued).all(tx).await?;
        let cancelled: Vec<Uuid> = rows.into_iter().map(|row| row.participation_id).collect();
        self.move_coupons(
            tx,
            &cancelled,
            CouponStatus::Issued,
            CouponStatus::Suspended,
        )
        .await
    }

    /// Deletes the revocations of these participations: the consumer issues nothing for them any more.
    pub(super) async fn forget_revocations(
        &self,
        tx: &Tx,
        participations: &[Uuid],
    ) -> Result<(), StoreError> {
        if participations.is_empty() {
            return Ok(());
        }
        let these = Column::ParticipationId.is_in(padded(participations));
        delete_by_key(Entity::delete_many().filter(these), tx).await?;
        Ok(())
    }

    /// Changes all coupons of these participations from status `from` to `to`.
    pub(super) async fn move_coupons(
        &self,
        tx: &Tx,
        participations: &[Uuid],
        from: CouponStatus,
        to: CouponStatus,
    ) -> Result<(), StoreError> {
        if participations.is_empty() {
            return Ok(());
        }
        coupon::Entity::update_many()
            .col_expr(coupon::Column::Status, to.as_str().into())
            .filter(coupon::Column::Status.eq(from.as_str()))
            .filter(coupon::Column::ParticipationId.is_in(padded(participations)))
            .exec(tx)
            .await?;
        Ok(())
    }
}

/// These revocations, locked.
fn locked_revocations(ids: &[Uuid]) -> Select<Entity> {
    Entity::find()
        .filter(Column::ParticipationId.is_in(padded(ids)))
        .lock_exclusive()
}
