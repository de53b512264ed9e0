//! Log-in, sessions, remembered log-ins, and log-out.

use std::net::IpAddr;

use secrecy::SecretString;

use super::credentials::CodeCheck;
use super::password::PasswordCheck;
use super::totp::{RecoveryCodes, TotpSecret};
use super::{
    Account, AccountError, Accounts, CodeUsed, Credentials, LoginSuccess, RememberMe,
    RememberToken, Remembered, Session, SessionToken, TotpState, scopes_of,
};
use crate::access::identity::Scopes;
use crate::domain::LoginName;
use crate::parts::gate::{GateError, LoginEnd, Opened, Opening, Series, SeriesToken};
use crate::runtime::telemetry::cause;

impl Accounts {
    /// Logs a user in. A missing account, a wrong password and a disabled account get the same answer after the same work.
    /// A one-time code is checked only after a correct password.
    pub async fn log_in(
        &self,
        shown: &Credentials<'_>,
        stay: RememberMe,
    ) -> Result<LoginSuccess, AccountError> {
        let outcome = match self.checked(shown, CodeCheck::WhereEnabled).await {
            Ok((account, code)) => {
                let token = match stay {
                    RememberMe::No => None,
                    RememberMe::Yes => Some(RememberToken::generate(account.id)),
                };
                let entered = self.open(account, shown.address, None, token).await;
                entered.map(|entered| LoginSuccess { code, ..entered })
            }
            Err(error) => Err(error),
        };
        self.metrics.logged_in(&outcome);
        outcome
    }

    /// The account of these credentials, if password and code are correct. A wrong password or code is counted and delays
    /// the next log-in; a missing code is not counted, and does not make the address known.
    pub(super) async fn checked(
        &self,
        shown: &Credentials<'_>,
        check: CodeCheck,
    ) -> Result<(Account, CodeUsed), AccountError> {
        let attempt = self.attempts.begin(shown.login, shown.address).await?;
        let outcome = async {
            let account = self.verified(shown.login, shown.password).await?;
            let code = match check {
                CodeCheck::WhereEnabled => self.accept_code(&account, shown.code).await?,
                CodeCheck::Omitted => CodeUsed::None,
            };
            Ok::<_, AccountError>((account, code))
        };
        let outcome = outcome.await;
        match (&outcome, check) {
            (Ok((account, _)), CodeCheck::Omitted) if account.has_totp() => {
                attempt.end(LoginEnd::Undecided).await;
            }
            (Ok(_), _) => attempt.end(LoginEnd::Right).await,
            (Err(AccountError::Refused(_) | AccountError::CodeRefused(_)), _) => {}
            (Err(_), _) => attempt.end(LoginEnd::Undecided).await,
        }
        outcome
    }

    /// Accepts the code of an account that has one-time codes enabled, once: the store decides, for all replicas.
    async fn accept_code(
        &self,
        account: &Account,
        code: Option<&str>,
    ) -> Result<CodeUsed, AccountError> {
        let Some(totp) = account.totp.as_ref().filter(|totp| totp.enabled) else {
            return Ok(CodeUsed::None);
        };
        let code = code.ok_or(AccountError::CodeRequired)?;
        let refused = AccountError::CodeRefused(account.id);
        if let Some(digest) = RecoveryCodes::digest(code) {
            let accepted = self.store.accept_recovery_code(account.id, &digest);
            return accepted.await?.then_some(CodeUsed::Recovery).ok_or(refused);
        }
        let secret = TotpSecret::stored(totp.secret.clone());
        let now = self.store.clock().now();
        let Some(step) = secret.step_of(code, now)? else {
            return Err(refused);
        };
        let accepted = self
            .store
            .accept_totp_step(account.id, &totp.secret, step)
            .await?;
        accepted.then_some(CodeUsed::Totp).ok_or(refused)
    }

    /// Whether log-ins of an account need one-time codes.
    #[must_use]
    pub fn totp_state(&self, account: &Account) -> TotpState {
        let is_required = self.config.totp_required && !scopes_of(account).is_empty();
        match (account.has_totp(), is_required) {
            (true, _) => TotpState::Enabled,
            (false, true) => TotpState::Required,
            (false, false) => TotpState::Disabled,
        }
    }

    /// Resumes a remembered log-in. Its token is valid once, and is replaced.
    pub async fn resume(
        &self,
        shown: &RememberToken,
        address: Option<IpAddr>,
    ) -> Result<LoginSuccess, AccountError> {
        let outcome = self.resumed(shown, address).await;
        if let Err(AccountError::Stolen) = &outcome {
            tracing::warn!(
                "the token of a remembered log-in was used twice: its series and all sessions of its account ended"
            );
        }
        self.metrics.resumed(&outcome);
        outcome
    }

