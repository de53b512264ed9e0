//! Checks of settings and rebuilds.

use std::collections::HashMap;

use firstcome::domain::{ParticipationId, Refusal, State, UserId};
use firstcome::parts::gate::{Admission, Configured, GateError, GivenBack, Settings, UserUnits};
use tokio::task::JoinSet;

use super::subject::{
    Subject, Verdict, already, ensure, entrant, mark, same, settings, text, ticket, tickets,
};

async fn configure(subject: &Subject, settings: &Settings) -> Result<Configured, String> {
    let configured = subject.gate.configure(subject.campaign, settings).await;
    configured.map_err(text)
}

fn seat(user: i64, units: u32) -> UserUnits {
    UserUnits {
        user: UserId(user),
        units,
        first: ParticipationId::generate(),
    }
}

pub async fn settings_are_only_replaced_by_newer_ones(subject: &Subject) -> Verdict {
    let version = |version, state| Settings {
        version,
        state,
        ..settings(Some(5))
    };
    subject.start(&version(5, State::Open)).await?;
    let older = configure(subject, &version(4, State::Closed)).await?;
    same("older settings", &older, &Configured::Stale)?;
    subject.enter(entrant(1, 1)).await?;
    let newer = configure(subject, &version(6, State::Paused)).await?;
    same("newer settings", &newer, &Configured::Applied)?;
    subject
        .refused(entrant(2, 1), Refusal::Paused, Some(4))
        .await?;
    let repeated = configure(subject, &version(6, State::Paused)).await?;
    same("the same settings", &repeated, &Configured::Applied)?;
    let late = configure(subject, &version(5, State::Open)).await?;
    same("late settings", &late, &Configured::Stale)?;
    subject
        .refused(entrant(2, 1), Refusal::Paused, Some(4))
        .await
}

pub async fn stock_is_raised_and_lowered_under_way(subject: &Subject) -> Verdict {
    let version = |version, total| Settings {
        version,
        ..settings(total)
    };
    subject.start(&version(1, Some(2))).await?;
    subject.admit(&[entrant(1, 1), entrant(2, 1)]).await?;
    let sold_out = Refusal::SoldOut;
    subject
        .refused(entrant(3, 1), sold_out.clone(), Some(0))
        .await?;
    configure(subject, &version(2, Some(4))).await?;
    let third = subject.enter(entrant(3, 1)).await?;
    same("remaining when raised", &third.remaining, &Some(1))?;
    configure(subject, &version(3, Some(2))).await?;
    same(
        "remaining when lowered",
        &subject.state().await?.remaining,
        &Some(0),
    )?;
    subject.refused(entrant(4, 1), sold_out, Some(0)).await?;
    configure(subject, &version(4, None)).await?;
    same(
        "remaining",
        &subject.enter(entrant(4, 1)).await?.remaining,
        &None,
    )
}

pub async fn without_a_state_everything_is_missing(subject: &Subject) -> Verdict {
    let call = [entrant(1, 1), entrant(2, 1)];
    let answers = subject.admit(&call).await?;
    same("answers", &answers, &vec![Admission::Missing; 2])?;
    let configured = configure(subject, &settings(Some(1))).await?;
    same("settings", &configured, &Configured::Missing)?;
    subject.settle(&call).await?;
    same("released", &subject.release(&call).await?, &0)?;
    same("expired", &subject.expired(9).await?, &vec![])?;
    let state = subject.gate.inspect(subject.campaign).await.map_err(text)?;
    same("state", &state, &None)
}

pub async fn a_rebuild_only_moves_the_epoch_forward(subject: &Subject) -> Verdict {
    let settings = settings(Some(9));
    same(
        "first",
        &subject.rebuild(3, &settings, &[seat(1, 1)], 1).await?,
        &true,
    )?;
    let before = subject.state().await?;
    for epoch in [1, 2, 3] {
        let seats = [seat(2, 5), seat(3, 1)];
        let moved = subject.rebuild(epoch, &settings, &seats, 9).await?;
        same("an older epoch", &moved, &false)?;
        same("state", &subject.state().await?, &before)?;
    }
    same(
        "a newer one",
        &subject.rebuild(4, &settings, &[], 0).await?,
        &true,
    )?;
    let state = subject.state().await?;
    same("epoch and units", &(state.epoch, state.units), &(4, 0))
}

pub async fn a_release_that_comes_late_leaves_a_newer_lease(subject: &Subject) -> Verdict {
    let settings = settings(Some(5));
    subject.start(&settings).await?;
    let mine = entrant(1, 1);
    let old = subject.enter(mine).await?;
    subject.rebuild(old.epoch + 1, &settings, &[], 1).await?;
    let new = subject.enter(mine).await?;
    let late = subject.release_of(old.epoch, &[mine]).await?;
    same("released late", &late, &0)?;
    let state = subject.state().await?;
    same("units and leases", &(state.units, state.leases), &(1, 1))?;
    let released = subject.release_of(new.epoch, &[mine]).await?;
    same("released", &released, &1)
}

