//! Sessions beside the gate, shared by all replicas. They know no campaigns. Only digests of secrets are stored, so
//! nothing here can be used to log in.
//!
//! All keys of an account are on one node of a Redis Cluster (`{account:ID}`), so each step is atomic, and one step ends
//! all of its sessions.

use std::time::Duration;

use super::GateError;
use super::digest::Digest;
use super::reply::{Fields, unknown};
use super::script::Script;
use super::script_gate::ScriptGate;
use crate::domain::{Timestamp, UserId};

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without requests.
    pub idle: Duration,
    /// In total.
    pub longest: Duration,
}

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The session.
    pub session: Digest,
    /// The address of the log-in.
    pub address: Option<String>,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// The scopes of its account, separated by spaces.
    pub scopes: &'a str,
    /// The version of the account that was read.
    pub version: u64,
    /// Maximum number of sessions of one account; a new one replaces the one that would end next.
    pub sessions_max: u32,
    /// The remembered log-in, if it is remembered.
    pub series: Option<Series>,
}

/// Consecutive log-ins after one log-in with a password: each uses the token that the previous one received.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// The series.
    pub series: Digest,
    /// The presented token; none: the series begins.
    pub shown: Option<Digest>,
    /// The token that replaces it.
    pub next: Digest,
    /// Its duration from the beginning.
    pub lasts: Duration,
    /// Maximum number of series of one account; a new one replaces the one that would end next.
    pub series_max: u32,
    /// How long the previous token does not count as stolen: two windows of a browser may have sent it at once.
    pub grace: Duration,
}

/// The result of opening a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Session {
        /// When it ends at the latest.
        ends_at: Timestamp,
        /// When its series ends at the latest.
        series_ends_at: Option<Timestamp>,
    },
    /// The account has changed, or is about to: read it again.
    Stale,
    /// There is no such series, or it has ended.
    Unknown,
    /// The token was used a moment ago; another client has the next one.
    JustUsed,
    /// The token was already replaced, so it was copied. The series and these sessions ended.
    Stolen {
        /// Sessions that ended.
        sessions: u64,
    },
}

/// The state of a token of a series, known before its account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesToken {
    /// It is the latest token of the series.
    Current,
    /// The series has another token: this one was used before, or never issued.
    Replaced,
    /// There is no such series, or it has ended.
    Unknown,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    /// The scopes of its account, as they were stored.
    pub scopes: String,
}

/// A session or a remembered log-in of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// A session.
    Session(Digest),
    /// A series of remembered log-ins.
    Series(Digest),
}

impl Login {
    /// Its digest.
    #[must_use]
    pub const fn digest(self) -> Digest {
        match self {
            Self::Session(digest) | Self::Series(digest) => digest,
        }
    }
}

/// A login as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its identity.
    pub login: Login,
    /// When it began; of a series that is not known.
    pub opened_at: Option<Timestamp>,
    /// When it was last used. For a session this may be late by a sixteenth of the idle time.
    pub used_at: Timestamp,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    /// The address of the log-in.
    pub address: Option<String>,
}

/// Fields in the reply for each login.
const LISTED_FIELDS: usize = 6;

fn listed(fields: &mut Fields) -> Result<Listed, GateError> {
    let kind = fields.text()?;
    let text = fields.text()?;
    let digest = Digest::parse(&text).ok_or_else(|| unknown(&text))?;
    Ok(Listed {
        login: match kind.as_str() {
            "SESSION" => Login::Session(digest),
            "SERIES" => Login::Series(digest),
            code => return Err(unknown(code)),
        },
        opened_at: fields.optional_instant()?,
        used_at: fields.instant()?,
        ends_at: fields.instant()?,
        address: Some(fields.text()?).filter(|address| address != "-"),
    })
}

