//! One-time codes of accounts in the store: secrets, the last step whose code was accepted, and digests of recovery
//! codes. That a code is accepted once is decided by one conditional statement, whichever replicas ask. Enabling
//! and disabling are changes of the account: see `accounts`.

use secrecy::{ExposeSecret, SecretString};

use super::outbox::Sql;
use super::{Store, StoreError};
use crate::domain::UserId;

/// The one-time codes of an account.
#[derive(Clone, Debug)]
pub struct AccountTotp {
    /// What codes are made of, in Base32.
    pub secret: SecretString,
    /// Whether a log-in needs a code; until then the secret waits for its first code.
    pub enabled: bool,
}

/// How one-time codes of an account change.
#[derive(Clone, Debug)]
pub enum TotpChange {
    /// The first code was right.
    Enable {
        /// The secret that it was made of.
        secret: SecretString,
        /// The step of the code: from now on only later ones are accepted.
        step: i64,
        /// Digests of the recovery codes.
        recovery_codes: Vec<String>,
    },
    /// No code is asked for any more.
    Disable,
}

impl Store {
    /// Stores the secret that an account begins to enrol with, in place of one that waits: whether it did. Where
    /// codes are enabled it does not.
    pub async fn begin_totp(&self, id: UserId, secret: &SecretString) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "UPDATE account SET totp_secret = ");
        sql.bind(secret.expose_secret());
        sql.push(" WHERE id = ").bind(id.0);
        sql.push(" AND totp_enabled = FALSE");
        Ok(sql.run(self.connection()).await? == 1)
    }

    /// Accepts the code of a step, unless it or a later one was accepted before, or the secret is another by now:
    /// whether it did.
    pub async fn accept_totp_step(
        &self,
        id: UserId,
        secret: &SecretString,
        step: i64,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "UPDATE account SET totp_last_step = ");
        sql.bind(step);
        sql.push(" WHERE id = ").bind(id.0);
        sql.push(" AND totp_enabled = TRUE AND totp_last_step < ")
            .bind(step);
        sql.push(" AND totp_secret = ").bind(secret.expose_secret());
        Ok(sql.run(self.connection()).await? == 1)
    }

    /// Accepts a recovery code, and forgets it: whether there was one with this digest.
    pub async fn accept_recovery_code(&self, id: UserId, digest: &str) -> Result<bool, StoreError> {
        let mut sql = Sql::new(
            self,
            "DELETE FROM account_recovery_code WHERE account_id = ",
        );
        sql.bind(id.0);
        sql.push(" AND digest = ").bind(digest);
        Ok(sql.run(self.connection()).await? == 1)
    }
}

impl TotpChange {
    /// Appends what changes in the account's row.
    pub(super) fn set(&self, sql: &mut Sql) {
        match self {
            Self::Enable { step, .. } => {
                sql.push(", totp_enabled = TRUE, totp_last_step = ")
                    .bind(*step);
            }
            Self::Disable => {
                sql.push(", totp_enabled = FALSE, totp_secret = NULL, totp_last_step = 0");
            }
        }
    }

    /// Appends what must hold of the row.
    pub(super) fn require(&self, sql: &mut Sql) {
        if let Self::Enable { secret, .. } = self {
            sql.push(" AND totp_enabled = FALSE AND totp_secret = ")
                .bind(secret.expose_secret());
        }
    }

    /// Replaces the recovery codes.
    pub(super) async fn replace_recovery_codes(
        &self,
        store: &Store,
        on: &impl sea_orm::ConnectionTrait,
        id: UserId,
    ) -> Result<(), StoreError> {
        let mut sql = Sql::new(
            store,
            "DELETE FROM account_recovery_code WHERE account_id = ",
        );
        sql.bind(id.0).run(on).await?;
        let Self::Enable { recovery_codes, .. } = self else {
            return Ok(());
        };
        let mut sql = Sql::new(
            store,
            "INSERT INTO account_recovery_code (account_id, digest) VALUES ",
        );
        let rows = recovery_codes.iter();
        sql.rows_of(rows.map(|digest| [id.0.into(), digest.as_str().into()]));
        sql.run(on).await?;
        Ok(())
    }
}
