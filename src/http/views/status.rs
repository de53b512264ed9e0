//! The view of the live status of a campaign.

use std::collections::BTreeMap;

use poem_openapi::Object;
use serde::Serialize;

use super::daily::percentage;
use crate::domain::{Instant, State};
use crate::http::words::{Word, vocabulary};
use crate::operate::status::{CampaignStatus, Scope};

/// The stages of participations; each counts those that reached it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Funnel")]
pub struct FunnelView {
    /// Admitted by the gate.
    pub admitted: u64,
    /// Committed to the database.
    pub committed: u64,
    /// Acknowledged by Kafka.
    pub published: u64,
    /// Granted by a consumer.
    pub rewarded: u64,
}

vocabulary!(
    Scope,
    "RecentScope",
    "The replicas that the figures cover: all of the installation, or only the one that responds, because Redis is \
     unavailable.",
    Installation = "installation",
    Replica = "replica"
);

/// The last five full seconds. Replicas exchange their figures once a second, so that those of others may be two seconds
/// older.
#[derive(Clone, Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Recent", rename_all = "camelCase")]
pub struct RecentView {
    /// Decisions per second.
    pub tps: f64,
    /// Mean latency of a decision, in milliseconds.
    pub avg_latency_ms: f64,
    /// Number of decisions.
    pub processed: u64,
    /// The replicas that the figures cover.
    pub scope: Word<Scope>,
}

/// The live status of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "CampaignStatus", rename_all = "camelCase")]
pub struct StatusView {
    /// Id of the campaign.
    pub campaign_id: i64,
    /// Its name.
    pub campaign_name: String,
    /// Its state.
    pub state: Word<State>,
    /// Whether a participation is possible now: the campaign is open, and units are left.
    pub available: bool,
    /// Units in stock; null: unlimited.
    #[oai(nullable)]
    pub total_stock: Option<u64>,
    /// Units left; null: unlimited.
    #[oai(nullable)]
    pub current_stock: Option<u64>,
    /// Committed participations.
    pub success_count: u64,
    /// Rejected requests.
    pub fail_count: u64,
    /// Share of the stock that is used, `76.00%`; `0.00%` if the stock is unlimited.
    pub stock_usage_rate: String,
    /// Rejections by code.
    pub failures: BTreeMap<String, u64>,
    /// The stages of participations.
    pub funnel: FunnelView,
    /// The last five seconds.
    pub last_five_seconds: RecentView,
}

impl StatusView {
    /// The status at `now`: the schedule may have changed the state before the store has it.
    #[must_use]
    pub fn at(status: CampaignStatus, now: Instant) -> Self {
        let campaign = status.campaign;
        let current_stock = campaign.current_stock();
        let is_open = campaign.closed_to_all(now).is_none();
        Self {
            campaign_id: campaign.id.0,
            state: campaign.state_at(now).into(),
            available: is_open && current_stock != Some(0),
            stock_usage_rate: usage_rate(campaign.total_stock, current_stock),
            campaign_name: campaign.name,
            total_stock: campaign.total_stock,
            current_stock,
            success_count: status.success_count,
            fail_count: status.fail_count,
            failures: status.failures,
            funnel: FunnelView {
                admitted: status.funnel.admitted,
                committed: status.funnel.committed,
                published: status.funnel.published,
                rewarded: status.funnel.rewarded,
            },
            last_five_seconds: RecentView {
                tps: status.recent.tps(),
                avg_latency_ms: status.recent.avg_latency_ms(),
                processed: status.recent.processed,
                scope: status.scope.into(),
            },
        }
    }
}

/// The share of the stock that is used, computed in integers.
fn usage_rate(total: Option<u64>, current: Option<u64>) -> String {
    let (total, current) = total.zip(current).unwrap_or_default();
    percentage(total.saturating_sub(current), total)
}

#[cfg(test)]
mod tests {
    use super::usage_rate;

    #[test]
    fn the_usage_rate_has_two_decimals() {
        assert_eq!(usage_rate(Some(100), Some(24)), "76.00%");
        assert_eq!(usage_rate(Some(3), Some(2)), "33.33%");
        assert_eq!(usage_rate(Some(7), Some(0)), "100.00%");
        assert_eq!(usage_rate(Some(100_000), Some(1)), "99.99%");
        assert_eq!(usage_rate(Some(0), Some(0)), "0.00%");
        assert_eq!(usage_rate(None, None), "0.00%");
    }
}
