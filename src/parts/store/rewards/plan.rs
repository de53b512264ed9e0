//! The effects of a batch of changes, given the changes that were applied before. Pure.
//!
//! The changes of a participation are numbered, and a change has an effect only if its number is greater than all
//! applied ones: the final state is that of the last change, in any order of arrival.

use std::collections::HashMap;

use super::due::Due;
use crate::domain::{ParticipationId, Status};

/// The state of a participation after earlier batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AppliedState {
    /// The greatest applied number; 0: none.
    pub(super) highest: u32,
    /// Granted points or coupons.
    pub(super) granted: Option<i64>,
    /// Whether the reward was revoked.
    pub(super) is_reversed: bool,
}

/// The rows to write.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Changes that grant a reward.
    pub(super) grants: Vec<&'a Due>,
    /// Changes that revoke this much of an earlier grant.
    pub(super) reversals: Vec<(&'a Due, i64)>,
    /// Participations in a final status, with or without a reward.
    pub(super) ended: Vec<ParticipationId>,
    /// Changes that came after a later one of their participation.
    pub(super) late: usize,
}

impl<'a> Plan<'a> {
    /// Plans the changes in order; `states` may lack participations without earlier changes.
    pub(super) fn of(
        fresh: &[&'a Due],
        mut states: HashMap<ParticipationId, AppliedState>,
    ) -> Self {
        let mut plan = Self::default();
        for due in fresh {
            let change = &due.change;
            let state = states.entry(change.participation).or_default();
            if change.sequence <= state.highest {
                plan.late += 1;
                continue;
            }
            state.highest = change.sequence;
            match change.status {
                Status::Confirmed => {
                    // A grant is final: a participation is not confirmed twice.
                    if let (Some(amount), None) = (due.amount(), state.granted) {
                        state.granted = Some(amount);
                        plan.grants.push(due);
                    }
                }
                Status::Cancelled | Status::Expired => {
                    plan.ended.push(change.participation);
                    if let (Some(amount), false) = (state.granted, state.is_reversed) {
                        state.is_reversed = true;
                        plan.reversals.push((due, amount));
                    }
                }
                Status::Reserved => {}
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{CampaignId, Change, EventId, Reward, UserId};

    fn due(participation: ParticipationId, sequence: u32, status: Status) -> Due {
        Due {
            change: Change {
                event: EventId::generate(),
                participation,
                campaign: CampaignId(1),
                user: UserId(7),
                quantity: 3,
                status,
                sequence,
            },
            reward: Some(Reward::Points(100)),
        }
    }

    /// The effective rewards after a plan: granted, and not revoked.
    fn balance(plan: &Plan<'_>) -> i64 {
        let granted: i64 = plan.grants.iter().filter_map(|due| due.amount()).sum();
        let reversed: i64 = plan.reversals.iter().map(|(_, amount)| amount).sum();
        granted - reversed
    }

    #[test]
    fn a_confirmation_is_granted_and_its_cancellation_takes_it_back() {
        let id = ParticipationId::generate();
        let changes = [
            due(id, 1, Status::Reserved),
            due(id, 2, Status::Confirmed),
            due(id, 3, Status::Cancelled),
        ];
        let fresh: Vec<&Due> = changes.iter().collect();
        let plan = Plan::of(&fresh[..2], HashMap::new());
        assert_eq!((plan.grants.len(), balance(&plan)), (1, 300));
        let plan = Plan::of(&fresh, HashMap::new());
        assert_eq!((plan.grants.len(), plan.reversals.len()), (1, 1));
        assert_eq!(balance(&plan), 0);
    }

    #[test]
    fn earlier_grants_are_reversed_once_and_never_repeated() {
        let id = ParticipationId::generate();
        let state = |highest, is_reversed| {
            let granted = Some(50);
            HashMap::from([(
                id,
                AppliedState {
                    highest,
                    granted,
                    is_reversed,
                },
            )])
        };
        let (cancelled, expired) = (due(id, 3, Status::Cancelled), due(id, 4, Status::Expired));
        let plan = Plan::of(&[&cancelled, &expired], state(2, false));
        assert_eq!(plan.reversals, [(&cancelled, 50)]);
        assert!(Plan::of(&[&expired], state(3, true)).reversals.is_empty());
        let confirmed = due(id, 5, Status::Confirmed);
        assert!(Plan::of(&[&confirmed], state(4, true)).grants.is_empty());
    }

    #[test]
    fn a_late_record_has_no_effect() {
        let id = ParticipationId::generate();
        let (cancelled, confirmed) = (due(id, 2, Status::Cancelled), due(id, 1, Status::Confirmed));
        let plan = Plan::of(&[&cancelled, &confirmed], HashMap::new());
        assert_eq!((plan.late, plan.grants.len()), (1, 0));
    }

    proptest! {
        /// The last change decides, in any order and any batches.
        #[test]
        fn the_order_of_the_rows_does_not_matter(
            order in Just((0..3_usize).collect::<Vec<_>>()).prop_shuffle(), cut in 0..=3_usize,
        ) {
            let id = ParticipationId::generate();
            let all = [
                due(id, 1, Status::Reserved), due(id, 2, Status::Confirmed), due(id, 3, Status::Cancelled),
            ];
            let shuffled: Vec<&Due> = order.iter().map(|nth| &all[*nth]).collect();
            let first = Plan::of(&shuffled[..cut], HashMap::new());
            let granted = first.grants.first().and_then(|due| due.amount());
            let highest = shuffled[..cut].iter().map(|due| due.change.sequence).max().unwrap_or(0);
            let state = AppliedState { highest, granted, is_reversed: !first.reversals.is_empty() };
            let second = Plan::of(&shuffled[cut..], HashMap::from([(id, state)]));
            prop_assert_eq!(balance(&first) + balance(&second), 0);
        }
    }
}
