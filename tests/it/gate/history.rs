//! Random histories, applied to both gates and to the model: all three must give the same replies.

use std::time::Duration;

use std::sync::Arc;

use chrono::TimeDelta;
use firstcome::domain::{
    CampaignId, ParticipationId, State, Timestamp, UserId, to_stored_precision,
};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, Gate, GateState, GivenBack, Key, Mark, Return, ScriptGate,
    Settings, UserUnits,
};
use firstcome::runtime::clock::Clock;
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::model::Model;
use super::subject::LEASE;
use super::{forget, redis_gate};

/// Few users, participations, versions and epochs, so that they meet often.
const USERS: i64 = 5;
const PARTICIPATIONS: u128 = 12;

#[derive(Clone, Debug)]
enum Step {
    Admit(Vec<Entrant>),
    Settle(Vec<ParticipationId>),
    Release(Vec<ParticipationId>),
    Configure(Settings),
    Rebuild {
        epoch: u64,
        settings: Settings,
        seats: Vec<UserUnits>,
        mark: Mark,
    },
    /// Returns of participations that are not returned yet, sent as `GiveBack`.
    GiveUp(Vec<ParticipationId>),
    GiveBack {
        epoch: u64,
        returns: Vec<Return>,
    },
}

#[derive(Debug, PartialEq)]
enum Answer {
    Admissions(Vec<Admission>),
    Settled,
    Released(u64),
    GivenBack(GivenBack),
    Configured(Configured),
    Rebuilt(bool),
}

fn now() -> Timestamp {
    to_stored_precision(Clock::System.now())
}

fn participation() -> impl Strategy<Value = ParticipationId> {
    (1..=PARTICIPATIONS).prop_map(|number| ParticipationId(Uuid::from_u128(number)))
}

fn entrant() -> impl Strategy<Value = Entrant> {
    (participation(), 1..=USERS, 1_u32..=3).prop_map(|(participation, user, quantity)| Entrant {
        participation,
        user: UserId(user),
        quantity,
        key: Key::None,
    })
}

fn settings(now: Timestamp) -> impl Strategy<Value = Settings> {
    // Mostly open, so that there is something to compare; and with windows far from now, so that the clocks of the
    // two gates need not agree.
    let state = prop_oneof![
        12 => Just(State::Open),
        6 => Just(State::Scheduled),
        1 => Just(State::Draft),
        1 => Just(State::Paused),
        1 => Just(State::Closed),
        1 => Just(State::Archived),
    ];
    let moment = |past, future| {
        prop_oneof![
            8 => Just(None),
            past => Just(Some(now - TimeDelta::days(400))),
            future => Just(Some(now + TimeDelta::days(400))),
        ]
    };
    (
        (0_u64..3, 0_u64..8),
        state,
        moment(4, 1),
        moment(1, 4),
        option::weighted(0.8, 0_u64..12),
        1_u32..=4,
        1_u32..=3,
    )
        .prop_map(
            |((epoch, version), state, opens_at, closes_at, total_stock, limit, max_quantity)| {
                Settings {
                    epoch,
                    version,
                    state,
                    opens_at,
                    closes_at,
                    total_stock,
                    per_user_limit: limit,
                    max_quantity,
                }
            },
        )
}

fn seats() -> impl Strategy<Value = Vec<UserUnits>> {
    hash_map(1..=USERS, (1_u32..=3, participation()), 0..4).prop_map(|seats| {
        let seat = |(user, (units, first))| UserUnits {
            user: UserId(user),
            units,
            first,
        };
        seats.into_iter().map(seat).collect()
    })
}

fn rebuild(now: Timestamp) -> impl Strategy<Value = Step> {
    (1_u64..10, settings(now), seats(), 0_u64..20, 0_u64..5).prop_map(
        |(epoch, settings, seats, last_rank, returns)| Step::Rebuild {
            epoch,
            settings,
            seats,
            mark: Mark { last_rank, returns },
        },
    )
}

fn step(now: Timestamp) -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => vec(entrant(), 1..5).prop_map(Step::Admit),
        3 => vec(participation(), 1..4).prop_map(Step::Settle),
        4 => vec(participation(), 1..4).prop_map(Step::Release),
        3 => settings(now).prop_map(Step::Configure),
        4 => vec(participation(), 1..4).prop_map(Step::GiveUp),
        1 => rebuild(now),
    ]
}

