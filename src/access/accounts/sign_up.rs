//! What users do without a log-in: sign up, and reset a forgotten password. A token that is sent to the owner of the login
//! name proves that it is theirs. The response does not tell whether there is such an account.

use std::net::IpAddr;

use secrecy::SecretString;
use serde_json::json;

use super::config::SignUp;
use super::token::MailedToken;
use super::{Account, AccountError, Accounts, NewAccount, insert};
use crate::access::identity::Scopes;
use crate::domain::{Actor, AuditAction, AuditNote, LoginName, Origin};
use crate::parts::store::{self, AccountChange, AccountToken, TokenPurpose};
use crate::runtime::telemetry::cause;

/// The result of a sign-up.
#[derive(Debug)]
pub enum SignedUp {
    /// There is an account now.
    Account(Account),
    /// A token is on its way to the owner of the login name, unless there is an account with it.
    TokenSent,
}

impl Accounts {
    /// Signs a user up. A verified sign-up needs no password: it is set with the token.
    pub async fn sign_up(
        &self,
        login: LoginName,
        password: Option<SecretString>,
        by: Origin,
    ) -> Result<SignedUp, AccountError> {
        match self.config.sign_up {
            SignUp::Off => Err(AccountError::Disabled),
            SignUp::Open => {
                let new = NewAccount {
                    login,
                    password: password.ok_or(AccountError::NoPassword)?,
                    scopes: Scopes::default(),
                };
                self.attempts.count_request(by.address, None).await?;
                let hash = self.hasher.hash(&new.password).await?;
                let created = insert(&self.store, &new, hash, by).await?;
                Ok(SignedUp::Account(created))
            }
            SignUp::Verified => {
                self.attempts.count_request(by.address, None).await?;
                // Otherwise the owner of the name has got enough messages.
                if self.attempts.may_mail(&login).await? {
                    self.messenger()?.request(AccountToken {
                        purpose: TokenPurpose::SignUp,
                        login,
                        account: None,
                    })?;
                }
                Ok(SignedUp::TokenSent)
            }
        }
    }

    /// Creates the account of a sign-up. Whoever has the token owns the login name, and sets the password: a stranger who
    /// signs up with that name can neither set it nor keep the owner out.
    pub async fn verify(
        &self,
        token: &str,
        password: &SecretString,
        by: Origin,
    ) -> Result<Account, AccountError> {
        if self.config.sign_up != SignUp::Verified {
            return Err(AccountError::Disabled);
        }
        let purpose = TokenPurpose::SignUp;
        let found = self.require(token, purpose, by.address).await?;
        let password_hash = self.hash_with(&found, password, by.address).await?;
        let new = store::NewAccount {
            login: found.login,
            password_hash,
            scopes: String::new(),
        };
        let note = AuditNote::beside(by, AuditAction::AccountCreate).to(json!({
            "login": new.login.as_str(),
            "scopes": [],
            "disabled": false,
        }));
        let created = self.store.create_account(&new, note).await?;
        let created = created.ok_or(AccountError::LoginTaken)?;
        // Deleted last: after a crash in between, the owner can still use it. A leftover creates no second account.
        if let Some(mailed) = MailedToken::parse(token) {
            let digest = mailed.digest();
            let deleted = self.store.take_account_token(&digest, purpose).await;
            if let Err(error) = deleted {
                tracing::warn!(error = cause(&error), "a used token was not deleted");
            }
        }
        Ok(created)
    }

    /// Sends a token for a new password to the owner of a login name, if there is an account with it.
    pub async fn forgot_password(
        &self,
        login: LoginName,
        address: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let messenger = self.messenger()?;
        let limited = Some(login.as_str());
        self.attempts.count_request(address, limited).await?;
        messenger.request(AccountToken {
            purpose: TokenPurpose::PasswordReset,
            login,
            account: None,
        })
    }

    /// Sets a new password with a token, and ends all sessions and remembered log-ins. One-time codes are unchanged.
    pub async fn reset_password(
        &self,
        token: &str,
        password: &SecretString,
        by: Origin,
    ) -> Result<Account, AccountError> {
        self.messenger()?;
        let purpose = TokenPurpose::PasswordReset;
        // The password is hashed first: the token must not be lost if there is no room for that.
        let found = self.require(token, purpose, by.address).await?;
        let hash = self.hash_with(&found, password, by.address).await?;
        let reset = self.take(token, purpose, by.address).await?;
        let id = reset.account.ok_or(AccountError::NoToken)?;
        let account = match self.find(id).await {
            Ok(account) if !account.disabled => account,
            Ok(_) | Err(AccountError::Unknown) => return Err(AccountError::NoToken),
            Err(error) => return Err(error),
        };
        let changes = AccountChange {
            password_hash: Some(hash),
            ..AccountChange::default()
        };
        let by = Origin {
            actor: Actor::Account(id),
            ..by
        };
        let note = AuditNote::beside(by, AuditAction::AccountPassword)
            .to(json!({ "password": "changed" }));
        let after = self.apply(&account, &changes, note).await?;
        after.ok_or(AccountError::Busy)
    }

    /// Hashes the password that is set with a token, within the limits of its login name and of the address.
    async fn hash_with(
        &self,
        token: &AccountToken,
        password: &SecretString,
        address: Option<IpAddr>,
    ) -> Result<SecretString, AccountError> {
        let _permit = self.attempts.permit_hash(&token.login, address)?;
        self.hasher.hash(password).await
    }

    /// Reads a token. A wrong one counts as a failed log-in of the address. It costs a read of the connections that are for
    /// reads, and no transaction.
    async fn require(
        &self,
        token: &str,
        purpose: TokenPurpose,
        address: Option<IpAddr>,
    ) -> Result<AccountToken, AccountError> {
        if let Some(mailed) = MailedToken::parse(token) {
            let digest = mailed.digest();
            if let Some(found) = self.reads.find_account_token(&digest, purpose).await? {
                return Ok(found);
            }
        }
        self.attempts.fail_from(address).await?;
        Err(AccountError::NoToken)
    }

    /// Takes a token. A wrong one counts as a failed log-in of the address.
    async fn take(
        &self,
        token: &str,
        purpose: TokenPurpose,
        address: Option<IpAddr>,
    ) -> Result<AccountToken, AccountError> {
        if let Some(mailed) = MailedToken::parse(token) {
            let found = self
                .store
                .take_account_token(&mailed.digest(), purpose)
                .await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        self.attempts.fail_from(address).await?;
        Err(AccountError::NoToken)
    }
}
