//! Actions of the owner of an account: changing the password, and listing and ending sessions.

use secrecy::SecretString;
use serde_json::json;

use super::credentials::CodeCheck;
use super::{
    Account, AccountError, Accounts, Credentials, LoginSuccess, RememberToken, SessionToken,
};
use crate::domain::{AuditAction, AuditNote, Origin, UserId};
use crate::parts::gate::{Digest, GateError, Listed, Login};
use crate::parts::store::AccountChange;

/// A change of the password by its owner.
#[derive(Debug)]
pub struct PasswordChange {
    /// The current password.
    pub current: SecretString,
    /// The new password.
    pub new: SecretString,
}

impl Accounts {
    /// Changes the password of the account, ends all its sessions and remembered log-ins, and opens a new
    /// session for the owner. A wrong password counts as a failed log-in. One-time codes are unchanged.
    pub async fn change_password(
        &self,
        user: UserId,
        change: &PasswordChange,
        by: Origin,
    ) -> Result<LoginSuccess, AccountError> {
        let (account, address) = (self.find(user).await?, by.address);
        let shown = Credentials::of(&account, &change.current, None, address);
        let (account, _) = self.checked(&shown, CodeCheck::Omitted).await?;
        let password_hash = self.hasher.hash(&change.new).await?;
        let changes = AccountChange {
            password_hash: Some(password_hash),
            ..AccountChange::default()
        };
        let note = AuditNote::beside(by, AuditAction::AccountPassword)
            .to(json!({ "password": "changed" }));
        let after = self.apply(&account, &changes, note).await?;
        let account: Account = after.ok_or(AccountError::Busy)?;
        self.open(account, address, None, None).await
    }

    /// Deletes the account, after all its sessions and remembered log-ins. Participations and rewards stay, under its
    /// number, which no other account gets. A wrong password counts as a failed log-in.
    pub async fn delete_own(
        &self,
        user: UserId,
        current: &SecretString,
        by: Origin,
    ) -> Result<(), AccountError> {
        let account = self.find(user).await?;
        let shown = Credentials::of(&account, current, None, by.address);
        let (account, _) = self.checked(&shown, CodeCheck::Omitted).await?;
        let next = account.version.saturating_add(1);
        let ended = self.sessions.revoke_sessions(user, next, self.login_max);
        ended.await?;
        let note = AuditNote::beside(by, AuditAction::AccountDelete);
        let deleted = self.store.delete_account(user, account.version, note);
        deleted.await?.then_some(()).ok_or(AccountError::Busy)
    }

    /// The sessions and remembered log-ins of an account.
    pub async fn logins(&self, user: UserId) -> Result<Vec<Listed>, GateError> {
        let idle = self.config.session_idle;
        self.sessions.list_sessions(user, idle).await
    }

    /// Ends one of them, and returns whether it existed.
    pub async fn end_login(&self, user: UserId, id: Digest) -> Result<bool, GateError> {
        let ended = self.sessions.end_session(user, Some(id), Some(id)).await?;
        Ok(ended > 0)
    }

    /// Ends all of them except the given ones, and returns how many ended.
    pub async fn end_other_logins(
        &self,
        session: &SessionToken,
        remembered: Option<&RememberToken>,
    ) -> Result<u64, GateError> {
        let user = session.account();
        let own = Login::Session(session.digest());
        let series = remembered.map(|token| Login::Series(token.series()));
        let mut ended = 0;
        for listed in self.logins(user).await? {
            if listed.login != own && Some(listed.login) != series {
                ended += u64::from(self.end_login(user, listed.login.digest()).await?);
            }
        }
        Ok(ended)
    }
}
