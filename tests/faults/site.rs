//! What administrators and buyers need to know of a run, of this suite or of one of failovers.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sea_orm::sqlx::mysql::MySqlConnectOptions;

use crate::ledger::Ledger;
use crate::replica::Replica;

/// What the administrator of a campaign changes during the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Managed {
    /// Stock, limit and pauses.
    Stock,
    /// Stock and pauses; its units earn points.
    Points,
    /// Allow list and window.
    Listed,
    /// It is closed.
    Ended,
}

/// A campaign with an administrator.
#[derive(Clone, Copy, Debug)]
pub struct ManagedOffer {
    pub id: i64,
    pub managed: Managed,
    /// The stock that it begins with.
    pub total: u64,
}

/// A run.
pub trait Site: Send + Sync {
    /// Chooses the requests.
    fn seed(&self) -> u64;

    fn replicas(&self) -> &[Arc<Replica>];

    fn ledger(&self) -> &Ledger;

    /// When the run began: the ledger counts from here.
    fn began(&self) -> Instant;

    /// The same time by the clock of this machine.
    fn began_at(&self) -> DateTime<Utc>;

    fn managed_offers(&self) -> Vec<ManagedOffer>;

    /// The database, without a proxy; none: another server becomes its primary during the run.
    fn database(&self) -> Option<MySqlConnectOptions>;

    /// The same, if the settings of campaigns are read during the run; none: another server becomes the primary of the
    /// database or the gate, and until then the old one may have older settings.
    fn watched_database(&self) -> Option<MySqlConnectOptions>;

    /// Whether all parts have this machine's clock, so that clients know when a window begins and ends.
    fn has_true_clocks(&self) -> bool;
}