pub async fn a_rebuild_ends_all_leases(subject: &Subject) -> Verdict {
    let settings = settings(Some(5));
    subject.start(&settings).await?;
    let (lost, kept) = (entrant(1, 1), entrant(2, 1));
    let at_once = std::time::Duration::ZERO;
    let answers = subject
        .gate
        .admit(subject.campaign, &[lost, kept], at_once)
        .await;
    same("admitted", &tickets(&answers.map_err(text)?).len(), &2)?;
    let seats = [UserUnits {
        user: kept.user,
        units: 1,
        first: kept.participation,
    }];
    same(
        "rebuilt",
        &subject.rebuild(2, &settings, &seats, 2).await?,
        &true,
    )?;
    let state = subject.state().await?;
    let got = (
        state.epoch,
        state.units,
        state.leases,
        state.users,
        state.last_rank,
    );
    same("state", &got, &(2, 1, 0, 1, 2))?;
    same("released", &subject.release(&[lost, kept]).await?, &0)?;
    let answers = subject.gate.admit(subject.campaign, &[lost], at_once).await;
    let again = ticket(&answers.map_err(text)?[0])?;
    // Leases of the old epoch are not on the page.
    let listed = subject.expired(1).await?;
    let listed: Vec<_> = listed.iter().map(|lease| lease.participation).collect();
    same("expired", &listed, &vec![lost.participation])?;
    same("epoch and rank", &(again.epoch, again.rank), &(2, 3))?;
    same("remaining", &again.remaining, &Some(3))?;
    subject.refused(entrant(2, 1), already(kept), Some(3)).await
}

pub async fn a_rebuild_keeps_newer_settings(subject: &Subject) -> Verdict {
    let older = settings(Some(5));
    let newer = Settings {
        version: 7,
        state: State::Paused,
        ..settings(Some(8))
    };
    subject.start(&older).await?;
    configure(subject, &newer).await?;
    same("rebuilt", &subject.rebuild(2, &older, &[], 0).await?, &true)?;
    subject
        .refused(entrant(1, 1), Refusal::Paused, Some(8))
        .await?;
    let late = configure(subject, &older).await?;
    same("late settings", &late, &Configured::Stale)
}

/// A store that lost version 7 in a failover counts on from version 4, in a newer epoch.
pub async fn settings_of_a_later_epoch_are_newer_whatever_their_version(
    subject: &Subject,
) -> Verdict {
    let at = |epoch, version, state| Settings {
        epoch,
        version,
        state,
        ..settings(Some(5))
    };
    subject.start(&at(1, 7, State::Paused)).await?;
    let set_back = at(2, 4, State::Open);
    same(
        "rebuilt",
        &subject.rebuild(2, &set_back, &[], 0).await?,
        &true,
    )?;
    same("settings", &subject.state().await?.settings, &set_back)?;
    let lost = configure(subject, &at(1, 7, State::Paused)).await?;
    same("lost settings", &lost, &Configured::Stale)?;
    subject.enter(entrant(1, 1)).await?;
    // A change between the rebuild's reading and its swap is read in the epoch that the rebuild raised.
    let change = at(3, 5, State::Paused);
    let changed = configure(subject, &change).await?;
    same("a change", &changed, &Configured::Applied)?;
    let read_before = at(3, 4, State::Open);
    same(
        "rebuilt",
        &subject.rebuild(3, &read_before, &[], 0).await?,
        &true,
    )?;
    same("settings", &subject.state().await?.settings, &change)
}

fn over(version: u64) -> Settings {
    Settings {
        version,
        state: State::Closed,
        ..settings(Some(5))
    }
}

async fn expires(subject: &Subject) -> Result<bool, String> {
    let footprint = subject.gate.footprint(subject.campaign).await;
    Ok(footprint.map_err(text)?.expires_in.is_some())
}

pub async fn a_campaign_that_is_over_leaves_the_gate(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(5))).await?;
    subject.enter(entrant(1, 1)).await?;
    same("an open campaign expires", &expires(subject).await?, &false)?;
    let footprint = subject.gate.footprint(subject.campaign).await;
    let footprint = footprint.map_err(text)?;
    same(
        "users and leases",
        &(footprint.users, footprint.leases),
        &(1, 1),
    )?;
    ensure!(footprint.bytes > 0, "no bytes: {footprint:?}");
    configure(subject, &over(2)).await?;
    same("a closed campaign expires", &expires(subject).await?, &true)?;
    subject
        .refused(entrant(2, 1), Refusal::Ended, Some(4))
        .await?;
    // A rebuild by an admin expires as well.
    let seats = [seat(1, 1)];
    same(
        "rebuilt",
        &subject.rebuild(2, &over(2), &seats, 1).await?,
        &true,
    )?;
    same("a rebuilt one expires", &expires(subject).await?, &true)
}

