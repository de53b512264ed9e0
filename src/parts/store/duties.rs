//! Tasks that one replica does at a time: leases by the database's clock.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::{Store, StoreError};

impl Store {
    /// Takes or renews the lease of a task for this long, by the database's clock. False: another owner has it.
    pub async fn take_duty(
        &self,
        name: &str,
        owner: &str,
        term: Duration,
    ) -> Result<bool, StoreError> {
        self.take_duty_on(&self.db, name, owner, term).await
    }

    /// The same, within a transaction.
    pub(super) async fn take_duty_on(
        &self,
        on: &impl ConnectionTrait,
        name: &str,
        owner: &str,
        term: Duration,
    ) -> Result<bool, StoreError> {
        let mut take = self.sql("UPDATE duty SET owner = ");
        take.bind(owner).push(", expires_at = ").after(term);
        take.push(" WHERE name = ").bind(name);
        take.push(" AND (owner = ")
            .bind(owner)
            .push(" OR expires_at <= ");
        if take.now().push(")").run(on).await? == 1 {
            return Ok(true);
        }
        let mut first = self.sql("INSERT INTO duty (name, owner, expires_at) VALUES (");
        first.bind(name).push(",").bind(owner).push(",").after(term);
        match first.push(")").run(on).await {
            Ok(_) => Ok(true),
            Err(StoreError::Constraint(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
