//! Payments by their reference: each pays for one participation, in the whole installation. Written in the
//! transaction that confirms, so that of two participations that name the same payment one is confirmed.

use std::collections::HashMap;

use uuid::Uuid;

use super::change::Wished;
use crate::domain::{Instant, Obstacle, Participation, ParticipationId, Status, Wish};
use crate::parts::store::bounded::Tx;
use crate::parts::store::campaigns::to_signed;
use crate::parts::store::outbox::Sql;
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

impl Store {
    /// The participation that this payment was recorded for.
    pub async fn paid_by(&self, reference: &str) -> Result<Option<ParticipationId>, StoreError> {
        let mut sql = Sql::new(
            self,
            "SELECT participation_id FROM payment WHERE reference = ",
        );
        let rows = sql.bind(reference).rows(self.connection()).await?;
        let id = |row: &sea_orm::QueryResult| row.try_get::<Uuid>("", "participation_id");
        Ok(rows.first().map(id).transpose()?.map(ParticipationId))
    }
}

/// Who pays by what.
#[derive(Default)]
pub(super) struct Payers(HashMap<String, Uuid>);

impl Payers {
    /// Lets a wish through unless its payment is another participation's, of this batch or from before.
    pub(super) fn admit(&mut self, asked: &Wished, status: Status) -> Result<Status, Obstacle> {
        let Wish::Confirm { reference } = &asked.wish else {
            return Ok(status);
        };
        let payer = *self.0.entry(reference.clone()).or_insert(asked.id.0);
        if payer == asked.id.0 {
            Ok(status)
        } else {
            Err(Obstacle::ReferenceUsed)
        }
    }
}

/// Who the payments that these wishes name were recorded for.
pub(super) async fn payers(
    store: &Store,
    tx: &Tx,
    wishes: &[Wished],
) -> Result<Payers, StoreError> {
    let named: Vec<&str> = wishes
        .iter()
        .filter_map(|wished| match &wished.wish {
            Wish::Confirm { reference } => Some(reference.as_str()),
            Wish::Cancel { .. } | Wish::Expire => None,
        })
        .collect();
    let mut payers = Payers::default();
    if named.is_empty() {
        return Ok(payers);
    }
    let mut sql = Sql::new(
        store,
        "SELECT reference, participation_id FROM payment WHERE reference IN ",
    );
    for row in sql.list(padded(&named)).rows(tx).await? {
        let (reference, payer) = (
            row.try_get("", "reference")?,
            row.try_get("", "participation_id")?,
        );
        payers.0.insert(reference, payer);
    }
    Ok(payers)
}

/// Records the payments of those that become confirmed.
pub(super) async fn record(
    store: &Store,
    tx: &Tx,
    becoming: impl Iterator<Item = &Participation>,
    now: Instant,
) -> Result<(), StoreError> {
    let rows: Vec<[sea_orm::Value; 4]> = becoming
        .filter(|becomes| becomes.status == Status::Confirmed)
        .filter_map(|becomes| {
            let reference = becomes.payment_reference.as_deref()?;
            let amount = becomes.amount.map(to_signed);
            Some([
                reference.into(),
                becomes.id.0.into(),
                amount.into(),
                now.into(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new(
        store,
        "INSERT INTO payment (reference, participation_id, amount, created_at) VALUES ",
    );
    sql.rows_of(rows.into_iter()).run(tx).await?;
    Ok(())
}
