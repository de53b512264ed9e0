//! The schedule: writes the state of campaigns that have opened or closed by the database's clock. It must not use the
//! clock of a replica.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Lifecycle, LifecycleError};
use crate::domain::{Campaign, CampaignId, State, Timestamp};
use crate::runtime::telemetry::cause;
use crate::sale::reconcile::Patience;

/// Longest sleep of the schedule. It bounds how late a change by another replica is found if its notification is lost.
const TICK_MAX: Duration = Duration::from_secs(10);
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Shortest interval between reads of changed campaigns. Returned units count as changes too.
const CHANGES_PAUSE: Duration = Duration::from_millis(50);

impl Lifecycle {
    /// Writes the states that are due by the database's clock, and the settings that the gate has missed. Returns the time
    /// until the next state is due. An unavailable gate does not prevent campaigns from opening or closing.
    pub async fn tick(&self) -> Result<Duration, LifecycleError> {
        let next = self.move_due().await?;
        match self.catch_up().await {
            Ok(true) => return Ok(next),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = cause(&error), "the gate is not reconciled yet"),
        }
        Ok(next.min(RETRY_PAUSE))
    }

    /// Waits for `pause`, or less if a campaign that is created or changed meanwhile, by any replica, is due earlier.
    pub async fn until_due(&self, pause: Duration) {
        let mut due = Instant::now() + pause;
        loop {
            let changed = tokio::select! {
                () = sleep_until(due) => return,
                changed = self.catalogue.take_changed() => changed,
            };
            for id in changed {
                let pause = self.pause_of(id).await.unwrap_or(RETRY_PAUSE);
                due = due.min(Instant::now() + pause);
            }
            sleep_until(due.min(Instant::now() + CHANGES_PAUSE)).await;
        }
    }

    /// Writes the settings that the gate has missed. Returns whether it is reconciled.
    async fn catch_up(&self) -> Result<bool, LifecycleError> {
        // Later changes are written by the next call.
        if !self.gate_behind.swap(false, Ordering::AcqRel) {
            return Ok(true);
        }
        let aligned = self.reconciler.align().await.inspect_err(|_| {
            self.gate_behind.store(true, Ordering::Release);
        })?;
        if aligned.later > 0 {
            self.gate_behind.store(true, Ordering::Release);
            return Ok(false);
        }
        tracing::info!(aligned.campaigns, aligned.closed, "the gate is reconciled");
        Ok(true)
    }

    async fn move_due(&self) -> Result<Duration, LifecycleError> {
        let now = self.store.time().await?;
        let mut next = TICK_MAX;
        for campaign in self.reconciler.live_campaigns().await? {
            let (id, state) = (campaign.id, campaign.state_at(now));
            // Another replica may have been first; then its version is the newer one.
            if state != campaign.state && self.store.move_by_clock(id, campaign.version).await? {
                self.committed(id);
                tracing::info!(
                    campaign.id = %id,
                    state = state.as_str(),
                    "campaign state changed by the schedule"
                );
                if let Err(error) = self.configure_gate(id, Patience::None).await {
                    tracing::warn!(
                        campaign.id = %id,
                        error = cause(&error),
                        "the campaign's state is not written to the gate yet"
                    );
                }
            }
            next = next.min(until_next(&campaign, now).unwrap_or(TICK_MAX));
        }
        Ok(next)
    }

    /// Time until the next state of this campaign is due.
    async fn pause_of(&self, id: CampaignId) -> Result<Duration, LifecycleError> {
        let Some(campaign) = self.store.campaign(id).await? else {
            return Ok(TICK_MAX);
        };
        let now = self.store.time().await?;
        if campaign.state_at(now) != campaign.state {
            return Ok(Duration::ZERO);
        }
        Ok(until_next(&campaign, now).unwrap_or(TICK_MAX))
    }
}

/// Time until a campaign opens or closes; none: it does neither.
fn until_next(campaign: &Campaign, now: Timestamp) -> Option<Duration> {
    if !matches!(
        campaign.state,
        State::Scheduled | State::Open | State::Paused
    ) {
        return None;
    }
    let times = [campaign.opens_at, campaign.closes_at];
    let pauses = times.into_iter().flatten().filter(|at| *at > now);
    let pauses = pauses.filter_map(|at| (at - now).to_std().ok());
    pauses
        .map(|pause| pause.max(Duration::from_millis(1)))
        .min()
}
