//! Verifies the invariants on a running system, per campaign: admissions of the gate = participations = events in the
//! outbox = published + parked + pending; no user over the limit, no campaign oversold, no event published before an
//! earlier one of its participation. A purged event counts as published. Of every order, all lines have its status.
//!
//! A campaign is checked in one snapshot of the store, so traffic cannot make a correct campaign look wrong. To keep
//! snapshots short, old segments of ranks and of streams are read beforehand (`seal`), and their sums are stored until a
//! participation in them changes or events are deleted. Each run reads a share of them again, to find changes made
//! outside of the service. If stored sums and a campaign's counters differ, the whole campaign is read again in one
//! snapshot before a violation is reported.

mod breaches;
mod check;
mod figures;
mod gate;
mod grants;
mod log_plan;
mod plan;
mod reading;
mod run;
mod seal;
mod table;
mod usable_sums;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use self::grants::{Grants, Keys};
pub use self::table::table;

use self::run::Run;
use self::usable_sums::{SumsOfKind, UsableSums};
use crate::domain::CampaignId;
use crate::parts::gate::{Gate, GateError};
use crate::parts::store::{CampaignCounters, Store, StoreError};

/// Campaigns read in one page.
const PAGE: u32 = 1_000;
/// Each run reads one stored segment in this number again: runs a minute apart read all of them in an hour.
const AGAIN_SHARE: u32 = 60;
/// Older stored sums are always read again.
const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the invariants could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store did not answer.
    #[error("read the campaigns")]
    Store(#[from] StoreError),
    /// The gate did not answer.
    #[error("read the gate's state")]
    Gate(#[from] GateError),
}

/// The scope of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this campaign; none: all, archived ones included.
    pub campaign: Option<CampaignId>,
    /// How much is read.
    pub depth: Depth,
    /// Whether the events of a participation have to be published in order.
    pub order: EventOrder,
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// New and changed segments, and a share of the rest.
    #[default]
    Incremental,
    /// Everything.
    Full,
}

/// Whether a later event of a participation has to wait for an earlier one that cannot be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// It has to: an event out of order is a violation.
    #[default]
    Required,
    /// It does not: the relay is configured to skip blocked events.
    NotRequired,
}

/// One campaign's figures and violations. `campaign_events` and `campaign_events_unpublished` count events about the
/// campaign itself, `order_events` and `order_events_unpublished` those about orders whose first line is of it, the other
/// figures those about participations.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "each field is the figure of that name")]
pub struct Finding {
    pub campaign_id: i64,
    pub total_stock: Option<u64>,
    pub committed_units: u64,
    pub gate_units: Option<u64>,
    pub gate_leases: Option<u64>,
    pub participations: u64,
    pub changes: u64,
    pub events: u64,
    pub published: u64,
    pub purged: u64,
    pub pending: u64,
    pub parked: u64,
    pub campaign_events: u64,
    pub campaign_events_unpublished: u64,
    pub order_events: u64,
    pub order_events_unpublished: u64,
    pub segments_read: u64,
    pub segments_kept: u64,
    pub breaches: Vec<String>,
}

/// Verifies the campaigns of a store and a gate.
#[derive(Clone)]
pub struct Verification {
    store: Store,
    gate: Arc<dyn Gate>,
}

impl Verification {
    /// A verification of this store and this gate.
    #[must_use]
    pub fn new(store: Store, gate: Arc<dyn Gate>) -> Self {
        Self { store, gate }
    }

    /// Verifies every campaign.
    pub async fn run(&self) -> Result<Vec<Finding>, VerifyError> {
        self.run_within(&Scope::default()).await
    }

    /// Verifies the campaigns in the scope; the findings are in order of campaign.
    pub async fn run_within(&self, scope: &Scope) -> Result<Vec<Finding>, VerifyError> {
        let usable_sums = match scope.depth {
            Depth::Incremental => UsableSums {
                ranks: SumsOfKind::all_but(self.store.segments_due(AGAIN_SHARE, AGE_MAX).await?),
                logs: SumsOfKind::all_but(self.store.logs_due(AGAIN_SHARE, AGE_MAX).await?),
            },
            Depth::Full => UsableSums::none(),
        };
        let mut run = Run {
            verification: self,
            scope: *scope,
            usable_sums,
        };
        if let Some(id) = scope.campaign {
            let counters: Vec<CampaignCounters> =
                self.store.counters_of(id).await?.into_iter().collect();
            return run.page(&counters).await;
        }
        let mut findings = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.counters(after, PAGE).await?;
            findings.extend(run.page(&page).await?);
            after = page.last().map(|counters| counters.id);
            if page.len() < usize::try_from(PAGE).unwrap_or_default() {
                break;
            }
        }
        for line in self.store.contradicting_lines().await? {
            let (id, breach) = (line.campaign.0, line.to_string());
            match findings
                .iter_mut()
                .find(|finding| finding.campaign_id == id)
            {
                Some(finding) => finding.breaches.push(breach),
                None => findings.push(Finding {
                    campaign_id: id,
                    breaches: vec![breach],
                    ..Finding::default()
                }),
            }
        }
        for (id, what) in self.store.rows_without_campaign().await? {
            findings.push(Finding {
                campaign_id: id.0,
                breaches: vec![format!(
                    "I3 there are {what} of a campaign that does not exist"
                )],
                ..Finding::default()
            });
        }
        Ok(findings)
    }
}
