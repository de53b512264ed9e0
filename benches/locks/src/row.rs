//! A row lock: the transaction locks the row that has the units, and everybody else waits for its commit.

use sea_orm::sqlx::{self, Connection as _};

use crate::stock::{Connection, Stock, sell};
use crate::{Decide, Decision, Failure};

struct RowLock(Connection);

pub async fn connections(stock: &Stock, count: u64) -> Result<Vec<impl Decide>, Failure> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(RowLock(stock.connection().await?));
    }
    Ok(all)
}

impl Decide for RowLock {
    async fn decide(&mut self, user: u64) -> Result<Decision, Failure> {
        let mut tx = self.0.begin().await?;
        let lock = "SELECT units FROM experiment_stock WHERE id = 1 FOR UPDATE";
        let units: i64 = sqlx::query_scalar(lock).fetch_one(&mut *tx).await?;
        if units == 0 {
            tx.rollback().await?;
            return Ok(Decision::SoldOut);
        }
        sell(&mut tx, user).await?;
        let take = "UPDATE experiment_stock SET units = units - 1 WHERE id = 1";
        sqlx::query(take).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Decision::Accepted)
    }
}
