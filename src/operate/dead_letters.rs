//! Dead letters of the relay and of the consumers as one list. Both kinds of rows are in the database of the events.

use crate::domain::{CampaignId, DeadLetterId, DeadLetterSource, EventId, Origin, Timestamp};
use crate::parts::store::{ConsumerLetter, DeadLetter, DeadLetterFilter, Store, StoreError};

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its id.
    pub id: DeadLetterId,
    /// The campaign; none: the record names none.
    pub campaign: Option<CampaignId>,
    /// Key of the record; bytes that are not text are replaced.
    pub key: String,
    /// `ce_type` of the record.
    pub event_type: String,
    /// Value of the record; bytes that are not text are replaced.
    pub payload: String,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure.
    pub error_class: String,
    /// The last failure.
    pub error: String,
    /// When it became a dead letter.
    pub parked_at: Timestamp,
    /// When its copy reached the dead letter topic.
    pub copied_at: Option<Timestamp>,
}

/// An action on dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterAction {
    /// The relay publishes its dead letters again, and a consumer applies its own again.
    Replay,
    /// They are discarded; their rows stay as a record.
    Discard,
}

/// Dead letters in order of event and source, at most `rows_max`.
pub async fn list(
    store: &Store,
    filter: &DeadLetterFilter,
    rows_max: u32,
) -> Result<Vec<Letter>, StoreError> {
    let mut found = Vec::new();
    if filter
        .source
        .is_none_or(|source| source == DeadLetterSource::Relay)
    {
        let of_relay = store.dead_letters(filter, rows_max).await?;
        found.extend(of_relay.into_iter().map(Letter::from));
    }
    if filter.source != Some(DeadLetterSource::Relay) {
        let of_consumers = store.consumer_letters(filter, rows_max).await?;
        found.extend(of_consumers.into_iter().map(Letter::from));
    }
    found.sort_by_key(|letter| letter.id);
    found.truncate(usize::try_from(rows_max).unwrap_or(usize::MAX));
    Ok(found)
}

/// One dead letter; if an event has several, the first one.
pub async fn one(
    store: &Store,
    event: EventId,
    source: Option<DeadLetterSource>,
) -> Result<Option<Letter>, StoreError> {
    let filter = DeadLetterFilter {
        source,
        event: Some(event),
        ..DeadLetterFilter::default()
    };
    Ok(list(store, &filter, 1).await?.pop())
}

/// Replays or discards dead letters. Returns their number. The caller's batch bounds the rate.
pub async fn carry_out(
    store: &Store,
    action: LetterAction,
    letters: &[DeadLetterId],
    by: Option<&Origin>,
) -> Result<u64, StoreError> {
    let mut changed = 0;
    for source in DeadLetterSource::ALL {
        let of_source = letters.iter().filter(|letter| letter.source == source);
        let events: Vec<EventId> = of_source.map(|letter| letter.event).collect();
        if events.is_empty() {
            continue;
        }
        changed += match (action, source.consumer()) {
            (LetterAction::Replay, None) => store.replay_dead_letters(&events, by).await?,
            (LetterAction::Discard, None) => store.discard_dead_letters(&events, by).await?,
            (LetterAction::Replay, Some(consumer)) => {
                store.replay_consumer_letters(consumer, &events, by).await?
            }
            (LetterAction::Discard, Some(consumer)) => {
                store
                    .discard_consumer_letters(consumer, &events, by)
                    .await?
            }
        };
    }
    Ok(changed)
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: DeadLetterId {
                event: letter.event_id,
                source: DeadLetterSource::Relay,
            },
            campaign: Some(letter.campaign_id),
            key: letter.key,
            event_type: letter.event_type,
            payload: letter.payload,
            attempts: letter.attempts,
            error_class: letter.error_class,
            error: letter.error,
            parked_at: letter.parked_at,
            copied_at: letter.copied_at,
        }
    }
}

impl From<ConsumerLetter> for Letter {
    fn from(letter: ConsumerLetter) -> Self {
        let text = |bytes: Option<Vec<u8>>| {
            let bytes = bytes.unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self {
            id: letter.id,
            campaign: letter.campaign,
            key: text(letter.key),
            event_type: letter.event_type,
            payload: text(letter.payload),
            attempts: letter.attempts,
            error_class: letter.error_class,
            error: letter.error,
            parked_at: letter.parked_at,
            copied_at: letter.copied_at,
        }
    }
}
