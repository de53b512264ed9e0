//! Checks of units that are returned after their commit.

use firstcome::domain::{Refusal, UserId};
use firstcome::parts::gate::{Entrant, GivenBack, Mark, UserUnits};

use super::subject::{Subject, Verdict, already, entrant, generous, same, settings};

/// Admits and settles these.
async fn hold(subject: &Subject, entrants: &[Entrant]) -> Verdict {
    for entrant in entrants {
        subject.enter(*entrant).await?;
    }
    subject.settle(entrants).await
}

pub async fn what_is_given_up_can_be_had_again_by_anybody(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(2))).await?;
    let (first, second) = (entrant(1, 1), entrant(2, 1));
    hold(subject, &[first, second]).await?;
    subject
        .refused(entrant(3, 1), Refusal::SoldOut, Some(0))
        .await?;
    let given_back = subject.give_back(1, 1, &[first]).await?;
    same("given back", &given_back, &GivenBack::Units(1))?;
    let state = subject.state().await?;
    same("units", &state.units, &1)?;
    same("users", &state.users, &1)?;
    same("returns", &state.returns, &1)?;
    // The same user, too; and no rank is given twice.
    let again = subject.enter(entrant(1, 1)).await?;
    same("rank", &again.rank, &3)?;
    subject
        .refused(entrant(3, 1), Refusal::SoldOut, Some(0))
        .await
}

pub async fn a_return_counts_once(subject: &Subject) -> Verdict {
    subject.start(&settings(Some(3))).await?;
    let entrants = [entrant(1, 1), entrant(2, 1), entrant(3, 1)];
    hold(subject, &entrants).await?;
    // Out of order, as from several replicas; and one twice in one call.
    let [first, second, _] = entrants;
    subject.give_back(1, 2, &[second]).await?;
    subject.give_back(1, 1, &[first]).await?;
    for again in [first, second] {
        let number = if again == first { 1 } else { 2 };
        let given_back = subject.give_back(1, number, &[again]).await?;
        same("given back again", &given_back, &GivenBack::Units(0))?;
    }
    same("units", &subject.state().await?.units, &1)
}

pub async fn a_return_before_its_settle_ends_the_lease(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(2))).await?;
    let early = entrant(1, 2);
    subject.enter(early).await?;
    subject.give_back(1, 1, &[early]).await?;
    let state = subject.state().await?;
    same("leases", &state.leases, &0)?;
    subject.settle(&[early]).await?;
    same("released late", &subject.release(&[early]).await?, &0)?;
    same("units", &subject.state().await?.units, &0)
}

pub async fn a_return_leaves_what_else_the_user_holds(subject: &Subject) -> Verdict {
    subject.start(&generous(Some(9))).await?;
    let (first, second) = (entrant(1, 8), entrant(1, 1));
    hold(subject, &[first, second]).await?;
    subject.give_back(1, 1, &[first]).await?;
    let state = subject.state().await?;
    same("units", &(state.units, state.users), &(1, 1))?;
    subject.enter(entrant(1, 8)).await?;
    subject
        .refused(entrant(1, 2), Refusal::LimitExceeded, Some(0))
        .await
}

pub async fn a_return_that_the_rebuild_knew_of_returns_nothing(subject: &Subject) -> Verdict {
    let settings = settings(Some(5));
    subject.start(&settings).await?;
    let (gone, stays) = (entrant(1, 1), entrant(2, 1));
    hold(subject, &[gone, stays]).await?;
    // Both were returned under epoch 2, whose rebuild had read only the first return.
    let seats = [UserUnits {
        user: UserId(2),
        units: 1,
        first: stays.participation,
    }];
    let mark = Mark {
        last_rank: 2,
        returns: 1,
    };
    subject.rebuild_at(2, &settings, &seats, mark).await?;
    let known = subject.give_back(2, 1, &[gone]).await?;
    same("known of", &known, &GivenBack::Units(0))?;
    let unknown = subject.give_back(2, 2, &[stays]).await?;
    same("not known of", &unknown, &GivenBack::Units(1))?;
    let state = subject.state().await?;
    same("units", &(state.units, state.returns), &(0, 2))
}

pub async fn a_return_of_another_epoch_returns_nothing(subject: &Subject) -> Verdict {
    let early = entrant(1, 1);
    let behind = subject.give_back(1, 1, &[early]).await?;
    same("without a state", &behind, &GivenBack::Behind)?;
    subject.start(&settings(Some(5))).await?;
    hold(subject, &[early]).await?;
    let behind = subject.give_back(2, 1, &[early]).await?;
    same("of a newer epoch", &behind, &GivenBack::Behind)?;
    let seats = [UserUnits {
        user: UserId(1),
        units: 1,
        first: early.participation,
    }];
    subject.rebuild(3, &settings(Some(5)), &seats, 1).await?;
    let late = subject.give_back(2, 1, &[early]).await?;
    same("of an older epoch", &late, &GivenBack::Units(0))?;
    subject
        .refused(entrant(1, 1), already(early), Some(4))
        .await
}
