//! Compares the gate with the store, and rebuilds a gate that disagrees: a unit that the gate counts and
//! nobody holds could never be sold, and a lease that is in no order of time would never be swept.

use super::{ReconcileError, Reconciler, Renewed};
use crate::domain::Campaign;
use crate::gate::GateState;

/// How often a difference is looked at again before it is believed: on a system under traffic gate and
/// store are read at different moments.
const LOOKS: usize = 3;

impl Reconciler {
    /// Whether the gate disagreed with the store and was rebuilt.
    pub(super) async fn audit(&self, campaign: &Campaign) -> Result<bool, ReconcileError> {
        let id = campaign.id;
        let Some(mut before) = self.gate.inspect(id).await? else {
            return Ok(self.renew(id, None).await? == Renewed::InStep);
        };
        if agrees(&before, campaign, &before) {
            return Ok(false);
        }
        for _ in 0..LOOKS {
            let Some(now) = self.store.campaign(id).await? else {
                return Ok(false);
            };
            let Some(after) = self.gate.inspect(id).await? else {
                return Ok(self.renew(id, None).await? == Renewed::InStep);
            };
            if agrees(&before, &now, &after) {
                return Ok(false);
            }
            before = after;
        }
        tracing::warn!(
            campaign.id = %id,
            gate.epoch = before.epoch,
            gate.units = before.units,
            gate.leases = before.leases,
            "the gate disagrees with the store: it is rebuilt"
        );
        Ok(self.renew(id, Some(before.epoch)).await? == Renewed::InStep)
    }

    /// Rebuilds a gate whose epoch the store has left behind.
    pub(super) async fn catch_up(&self, campaign: &Campaign) -> Result<Renewed, ReconcileError> {
        match self.gate.inspect(campaign.id).await? {
            Some(state) if state.epoch >= campaign.gate_epoch => Ok(Renewed::InStep),
            state => {
                let seen = state.map(|state| state.epoch);
                self.renew(campaign.id, seen).await
            }
        }
    }
}

/// Whether the store, read between two looks at the gate, may be right beside them. What the gate counts
/// without a lease was committed before; what is committed is counted until it is given back.
fn agrees(before: &GateState, store: &Campaign, after: &GateState) -> bool {
    let whole = before.leases == before.expiring && (before.units == 0) == (before.users == 0);
    let in_epoch = before.epoch == store.gate_epoch && store.gate_epoch == after.epoch;
    let committed = before.committed_units_min(store.max_quantity)..=after.units;
    whole && in_epoch && committed.contains(&store.committed_units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, Kind, State};

    fn campaign(committed_units: u64) -> Campaign {
        Campaign {
            id: CampaignId(1),
            name: String::new(),
            description: String::new(),
            kind: Kind::General,
            state: State::Open,
            total_stock: Some(10),
            committed_units,
            per_user_limit: 2,
            max_quantity: 2,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: None,
            gate_epoch: 3,
            version: 1,
            created_at: chrono::DateTime::default(),
        }
    }

    const SOUND: GateState = GateState {
        epoch: 3,
        units: 6,
        last_rank: 6,
        remaining: Some(4),
        leases: 1,
        users: 5,
        expiring: 1,
    };

    #[test]
    fn leased_units_may_be_committed_or_not() {
        for committed in 4..=6 {
            assert!(agrees(&SOUND, &campaign(committed), &SOUND), "{committed}");
        }
    }

    #[test]
    fn units_that_nobody_holds_or_nobody_counts_are_noticed() {
        assert!(!agrees(&SOUND, &campaign(3), &SOUND));
        assert!(!agrees(&SOUND, &campaign(7), &SOUND));
    }

    #[test]
    fn units_committed_between_the_looks_are_in_order() {
        let after = GateState { units: 9, ..SOUND };
        assert!(agrees(&SOUND, &campaign(8), &after));
    }

    #[test]
    fn a_gate_that_lost_a_part_of_its_state_is_noticed() {
        let no_order = GateState {
            expiring: 0,
            ..SOUND
        };
        let no_users = GateState { users: 0, ..SOUND };
        let old = GateState { epoch: 2, ..SOUND };
        for broken in [no_order, no_users, old] {
            assert!(!agrees(&broken, &campaign(5), &broken), "{broken:?}");
        }
    }
}
