//! The rows of a batch as statements. They are written out by hand because they are most of what the
//! service does: through the object mapper the same rows took half as long again to put together.

use sea_orm::Value;

use super::intake::Intake;
use crate::domain::{Instant, OutboxEvent, key_hash, to_stored_precision};
use crate::parts::store::Store;
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::shapes::slices;
use crate::parts::store::sql::Sql;

/// A table to insert into, and what a row of it takes on the wire.
struct Target {
    insert: &'static str,
    row_bytes: usize,
}

const PARTICIPATION: Target = Target {
    insert: "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, \
             remaining, amount, version, expires_at, created_at, updated_at) VALUES ",
    row_bytes: 115,
};
const IDEMPOTENCY: Target = Target {
    insert: "INSERT INTO idempotency (user_id, idempotency_key, participation_id, created_at) VALUES ",
    row_bytes: 100,
};
const OUTBOX_EVENT: Target = Target {
    insert: "INSERT INTO outbox_event (id, bucket, campaign_id, aggregatetype, aggregateid, type, \
             message_key, key_sequence, `rank`, traceparent, payload, created_at) VALUES ",
    row_bytes: 450,
};
const OUTBOX_PENDING: Target = Target {
    insert: "INSERT INTO outbox_pending (bucket, event_id, campaign_id, hold_until, stream, key_hash) VALUES ",
    row_bytes: 65,
};

impl Target {
    fn statements<T, const COLUMNS: usize>(
        &self,
        store: &Store,
        rows: &[T],
        row: impl Fn(&T) -> [Value; COLUMNS],
    ) -> Vec<Sql> {
        slices(rows, store.statement_bytes_max / self.row_bytes)
            .map(|slice| {
                let mut sql = store.sql(self.insert);
                sql.rows_of(slice.iter().map(&row));
                sql
            })
            .collect()
    }
}

/// The participations, with the user's ordinal for each.
pub(super) fn participations(store: &Store, batch: &[Intake], ordinals: &[i32]) -> Vec<Sql> {
    let rows: Vec<_> = batch.iter().zip(ordinals).collect();
    PARTICIPATION.statements(store, &rows, |(intake, ordinal)| {
        let participation = &intake.participation;
        [
            participation.id.0.into(),
            participation.campaign_id.0.into(),
            participation.user_id.0.into(),
            narrow(participation.quantity).into(),
            to_signed(participation.rank).into(),
            (**ordinal).into(),
            participation.status.as_str().into(),
            participation.remaining.map(to_signed).into(),
            participation.amount.map(to_signed).into(),
            1.into(),
            participation.expires_at.map(to_stored_precision).into(),
            participation.created_at.into(),
            participation.created_at.into(),
        ]
    })
}

/// Idempotency keys, events, and their pending entries.
pub(super) fn keys_and_outbox(store: &Store, batch: &[Intake]) -> Vec<Sql> {
    let keyed: Vec<(&Intake, &String)> = batch
        .iter()
        .filter_map(|intake| Some((intake, intake.idempotency_key.as_ref()?)))
        .collect();
    let mut statements = IDEMPOTENCY.statements(store, &keyed, |(intake, key)| {
        let participation = &intake.participation;
        [
            participation.user_id.0.into(),
            key.as_str().into(),
            participation.id.0.into(),
            participation.created_at.into(),
        ]
    });
    let rows: Vec<OutboxRow<'_>> = batch
        .iter()
        .map(|intake| OutboxRow {
            event: &intake.event,
            hold_until: intake.hold_until,
        })
        .collect();
    statements.extend(outbox(store, &rows));
    statements
}

/// An event with until when the relay leaves it alone.
pub(super) struct OutboxRow<'a> {
    pub(super) event: &'a OutboxEvent,
    pub(super) hold_until: Option<Instant>,
}

/// Events, and their pending entries.
pub(super) fn outbox(store: &Store, rows: &[OutboxRow<'_>]) -> Vec<Sql> {
    let mut statements = OUTBOX_EVENT.statements(store, rows, |OutboxRow { event, .. }| {
        [
            event.id.0.into(),
            event.bucket.into(),
            event.campaign_id.0.into(),
            event.stream.as_str().into(),
            event.aggregate_id.as_str().into(),
            event.event_type.as_str().into(),
            Value::from(&*event.key),
            narrow(event.key_sequence).into(),
            event.rank.map(to_signed).into(),
            event.traceparent.clone().into(),
            event.payload.as_str().into(),
            event.created_at.into(),
        ]
    });
    statements.extend(OUTBOX_PENDING.statements(store, rows, |row| {
        let event = row.event;
        [
            event.bucket.into(),
            event.id.0.into(),
            event.campaign_id.0.into(),
            row.hold_until.into(),
            event.stream.as_str().into(),
            key_hash(&event.key).into(),
        ]
    }));
    statements
}