    /// The token is checked before the account is read, because invented tokens must not load the database. A token that is
    /// not the latest of its series counts as a failure of its address. A valid token is not delayed by failures.
    async fn resumed(
        &self,
        shown: &RememberToken,
        address: Option<IpAddr>,
    ) -> Result<LoginSuccess, AccountError> {
        let (user, series) = (shown.account(), shown.series());
        let found = self.sessions.find_series(user, series, shown.digest());
        let found = found.await?;
        if found != SeriesToken::Current {
            self.attempts.fail_from(address).await?;
        }
        if found == SeriesToken::Unknown {
            return Err(AccountError::NotRemembered);
        }
        match self.find(user).await {
            Ok(account) if !account.disabled => {
                self.open(account, address, Some(shown), Some(shown.next()))
                    .await
            }
            Ok(_) | Err(AccountError::Unknown) => Err(AccountError::NotRemembered),
            Err(error) => Err(error),
        }
    }

    /// The session of this token; none: it has ended, or never existed.
    pub async fn session(&self, token: &SessionToken) -> Result<Option<Session>, GateError> {
        let user = token.account();
        let idle = self.config.session_idle;
        let found = self.sessions.find_session(user, token.digest(), idle);
        let found = found.await?;
        Ok(found.map(|found| Session {
            user,
            scopes: Scopes::among(found.scopes.split_whitespace()),
            ends_at: found.ends_at,
        }))
    }

    /// Ends a session, and the series of a remembered log-in, if they exist.
    pub async fn log_out(
        &self,
        session: Option<&SessionToken>,
        remembered: Option<&RememberToken>,
    ) -> Result<(), GateError> {
        if let Some(session) = session {
            let digest = Some(session.digest());
            let ended = self.sessions.end_session(session.account(), digest, None);
            ended.await?;
        }
        if let Some(remembered) = remembered {
            let series = Some(remembered.series());
            let ended = self
                .sessions
                .end_session(remembered.account(), None, series);
            ended.await?;
        }
        Ok(())
    }

    async fn verified(
        &self,
        login: &str,
        password: &SecretString,
    ) -> Result<Account, AccountError> {
        let found = match LoginName::parse(login) {
            Some(login) => self.reads.account_by_login(&login).await?,
            None => None,
        };
        let stored = found.as_ref().map(|account| &account.password_hash);
        let verdict = self.hasher.verify(password, stored).await?;
        match (found, verdict) {
            (Some(account), PasswordCheck::Right) if !account.disabled => Ok(account),
            (Some(account), PasswordCheck::Outdated) if !account.disabled => {
                self.rehash(&account, password).await;
                Ok(account)
            }
            (found, _) => Err(AccountError::Refused(found.map(|account| account.id))),
        }
    }

    /// Hashes the password with the current configuration. If that fails, the next log-in repeats it.
    async fn rehash(&self, account: &Account, password: &SecretString) {
        let rehashed = async {
            let hash = self.hasher.hash(password).await?;
            let old = &account.password_hash;
            Ok::<_, AccountError>(self.store.rehash_account(account.id, old, &hash).await?)
        };
        if let Err(error) = rehashed.await {
            tracing::warn!(
                error = cause(&error),
                "cannot update the hash of a password"
            );
        }
    }

    pub(super) async fn open(
        &self,
        account: Account,
        address: Option<IpAddr>,
        shown: Option<&RememberToken>,
        next: Option<RememberToken>,
    ) -> Result<LoginSuccess, AccountError> {
        let token = SessionToken::generate(account.id);
        let config = &self.config;
        let totp = self.totp_state(&account);
        let granted = match totp {
            TotpState::Required => Scopes::default(),
            TotpState::Disabled | TotpState::Enabled => scopes_of(&account),
        };
        let scopes = granted.words().join(" ");
        let opening = Opening {
            session: token.digest(),
            address: address.map(|address| address.to_string()),
            lifetime: config.lifetime(),
            scopes: &scopes,
            version: account.version,
            sessions_max: config.sessions_per_account_max,
            series: next.as_ref().map(|next| Series {
                series: next.series(),
                shown: shown.map(RememberToken::digest),
                next: next.digest(),
                lasts: config.remember_max,
                series_max: config.sessions_per_account_max,
                grace: config.remember_grace,
            }),
        };
        let opened = self.sessions.open_session(account.id, opening);
        match opened.await? {
            Opened::Session {
                ends_at,
                series_ends_at,
            } => Ok(LoginSuccess {
                account,
                token,
                ends_at,
                remembered: next
                    .zip(series_ends_at)
                    .map(|(token, ends_at)| Remembered { token, ends_at }),
                scopes: granted,
                totp,
                code: CodeUsed::None,
            }),
            Opened::Stale => Err(AccountError::Busy),
            Opened::Unknown => Err(AccountError::NotRemembered),
            Opened::JustUsed => Err(AccountError::JustUsed),
            Opened::Stolen { .. } => Err(AccountError::Stolen),
        }
    }
}
