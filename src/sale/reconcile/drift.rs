//! Checks whether the gate has drifted from the store, and rebuilds it if so: a unit that only the gate counts could
//! never be sold.

use std::sync::PoisonError;

use super::outcome::Corrected;
use super::{Patience, ReconcileError, Reconciler, Renewed};
use crate::domain::{Campaign, CampaignId};
use crate::parts::gate::{GateState, Settings};

/// How often a difference is read again before it counts as drift: under traffic, gate and store are read at
/// different moments.
const READINGS_MAX: usize = 3;

impl Reconciler {
    /// Checks a campaign's gate, and corrects it where it differs from the store.
    pub(super) async fn check_drift(
        &self,
        campaign: &Campaign,
    ) -> Result<Corrected, ReconcileError> {
        let (id, mut now) = (campaign.id, campaign.clone());
        let Some(mut before) = self.gate.inspect(id).await? else {
            return self.rebuild_if_due(id, None).await;
        };
        let mut comparison = compare(&before, campaign, &before);
        for _ in 0..READINGS_MAX {
            if comparison == Comparison::Equal {
                break;
            }
            match self.store.current_campaign(id).await? {
                Some(campaign) => now = campaign,
                None => return Ok(Corrected::Nothing),
            }
            let Some(after) = self.gate.inspect(id).await? else {
                return self.rebuild_if_due(id, None).await;
            };
            comparison = compare(&before, &now, &after);
            before = after;
        }
        if comparison == Comparison::OutdatedSettings {
            return Ok(match self.configure(&now, Patience::None).await? {
                Renewed::InStep => Corrected::Settings,
                Renewed::Closed | Renewed::Later => Corrected::Nothing,
            });
        }
        if !self.is_drift(id, comparison, &before) {
            return Ok(Corrected::Nothing);
        }
        tracing::warn!(
            campaign.id = %id,
            gate.epoch = before.epoch,
            gate.units = before.units,
            gate.leases = before.leases,
            gate.version = before.settings.version,
            campaign.version = now.version,
            "the gate has drifted from the store: it is rebuilt"
        );
        self.rebuild_if_due(id, Some(before.epoch)).await
    }

    /// Rebuilds unless a rebuild is running: the sweep has other campaigns to check.
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

    /// A gate gets a return right after its commit. A return that it still lacks one sweep later is lost.
    fn is_drift(&self, id: CampaignId, comparison: Comparison, gate: &GateState) -> bool {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lacking.remove(&id);
        match comparison {
            Comparison::Equal | Comparison::Changing | Comparison::OutdatedSettings => false,
            Comparison::Drifted => true,
            Comparison::LacksReturns(returns) => {
                let is_lost = before.is_some_and(|before| gate.returns < before);
                if !is_lost {
                    lacking.insert(id, returns);
                }
                is_lost
            }
        }
    }

    /// Rebuilds a gate whose epoch is older than the store's.
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

/// The store, read between two readings of the gate, compared with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// No drift.
    Equal,
    /// The gate has drifted, or the store has lost changes.
    Drifted,
    /// The gate got returns between the readings, which makes them incomparable.
    Changing,
    /// The gate lacks some of this number of returns.
    LacksReturns(u64),
    /// The gate's settings are older than the store's.
    OutdatedSettings,
}

/// Units that the gate counts without a lease were committed earlier; committed units count until they are
/// returned.
fn compare(before: &GateState, store: &Campaign, after: &GateState) -> Comparison {
    let whole = (before.units == 0) == (before.users == 0);
    let in_epoch = before.epoch == store.gate_epoch && store.gate_epoch == after.epoch;
    let settings = Settings::from(store);
    let is_set_back = before.settings.is_newer_than(&settings);
    if !whole || !in_epoch || is_set_back || before.returns > store.returns {
        return Comparison::Drifted;
    }
    if !after.settings.is_newer_than(&settings) && !after.settings.is_same_as(&settings) {
        return Comparison::OutdatedSettings;
    }
    if after.returns < store.returns {
        return Comparison::LacksReturns(store.returns);
    }
    if before.returns != store.returns || after.returns != store.returns {
        return Comparison::Changing;
    }
    let committed = before.committed_units_min(store.max_quantity)..=after.units;
    if committed.contains(&store.committed_units) {
        Comparison::Equal
    } else {
        Comparison::Drifted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::State;

    fn campaign(committed_units: u64) -> Campaign {
        Campaign {
            committed_units,
            ..Campaign::example()
        }
    }

    const CONSISTENT: GateState = GateState {
        epoch: 3,
        units: 6,
        last_rank: 6,
        remaining: Some(4),
        leases: 1,
        users: 5,
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
    fn older_settings_are_outdated_and_newer_ones_are_drift() {
        let gate = |settings| GateState {
            settings,
            ..CONSISTENT
        };
        let at = |before: GateState, after: GateState| compare(&before, &campaign(5), &after);
        let newer = gate(Settings {
            version: 2,
            total_stock: Some(20),
            ..SETTINGS
        });
        assert_eq!(at(newer, newer), Comparison::Drifted);
        // Changed after the store was read: it is read again.
        assert_eq!(at(CONSISTENT, newer), Comparison::Equal);
        let older = gate(Settings {
            epoch: 2,
            version: 9,
            state: State::Paused,
            ..SETTINGS
        });
        assert_eq!(at(older, older), Comparison::OutdatedSettings);
        let same_version = gate(Settings {
            state: State::Paused,
            ..SETTINGS
        });
        assert_eq!(at(same_version, same_version), Comparison::OutdatedSettings);
        assert_eq!(at(same_version, CONSISTENT), Comparison::Equal);
    }

    #[test]
    fn leased_units_may_be_committed_or_not() {
        for committed in 4..=6 {
            let comparison = compare(&CONSISTENT, &campaign(committed), &CONSISTENT);
            assert_eq!(comparison, Comparison::Equal, "{committed}");
        }
    }

    #[test]
    fn units_without_a_holder_or_uncounted_units_are_drift() {
        for committed in [3, 7] {
            let comparison = compare(&CONSISTENT, &campaign(committed), &CONSISTENT);
            assert_eq!(comparison, Comparison::Drifted, "{committed}");
        }
    }

    #[test]
    fn units_committed_between_the_readings_are_no_drift() {
        let after = GateState {
            units: 9,
            ..CONSISTENT
        };
        assert_eq!(
            compare(&CONSISTENT, &campaign(8), &after),
            Comparison::Equal
        );
    }

    #[test]
    fn units_being_returned_are_not_compared() {
        let given_back = |returns| Campaign {
            returns,
            ..campaign(3)
        };
        assert_eq!(
            compare(&CONSISTENT, &given_back(1), &CONSISTENT),
            Comparison::LacksReturns(1)
        );
        let returned = GateState {
            returns: 1,
            units: 5,
            ..CONSISTENT
        };
        assert_eq!(
            compare(&CONSISTENT, &given_back(1), &returned),
            Comparison::Changing
        );
        assert_eq!(
            compare(&returned, &given_back(1), &returned),
            Comparison::Equal
        );
        assert_eq!(
            compare(&returned, &given_back(0), &returned),
            Comparison::Drifted
        );
    }

    #[test]
    fn a_gate_that_lost_a_part_of_its_state_has_drifted() {
        let no_users = GateState {
            users: 0,
            ..CONSISTENT
        };
        let old = GateState {
            epoch: 2,
            ..CONSISTENT
        };
        for broken in [no_users, old] {
            let comparison = compare(&broken, &campaign(5), &broken);
            assert_eq!(comparison, Comparison::Drifted, "{broken:?}");
        }
    }
}
