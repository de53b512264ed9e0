use chrono::{DateTime, TimeDelta};

use super::*;

const NOW: Timestamp = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);

fn refused_for(code: &str) -> OrderRefusal {
    OrderRefusal {
        line: 0,
        code: code.to_owned(),
    }
}

fn decisions() -> [OrderDecision; 5] {
    [
        placed(Some(5)),
        OrderDecision::Refused(refused_for("SOLD_OUT")),
        confirmed("one"),
        OrderDecision::Cancelled,
        OrderDecision::Expired,
    ]
}

const fn placed(amount: Option<u64>) -> OrderDecision {
    OrderDecision::Placed {
        amount,
        hold_seconds: 60,
    }
}

fn confirmed(reference: &str) -> OrderDecision {
    OrderDecision::Confirmed {
        reference: reference.to_owned(),
    }
}

fn standing(status: OrderStatus) -> Order {
    Order {
        status,
        payment_reference: (status == OrderStatus::Confirmed).then(|| "one".to_owned()),
        refusal: (status == OrderStatus::Refused).then(|| refused_for("SOLD_OUT")),
        expires_at: (status == OrderStatus::Reserved).then(|| NOW + TimeDelta::seconds(1)),
        ..Order::example()
    }
}

#[test]
fn an_order_with_a_price_waits_for_its_payment() {
    let placing = standing(OrderStatus::Placing);
    assert_eq!(
        placing.after(&placed(Some(5)), CancellationPolicy::None, NOW),
        Ok(OrderStatus::Reserved)
    );
    assert_eq!(
        placing.after(&placed(None), CancellationPolicy::None, NOW),
        Ok(OrderStatus::Confirmed)
    );
}

#[test]
fn a_reserved_order_ends_in_exactly_one_way() {
    let reserved = standing(OrderStatus::Reserved);
    let later = NOW + TimeDelta::seconds(1);
    for (now, paid, expired) in [
        (NOW, Ok(OrderStatus::Confirmed), Err(Obstacle::Already)),
        (later, Err(Obstacle::Expired), Ok(OrderStatus::Expired)),
    ] {
        let after = |decision| reserved.after(&decision, CancellationPolicy::None, now);
        assert_eq!(after(confirmed("one")), paid);
        assert_eq!(after(OrderDecision::Expired), expired);
    }
}

#[test]
fn no_decision_leaves_a_final_status() {
    for status in [
        OrderStatus::Cancelled,
        OrderStatus::Expired,
        OrderStatus::Refused,
    ] {
        for decision in decisions() {
            let after = standing(status).after(&decision, CancellationPolicy::All, NOW);
            assert!(after.is_err(), "{decision:?}");
        }
    }
}

#[test]
fn a_confirmed_order_is_cancelled_only_where_all_campaigns_permit_it() {
    let confirmed = standing(OrderStatus::Confirmed);
    let cancelled =
        |cancellation_policy| confirmed.after(&OrderDecision::Cancelled, cancellation_policy, NOW);
    for cancellation_policy in [CancellationPolicy::None, CancellationPolicy::Suspended] {
        assert_eq!(
            cancelled(cancellation_policy),
            Err(Obstacle::NotCancellable)
        );
    }
    assert_eq!(
        cancelled(CancellationPolicy::All),
        Ok(OrderStatus::Cancelled)
    );
}

#[test]
fn an_undecided_order_is_neither_paid_nor_cancelled() {
    let placing = standing(OrderStatus::Placing);
    for decision in &decisions()[2..] {
        let after = placing.after(decision, CancellationPolicy::All, NOW);
        assert!(after.is_err(), "{decision:?}");
    }
}

#[test]
fn a_repeated_payment_is_distinguished_from_a_second_one() {
    let paid = standing(OrderStatus::Confirmed);
    let after = |reference| paid.after(&confirmed(reference), CancellationPolicy::All, NOW);
    assert_eq!(after("one"), Err(Obstacle::Already));
    assert_eq!(after("two"), Err(Obstacle::PaidOtherwise));
}

#[test]
fn the_lines_follow_every_decision_and_keep_their_units_only_if_confirmed() {
    for status in OrderStatus::ALL {
        let is_undecided = matches!(status, OrderStatus::Placing | OrderStatus::Reserved);
        let keeps_units = status.of_lines().map(Status::holds_units);
        let expected = (!is_undecided).then_some(status == OrderStatus::Confirmed);
        assert_eq!(keeps_units, expected, "{status:?}");
    }
}

#[test]
fn an_order_is_announced_once_it_holds_units() {
    for status in OrderStatus::ALL {
        let has_held_units = !matches!(status, OrderStatus::Placing | OrderStatus::Refused);
        let expected = has_held_units.then(|| ["firstcome.order.", status.as_str()].concat());
        assert_eq!(status.event_type(), expected.as_deref(), "{status:?}");
    }
}

#[test]
fn a_refusal_by_the_rules_is_final_and_one_by_a_failure_is_not() {
    for (code, is_final) in [
        ("SOLD_OUT", true),
        (OrderRefusal::UNAVAILABLE, false),
        (OrderRefusal::INTERRUPTED, false),
    ] {
        assert_eq!(refused_for(code).is_final(), is_final, "{code}");
    }
}

#[test]
fn the_home_of_an_order_is_the_campaign_of_its_first_line() {
    let line = |campaign| OrderLine {
        campaign_id: CampaignId(campaign),
        ..Order::example().lines[0]
    };
    assert_eq!(home_of(&[line(9), line(2)]), Some(CampaignId(9)));
    assert_eq!(home_of(&[]), None);
}

#[test]
fn a_repeated_decision_is_recognised_by_what_it_led_to() {
    use OrderStatus::{Cancelled, Confirmed, Expired, Refused, Reserved};
    let [placed, refused, paid, cancelled, expired] = decisions();
    for (decision, led_to) in [
        (placed, vec![Reserved, Confirmed]),
        (refused, vec![Refused]),
        (OrderDecision::Refused(refused_for("ENDED")), vec![]),
        (paid, vec![Confirmed]),
        (confirmed("two"), vec![]),
        (cancelled, vec![Cancelled]),
        (expired, vec![Expired]),
    ] {
        let statuses = OrderStatus::ALL.into_iter();
        let known = statuses.filter(|status| standing(*status).is_decided_by(&decision));
        assert_eq!(known.collect::<Vec<_>>(), led_to, "{decision:?}");
    }
}
