//! I6: compares every participation in the events' database with the rewards database. Rewards of confirmed
//! participations must be granted, and those of cancelled ones revoked.
//!
//! Recent changes may not be consumed yet. So a difference is a violation only if the consumer is past the event: it
//! has applied much newer events of the same partition. A stopped or late consumer causes no violation. Neither do
//! events that were never published, nor participations from before the campaign had this reward.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::{
    CampaignId, Consumer, KeyChoice, ParticipationId, Status, Timestamp, key_hash,
};
use crate::parts::store::{RankedStatus, Rewarding, Rewards, Store, StoreError};

/// Campaigns, and participations, read by one statement.
const CAMPAIGNS: u64 = 500;
const PARTICIPATIONS: u64 = 1_000;
const PARTICIPATIONS_AT_ONCE: usize = 1_000;
/// Number of a consumer's newest events that are read to find its progress in each partition.
const NEWEST: u32 = 10_000;
/// Most examples of one kind of violation of a campaign.
const EXAMPLES_MAX: usize = 5;

/// Compares the two databases.
pub struct Grants<'a> {
    store: &'a Store,
    rewards: &'a Rewards,
    keys: Keys,
    passed: Vec<(Consumer, Progress)>,
}

/// Determines the partition of a participation's events.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The key of a record.
    pub choice: KeyChoice,
    /// Number of partitions of the topic of participations.
    pub partitions: u32,
}

/// The progress of a consumer: for each partition of its newest events, the time before which all events are applied.
#[derive(Default)]
struct Progress(HashMap<u32, Timestamp>);

/// The violations of one campaign.
#[derive(Default)]
struct Violations {
    not_granted: Vec<ParticipationId>,
    not_revoked: Vec<ParticipationId>,
}

impl<'a> Grants<'a> {
    /// Compares, with this much time for a consumer to apply an event.
    pub async fn new(
        store: &'a Store,
        rewards: &'a Rewards,
        patience: Duration,
        keys: Keys,
    ) -> Result<Self, StoreError> {
        let mut passed = Vec::new();
        for consumer in Consumer::ALL {
            let newest = rewards.newest(consumer, NEWEST).await?;
            let ids: Vec<ParticipationId> = newest.iter().map(|(id, _)| *id).collect();
            let partitions = keys.partitions(store, &ids).await?;
            let mut by_partition = Progress::default();
            for (id, made) in newest {
                if let Some(partition) = partitions.get(&id) {
                    // The newest events come first.
                    by_partition.0.entry(*partition).or_insert(made - patience);
                }
            }
            passed.push((consumer, by_partition));
        }
        Ok(Self {
            store,
            rewards,
            keys,
            passed,
        })
    }

    /// The violations; `granted` are the campaigns with granted rewards.
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
                    self.campaign(campaign)
                        .await?
                        .describe(campaign, &mut breaches);
                }
            }
        }
    }

    async fn campaign(&self, campaign: &Rewarding) -> Result<Violations, StoreError> {
        let mut found = Violations::default();
        let mut after = 0;
        loop {
            let id = campaign.campaign;
            let page = self
                .store
                .ranked_statuses(id, after, PARTICIPATIONS)
                .await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            after = last.rank;
            for (consumer, passed) in &self.passed {
                let Some(newest) = passed.0.values().max() else {
                    continue;
                };
                let old = page.iter().filter(|one| one.since < *newest);
                let old: Vec<&RankedStatus> = old.collect();
                let compared = self.compare(campaign, (*consumer, passed), &old, &mut found);
                compared.await?;
            }
        }
    }

    async fn compare(
        &self,
        campaign: &Rewarding,
        (consumer, passed): (Consumer, &Progress),
        old: &[&RankedStatus],
        found: &mut Violations,
    ) -> Result<(), StoreError> {
        let ids: Vec<ParticipationId> = old.iter().map(|one| one.id).collect();
        let effects = self.rewards.effects(consumer, &ids).await?;
        let reward = campaign.reward.as_ref();
        let grants = reward.is_some_and(|reward| consumer.grants(reward));
        let is_missing = |one: &RankedStatus| {
            grants
                && one.status == Status::Confirmed
                && one.since >= campaign.since
                && !effects.granted.contains(&one.id)
        };
        let is_standing =
            |one: &RankedStatus| !one.status.holds_units() && effects.standing.contains(&one.id);
        let suspects = old.iter().copied();
        let suspects: Vec<&RankedStatus> = suspects
            .filter(|one| is_missing(one) || is_standing(one))
            .collect();
        let ranks: Vec<u64> = suspects.iter().map(|one| one.rank).collect();
        let unpublished = self.store.unpublished(campaign.campaign, &ranks).await?;
        let ids: Vec<ParticipationId> = suspects.iter().map(|one| one.id).collect();
        let partitions = self.keys.partitions(self.store, &ids).await?;
        let is_passed = |one: &RankedStatus| {
            let partition = partitions.get(&one.id);
            let before = partition.and_then(|partition| passed.0.get(partition));
            before.is_some_and(|before| one.since < *before)
        };
        for one in suspects {
            if unpublished.contains(&one.rank) || !is_passed(one) {
                continue;
            }
            if is_missing(one) {
                found.not_granted.push(one.id);
            } else {
                found.not_revoked.push(one.id);
            }
        }
        Ok(())
    }
}

impl Keys {
    /// The partitions of participations; missing ones are left out.
    async fn partitions(
        self,
        store: &Store,
        ids: &[ParticipationId],
    ) -> Result<HashMap<ParticipationId, u32>, StoreError> {
        let of = |key: &str| key_hash(key) % self.partitions.max(1);
        if self.choice == KeyChoice::Participation {
            let of_id = |id: &ParticipationId| (*id, of(&id.to_string()));
            return Ok(ids.iter().map(of_id).collect());
        }
        let mut partitions = HashMap::new();
        for ids in ids.chunks(PARTICIPATIONS_AT_ONCE) {
            let found = store.participations(ids).await?;
            let of_found = found.iter().map(|one| (one.id, of(&self.choice.key(one))));
            partitions.extend(of_found);
        }
        Ok(partitions)
    }
}

impl Violations {
    fn describe(&self, campaign: &Rewarding, breaches: &mut Vec<String>) {
        for (what, which) in [
            (
                "confirmed participations without a reward",
                &self.not_granted,
            ),
            (
                "cancelled participations with a reward that is not revoked",
                &self.not_revoked,
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
