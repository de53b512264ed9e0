//! The highest numbers in records: of campaigns, and of users.

use serde::Deserialize;

use crate::parts::broker::Consumed;

/// The greatest number that a campaign or a user can have.
const NUMBER_MAX: i64 = (1 << 53) - 1;

/// The highest numbers in the records read so far; 0 without a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighestIds {
    /// Of a campaign.
    pub campaign: i64,
    /// Of a user.
    pub user: i64,
}

impl HighestIds {
    /// Adds a record of any topic of the service. A record that the relay did not write, or with an impossible number,
    /// does not count.
    pub fn feed(&mut self, record: &Consumed<'_>) {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Value {
            campaign_id: i64,
            user_id: i64,
        }
        let is_ours = |name| record.header(name).is_some();
        if !(is_ours("ce_id") && is_ours("ce_sequence")) {
            return;
        }
        let payload = record.payload.unwrap_or_default();
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        let is_possible = |number| (0..=NUMBER_MAX).contains(&number);
        if !(is_possible(value.campaign_id) && is_possible(value.user_id)) {
            return;
        }
        *self = self.max(Self {
            campaign: value.campaign_id,
            user: value.user_id,
        });
    }

    /// The higher of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            campaign: self.campaign.max(other.campaign),
            user: self.user.max(other.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_the_highest_of_all_readable_records() {
        let mut highest = HighestIds::default();
        let ours = ["ce_id", "ce_sequence"];
        for (value, headers) in [
            (r#"{"campaignId":3,"userId":9}"#, &ours[..]),
            (r#"{"campaignId":7}"#, &ours),
            (r#"{"campaignId":"many"}"#, &ours),
            (r#"{"campaignId":9223372036854775807}"#, &ours),
            (r#"{"campaignId":8}"#, &[]),
            ("no JSON", &ours),
        ] {
            highest.feed(&Consumed {
                partition: 0,
                offset: 0,
                key: None,
                payload: Some(value.as_bytes()),
                headers: headers.iter().map(|name| (*name, &b"1"[..])).collect(),
            });
        }
        assert_eq!((highest.campaign, highest.user), (7, 9));
    }
}
