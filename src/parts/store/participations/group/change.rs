//! Changes of committed participations: confirmation, cancellation, expiry, each with its event. Conflicts are decided
//! on locked rows.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Group, payments, rows};
use crate::domain::{
    AuditAction, AuditNote, KeyChoice, Obstacle, Origin, OutboxEvent, Participation,
    ParticipationId, Return, Status, TakesBack, Timestamp, Wish,
};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::participation::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, campaign};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::verification::Segment;
use crate::parts::store::{Store, StoreError};

/// A requested change of a participation.
#[derive(Clone, Debug)]
pub struct Wished {
    /// Which.
    pub id: ParticipationId,
    /// What.
    pub wish: Wish,
    /// W3C trace context of the request, for the event.
    pub traceparent: Option<String>,
    /// The admin who requests it, for the audit log; none: its user, or the clock.
    pub by: Option<Origin>,
}

/// The result of requested changes of participations of one campaign.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Those that changed, in their new state.
    pub changed: Vec<Participation>,
    /// Those that did not change, and why.
    pub kept: Vec<(Participation, Obstacle)>,
    /// Those with a value that this release does not know: unchanged.
    pub unreadable: Vec<ParticipationId>,
    /// The events written to the outbox.
    pub events: Vec<OutboxEvent>,
    /// The gate's epoch at the time.
    pub epoch: u64,
    /// Returned units, for the gate.
    pub returns: Vec<Return>,
}

/// The change of a row.
struct Step<'a> {
    asked: &'a Wished,
    /// Its status before.
    from: Status,
    /// Until when it waited for a payment.
    expired_at: Option<Timestamp>,
    becomes: Participation,
    /// Its number of changes, this one included.
    version: u32,
    /// The sequence of the event of the change before; none: the row does not have it.
    previous_event: Option<i64>,
}

impl<'a> Step<'a> {
    fn of(
        asked: &'a Wished,
        stands: &Participation,
        status: Status,
        (version, previous_event): (u32, Option<i64>),
    ) -> Self {
        Self {
            asked,
            from: stands.status,
            expired_at: stands.expires_at,
            becomes: Participation {
                status,
                expires_at: None,
                payment_reference: match &asked.wish {
                    Wish::Confirm { reference } => Some(reference.clone()),
                    Wish::FollowOrder { reference, .. } => reference.clone(),
                    Wish::Cancel { .. } | Wish::Expire => stands.payment_reference.clone(),
                },
                ..*stands
            },
            version,
            previous_event,
        }
    }

    /// Whether a payment of its own confirms it.
    const fn is_paid(&self) -> bool {
        matches!(self.asked.wish, Wish::Confirm { .. })
    }

    /// The entry for the audit log, if an admin requested the change.
    fn note(&self) -> Option<AuditNote> {
        let by = self.asked.by.clone()?;
        let action = match self.asked.wish {
            Wish::Confirm { .. } => AuditAction::ParticipationConfirm,
            Wish::Cancel { .. } | Wish::Expire | Wish::FollowOrder { .. } => {
                AuditAction::ParticipationCancel
            }
        };
        let what = (self.becomes.campaign_id, self.becomes.id);
        let statuses = (self.from, self.becomes.status);
        Some(AuditNote::status(by, action, what, statuses))
    }
}

