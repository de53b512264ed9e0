//! I7: compares the gate's units and settings with the store's. They cannot be read at the same moment, so the gate is
//! read before the store, and again after it if they differ.

use std::time::Duration;

use super::{Verification, VerifyError};
use crate::domain::CampaignId;
use crate::parts::gate::{GateState, Settings};
use crate::parts::store::CampaignCounters;

/// Reads of a difference until it is a violation: returned units lower the gate's count between two reads.
const READINGS_MAX: usize = 5;
/// Pause between reads of different settings: the gate gets new settings right after the store.
const SETTINGS_PAUSE: Duration = Duration::from_millis(200);

/// The gate compared with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// The gate counts the committed units, and at most those of its leases in addition.
    Equal,
    /// The gate counts less; it may have been read too early.
    Behind,
    /// The gate counts too much, or the two are of different epochs.
    Differs,
    /// Units were returned that the gate does not know of yet.
    LacksReturns,
}

fn compare(counters: &CampaignCounters, before: &GateState) -> Comparison {
    if before.epoch != counters.gate_epoch {
        return Comparison::Differs;
    }
    if before.returns < counters.returns {
        Comparison::LacksReturns
    } else if before.committed_units_min(counters.max_quantity) > counters.committed_units {
        Comparison::Differs
    } else if before.units >= counters.committed_units {
        Comparison::Equal
    } else {
        Comparison::Behind
    }
}

impl Verification {
    /// The violation, if there is one. `before` was read before `counters`. A gate without state, or with an older epoch,
    /// is no violation: the writer refuses its admissions, and then it is rebuilt. Neither are the counts of an ended
    /// campaign, which sells nothing more: nobody corrects them, and its gate expires.
    pub(super) async fn gate_breach(
        &self,
        counters: &CampaignCounters,
        before: Option<GateState>,
    ) -> Result<Option<String>, VerifyError> {
        if before.is_some_and(|gate| drift(counters, &gate).is_some())
            && let Some(drift) = self.settings_breach(counters.id).await?
        {
            return Ok(Some(drift));
        }
        if counters.is_over() {
            return Ok(None);
        }
        let (mut counters, mut before) = (*counters, before);
        for reading in 1.. {
            let Some(state) = before else {
                return Ok(None);
            };
            let comparison = compare(&counters, &state);
            let after = match comparison {
                Comparison::Equal => return Ok(None),
                Comparison::Behind => self.gate.inspect(counters.id).await?,
                Comparison::Differs | Comparison::LacksReturns => Some(state),
            };
            let has_caught_up = after.is_none_or(|after| {
                after.epoch == counters.gate_epoch && after.units >= counters.committed_units
            });
            if comparison == Comparison::Behind && has_caught_up {
                return Ok(None);
            }
            if reading == READINGS_MAX && comparison == Comparison::LacksReturns {
                // The return reaches the gate soon, or the sweeper finds it.
                return Ok(None);
            }
            if reading == READINGS_MAX {
                return Ok(breach(&counters, &state));
            }
            before = self.gate.inspect(counters.id).await?;
            match self.store.counters_of(counters.id).await? {
                Some(now) if !now.is_over() => counters = now,
                Some(_) | None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Settings that still differ after the gate had time to get them.
    async fn settings_breach(&self, id: CampaignId) -> Result<Option<String>, VerifyError> {
        let mut breach = None;
        for reading in 0..READINGS_MAX {
            if reading > 0 {
                tokio::time::sleep(SETTINGS_PAUSE).await;
            }
            let gate = self.gate.inspect(id).await?;
            let counters = self.store.counters_of(id).await?;
            let both = counters.as_ref().zip(gate.as_ref());
            breach = both.and_then(|(counters, gate)| drift(counters, gate));
            if breach.is_none() {
                break;
            }
        }
        Ok(breach)
    }
}

/// The settings in which the gate differs from the store. A gate of an older epoch is replaced anyway.
fn drift(counters: &CampaignCounters, gate: &GateState) -> Option<String> {
    if gate.epoch < counters.gate_epoch {
        return None;
    }
    let (has, ought) = (gate.settings, settings(counters));
    let fields = [
        ("state", has.state != ought.state),
        ("opensAt", has.opens_at != ought.opens_at),
        ("closesAt", has.closes_at != ought.closes_at),
        ("totalStock", has.total_stock != ought.total_stock),
        ("perUserLimit", has.per_user_limit != ought.per_user_limit),
        ("maxQuantity", has.max_quantity != ought.max_quantity),
    ];
    let differing = fields.iter().filter(|(_, differs)| *differs);
    let names: Vec<&str> = differing.map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "I7 the gate's settings of version {} differ from the store's of version {}: {}",
            has.version,
            ought.version,
            names.join(", ")
        )
    })
}

