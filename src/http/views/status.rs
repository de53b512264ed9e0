//! The view of the live status of a campaign.

use std::collections::BTreeMap;

use super::daily::percentage;
use super::view;
use crate::domain::{Campaign, State, Timestamp};
use crate::http::words::{Word, vocabulary};
use crate::operate::status::{CampaignStatus, Funnel, Scope};
use crate::sale::meter::Recent;

view! {
    /// The stages of participations; each counts those that reached it.
    #[derive(Clone, PartialEq, Eq)]
    pub struct FunnelView as "Funnel" from funnel: Funnel {
        /// Admitted by the gate.
        admitted: u64,
        /// Committed to the database.
        committed: u64,
        /// Acknowledged by Kafka.
        published: u64,
        /// Granted by a consumer.
        rewarded: u64,
    }
}

vocabulary!(
    Scope,
    "RecentScope",
    "The replicas that the figures cover: all of the installation, or only the one that responds, because Redis is \
     unavailable.",
    Installation = "installation",
    Replica = "replica"
);

view! {
    /// The last five full seconds. Replicas exchange their figures once a second, so that those of others may be two seconds
    /// older.
    #[derive(Clone, PartialEq)]
    pub struct RecentView as "RecentAnswers"
    of(recent: &Recent, scope: Scope) {
        /// Decisions per second.
        tps: f64 = recent.tps(),
        /// Mean latency of a decision, in milliseconds.
        avg_latency_ms: f64 = recent.avg_latency_ms(),
        /// Number of decisions.
        processed: u64,
        /// The replicas that the figures cover.
        scope: Word<Scope> = scope.into(),
    }
}

view! {
    /// The live status of a campaign.
    #[derive(Clone, PartialEq)]
    pub struct StatusView as "CampaignStatus"
    of(status: CampaignStatus, now: Timestamp) {
        /// Id of the campaign.
        campaign_id: i64 = status.campaign.id.0,
        /// Its name.
        campaign_name: String = status.campaign.name.clone(),
        /// Its state.
        // Its schedule may have changed it before the store has it.
        state: Word<State> = status.campaign.state_at(now).into(),
        /// Whether a participation is possible now: the campaign is open, and units are left.
        available: bool = is_available(&status.campaign, now),
        /// Units in stock; null: unlimited.
        #[oai(nullable)]
        total_stock: Option<u64> = status.campaign.total_stock,
        /// Units left; null: unlimited.
        #[oai(nullable)]
        current_stock: Option<u64> = status.campaign.current_stock(),
        /// Committed participations.
        success_count: u64,
        /// Rejected requests.
        fail_count: u64,
        /// Share of the stock that is used, `76.00%`; `0.00%` if the stock is unlimited.
        stock_usage_rate: String = usage_rate(status.campaign.total_stock, status.campaign.current_stock()),
        /// Rejections by code.
        failures: BTreeMap<String, u64>,
        /// The stages of participations.
        funnel: FunnelView = status.funnel.into(),
        /// The last five seconds.
        last_five_seconds: RecentView = RecentView::of(&status.recent, status.scope),
    }
}

fn is_available(campaign: &Campaign, now: Timestamp) -> bool {
    campaign.closed_to_all(now).is_none() && campaign.current_stock() != Some(0)
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
