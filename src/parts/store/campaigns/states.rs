//! A filter of campaigns by state: as stored, or as of now by the database's clock.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Expr, ExprTrait};

use super::super::entity::campaign::Column;
use crate::domain::State;

/// The states that the clock changes, each with the final state.
const MOVED: [State; 4] = [State::Scheduled, State::Open, State::Paused, State::Closed];

/// States of campaigns to list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum States {
    /// All.
    Any,
    /// Campaigns with this stored state. The schedule may not have stored a transition yet.
    Stored(Vec<State>),
    /// Campaigns in these states by the database's clock, as in `Campaign::state_at`.
    ByClock(Vec<State>),
}

impl States {
    /// The condition on a row at `now`.
    pub(super) fn condition(&self, now: &Expr) -> Option<Condition> {
        match self {
            Self::Any => None,
            Self::Stored(states) => Some(written(states)),
            Self::ByClock(states) if MOVED.iter().all(|state| states.contains(state)) => {
                Some(written(states))
            }
            Self::ByClock(states) => {
                let each = states.iter().map(|state| at(*state, now));
                Some(each.fold(Condition::any(), Condition::add))
            }
        }
    }
}

fn written(states: &[State]) -> Condition {
    Condition::all().add(Column::State.is_in(states.iter().map(|state| state.as_str())))
}

/// The condition that a campaign is in this state at `now`.
fn at(state: State, now: &Expr) -> Condition {
    let past = |column: Column| Expr::col(column).lte(now.clone());
    let open_end = Condition::any()
        .add(Column::ClosesAt.is_null())
        .add(Expr::col(Column::ClosesAt).gt(now.clone()));
    let begun = Condition::any()
        .add(Column::OpensAt.is_null())
        .add(past(Column::OpensAt));
    match state {
        State::Draft | State::Archived => written(&[state]),
        State::Paused => written(&[State::Paused]).add(open_end),
        State::Scheduled => written(&[State::Scheduled]).add(begun.not()).add(open_end),
        State::Open => {
            let open = Condition::any()
                .add(written(&[State::Open]))
                .add(written(&[State::Scheduled]).add(begun));
            Condition::all().add(open).add(open_end)
        }
        State::Closed => {
            let over = written(&[State::Scheduled, State::Open, State::Paused]);
            Condition::any()
                .add(written(&[State::Closed]))
                .add(over.add(past(Column::ClosesAt)))
        }
    }
}
