//! The run, as its administrators and buyers see it.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sea_orm::sqlx::mysql::MySqlConnectOptions;

use super::{World, mysql_options};
use crate::ledger::Ledger;
use crate::replica::Replica;
use crate::site::{ManagedOffer, Site};

impl Site for World {
    fn seed(&self) -> u64 {
        self.schedule.seed
    }

    fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn began(&self) -> Instant {
        self.began
    }

    fn began_at(&self) -> DateTime<Utc> {
        self.began_at
    }

    fn managed_offers(&self) -> Vec<ManagedOffer> {
        let managed = self.offers.iter().filter_map(|offer| {
            Some(ManagedOffer {
                id: offer.id,
                managed: offer.managed?,
                total: offer.total?,
            })
        });
        managed.collect()
    }

    fn database(&self) -> Option<MySqlConnectOptions> {
        mysql_options(&self.parts, Some(&self.schema)).ok()
    }

    fn watched_database(&self) -> Option<MySqlConnectOptions> {
        self.database()
    }

    fn has_true_clocks(&self) -> bool {
        // Only clocks of replicas are set, and they do not decide.
        true
    }
}
