//! The schedule: writes down what the database's clock has opened and closed, when it is time. It must not
//! decide by a replica's clock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant as Timer, sleep_until};

use super::{Lifecycle, LifecycleError};
use crate::domain::{Campaign, CampaignId, Instant, State};
use crate::sale::reconcile::Patience;

/// The longest the schedule sleeps: a campaign that another replica changed is found by then, also where
/// the message about it was lost.
const TICK_MAX: Duration = Duration::from_secs(10);
/// How long it waits after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How far apart changed campaigns are read: units that are given back count as changes, too.
const CHANGES_PAUSE: Duration = Duration::from_millis(50);

impl Lifecycle {
    /// Writes down what the database's clock has done, tells the gate what it missed, and answers how long
    /// nothing will change by that clock. A gate that is away keeps no campaign from opening or closing.
    pub async fn tick(&self) -> Result<Duration, LifecycleError> {
        let next = self.move_due().await?;
        match self.catch_up().await {
            Ok(true) => return Ok(next),
            Ok(false) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the gate is not in step yet"
            ),
        }
        Ok(next.min(RETRY_PAUSE))
    }

    /// Waits for `pause`, or less: until a campaign is due that was created or changed meanwhile, here or on
    /// another replica.
    pub async fn until_due(&self, pause: Duration) {
        let mut due = Timer::now() + pause;
        loop {
            let changed = tokio::select! {
                () = sleep_until(due) => return,
                changed = self.catalogue.take_changed() => changed,
            };
            for id in changed {
                let pause = self.pause_of(id).await.unwrap_or(RETRY_PAUSE);
                due = due.min(Timer::now() + pause);
            }
            sleep_until(due.min(Timer::now() + CHANGES_PAUSE)).await;
        }
    }

    /// Tells the gate what it missed; answers whether it is in step.
    async fn catch_up(&self) -> Result<bool, LifecycleError> {
        // What is missed from here on is told the next time.
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
        tracing::info!(aligned.campaigns, aligned.closed, "the gate is in step");
        Ok(true)
    }

    async fn move_due(&self) -> Result<Duration, LifecycleError> {
        let now = self.store.time().await?;
        let mut next = TICK_MAX;
        for campaign in self.reconciler.live_campaigns().await? {
            let (id, state) = (campaign.id, campaign.state_at(now));
            // Another replica may have been faster; then its version is the newer one.
            if state != campaign.state && self.store.move_by_clock(id, campaign.version).await? {
                tracing::info!(
                    campaign.id = %id,
                    state = state.as_str(),
                    "campaign state changed by the schedule"
                );
                if let Err(error) = self.tell_gate(id, Patience::None).await {
                    tracing::warn!(
                        campaign.id = %id,
                        error = &error as &dyn std::error::Error,
                        "the gate does not know of the campaign's state yet"
                    );
                }
            }
            next = next.min(until_next(&campaign, now).unwrap_or(TICK_MAX));
        }
        Ok(next)
    }

    /// How long nothing will change about this campaign by the clock.
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

/// How long until a campaign opens or closes; none: it does neither.
fn until_next(campaign: &Campaign, now: Instant) -> Option<Duration> {
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
