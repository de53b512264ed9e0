//! The lifecycle of campaigns: admins create and change them, and the schedule opens and closes them. Each step is
//! committed in the store and then written to the gate. If the gate does not answer, the write is retried until it does.

mod record;
mod schedule;
mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::terms::{check, of_changed};
use crate::domain::{
    AuditAction, AuditNote, Campaign, CampaignId, Origin, Pricing, State, Timestamp,
};
use crate::parts::gate::GateError;
use crate::parts::store::{CampaignChange, NewCampaign, Store, StoreError};
use crate::runtime::failpoint;
use crate::runtime::telemetry::cause;
use crate::sale::catalogue::Catalogue;
use crate::sale::reconcile::{Patience, ReconcileError, Reconciler, Renewed};
use crate::sale::relay_hints::RelayHints;

/// Maximum number of attempts of a change, if other changes interfere.
const CHANGE_ATTEMPTS: usize = 5;

/// Why a campaign was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// There is no such transition from its state.
    #[error("move the campaign from {} to {}", from.as_str(), to.as_str())]
    WrongState {
        /// Its state.
        from: State,
        /// The requested state.
        to: State,
    },
    /// The campaign is archived, and cannot be changed.
    #[error("the campaign is archived")]
    Archived,
    /// A field is invalid.
    #[error("accept {field}: {problem}")]
    Invalid {
        /// Its name in the API.
        field: &'static str,
        /// The problem.
        problem: String,
    },
    /// It has a price, and no payment provider is enabled.
    #[error("no payment provider is configured")]
    NoProvider,
    /// The store failed.
    #[error("write the campaign")]
    Store(#[from] StoreError),
    /// The change is durable, but not written to the gate yet; the write is retried until the gate answers.
    #[error("write the settings to the gate")]
    Gate(#[from] GateError),
}

impl From<ReconcileError> for LifecycleError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Store(error) => Self::Store(error),
            ReconcileError::Gate(error) => Self::Gate(error),
            ReconcileError::Closed => Self::Gate(GateError::Away),
        }
    }
}

/// Changes campaigns.
#[derive(Clone)]
pub struct Lifecycle {
    store: Store,
    catalogue: Catalogue,
    reconciler: Reconciler,
    pricing: Pricing,
    hints: RelayHints,
    gate_behind: Arc<AtomicBool>,
}

