//! Checks of admission.

use firstcome::domain::{CampaignId, Refusal, State};
use firstcome::parts::gate::{Admission, Entrant, GateError, Settings};
use tokio::task::JoinSet;

use super::subject::{
    LEASE, Subject, Verdict, already, ensure, entrant, generous, same, same_again, settings, text,
    ticket, tickets,
};

/// All calls at once, each in a separate task.
async fn at_once(
    subject: &Subject,
    calls: Vec<Vec<Entrant>>,
) -> Result<Vec<(Entrant, Admission)>, String> {
    let mut tasks = JoinSet::new();
    for call in calls {
        let subject = subject.clone();
        tasks.spawn(async move {
            let answers = subject.admit(&call).await?;
            Ok::<_, String>(call.into_iter().zip(answers).collect::<Vec<_>>())
        });
    }
    let results = tasks.join_all().await;
    Ok(results.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

pub async fn exactly_the_stock_is_admitted_by_many_at_once(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(100))).await?;
    let calls = (0..64).map(|call| (0..5).map(|user| entrant(1 + call * 5 + user, 1)).collect());
    let answers = at_once(subject, calls.collect()).await?;
    let mut ranks = Vec::new();
    for (_, answer) in answers {
        match answer {
            Admission::Admitted(ticket) => {
                same("remaining", &ticket.remaining, &Some(100 - ticket.rank))?;
                ranks.push(ticket.rank);
            }
            Admission::Refused { refusal, remaining } => {
                same("refusal", &refusal, &Refusal::SoldOut)?;
                same("remaining", &remaining, &Some(0))?;
            }
            other => return Err(format!("expected yes or sold out, got {other:?}")),
        }
    }
    ranks.sort_unstable();
    same("ranks", &ranks, &(1..=100).collect())?;
    let state = subject.state().await?;
    same("units", &state.units, &100)?;
    same("leases", &state.leases, &100)?;
    same("users", &state.users, &100)?;
    same("remaining", &state.remaining, &Some(0))
}

pub async fn one_user_asking_many_times_at_once_is_admitted_once(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(100))).await?;
    let calls = (0..50).map(|_| vec![entrant(1, 1)]).collect();
    let answers = at_once(subject, calls).await?;
    let admitted = |(_, answer): &&(Entrant, Admission)| ticket(answer).is_ok();
    same("admitted", &answers.iter().filter(admitted).count(), &1)?;
    let first = answers.iter().find(admitted).map(|(entrant, _)| *entrant);
    for (_, answer) in answers.iter().filter(|each| !admitted(each)) {
        let wanted = Admission::Undecided {
            first: first.ok_or("nobody was admitted")?.participation,
            remaining: Some(99),
        };
        same("answer", answer, &wanted)?;
    }
    same("units", &subject.state().await?.units, &1)
}

pub async fn duplicates_cost_nothing(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(2))).await?;
    let first = entrant(1, 1);
    subject.enter(first).await?;
    let before = subject.state().await?;
    for _ in 0..10 {
        let again = entrant(1, 1);
        subject.undecided(again, first, Some(1)).await?;
    }
    same("state", &subject.state().await?, &before)?;
    subject.settle(&[first]).await?;
    let before = subject.state().await?;
    for _ in 0..10 {
        let again = entrant(1, 1);
        subject.refused(again, already(first), Some(1)).await?;
    }
    same("state", &subject.state().await?, &before)?;
    subject.enter(entrant(2, 1)).await.map(drop)
}

pub async fn a_user_twice_in_one_call_is_admitted_once(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(9))).await?;
    let (first, second) = (entrant(1, 1), entrant(1, 1));
    let answers = subject.admit(&[first, second, first]).await?;
    ticket(&answers[0])?;
    let wanted = Admission::Undecided {
        first: first.participation,
        remaining: Some(8),
    };
    same("the second answer", &answers[1], &wanted)?;
    same("the third answer", &answers[2], &answers[0])?;
    let state = subject.state().await?;
    same("units", &state.units, &1)?;
    same("last rank", &state.last_rank, &1)
}

