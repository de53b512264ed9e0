//! The selection of dead letters that a request replays or discards.

use uuid::Uuid;

use crate::domain::{CampaignId, DeadLetterSource, EventId, Timestamp};
use crate::http::fields::{Fields, INTEGER_MAX, request_object};
use crate::parts::store::DeadLetterFilter;

/// Dead letters that one request changes by default.
const LIMIT_DEFAULT: u32 = 100;
/// Most dead letters that one request changes.
const LIMIT_MAX: u32 = 1_000;

request_object! {
    /// Selects dead letters by at least one of `source`, `eventId`, `campaignId`, `key`, `from` and `until`,
    /// or by `all`.
    #[derive(Debug)]
    pub struct Selection as "DeadLetterSelection" {
        /// Only those of the relay, or of this consumer.
        source: Option<DeadLetterSource> = word("source", DeadLetterSource::WORDS).optional(),
        /// Only those of this event.
        event: Option<Uuid> = id("eventId").optional(),
        /// Only those of this campaign.
        campaign: Option<i64> = integer("campaignId", 1..=INTEGER_MAX)
            .try_map(|id| i64::try_from(id).map_err(|error| error.to_string()))
            .optional(),
        /// Only those with this key; also needs the scope `pii:read`.
        key: Option<String> = text("key", 1..=64).optional(),
        /// Only those parked at this time or later.
        from: Option<Timestamp> = instant("from").optional(),
        /// Only those parked before this time.
        until: Option<Timestamp> = instant("until").optional(),
        /// `true` selects all dead letters. Not together with another criterion.
        all: bool = flag("all").optional().unwrap_or(false),
        /// Most dead letters to change; 100 when left out.
        pub limit: u32 = integer32("limit", 1..=LIMIT_MAX).optional().unwrap_or(LIMIT_DEFAULT),
        /// Only counts the dead letters and changes nothing.
        pub dry_run: bool = flag("dryRun").optional().unwrap_or(false),
    }
    example { "campaignId": 1, "limit": 100, "dryRun": true }
    check check_criteria
}

impl Selection {
    /// The filter of the selected dead letters.
    pub fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            source: self.source,
            event: self.event.map(EventId),
            campaign: self.campaign.map(CampaignId),
            key: self.key.clone(),
            from: self.from,
            until: self.until,
            after: None,
        }
    }
}

fn check_criteria(fields: &mut Fields, selection: &Selection) {
    let is_only_criterion = selection.filter() == DeadLetterFilter::default();
    let problem = match (selection.all, is_only_criterion) {
        (false, true) => "must be true if no other criterion selects dead letters",
        (true, false) => "must not be true if another criterion selects dead letters",
        (true, true) | (false, false) => return,
    };
    fields.wrong_if_sound("all", problem);
}
