//! Accounts in the store. Every change has an entry in the audit log in its own transaction; what a password
//! was or became is in none. A change raises the account's version, and is made to one version alone.

use sea_orm::QueryResult;
use secrecy::{ExposeSecret, SecretString};

use super::campaigns::{to_signed, to_unsigned};
use super::outbox::Sql;
use super::totp::{AccountTotp, TotpChange};
use super::{Store, StoreError};
use crate::domain::{AuditNote, Instant, LoginName, UserId};

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number: the user.
    pub id: UserId,
    /// What they log in as.
    pub login: LoginName,
    /// What is kept of the password, a PHC string.
    pub password_hash: SecretString,
    /// What it may do as an admin, as words with spaces between them.
    pub scopes: String,
    /// Whether nobody may log in by it.
    pub disabled: bool,
    /// Its one-time codes, if it has enrolled or begun to.
    pub totp: Option<AccountTotp>,
    /// Raised by each change.
    pub version: u64,
    /// When it was made.
    pub created_at: Instant,
}

impl Account {
    /// Whether a log-in needs a one-time code.
    #[must_use]
    pub fn has_totp(&self) -> bool {
        self.totp.as_ref().is_some_and(|totp| totp.enabled)
    }
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What they log in as.
    pub login: LoginName,
    /// What is kept of the password.
    pub password_hash: SecretString,
    /// What it may do as an admin.
    pub scopes: String,
}

/// What is to change of an account; none leaves it alone.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// What is kept of the new password.
    pub password_hash: Option<SecretString>,
    /// What it may do as an admin.
    pub scopes: Option<String>,
    /// Whether nobody may log in by it.
    pub disabled: Option<bool>,
    /// Its one-time codes.
    pub totp: Option<TotpChange>,
}

const COLUMNS: &str = "SELECT id, login, password_hash, scopes, disabled, totp_secret, totp_enabled, version, \
     created_at FROM account WHERE ";

impl Store {
    /// Makes an account, and an entry in the audit log that names it; none: somebody has the login name.
    pub async fn create_account(
        &self,
        new: &NewAccount,
        note: AuditNote,
    ) -> Result<Option<Account>, StoreError> {
        let tx = self.begin().await?;
        let mut sql = Sql::new(self, "INSERT INTO account (login, password_hash, scopes, ");
        sql.push("disabled, version, totp_enabled, totp_last_step, created_at) VALUES (");
        sql.bind(new.login.as_str());
        sql.push(",").bind(new.password_hash.expose_secret());
        sql.push(",").bind(new.scopes.as_str());
        sql.push(",FALSE,1,FALSE,0,").now().push(")");
        match sql.run(&tx).await {
            Ok(_) => {}
            Err(StoreError::Constraint(_)) => {
                tx.rollback().await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut sql = Sql::new(self, COLUMNS);
        sql.push("login = ").bind(new.login.as_str());
        let rows = sql.rows(&tx).await?;
        let made = rows.first().map(account).transpose()?;
        if let Some(made) = &made {
            self.write_notes(&tx, &[note.of(&made.id)]).await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// One account.
    pub async fn find_account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let mut sql = Sql::new(self, COLUMNS);
        sql.push("id = ").bind(id.0);
        let rows = sql.rows(self.connection()).await?;
        rows.first().map(account).transpose()
    }

    /// The account with a login name, in whatever case.
    pub async fn account_by_login(&self, login: &LoginName) -> Result<Option<Account>, StoreError> {
        let mut sql = Sql::new(self, COLUMNS);
        sql.push("login = ").bind(login.as_str());
        let rows = sql.rows(self.connection()).await?;
        rows.first().map(account).transpose()
    }

    /// Accounts, newest first, below the last one of the page before, at most `rows_max`.
    pub async fn accounts(
        &self,
        after: Option<UserId>,
        rows_max: u64,
    ) -> Result<Vec<Account>, StoreError> {
        let mut sql = Sql::new(self, COLUMNS);
        sql.push("id < ")
            .bind(after.map_or(i64::MAX, |after| after.0));
        sql.push(" ORDER BY id DESC LIMIT ")
            .bind(to_signed(rows_max));
        let rows = sql.rows(self.connection()).await?;
        rows.iter().map(account).collect()
    }

    /// Changes an account if it still is of `version`, with an entry in the audit log: whether it was.
    pub async fn change_account(
        &self,
        id: UserId,
        version: u64,
        change: &AccountChange,
        note: AuditNote,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let mut sql = Sql::new(self, "UPDATE account SET version = version + 1");
        if let Some(hash) = &change.password_hash {
            sql.push(", password_hash = ").bind(hash.expose_secret());
        }
        if let Some(scopes) = &change.scopes {
            sql.push(", scopes = ").bind(scopes.as_str());
        }
        if let Some(disabled) = change.disabled {
            sql.push(", disabled = ").bind(disabled);
        }
        if let Some(totp) = &change.totp {
            totp.set(&mut sql);
        }
        sql.push(" WHERE id = ").bind(id.0);
        sql.push(" AND version = ").bind(to_signed(version));
        if let Some(totp) = &change.totp {
            totp.require(&mut sql);
        }
        if sql.run(&tx).await? != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        if let Some(totp) = &change.totp {
            totp.replace_recovery_codes(self, &tx, id).await?;
        }
        self.write_notes(&tx, &[note.of(&id)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Keeps the same password in another way, unless it has been changed meanwhile: whether it was kept.
    pub async fn rehash_account(
        &self,
        id: UserId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self, "UPDATE account SET password_hash = ");
        sql.bind(new.expose_secret());
        sql.push(" WHERE id = ").bind(id.0);
        sql.push(" AND password_hash = ").bind(old.expose_secret());
        Ok(sql.run(self.connection()).await? == 1)
    }
}

fn account(row: &QueryResult) -> Result<Account, StoreError> {
    let login: String = row.try_get("", "login")?;
    let hash: String = row.try_get("", "password_hash")?;
    let secret: Option<String> = row.try_get("", "totp_secret")?;
    let enabled = row.try_get("", "totp_enabled")?;
    Ok(Account {
        id: UserId(row.try_get("", "id")?),
        login: LoginName::parse(&login).ok_or(StoreError::Unreadable {
            what: "the login name of an account",
            value: String::new(),
        })?,
        password_hash: hash.into(),
        scopes: row.try_get("", "scopes")?,
        disabled: row.try_get("", "disabled")?,
        totp: secret.map(|secret| AccountTotp {
            secret: secret.into(),
            enabled,
        }),
        version: to_unsigned(row.try_get("", "version")?),
        created_at: row.try_get("", "created_at")?,
    })
}
