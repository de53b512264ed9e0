//! Whether what participations earn was granted, and what was cancelled taken back (I6): every participation
//! in the events' database, against the rewards database.
//!
//! What was changed a short while ago may be under way. So only that is a breach which a consumer has passed:
//! it has applied events that were made much later. A consumer that rests, or is not there, breaks nothing.
//! Nor does an event that was never published, and what was earned before its campaign had this reward.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::{CampaignId, Consumer, Instant, ParticipationId, Status};
use crate::store::{Rewarding, Rewards, Standing, Store, StoreError};

/// Campaigns, and participations, that are read at once.
const CAMPAIGNS: u64 = 500;
const PARTICIPATIONS: u64 = 1_000;
/// Examples of one kind of breach of a campaign that are named.
const EXAMPLES_MAX: usize = 5;

/// What compares the two databases.
pub struct Grants<'a> {
    store: &'a Store,
    rewards: &'a Rewards,
    /// What is older than this has been passed by a consumer.
    passed: Vec<(Consumer, Instant)>,
}

/// What is wrong in one campaign.
#[derive(Default)]
struct Wrong {
    missing: Vec<ParticipationId>,
    standing: Vec<ParticipationId>,
}

impl<'a> Grants<'a> {
    /// Compares, leaving to each consumer so much time for an event.
    pub async fn new(
        store: &'a Store,
        rewards: &'a Rewards,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let mut passed = Vec::new();
        for consumer in Consumer::ALL {
            if let Some(reached) = rewards.reached(consumer).await? {
                passed.push((consumer, reached - patience));
            }
        }
        Ok(Self {
            store,
            rewards,
            passed,
        })
    }

    /// What is wrong; `granted` are campaigns of which something was granted.
    pub async fn breaches(
        &self,
        granted: &BTreeSet<CampaignId>,
    ) -> Result<Vec<String>, StoreError> {
        let mut breaches = Vec::new();
        let mut after = CampaignId(0);
        loop {
            let page = self.store.rewarding(after, CAMPAIGNS).await?;
            let Some(last) = page.last() else {
                return Ok(breaches);
            };
            after = last.campaign;
            for campaign in &page {
                if campaign.reward.is_some() || granted.contains(&campaign.campaign) {
                    self.campaign(campaign).await?.say(campaign, &mut breaches);
                }
            }
        }
    }

    async fn campaign(&self, campaign: &Rewarding) -> Result<Wrong, StoreError> {
        let mut wrong = Wrong::default();
        let mut after = 0;
        loop {
            let id = campaign.campaign;
            let page = self.store.standings(id, after, PARTICIPATIONS).await?;
            let Some(last) = page.last() else {
                return Ok(wrong);
            };
            after = last.rank;
            for (consumer, before) in &self.passed {
                let old = page.iter().filter(|one| one.since < *before);
                let old: Vec<&Standing> = old.collect();
                self.compare(campaign, *consumer, &old, &mut wrong).await?;
            }
        }
    }

    async fn compare(
        &self,
        campaign: &Rewarding,
        consumer: Consumer,
        old: &[&Standing],
        wrong: &mut Wrong,
    ) -> Result<(), StoreError> {
        let ids: Vec<ParticipationId> = old.iter().map(|one| one.id).collect();
        let effects = self.rewards.effects(consumer, &ids).await?;
        let reward = campaign.reward.as_ref();
        let grants = reward.is_some_and(|reward| consumer.grants(reward));
        let is_missing = |one: &Standing| {
            grants
                && one.status == Status::Confirmed
                && one.since >= campaign.since
                && !effects.granted.contains(&one.id)
        };
        let is_standing =
            |one: &Standing| !one.status.holds_units() && effects.standing.contains(&one.id);
        let suspects = old.iter().copied();
        let suspects: Vec<&Standing> = suspects
            .filter(|one| is_missing(one) || is_standing(one))
            .collect();
        let ranks: Vec<u64> = suspects.iter().map(|one| one.rank).collect();
        let unpublished = self.store.unpublished(campaign.campaign, &ranks).await?;
        for one in suspects {
            if unpublished.contains(&one.rank) {
                continue;
            }
            if is_missing(one) {
                wrong.missing.push(one.id);
            } else {
                wrong.standing.push(one.id);
            }
        }
        Ok(())
    }
}

impl Wrong {
    fn say(&self, campaign: &Rewarding, breaches: &mut Vec<String>) {
        for (what, which) in [
            (
                "confirmed participations were granted nothing",
                &self.missing,
            ),
            (
                "cancelled participations keep what they were granted",
                &self.standing,
            ),
        ] {
            if which.is_empty() {
                continue;
            }
            let examples: Vec<String> = which
                .iter()
                .take(EXAMPLES_MAX)
                .map(ToString::to_string)
                .collect();
            breaches.push(format!(
                "I6: campaign {}: {} {what}: {}",
                campaign.campaign,
                which.len(),
                examples.join(", ")
            ));
        }
    }
}
