//! The highest numbers in records: of campaigns, and of users.

use serde::Deserialize;

use crate::parts::broker::Consumed;

/// The highest numbers in the records read so far; 0 without a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighestIds {
    /// Of a campaign.
    pub campaign: i64,
    /// Of a user.
    pub user: i64,
}

impl HighestIds {
    /// Adds a record of any topic of the service. A record of somebody else has no such numbers.
    pub fn feed(&mut self, record: &Consumed<'_>) {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Value {
            campaign_id: i64,
            user_id: i64,
        }
        let payload = record.payload.unwrap_or_default();
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
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
        for value in [
            r#"{"campaignId":3,"userId":9}"#,
            r#"{"campaignId":7}"#,
            r#"{"campaignId":"many"}"#,
            "no JSON",
        ] {
            highest.feed(&Consumed {
                partition: 0,
                offset: 0,
                key: None,
                payload: Some(value.as_bytes()),
                headers: Vec::new(),
            });
        }
        assert_eq!((highest.campaign, highest.user), (7, 9));
    }
}
