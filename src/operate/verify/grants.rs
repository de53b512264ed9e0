//! Whether what participations earn was granted, and what was cancelled taken back (I6): every participation
//! in the events' database, against the rewards database.
//!
//! What was changed a short while ago may be under way. So only that is a breach which a consumer has passed:
//! in the same partition it has applied events that were made much later. A consumer that rests, or is not
//! there, or is behind in one partition, breaks nothing. Nor does an event that was never published, and what was
//! earned before its campaign had this reward.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::{CampaignId, Consumer, Instant, KeyChoice, ParticipationId, Status, key_hash};
use crate::parts::store::{Rewarding, Rewards, Standing, Store, StoreError};

/// Campaigns, and participations, that are read at once.
const CAMPAIGNS: u64 = 500;
const PARTICIPATIONS: u64 = 1_000;
const PARTICIPATIONS_AT_ONCE: usize = 1_000;
/// The newest events of a consumer that show how far it is in each partition.
const NEWEST: u32 = 10_000;
/// Examples of one kind of breach of a campaign that are named.
const EXAMPLES_MAX: usize = 5;

/// What compares the two databases.
pub struct Grants<'a> {
    store: &'a Store,
    rewards: &'a Rewards,
    keys: Keys,
    passed: Vec<(Consumer, Passed)>,
}

/// Which partition the events of a participation are in.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// What the key of a record is.
    pub choice: KeyChoice,
    /// How many partitions the topic of participations has.
    pub partitions: u32,
}

/// What is older than this has been passed by a consumer: in each partition of which it has applied anything
/// lately.
#[derive(Default)]
struct Passed(HashMap<u32, Instant>);

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
        keys: Keys,
    ) -> Result<Self, StoreError> {
        let mut passed = Vec::new();
        for consumer in Consumer::ALL {
            let newest = rewards.newest(consumer, NEWEST).await?;
            let ids: Vec<ParticipationId> = newest.iter().map(|(id, _)| *id).collect();
            let partitions = keys.partitions(store, &ids).await?;
            let mut by_partition = Passed::default();
            for (id, made) in newest {
                if let Some(partition) = partitions.get(&id) {
                    // The newest come first.
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
            for (consumer, passed) in &self.passed {
                let Some(newest) = passed.0.values().max() else {
                    continue;
                };
                let old = page.iter().filter(|one| one.since < *newest);
                let old: Vec<&Standing> = old.collect();
                let compared = self.compare(campaign, (*consumer, passed), &old, &mut wrong);
                compared.await?;
            }
        }
    }

    async fn compare(
        &self,
        campaign: &Rewarding,
        (consumer, passed): (Consumer, &Passed),
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
        let ids: Vec<ParticipationId> = suspects.iter().map(|one| one.id).collect();
        let partitions = self.keys.partitions(self.store, &ids).await?;
        let is_passed = |one: &Standing| {
            let partition = partitions.get(&one.id);
            let before = partition.and_then(|partition| passed.0.get(partition));
            before.is_some_and(|before| one.since < *before)
        };
        for one in suspects {
            if unpublished.contains(&one.rank) || !is_passed(one) {
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

impl Keys {
    /// The partitions of participations, as far as they are there.
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
