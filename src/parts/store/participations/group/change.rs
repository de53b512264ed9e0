//! Changes of committed participations: confirmation, cancellation, expiry, each with its event. Conflicts are decided
//! on locked rows.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Group, payments, rows};
use crate::domain::{
    AuditAction, AuditNote, CampaignId, CancellationPolicy, KeyChoice, Obstacle, Origin,
    OutboxEvent, Participation, ParticipationId, RequestedChange, Return, Status, Timestamp,
};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::participation::{Column, Entity, Model};
use crate::parts::store::entity::{by_index, campaign};
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::reviews::delete_reviews;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::padded;
use crate::parts::store::verification::Segment;
use crate::parts::store::{Store, StoreError};

/// A requested change of a participation.
#[derive(Clone, Debug)]
pub struct ChangeRequest {
    /// The participation.
    pub id: ParticipationId,
    /// The change.
    pub requested: RequestedChange,
    /// W3C trace context of the request, for the event.
    pub traceparent: Option<String>,
    /// The admin who requests it, for the audit log; none: its user, or the clock.
    pub by: Option<Origin>,
}

/// The result of requested changes of participations of one campaign.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// The changed ones, in their new state.
    pub changed: Vec<Participation>,
    /// The unchanged ones, with the reason.
    pub kept: Vec<(Participation, Obstacle)>,
    /// Those with a value that this release does not know; they are unchanged.
    pub unreadable: Vec<ParticipationId>,
    /// The events written to the outbox.
    pub events: Vec<OutboxEvent>,
    /// The current epoch of the gate.
    pub epoch: u64,
    /// Returned units, for the gate.
    pub returns: Vec<Return>,
}

/// The change of a row.
struct Step<'a> {
    asked: &'a ChangeRequest,
    /// Its status before.
    from: Status,
    /// Its previous status.
    expired_at: Option<Timestamp>,
    becomes: Participation,
    /// Its number of changes, this one included.
    version: u32,
    /// The sequence of the event of the previous change; none: the row does not have it.
    previous_event: Option<i64>,
}

impl<'a> Step<'a> {
    fn of(
        asked: &'a ChangeRequest,
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
                payment_reference: match &asked.requested {
                    RequestedChange::Confirm { reference } => Some(reference.clone()),
                    RequestedChange::FollowOrder { reference, .. } if status.holds_units() => {
                        reference.clone()
                    }
                    RequestedChange::FollowOrder { .. }
                    | RequestedChange::Cancel { .. }
                    | RequestedChange::Expire => stands.payment_reference.clone(),
                },
                ..*stands
            },
            version,
            previous_event,
        }
    }

    /// Whether a payment of its own confirms it.
    const fn is_paid(&self) -> bool {
        matches!(self.asked.requested, RequestedChange::Confirm { .. })
    }

    /// The entry for the audit log, if an admin requested the change.
    fn note(&self) -> Option<AuditNote> {
        let by = self.asked.by.clone()?;
        let action = match self.asked.requested {
            RequestedChange::Confirm { .. } => AuditAction::ParticipationConfirm,
            RequestedChange::Cancel { .. }
            | RequestedChange::Expire
            | RequestedChange::FollowOrder { .. } => AuditAction::ParticipationCancel,
        };
        let what = (self.becomes.campaign_id, self.becomes.id);
        let statuses = (self.from, self.becomes.status);
        Some(AuditNote::status(by, action, what, statuses))
    }
}

/// The participations to change, locked in order of rank.
async fn locked_rows(
    tx: &Tx,
    campaign: CampaignId,
    change_requests: &[&ChangeRequest],
) -> Result<Vec<Model>, StoreError> {
    let ids: Vec<Uuid> = change_requests.iter().map(|one| one.id.0).collect();
    let mut rows = Entity::find()
        .filter(Column::Id.is_in(padded(&ids)))
        .filter(Column::CampaignId.eq(campaign.0))
        .order_by_asc(Column::Rank)
        .lock_exclusive();
    by_index(&mut rows, "participation_id");
    Ok(rows.all(tx).await?)
}

