//! Accounts and their sessions, for installations without an identity provider. Accounts are in the store; sessions are
//! in Redis beside the gate and may be lost; then users log in again. This module knows no cookies, and never passes a
//! password or a token to a log or a part.
//!
//! A change that ends sessions ends them *before* it is committed, and from then on no session opens for the old version of
//! the account: whatever fails in between, no session outlives the change.

mod attempts;
mod concurrent;
mod config;
mod credentials;
mod enrolment;
mod error;
mod login;
mod messenger;
mod metrics;
mod own;
mod password;
mod sign_up;
mod token;
mod totp;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value, json};

pub use config::{AccountsConfig, SignUp};
pub use credentials::{CodeUsed, Credentials, LoginSuccess, RememberMe, Remembered, Session};
pub use enrolment::{Enabled, Enrolment};
pub use error::AccountError;

pub use metrics::Metrics;
pub use own::PasswordChange;
pub use password::{COMMON, Hasher, PASSWORD_CHARACTERS, is_common};
pub use sign_up::SignedUp;
pub use token::{RememberToken, SessionToken};

use self::attempts::Attempts;
use self::messenger::Messenger;
use crate::access::identity::Scopes;
use crate::domain::{Actor, AuditAction, AuditNote, LoginName, Origin, UserId};
use crate::parts::gate::ScriptGate;
use crate::parts::store::{self, Store, TotpChange};
use crate::runtime::supervisor::Spawner;

pub use crate::parts::store::Account;

/// Attempts to change an account that others change at the same time.
const ATTEMPTS_MAX: u32 = 5;

/// How long opening a session may take, in addition to the request.
const OPENING: Duration = Duration::from_secs(60);

/// Whether log-ins of an account need one-time codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TotpState {
    /// A log-in needs none.
    Disabled,
    /// A log-in needs one.
    Enabled,
    /// The account must enable them: until then its sessions have no scopes.
    Required,
}

/// An account to create.
#[derive(Debug)]
pub struct NewAccount {
    /// The login name.
    pub login: LoginName,
    /// The password.
    pub password: SecretString,
    /// Its scopes as an admin.
    pub scopes: Scopes,
}

/// Fields of an account to change; none leaves a field alone.
#[derive(Debug, Default)]
pub struct Change {
    /// The password.
    pub password: Option<SecretString>,
    /// Its scopes as an admin.
    pub scopes: Option<Scopes>,
    /// Whether logging in is forbidden.
    pub disabled: Option<bool>,
    /// Whether its one-time codes are disabled, because their owner lost them.
    pub reset_totp: bool,
}

/// An admin who manages accounts. Nobody grants scopes that they do not have.
#[derive(Clone, Debug)]
pub struct Manager {
    /// The actor and the request.
    pub by: Origin,
    /// Their own scopes.
    pub scopes: Scopes,
}

/// Manages accounts and their sessions.
pub struct Accounts {
    store: Store,
    /// Reads accounts, with a part of the store's connections.
    reads: Store,
    sessions: Arc<ScriptGate>,
    attempts: Attempts,
    hasher: Hasher,
    config: AccountsConfig,
    /// None: there are no tokens, because nobody sends them.
    messenger: Option<Messenger>,
    /// Longest time from reading an account to opening a session of it.
    login_max: Duration,
    metrics: Metrics,
}

impl Accounts {
    /// Accounts of this store, read by `reads`, with their sessions in `sessions`, where a request may take
    /// `request_timeout`.
    pub fn new(
        (store, reads): (Store, Store),
        sessions: Arc<ScriptGate>,
        config: AccountsConfig,
        request_timeout: Duration,
    ) -> Result<Self, AccountError> {
        Ok(Self {
            messenger: None,
            attempts: Attempts::new(Arc::clone(&sessions), &config),
            hasher: Hasher::new(&config)?,
            store,
            reads,
            sessions,
            config,
            login_max: request_timeout + OPENING,
            metrics: Metrics::default(),
        })
    }

    /// The same with tokens for the owners of login names, if the configuration says where they are sent.
    pub fn with_messages(mut self, spawner: Spawner) -> Result<Self, AccountError> {
        let stores = (self.store.clone(), self.reads.clone());
        self.messenger =
            Messenger::new(&self.config, stores, spawner).map_err(AccountError::Tls)?;
        Ok(self)
    }

    fn messenger(&self) -> Result<&Messenger, AccountError> {
        self.messenger.as_ref().ok_or(AccountError::Disabled)
    }

    /// Metrics of log-ins.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Creates an account.
    pub async fn create(
        &self,
        draft: &NewAccount,
        manager: &Manager,
    ) -> Result<Account, AccountError> {
        if !manager.scopes.include(draft.scopes) {
            return Err(AccountError::ScopesExceeded);
        }
        let password_hash = self.hasher.hash(&draft.password).await?;
        insert(&self.store, draft, password_hash, manager.by.clone()).await
    }

