//! Tokens that were sent to the owner of a login name. Each is used once, and only its digest is stored.

use std::time::Duration;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Select};

use super::entity::account_token::{Column, Entity, Model};
use super::entity::insert;
use super::unreadable::parse;
use super::{Store, StoreError};
use crate::domain::words::words;
use crate::domain::{LoginName, UserId};

/// Expired tokens deleted with each new one: more than one, so that they cannot accumulate.
const EXPIRED_MAX: u64 = 20;

words! {
    /// What a token is for.
    pub enum TokenPurpose {
        /// Creates the account.
        SignUp = "sign_up",
        /// Sets a new password.
        PasswordReset = "password_reset",
    }
}

/// A token, without its digest.
#[derive(Clone, Debug)]
pub struct AccountToken {
    /// What it is for.
    pub purpose: TokenPurpose,
    /// The login name to which it was sent.
    pub login: LoginName,
    /// For a new password: the account.
    pub account: Option<UserId>,
}

impl Store {
    /// Stores a token for this long. Deletes some expired ones.
    pub async fn store_account_token(
        &self,
        digest: &str,
        token: &AccountToken,
        lasts: Duration,
    ) -> Result<(), StoreError> {
        let expired: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Digest)
            .filter(Column::ExpiresAt.into_expr().lt(self.now_expr()))
            .limit(EXPIRED_MAX)
            .into_tuple()
            .all(&self.db)
            .await?;
        if !expired.is_empty() {
            let delete = Entity::delete_many().filter(Column::Digest.is_in(expired));
            delete.exec(&self.db).await?;
        }
        let row = insert::<Entity, _>([
            (Column::Digest, digest.into()),
            (Column::Purpose, token.purpose.as_str().into()),
            (Column::Login, token.login.as_str().into()),
            (Column::AccountId, token.account.map(|id| id.0).into()),
            (Column::ExpiresAt, self.after(lasts)),
        ]);
        self.db.execute(&row).await?;
        Ok(())
    }

    /// Reads a token for this purpose and leaves it valid; none: it does not exist, or has expired. Another request may
    /// take it before this one does.
    pub async fn find_account_token(
        &self,
        digest: &str,
        purpose: TokenPurpose,
    ) -> Result<Option<AccountToken>, StoreError> {
        let found = self.valid_token(digest, purpose).one(&self.db).await?;
        found.map(AccountToken::try_from).transpose()
    }

    /// Takes a token for this purpose, once; none: it does not exist, or has expired.
    pub async fn take_account_token(
        &self,
        digest: &str,
        purpose: TokenPurpose,
    ) -> Result<Option<AccountToken>, StoreError> {
        let tx = self.begin().await?;
        let found = self
            .valid_token(digest, purpose)
            .lock_exclusive()
            .one(&tx)
            .await?;
        if found.is_some() {
            Entity::delete_by_id(digest).exec(&tx).await?;
        }
        tx.commit().await?;
        found.map(AccountToken::try_from).transpose()
    }

    fn valid_token(&self, digest: &str, purpose: TokenPurpose) -> Select<Entity> {
        Entity::find_by_id(digest)
            .filter(Column::Purpose.eq(purpose.as_str()))
            .filter(Column::ExpiresAt.into_expr().gte(self.now_expr()))
    }
}

impl TryFrom<Model> for AccountToken {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        // No part of a login name goes into an error.
        let login = LoginName::parse(&row.login);
        Ok(Self {
            purpose: parse("the purpose of a token", &row.purpose, TokenPurpose::parse)?,
            login: login.ok_or_else(|| StoreError::unreadable("the login name of a token", ""))?,
            account: row.account_id.map(UserId),
        })
    }
}