pub async fn quantity_is_all_or_nothing(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(5))).await?;
    let first = subject.enter(entrant(1, 3)).await?;
    same("remaining", &first.remaining, &Some(2))?;
    let sold_out = Refusal::SoldOut;
    subject
        .refused(entrant(2, 3), sold_out.clone(), Some(2))
        .await?;
    let second = subject.enter(entrant(3, 2)).await?;
    same("remaining", &second.remaining, &Some(0))?;
    subject.refused(entrant(4, 1), sold_out, Some(0)).await?;
    same("units", &subject.state().await?.units, &5)
}

pub async fn ranks_have_no_gaps_whatever_is_refused_between_them(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(50))).await?;
    let quantities = [3, 11, 7, 99, 10, 10, 10, 9, 10, 1];
    let calls: Vec<Entrant> = (1..)
        .zip(quantities)
        .map(|(user, q)| entrant(user, q))
        .collect();
    let mut answers = Vec::new();
    for call in calls.chunks(3) {
        answers.extend(subject.admit(call).await?);
    }
    let ranks: Vec<u64> = tickets(&answers).iter().map(|ticket| ticket.rank).collect();
    same("ranks", &ranks, &(1..=7).collect())?;
    let remaining: Vec<_> = tickets(&answers)
        .iter()
        .map(|ticket| ticket.remaining)
        .collect();
    let wanted = [47, 40, 30, 20, 10, 1, 0].map(Some).to_vec();
    same("remaining", &remaining, &wanted)
}

pub async fn the_same_participation_gets_the_same_answer(subject: &Subject) -> Verdict {
    let settings = settings(Some(3));
    subject.start(&settings).await?;
    let first = entrant(1, 1);
    let answer = subject.ask(first).await?;
    ticket(&answer)?;
    subject.enter(entrant(2, 1)).await?;
    same_again("asked again", &subject.ask(first).await?, &answer)?;
    let both = subject.admit(&[first, entrant(3, 1)]).await?;
    same_again("asked with another", &both[0], &answer)?;
    let paused = Settings {
        version: 2,
        state: State::Paused,
        ..settings
    };
    let configured = subject.gate.configure(subject.campaign, &paused).await;
    configured.map_err(text)?;
    same_again("asked while paused", &subject.ask(first).await?, &answer)?;
    let state = subject.state().await?;
    same("units", &state.units, &3)?;
    same("last rank", &state.last_rank, &3)
}

pub async fn nobody_is_admitted_outside_the_window(subject: &Subject) -> Verdict {
    let opens_at = Some(subject.hours(1));
    let not_yet = Refusal::NotOpenYet { opens_at };
    let cases = [
        (opens_at, None, Some(not_yet.clone())),
        (opens_at, Some(subject.hours(2)), Some(not_yet)),
        (None, Some(subject.hours(-1)), Some(Refusal::Ended)),
        (
            Some(subject.hours(-2)),
            Some(subject.hours(-1)),
            Some(Refusal::Ended),
        ),
        (Some(subject.hours(-1)), Some(subject.hours(1)), None),
        (Some(subject.hours(-1)), None, None),
        (None, Some(subject.hours(1)), None),
    ];
    let mut epoch = 0;
    for state in [State::Open, State::Scheduled] {
        for (opens_at, closes_at, refusal) in cases.clone() {
            epoch += 1;
            let settings = Settings {
                state,
                opens_at,
                closes_at,
                ..settings(Some(5))
            };
            subject.rebuild(epoch, &settings, &[], 0).await?;
            match refusal {
                Some(refusal) => subject.refused(entrant(1, 1), refusal, Some(5)).await?,
                None => drop(subject.enter(entrant(1, 1)).await?),
            }
        }
    }
    Ok(())
}

pub async fn the_state_of_the_campaign_decides_before_anything_else(subject: &Subject) -> Verdict {
    let opens_at = Some(subject.hours(-1));
    let cases = [
        (State::Draft, Refusal::NotOpenYet { opens_at }),
        (State::Paused, Refusal::Paused),
        (State::Closed, Refusal::Ended),
        (State::Archived, Refusal::Ended),
    ];
    for (epoch, (state, refusal)) in (1..).zip(cases) {
        let settings = Settings {
            state,
            opens_at,
            closes_at: Some(subject.hours(1)),
            ..settings(Some(0))
        };
        subject.rebuild(epoch, &settings, &[], 0).await?;
        subject.refused(entrant(1, 9), refusal, Some(0)).await?;
    }
    Ok(())
}

