//! Compares the gate with the store, and rebuilds a gate that disagrees: a unit that the gate counts and
//! nobody holds could never be sold, and a lease that is in no order of time would never be swept.

use std::sync::PoisonError;

use super::{Corrected, Patience, ReconcileError, Reconciler, Renewed};
use crate::domain::{Campaign, CampaignId};
use crate::parts::gate::{GateState, Settings};

/// How often a difference is looked at again before it is believed: on a system under traffic gate and
/// store are read at different moments.
const LOOKS: usize = 3;

impl Reconciler {
    /// Puts the gate right where it disagrees with the store, and says what was wrong.
    pub(super) async fn audit(&self, campaign: &Campaign) -> Result<Corrected, ReconcileError> {
        let (id, mut now) = (campaign.id, campaign.clone());
        let Some(mut before) = self.gate.inspect(id).await? else {
            return self.rebuild_if_due(id, None).await;
        };
        let mut sight = compare(&before, campaign, &before);
        for _ in 0..LOOKS {
            if sight == Sight::Agree {
                break;
            }
            match self.store.current_campaign(id).await? {
                Some(campaign) => now = campaign,
                None => return Ok(Corrected::Nothing),
            }
            let Some(after) = self.gate.inspect(id).await? else {
                return self.rebuild_if_due(id, None).await;
            };
            sight = compare(&before, &now, &after);
            before = after;
        }
        if sight == Sight::Outdated {
            return Ok(match self.configure(&now, Patience::None).await? {
                Renewed::InStep => Corrected::Settings,
                Renewed::Closed | Renewed::Later => Corrected::Nothing,
            });
        }
        if !self.is_to_be_believed(id, sight, &before) {
            return Ok(Corrected::Nothing);
        }
        tracing::warn!(
            campaign.id = %id,
            gate.epoch = before.epoch,
            gate.units = before.units,
            gate.leases = before.leases,
            gate.version = before.settings.version,
            campaign.version = now.version,
            "the gate disagrees with the store: it is rebuilt"
        );
        self.rebuild_if_due(id, Some(before.epoch)).await
    }

    /// The sweep has other campaigns to see to: it waits for nobody's rebuild.
    async fn rebuild_if_due(
        &self,
        id: CampaignId,
        seen: Option<u64>,
    ) -> Result<Corrected, ReconcileError> {
        Ok(match self.renew(id, seen, Patience::None).await? {
            Renewed::InStep => Corrected::All,
            Renewed::Closed | Renewed::Later => Corrected::Nothing,
        })
    }

    /// A gate is told of a return right after its commit. One that still lacks what it lacked a sweep ago
    /// will not be told any more.
    fn is_to_be_believed(&self, id: CampaignId, sight: Sight, gate: &GateState) -> bool {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lacking.remove(&id);
        match sight {
            Sight::Agree | Sight::Moving | Sight::Outdated => false,
            Sight::Differ => true,
            Sight::Lacks(returns) => {
                let is_lost = before.is_some_and(|before| gate.returns < before);
                if !is_lost {
                    lacking.insert(id, returns);
                }
                is_lost
            }
        }
    }

    /// Rebuilds a gate whose epoch the store has left behind.
    pub(super) async fn catch_up(&self, campaign: &Campaign) -> Result<Renewed, ReconcileError> {
        match self.gate.inspect(campaign.id).await? {
            Some(state) if state.epoch >= campaign.gate_epoch => Ok(Renewed::InStep),
            state => {
                let seen = state.map(|state| state.epoch);
                self.renew(campaign.id, seen, Patience::None).await
            }
        }
    }
}

/// What the store, read between two looks at the gate, says beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Both may be right.
    Agree,
    /// One of them is wrong.
    Differ,
    /// The gate was told of returns between the looks: they cannot be compared.
    Moving,
    /// The gate has not been told of all so many returns.
    Lacks(u64),
    /// The gate admits by older settings than the store's.
    Outdated,
}

