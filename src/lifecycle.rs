//! The life of a campaign: created, changed and moved by admins, opened and closed by the clock. Each
//! step is written to the store first and told to the gate after; when the gate cannot be told, it is
//! told again until it is.

mod record;
mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::terms::{Terms, check};
use crate::catalogue::Catalogue;
use crate::domain::{
    AuditAction, AuditNote, Campaign, CampaignId, Instant, Origin, Pricing, State,
};
use crate::gate::GateError;
use crate::reconcile::{Patience, ReconcileError, Reconciler};
use crate::store::{CampaignChange, CampaignFilter, NewCampaign, Store, StoreError};

/// How often a change is tried again when another change came between.
const CHANGE_ATTEMPTS: usize = 5;
/// The longest the schedule sleeps. What the clock changes is told by the clock in every view and at
/// the gate; this only writes it down, also for campaigns that another replica made.
const TICK_MAX: Duration = Duration::from_secs(10);

/// Why a campaign was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// There is no such campaign.
    #[error("find the campaign")]
    Unknown,
    /// It cannot go there from where it stands.
    #[error("move the campaign from {} to {}", from.as_str(), to.as_str())]
    WrongState {
        /// Where it stands.
        from: State,
        /// Where it was to go.
        to: State,
    },
    /// It is archived, and stays as it is.
    #[error("change an archived campaign")]
    Archived,
    /// A field makes no sense.
    #[error("accept {field}: {problem}")]
    Invalid {
        /// Name of the field as clients know it.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It has a price, and nobody takes payments here.
    #[error("sell the campaign: no payment provider takes payments here")]
    NoProvider,
    /// The store failed.
    #[error("write the campaign")]
    Store(#[from] StoreError),
    /// The change is durable, but the gate does not know of it yet; it is told as soon as it answers.
    #[error("tell the gate")]
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
    gate_behind: Arc<AtomicBool>,
}

impl Lifecycle {
    /// Changes campaigns of this store, and tells this gate.
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
            gate_behind: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Creates a campaign and opens its gate. `by` is the admin who does it; none: the service.
    pub async fn create(
        &self,
        new: NewCampaign,
        by: Option<&Origin>,
    ) -> Result<Campaign, LifecycleError> {
        check(&Terms::of_new(&new))?;
        if new.state != State::Draft {
            self.check_price(new.price)?;
        }
        if let Some(closes_at) = new.closes_at
            && closes_at <= self.store.time().await?
        {
            return Err(invalid("closesAt", "lies in the past"));
        }
        let note = by.map(|by| record::created(by.clone(), &new));
        let campaign = self.store.create_campaign_noted(new, note).await?;
        self.catalogue.changed(campaign.id).await;
        // The campaign stands either way, so a gate that is away is no failure of the creation.
        if let Err(error) = self
            .reconciler
            .renew(campaign.id, None, Patience::Waits)
            .await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a new campaign's gate waits to be built"
            );
            self.gate_behind.store(true, Ordering::Release);
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
            check(&Terms::of_changed(campaign, &change))?;
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

    /// Moves a campaign along its life. Moving it to where it stands changes nothing.
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

    /// Writes down what the database's clock has done, tells the gate what it missed, and answers how long
    /// nothing will change by that clock.
    pub async fn tick(&self) -> Result<Duration, LifecycleError> {
        if self.gate_behind.load(Ordering::Acquire) {
            let aligned = self.reconciler.align().await?;
            self.gate_behind.store(false, Ordering::Release);
            tracing::info!(aligned.campaigns, aligned.closed, "the gate is in step");
        }
        let now = self.store.time().await?;
        let filter = CampaignFilter {
            states: vec![State::Scheduled, State::Open, State::Paused],
            kind: None,
            after: None,
            limit: 10_000,
        };
        let mut next = TICK_MAX;
        for campaign in self.store.campaigns(&filter).await? {
            let state = campaign.state_at(now);
            // Another replica may have been faster; then its version is the newer one.
            if state != campaign.state
                && self
                    .store
                    .move_by_clock(campaign.id, campaign.version)
                    .await?
            {
                tracing::info!(campaign.id = %campaign.id, state = state.as_str(), "moved by the clock");
                self.tell_gate(campaign.id).await?;
            }
            for at in [campaign.opens_at, campaign.closes_at]
                .into_iter()
                .flatten()
            {
                if let Ok(until) = (at - now).to_std() {
                    next = next.min(until.max(Duration::from_millis(1)));
                }
            }
        }
        Ok(next)
    }

    /// Reads, decides and writes, again when another change came between. Decides by the database's time
    /// after the reading. Deciding on nothing leaves it as it is.
    async fn change_with(
        &self,
        id: CampaignId,
        by: &Origin,
        action: AuditAction,
        decide: impl Fn(&Campaign, Instant) -> Result<Option<CampaignChange>, LifecycleError>,
    ) -> Result<Campaign, LifecycleError> {
        for _ in 0..CHANGE_ATTEMPTS {
            let campaign = self
                .store
                .campaign(id)
                .await?
                .ok_or(LifecycleError::Unknown)?;
            let now = self.store.time().await?;
            let Some(change) = decide(&campaign, now)? else {
                return Ok(campaign);
            };
            let note = AuditNote::about(by.clone(), action, id);
            let note = record::changed(note, &campaign, &change);
            let version = campaign.version;
            let changed = self
                .store
                .change_campaign_noted(id, version, &change, Some(&note));
            match changed.await {
                Ok(true) => return self.tell_gate(id).await,
                Ok(false) => {}
                Err(StoreError::Constraint(_)) => {
                    return Err(invalid("totalStock", "is less than what is already taken"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(invalid("id", "is being changed by others; try again"))
    }

    async fn tell_gate(&self, id: CampaignId) -> Result<Campaign, LifecycleError> {
        self.catalogue.changed(id).await;
        let campaign = self
            .store
            .campaign(id)
            .await?
            .ok_or(LifecycleError::Unknown)?;
        if let Err(error) = self.reconciler.configure(&campaign).await {
            self.gate_behind.store(true, Ordering::Release);
            return Err(error.into());
        }
        Ok(campaign)
    }

    /// What has a price is on sale only where it can be paid.
    const fn check_price(&self, price: Option<u64>) -> Result<(), LifecycleError> {
        match (price, self.pricing) {
            (Some(_), Pricing::Refused) => Err(LifecycleError::NoProvider),
            (Some(_), Pricing::Sold) | (None, _) => Ok(()),
        }
    }
}

fn state_when_opened(opens_at: Option<Instant>, now: Instant) -> State {
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
