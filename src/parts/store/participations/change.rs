//! What becomes of participations after they were committed: confirmed, cancelled, expired. One
//! transaction for all of a campaign that change together, each in its own way and with its event.
//!
//! Who wins is decided on rows that are held. The order of locks is that of the writer: the campaign's
//! row first, where units return or events need its clock, then participations, then what is kept of their
//! segments. Two that want the same participations in another order may deadlock; one is tried again.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::commit::{commit, roll_back, tick};
use super::rows::{OutboxRow, outbox};
use super::{CommitError, payments};
use crate::domain::{
    AuditAction, AuditNote, CampaignId, EventId, Instant, KeyChoice, Obstacle, Origin, OutboxEvent,
    Participation, ParticipationId, Return, Status, TakesBack, Wish,
};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::participation::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, campaign};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;
use crate::parts::store::verification::Segment;
use crate::parts::store::{Store, StoreError};

/// What is to become of a participation.
#[derive(Clone, Debug)]
pub struct Wished {
    /// Which.
    pub id: ParticipationId,
    /// What.
    pub wish: Wish,
    /// W3C trace context of the request, passed on to the event.
    pub traceparent: Option<String>,
    /// The admin who wishes it, for the audit log; none: its user, or the clock.
    pub by: Option<Origin>,
}

/// What came of the wishes for several participations of one campaign.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Those that changed, as they stand now.
    pub changed: Vec<Participation>,
    /// Those that did not, as they stand, and why.
    pub kept: Vec<(Participation, Obstacle)>,
    /// Those that hold something this release does not know: left as they are.
    pub unreadable: Vec<ParticipationId>,
    /// The events that are in the outbox now.
    pub events: Vec<OutboxEvent>,
    /// The gate's epoch that was in force.
    pub epoch: u64,
    /// What the gate has to be told.
    pub returns: Vec<Return>,
}

/// What a row is to become.
struct Step<'a> {
    asked: &'a Wished,
    /// Where it stood.
    from: Status,
    becomes: Participation,
    /// Changes it has seen with this one.
    version: u32,
}

impl<'a> Step<'a> {
    fn of(asked: &'a Wished, stands: &Participation, status: Status, version: u32) -> Self {
        Self {
            asked,
            from: stands.status,
            becomes: Participation {
                status,
                expires_at: None,
                payment_reference: match &asked.wish {
                    Wish::Confirm { reference } => Some(reference.clone()),
                    Wish::Cancel { .. } | Wish::Expire => stands.payment_reference.clone(),
                },
                ..*stands
            },
            version,
        }
    }

    /// What the audit log is to say of it, where an admin wishes it.
    fn note(&self) -> Option<AuditNote> {
        let by = self.asked.by.clone()?;
        let action = match self.asked.wish {
            Wish::Confirm { .. } => AuditAction::ParticipationConfirm,
            Wish::Cancel { .. } | Wish::Expire => AuditAction::ParticipationCancel,
        };
        let what = (self.becomes.campaign_id, self.becomes.id);
        let statuses = (self.from, self.becomes.status);
        Some(AuditNote::status(by, action, what, statuses))
    }
}

impl Store {
    /// Grants the wishes that can be granted, of which each participation has one. All that it says, or
    /// nothing. Those that are not there, or of another campaign, are left out.
    pub async fn change_participations(
        &self,
        campaign: CampaignId,
        wishes: &[Wished],
        key_choice: KeyChoice,
    ) -> Result<Changed, CommitError> {
        let tx = self.begin().await.map_err(CommitError::RolledBack)?;
        let changed = change(self, &tx, campaign, wishes, key_choice)
            .await
            .map_err(CommitError::RolledBack)?;
        if changed.changed.is_empty() {
            roll_back(tx).await?;
        } else {
            commit(tx).await?;
        }
        Ok(changed)
    }
}

