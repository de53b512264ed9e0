use chrono::{DateTime, TimeDelta};

use super::*;

const NOW: Timestamp = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);

fn standing(status: Status, paid_by: Option<&str>) -> Participation {
    Participation {
        status,
        amount: Some(100),
        payment_reference: paid_by.map(str::to_owned),
        expires_at: (status == Status::Reserved).then(|| NOW + TimeDelta::seconds(1)),
        created_at: NOW,
        ..Participation::example()
    }
}

fn confirm() -> RequestedChange {
    RequestedChange::Confirm {
        reference: "one".to_owned(),
    }
}

const fn cancel(suspended_until: Option<Timestamp>) -> RequestedChange {
    RequestedChange::Cancel { suspended_until }
}

#[test]
fn a_reservation_ends_in_exactly_one_way() {
    let reserved = standing(Status::Reserved, None);
    for (late, confirmed, expired) in [
        (0, Ok(Status::Confirmed), Err(Obstacle::Already)),
        (1, Err(Obstacle::Expired), Ok(Status::Expired)),
    ] {
        let now = NOW + TimeDelta::seconds(late);
        assert_eq!(
            reserved.after(&confirm(), CancellationPolicy::None, now),
            confirmed
        );
        assert_eq!(
            reserved.after(&RequestedChange::Expire, CancellationPolicy::None, now),
            expired
        );
        let cancelled = reserved.after(&cancel(None), CancellationPolicy::None, now);
        assert_eq!(cancelled, Ok(Status::Cancelled));
    }
}

#[test]
fn confirmed_participations_are_cancelled_only_if_the_campaign_is_cancellable() {
    let paid = standing(Status::Confirmed, Some("one"));
    let refused = paid.after(&cancel(None), CancellationPolicy::None, NOW);
    assert_eq!(refused, Err(Obstacle::NotCancellable));
    let taken = paid.after(&cancel(None), CancellationPolicy::All, NOW);
    assert_eq!(taken, Ok(Status::Cancelled));
}

#[test]
fn participations_that_may_have_coupons_are_cancelled_while_those_are_suspended() {
    let free = standing(Status::Confirmed, None);
    let at =
        |suspended_until| free.after(&cancel(suspended_until), CancellationPolicy::Suspended, NOW);
    assert_eq!(at(None), Err(Obstacle::NotSuspended));
    assert_eq!(at(Some(NOW)), Err(Obstacle::NotSuspendedAnyMore));
    let in_time = Some(NOW + TimeDelta::microseconds(1));
    assert_eq!(at(in_time), Ok(Status::Cancelled));
    // A participation that was never confirmed has no reward.
    let reserved = standing(Status::Reserved, None);
    let given_back = reserved.after(&cancel(None), CancellationPolicy::Suspended, NOW);
    assert_eq!(given_back, Ok(Status::Cancelled));
}

#[test]
fn a_repeated_payment_is_distinguished_from_a_second_one() {
    let by = |reference| {
        standing(Status::Confirmed, reference).after(&confirm(), CancellationPolicy::None, NOW)
    };
    assert_eq!(by(Some("one")), Err(Obstacle::Already));
    assert_eq!(by(Some("two")), Err(Obstacle::PaidOtherwise));
    assert_eq!(by(None), Err(Obstacle::NotPayable));
}

#[test]
fn no_transition_leaves_a_final_state() {
    for (status, obstacle) in [
        (Status::Cancelled, Obstacle::Cancelled),
        (Status::Expired, Obstacle::Expired),
    ] {
        let ended = standing(status, None);
        assert_eq!(
            ended.after(&confirm(), CancellationPolicy::All, NOW),
            Err(obstacle)
        );
        assert_eq!(
            ended.after(&RequestedChange::Expire, CancellationPolicy::All, NOW),
            Err(Obstacle::Already)
        );
        assert!(
            ended
                .after(&cancel(None), CancellationPolicy::All, NOW)
                .is_err()
        );
    }
}

#[test]
fn units_return_with_every_change_but_a_payment() {
    let follow = |status| RequestedChange::FollowOrder {
        status,
        reference: None,
    };
    for (requested, returns_units) in [
        (confirm(), false),
        (follow(Status::Confirmed), false),
        (cancel(None), true),
        (RequestedChange::Expire, true),
        (follow(Status::Cancelled), true),
        (follow(Status::Expired), true),
    ] {
        assert_eq!(requested.returns_units(), returns_units, "{requested:?}");
    }
}

#[test]
fn a_line_follows_its_order_even_after_its_time_and_never_leaves_a_final_status() {
    use Status::{Cancelled, Confirmed, Expired, Reserved};
    let long_after = NOW + TimeDelta::days(1);
    for (line, order, expected) in [
        (Reserved, Confirmed, Ok(Confirmed)),
        (Reserved, Cancelled, Ok(Cancelled)),
        (Reserved, Expired, Ok(Expired)),
        (Confirmed, Cancelled, Ok(Cancelled)),
        (Confirmed, Expired, Err(Obstacle::NotCancellable)),
        (Confirmed, Confirmed, Err(Obstacle::Already)),
        (Cancelled, Cancelled, Err(Obstacle::Already)),
        (Cancelled, Confirmed, Err(Obstacle::Cancelled)),
        (Expired, Expired, Err(Obstacle::Already)),
        (Expired, Confirmed, Err(Obstacle::Expired)),
    ] {
        let decided = RequestedChange::FollowOrder {
            status: order,
            reference: None,
        };
        let after = standing(line, None).after(&decided, CancellationPolicy::None, long_after);
        assert_eq!(after, expected, "{line:?} {order:?}");
    }
}
