//! What the checker wants to know of a record, and how it is read from one.

use serde::Deserialize;
use uuid::Uuid;

use super::Checker;
use crate::domain::{CampaignId, EventId, ParticipationId};
use crate::parts::broker::Consumed;

/// A record of a change of a participation.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Partition it lies in.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// Key.
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
    /// `campaignId` of the value.
    pub campaign: CampaignId,
}

impl<'a> Sighting<'a> {
    /// Reads a record; what is wrong with it, where it is none of ours.
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
            key: key.ok_or("no key that is text")?,
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

    /// Whether the key says no more than the participation: told by the record, because the setting
    /// may have been another one when it was written.
    pub(super) fn is_keyed_by_participation(&self) -> bool {
        Uuid::try_parse(self.key).is_ok_and(|key| key == self.participation.0)
    }
}

/// Shows a record to the checker, as it comes from a topic.
pub fn feed(checker: &mut Checker, record: &Consumed<'_>) {
    match Sighting::of(record) {
        Ok(sighting) => checker.see(&sighting),
        Err(what) => checker.see_unreadable(record.partition, record.offset, what),
    }
}