    /// One account.
    pub async fn find(&self, id: UserId) -> Result<Account, AccountError> {
        let found = self.reads.find_account(id).await?;
        found.ok_or(AccountError::Unknown)
    }

    /// Accounts, newest first.
    pub async fn list(
        &self,
        after: Option<UserId>,
        rows_max: u64,
    ) -> Result<Vec<Account>, AccountError> {
        Ok(self.reads.accounts(after, rows_max).await?)
    }

    /// Changes an account, and ends its sessions and remembered log-ins. If nothing differs, it does nothing.
    pub async fn change(
        &self,
        id: UserId,
        change: &Change,
        manager: &Manager,
    ) -> Result<Account, AccountError> {
        // A stolen session must not be enough to take over the account.
        if change.password.is_some() && manager.by.actor == Actor::Account(id) {
            return Err(AccountError::OwnPassword);
        }
        let mut password_hash = None;
        for _ in 0..ATTEMPTS_MAX {
            let account = self.find(id).await?;
            let has = scopes_of(&account);
            let allowed = change.scopes.unwrap_or_default().and(has);
            if !manager.scopes.include(allowed) {
                return Err(AccountError::ScopesExceeded);
            }
            if let (Some(password), None) = (&change.password, &password_hash) {
                password_hash = Some(self.hasher.hash(password).await?);
            }
            let changes = store::AccountChange {
                password_hash: password_hash.clone(),
                scopes: change
                    .scopes
                    .filter(|scopes| *scopes != has)
                    .map(|scopes| scopes.words().join(" ")),
                disabled: change
                    .disabled
                    .filter(|disabled| *disabled != account.disabled),
                totp: (change.reset_totp && account.has_totp()).then_some(TotpChange::Disable),
            };
            let Some(note) = note(&account, &changes, manager.by.clone()) else {
                return Ok(account);
            };
            if let Some(changed) = self.apply(&account, &changes, note).await? {
                return Ok(changed);
            }
        }
        Err(AccountError::Busy)
    }

    /// Ends the sessions of the account, then changes it if its version is unchanged; none: it was changed meanwhile.
    async fn apply(
        &self,
        account: &Account,
        changes: &store::AccountChange,
        note: AuditNote,
    ) -> Result<Option<Account>, AccountError> {
        let (id, version) = (account.id, account.version);
        let next = version.saturating_add(1);
        let ended = self
            .sessions
            .revoke_sessions(id, next, self.login_max)
            .await?;
        if !self
            .store
            .change_account(id, version, changes, note)
            .await?
        {
            return Ok(None);
        }
        tracing::info!(
            sessions = ended,
            "an account was changed, its sessions ended"
        );
        self.find(id).await.map(Some)
    }
}

/// Creates an account on the command line, where there are no sessions.
pub async fn create_alone(
    store: &Store,
    hasher: &Hasher,
    draft: &NewAccount,
    by: Origin,
) -> Result<Account, AccountError> {
    let password_hash = hasher.hash(&draft.password).await?;
    insert(store, draft, password_hash, by).await
}

async fn insert(
    store: &Store,
    draft: &NewAccount,
    password_hash: SecretString,
    by: Origin,
) -> Result<Account, AccountError> {
    let new = store::NewAccount {
        login: draft.login.clone(),
        password_hash,
        scopes: draft.scopes.words().join(" "),
    };
    let note = AuditNote::beside(by, AuditAction::AccountCreate).to(json!({
        "login": draft.login.as_str(),
        "scopes": draft.scopes.words(),
        "disabled": false,
    }));
    let created = store.create_account(&new, note).await?;
    created.ok_or(AccountError::LoginTaken)
}

/// The scopes of an account. Words of another release are ignored.
#[must_use]
pub fn scopes_of(account: &Account) -> Scopes {
    Scopes::among(account.scopes.split_whitespace())
}

/// The entry of the audit log for a change; none: nothing changes. It does not contain the password.
fn note(account: &Account, changes: &store::AccountChange, by: Origin) -> Option<AuditNote> {
    let (mut before, mut after) = (Map::new(), Map::new());
    if let Some(scopes) = &changes.scopes {
        let words = |text: &str| json!(text.split_whitespace().collect::<Vec<_>>());
        before.insert("scopes".to_owned(), words(&account.scopes));
        after.insert("scopes".to_owned(), words(scopes));
    }
    if let Some(disabled) = changes.disabled {
        before.insert("disabled".to_owned(), account.disabled.into());
        after.insert("disabled".to_owned(), disabled.into());
    }
    if changes.password_hash.is_some() {
        after.insert("password".to_owned(), "changed".into());
    }
    if changes.totp.is_some() {
        before.insert("totp".to_owned(), account.has_totp().into());
        after.insert("totp".to_owned(), false.into());
    }
    (!after.is_empty()).then(|| {
        AuditNote::beside(by, AuditAction::AccountChange)
            .from(Value::Object(before))
            .to(Value::Object(after))
    })
}
