use serde_json::{Value, json};

use super::*;
use crate::http::fields::read;

fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn create(body: Value) -> Result<NewCampaign, Problem> {
    read::<Draft>(body)?.campaign(now())
}

fn fields(problem: &Problem) -> Vec<&str> {
    problem
        .errors
        .iter()
        .map(|error| error.field.as_str())
        .collect()
}

#[test]
fn a_new_campaign_is_open_unless_it_opens_later_or_is_a_draft() {
    let state = |body| create(body).ok().unwrap().state;
    let later = "2030-01-01T00:00:01Z";
    assert_eq!(state(json!({"name": "a"})), State::Open);
    assert_eq!(
        state(json!({"name": "a", "opensAt": "2030-01-01T00:00:00Z"})),
        State::Open
    );
    assert_eq!(
        state(json!({"name": "a", "opensAt": later})),
        State::Scheduled
    );
    let draft = json!({"name": "a", "opensAt": later, "state": "draft"});
    assert_eq!(state(draft), State::Draft);
    let scheduled = create(json!({"name": "a", "state": "scheduled"}));
    assert_eq!(fields(&scheduled.err().unwrap()), ["opensAt"]);
    let open = create(json!({"name": "a", "state": "open", "opensAt": later}));
    assert_eq!(fields(&open.err().unwrap()), ["state"]);
}

#[test]
fn defaults_are_one_unit_each_and_no_price() {
    let new = create(json!({"name": "a", "price": 0})).ok().unwrap();
    assert_eq!((new.per_user_limit, new.max_quantity), (1, 1));
    assert_eq!((new.hold_seconds, new.price), (120, None));
    assert_eq!((new.total_stock, new.kind), (None, Kind::General));
}

#[test]
fn unacceptable_values_are_rejected_by_name() {
    for (change, field) in [
        (json!({"totalStock": -1}), "totalStock"),
        (json!({"totalStock": 1.5}), "totalStock"),
        (json!({"kind": "lottery"}), "kind"),
        (json!({"state": "archived"}), "state"),
        (json!({"name": "  "}), "name"),
        (json!({"name": null}), "name"),
        (json!({"opensAt": "2030-02-30T00:00:00Z"}), "opensAt"),
        (json!({"opensAt": "tomorrow"}), "opensAt"),
        (json!({"opensAt": 1_700_000_000}), "opensAt"),
        (
            json!({"opensAt": "2030-02-01T00:00:00Z", "closesAt": "2030-02-01T00:00:00Z"}),
            "closesAt",
        ),
        (json!({"reward": {}}), "reward"),
        (
            json!({"reward": {"points": 1, "coupon": {"discountAmount": 1}}}),
            "reward",
        ),
        (json!({"reward": {"points": 0}}), "reward.points"),
        (
            json!({"reward": {"coupon": {}}}),
            "reward.coupon.discountAmount",
        ),
        (
            json!({"reward": {"coupon": {"discountAmount": 1, "x": 1}}}),
            "reward.coupon.x",
        ),
        (json!({"owner": "me"}), "owner"),
    ] {
        let mut body = json!({"name": "a"});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        assert_eq!(fields(&create(body).err().unwrap()), [field], "{change}");
    }
}

#[test]
fn rewards_are_parsed_in_both_forms() {
    let points = create(json!({"name": "a", "reward": {"points": 100}}));
    assert_eq!(points.ok().unwrap().reward, Some(Reward::Points(100)));
    let coupon = create(json!({"name": "a", "reward": {"coupon": {
        "discountAmount": 500, "minimumOrderAmount": 2000,
        "validFrom": "2030-12-01T00:00:00Z", "validUntil": "2031-01-01T00:00:00Z"
    }}}));
    assert_eq!(
        coupon.ok().unwrap().reward,
        Some(Reward::Coupon(CouponTerms {
            discount_amount: 500,
            minimum_order_amount: 2000,
            valid_from: Some("2030-12-01T00:00:00Z".parse().unwrap()),
            valid_until: Some("2031-01-01T00:00:00Z".parse().unwrap()),
        }))
    );
    let backwards = create(json!({"name": "a", "reward": {"coupon": {
        "discountAmount": 500, "validFrom": "2031-01-02T00:00:00Z", "validUntil": "2031-01-01T00:00:00Z"
    }}}));
    assert_eq!(
        fields(&backwards.err().unwrap()),
        ["reward.coupon.validUntil"]
    );
}

#[test]
fn a_change_distinguishes_null_from_an_absent_field() {
    let change = read::<Change>(json!({"totalStock": null, "price": 0, "name": "b"}));
    let change = CampaignChange::from(change.ok().unwrap());
    assert_eq!(change.total_stock, Some(None));
    assert_eq!(change.price, Some(None));
    assert_eq!(change.name.as_deref(), Some("b"));
    assert_eq!((change.opens_at, change.reward), (None, None));
    let problem = read::<Change>(json!({"kind": "points"})).err().unwrap();
    assert_eq!(fields(&problem), ["kind"]);
}
