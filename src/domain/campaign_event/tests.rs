use chrono::TimeDelta;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::seconds(seconds)
}

/// Open from 10 to 20.
fn scheduled() -> Campaign {
    Campaign {
        state: State::Scheduled,
        opens_at: Some(at(10)),
        closes_at: Some(at(20)),
        ..Campaign::example()
    }
}

fn open() -> Campaign {
    Campaign::example()
}

fn sold(campaign: Campaign) -> Campaign {
    Campaign {
        committed_units: 10,
        ..campaign
    }
}

fn words(log: &CampaignLog) -> Vec<&'static str> {
    log.events()
        .iter()
        .map(|event| event.what.as_str())
        .collect()
}

/// The events of a change at a time.
fn change(is_sold_out: bool, before: &Campaign, after: &Campaign, now: i64) -> Vec<&'static str> {
    let mut log = CampaignLog::new(is_sold_out);
    log.changed(before, after, Some(at(now)));
    words(&log)
}

fn to(campaign: &Campaign, state: State) -> Campaign {
    Campaign {
        state,
        ..campaign.clone()
    }
}

#[test]
fn a_campaign_that_is_created_open_is_opened_too() {
    assert_eq!(words(&CampaignLog::created(&scheduled())), ["created"]);
    assert_eq!(words(&CampaignLog::created(&open())), ["created", "opened"]);
    let empty = CampaignLog::created(&sold(open()));
    assert_eq!(words(&empty), ["created", "opened", "sold_out"]);
    assert!(empty.is_sold_out());
}

#[test]
fn each_state_has_one_event() {
    let open = open();
    let paused = to(&open, State::Paused);
    let closed = to(&open, State::Closed);
    assert_eq!(change(false, &open, &paused, 0), ["paused"]);
    assert_eq!(change(false, &paused, &open, 0), ["opened"]);
    assert_eq!(change(false, &open, &closed, 0), ["closed"]);
    let archived = to(&open, State::Archived);
    assert_eq!(change(false, &closed, &archived, 0), ["archived"]);
    assert_eq!(change(false, &open, &open, 0), [""; 0]);
    let draft = to(&open, State::Draft);
    assert_eq!(change(false, &draft, &scheduled(), 0), ["changed"]);
}

#[test]
fn changed_fields_are_named_unless_the_state_tells_them() {
    let early = Campaign {
        opens_at: None,
        state: State::Open,
        ..scheduled()
    };
    assert_eq!(change(false, &scheduled(), &early, 0), ["opened"]);
    let renamed = Campaign {
        name: "new".to_owned(),
        ..early
    };
    assert_eq!(
        change(false, &scheduled(), &renamed, 0),
        ["changed", "opened"]
    );
    let later = Campaign {
        opens_at: Some(at(15)),
        name: "later".to_owned(),
        ..scheduled()
    };
    let mut log = CampaignLog::new(false);
    log.changed(&scheduled(), &later, None);
    assert_eq!(log.events[0].changed_fields, ["name", "opensAt"]);
    assert_eq!(words(&log), ["changed"]);
}

#[test]
fn what_the_clock_did_before_a_change_comes_first() {
    let scheduled = scheduled();
    let paused = to(&scheduled, State::Paused);
    assert_eq!(change(false, &scheduled, &paused, 12), ["opened", "paused"]);
    assert_eq!(change(false, &scheduled, &paused, 5), ["paused"]);
    let archived = to(&scheduled, State::Archived);
    let all = ["opened", "closed", "archived"];
    assert_eq!(change(false, &scheduled, &archived, 25), all);
    let closed = to(&scheduled, State::Closed);
    assert_eq!(change(false, &scheduled, &closed, 25), ["opened", "closed"]);
    assert_eq!(change(false, &scheduled, &closed, 5), ["closed"]);
}

#[test]
fn one_that_is_over_by_the_clock_and_goes_on_has_not_closed() {
    let open = to(&scheduled(), State::Open);
    let longer = Campaign {
        opens_at: Some(at(30)),
        closes_at: Some(at(40)),
        ..scheduled()
    };
    assert_eq!(change(false, &open, &longer, 25), ["changed"]);
}

#[test]
fn the_clock_opens_before_it_closes() {
    for (now, expected) in [
        (5, vec![]),
        (15, vec!["opened"]),
        (25, vec!["opened", "closed"]),
    ] {
        let mut log = CampaignLog::new(false);
        log.moved_by_clock(&scheduled(), scheduled().state_at(at(now)));
        assert_eq!(words(&log), expected);
    }
}

#[test]
fn stock_events_are_written_once_and_before_the_end() {
    let mut log = CampaignLog::new(false);
    log.stock(&open());
    log.stock(&sold(open()));
    log.stock(&sold(open()));
    log.stock(&open());
    assert_eq!(words(&log), ["sold_out", "back_in_stock"]);
    assert!(!log.is_sold_out());
    let closed = to(&sold(open()), State::Closed);
    assert_eq!(
        change(false, &sold(open()), &closed, 0),
        ["sold_out", "closed"]
    );
    let mut over = CampaignLog::new(true);
    over.stock(&to(&open(), State::Closed));
    assert_eq!(words(&over), [""; 0]);
}

#[test]
fn raising_the_stock_of_a_campaign_that_just_sold_out_tells_both() {
    let raised = Campaign {
        total_stock: Some(11),
        ..sold(open())
    };
    let all = ["sold_out", "changed", "back_in_stock"];
    assert_eq!(change(false, &sold(open()), &raised, 0), all);
    assert_eq!(change(true, &sold(open()), &raised, 0), all[1..]);
}

#[test]
fn the_value_of_a_record_is_the_public_view_of_the_campaign() {
    let campaign = Campaign {
        name: "\"first\"\n".to_owned(),
        committed_units: 4,
        ..scheduled()
    };
    let event = CampaignEvent {
        what: CampaignEventType::Changed,
        campaign,
        changed_fields: vec!["name"],
    };
    let value: Value = serde_json::from_str(&event.payload(at(7))).unwrap();
    let expected = json!({
        "campaignId": 1,
        "name": "\"first\"\n",
        "kind": "general",
        "state": "scheduled",
        "totalStock": 10,
        "currentStock": 6,
        "opensAt": "1970-01-01T00:00:10.000000Z",
        "closesAt": "1970-01-01T00:00:20.000000Z",
        "occurredAt": "1970-01-01T00:00:07.000000Z",
        "changedFields": ["name"],
    });
    assert_eq!(value, expected);
}

#[test]
fn the_type_of_an_event_is_its_word_among_those_of_campaigns() {
    let back = CampaignEventType::BackInStock;
    assert_eq!(back.ce_type(), "firstcome.campaign.back_in_stock");
}