/// Makes the requested changes that are possible.
pub(super) async fn change(
    store: &Store,
    tx: &Tx,
    group: &Group<'_>,
) -> Result<Changed, StoreError> {
    let (id, change_requests) = (group.campaign, group.change_requests.as_slice());
    if change_requests.is_empty() {
        return Ok(Changed::default());
    }
    let found = campaign::Entity::find_by_id(id.0);
    let Some(campaign_row) = found.lock_exclusive().one(tx).await? else {
        return Ok(Changed::default());
    };
    let by_id: HashMap<Uuid, &ChangeRequest> = change_requests
        .iter()
        .map(|change_request| (change_request.id.0, *change_request))
        .collect();
    let rows = locked_rows(tx, id, change_requests).await?;
    let now = Sql::time(store, tx).await?;
    let mut payers = payments::payers(tx, change_requests.iter().map(|one| &one.requested)).await?;
    let mut changed = Changed {
        epoch: to_unsigned(campaign_row.gate_epoch),
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
        let after = stands.after(&asked.requested, cancellation_policy(&campaign_row), now);
        let checked = |status| payers.check(asked.id, &asked.requested).map(|()| status);
        match after.and_then(checked) {
            Ok(status) => steps.push(Step::of(asked, &stands, status, before)),
            Err(obstacle) => changed.kept.push((stands, obstacle)),
        }
    }
    if steps.is_empty() {
        return Ok(changed);
    }
    let last_sequence = to_unsigned(campaign_row.event_sequence);
    update_rows(store, tx, id, (&steps, last_sequence), now).await?;
    let paid = steps.iter().filter(|step| step.is_paid());
    payments::record(tx, paid.map(|step| &step.becomes), now).await?;
    changed.events = events(&steps, last_sequence, group.key_choice, now);
    let previous = steps.iter().map(|step| step.previous_event);
    let linked: Vec<_> = changed.events.iter().zip(previous).collect();
    for mut insert in rows::later_events(store, &linked) {
        insert.run(tx).await?;
    }
    end_reservations(store, tx, &steps).await?;
    changed.returns = update_campaign(store, tx, &campaign_row, &steps).await?;
    delete_reviews(tx, &campaign_row, &unconfirmed(&steps)).await?;
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

/// Which cancellations the campaign allows, by its locked row.
const fn cancellation_policy(row: &campaign::Model) -> CancellationPolicy {
    match (row.cancellable, row.has_coupons) {
        (false, _) => CancellationPolicy::None,
        (true, false) => CancellationPolicy::All,
        (true, true) => CancellationPolicy::Suspended,
    }
}

/// The participation of a row; none: it is unreadable and set aside.
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
    campaign: CampaignId,
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
            // The ordinal, which counts toward the user's limit, is released with the units.
            update.push(", ordinal = NULL");
        }
        let ids: Vec<Uuid> = same.iter().map(|(becomes, _)| becomes.id.0).collect();
        // By campaign, too, because a sharded database then asks one shard.
        update.push(" WHERE campaign_id = ").bind(campaign.0);
        update.push(" AND id IN ").list(padded(&ids));
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

/// The changed reservations no longer wait for a payment.
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

/// The participations that were confirmed before and are not any more.
fn unconfirmed(steps: &[Step<'_>]) -> Vec<Uuid> {
    let steps = steps
        .iter()
        .filter(|step| step.from == Status::Confirmed && step.becomes.status != Status::Confirmed);
    steps.map(|step| step.becomes.id.0).collect()
}

/// Counts the events of the stream, and returns the units to the stock, once: the rows are locked, and each has just
/// left a status that holds units.
async fn update_campaign(
    store: &Store,
    tx: &Tx,
    row: &campaign::Model,
    steps: &[Step<'_>],
) -> Result<Vec<Return>, StoreError> {
    let returned: Vec<&Participation> = steps
        .iter()
        .filter(|step| step.asked.requested.returns_units())
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
    update.push(" WHERE id = ").bind(row.id);
    as_many(update.run(tx).await?, 1)?;
    let first = to_unsigned(row.returns) + 1;
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