/// Makes the requested changes that are possible.
pub(super) async fn change(
    store: &Store,
    tx: &Tx,
    group: &Group<'_>,
) -> Result<Changed, StoreError> {
    let (id, wishes) = (group.campaign, group.wishes.as_slice());
    if wishes.is_empty() {
        return Ok(Changed::default());
    }
    let found = campaign::Entity::find_by_id(id.0);
    let Some(books) = found.lock_exclusive().one(tx).await? else {
        return Ok(Changed::default());
    };
    let by_id: HashMap<Uuid, &Wished> =
        wishes.iter().map(|wished| (wished.id.0, *wished)).collect();
    let ids: Vec<Uuid> = wishes.iter().map(|wished| wished.id.0).collect();
    let mut rows = Entity::find()
        .filter(Column::Id.is_in(padded(&ids)))
        .filter(Column::CampaignId.eq(id.0))
        .order_by_asc(Column::Rank)
        .lock_exclusive();
    by_index(&mut rows, "participation_id");
    let rows = rows.all(tx).await?;
    let now = Sql::time(store, tx).await?;
    let mut payers = payments::payers(tx, wishes.iter().map(|one| &one.wish)).await?;
    let mut changed = Changed {
        epoch: to_unsigned(books.gate_epoch),
        ..Changed::default()
    };
    let mut steps = Vec::new();
    for row in rows {
        let before = (row.version.unsigned_abs() + 1, row.last_event);
        let asked = by_id.get(&row.id).copied();
        let stands = readable(store, row, &mut changed);
        let (Some(asked), Some(stands)) = (asked, stands) else {
            continue;
        };
        let after = stands.after(&asked.wish, takes_back(&books), now);
        let checked = |status| payers.check(asked.id, &asked.wish).map(|()| status);
        match after.and_then(checked) {
            Ok(status) => steps.push(Step::of(asked, &stands, status, before)),
            Err(obstacle) => changed.kept.push((stands, obstacle)),
        }
    }
    if steps.is_empty() {
        return Ok(changed);
    }
    let last_sequence = to_unsigned(books.event_sequence);
    update_rows(store, tx, (&steps, last_sequence), now).await?;
    let paid = steps.iter().filter(|step| step.is_paid());
    payments::record(tx, paid.map(|step| &step.becomes), now).await?;
    changed.events = events(&steps, last_sequence, group.key_choice, now);
    let previous = steps.iter().map(|step| step.previous_event);
    let linked: Vec<_> = changed.events.iter().zip(previous).collect();
    for mut insert in rows::later_events(store, &linked) {
        insert.run(tx).await?;
    }
    end_reservations(store, tx, &steps).await?;
    changed.returns = update_campaign(store, tx, &books, &steps).await?;
    let notes: Vec<AuditNote> = steps.iter().filter_map(Step::note).collect();
    store.write_notes(tx, &notes).await?;
    for segment in steps
        .iter()
        .map(|step| Segment::of(id, step.becomes.rank))
        .collect::<BTreeSet<_>>()
    {
        store.invalidate_segment(tx, id, segment.start()).await?;
    }
    changed.changed = steps.into_iter().map(|step| step.becomes).collect();
    Ok(changed)
}

/// Which cancellations the campaign allows, by its row, which is locked.
const fn takes_back(books: &campaign::Model) -> TakesBack {
    match (books.cancellable, books.has_coupons) {
        (false, _) => TakesBack::Nothing,
        (true, false) => TakesBack::Everything,
        (true, true) => TakesBack::WhatIsSuspended,
    }
}

/// The participation of a row; none: the row is unreadable and set aside.
fn readable(store: &Store, row: Model, changed: &mut Changed) -> Option<Participation> {
    let id = ParticipationId(row.id);
    match Participation::try_from(row) {
        Ok(stands) => Some(stands),
        Err(error) => {
            store.unreadable.set_aside("participation", &id, &error);
            changed.unreadable.push(id);
            None
        }
    }
}

