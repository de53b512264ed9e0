//! Applies a batch of changes for one consumer in one transaction: inbox rows, effects, ledger.
//!
//! Nothing here trusts a memory of what was done. That an event is new is decided by the primary key of
//! the inbox, also against another member of the group that still works on the same records: the second
//! of the two waits for the first, is refused by the key, and finds on its next attempt that all is done.

use std::collections::{HashMap, HashSet};

use sea_orm::QueryResult;
use uuid::Uuid;

use super::due::Due;
use super::plan::{Plan, Standing};
use super::{Insert, Rewards};
use crate::domain::{Consumer, EventId, ParticipationId};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::narrow;
use crate::parts::store::shapes::padded;
use crate::runtime::failpoint;

/// The result of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were new.
    pub applied: usize,
    /// Those of them that came after a later one of their participation, and so had no effect.
    pub late: usize,
    /// Participations granted something.
    pub granted: usize,
    /// Participations that lost it again.
    pub reversed: usize,
    /// Events that had been applied before.
    pub duplicates: usize,
    /// Participations of this batch that were granted something, now or before.
    pub rewarded: Vec<ParticipationId>,
}

const INBOX: Insert = Insert {
    into: "INSERT INTO inbox (consumer, event_id, participation_id, key_sequence) VALUES ",
    row_bytes: 70,
    or_add: None,
};

impl Rewards {
    /// Applies `batch`, which is in order, all of it or nothing. `Contended` and `Constraint` mean that
    /// somebody else was at the same events: nothing happened, and the next attempt finds out.
    pub async fn apply(&self, consumer: Consumer, batch: &[Due]) -> Result<Applied, StoreError> {
        if batch.is_empty() {
            return Ok(Applied::default());
        }
        let tx = self.begin().await?;
        let mut known = self.known(&tx, consumer, batch).await?;
        let (fresh, old): (Vec<&Due>, Vec<&Due>) = batch
            .iter()
            // Inserted into what is known, so that the second of two in one batch is an old one.
            .partition(|due| known.insert(due.change.event));
        self.note(&tx, consumer, &fresh).await?;
        let standings = self.standings(&tx, consumer, &fresh, &old).await?;
        let mut rewarded: Vec<ParticipationId> = standings
            .iter()
            .filter(|(_, standing)| standing.granted.is_some())
            .map(|(id, _)| *id)
            .collect();
        let plan = Plan::of(&fresh, standings);
        rewarded.extend(plan.grants.iter().map(|due| due.change.participation));
        match consumer {
            Consumer::Points => self.book(&tx, &plan).await?,
            Consumer::Coupons => self.issue(&tx, &plan).await?,
        }
        failpoint::point("consumer.applying");
        tx.commit().await?;
        failpoint::point("consumer.applied");
        Ok(Applied {
            applied: fresh.len(),
            late: plan.late,
            granted: plan.grants.len(),
            reversed: plan.reversals.len(),
            duplicates: old.len(),
            rewarded,
        })
    }

    /// Those of the events that were applied before.
    async fn known(
        &self,
        tx: &Tx,
        consumer: Consumer,
        batch: &[Due],
    ) -> Result<HashSet<EventId>, StoreError> {
        let ids: Vec<Uuid> = batch.iter().map(|due| due.change.event.0).collect();
        let inbox = self.db.by_index("inbox", "PRIMARY");
        let mut sql = self.sql("SELECT event_id FROM ");
        sql.push(&inbox).push(" WHERE consumer = ");
        sql.bind(consumer.as_str()).push(" AND event_id IN ");
        let rows = sql.list(padded(&ids)).rows(tx).await?;
        rows.iter()
            .map(|row| Ok(EventId(row.try_get_by_index(0)?)))
            .collect()
    }

    async fn note(&self, tx: &Tx, consumer: Consumer, fresh: &[&Due]) -> Result<(), StoreError> {
        self.insert(tx, INBOX, fresh, |due| {
            [
                consumer.as_str().into(),
                due.change.event.0.into(),
                due.change.participation.0.into(),
                narrow(due.change.sequence).into(),
            ]
        })
        .await
    }

    /// The states of the participations, if any.
    async fn standings(
        &self,
        tx: &Tx,
        consumer: Consumer,
        fresh: &[&Due],
        old: &[&Due],
    ) -> Result<HashMap<ParticipationId, Standing>, StoreError> {
        let own: HashSet<EventId> = fresh.iter().map(|due| due.change.event).collect();
        let participations = distinct(fresh);
        let mut standings: HashMap<ParticipationId, Standing> = old
            .iter()
            .map(|due| (due.change.participation, Standing::default()))
            .collect();
        for row in self.inbox_of(tx, consumer, &participations).await? {
            let (event, participation, sequence) = inbox_row(&row)?;
            if !own.contains(&event) {
                let standing = standings.entry(participation).or_default();
                standing.highest = standing.highest.max(sequence);
            }
        }
        match consumer {
            Consumer::Points => self.booked(tx, &mut standings).await?,
            Consumer::Coupons => self.issued(tx, &mut standings).await?,
        }
        Ok(standings)
    }

    /// What the inbox holds of participations, the rows just written included. A locking read: of two
    /// transactions with two changes of one participation, the second sees what the first has done, or
    /// one of them is a deadlock's victim and tries again.
    async fn inbox_of(
        &self,
        tx: &Tx,
        consumer: Consumer,
        participations: &[Uuid],
    ) -> Result<Vec<QueryResult>, StoreError> {
        if participations.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = self.sql("SELECT event_id, participation_id, key_sequence FROM inbox");
        sql.push(" WHERE consumer = ")
            .bind(consumer.as_str())
            .push(" AND participation_id IN ");
        sql.list(padded(participations));
        // SQLite knows one writer at a time.
        if !self.is_embedded() {
            sql.push(" FOR SHARE");
        }
        sql.rows(tx).await
    }
}

fn distinct(dues: &[&Due]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = dues.iter().map(|due| due.change.participation.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn inbox_row(row: &QueryResult) -> Result<(EventId, ParticipationId, u32), StoreError> {
    let sequence: i32 = row.try_get_by_index(2)?;
    Ok((
        EventId(row.try_get_by_index(0)?),
        ParticipationId(row.try_get_by_index(1)?),
        sequence.unsigned_abs(),
    ))
}