impl ScriptGate {
    /// Opens a session. In one atomic step, by the clock of the engine.
    pub async fn open_session(
        &self,
        account: UserId,
        opening: Opening<'_>,
    ) -> Result<Opened, GateError> {
        let keys = self.session_keys(account);
        let mut args = vec![
            opening.session.to_string(),
            micros(opening.lifetime.idle),
            micros(opening.lifetime.longest),
            opening.scopes.to_owned(),
            opening.version.to_string(),
            opening.sessions_max.to_string(),
        ];
        match opening.series {
            Some(series) => args.extend([
                series.series.to_string(),
                series
                    .shown
                    .map_or_else(String::new, |shown| shown.to_string()),
                series.next.to_string(),
                micros(series.lasts),
                series.series_max.to_string(),
                micros(series.grace),
            ]),
            None => args.extend(["", "", "", "0", "1", "0"].map(str::to_owned)),
        }
        args.push(opening.address.unwrap_or_else(|| "-".to_owned()));
        let reply = self.run(Script::SessionOpen, &keys, &args).await?;
        let mut fields = reply.fields()?;
        match fields.text()?.as_str() {
            "OPENED" => Ok(Opened::Session {
                ends_at: fields.instant()?,
                series_ends_at: fields.optional_instant()?,
            }),
            "STALE" => Ok(Opened::Stale),
            "UNKNOWN" => Ok(Opened::Unknown),
            "JUST_USED" => Ok(Opened::JustUsed),
            "STOLEN" => Ok(Opened::Stolen {
                sessions: fields.count()?,
            }),
            code => Err(unknown(code)),
        }
    }

    /// Finds a session that has not ended, and restarts its idle time.
    pub async fn find_session(
        &self,
        account: UserId,
        session: Digest,
        idle: Duration,
    ) -> Result<Option<OpenSession>, GateError> {
        let [sessions, ..] = self.session_keys(account);
        let args = [session.to_string(), micros(idle)];
        let reply = self.run(Script::SessionFind, &[sessions], &args).await?;
        let mut fields = reply.fields()?;
        match fields.text()?.as_str() {
            "FOUND" => Ok(Some(OpenSession {
                ends_at: fields.instant()?,
                scopes: fields.text()?,
            })),
            "NONE" => Ok(None),
            code => Err(unknown(code)),
        }
    }

    /// Whether a series exists, and whether this is its latest token. It changes nothing.
    pub async fn find_series(
        &self,
        account: UserId,
        series: Digest,
        shown: Digest,
    ) -> Result<SeriesToken, GateError> {
        let [_, remembered, _] = self.session_keys(account);
        let args = [series.to_string(), shown.to_string()];
        let reply = self.run(Script::SeriesFind, &[remembered], &args).await?;
        match reply.fields()?.text()?.as_str() {
            "CURRENT" => Ok(SeriesToken::Current),
            "REPLACED" => Ok(SeriesToken::Replaced),
            "NONE" => Ok(SeriesToken::Unknown),
            code => Err(unknown(code)),
        }
    }

    /// Ends a session, a series, or both. Returns how many existed.
    pub async fn end_session(
        &self,
        account: UserId,
        session: Option<Digest>,
        series: Option<Digest>,
    ) -> Result<u64, GateError> {
        let [sessions, remembered, _] = self.session_keys(account);
        let args = [session, series]
            .map(|digest| digest.map_or_else(String::new, |digest| digest.to_string()));
        let keys = [sessions, remembered];
        self.run(Script::SessionEnd, &keys, &args).await?.count()
    }

    /// The sessions and series of an account, for sessions with this idle time.
    pub async fn list_sessions(
        &self,
        account: UserId,
        idle: Duration,
    ) -> Result<Vec<Listed>, GateError> {
        let [sessions, remembered, _] = self.session_keys(account);
        let keys = [sessions, remembered];
        let reply = self
            .run(Script::SessionList, &keys, &[micros(idle)])
            .await?;
        let mut fields = reply.fields()?;
        let count = fields.left() / LISTED_FIELDS;
        (0..count).map(|_| listed(&mut fields)).collect()
    }

    /// Ends all sessions and series of an account that is about to have this version. Returns the number of sessions.
    /// For `readers_take`, callers with an older version of the account cannot open a session.
    pub async fn revoke_sessions(
        &self,
        account: UserId,
        version: u64,
        readers_take: Duration,
    ) -> Result<u64, GateError> {
        let keys = self.session_keys(account);
        let args = [version.to_string(), readers_take.as_millis().to_string()];
        self.run(Script::SessionRevoke, &keys, &args).await?.count()
    }

    fn session_keys(&self, account: UserId) -> [String; 3] {
        ["sessions", "series", "floor"].map(|name| self.account_key(account, name))
    }
}

fn micros(time: Duration) -> String {
    time.as_micros().to_string()
}
