//! Decides who is admitted, from the locked row of the campaign and the units that applicants already hold.

use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::Decision;
use crate::domain::{Campaign, ParticipationId, Refusal, Timestamp};
use crate::parts::store::StoreError;
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::participation::{Column, Entity};
use crate::parts::store::numbers::to_unsigned;
use crate::parts::store::participations::new_participation::{
    Applicant, Making, NewParticipation, RankAssignment,
};
use crate::parts::store::participations::{HoldingRow, holdings_of};

/// The data for decisions: the campaign's row, and the units that applicants hold.
pub(super) struct Decider<'a> {
    campaign: &'a Campaign,
    now: Timestamp,
    /// The monotonic time of `now`.
    read_at: std::time::Instant,
    /// When units or limits last became available here.
    loosened_at: Option<Timestamp>,
    taken: u64,
    last_rank: u64,
    held: HashMap<i64, (u64, ParticipationId)>,
}

impl<'a> Decider<'a> {
    pub(super) async fn open(
        tx: &Tx,
        campaign: &'a Campaign,
        applicants: &[&Applicant],
        now: Timestamp,
        loosened_at: Option<Timestamp>,
    ) -> Result<Self, StoreError> {
        let read_at = std::time::Instant::now();
        let opened_at = campaign.opens_at.filter(|opens_at| *opens_at <= now);
        let users: Vec<i64> = applicants.iter().map(|one| one.user.0).collect();
        let rows: Vec<HoldingRow> = holdings_of(campaign.id, &users)
            .into_model()
            .all(tx)
            .await?;
        let mut held: HashMap<i64, (u64, ParticipationId)> = HashMap::new();
        for row in rows {
            let id = ParticipationId(row.id);
            let (units, first) = held.entry(row.user_id).or_insert((0, id));
            *units += u64::from(row.quantity.unsigned_abs());
            *first = Ord::min(*first, id);
        }
        let last_rank: Option<Option<i64>> = Entity::find()
            .select_only()
            .column_as(Column::Rank.max(), "last_rank")
            .filter(Column::CampaignId.eq(campaign.id.0))
            .into_tuple()
            .one(tx)
            .await?;
        Ok(Self {
            campaign,
            now,
            read_at,
            loosened_at: loosened_at.max(opened_at),
            taken: campaign.committed_units,
            last_rank: to_unsigned(last_rank.flatten().unwrap_or(0)),
            held,
        })
    }

    /// A decision for each applicant, in order, and the rows of the admitted ones.
    pub(super) fn decide_all(
        &mut self,
        applicants: &[&Applicant],
        making: &Making,
    ) -> (Vec<Decision>, Vec<NewParticipation>) {
        let mut new_participations = Vec::new();
        let decisions = applicants
            .iter()
            .map(|applicant| match self.decide(applicant) {
                Ok(_) if self.may_be_refused(applicant) => Decision::Outstanding,
                Ok(assignment) => {
                    self.take(applicant, assignment);
                    let new_participation =
                        NewParticipation::of(self.campaign, applicant, assignment, making);
                    let new_participation = new_participation.held_from(self.now);
                    let accepted = Decision::Accepted(new_participation.participation.clone());
                    new_participations.push(new_participation);
                    accepted
                }
                Err(refusal) => Decision::Refused {
                    refusal,
                    remaining: self.remaining(),
                },
            });
        (decisions.collect(), new_participations)
    }

    /// The rules of the gate, in its order.
    fn decide(&self, applicant: &Applicant) -> Result<RankAssignment, Refusal> {
        let campaign = self.campaign;
        if let Some(refusal) = campaign.closed_to_all(self.now) {
            return Err(refusal);
        }
        if applicant.quantity > campaign.max_quantity {
            return Err(Refusal::LimitExceeded);
        }
        let quantity = u64::from(applicant.quantity);
        let limit = u64::from(campaign.per_user_limit);
        let held = self.held.get(&applicant.user.0).copied();
        let units = held.map_or(0, |(units, _)| units);
        match held {
            Some((_, first)) if limit == 1 => return Err(Refusal::AlreadyParticipated { first }),
            _ if units + quantity > limit => return Err(Refusal::LimitExceeded),
            _ => {}
        }
        if self.remaining().is_some_and(|left| quantity > left) {
            return Err(Refusal::SoldOut);
        }
        Ok(RankAssignment {
            rank: self.last_rank + 1,
            remaining: self.remaining().map(|left| left.saturating_sub(quantity)),
        })
    }

    /// Counts the units of an admission.
    fn take(&mut self, applicant: &Applicant, assignment: RankAssignment) {
        let quantity = u64::from(applicant.quantity);
        self.taken += quantity;
        self.last_rank = assignment.rank;
        let held = self.held.entry(applicant.user.0);
        let (units, _) = held.or_insert((0, applicant.participation));
        *units += quantity;
    }

    /// Whether an applicant with a key came before units became available here; a request without a key is sent once.
    /// Its age is measured after the time was read, so it is never too small.
    fn may_be_refused(&self, applicant: &Applicant) -> bool {
        let age = self.read_at.saturating_duration_since(applicant.since);
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let came_at = self.now.checked_sub_signed(age);
        applicant.idempotency_key.is_some()
            && self
                .loosened_at
                .is_some_and(|at| came_at.is_none_or(|came_at| came_at <= at))
    }

    fn remaining(&self) -> Option<u64> {
        let total = self.campaign.total_stock;
        total.map(|total| total.saturating_sub(self.taken))
    }
}
