//! I7: what the gate has given against what the store has committed. The two have no moment in common,
//! so the gate is read before the store, and again after it where that leaves a doubt.

use crate::gate::GateState;
use crate::reconcile::{ReconcileError, Reconciler};
use crate::store::Books;

/// How often a difference is looked at again before it is called one: units that return make the
/// gate's count smaller between two readings.
const LOOKS: usize = 5;

/// What one reading of each says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// The gate has what is committed, and not more than its leases explain.
    Fits,
    /// The gate may have fallen behind since: look at it again.
    Behind,
    /// It does not fit, or the two are of different generations.
    Off,
    /// Units were given back that the gate has not been told of yet.
    Lacks,
}

fn compare(books: &Books, before: &GateState) -> Sight {
    if before.epoch != books.gate_epoch {
        return Sight::Off;
    }
    if before.returns < books.returns {
        Sight::Lacks
    } else if before.committed_units_min(books.max_quantity) > books.committed_units {
        Sight::Off
    } else if before.units >= books.committed_units {
        Sight::Fits
    } else {
        Sight::Behind
    }
}

impl Reconciler {
    /// The breach, if there is one. `before` was read before `books`. A gate without state, or with one
    /// of an older generation, breaks nothing: what it admits the writer refuses, and then it is made
    /// anew.
    pub(super) async fn gate_breach(
        &self,
        books: &Books,
        before: Option<GateState>,
    ) -> Result<Option<String>, ReconcileError> {
        let (mut books, mut before) = (*books, before);
        for look in 1.. {
            let Some(state) = before else {
                return Ok(None);
            };
            let sight = compare(&books, &state);
            let after = match sight {
                Sight::Fits => return Ok(None),
                Sight::Behind => self.gate.inspect(books.id).await?,
                Sight::Off | Sight::Lacks => Some(state),
            };
            let has_caught_up = after.is_none_or(|after| {
                after.epoch == books.gate_epoch && after.units >= books.committed_units
            });
            if sight == Sight::Behind && has_caught_up {
                return Ok(None);
            }
            if look == LOOKS && sight == Sight::Lacks {
                // Told soon, or found by the sweeper.
                return Ok(None);
            }
            if look == LOOKS {
                return Ok(breach(&books, &state));
            }
            before = self.gate.inspect(books.id).await?;
            match self.store.books_of(books.id).await? {
                Some(now) => books = now,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn breach(books: &Books, state: &GateState) -> Option<String> {
    let (epoch, committed) = (books.gate_epoch, books.committed_units);
    let GateState { units, leases, .. } = state;
    if state.epoch < epoch {
        return None;
    }
    if state.epoch > epoch {
        return Some(format!(
            "I7 the gate is of generation {}, the store of {epoch}",
            state.epoch
        ));
    }
    Some(format!(
        "I7 the gate counts {units} units and {leases} leases, the store {committed}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, State};

    fn books(committed_units: u64) -> Books {
        Books {
            id: CampaignId(1),
            state: State::Open,
            total_stock: Some(10),
            committed_units,
            participation_count: committed_units,
            purged_events: 0,
            per_user_limit: 1,
            max_quantity: 2,
            gate_epoch: 3,
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
            expiring: leases,
            returns: 0,
        }
    }

    #[test]
    fn leases_explain_what_is_not_committed_and_nothing_else() {
        assert_eq!(compare(&books(4), &state(3, 4, 0)), Sight::Fits);
        assert_eq!(compare(&books(4), &state(3, 5, 0)), Sight::Off);
        assert_eq!(compare(&books(4), &state(3, 6, 1)), Sight::Fits);
        assert_eq!(compare(&books(4), &state(3, 7, 1)), Sight::Off);
        assert_eq!(compare(&books(4), &state(3, 3, 1)), Sight::Behind);
    }

    #[test]
    fn units_that_are_being_given_back_are_no_breach() {
        let given_back = Books {
            returns: 1,
            ..books(4)
        };
        assert_eq!(compare(&given_back, &state(3, 5, 0)), Sight::Lacks);
        let told = GateState {
            returns: 1,
            ..state(3, 5, 0)
        };
        assert_eq!(compare(&given_back, &told), Sight::Off);
    }

    #[test]
    fn generations_are_never_compared_with_each_other() {
        assert_eq!(compare(&books(4), &state(2, 4, 0)), Sight::Off);
        assert_eq!(breach(&books(4), &state(2, 9, 0)), None);
        assert!(breach(&books(4), &state(4, 4, 0)).is_some());
        assert!(breach(&books(4), &state(3, 9, 0)).is_some());
    }
}
