//! The rows of a batch as statements. They are built as text because they are most of the work of the service: the
//! object mapper took 50 % longer for the same rows.

use sea_orm::Value;
use std::borrow::Cow;

use crate::domain::{OutboxEvent, Timestamp, key_hash, to_stored_precision};
use crate::parts::store::numbers::{narrow, to_signed};
use crate::parts::store::participations::new_participation::NewParticipation;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::slices;
use crate::parts::store::{ParkedState, Store};

/// A table to insert into, and the size of a row in a statement.
struct Target {
    insert: &'static str,
    row_bytes: usize,
}

const PARTICIPATION: Target = Target {
    insert: "INSERT INTO participation (campaign_id, `rank`, id, user_id, quantity, ordinal, status, \
             remaining, amount, expires_at, created_at, updated_at, last_event) VALUES ",
    row_bytes: 120,
};
const IDEMPOTENCY: Target = Target {
    insert: "INSERT INTO idempotency (user_id, idempotency_key, participation_id, created_at) VALUES ",
    row_bytes: 100,
};
const RESERVATION_DUE: Target = Target {
    insert: "INSERT INTO reservation_due (expires_at, campaign_id, `rank`) VALUES ",
    row_bytes: 40,
};
const OUTBOX_EVENT: Target = Target {
    insert: "INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, \
             message_key, key_sequence, `rank`, traceparent, payload, created_at) VALUES ",
    row_bytes: 450,
};
/// The event of a change other than the first one of its participation.
const LATER_EVENT: Target = Target {
    insert: "INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, \
             message_key, key_sequence, `rank`, traceparent, payload, created_at, previous_event) VALUES ",
    row_bytes: 460,
};
const OUTBOX_PARKED: Target = Target {
    insert: "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, \
             attempts, error_class, error, next_at, parked_at) VALUES ",
    row_bytes: 200,
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

/// The participations, with the user's ordinal for each. The sequences of their events follow `before`.
pub(super) fn participations(
    store: &Store,
    batch: &[Cow<'_, NewParticipation>],
    ordinals: &[i32],
    before: u64,
) -> Vec<Sql> {
    let events = to_signed(before) + 1..;
    let rows: Vec<_> = batch.iter().zip(ordinals).zip(events).collect();
    PARTICIPATION.statements(store, &rows, |((new_participation, ordinal), event)| {
        let participation = &new_participation.participation;
        [
            participation.campaign_id.0.into(),
            to_signed(participation.rank).into(),
            participation.id.0.into(),
            participation.user_id.0.into(),
            narrow(participation.quantity).into(),
            (**ordinal).into(),
            participation.status.as_str().into(),
            participation.remaining.map(to_signed).into(),
            participation.amount.map(to_signed).into(),
            participation.expires_at.map(to_stored_precision).into(),
            participation.created_at.into(),
            participation.created_at.into(),
            (*event).into(),
        ]
    })
}

/// The other rows of a batch, prepared before the campaign's row is locked: the sequences of its events are relative
/// until then.
pub(super) struct Others {
    plain: Vec<Sql>,
    sequenced: Vec<Sql>,
}

impl Others {
    /// The idempotency keys, the reservations, the events, and the held events.
    pub(super) fn of(store: &Store, batch: &[Cow<'_, NewParticipation>]) -> Self {
        let mut plain = keys(store, batch);
        plain.extend(reservations(store, batch));
        let numbered: Vec<(i64, &NewParticipation)> =
            (1..).zip(batch.iter().map(Cow::as_ref)).collect();
        let mut sequenced =
            OUTBOX_EVENT.statements(store, &numbered, |(number, new_participation)| {
                event_row(&new_participation.event, *number)
            });
        let held: Vec<(i64, &NewParticipation)> = numbered
            .into_iter()
            .filter(|(_, new_participation)| new_participation.hold_until.is_some())
            .collect();
        sequenced.extend(
            OUTBOX_PARKED.statements(store, &held, |(number, new_participation)| {
                held_row(new_participation, *number)
            }),
        );
        Self { plain, sequenced }
    }

    /// The statements, with event sequences after `before`.
    pub(super) fn after(self, before: u64) -> impl Iterator<Item = Sql> {
        let before = to_signed(before);
        let sequenced = self.sequenced.into_iter().map(move |mut sql| {
            sql.shift::<OUTBOX_COLUMNS>(SEQUENCE, before);
            sql
        });
        self.plain.into_iter().chain(sequenced)
    }
}

/// The column of the sequence, and the number of columns, in both tables of the outbox.
const SEQUENCE: usize = 1;
const OUTBOX_COLUMNS: usize = 12;
/// With the sequence of the previous event.
const LATER_COLUMNS: usize = OUTBOX_COLUMNS + 1;

fn keys(store: &Store, batch: &[Cow<'_, NewParticipation>]) -> Vec<Sql> {
    let keyed: Vec<(&NewParticipation, &String)> = batch
        .iter()
        .map(Cow::as_ref)
        .filter_map(|new_participation| {
            Some((
                new_participation,
                new_participation.idempotency_key.as_ref()?,
            ))
        })
        .collect();
    IDEMPOTENCY.statements(store, &keyed, |(new_participation, key)| {
        let participation = &new_participation.participation;
        [
            participation.user_id.0.into(),
            key.as_str().into(),
            participation.id.0.into(),
            participation.created_at.into(),
        ]
    })
}

fn reservations(store: &Store, batch: &[Cow<'_, NewParticipation>]) -> Vec<Sql> {
    let due: Vec<(&NewParticipation, Timestamp)> = batch
        .iter()
        .map(Cow::as_ref)
        .filter_map(|new_participation| {
            Some((
                new_participation,
                new_participation.participation.expires_at?,
            ))
        })
        .collect();
    RESERVATION_DUE.statements(store, &due, |(new_participation, expires_at)| {
        [
            to_stored_precision(*expires_at).into(),
            new_participation.participation.campaign_id.0.into(),
            to_signed(new_participation.participation.rank).into(),
        ]
    })
}

/// Events of one stream with their sequences.
pub(in crate::parts::store) fn events(store: &Store, events: &[OutboxEvent]) -> Vec<Sql> {
    OUTBOX_EVENT.statements(store, events, |event| {
        event_row(event, to_signed(event.sequence))
    })
}

/// Events of one stream with their sequences, each with the sequence of the previous one of its participation.
pub(super) fn later_events(store: &Store, events: &[(&OutboxEvent, Option<i64>)]) -> Vec<Sql> {
    LATER_EVENT.statements(store, events, |(event, previous)| {
        let row = event_row(event, to_signed(event.sequence));
        let mut row = row.into_iter().chain([(*previous).into()]);
        let row: [Value; LATER_COLUMNS] =
            std::array::from_fn(|_| row.next().unwrap_or(Value::BigInt(None)));
        row
    })
}

fn event_row(event: &OutboxEvent, sequence: i64) -> [Value; OUTBOX_COLUMNS] {
    [
        event.campaign_id.0.into(),
        sequence.into(),
        event.id.0.into(),
        event.topic.as_str().into(),
        event.aggregate_id.as_str().into(),
        event.event_type.as_str().into(),
        Value::from(&*event.key),
        narrow(event.key_sequence).into(),
        event.rank.map(to_signed).into(),
        event.traceparent.clone().into(),
        event.payload.as_str().into(),
        event.created_at.into(),
    ]
}

fn held_row(new_participation: &NewParticipation, sequence: i64) -> [Value; OUTBOX_COLUMNS] {
    let event = &new_participation.event;
    [
        event.campaign_id.0.into(),
        sequence.into(),
        event.id.0.into(),
        event.topic.as_str().into(),
        Value::from(&*event.key),
        key_hash(&event.key).into(),
        ParkedState::Held.as_str().into(),
        0.into(),
        "held".into(),
        "its request publishes it".into(),
        new_participation.hold_until.into(),
        event.created_at.into(),
    ]
}
