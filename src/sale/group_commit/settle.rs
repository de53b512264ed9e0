//! Settles the leases of committed participations in batches, after the answer. It may lag or fail: the sweeper
//! settles the rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{CampaignId, ParticipationId};
use crate::parts::gate::Gate;
use crate::runtime::batcher::{BatcherConfig, Batchers};
use crate::runtime::failpoint;
use crate::runtime::supervisor::{Spawner, Stage};
use crate::runtime::telemetry::cause;

/// Nobody waits for a settled lease, and a large call costs little more than a small one.
const PACE: Duration = Duration::from_millis(20);

/// Starts the batchers. They are larger than the writer's, so that there is room for the commits after a full batch.
pub(super) fn start(
    spawner: &Spawner,
    gate: Arc<dyn Gate>,
    config: BatcherConfig,
) -> Batchers<(CampaignId, ParticipationId)> {
    let config = BatcherConfig {
        capacity: config.capacity * 4,
        batch_max: config.batch_max * 4,
        pace: PACE,
        ..config
    };
    Batchers::start(
        spawner,
        "writer.settle",
        Stage::Settler,
        config,
        move |batch| {
            let gate = Arc::clone(&gate);
            async move {
                let mut campaigns: HashMap<CampaignId, Vec<ParticipationId>> = HashMap::new();
                for (campaign, id) in batch {
                    campaigns.entry(campaign).or_default().push(id);
                }
                for (campaign, ids) in campaigns {
                    failpoint::point("writer.settling");
                    if let Err(error) = gate.settle(campaign, &ids).await {
                        tracing::warn!(
                            error = cause(&error),
                            leases = ids.len(),
                            "leases were not settled; the sweeper will"
                        );
                    }
                }
            }
        },
    )
}