impl Lifecycle {
    /// Changes campaigns in this store, and their settings in the gate.
    #[must_use]
    pub fn new(
        store: Store,
        catalogue: Catalogue,
        reconciler: Reconciler,
        pricing: Pricing,
    ) -> Self {
        // At start the gate may be empty or behind.
        Self {
            store,
            catalogue,
            reconciler,
            pricing,
            hints: RelayHints::default(),
            gate_behind: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Notifies the relay of the events of each change.
    #[must_use]
    pub fn with_hints(self, hints: RelayHints) -> Self {
        Self { hints, ..self }
    }

    /// Creates a campaign and opens its gate. `by` is the admin; none: the service.
    pub async fn create(
        &self,
        new: NewCampaign,
        by: Option<&Origin>,
    ) -> Result<Campaign, LifecycleError> {
        check(&new, 0)?;
        if new.state != State::Draft {
            self.check_price(new.price)?;
        }
        if let Some(closes_at) = new.closes_at
            && closes_at <= self.store.time().await?
        {
            return Err(invalid("closesAt", "lies in the past"));
        }
        let note = by.map(|by| record::created(by.clone(), &new));
        let campaign = self.store.create_campaign(new, note).await?;
        self.committed(campaign.id);
        self.catalogue.invalidate(campaign.id).await;
        // The campaign is committed, so an unavailable gate is no failure of the creation.
        let (gate, id) = (&self.reconciler, campaign.id);
        match gate.renew(id, None, Patience::Waits).await {
            Ok(Renewed::InStep | Renewed::Closed) => {}
            Ok(Renewed::Later) => self.gate_behind.store(true, Ordering::Release),
            Err(error) => {
                tracing::warn!(
                    error = cause(&error),
                    "the gate of a new campaign was not built; it will be retried"
                );
                self.gate_behind.store(true, Ordering::Release);
            }
        }
        Ok(self.store.campaign(campaign.id).await?.unwrap_or(campaign))
    }

    /// Changes fields of a campaign.
    pub async fn change(
        &self,
        id: CampaignId,
        change: CampaignChange,
        by: &Origin,
    ) -> Result<Campaign, LifecycleError> {
        let action = AuditAction::CampaignChange;
        self.change_with(id, by, action, |campaign, now| {
            if campaign.state == State::Archived {
                return Err(LifecycleError::Archived);
            }
            check(&of_changed(campaign, &change), campaign.committed_units)?;
            if campaign.state != State::Draft {
                self.check_price(change.price.flatten())?;
            }
            let mut change = change.clone();
            let moved_window = change.opens_at.is_some();
            if moved_window && matches!(campaign.state, State::Scheduled | State::Open) {
                change.state = Some(state_when_opened(change.opens_at.flatten(), now));
            }
            Ok(Some(change))
        })
        .await
    }

    /// Changes the state of a campaign. A change to the current state has no effect.
    pub async fn move_to(
        &self,
        id: CampaignId,
        next: State,
        by: &Origin,
    ) -> Result<Campaign, LifecycleError> {
        let action = AuditAction::moving_to(next);
        self.change_with(id, by, action, |campaign, now| {
            if (campaign.state, next) == (State::Archived, State::Archived) {
                return Ok(None);
            }
            let from = campaign.state_at(now);
            let state = if next == State::Open && from == State::Draft {
                state_when_opened(campaign.opens_at, now)
            } else {
                next
            };
            if from != next && !from.can_become(next) {
                return Err(LifecycleError::WrongState { from, to: next });
            }
            if matches!(next, State::Open | State::Scheduled) {
                self.check_price(campaign.price)?;
            }
            // Opening ahead of the schedule opens now.
            let opens_at = (next == State::Open && from == State::Scheduled).then_some(None);
            Ok(Some(CampaignChange {
                state: Some(state),
                opens_at,
                ..CampaignChange::default()
            }))
        })
        .await
    }

    /// Reads, decides and writes, and retries if another change interferes. Decides by the database's time after the read.
    /// If there is nothing to change, nothing is written.
    async fn change_with(
        &self,
        id: CampaignId,
        by: &Origin,
        action: AuditAction,
        decide: impl Fn(&Campaign, Timestamp) -> Result<Option<CampaignChange>, LifecycleError>,
    ) -> Result<Campaign, LifecycleError> {
        for _ in 0..CHANGE_ATTEMPTS {
            let campaign = self.store.current_campaign(id).await?;
            let campaign = campaign.ok_or(LifecycleError::Unknown)?;
            let now = self.store.time().await?;
            let Some(change) = decide(&campaign, now)? else {
                return Ok(campaign);
            };
            let note = AuditNote::about(by.clone(), action, id);
            let note = record::changed(note, &campaign, &change);
            let version = campaign.version;
            let changed = self
                .store
                .change_campaign(id, version, &change, Some(&note));
            match changed.await {
                Ok(true) => {
                    self.committed(id);
                    return self.configure_gate(id, Patience::Waits).await;
                }
                Ok(false) => {}
                Err(StoreError::Constraint(_)) => {
                    return Err(invalid("totalStock", "is less than the committed units"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(invalid("id", "is being changed by others; try again"))
    }

    /// A change of a campaign is committed, with its events.
    fn committed(&self, id: CampaignId) {
        failpoint::point("campaign.committed");
        self.hints.campaign_changed(id);
    }

    /// Writes a committed change to the gate. Until the gate has it, the campaign may be sold as before the change, which
    /// is an error.
    async fn configure_gate(
        &self,
        id: CampaignId,
        patience: Patience,
    ) -> Result<Campaign, LifecycleError> {
        self.catalogue.invalidate(id).await;
        let error = match self.configure_current(id, patience).await {
            Ok((campaign, Renewed::InStep | Renewed::Closed)) => return Ok(campaign),
            Ok((_, Renewed::Later)) => {
                tracing::warn!(
                    campaign.id = %id,
                    "a change is committed, but a rebuild of the gate took too long; the gate gets it later"
                );
                LifecycleError::Gate(GateError::Away)
            }
            Err(error) => error,
        };
        self.gate_behind.store(true, Ordering::Release);
        Err(error)
    }

    async fn configure_current(
        &self,
        id: CampaignId,
        patience: Patience,
    ) -> Result<(Campaign, Renewed), LifecycleError> {
        let campaign = self.store.current_campaign(id).await?;
        let campaign = campaign.ok_or(LifecycleError::Unknown)?;
        let renewed = self.reconciler.configure(&campaign, patience).await?;
        Ok((campaign, renewed))
    }

    /// A campaign with a price is on sale only if it can be paid.
    const fn check_price(&self, price: Option<u64>) -> Result<(), LifecycleError> {
        match (price, self.pricing) {
            (Some(_), Pricing::Refused) => Err(LifecycleError::NoProvider),
            (Some(_), Pricing::Sold) | (None, _) => Ok(()),
        }
    }
}

fn state_when_opened(opens_at: Option<Timestamp>, now: Timestamp) -> State {
    if opens_at.is_some_and(|at| at > now) {
        State::Scheduled
    } else {
        State::Open
    }
}

fn invalid(field: &'static str, problem: &str) -> LifecycleError {
    LifecycleError::Invalid {
        field,
        problem: problem.to_owned(),
    }
}
