//! Where dead letters come from, and how each is named.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::words::words;
use super::{Consumer, EventId};

words! {
    /// The source of a dead letter. Lists are in this order, which is that of the consumers' names.
    #[derive(PartialOrd, Ord)]
    pub enum DeadLetterSource {
        /// The relay, which could not publish the event.
        Relay = "relay",
        /// A consumer, which cannot apply the record.
        Coupons = "consumer:coupons",
        /// A consumer, which cannot apply the record.
        Points = "consumer:points",
    }
}

impl DeadLetterSource {
    /// The consumer; none: it is the relay.
    #[must_use]
    pub const fn consumer(self) -> Option<Consumer> {
        match self {
            Self::Relay => None,
            Self::Coupons => Some(Consumer::Coupons),
            Self::Points => Some(Consumer::Points),
        }
    }
}

impl From<Consumer> for DeadLetterSource {
    fn from(consumer: Consumer) -> Self {
        match consumer {
            Consumer::Coupons => Self::Coupons,
            Consumer::Points => Self::Points,
        }
    }
}

/// The id of a dead letter: an event may have one of several sources. In the order of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterId {
    /// The event.
    pub event: EventId,
    /// The source.
    pub source: DeadLetterSource,
}

/// The separator between the parts of an id in text.
const PARTS: char = '.';

impl fmt::Display for DeadLetterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{PARTS}{}", self.event, self.source.as_str())
    }
}

/// A text that is not the id of a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("not the id of a dead letter")]
pub struct WrongDeadLetterId;

impl FromStr for DeadLetterId {
    type Err = WrongDeadLetterId;

    fn from_str(text: &str) -> Result<Self, WrongDeadLetterId> {
        let (event, source) = text.split_once(PARTS).ok_or(WrongDeadLetterId)?;
        let event = Uuid::try_parse(event).map_err(|_| WrongDeadLetterId)?;
        Ok(Self {
            event: EventId(event),
            source: DeadLetterSource::parse(source).ok_or(WrongDeadLetterId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let event = EventId::generate();
        for source in DeadLetterSource::ALL {
            let id = DeadLetterId { event, source };
            assert_eq!(id.to_string().parse::<DeadLetterId>().unwrap(), id);
        }
        for wrong in [
            "",
            ".",
            "x.relay",
            &event.to_string(),
            &format!("{event}.mail"),
        ] {
            assert!(wrong.parse::<DeadLetterId>().is_err(), "{wrong}");
        }
    }

    /// The database compares the names of consumers, and the list compares their sources.
    #[test]
    fn sources_are_in_the_order_of_the_consumers_names() {
        let names = DeadLetterSource::ALL.map(|source| source.consumer().map(Consumer::as_str));
        assert!(names.is_sorted() && DeadLetterSource::ALL.is_sorted());
        for consumer in Consumer::ALL {
            assert_eq!(DeadLetterSource::from(consumer).consumer(), Some(consumer));
        }
    }
}