/// One statement for each new status.
async fn update_rows(
    store: &Store,
    tx: &Tx,
    (steps, last_sequence): (&[Step<'_>], u64),
    now: Timestamp,
) -> Result<(), StoreError> {
    let numbered: Vec<(&Participation, i64)> = steps
        .iter()
        .map(|step| &step.becomes)
        .zip(to_signed(last_sequence) + 1..)
        .collect();
    for status in [Status::Confirmed, Status::Cancelled, Status::Expired] {
        let same = numbered.iter().copied();
        let same: Vec<(&Participation, i64)> = same
            .filter(|(becomes, _)| becomes.status == status)
            .collect();
        if same.is_empty() {
            continue;
        }
        let mut update = store.sql("UPDATE ");
        update
            .push(&store.db.by_index("participation", "participation_id"))
            .push(" SET status = ")
            .bind(status.as_str())
            .push(", version = version + 1, expires_at = NULL, updated_at = ")
            .bind(now)
            .push(", last_event = CASE id");
        for (becomes, sequence) in padded(&same) {
            update.push(" WHEN ").bind(becomes.id.0);
            update.push(" THEN ").bind(sequence);
        }
        update.push(" END");
        if status.holds_units() {
            update.push(", payment_reference = CASE id");
            for (paid, _) in padded(&same) {
                update.push(" WHEN ").bind(paid.id.0);
                update.push(" THEN ").bind(paid.payment_reference.clone());
            }
            update.push(" END");
        } else {
            // The ordinal, which counts towards the user's limit, is given up with the units.
            update.push(", ordinal = NULL");
        }
        let ids: Vec<Uuid> = same.iter().map(|(becomes, _)| becomes.id.0).collect();
        update.push(" WHERE id IN ").list(padded(&ids));
        as_many(update.run(tx).await?, same.len())?;
    }
    Ok(())
}

/// The rows are locked, so the statement must change all of them.
fn as_many(changed: u64, rows: usize) -> Result<(), StoreError> {
    if usize::try_from(changed) == Ok(rows) {
        return Ok(());
    }
    Err(StoreError::unreadable(
        "the number of rows changed",
        changed,
    ))
}

/// An event for each step, with the sequences after `before`.
fn events(
    steps: &[Step<'_>],
    before: u64,
    key_choice: KeyChoice,
    now: Timestamp,
) -> Vec<OutboxEvent> {
    (before + 1..)
        .zip(steps)
        .map(|(sequence, step)| {
            let mut event = OutboxEvent::about(&step.becomes, step.version, key_choice, now);
            event.sequence = sequence;
            event.traceparent.clone_from(&step.asked.traceparent);
            event
        })
        .collect()
}

/// The reservations among them no longer wait for a payment.
async fn end_reservations(store: &Store, tx: &Tx, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let reservations: Vec<(Timestamp, &Participation)> = steps
        .iter()
        .filter_map(|step| Some((step.expired_at?, &step.becomes)))
        .collect();
    if reservations.is_empty() {
        return Ok(());
    }
    let mut sql = store.sql(&store.db.delete_by_key("reservation_due"));
    for (nth, (expires_at, one)) in padded(&reservations).enumerate() {
        sql.push(if nth == 0 { " WHERE (" } else { " OR (" });
        sql.push("expires_at = ").bind(expires_at);
        sql.push(" AND campaign_id = ").bind(one.campaign_id.0);
        sql.push(" AND `rank` = ")
            .bind(to_signed(one.rank))
            .push(")");
    }
    sql.run(tx).await?;
    Ok(())
}

/// Counts the events of the stream, and returns the units to the stock, once: the rows are locked, and each has just
/// left a status that holds units.
async fn update_campaign(
    store: &Store,
    tx: &Tx,
    books: &campaign::Model,
    steps: &[Step<'_>],
) -> Result<Vec<Return>, StoreError> {
    let returned: Vec<&Participation> = steps
        .iter()
        .filter(|step| step.asked.wish.returns_units())
        .map(|step| &step.becomes)
        .collect();
    let mut update = store.sql("UPDATE campaign SET event_sequence = event_sequence + ");
    update.bind(to_signed(steps.len() as u64));
    if !returned.is_empty() {
        let units: u64 = returned.iter().map(|one| u64::from(one.quantity)).sum();
        update
            .push(", committed_units = committed_units - ")
            .bind(to_signed(units))
            .push(", `returns` = `returns` + ")
            .bind(to_signed(returned.len() as u64))
            .push(", loosened_at = ")
            .now();
    }
    update.push(" WHERE id = ").bind(books.id);
    as_many(update.run(tx).await?, 1)?;
    let first = to_unsigned(books.returns) + 1;
    Ok(returned
        .iter()
        .zip(first..)
        .map(|(one, number)| Return {
            number,
            participation: one.id,
            user: one.user_id,
            quantity: one.quantity,
        })
        .collect())
}
