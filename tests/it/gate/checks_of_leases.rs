//! Checks of settled, released and expired leases.

use std::time::Duration;

use firstcome::domain::Refusal;
use firstcome::parts::gate::{Entrant, Settings};

use super::subject::{
    Subject, Verdict, already, ensure, entrant, generous, ids, same, settings, text, ticket,
};

pub async fn a_release_returns_units_and_place(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(1))).await?;
    let first = entrant(1, 1);
    subject.enter(first).await?;
    subject
        .refused(entrant(2, 1), Refusal::SoldOut, Some(0))
        .await?;
    same("released", &subject.release(&[first, first]).await?, &1)?;
    let state = subject.state().await?;
    same(
        "units, leases, users",
        &(state.units, state.leases, state.users),
        &(0, 0, 0),
    )?;
    let again = subject.enter(entrant(1, 1)).await?;
    same("rank after a release", &again.rank, &2)?;
    same("remaining", &again.remaining, &Some(0))
}

pub async fn a_second_release_returns_nothing(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(10))).await?;
    let (first, other) = (entrant(1, 3), entrant(2, 2));
    subject.admit(&[first, other]).await?;
    same("released", &subject.release(&[first]).await?, &3)?;
    same("released again", &subject.release(&[first]).await?, &0)?;
    let unknown = entrant(3, 1);
    same(
        "released both",
        &subject.release(&[unknown, first, other]).await?,
        &2,
    )?;
    same("remaining", &subject.state().await?.remaining, &Some(10))
}

pub async fn a_release_after_a_settle_returns_nothing(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(2))).await?;
    let first = entrant(1, 1);
    subject.enter(first).await?;
    subject.settle(&[first, entrant(9, 1)]).await?;
    subject.settle(&[first]).await?;
    same("released", &subject.release(&[first]).await?, &0)?;
    let state = subject.state().await?;
    same(
        "units, leases, users",
        &(state.units, state.leases, state.users),
        &(1, 0, 1),
    )?;
    subject
        .refused(entrant(1, 1), already(first), Some(1))
        .await
}

pub async fn a_release_leaves_what_else_the_user_holds(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(20))).await?;
    let (first, second) = (entrant(1, 4), entrant(1, 3));
    subject.admit(&[first, second]).await?;
    same("released", &subject.release(&[first]).await?, &4)?;
    same("users", &subject.state().await?.users, &1)?;
    let limit = Refusal::LimitExceeded;
    subject.refused(entrant(1, 8), limit, Some(17)).await?;
    subject.enter(entrant(1, 7)).await?;
    same("units", &subject.state().await?.units, &10)
}

pub async fn a_released_participation_is_never_named_as_the_first(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(20))).await?;
    let of_one = [entrant(1, 1), entrant(1, 1)];
    let of_other = [entrant(2, 1), entrant(2, 1)];
    subject.admit(&of_one).await?;
    subject.admit(&of_other).await?;
    let released = subject.release(&[of_one[0], of_other[1]]).await?;
    same("released", &released, &2)?;
    let one_each = Settings {
        version: 2,
        ..settings(Some(20))
    };
    let configured = subject.gate.configure(subject.campaign, &one_each).await;
    configured.map_err(text)?;
    let refusal = Refusal::LimitExceeded;
    subject.refused(entrant(1, 1), refusal, Some(18)).await?;
    subject
        .undecided(entrant(2, 1), of_other[0], Some(18))
        .await?;
    subject.settle(&[of_other[0]]).await?;
    let refusal = already(of_other[0]);
    subject.refused(entrant(2, 1), refusal, Some(18)).await
}

pub async fn leases_that_ran_out_are_listed_until_they_end(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(9))).await?;
    let all: Vec<Entrant> = (1..=4).map(|user| entrant(user, 1)).collect();
    let mut ends = Vec::new();
    for entrant in &all {
        let at_once = Duration::ZERO;
        let answers = subject
            .gate
            .admit(subject.campaign, &[*entrant], at_once)
            .await;
        ends.push(ticket(&answers.map_err(text)?[0])?.lease_until);
    }
    subject.enter(entrant(5, 1)).await?;
    let listed = subject.expired(10).await?;
    let got: Vec<_> = listed.iter().map(|lease| lease.participation).collect();
    same("expired", &got, &ids(&all))?;
    let got: Vec<_> = listed.iter().map(|lease| lease.ends_at).collect();
    same("ends", &got, &ends)?;
    ensure!(listed.iter().all(|lease| lease.epoch == 1), "{listed:?}");
    same("a page", &subject.expired(2).await?, &listed[..2].to_vec())?;
    same("no page", &subject.expired(0).await?, &vec![])?;
    let again = subject.enter(all[0]).await?;
    same("asked after its end", &again.lease_until, &ends[0])?;
    same("left after its end", &again.left, &Duration::ZERO)?;
    subject.settle(&all[..1]).await?;
    same("released", &subject.release(&all[1..2]).await?, &1)?;
    // Ended leases are not on the page.
    same("left", &subject.expired(2).await?, &listed[2..].to_vec())
}
