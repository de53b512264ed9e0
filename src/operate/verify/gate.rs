//! I7: what the gate has given against what the store has committed. The two have no moment in common,
//! so the gate is read before the store, and again after it where that leaves a doubt.

use std::time::Duration;

use crate::domain::CampaignId;
use crate::parts::gate::{GateState, Settings};
use crate::parts::store::Books;
use crate::sale::reconcile::{ReconcileError, Reconciler};

/// How often a difference is looked at again before it is called one: units that return make the
/// gate's count smaller between two readings.
const LOOKS: usize = 5;
/// How far apart settings that differ are looked at: the gate is told right after the store.
const SETTINGS_PAUSE: Duration = Duration::from_millis(200);

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
        if before.is_some_and(|gate| drift(books, &gate).is_some())
            && let Some(drift) = self.settings_breach(books.id).await?
        {
            return Ok(Some(drift));
        }
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

impl Reconciler {
    /// Settings that still differ after the gate had time to be told.
    async fn settings_breach(&self, id: CampaignId) -> Result<Option<String>, ReconcileError> {
        let mut breach = None;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(SETTINGS_PAUSE).await;
            }
            let gate = self.gate.inspect(id).await?;
            let books = self.store.books_of(id).await?;
            let both = books.as_ref().zip(gate.as_ref());
            breach = both.and_then(|(books, gate)| drift(books, gate));
            if breach.is_none() {
                break;
            }
        }
        Ok(breach)
    }
}

/// What the gate admits by and the store does not say. A gate of an older generation is replaced anyway.
fn drift(books: &Books, gate: &GateState) -> Option<String> {
    if gate.epoch < books.gate_epoch {
        return None;
    }
    let (has, ought) = (gate.settings, settings(books));
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

fn settings(books: &Books) -> Settings {
    Settings {
        epoch: books.gate_epoch,
        version: books.version,
        state: books.state,
        opens_at: books.opens_at,
        closes_at: books.closes_at,
        total_stock: books.total_stock,
        per_user_limit: books.per_user_limit,
        max_quantity: books.max_quantity,
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
    use crate::domain::State;

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
            expiring: leases,
            returns: 0,
            settings: settings(&books(units)),
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
    fn settings_that_differ_are_named() {
        let sound = state(3, 4, 0);
        assert_eq!(drift(&books(4), &sound), None);
        let told_otherwise = Books {
            version: 2,
            state: State::Paused,
            total_stock: None,
            ..books(4)
        };
        let says = "I7 the gate's settings of version 1 differ from the store's of version 2: state, totalStock";
        assert_eq!(drift(&told_otherwise, &sound).as_deref(), Some(says));
        let of_older_gate = Books {
            gate_epoch: 4,
            ..told_otherwise
        };
        assert_eq!(drift(&of_older_gate, &sound), None);
    }

    #[test]
    fn generations_are_never_compared_with_each_other() {
        assert_eq!(compare(&books(4), &state(2, 4, 0)), Sight::Off);
        assert_eq!(breach(&books(4), &state(2, 9, 0)), None);
        assert!(breach(&books(4), &state(4, 4, 0)).is_some());
        assert!(breach(&books(4), &state(3, 9, 0)).is_some());
    }
}