pub async fn nobody_holds_more_than_the_limits(subject: &Subject) -> Verdict {
    let settings = Settings {
        per_user_limit: 5,
        max_quantity: 6,
        ..settings(Some(20))
    };
    subject.start(&settings).await?;
    let too_many = Refusal::LimitExceeded;
    subject
        .refused(entrant(1, 7), too_many.clone(), Some(20))
        .await?;
    subject
        .refused(entrant(1, 6), too_many.clone(), Some(20))
        .await?;
    let both = subject.admit(&[entrant(1, 3), entrant(1, 3)]).await?;
    ticket(&both[0])?;
    ensure!(ticket(&both[1]).is_err(), "six of five units in one call");
    subject.enter(entrant(1, 2)).await?;
    subject.refused(entrant(1, 1), too_many, Some(15)).await?;
    same("units", &subject.state().await?.units, &5)
}

pub async fn stock_without_a_limit_never_runs_out(subject: &Subject) -> Verdict {
    subject.start(&generous(None)).await?;
    for user in 1..=20 {
        let ticket = subject.enter(entrant(user, 10)).await?;
        same("remaining", &ticket.remaining, &None)?;
    }
    let state = subject.state().await?;
    same("units", &state.units, &200)?;
    same("remaining", &state.remaining, &None)?;
    subject
        .refused(entrant(1, 1), Refusal::LimitExceeded, None)
        .await
}

pub async fn large_numbers_come_back_as_they_went_in(subject: &Subject) -> Verdict {
    const LARGE: u64 = (1 << 53) - 1;
    let settings = settings(Some(LARGE));
    subject.rebuild(1 << 50, &settings, &[], 1 << 51).await?;
    let first = entrant(i64::MAX, 1);
    let ticket = subject.enter(first).await?;
    same("epoch", &ticket.epoch, &(1 << 50))?;
    same("rank", &ticket.rank, &((1 << 51) + 1))?;
    same("remaining", &ticket.remaining, &Some(LARGE - 1))?;
    let neighbour = entrant(i64::MAX - 1, 1);
    same(
        "remaining",
        &subject.enter(neighbour).await?.remaining,
        &Some(LARGE - 2),
    )?;
    let again = entrant(i64::MAX, 1);
    subject.settle(&[first]).await?;
    subject
        .refused(again, already(first), Some(LARGE - 2))
        .await
}

pub async fn many_entrants_in_one_call_are_answered_in_order(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(2_400))).await?;
    let entrants: Vec<Entrant> = (1..=2_500).map(|user| entrant(user, 1)).collect();
    let answers = subject.admit(&entrants).await?;
    let ranks: Vec<u64> = tickets(&answers[..2_400])
        .iter()
        .map(|ticket| ticket.rank)
        .collect();
    same("ranks", &ranks, &(1..=2_400).collect())?;
    same("admitted too many", &tickets(&answers[2_400..]).len(), &0)?;
    subject.settle(&entrants[..1_200]).await?;
    same("released", &subject.release(&entrants).await?, &1_200)?;
    same("leases", &subject.state().await?.leases, &0)
}

pub async fn a_quantity_of_nothing_is_an_error_and_changes_nothing(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(5))).await?;
    let before = subject.state().await?;
    let call = [entrant(1, 1), entrant(2, 0)];
    match subject.gate.admit(subject.campaign, &call, LEASE).await {
        Err(GateError::Protocol(_)) => {}
        other => return Err(format!("expected a protocol error, got {other:?}")),
    }
    same("state", &subject.state().await?, &before)?;
    same("answers to nobody", &subject.admit(&[]).await?, &vec![])
}

pub async fn campaigns_do_not_mix(subject: &Subject) -> Verdict {
    let other = Subject {
        campaign: CampaignId(77),
        ..subject.clone()
    };
    subject.start(&settings(Some(1))).await?;
    other.start(&settings(Some(2))).await?;
    let mine = entrant(1, 1);
    subject.enter(mine).await?;
    same("released elsewhere", &other.release(&[mine]).await?, &0)?;
    other.enter(entrant(1, 1)).await?;
    subject
        .refused(entrant(2, 1), Refusal::SoldOut, Some(0))
        .await?;
    other.enter(entrant(2, 1)).await.map(drop)
}
