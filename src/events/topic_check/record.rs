//! Reads the facts that the checker needs from a record.

use serde::Deserialize;
use uuid::Uuid;

use super::Checker;
use crate::domain::{CampaignId, EventId, ParticipationId};
use crate::parts::broker::Consumed;

/// A record of a change of a participation.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRecord<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: &'a str,
    /// `ce_id`
    pub event: EventId,
    /// `ce_subject`
    pub participation: ParticipationId,
    /// `ce_keysequence`, from 1.
    pub sequence: u32,
    /// `ce_sequence`: its number in the campaign's stream, from 1.
    pub position: u64,
    /// `ce_rank`
    pub rank: u64,
    /// `campaignId` in its value.
    pub campaign: CampaignId,
}

impl<'a> ChangeRecord<'a> {
    /// Reads a record. The error says why the relay cannot have written it.
    pub fn of(record: &'a Consumed<'_>) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Change {
            campaign_id: i64,
        }
        let uuid = |name| Uuid::try_parse(record.header(name).unwrap_or_default());
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
        let sequence = record.header("ce_keysequence").unwrap_or_default().parse();
        let position = record.header("ce_sequence").unwrap_or_default().parse();
        let rank = record.header("ce_rank").unwrap_or_default().parse();
        let change = serde_json::from_slice::<Change>(record.payload.unwrap_or_default());
        Ok(Self {
            partition: record.partition,
            offset: record.offset,
            key: key.ok_or("no text key")?,
            event: uuid("ce_id").map(EventId).map_err(|_| "no ce_id")?,
            participation: uuid("ce_subject")
                .map(ParticipationId)
                .map_err(|_| "no ce_subject")?,
            sequence: sequence
                .ok()
                .filter(|sequence| *sequence > 0)
                .ok_or("no ce_keysequence")?,
            position: position.map_err(|_| "no ce_sequence")?,
            rank: rank.map_err(|_| "no ce_rank")?,
            campaign: CampaignId(
                change
                    .map_err(|_| "no campaignId in its value")?
                    .campaign_id,
            ),
        })
    }

    /// Whether the key is the id of the participation. Decided by the record, because the setting may have changed
    /// since it was written.
    pub(super) fn is_keyed_by_participation(&self) -> bool {
        Uuid::try_parse(self.key).is_ok_and(|key| key == self.participation.0)
    }
}

/// Adds a record of a topic to the checker.
pub fn feed(checker: &mut Checker, record: &Consumed<'_>) {
    match ChangeRecord::of(record) {
        Ok(change) => checker.add(&change),
        Err(problem) => checker.add_unreadable(record.partition, record.offset, problem),
    }
}
