//! Everything that operations call, made once at start.

use std::sync::Arc;

use poem::web::Data;

use super::settings::Settings;
use crate::access::accounts::Accounts;
use crate::access::limits::Limits;
use crate::operate::export::Exporter;
use crate::operate::health::Health;
use crate::operate::lifecycle::Lifecycle;
use crate::operate::simulate::Simulator;
use crate::operate::statistics::Aggregator;
use crate::operate::status::StatusBoard;
use crate::operate::system::{SystemBoard, TopicBoard};
use crate::parts::store::{Rewards, Store};
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::Telemetry;
use crate::sale::allow_list::AllowLists;
use crate::sale::catalogue::Catalogue;
use crate::sale::changes::Changes;
use crate::sale::orders::Orders;
use crate::sale::participate::Participate;
use crate::sale::reconcile::Reconciler;

/// [`App`] as operations take it.
pub type AppRef<'a> = Data<&'a Arc<App>>;

/// Everything that operations call.
pub struct App {
    /// Reads and writes of admins.
    pub store: Store,
    /// Reads of participants: a share of the same connections, so that commits find a free one.
    pub reads: Store,
    /// The rewards database; none: this process has none.
    pub rewards: Option<Rewards>,
    /// Campaigns, from the local cache.
    pub catalogue: Catalogue,
    /// Creates and changes campaigns, and changes their state.
    pub lifecycle: Lifecycle,
    /// Rebuilds gates.
    pub reconciler: Reconciler,
    /// The rates of requests.
    pub limits: Limits,
    /// Participates.
    pub participate: Participate,
    /// Confirms and cancels participations.
    pub changes: Changes,
    /// Places and changes orders of several lines.
    pub orders: Orders,
    /// Exports participations.
    pub exporter: Exporter,
    /// Allow lists of campaigns.
    pub allow_lists: AllowLists,
    /// Simulated participants; none: they are disabled.
    pub simulator: Option<Simulator>,
    /// Accounts and their sessions.
    pub accounts: Arc<Accounts>,
    /// Daily statistics.
    pub aggregator: Aggregator,
    /// Live status of campaigns.
    pub status: StatusBoard,
    /// State of the installation.
    pub system: SystemBoard,
    /// State of the topics.
    pub topics: TopicBoard,
    /// Health of the parts.
    pub health: Health,
    /// Metrics.
    pub telemetry: Arc<Telemetry>,
    /// The clock of the service.
    pub clock: Clock,
    /// Settings of the edge.
    pub settings: Settings,
}
