//! The life of a campaign: created, changed and moved by admins, opened and closed by the clock. Each
//! step is written to the store first and told to the gate after; when the gate cannot be told, it is
//! told again until it is.

mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::catalogue::Catalogue;
use crate::domain::{
    AuditAction, AuditNote, COUPONS_MAX, Campaign, CampaignId, Instant, Kind, Origin, Reward, State,
};
use crate::gate::GateError;
use crate::reconcile::{ReconcileError, Reconciler};
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
    gate_behind: Arc<AtomicBool>,
}

impl Lifecycle {
    /// Changes campaigns of this store, and tells this gate.
    #[must_use]
    pub fn new(store: Store, catalogue: Catalogue, reconciler: Reconciler) -> Self {
        // At start the gate may be empty or behind.
        Self {
            store,
            catalogue,
            reconciler,
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
        if let Some(closes_at) = new.closes_at
            && closes_at <= self.store.time().await?
        {
            return Err(invalid("closesAt", "lies in the past"));
        }
        let note = by.map(|by| record::created(by.clone(), &new));
        let campaign = self.store.create_campaign_noted(new, note).await?;
        self.catalogue.changed(campaign.id).await;
        // The campaign stands either way, so a gate that is away is no failure of the creation.
        if let Err(error) = self.reconciler.renew(campaign.id, None).await {
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
}

fn state_when_opened(opens_at: Option<Instant>, now: Instant) -> State {
    if opens_at.is_some_and(|at| at > now) {
        State::Scheduled
    } else {
        State::Open
    }
}

/// The fields that have to make sense together.
struct Terms<'a> {
    name: &'a str,
    kind: Kind,
    total_stock: Option<u64>,
    committed_units: u64,
    per_user_limit: u32,
    max_quantity: u32,
    price: Option<u64>,
    hold_seconds: u32,
    opens_at: Option<Instant>,
    closes_at: Option<Instant>,
    reward: Option<&'a Reward>,
}

impl<'a> Terms<'a> {
    fn of_new(new: &'a NewCampaign) -> Self {
        Self {
            name: &new.name,
            kind: new.kind,
            total_stock: new.total_stock,
            committed_units: 0,
            per_user_limit: new.per_user_limit,
            max_quantity: new.max_quantity,
            price: new.price,
            hold_seconds: new.hold_seconds,
            opens_at: new.opens_at,
            closes_at: new.closes_at,
            reward: new.reward.as_ref(),
        }
    }

    fn of_changed(campaign: &'a Campaign, change: &'a CampaignChange) -> Self {
        Self {
            name: change.name.as_deref().unwrap_or(&campaign.name),
            kind: campaign.kind,
            total_stock: change.total_stock.unwrap_or(campaign.total_stock),
            committed_units: campaign.committed_units,
            per_user_limit: change.per_user_limit.unwrap_or(campaign.per_user_limit),
            max_quantity: change.max_quantity.unwrap_or(campaign.max_quantity),
            price: change.price.unwrap_or(campaign.price),
            hold_seconds: change.hold_seconds.unwrap_or(campaign.hold_seconds),
            opens_at: change.opens_at.unwrap_or(campaign.opens_at),
            closes_at: change.closes_at.unwrap_or(campaign.closes_at),
            reward: change
                .reward
                .as_ref()
                .map_or(campaign.reward.as_ref(), Option::as_ref),
        }
    }
}

/// Largest amount and stock: what every client and both databases hold exactly.
const AMOUNT_MAX: u64 = (1 << 53) - 1;
const UNITS_MAX: u32 = 1_000_000;
const HOLD_SECONDS_MAX: u32 = 7 * 24 * 3_600;

fn check(terms: &Terms<'_>) -> Result<(), LifecycleError> {
    if terms.name.trim().is_empty() || terms.name.chars().count() > 200 {
        return Err(invalid("name", "must have 1 to 200 characters"));
    }
    if terms.total_stock.is_some_and(|total| total > AMOUNT_MAX) {
        return Err(invalid("totalStock", "is too large"));
    }
    if terms
        .total_stock
        .is_some_and(|total| total < terms.committed_units)
    {
        return Err(invalid("totalStock", "is less than what is already taken"));
    }
    if !(1..=UNITS_MAX).contains(&terms.per_user_limit) {
        return Err(invalid("perUserLimit", "must be between 1 and 1000000"));
    }
    if !(1..=terms.per_user_limit).contains(&terms.max_quantity) {
        return Err(invalid("maxQuantity", "must be between 1 and perUserLimit"));
    }
    if terms.price.is_some_and(|price| price > AMOUNT_MAX) {
        return Err(invalid("price", "is too large"));
    }
    let dearest = terms
        .price
        .unwrap_or(0)
        .checked_mul(u64::from(terms.max_quantity));
    if dearest.is_none_or(|amount| amount > AMOUNT_MAX) {
        return Err(invalid("price", "times maxQuantity is too large"));
    }
    if !(1..=HOLD_SECONDS_MAX).contains(&terms.hold_seconds) {
        return Err(invalid("holdSeconds", "must be between 1 and 604800"));
    }
    if let (Some(opens_at), Some(closes_at)) = (terms.opens_at, terms.closes_at)
        && closes_at <= opens_at
    {
        return Err(invalid("closesAt", "must be after opensAt"));
    }
    match (terms.kind, terms.reward) {
        (Kind::Coupon, Some(Reward::Points(_))) => {
            Err(invalid("reward", "must be a coupon in a coupon campaign"))
        }
        (Kind::Points, Some(Reward::Coupon(_))) => {
            Err(invalid("reward", "must be points in a points campaign"))
        }
        (_, Some(Reward::Coupon(_))) if terms.max_quantity > COUPONS_MAX => Err(invalid(
            "maxQuantity",
            "must be at most 10000 where a unit earns a coupon",
        )),
        _ => Ok(()),
    }
}

fn invalid(field: &'static str, problem: &str) -> LifecycleError {
    LifecycleError::Invalid {
        field,
        problem: problem.to_owned(),
    }
}