/// A rebuild reads the campaign, then the campaign is closed while the gate has no state of it.
pub async fn a_rebuild_does_not_open_what_is_over(subject: &Subject) -> Verdict {
    let read_before = settings(Some(5));
    let told = configure(subject, &over(2)).await?;
    same("told without a state", &told, &Configured::Applied)?;
    same("the settings expire", &expires(subject).await?, &true)?;
    same(
        "state",
        &subject.gate.inspect(subject.campaign).await.map_err(text)?,
        &None,
    )?;
    same(
        "rebuilt",
        &subject.rebuild(1, &read_before, &[], 0).await?,
        &true,
    )?;
    subject
        .refused(entrant(1, 1), Refusal::Ended, Some(5))
        .await?;
    same("the state expires", &expires(subject).await?, &true)?;
    // The store was restored to a state before the closing, which the epoch shows.
    let reopened = Settings {
        epoch: 2,
        ..read_before
    };
    same(
        "rebuilt",
        &subject.rebuild(2, &reopened, &[], 0).await?,
        &true,
    )?;
    subject.enter(entrant(1, 1)).await?;
    same("an open campaign expires", &expires(subject).await?, &false)
}

pub async fn a_return_of_what_is_over_leaves_the_gate_too(subject: &Subject) -> Verdict {
    let held = entrant(1, 1);
    subject.start(&settings(Some(5))).await?;
    subject.enter(held).await?;
    subject.settle(&[held]).await?;
    configure(subject, &over(2)).await?;
    let returned = subject.give_back(1, 1, &[held]).await?;
    same("returned", &returned, &GivenBack::Units(1))?;
    let footprint = subject.gate.footprint(subject.campaign).await;
    let footprint = footprint.map_err(text)?;
    same(
        "users and returns",
        &(footprint.users, footprint.returns),
        &(0, 1),
    )?;
    same("what is over expires", &expires(subject).await?, &true)
}

pub async fn a_rebuild_takes_many_seats(subject: &Subject) -> Verdict {
    let settings = Settings {
        per_user_limit: 3,
        max_quantity: 3,
        ..settings(Some(10_000))
    };
    let seats: Vec<UserUnits> = (1..=2_500).map(|user| seat(user, 2)).collect();
    subject.rebuild(1, &settings, &seats, 2_600).await?;
    let state = subject.state().await?;
    same("units", &state.units, &5_000)?;
    same("users", &state.users, &2_500)?;
    subject
        .refused(entrant(2_500, 2), Refusal::LimitExceeded, Some(5_000))
        .await?;
    same("rank", &subject.enter(entrant(1, 1)).await?.rank, &2_601)
}

pub async fn a_rebuild_with_one_user_twice_is_an_error_and_changes_nothing(
    subject: &Subject,
) -> Verdict {
    let settings = settings(Some(5));
    subject.start(&settings).await?;
    let before = subject.state().await?;
    let seats = [seat(1, 1), seat(1, 1)];
    let rebuilt = subject
        .gate
        .rebuild(subject.campaign, 2, &settings, &seats, mark(2))
        .await;
    ensure!(
        matches!(rebuilt, Err(GateError::Protocol(_))),
        "{rebuilt:?}"
    );
    same("state", &subject.state().await?, &before)
}

pub async fn a_rebuild_under_full_traffic_loses_nothing(subject: &Subject) -> Verdict {
    const COMMITTED: u64 = 1_500;
    let settings = settings(Some(COMMITTED + 100));
    subject.start(&settings).await?;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let subject = subject.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            for user in 0..50 {
                let user = 10_000 + task * 50 + user;
                answers.push(subject.ask(entrant(user, 1)).await?);
            }
            Ok::<_, String>(answers)
        });
    }
    let seats: Vec<UserUnits> = (1..=1_500).map(|user| seat(user, 1)).collect();
    let rebuilt = subject.rebuild(2, &settings, &seats, COMMITTED).await?;
    same("rebuilt", &rebuilt, &true)?;
    let mut answers = Vec::new();
    for result in tasks.join_all().await {
        answers.extend(result?);
    }
    let late: Vec<_> = (1..=200).map(|user| entrant(20_000 + user, 1)).collect();
    answers.extend(subject.admit(&late).await?);
    let mut ranks: HashMap<u64, Vec<u64>> = HashMap::new();
    for ticket in tickets(&answers) {
        ranks.entry(ticket.epoch).or_default().push(ticket.rank);
    }
    for of_epoch in ranks.values_mut() {
        of_epoch.sort_unstable();
    }
    let of_new = ranks.remove(&2).unwrap_or_default();
    same(
        "ranks of the new epoch",
        &of_new,
        &(COMMITTED + 1..=COMMITTED + 100).collect(),
    )?;
    let of_old = ranks.remove(&1).unwrap_or_default();
    same(
        "ranks of the old epoch",
        &of_old,
        &(1..=of_old.len() as u64).collect(),
    )?;
    let state = subject.state().await?;
    same("units", &state.units, &(COMMITTED + 100))?;
    same("leases", &state.leases, &100)?;
    let seated = subject.ask(entrant(1, 1)).await?;
    ensure!(ticket(&seated).is_err(), "a seated user was admitted again");
    Ok(())
}
