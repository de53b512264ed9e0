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

    /// The next field, as a word of that many counts with `:` between them.
    pub(super) fn counts<const N: usize>(&mut self) -> Result<[u64; N], GateError> {
        let text = self.text()?;
        let mut counts = [0; N];
        let mut words = text.split(':');
        for count in &mut counts {
            let word = words.next().and_then(|word| word.parse().ok());
            *count = word.ok_or_else(|| not_counts(N, &text))?;
        }
        match words.next() {
            None => Ok(counts),
            Some(_) => Err(not_counts(N, &text)),
        }
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

/// The time of microseconds since the Unix epoch.
pub(super) fn instant(micros: u64) -> Result<Timestamp, GateError> {
    i64::try_from(micros)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(|| GateError::Protocol(format!("{micros} is not a time")))
}

fn not_counts(wanted: usize, got: &str) -> GateError {
    GateError::Protocol(format!("expected {wanted} counts, got {got:?}"))
}

fn unexpected(wanted: &str, got: &Reply) -> GateError {
    GateError::Protocol(format!("expected {wanted}, got {got:?}"))
}

/// The error for a code that is not in the contract of the scripts.
pub(super) fn unknown(code: &str) -> GateError {
    GateError::Protocol(format!("unknown code {code:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(text.to_owned())
    }

    #[test]
    fn counts_beyond_lua_integers_are_words() {
        for (reply, count) in [
            (Reply::Integer(7), Some(7)),
            (text("9007199254740993"), Some(9_007_199_254_740_993)),
            (Reply::Integer(-1), None),
            (text("seven"), None),
            (Reply::List(Vec::new()), None),
        ] {
            assert_eq!(reply.clone().count().ok(), count, "{reply:?}");
        }
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error() {
        assert!(Reply::Integer(7).text().is_err());
        assert!(Reply::List(Vec::new()).text().is_err());
        assert!(text("word").list().is_err());
        assert!(Reply::Integer(7).fields().is_err());
    }

    #[test]
    fn fields_are_read_in_order_until_none_is_left() {
        let list = [text("word"), Reply::Integer(3), text(""), text("4")];
        let mut fields = Reply::List(list.to_vec()).fields().unwrap();
        assert_eq!(fields.left(), 4);
        assert_eq!(fields.text().unwrap(), "word");
        assert_eq!(fields.count32().unwrap(), 3);
        assert_eq!(fields.optional_count().unwrap(), None);
        assert_eq!(fields.left(), 1);
        assert_eq!(fields.last_count().unwrap(), Some(4));
        assert_eq!(fields.last_count().unwrap(), None);
        assert_eq!(fields.left(), 0);
        assert!(fields.count().is_err());
    }

    #[test]
    fn counts_in_one_word_are_as_many_as_expected() {
        let read = |word: &str| {
            let list = Reply::List(vec![text(word)]);
            list.fields().unwrap().counts::<2>()
        };
        assert_eq!(
            read("7:9007199254740993").unwrap(),
            [7, 9_007_199_254_740_993]
        );
        for word in ["", "7", "7:", "7:8:9", "7:-8", "7:x"] {
            assert!(read(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_count_of_32_bits_is_not_cut() {
        for (count, fits) in [(u64::from(u32::MAX), true), (1 << 32, false)] {
            let list = Reply::List(vec![text(&count.to_string())]);
            let read = list.fields().unwrap().count32();
            assert_eq!(read.ok().map(u64::from), fits.then_some(count));
        }
    }

    #[test]
    fn a_time_is_in_microseconds_and_only_an_optional_one_may_be_empty() {
        let noon: Timestamp = "2026-11-24T12:00:00.000001Z".parse().unwrap();
        let micros = noon.timestamp_micros().to_string();
        let fields = |word: &str| Reply::List(vec![text(word)]).fields().unwrap();
        assert_eq!(fields(&micros).instant().unwrap(), noon);
        assert_eq!(fields(&micros).optional_instant().unwrap(), Some(noon));
        assert_eq!(fields("").optional_instant().unwrap(), None);
        assert!(fields("").instant().is_err());
        assert!(fields("noon").optional_instant().is_err());
    }
}