fn settings(counters: &CampaignCounters) -> Settings {
    Settings {
        epoch: counters.gate_epoch,
        version: counters.version,
        state: counters.state,
        opens_at: counters.opens_at,
        closes_at: counters.closes_at,
        total_stock: counters.total_stock,
        per_user_limit: counters.per_user_limit,
        max_quantity: counters.max_quantity,
    }
}

fn breach(counters: &CampaignCounters, state: &GateState) -> Option<String> {
    let (epoch, committed) = (counters.gate_epoch, counters.committed_units);
    let GateState { units, leases, .. } = state;
    if state.epoch < epoch {
        return None;
    }
    if state.epoch > epoch {
        return Some(format!(
            "I7 the gate has epoch {}, the store {epoch}",
            state.epoch
        ));
    }
    Some(format!(
        "I7 the gate counts {units} units and {leases} leases, the store {committed}"
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::State;

    pub fn counters(committed_units: u64) -> CampaignCounters {
        CampaignCounters {
            id: CampaignId(1),
            state: State::Open,
            total_stock: Some(10),
            committed_units,
            participation_count: committed_units,
            event_sequence: committed_units,
            campaign_events: 0,
            campaign_published: 0,
            order_events: 0,
            order_published: 0,
            published: 0,
            purged_events: 0,
            per_user_limit: 1,
            max_quantity: 2,
            gate_epoch: 3,
            version: 1,
            opens_at: None,
            closes_at: None,
            returns: 0,
            last_rank: committed_units,
        }
    }

    fn state(epoch: u64, units: u64, leases: u64) -> GateState {
        GateState {
            epoch,
            units,
            last_rank: units,
            remaining: None,
            leases,
            users: units,
            returns: 0,
            settings: settings(&counters(units)),
        }
    }

    #[test]
    fn leases_explain_only_uncommitted_units() {
        assert_eq!(compare(&counters(4), &state(3, 4, 0)), Comparison::Equal);
        assert_eq!(compare(&counters(4), &state(3, 5, 0)), Comparison::Differs);
        assert_eq!(compare(&counters(4), &state(3, 6, 1)), Comparison::Equal);
        assert_eq!(compare(&counters(4), &state(3, 7, 1)), Comparison::Differs);
        assert_eq!(compare(&counters(4), &state(3, 3, 1)), Comparison::Behind);
    }

    #[test]
    fn units_being_returned_are_no_violation() {
        let given_back = CampaignCounters {
            returns: 1,
            ..counters(4)
        };
        assert_eq!(
            compare(&given_back, &state(3, 5, 0)),
            Comparison::LacksReturns
        );
        let after = GateState {
            returns: 1,
            ..state(3, 5, 0)
        };
        assert_eq!(compare(&given_back, &after), Comparison::Differs);
    }

    #[test]
    fn different_settings_are_named() {
        let sound = state(3, 4, 0);
        assert_eq!(drift(&counters(4), &sound), None);
        let changed = CampaignCounters {
            version: 2,
            state: State::Paused,
            total_stock: None,
            ..counters(4)
        };
        let says = "I7 the gate's settings of version 1 differ from the store's of version 2: state, totalStock";
        assert_eq!(drift(&changed, &sound).as_deref(), Some(says));
        let of_older_gate = CampaignCounters {
            gate_epoch: 4,
            ..changed
        };
        assert_eq!(drift(&of_older_gate, &sound), None);
    }

    #[test]
    fn states_of_different_epochs_are_never_compared() {
        assert_eq!(compare(&counters(4), &state(2, 4, 0)), Comparison::Differs);
        assert_eq!(breach(&counters(4), &state(2, 9, 0)), None);
        assert!(breach(&counters(4), &state(4, 4, 0)).is_some());
        assert!(breach(&counters(4), &state(3, 9, 0)).is_some());
    }
}