async fn change(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    wishes: &[Wished],
    key_choice: KeyChoice,
) -> Result<Changed, StoreError> {
    let found = campaign::Entity::find_by_id(id.0);
    let returns_units = wishes.iter().any(|wished| wished.wish.returns_units());
    let needs_row = returns_units || key_choice != KeyChoice::Participation;
    let found = if needs_row {
        found.lock_exclusive().one(tx).await?
    } else {
        found.one(tx).await?
    };
    let Some(books) = found else {
        return Ok(Changed::default());
    };
    let by_id: HashMap<Uuid, &Wished> = wishes.iter().map(|wished| (wished.id.0, wished)).collect();
    let ids: Vec<Uuid> = wishes.iter().map(|wished| wished.id.0).collect();
    let mut rows = Entity::find()
        .filter(Column::Id.is_in(padded(&ids)))
        .filter(Column::CampaignId.eq(id.0))
        .order_by_asc(Column::Rank)
        .lock_exclusive();
    by_index(&mut rows, "PRIMARY");
    let rows = rows.all(tx).await?;
    let now = Sql::time(store, tx).await?;
    let mut payers = payments::payers(tx, wishes.iter().map(|one| &one.wish)).await?;
    let mut changed = Changed {
        epoch: to_unsigned(books.gate_epoch),
        ..Changed::default()
    };
    let mut steps = Vec::new();
    for row in rows {
        let version = row.version.unsigned_abs() + 1;
        let asked = by_id.get(&row.id).copied();
        let stands = readable(store, row, &mut changed);
        let (Some(asked), Some(stands)) = (asked, stands) else {
            continue;
        };
        let after = stands.after(&asked.wish, takes_back(&books), now);
        let checked = |status| payers.check(asked.id, &asked.wish).map(|()| status);
        match after.and_then(checked) {
            Ok(status) => steps.push(Step::of(asked, &stands, status, version)),
            Err(obstacle) => changed.kept.push((stands, obstacle)),
        }
    }
    if steps.is_empty() {
        return Ok(changed);
    }
    update_rows(store, tx, &steps, now).await?;
    payments::record(tx, steps.iter().map(|step| &step.becomes), now).await?;
    changed.events = write_events(store, tx, id, &steps, key_choice, now).await?;
    changed.returns = return_units(store, tx, &books, &steps).await?;
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

/// What a campaign takes back, by its row, which is held where units return.
const fn takes_back(books: &campaign::Model) -> TakesBack {
    match (books.cancellable, books.has_coupons) {
        (false, _) => TakesBack::Nothing,
        (true, false) => TakesBack::Everything,
        (true, true) => TakesBack::WhatIsSuspended,
    }
}

/// A row as it stands; none: it cannot be read, and is set aside.
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

/// One statement for all that go the same way.
async fn update_rows(
    store: &Store,
    tx: &Tx,
    steps: &[Step<'_>],
    now: Instant,
) -> Result<(), StoreError> {
    for status in [Status::Confirmed, Status::Cancelled, Status::Expired] {
        let same: Vec<&Participation> = steps
            .iter()
            .map(|step| &step.becomes)
            .filter(|becomes| becomes.status == status)
            .collect();
        if same.is_empty() {
            continue;
        }
        let mut update = Sql::new(store, "UPDATE ");
        update
            .push(&store.db.by_index("participation", "PRIMARY"))
            .push(" SET status = ")
            .bind(status.as_str())
            .push(", version = version + 1, expires_at = NULL, updated_at = ")
            .bind(now);
        if status.holds_units() {
            update.push(", payment_reference = CASE id");
            for paid in padded(&same) {
                update.push(" WHEN ").bind(paid.id.0);
                update.push(" THEN ").bind(paid.payment_reference.clone());
            }
            update.push(" END");
        } else {
            // Who gives units back gives up the ordinal, too: their place under the campaign's limit.
            update.push(", ordinal = NULL");
        }
        let ids: Vec<Uuid> = same.iter().map(|becomes| becomes.id.0).collect();
        update.push(" WHERE id IN ").list(padded(&ids));
        as_many(update.run(tx).await?, same.len())?;
    }
    Ok(())
}

/// The rows are held, so a statement about them changes as many as they are.
fn as_many(changed: u64, rows: usize) -> Result<(), StoreError> {
    if usize::try_from(changed) == Ok(rows) {
        return Ok(());
    }
    Err(StoreError::unreadable(
        "the number of rows changed",
        changed,
    ))
}

async fn write_events(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    steps: &[Step<'_>],
    key_choice: KeyChoice,
    now: Instant,
) -> Result<Vec<OutboxEvent>, StoreError> {
    let mut events: Vec<OutboxEvent> = steps
        .iter()
        .map(|step| {
            let mut event = OutboxEvent::about(&step.becomes, step.version, key_choice, now);
            event.traceparent.clone_from(&step.asked.traceparent);
            event
        })
        .collect();
    if events.iter().any(OutboxEvent::shares_its_key) {
        let tick = tick(store, tx, id).await?;
        for (event, nth) in events.iter_mut().zip(0..) {
            event.id = EventId::at_tick(tick, nth);
        }
    } else {
        let earlier = earlier_events(store, tx, id, steps).await?;
        for event in &mut events {
            if let Some(earlier) = event.rank.and_then(|rank| earlier.get(&rank)) {
                event.id = event.id.or_after(*earlier);
            }
        }
    }
    let rows: Vec<OutboxRow<'_>> = events
        .iter()
        .map(|event| OutboxRow {
            event,
            hold_until: None,
        })
        .collect();
    for mut insert in outbox(store, &rows) {
        insert.run(tx).await?;
    }
    Ok(events)
}

/// The latest event of each, by rank, unless it is deleted: whoever reads pending rows in order of their
/// ids reads a participation's in its own order, whatever clocks made them.
async fn earlier_events(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    steps: &[Step<'_>],
) -> Result<HashMap<u64, EventId>, StoreError> {
    let ranks: Vec<u64> = steps.iter().map(|step| step.becomes.rank).collect();
    let mut sql = Sql::new(store, "SELECT `rank`, id FROM outbox_event");
    sql.push(" WHERE (campaign_id, `rank`) IN ")
        .pairs(padded(&ranks).map(|rank| (id.0.into(), to_signed(rank).into())));
    let mut earlier: HashMap<u64, EventId> = HashMap::new();
    for row in sql.rows(tx).await? {
        let rank: i64 = row.try_get("", "rank")?;
        let event = EventId(row.try_get("", "id")?);
        let known = earlier.entry(to_unsigned(rank)).or_insert(event);
        *known = Ord::max(*known, event);
    }
    Ok(earlier)
}

/// Books the units back, once: the rows are held, and each has just left the status it held them in.
async fn return_units(
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
    if returned.is_empty() {
        return Ok(Vec::new());
    }
    let units: u64 = returned.iter().map(|one| u64::from(one.quantity)).sum();
    let mut update = Sql::new(
        store,
        "UPDATE campaign SET committed_units = committed_units - ",
    );
    update
        .bind(to_signed(units))
        .push(", `returns` = `returns` + ");
    update
        .bind(to_signed(returned.len() as u64))
        .push(", loosened_at = ")
        .now()
        .push(" WHERE id = ")
        .bind(books.id);
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
