//! Accounts in the store. Every change writes an entry to the audit log in its own transaction; no entry holds a
//! password. A change raises the account's version and applies to exactly one version.

use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use secrecy::{ExposeSecret, SecretString};

use super::entity::account::{ActiveModel, Column, Entity, Model};
use super::entity::{account_recovery_code, account_token, insert, set};
use super::numbers::{to_signed, to_unsigned};
use super::totp::{AccountTotp, TotpChange};
use super::{Store, StoreError};
use crate::domain::{AuditNote, LoginName, Timestamp, UserId};

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number, which is the user's.
    pub id: UserId,
    /// The login name.
    pub login: LoginName,
    /// The hash of the password, a PHC string.
    pub password_hash: SecretString,
    /// Its scopes as an admin, separated by spaces.
    pub scopes: String,
    /// Whether logging in is forbidden.
    pub disabled: bool,
    /// Its one-time codes, if it has enrolled or begun to.
    pub totp: Option<AccountTotp>,
    /// Raised by each change.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Account {
    /// Whether a log-in needs a one-time code.
    #[must_use]
    pub fn has_totp(&self) -> bool {
        self.totp.as_ref().is_some_and(|totp| totp.enabled)
    }
}

/// An account to create.
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "each field is the account's field of that name"
)]
pub struct NewAccount {
    pub login: LoginName,
    pub password_hash: SecretString,
    pub scopes: String,
}

/// Fields of an account to change; none leaves a field alone.
#[derive(Clone, Debug, Default)]
#[allow(
    missing_docs,
    reason = "each field is the account's field of that name"
)]
pub struct AccountChange {
    pub password_hash: Option<SecretString>,
    pub scopes: Option<String>,
    pub disabled: Option<bool>,
    pub totp: Option<TotpChange>,
}

impl Store {
    /// Creates an account, with an entry in the audit log; none: the login name is in use.
    pub async fn create_account(
        &self,
        new: &NewAccount,
        note: AuditNote,
    ) -> Result<Option<Account>, StoreError> {
        let tx = self.begin().await?;
        let insert = insert::<Entity, _>([
            (Column::Login, new.login.as_str().into()),
            (
                Column::PasswordHash,
                new.password_hash.expose_secret().into(),
            ),
            (Column::Scopes, new.scopes.as_str().into()),
            (Column::Disabled, false.into()),
            (Column::Version, 1.into()),
            (Column::TotpEnabled, false.into()),
            (Column::TotpLastStep, 0.into()),
            (Column::CreatedAt, self.now_expr()),
        ]);
        match tx.execute(&insert).await.map_err(StoreError::from) {
            Ok(_) => {}
            Err(StoreError::Constraint(_)) => {
                tx.rollback().await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let made = find_by_login(&new.login).one(&tx).await?;
        let made = made.map(Account::try_from).transpose()?;
        if let Some(made) = &made {
            self.write_notes(&tx, &[note.of(&made.id)]).await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// One account.
    pub async fn find_account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        let row = Entity::find_by_id(id.0).one(&self.db).await?;
        row.map(Account::try_from).transpose()
    }

    /// The account with a login name, which is compared without regard to case.
    pub async fn account_by_login(&self, login: &LoginName) -> Result<Option<Account>, StoreError> {
        let row = find_by_login(login).one(&self.db).await?;
        row.map(Account::try_from).transpose()
    }

    /// Accounts, newest first, after the last one of the previous page, at most `rows_max`.
    pub async fn accounts(
        &self,
        after: Option<UserId>,
        rows_max: u64,
    ) -> Result<Vec<Account>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Id.lt(after.map_or(i64::MAX, |after| after.0)))
            .order_by_desc(Column::Id)
            .limit(rows_max)
            .all(&self.db)
            .await?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// Changes an account if its version is still `version`, with an entry in the audit log. Returns whether it did.
    pub async fn change_account(
        &self,
        id: UserId,
        version: u64,
        change: &AccountChange,
        note: AuditNote,
    ) -> Result<bool, StoreError> {
        let hash = change.password_hash.as_ref();
        let mut row = ActiveModel {
            password_hash: set(hash.map(|hash| hash.expose_secret().to_owned())),
            scopes: set(change.scopes.clone()),
            disabled: set(change.disabled),
            ..ActiveModel::default()
        };
        let mut unchanged = Condition::all()
            .add(Column::Id.eq(id.0))
            .add(Column::Version.eq(to_signed(version)));
        if let Some(totp) = &change.totp {
            totp.apply(&mut row);
            unchanged = unchanged.add_option(totp.condition());
        }
        let tx = self.begin().await?;
        let update = Entity::update_many()
            .set(row)
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .filter(unchanged);
        if update.exec(&tx).await?.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        if let Some(totp) = &change.totp {
            totp.replace_recovery_codes(&tx, id).await?;
        }
        if change.password_hash.is_some() || change.disabled.is_some() {
            // A token that was sent before must not set another password.
            account_token::Entity::delete_many()
                .filter(account_token::Column::AccountId.eq(id.0))
                .exec(&tx)
                .await?;
        }
        self.write_notes(&tx, &[note.of(&id)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes an account if its version is still `version`, with an entry in the audit log. Returns whether it did.
    pub async fn delete_account(
        &self,
        id: UserId,
        version: u64,
        note: AuditNote,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let delete = Entity::delete_many()
            .filter(Column::Id.eq(id.0))
            .filter(Column::Version.eq(to_signed(version)));
        if delete.exec(&tx).await?.rows_affected != 1 {
            tx.rollback().await?;
            return Ok(false);
        }
        account_recovery_code::Entity::delete_many()
            .filter(account_recovery_code::Column::AccountId.eq(id.0))
            .exec(&tx)
            .await?;
        account_token::Entity::delete_many()
            .filter(account_token::Column::AccountId.eq(id.0))
            .exec(&tx)
            .await?;
        self.write_notes(&tx, &[note.of(&id)]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Stores another hash of the same password, unless the password has changed since. Returns whether it did.
    pub async fn rehash_account(
        &self,
        id: UserId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::PasswordHash, new.expose_secret().into())
            .filter(Column::Id.eq(id.0))
            .filter(Column::PasswordHash.eq(old.expose_secret()))
            .exec(&self.db)
            .await?;
        Ok(updated.rows_affected == 1)
    }
}

fn find_by_login(login: &LoginName) -> Select<Entity> {
    Entity::find().filter(Column::Login.eq(login.as_str()))
}

impl TryFrom<Model> for Account {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        // No part of a login name goes into an error.
        let login = LoginName::parse(&row.login);
        Ok(Self {
            id: UserId(row.id),
            login: login
                .ok_or_else(|| StoreError::unreadable("the login name of an account", ""))?,
            password_hash: row.password_hash.into(),
            scopes: row.scopes,
            disabled: row.disabled,
            totp: row.totp_secret.map(|secret| AccountTotp {
                secret: secret.into(),
                enabled: row.totp_enabled,
            }),
            version: to_unsigned(row.version),
            created_at: row.created_at,
        })
    }
}
