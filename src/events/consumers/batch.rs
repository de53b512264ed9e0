//! Processes one batch of a partition: decodes it, applies it, marks rewards, and writes dead letters for poison.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use super::poison::{Flaw, Poison};
use super::record::change;
use super::worker::{Revoked, Worker};
use crate::domain::{COUPONS_MAX, CampaignId, Change, Reward, Status};
use crate::parts::broker::kafka::OwnedPartition;
use crate::parts::broker::{Delivered, TRACEPARENT};
use crate::parts::store::{Applied, Due, StoreError};
use crate::runtime::failpoint;
use crate::runtime::trace::{self, SpanKind, Traced};

/// Approximate maximum of coupons in one transaction.
const COUPONS_AT_ONCE_MAX: u32 = 2_000;
/// A batch is poison after this many constraint violations. A concurrent transaction on the same rows has ended by
/// then.
pub(super) const REFUSALS_MAX: u32 = 20;

/// The records of a batch, by the necessary action.
#[derive(Default)]
struct Sorted<'a> {
    dues: Vec<(&'a Delivered, Due)>,
    poison: Vec<(&'a Delivered, Poison)>,
    /// Number of changes that no consumer acts on.
    ignored: usize,
}

impl Worker {
    /// Processes a batch, with a span in the trace of each record.
    pub(super) async fn process(
        &self,
        owned: &OwnedPartition,
        records: &[Delivered],
        began: Instant,
    ) -> Result<(), Revoked> {
        let mut spans = self.spans(records);
        let done = self.process_records(owned, records, began).await;
        if done.is_err() {
            for span in &mut spans {
                span.failed("the partition was revoked");
            }
        }
        done
    }

    fn spans(&self, records: &[Delivered]) -> Vec<Traced> {
        if !trace::is_on() {
            return Vec::new();
        }
        let follow = |record: &Delivered| {
            let traceparent = record.header(TRACEPARENT);
            let mut span = trace::follow(traceparent, "consumer.apply", SpanKind::Consumer)?;
            span.note("messaging.system", "kafka");
            span.note("messaging.consumer.group.name", self.consumer.as_str());
            Some(span)
        };
        records.iter().filter_map(follow).collect()
    }

    async fn process_records(
        &self,
        owned: &OwnedPartition,
        records: &[Delivered],
        began: Instant,
    ) -> Result<(), Revoked> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let mut sorted = self.sort(owned, records).await?;
        let dues = std::mem::take(&mut sorted.dues);
        for part in transactions(&dues) {
            self.apply(owned, part, &mut sorted.poison).await?;
        }
        for (record, poison) in &sorted.poison {
            tracing::warn!(
                consumer = self.consumer.as_str(),
                partition = record.partition,
                offset = record.offset,
                poison = poison.text,
                "a record cannot be applied"
            );
            self.bury(owned, record, poison).await?;
        }
        self.counts
            .done(sorted.ignored, sorted.poison.len(), began.elapsed());
        Ok(())
    }

    async fn sort<'a>(
        &self,
        owned: &OwnedPartition,
        records: &'a [Delivered],
    ) -> Result<Sorted<'a>, Revoked> {
        let mut sorted = Sorted::default();
        let mut terms: HashMap<CampaignId, Result<Option<Reward>, Poison>> = HashMap::new();
        for record in records {
            let change = match change(record) {
                Ok(change) => change,
                Err(poison) => {
                    sorted.poison.push((record, poison));
                    continue;
                }
            };
            let reward = match terms.entry(change.campaign) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.terms(owned, change.campaign).await?),
            };
            let reward = reward.clone();
            match reward.and_then(|reward| within_bounds(&change, reward)) {
                Ok(_) if change.status == Status::Reserved => sorted.ignored += 1,
                Ok(reward) => sorted.dues.push((record, Due { change, reward })),
                Err(poison) => sorted.poison.push((record, poison)),
            }
        }
        Ok(sorted)
    }

    /// Applies a part of a batch in one transaction, and marks the rewarded participations. If the database rejects
    /// it, each record is applied alone, so that only the faulty records are poison.
    async fn apply<'a>(
        &self,
        owned: &OwnedPartition,
        part: &[(&'a Delivered, Due)],
        poison: &mut Vec<(&'a Delivered, Poison)>,
    ) -> Result<(), Revoked> {
        let dues: Vec<Due> = part.iter().map(|(_, due)| due.clone()).collect();
        match self.apply_together(owned, &dues).await? {
            Ok(applied) => self.mark(owned, &applied).await?,
            Err(_) if dues.len() > 1 => {
                for (record, due) in part {
                    match self
                        .apply_together(owned, std::slice::from_ref(due))
                        .await?
                    {
                        Ok(applied) => self.mark(owned, &applied).await?,
                        Err(failure) => poison.push((record, refused(&failure))),
                    }
                }
            }
            Err(failure) => {
                let records = part.iter().map(|(record, _)| (*record, refused(&failure)));
                poison.extend(records);
            }
        }
        Ok(())
    }

    async fn apply_together(
        &self,
        owned: &OwnedPartition,
        dues: &[Due],
    ) -> Result<Result<Applied, StoreError>, Revoked> {
        let is_final = |failure: &StoreError, failures: u32| {
            let is_refused = matches!(failure, StoreError::Constraint(_));
            failure.is_about_values() || (is_refused && failures >= REFUSALS_MAX)
        };
        self.retry(owned, "apply a batch", is_final, || {
            self.parts.rewards.apply(self.consumer, dues)
        })
        .await
    }

    async fn mark(&self, owned: &OwnedPartition, applied: &Applied) -> Result<(), Revoked> {
        let marked = self.retry(
            owned,
            "mark rewarded participations",
            |_, _| false,
            || self.parts.store.mark_rewarded(&applied.rewarded),
        );
        drop(marked.await?);
        failpoint::point("consumer.marked");
        self.counts.applied(applied);
        Ok(())
    }
}

pub(super) fn refused(failure: &StoreError) -> Poison {
    Poison::new(Flaw::Refused, format!("the rewards database: {failure}"))
}

pub(super) fn within_bounds(
    change: &Change,
    reward: Option<Reward>,
) -> Result<Option<Reward>, Poison> {
    if matches!(reward, Some(Reward::Coupon(_))) && change.quantity > COUPONS_MAX {
        let text = format!("{} coupons are more than {COUPONS_MAX}", change.quantity);
        return Err(Poison::new(Flaw::Impossible, text));
    }
    Ok(reward)
}

/// Splits a batch into transactions with a bounded number of coupons.
fn transactions<'a, 'b>(
    dues: &'b [(&'a Delivered, Due)],
) -> impl Iterator<Item = &'b [(&'a Delivered, Due)]> {
    let mut rest = dues;
    std::iter::from_fn(move || {
        let mut coupons = 0;
        let fitting = rest.iter().take_while(|(_, due)| {
            if let Some(Reward::Coupon(_)) = due.reward {
                coupons += due.change.quantity;
            }
            coupons <= COUPONS_AT_ONCE_MAX
        });
        let count = fitting.count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::campaign::CouponTerms;
    use crate::domain::{EventId, ParticipationId, UserId};

    fn coupons(quantity: u32) -> Due {
        Due {
            change: Change {
                event: EventId::generate(),
                participation: ParticipationId::generate(),
                campaign: CampaignId(1),
                user: UserId(1),
                quantity,
                status: Status::Confirmed,
                sequence: 1,
            },
            reward: Some(Reward::Coupon(CouponTerms {
                discount_amount: 1,
                minimum_order_amount: 0,
                valid_from: None,
                valid_until: None,
            })),
        }
    }

    #[test]
    fn coupons_are_issued_in_bounded_transactions_and_none_is_missing() {
        let record = Delivered::default();
        let cut = |quantities: &[u32]| {
            let dues: Vec<_> = quantities
                .iter()
                .map(|quantity| (&record, coupons(*quantity)))
                .collect();
            transactions(&dues).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[]), [] as [usize; 0]);
        assert_eq!(cut(&[1; 500]), [500]);
        assert_eq!(cut(&[1_000, 1_000, 1, 9_000, 5]), [2, 1, 1, 1]);
        assert_eq!(cut(&[9_000, 9_000]), [1, 1]);
    }

    #[test]
    fn a_request_for_too_many_coupons_is_rejected() {
        let Due { mut change, reward } = coupons(COUPONS_MAX);
        assert!(within_bounds(&change, reward.clone()).is_ok());
        change.quantity += 1;
        assert_eq!(
            within_bounds(&change, reward).unwrap_err().flaw,
            Flaw::Impossible
        );
        assert!(within_bounds(&change, Some(Reward::Points(1))).is_ok());
    }
}
