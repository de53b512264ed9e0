//! The latest change of each participation in a topic. After a restore of an older state of the database, it tells
//! which participations the database has lost, or has in an earlier status. Takes about 300 bytes for each
//! participation.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::{CampaignId, ParticipationId, Status, Timestamp, UserId};
use crate::parts::broker::Consumed;

/// The value of a record, and the number of its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestChange {
    /// The campaign.
    pub campaign: CampaignId,
    /// The user.
    pub user: UserId,
    /// The rank.
    pub rank: u64,
    /// The units.
    pub quantity: u32,
    /// The status after the change.
    pub status: Status,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The number of the change, from 1.
    pub change: u32,
}

/// The latest changes in the records read so far.
#[derive(Clone, Debug, Default)]
pub struct LatestChanges {
    /// By participation.
    pub changes: HashMap<ParticipationId, LatestChange>,
    /// Records that the relay did not write.
    pub unreadable: u64,
}

impl LatestChanges {
    /// Adds a record of the topic of participations.
    pub fn feed(&mut self, record: &Consumed<'_>) {
        let Some((participation, change)) = read(record) else {
            self.unreadable += 1;
            return;
        };
        let latest = self.changes.entry(participation).or_insert(change);
        if change.change > latest.change {
            *latest = change;
        }
    }

    /// The participations whose latest change the database does not have, in order of campaign and rank. `known` has
    /// the number of changes and the status of each participation in the database. A database that went on from an
    /// older state may have another change with the same number.
    #[must_use]
    pub fn ahead_of(
        self,
        known: &HashMap<ParticipationId, (u32, String)>,
    ) -> Vec<(ParticipationId, LatestChange)> {
        let is_ahead = |(id, latest): &(ParticipationId, LatestChange)| {
            known.get(id).is_none_or(|(changes, status)| {
                let is_other = latest.change == *changes && latest.status.as_str() != status;
                latest.change > *changes || is_other
            })
        };
        let mut ahead: Vec<_> = self.changes.into_iter().filter(is_ahead).collect();
        ahead.sort_unstable_by_key(|(id, latest)| (latest.campaign, latest.rank, *id));
        ahead
    }
}

fn read(record: &Consumed<'_>) -> Option<(ParticipationId, LatestChange)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Value<'a> {
        campaign_id: i64,
        participation_id: ParticipationId,
        user_id: i64,
        rank: u64,
        quantity: u32,
        status: &'a str,
        occurred_at: Timestamp,
    }
    let value: Value<'_> = serde_json::from_slice(record.payload?).ok()?;
    let change = LatestChange {
        campaign: CampaignId(value.campaign_id),
        user: UserId(value.user_id),
        rank: value.rank,
        quantity: value.quantity,
        status: Status::parse(value.status)?,
        occurred_at: value.occurred_at,
        change: record.header("ce_keysequence")?.parse().ok()?,
    };
    Some((value.participation_id, change))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RESERVED: &str = "reserved";
    const CONFIRMED: &str = "confirmed";

    fn id(number: u128) -> ParticipationId {
        ParticipationId(Uuid::from_u128(number))
    }

    /// Feeds the record of a change.
    fn feed(latest: &mut LatestChanges, participation: u128, change: &str, status: &str) {
        let value = format!(
            r#"{{"campaignId":1,"occurredAt":"2030-01-31T12:00:00.000001Z","participationId":"{}","quantity":2,"rank":{participation},"status":"{status}","userId":7}}"#,
            id(participation)
        );
        latest.feed(&Consumed {
            partition: 0,
            offset: 0,
            key: None,
            payload: Some(value.as_bytes()),
            headers: vec![("ce_keysequence", change.as_bytes())],
        });
    }

    #[test]
    fn lost_participations_and_lost_changes_are_ahead_of_the_database() {
        let mut latest = LatestChanges::default();
        for (participation, change, status) in [
            (4, "1", RESERVED),
            (1, "1", RESERVED),
            (2, "2", CONFIRMED),
            (2, "1", RESERVED),
            (3, "1", RESERVED),
            (3, "2", CONFIRMED),
            (5, "2", CONFIRMED),
        ] {
            feed(&mut latest, participation, change, status);
        }
        let known = [
            (1, 1, RESERVED),
            (2, 2, CONFIRMED),
            (3, 1, RESERVED),
            (5, 2, "expired"),
        ];
        let known =
            known.map(|(number, changes, status)| (id(number), (changes, status.to_owned())));
        let ahead = latest.ahead_of(&known.into());
        let ahead: Vec<_> = ahead
            .iter()
            .map(|(id, latest)| (*id, latest.change, latest.status))
            .collect();
        let expected = [
            (id(3), 2, Status::Confirmed),
            (id(4), 1, Status::Reserved),
            (id(5), 2, Status::Confirmed),
        ];
        assert_eq!(ahead, expected);
    }

    #[test]
    fn a_record_of_somebody_else_is_counted() {
        let mut latest = LatestChanges::default();
        feed(&mut latest, 1, "1", "sold");
        feed(&mut latest, 1, "first", RESERVED);
        assert_eq!((latest.unreadable, latest.changes.len()), (2, 0));
    }
}
