//! One-time codes of accounts in the store: secrets, the last step whose code was accepted, and digests of recovery
//! codes. One conditional statement accepts a code, so that it is accepted once however many replicas ask. Enabling
//! and disabling are changes of the account: see `accounts`.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use secrecy::{ExposeSecret, SecretString};

use super::entity::account::{ActiveModel, Column, Entity};
use super::entity::account_recovery_code;
use super::{Store, StoreError};
use crate::domain::UserId;

/// The one-time codes of an account.
#[derive(Clone, Debug)]
pub struct AccountTotp {
    /// The secret of the codes, in Base32.
    pub secret: SecretString,
    /// Whether a log-in needs a code; if not, the enrolment waits for its first code.
    pub enabled: bool,
}

/// How one-time codes of an account change.
#[derive(Clone, Debug)]
pub enum TotpChange {
    /// The first code was correct.
    Enable {
        /// The secret of that code.
        secret: SecretString,
        /// The step of the code: from now on only codes of later steps are accepted.
        step: i64,
        /// Digests of the recovery codes.
        recovery_codes: Vec<String>,
    },
    /// Log-ins need no code any more.
    Disable,
}

impl Store {
    /// Stores the secret of an enrolment that begins, and replaces a waiting one. Returns whether it did: not if
    /// codes are already enabled.
    pub async fn begin_totp(&self, id: UserId, secret: &SecretString) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::TotpSecret, secret.expose_secret().into())
            .filter(Column::Id.eq(id.0))
            .filter(Column::TotpEnabled.eq(false))
            .exec(&self.db)
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Accepts the code of a step, unless it or a later one was already accepted, or the secret has changed. Returns
    /// whether it did.
    pub async fn accept_totp_step(
        &self,
        id: UserId,
        secret: &SecretString,
        step: i64,
    ) -> Result<bool, StoreError> {
        let updated = Entity::update_many()
            .col_expr(Column::TotpLastStep, step.into())
            .filter(Column::Id.eq(id.0))
            .filter(Column::TotpEnabled.eq(true))
            .filter(Column::TotpLastStep.lt(step))
            .filter(Column::TotpSecret.eq(secret.expose_secret()))
            .exec(&self.db)
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Accepts a recovery code and deletes it. Returns whether there was one with this digest.
    pub async fn accept_recovery_code(&self, id: UserId, digest: &str) -> Result<bool, StoreError> {
        let code = (id.0, digest.to_owned());
        let deleted = account_recovery_code::Entity::delete_by_id(code);
        Ok(deleted.exec(&self.db).await?.rows_affected == 1)
    }
}

impl TotpChange {
    /// Sets the columns that change in the account's row.
    pub(super) fn apply(&self, row: &mut ActiveModel) {
        match self {
            Self::Enable { step, .. } => {
                row.totp_enabled = Set(true);
                row.totp_last_step = Set(*step);
            }
            Self::Disable => {
                row.totp_enabled = Set(false);
                row.totp_secret = Set(None);
                row.totp_last_step = Set(0);
            }
        }
    }

    /// The condition on the row under which it may change.
    pub(super) fn condition(&self) -> Option<Expr> {
        let Self::Enable { secret, .. } = self else {
            return None;
        };
        let is_waiting = Column::TotpEnabled.eq(false);
        Some(is_waiting.and(Column::TotpSecret.eq(secret.expose_secret())))
    }

    pub(super) async fn replace_recovery_codes(
        &self,
        on: &impl ConnectionTrait,
        id: UserId,
    ) -> Result<(), StoreError> {
        use account_recovery_code::{ActiveModel, Column, Entity};
        let old = Entity::delete_many().filter(Column::AccountId.eq(id.0));
        old.exec(on).await?;
        if let Self::Enable { recovery_codes, .. } = self {
            let rows = recovery_codes.iter().map(|digest| ActiveModel {
                account_id: Set(id.0),
                digest: Set(digest.clone()),
            });
            Entity::insert_many(rows).exec_without_returning(on).await?;
        }
        Ok(())
    }
}
