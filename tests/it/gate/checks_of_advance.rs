//! Checks of the owners of leases, and of an epoch that is raised without a rebuild.

use std::time::Duration;

use firstcome::domain::Refusal;
use firstcome::parts::gate::{Entrant, GivenBack, HeldLease, Lease};

use super::subject::{Subject, Verdict, ensure, entrant, generous, same, settings, text, ticket};

pub async fn leases_are_listed_by_owner(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(9))).await?;
    let all: Vec<Entrant> = (1..=3).map(|user| entrant(user, 1)).collect();
    subject.admit(&all).await?;
    let lease = subject.enter(all[0]).await?;
    let listed = async |owner: &str, before, limit| {
        let owners = [owner.to_owned(), "0".to_owned()];
        let leases = subject
            .gate
            .leases_of(subject.campaign, &owners, before, limit);
        leases.await.map_err(text)
    };
    let owner = subject.gate.owner();
    let own = listed(owner, 2, 9).await?;
    same("own", &own.len(), &3)?;
    let first = HeldLease {
        participation: all[0].participation,
        epoch: 1,
        ends_at: lease.lease_until,
    };
    ensure!(own.contains(&first), "{first:?} is not in {own:?}");
    same("at most", &listed(owner, 2, 2).await?.len(), &2)?;
    same("of no epoch before", &listed(owner, 1, 9).await?, &vec![])?;
    // The beginning of a name is another name.
    for other in ["1", &owner[1..], &format!("{owner}0")] {
        same(other, &listed(other, 2, 9).await?, &vec![])?;
    }
    subject.settle(&all[..1]).await?;
    subject.release(&all[1..2]).await?;
    same("left", &listed(owner, 2, 9).await?.len(), &1)
}

pub async fn an_advance_takes_leases_along(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(9))).await?;
    let (committed, admitted) = (entrant(1, 2), entrant(2, 3));
    subject.admit(&[committed, admitted]).await?;
    subject.settle(&[committed]).await?;
    let before = (subject.enter(admitted).await?, subject.state().await?);
    same("advanced", &subject.advance(1, 2, false).await?, &true)?;
    let state = subject.state().await?;
    let mut wanted = before.1;
    wanted.epoch = 2;
    same("the state", &state, &wanted)?;
    let after = subject.enter(admitted).await?;
    let wanted = Lease {
        epoch: 2,
        left: after.left,
        ..before.0
    };
    same("the lease", &after, &wanted)?;
    let late = subject.release_of(1, &[admitted]).await?;
    same("released in the old epoch", &late, &0)?;
    same("released", &subject.release(&[admitted]).await?, &3)?;
    same("units", &subject.state().await?.units, &2)
}

pub async fn the_leases_of_the_dead_stay_in_their_epoch(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(2))).await?;
    let (lost, committed, later) = (entrant(1, 1), entrant(2, 1), entrant(3, 1));
    subject.admit(&[lost, committed]).await?;
    same("advanced", &subject.advance(1, 2, true).await?, &true)?;
    let old = [lost, committed].map(|entrant| (entrant.participation, 1));
    same("left behind", &subject.leases().await?, &old.to_vec())?;
    same("asked again", &subject.enter(lost).await?.epoch, &1)?;
    subject.refused(later, Refusal::SoldOut, Some(0)).await?;
    // Their units are still counted, and return.
    same("released", &subject.release_of(1, &[lost]).await?, &1)?;
    subject.settle(&[committed]).await?;
    same("the next", &subject.enter(later).await?.epoch, &2)?;
    let new = vec![(later.participation, 2)];
    same("of the new epoch", &subject.leases().await?, &new)?;
    let state = subject.state().await?;
    same("units, leases", &(state.units, state.leases), &(2, 1))
}

pub async fn an_advance_is_refused_in_another_epoch(subject: &Subject) -> Verdict {
    same(
        "without a state",
        &subject.advance(1, 2, false).await?,
        &false,
    )?;
    subject.rebuild(4, &settings(Some(2)), &[], 0).await?;
    subject.enter(entrant(1, 1)).await?;
    let before = (subject.state().await?, subject.leases().await?);
    for from in [3, 5] {
        let advanced = subject.advance(from, 9, false).await?;
        same("from another epoch", &advanced, &false)?;
    }
    let after = (subject.state().await?, subject.leases().await?);
    same("unchanged", &after, &before)?;
    same("advanced", &subject.advance(4, 6, false).await?, &true)?;
    same("again", &subject.advance(4, 6, false).await?, &false)?;
    same("late", &subject.advance(4, 5, false).await?, &false)?;
    same("the epoch", &subject.state().await?.epoch, &6)?;
    ensure!(
        subject
            .gate
            .advance(subject.campaign, 6, 6, &[])
            .await
            .is_err(),
        "advanced to the same epoch"
    );
    let older = subject.rebuild(6, &settings(Some(2)), &[], 0).await?;
    same("a rebuild of the same epoch", &older, &false)
}

pub async fn returns_count_across_an_advance(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(9))).await?;
    let all = [entrant(1, 2), entrant(2, 3)];
    subject.admit(&all).await?;
    subject.settle(&all).await?;
    subject.advance(1, 2, false).await?;
    let units = GivenBack::Units;
    // Given up before the advance, reported after it.
    same("old", &subject.give_back(1, 1, &all[..1]).await?, &units(2))?;
    same(
        "twice",
        &subject.give_back(2, 1, &all[..1]).await?,
        &units(0),
    )?;
    same("new", &subject.give_back(2, 2, &all[1..]).await?, &units(3))?;
    let behind = subject.give_back(3, 3, &all[1..]).await?;
    same("of a later epoch", &behind, &GivenBack::Behind)?;
    let state = subject.state().await?;
    same("units, returns", &(state.units, state.returns), &(0, 2))?;
    // A rebuild has counted all that was given up before it.
    subject.rebuild(3, &generous(Some(9)), &[], 5).await?;
    let known = subject.give_back(2, 9, &all[..1]).await?;
    same("before the rebuild", &known, &units(0))
}

pub async fn a_listed_lease_that_was_given_again_is_not_released(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(1))).await?;
    let again = entrant(1, 1);
    let answers = subject
        .gate
        .admit(subject.campaign, &[again], Duration::ZERO)
        .await;
    ticket(&answers.map_err(text)?[0])?;
    let listed = subject.expired(9).await?;
    same("listed", &listed.len(), &1)?;
    let release = async || {
        let released = subject.gate.release_listed(subject.campaign, &listed);
        released.await.map_err(text)
    };
    same("released", &release().await?, &1)?;
    same("twice", &release().await?, &0)?;
    // The same participation, in the same epoch.
    subject.enter(again).await?;
    same("late", &release().await?, &0)?;
    let state = subject.state().await?;
    same("units, leases", &(state.units, state.leases), &(1, 1))
}
