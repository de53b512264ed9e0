//! Parses replies of scripts, from any engine. It knows no script.

use chrono::DateTime;

use super::GateError;
use crate::domain::{ParticipationId, Timestamp};

/// The shapes of replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A whole number.
    Integer(i64),
    /// A word, an id, or a number too large for a Lua integer.
    Text(String),
    /// A list.
    List(Vec<Reply>),
}

impl Reply {
    /// A list, or a protocol error.
    pub(super) fn list(self) -> Result<Vec<Reply>, GateError> {
        match self {
            Self::List(items) => Ok(items),
            other => Err(unexpected("a list", &other)),
        }
    }

    /// A list whose fields are read one after the other.
    pub(super) fn fields(self) -> Result<Fields, GateError> {
        Ok(Fields(self.list()?.into_iter()))
    }

    /// A word, or a protocol error.
    pub(super) fn text(self) -> Result<String, GateError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(unexpected("a word", &other)),
        }
    }

    /// A count, or a protocol error.
    pub(super) fn count(self) -> Result<u64, GateError> {
        match &self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Text(text) => text.parse().ok(),
            Self::List(_) => None,
        }
        .ok_or_else(|| unexpected("a count", &self))
    }
}

/// The fields of one list, in order.
pub(super) struct Fields(std::vec::IntoIter<Reply>);

impl Fields {
    /// The number of remaining fields.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// The next field, as a word.
    pub(super) fn text(&mut self) -> Result<String, GateError> {
        self.next()?.text()
    }

    /// The next field, as a count.
    pub(super) fn count(&mut self) -> Result<u64, GateError> {
        self.next()?.count()
    }

    /// The next field, as a count of 32 bits.
    pub(super) fn count32(&mut self) -> Result<u32, GateError> {
        let count = self.count()?;
        u32::try_from(count).map_err(|_| GateError::Protocol(format!("{count} is too large")))
    }

    /// The next field, as a count that may be the empty word.
    pub(super) fn optional_count(&mut self) -> Result<Option<u64>, GateError> {
        match self.next()? {
            Reply::Text(text) if text.is_empty() => Ok(None),
            field => field.count().map(Some),
        }
    }

    /// The next field, as a count; none: there are no more fields.
    pub(super) fn last_count(&mut self) -> Result<Option<u64>, GateError> {
        self.0.next().map(Reply::count).transpose()
    }

    /// The next field, as microseconds since the Unix epoch.
    pub(super) fn instant(&mut self) -> Result<Timestamp, GateError> {
        self.optional_instant()?
            .ok_or_else(|| GateError::Protocol("a time is missing".to_owned()))
    }

    /// The next field, as microseconds since the Unix epoch, that may be the empty word.
    pub(super) fn optional_instant(&mut self) -> Result<Option<Timestamp>, GateError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .ok()
            .and_then(DateTime::from_timestamp_micros)
            .map(Some)
            .ok_or_else(|| GateError::Protocol(format!("{text:?} is not a time")))
    }

    /// The next field, as a participation.
    pub(super) fn participation(&mut self) -> Result<ParticipationId, GateError> {
        let text = self.text()?;
        text.parse()
            .map(ParticipationId)
            .map_err(|_| GateError::Protocol(format!("{text:?} is not a participation")))
    }

    fn next(&mut self) -> Result<Reply, GateError> {
        self.0
            .next()
            .ok_or_else(|| GateError::Protocol("the answer is too short".to_owned()))
    }
}

fn unexpected(wanted: &str, got: &Reply) -> GateError {
    GateError::Protocol(format!("expected {wanted}, got {got:?}"))
}

/// The error for a code that is not in the contract of the scripts.
pub(super) fn unknown(code: &str) -> GateError {
    GateError::Protocol(format!("unknown code {code:?}"))
}
