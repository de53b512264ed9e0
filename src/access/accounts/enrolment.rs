//! Enabling and disabling one-time codes by the owner of an account. Both end all sessions and remembered log-ins of the
//! account, so that no session opened without a code outlives the change.

use std::net::IpAddr;

use secrecy::SecretString;
use serde_json::json;

use super::credentials::CodeCheck;
use super::totp::{RecoveryCodes, TotpSecret};
use super::{Account, AccountError, Accounts, Credentials, LoginSuccess};
use crate::domain::{AuditAction, AuditNote, Origin, UserId};
use crate::parts::gate::LoginEnd;
use crate::parts::store::{AccountChange, TotpChange};

/// The secret for an authenticator app. It is shown once.
#[derive(Debug)]
pub struct Enrolment {
    /// The secret, in Base32.
    pub secret: SecretString,
    /// The same as an `otpauth://` address, for a QR code.
    pub uri: SecretString,
}

/// The result of enabling one-time codes.
#[derive(Debug)]
pub struct Enabled {
    /// The new session of the owner.
    pub entered: LoginSuccess,
    /// Recovery codes. They are shown once.
    pub recovery_codes: Vec<SecretString>,
}

impl Accounts {
    /// Begins to enable one-time codes: makes a secret that waits for its first code, and replaces a waiting one. A wrong
    /// password counts as a failed log-in.
    pub async fn enrol(
        &self,
        user: UserId,
        password: &SecretString,
        address: Option<IpAddr>,
    ) -> Result<Enrolment, AccountError> {
        let account = self.find(user).await?;
        let shown = Credentials::of(&account, password, None, address);
        let (account, _) = self.checked(&shown, CodeCheck::Omitted).await?;
        let secret = TotpSecret::generate();
        let uri = secret.uri(account.login.as_str())?;
        let secret = secret.base32().clone();
        if self.store.begin_totp(account.id, &secret).await? {
            Ok(Enrolment { secret, uri })
        } else {
            Err(AccountError::TotpEnabled)
        }
    }

    /// Enables one-time codes, if the code belongs to the waiting secret. A wrong code counts like a wrong password.
    pub async fn confirm_enrolment(
        &self,
        user: UserId,
        code: &str,
        by: Origin,
    ) -> Result<Enabled, AccountError> {
        let (account, address) = (self.find(user).await?, by.address);
        let waiting = match &account.totp {
            Some(totp) if totp.enabled => return Err(AccountError::TotpEnabled),
            Some(totp) => totp.secret.clone(),
            None => return Err(AccountError::NoEnrolment),
        };
        let attempt = self.attempts.begin(account.login.as_str(), address).await?;
        let step = TotpSecret::stored(waiting.clone()).step_of(code, self.store.clock().now());
        if let Ok(None) = step {
            return Err(AccountError::CodeRefused(account.id));
        }
        attempt.end(LoginEnd::Undecided).await;
        let Some(step) = step? else {
            return Err(AccountError::CodeRefused(account.id));
        };
        let recovery_codes = RecoveryCodes::generate();
        let change = TotpChange::Enable {
            secret: waiting,
            step,
            recovery_codes: recovery_codes.digests(),
        };
        let account = self.apply_totp(&account, change, by).await?;
        Ok(Enabled {
            entered: self.open(account, address, None, None).await?,
            recovery_codes: recovery_codes.reveal(),
        })
    }

    /// Disables one-time codes. Needs the password, and a code or a recovery code.
    pub async fn disable_totp(
        &self,
        user: UserId,
        (password, code): (&SecretString, &str),
        by: Origin,
    ) -> Result<LoginSuccess, AccountError> {
        let (account, address) = (self.find(user).await?, by.address);
        if !account.has_totp() {
            return Err(AccountError::TotpNotEnabled);
        }
        let shown = Credentials::of(&account, password, Some(code), address);
        let (account, _) = self.checked(&shown, CodeCheck::WhereEnabled).await?;
        let account = self.apply_totp(&account, TotpChange::Disable, by).await?;
        self.open(account, address, None, None).await
    }

    async fn apply_totp(
        &self,
        account: &Account,
        change: TotpChange,
        by: Origin,
    ) -> Result<Account, AccountError> {
        let enables = matches!(change, TotpChange::Enable { .. });
        let note = AuditNote::beside(by, AuditAction::AccountTotp)
            .from(json!({ "totp": !enables }))
            .to(json!({ "totp": enables }));
        let changes = AccountChange {
            totp: Some(change),
            ..AccountChange::default()
        };
        let after = self.apply(account, &changes, note).await?;
        after.ok_or(AccountError::Busy)
    }
}
