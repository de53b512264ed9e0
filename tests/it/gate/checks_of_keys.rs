//! Checks of idempotency keys: the gate's reply to a second attempt with a key, and its record of a rejection.

use std::time::Duration;

use firstcome::domain::{Refusal, State};
use firstcome::parts::gate::{Entrant, Key, KeyDigest, KeyRefused, Settings};

use super::subject::{
    LEASE, Subject, Verdict, ensure, entrant, generous, same, settings, text, ticket,
};

/// An attempt of a user's key.
fn attempt(user: i64, quantity: u32, key: &str) -> Entrant {
    let entrant = entrant(user, quantity);
    let digest = KeyDigest::of(entrant.user, key);
    Entrant {
        key: Key::Decide(digest),
        ..entrant
    }
}

/// The same for a user whom the caller refuses.
fn refused_by_caller(user: i64, key: &str) -> Entrant {
    let entrant = entrant(user, 1);
    let digest = KeyDigest::of(entrant.user, key);
    Entrant {
        key: Key::Refuse(digest),
        ..entrant
    }
}

async fn pause(subject: &Subject, settings: Settings) -> Verdict {
    let paused = Settings {
        version: 2,
        state: State::Paused,
        ..settings
    };
    let configured = subject.gate.configure(subject.campaign, &paused).await;
    configured.map(drop).map_err(text)
}

pub async fn a_key_with_a_lease_is_undecided_whatever_the_rules_say(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(3))).await?;
    let first = attempt(1, 3, "a");
    subject.enter(first).await?;
    subject
        .undecided(attempt(1, 3, "a"), first, Some(0))
        .await?;
    let refusal = Refusal::SoldOut;
    subject
        .refused(attempt(1, 3, "b"), refusal, Some(0))
        .await?;
    pause(subject, generous(Some(3))).await?;
    subject
        .undecided(attempt(1, 3, "a"), first, Some(0))
        .await?;
    subject
        .undecided(refused_by_caller(1, "a"), first, Some(0))
        .await?;
    let refusal = Refusal::Paused;
    subject
        .refused(attempt(2, 1, "a"), refusal, Some(0))
        .await?;
    subject.settle(&[first]).await?;
    let refusal = Refusal::Paused;
    subject.refused(attempt(1, 3, "a"), refusal, Some(0)).await
}

pub async fn a_key_whose_lease_was_released_is_decided_again(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(1))).await?;
    let first = attempt(1, 1, "a");
    subject.enter(first).await?;
    same("released", &subject.release(&[first]).await?, &1)?;
    subject.enter(attempt(1, 1, "a")).await.map(drop)
}

pub async fn two_attempts_of_a_key_in_one_call_are_one(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(9))).await?;
    let both = [attempt(1, 2, "a"), attempt(1, 2, "a")];
    let answers = subject.admit(&both).await?;
    ticket(&answers[0])?;
    subject.undecided(both[1], both[0], Some(7)).await?;
    same("units", &subject.state().await?.units, &2)
}

pub async fn an_admission_tells_how_long_ago_its_key_was_refused(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(1))).await?;
    let other = entrant(2, 1);
    let ticket = subject.enter(other).await?;
    same("without a key", &ticket.not_refused_for, &None)?;
    let again = attempt(1, 1, "a");
    subject.refused(again, Refusal::SoldOut, Some(0)).await?;
    same("released", &subject.release(&[other]).await?, &1)?;
    let late = subject.enter(again).await?;
    was_refused(late.not_refused_for)?;
    ensure!(late.may_be_refused_since(LEASE / 2), "{late:?}");
    // A repetition gets the same reply, and so does another key.
    was_refused(subject.enter(again).await?.not_refused_for)?;
    same("released", &subject.release(&[again]).await?, &1)?;
    let fresh = subject.enter(attempt(1, 1, "b")).await?;
    same("never refused", &fresh.not_refused_for, &Some(LEASE))?;
    ensure!(!fresh.may_be_refused_since(LEASE / 2), "{fresh:?}");
    Ok(())
}

pub async fn a_no_of_the_caller_is_remembered_too(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(5))).await?;
    let refusal = Refusal::NotAllowed;
    let refused = refused_by_caller(1, "a");
    subject.refused(refused, refusal, Some(5)).await?;
    was_refused(subject.enter(attempt(1, 1, "a")).await?.not_refused_for)
}

pub async fn a_rebuild_makes_every_key_one_that_may_have_been_refused(
    subject: &Subject,
) -> Verdict {
    subject.start(&settings(Some(5))).await?;
    subject.rebuild(2, &settings(Some(5)), &[], 0).await?;
    was_refused(subject.enter(attempt(1, 1, "a")).await?.not_refused_for)
}

/// A rejection of this user's key, by a gate that was called this long ago.
async fn refuse(
    subject: &Subject,
    (user, key): (i64, &str),
    age: Duration,
) -> Result<KeyRefused, String> {
    let digest = KeyDigest::of(entrant(user, 1).user, key);
    let answer = subject
        .gate
        .refuse_key(subject.campaign, digest, age, LEASE);
    answer.await.map_err(text)
}

pub async fn a_no_is_said_unless_something_was_admitted_under_its_key_since(
    subject: &Subject,
) -> Verdict {
    subject.start(&settings(Some(1))).await?;
    let other = entrant(2, 1);
    subject.enter(other).await?;
    let late = attempt(1, 1, "a");
    subject.refused(late, Refusal::SoldOut, Some(0)).await?;
    let (key, age) = ((1, "a"), LEASE / 2);
    same(
        "refused",
        &refuse(subject, key, age).await?,
        &KeyRefused::Done { epoch: 1 },
    )?;
    same("released", &subject.release(&[other]).await?, &1)?;
    let first = attempt(1, 1, "a");
    was_refused(subject.enter(first).await?.not_refused_for)?;
    let undecided = KeyRefused::Undecided;
    same("leased", &refuse(subject, key, age).await?, &undecided)?;
    subject.settle(&[first]).await?;
    same("settled", &refuse(subject, key, age).await?, &undecided)?;
    let refusal = Refusal::AlreadyParticipated {
        first: first.participation,
    };
    subject.refused(late, refusal, Some(0)).await?;
    same("asked again", &refuse(subject, key, age).await?, &undecided)
}

pub async fn no_no_is_said_to_a_key_that_is_not_remembered_well_enough(
    subject: &Subject,
) -> Verdict {
    let (key, age) = ((1, "a"), LEASE / 2);
    let missing = refuse(subject, key, age).await?;
    same("without a state", &missing, &KeyRefused::Missing)?;
    subject.start(&settings(Some(0))).await?;
    let undecided = KeyRefused::Undecided;
    same("never asked", &refuse(subject, key, age).await?, &undecided)?;
    let again = attempt(1, 1, "a");
    subject.refused(again, Refusal::SoldOut, Some(0)).await?;
    same("too late", &refuse(subject, key, LEASE).await?, &undecided)?;
    same(
        "in time",
        &refuse(subject, key, age).await?,
        &KeyRefused::Done { epoch: 1 },
    )?;
    subject.rebuild(2, &settings(Some(0)), &[], 0).await?;
    same("rebuilt", &refuse(subject, key, age).await?, &undecided)
}

/// An age of a moment, as far as is known.
fn was_refused(not_refused_for: Option<Duration>) -> Verdict {
    ensure!(
        not_refused_for.is_some_and(|known| known < LEASE / 2),
        "not refused for {not_refused_for:?}"
    );
    Ok(())
}