fn history(now: Timestamp) -> impl Strategy<Value = Vec<Step>> {
    // Some histories begin without a state.
    (option::weighted(0.9, rebuild(now)), vec(step(now), 1..40))
        .prop_map(|(first, steps)| first.into_iter().chain(steps).collect())
}

/// Only admitted participations are returned: a return needs a commit.
fn number_returns(model: &mut Model, step: &Step) -> Step {
    match step {
        Step::GiveUp(ids) => {
            let (epoch, returns) = model.returns_of(ids);
            if returns.is_empty() {
                return step.clone();
            }
            Step::GiveBack { epoch, returns }
        }
        other => other.clone(),
    }
}

fn tell_model(model: &mut Model, step: &Step) -> (Answer, Option<GateState>) {
    let answer = match step {
        Step::Admit(entrants) => Answer::Admissions(model.admit(entrants)),
        Step::Settle(ids) => {
            model.settle(ids);
            Answer::Settled
        }
        Step::Release(ids) => Answer::Released(model.release(ids)),
        Step::GiveUp(_) => Answer::Settled,
        Step::GiveBack { epoch, returns } => Answer::GivenBack(model.give_back(*epoch, returns)),
        Step::Configure(settings) => Answer::Configured(model.configure(settings)),
        Step::Rebuild {
            epoch,
            settings,
            seats,
            mark,
        } => Answer::Rebuilt(model.rebuild(*epoch, settings, seats, *mark)),
    };
    (answer, model.inspect())
}

/// Only the end of a lease differs between the clocks: it is set to `now`.
async fn tell_gate(gate: &dyn Gate, step: &Step, now: Timestamp) -> (Answer, Option<GateState>) {
    let campaign = CampaignId(1);
    let answer = match step {
        Step::Admit(entrants) => {
            let mut answers = gate.admit(campaign, entrants, LEASE).await.unwrap();
            for answer in &mut answers {
                if let Admission::Admitted(ticket) = answer {
                    (ticket.lease_until, ticket.left) = (now, Duration::ZERO);
                }
            }
            Answer::Admissions(answers)
        }
        Step::Settle(ids) => {
            gate.settle(campaign, ids).await.unwrap();
            Answer::Settled
        }
        Step::Release(ids) => {
            let state = gate.inspect(campaign).await.unwrap();
            let epoch = state.map_or(0, |state| state.epoch);
            Answer::Released(gate.release(campaign, epoch, ids).await.unwrap())
        }
        Step::GiveUp(_) => Answer::Settled,
        Step::GiveBack { epoch, returns } => {
            Answer::GivenBack(gate.give_back(campaign, *epoch, returns).await.unwrap())
        }
        Step::Configure(settings) => {
            Answer::Configured(gate.configure(campaign, settings).await.unwrap())
        }
        Step::Rebuild {
            epoch,
            settings,
            seats,
            mark,
        } => {
            let rebuilt = gate.rebuild(campaign, *epoch, settings, seats, *mark);
            Answer::Rebuilt(rebuilt.await.unwrap())
        }
    };
    (answer, gate.inspect(campaign).await.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_gates_and_the_model_give_the_same_answers(steps in history(now())) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let now = now();
            let in_process = ScriptGate::in_process(Clock::System, "it").unwrap();
            let prefix = format!("it-{}", Uuid::now_v7());
            let redis = redis_gate(&prefix).await;
            let gates: [(&str, Arc<dyn Gate>); 2] =
                [("in process", Arc::new(in_process)), ("in Redis", Arc::new(redis))];
            let mut model = Model::new(now);
            for (number, step) in steps.iter().enumerate() {
                let step = &number_returns(&mut model, step);
                let wanted = tell_model(&mut model, step);
                for (name, gate) in &gates {
                    let got = tell_gate(gate.as_ref(), step, now).await;
                    prop_assert_eq!(&got, &wanted, "{}, step {}: {:?}", name, number, step);
                }
            }
            forget(&prefix).await;
            Ok(())
        })?;
    }
}
