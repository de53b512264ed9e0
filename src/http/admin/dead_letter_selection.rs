//! The selection of dead letters that a request replays or discards.

use serde_json::{Value, json};

use crate::domain::{CampaignId, EventId};
use crate::http::fields::{Fields, INTEGER_MAX, RequestObject};
use crate::parts::store::DeadLetterFilter;

/// Dead letters that one request changes by default.
const LIMIT_DEFAULT: u32 = 100;
/// Most dead letters that one request changes.
const LIMIT_MAX: u32 = 1_000;

/// The selected dead letters.
#[derive(Debug, Default)]
pub struct Selection {
    pub filter: DeadLetterFilter,
    pub limit: u32,
    pub dry_run: bool,
}

impl RequestObject for Selection {
    const NAME: &'static str = "DeadLetterSelection";
    const DESCRIPTION: &'static str = "Selects dead letters by at least one of `eventId`, `campaignId`, `key`, `from` and `until`, or by `all`.";

    fn example() -> Option<Value> {
        Some(json!({ "campaignId": 1, "limit": 100, "dryRun": true }))
    }

    fn define(fields: &mut Fields) -> Self {
        let filter = filter(fields);
        let all = fields.flag(
            "all",
            "`true` selects all dead letters. Not together with another criterion.",
        );
        let all = all.optional().unwrap_or(false);
        let limit = fields.integer32(
            "limit",
            "Most dead letters to change; 100 when left out.",
            1..=LIMIT_MAX,
        );
        let limit = limit.optional().unwrap_or(LIMIT_DEFAULT);
        let dry_run = fields.flag(
            "dryRun",
            "Only counts the dead letters and changes nothing.",
        );
        let dry_run = dry_run.optional().unwrap_or(false);
        match (all, filter == DeadLetterFilter::default()) {
            (false, true) => fields.wrong_if_sound(
                "all",
                "must be true if no other criterion selects dead letters",
            ),
            (true, false) => fields.wrong_if_sound(
                "all",
                "must not be true if another criterion selects dead letters",
            ),
            (true, true) | (false, false) => {}
        }
        Self {
            filter,
            limit,
            dry_run,
        }
    }
}

fn filter(fields: &mut Fields) -> DeadLetterFilter {
    let event = fields.id("eventId", "Only this one.").optional();
    let campaign = fields.integer(
        "campaignId",
        "Only those of this campaign.",
        1..=INTEGER_MAX,
    );
    let campaign = campaign.try_map(|id| i64::try_from(id).map_err(|error| error.to_string()));
    let campaign = campaign.optional();
    DeadLetterFilter {
        event_id: event.map(EventId),
        campaign_id: campaign.map(CampaignId),
        key: fields
            .text("key", "Only those with this key.", 1..=64)
            .optional(),
        from: fields
            .instant("from", "Only those parked at this time or later.")
            .optional(),
        until: fields
            .instant("until", "Only those parked before this time.")
            .optional(),
        after: None,
    }
}
