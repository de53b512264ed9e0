//! Replayed dead letters of the relay. The row of a dead letter is deleted when its event is published at last; the audit
//! log still has the replay, because its entry is written in the same transaction.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::DEAD;
use crate::domain::{AuditAction, EventId};
use crate::parts::store::{AuditEntry, AuditFilter, Store, StoreError};

/// Entries read at once; each may name thousands of events.
const ENTRIES_AT_ONCE: u32 = 20;

impl Store {
    /// Those of the events that were dead letters of the relay and were replayed by an admin. A replay is unknown once
    /// its entry in the audit log was deleted (`retention.audit_entries`).
    pub async fn replayed_among(
        &self,
        events: &BTreeSet<EventId>,
    ) -> Result<BTreeSet<EventId>, StoreError> {
        let mut replayed = BTreeSet::new();
        let mut filter = AuditFilter {
            action: Some(AuditAction::DeadLetterReplay),
            ..AuditFilter::default()
        };
        while replayed.len() < events.len() {
            let entries = self.audit_entries(&filter, ENTRIES_AT_ONCE).await?;
            let Some(last) = entries.last() else {
                break;
            };
            filter.after = Some(last.id);
            let named = entries.iter().flat_map(events_of);
            replayed.extend(named.filter(|event| events.contains(event)));
        }
        Ok(replayed)
    }
}

/// The events of an entry about a replay. None of one about dead letters of a consumer: it names their source, and says
/// nothing about the relay.
fn events_of(entry: &AuditEntry) -> Vec<EventId> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Before {
        state: String,
        events: Vec<EventId>,
    }
    let before = entry.before.as_ref();
    let before = before.and_then(|values| Before::deserialize(values).ok());
    let before = before.filter(|before| before.state == DEAD);
    before.map_or_else(Vec::new, |before| before.events)
}
