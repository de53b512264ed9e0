use chrono::TimeDelta;

use super::*;

#[test]
fn a_closed_campaign_never_opens_again() {
    for next in [State::Draft, State::Scheduled, State::Open, State::Paused] {
        assert!(!State::Closed.can_become(next));
        assert!(!State::Archived.can_become(next));
    }
}

#[test]
fn every_word_parses_back_to_its_value() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(State::parse("OPEN"), None);
}

#[test]
fn a_campaign_goes_from_draft_to_archive_with_pauses() {
    use State::{Archived, Closed, Draft, Open, Paused, Scheduled};
    let lives: [&[State]; 4] = [
        &[Draft, Scheduled, Open, Paused, Open, Closed, Archived],
        &[Draft, Open, Paused, Scheduled, Closed],
        &[Draft, Scheduled, Draft, Archived],
        &[Scheduled, Paused, Closed],
    ];
    for step in lives.iter().flat_map(|life| life.windows(2)) {
        assert!(step[0].can_become(step[1]), "{step:?}");
    }
}

#[test]
fn a_campaign_that_was_open_is_neither_a_draft_nor_archived_at_once() {
    for next in [State::Draft, State::Archived] {
        assert!(!State::Open.can_become(next));
        assert!(!State::Paused.can_become(next));
    }
}

#[test]
fn the_average_of_ratings_is_rounded_to_the_nearest_hundredth() {
    for (count, sum, average) in [
        (0, 0, None),
        (1, 5, Some(5.0)),
        (3, 13, Some(4.33)),
        (3, 14, Some(4.67)),
        (8, 33, Some(4.13)),
    ] {
        assert_eq!(Ratings { count, sum }.average(), average, "{sum}/{count}");
    }
}

#[test]
fn participations_are_paid_for_only_in_campaigns_with_a_price() {
    let priced = |price| Campaign {
        price,
        ..Campaign::example()
    };
    assert!(priced(Some(1)).is_paid());
    assert!(!priced(None).is_paid());
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// On sale from 10 to 20.
fn with_window(state: State) -> Campaign {
    Campaign {
        state,
        opens_at: Some(at(10)),
        closes_at: Some(at(20)),
        ..Campaign::example()
    }
}

const fn not_open_before(opens_at: Timestamp) -> Refusal {
    Refusal::NotOpenYet {
        opens_at: Some(opens_at),
    }
}

#[test]
fn the_window_includes_its_first_moment_and_excludes_its_end() {
    for state in [State::Scheduled, State::Open] {
        let campaign = with_window(state);
        for (now, refusal) in [
            (9, Some(not_open_before(at(10)))),
            (10, None),
            (19, None),
            (20, Some(Refusal::Ended)),
            (21, Some(Refusal::Ended)),
        ] {
            assert_eq!(campaign.closed_to_all(at(now)), refusal, "{state:?} {now}");
        }
    }
}

#[test]
fn a_campaign_without_a_window_is_open_until_its_state_changes() {
    for (state, refusal) in [
        (State::Draft, Some(Refusal::NotOpenYet { opens_at: None })),
        (State::Open, None),
        (State::Paused, Some(Refusal::Paused)),
        (State::Closed, Some(Refusal::Ended)),
        (State::Archived, Some(Refusal::Ended)),
    ] {
        let campaign = Campaign {
            state,
            ..Campaign::example()
        };
        assert_eq!(campaign.closed_to_all(at(0)), refusal, "{state:?}");
    }
}

#[test]
fn an_uncertain_clock_rejects_only_if_its_earliest_and_latest_time_give_the_same_reason() {
    let campaign = with_window(State::Open);
    for (earliest, latest, refusal) in [
        (5, 9, Some(not_open_before(at(10)))),
        (9, 10, None),
        (19, 20, None),
        (9, 20, None),
        (20, 21, Some(Refusal::Ended)),
    ] {
        let span = at(earliest)..=at(latest);
        assert_eq!(campaign.closed_throughout(&span), refusal, "{span:?}");
    }
}
