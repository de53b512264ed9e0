//! Idempotency keys in the store: the participation of a key, and whether an open transaction may still add one.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::domain::{CampaignId, Participation, ParticipationId, Timestamp, UserId};
use crate::parts::store::entity::campaign;
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::sql::Sql;
use crate::parts::store::statement_lengths::{padded, slices};
use crate::parts::store::{Store, StoreError};

/// A user's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The user.
    pub user: UserId,
    /// The key, as sent by the client.
    pub key: String,
}

/// The current gate of a campaign, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateStatus {
    /// Its epoch, which each opening and closing raises.
    pub epoch: u64,
    /// It is closed: the database serves the campaign.
    pub is_closed: bool,
}

/// Maximum number of bytes of a key in a statement.
const KEY_BYTES_MAX: usize = 270;

impl Store {
    /// The participations of these keys; keys without one are missing. A former primary may miss a new key, so a
    /// missing key decides nothing.
    pub async fn participations_by_keys(
        &self,
        keys: &[UserKey],
    ) -> Result<HashMap<UserKey, Participation>, StoreError> {
        let mut used = Vec::new();
        for some in self.in_statements(keys) {
            let mut sql = self.select_keys(some);
            used.extend(key_rows(&mut sql, &self.db).await?);
        }
        if used.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<ParticipationId> = used.iter().map(|(_, id)| *id).collect();
        let found = self.participations(&ids).await?.into_iter();
        let found: HashMap<ParticipationId, Participation> =
            found.map(|one| (one.id, one)).collect();
        let led = used.into_iter();
        Ok(led
            .filter_map(|(key, id)| Some((key, found.get(&id)?.clone())))
            .collect())
    }

    /// Those of these keys (just read without a participation) that an open transaction is writing, or that were
    /// committed since. It does not wait: a locked row means that its key is among them.
    pub async fn keys_under_way(&self, keys: &[UserKey]) -> Result<Vec<UserKey>, StoreError> {
        let mut under_way = Vec::new();
        let mut left: Vec<&[UserKey]> = self.in_statements(keys).collect();
        while let Some(some) = left.pop() {
            match self.locked_keys(some).await {
                Ok(found) => under_way.extend(found),
                Err(StoreError::Contended(_)) if some.len() > 1 => {
                    let (first, rest) = some.split_at(some.len() / 2);
                    left.extend([first, rest]);
                }
                Err(StoreError::Contended(_)) => under_way.extend_from_slice(some),
                Err(error) => return Err(error),
            }
        }
        Ok(under_way)
    }

    /// The current gates of these campaigns.
    pub async fn gate_statuses(
        &self,
        ids: &[CampaignId],
    ) -> Result<HashMap<CampaignId, GateStatus>, StoreError> {
        gates(ids, &self.db).await
    }

    /// The same, read from a server that accepts writes.
    pub async fn current_gates_in_force(
        &self,
        ids: &[CampaignId],
    ) -> Result<HashMap<CampaignId, GateStatus>, StoreError> {
        let tx = self.begin_current().await?;
        let gates = gates(ids, &tx).await?;
        self.end_current(tx).await?;
        Ok(gates)
    }

    /// A written and uncommitted row is locked. In SQLite there is one writer at a time, so a writer sees all written
    /// rows.
    async fn locked_keys(&self, keys: &[UserKey]) -> Result<Vec<UserKey>, StoreError> {
        let mut sql = self.select_keys(keys);
        let rows = if self.is_embedded() {
            let tx = self.begin().await?;
            let rows = key_rows(&mut sql, &tx).await?;
            tx.rollback().await?;
            rows
        } else {
            sql.push(" FOR UPDATE NOWAIT");
            // A server that accepts no writes rejects locks.
            key_rows(&mut sql, &self.db).await?
        };
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }

    fn select_keys(&self, keys: &[UserKey]) -> Sql {
        let table = self.db.by_index("idempotency", "PRIMARY");
        let select = "SELECT user_id, idempotency_key, participation_id FROM ";
        let mut sql = self.sql(select);
        sql.push(&table)
            .push(" WHERE (user_id, idempotency_key) IN ")
            .pairs(padded(keys).map(|one| (one.user.0.into(), one.key.into())));
        sql
    }

    /// Keys, as many at a time as fit into a statement.
    pub(super) fn in_statements<'a>(
        &self,
        keys: &'a [UserKey],
    ) -> impl Iterator<Item = &'a [UserKey]> {
        slices(keys, self.statement_bytes_max / KEY_BYTES_MAX)
    }
}

async fn gates(
    ids: &[CampaignId],
    on: &impl ConnectionTrait,
) -> Result<HashMap<CampaignId, GateStatus>, StoreError> {
    use campaign::{Column, Entity};
    let rows: Vec<(i64, i64, Option<Timestamp>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::GateEpoch, Column::GateClosedUntil])
        .filter(Column::Id.is_in(padded(ids).map(|id| id.0)))
        .into_tuple()
        .all(on)
        .await?;
    let gate = |(id, epoch, closed_until): (i64, i64, Option<Timestamp>)| {
        let gate = GateStatus {
            epoch: to_unsigned(epoch),
            is_closed: closed_until.is_some(),
        };
        (CampaignId(id), gate)
    };
    Ok(rows.into_iter().map(gate).collect())
}

async fn key_rows(
    sql: &mut Sql,
    on: &impl ConnectionTrait,
) -> Result<Vec<(UserKey, ParticipationId)>, StoreError> {
    let rows = sql.rows(on).await?;
    rows.iter()
        .map(|row| {
            let id: Uuid = row.try_get("", "participation_id")?;
            let key = UserKey {
                user: UserId(row.try_get("", "user_id")?),
                key: row.try_get("", "idempotency_key")?,
            };
            Ok((key, ParticipationId(id)))
        })
        .collect()
}
