//! Sessions beside the gate: who is logged in, where all replicas see it. They know nothing of campaigns, and
//! nothing here can be used to log in: of every secret only its digest comes this far.
//!
//! All of an account is on one node of a Redis Cluster (`{account:ID}`), so that each step is atomic, and
//! all of its sessions end in one.

use std::time::Duration;

use super::GateError;
use super::digest::Digest;
use super::reply::{Fields, unknown};
use super::script::Script;
use super::script_gate::ScriptGate;
use crate::domain::{Instant, UserId};

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without being asked for.
    pub idle: Duration,
    /// At all.
    pub longest: Duration,
}

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The session.
    pub session: Digest,
    /// Where its owner logged in from.
    pub address: Option<String>,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What its account may do, as words with spaces between them.
    pub scopes: &'a str,
    /// The version of the account that was read.
    pub version: u64,
    /// Sessions of one account; the one that would be over next makes room.
    pub sessions_max: u32,
    /// Whether, and how, it is remembered who logged in.
    pub series: Option<Series>,
}

/// Log-ins that follow from one with a password, each by a token that the one before it was given.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// The series.
    pub series: Digest,
    /// The token that was given last; none: it begins.
    pub shown: Option<Digest>,
    /// The token that takes its place.
    pub next: Digest,
    /// How long it lasts from its beginning.
    pub lasts: Duration,
    /// Series of one account; the one that would be over next makes room.
    pub series_max: u32,
    /// For so long the token before the last one is not taken for a stolen one: two windows of a browser
    /// may have shown it at once.
    pub grace: Duration,
}

/// What came of opening a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Session {
        /// When it ends at the latest.
        ends_at: Instant,
        /// When its series does.
        series_ends_at: Option<Instant>,
    },
    /// The account has changed, or is about to: read it again.
    Stale,
    /// There is no such series, or it is over.
    Unknown,
    /// The token was used a moment ago: whoever did has the next one.
    JustUsed,
    /// The token had been replaced before, so somebody has a copy. The series and so many sessions ended.
    Stolen {
        /// Sessions that ended.
        sessions: u64,
    },
}

/// What is known of a token of a series before its account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesToken {
    /// The series gave it last.
    Current,
    /// The series goes on, by another token: this one was used before, or was never given.
    Replaced,
    /// There is no such series, or it is over.
    Unknown,
}

/// A session that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it ends at the latest.
    pub ends_at: Instant,
    /// What its account may do, as it was written.
    pub scopes: String,
}

/// Something that an account is logged in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// A session.
    Session(Digest),
    /// A series of remembered log-ins.
    Series(Digest),
}

impl Login {
    /// What it is kept by.
    #[must_use]
    pub const fn digest(self) -> Digest {
        match self {
            Self::Session(digest) | Self::Series(digest) => digest,
        }
    }
}

/// One of those, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub login: Login,
    /// When it began; of a series that is not known.
    pub opened_at: Option<Instant>,
    /// When it was used last; of a session to within a sixteenth of the time it may be idle.
    pub used_at: Instant,
    /// When it ends at the latest.
    pub ends_at: Instant,
    /// Where its owner logged in from.
    pub address: Option<String>,
}

/// Fields that the script answers for each.
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

    /// Finds a session that is not over; from now on it is idle again.
    pub async fn find_session(
        &self,
        account: UserId,
        session: Digest,
        idle: Duration,
    ) -> Result<Option<Found>, GateError> {
        let [sessions, ..] = self.session_keys(account);
        let args = [session.to_string(), micros(idle)];
        let reply = self.run(Script::SessionFind, &[sessions], &args).await?;
        let mut fields = reply.fields()?;
        match fields.text()?.as_str() {
            "FOUND" => Ok(Some(Found {
                ends_at: fields.instant()?,
                scopes: fields.text()?,
            })),
            "NONE" => Ok(None),
            code => Err(unknown(code)),
        }
    }

    /// Looks up a series, and whether it gave this token last. Nothing changes by that.
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

    /// Ends a session, a series, or both: how many there were.
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

    /// What an account is logged in by, where a session may be idle for so long.
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

    /// Ends all sessions and series of an account that is about to have this version, and opens none for
    /// who has read an older one, for as long as they may take: how many sessions there were.
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
