//! The events of changes, with ids in the order of the changes.

use std::collections::HashMap;

use super::Step;
use crate::domain::{CampaignId, EventId, Instant, KeyChoice, OutboxEvent};
use crate::parts::store::bounded::Tx;
use crate::parts::store::numbers::{to_signed, to_unsigned};
use crate::parts::store::participations::commit::tick;
use crate::parts::store::participations::rows::{OutboxRow, outbox};
use crate::parts::store::shapes::padded;
use crate::parts::store::{Store, StoreError};

/// Writes an event for each step.
pub(super) async fn write(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    steps: &[Step<'_>],
    key_choice: KeyChoice,
    now: Instant,
) -> Result<Vec<OutboxEvent>, StoreError> {
    let mut events: Vec<OutboxEvent> = steps
        .iter()
        .map(|step| {
            let mut event = OutboxEvent::about(&step.becomes, step.version, key_choice, now);
            event.traceparent.clone_from(&step.asked.traceparent);
            event
        })
        .collect();
    if events.iter().any(OutboxEvent::shares_its_key) {
        let tick = tick(store, tx, id).await?;
        for (event, nth) in events.iter_mut().zip(0..) {
            event.id = EventId::at_tick(tick, nth);
        }
    } else {
        let earlier = earlier_events(store, tx, id, steps).await?;
        for event in &mut events {
            if let Some(earlier) = event.rank.and_then(|rank| earlier.get(&rank)) {
                event.id = event.id.or_after(*earlier);
            }
        }
    }
    let rows: Vec<OutboxRow<'_>> = events
        .iter()
        .map(|event| OutboxRow {
            event,
            hold_until: None,
        })
        .collect();
    for mut insert in outbox(store, &rows) {
        insert.run(tx).await?;
    }
    Ok(events)
}

/// The latest event of each participation, by rank, unless it is deleted. New ids are larger, so that reading
/// pending rows in order of id yields the events of a participation in order, whichever clocks made the ids.
async fn earlier_events(
    store: &Store,
    tx: &Tx,
    id: CampaignId,
    steps: &[Step<'_>],
) -> Result<HashMap<u64, EventId>, StoreError> {
    let ranks: Vec<u64> = steps.iter().map(|step| step.becomes.rank).collect();
    let mut sql = store.sql("SELECT `rank`, id FROM outbox_event");
    sql.push(" WHERE (campaign_id, `rank`) IN ")
        .pairs(padded(&ranks).map(|rank| (id.0.into(), to_signed(rank).into())));
    let mut earlier: HashMap<u64, EventId> = HashMap::new();
    for row in sql.rows(tx).await? {
        let rank: i64 = row.try_get("", "rank")?;
        let event = EventId(row.try_get("", "id")?);
        let known = earlier.entry(to_unsigned(rank)).or_insert(event);
        *known = Ord::max(*known, event);
    }
    Ok(earlier)
}