/// What the gate counts without a lease was committed before; what is committed is counted until it is
/// given back.
fn compare(before: &GateState, store: &Campaign, after: &GateState) -> Sight {
    let whole = before.leases == before.expiring && (before.units == 0) == (before.users == 0);
    let in_epoch = before.epoch == store.gate_epoch && store.gate_epoch == after.epoch;
    let settings = Settings::from(store);
    let is_set_back = before.settings.is_newer_than(&settings);
    if !whole || !in_epoch || is_set_back || before.returns > store.returns {
        return Sight::Differ;
    }
    if !after.settings.is_newer_than(&settings) && !after.settings.is_same_as(&settings) {
        return Sight::Outdated;
    }
    if after.returns < store.returns {
        return Sight::Lacks(store.returns);
    }
    if before.returns != store.returns || after.returns != store.returns {
        return Sight::Moving;
    }
    let committed = before.committed_units_min(store.max_quantity)..=after.units;
    if committed.contains(&store.committed_units) {
        Sight::Agree
    } else {
        Sight::Differ
    }
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
            per_user_limit_max: 2,
            max_quantity: 2,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: None,
            cancellable: false,
            allow_list: None,
            returns: 0,
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
        returns: 0,
        settings: SETTINGS,
    };

    const SETTINGS: Settings = Settings {
        epoch: 3,
        version: 1,
        state: State::Open,
        opens_at: None,
        closes_at: None,
        total_stock: Some(10),
        per_user_limit: 2,
        max_quantity: 2,
    };

    #[test]
    fn settings_are_told_where_the_gate_is_behind_and_replaced_where_the_store_was_set_back() {
        let gate = |settings| GateState { settings, ..SOUND };
        let at = |before: GateState, after: GateState| compare(&before, &campaign(5), &after);
        let newer = gate(Settings {
            version: 2,
            total_stock: Some(20),
            ..SETTINGS
        });
        assert_eq!(at(newer, newer), Sight::Differ);
        // Changed after the store was read: it is read again.
        assert_eq!(at(SOUND, newer), Sight::Agree);
        let older = gate(Settings {
            epoch: 2,
            version: 9,
            state: State::Paused,
            ..SETTINGS
        });
        assert_eq!(at(older, older), Sight::Outdated);
        let same_version = gate(Settings {
            state: State::Paused,
            ..SETTINGS
        });
        assert_eq!(at(same_version, same_version), Sight::Outdated);
        assert_eq!(at(same_version, SOUND), Sight::Agree);
    }

    #[test]
    fn leased_units_may_be_committed_or_not() {
        for committed in 4..=6 {
            let sight = compare(&SOUND, &campaign(committed), &SOUND);
            assert_eq!(sight, Sight::Agree, "{committed}");
        }
    }

    #[test]
    fn units_that_nobody_holds_or_nobody_counts_are_noticed() {
        for committed in [3, 7] {
            let sight = compare(&SOUND, &campaign(committed), &SOUND);
            assert_eq!(sight, Sight::Differ, "{committed}");
        }
    }

    #[test]
    fn units_committed_between_the_looks_are_in_order() {
        let after = GateState { units: 9, ..SOUND };
        assert_eq!(compare(&SOUND, &campaign(8), &after), Sight::Agree);
    }

    #[test]
    fn what_is_being_given_back_is_not_compared() {
        let given_back = |returns| Campaign {
            returns,
            ..campaign(3)
        };
        assert_eq!(compare(&SOUND, &given_back(1), &SOUND), Sight::Lacks(1));
        let told = GateState {
            returns: 1,
            units: 5,
            ..SOUND
        };
        assert_eq!(compare(&SOUND, &given_back(1), &told), Sight::Moving);
        assert_eq!(compare(&told, &given_back(1), &told), Sight::Agree);
        assert_eq!(compare(&told, &given_back(0), &told), Sight::Differ);
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
            let sight = compare(&broken, &campaign(5), &broken);
            assert_eq!(sight, Sight::Differ, "{broken:?}");
        }
    }
}
