//! Planted violations in a campaign whose settings an administrator changes.

use super::*;
use crate::evidence::{History, Reading, Settings};
use crate::ledger::{Act, ActAnswer, ChangeOutcome};

const MANAGED: i64 = 5;
/// On no list, and without keys.
const USER: i64 = 13;
const LISTED: i64 = 14;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settings(version: i64) -> Settings {
    Settings {
        version,
        state: "open".to_owned(),
        total: Some(3),
        limit: 2,
        opens_ms: None,
        closes_ms: None,
        list: None,
    }
}

fn act(sent: u64, act: Act) -> ActAnswer {
    ActAnswer {
        sent: ms(sent),
        at: ms(sent + 50),
        replica: 0,
        campaign: MANAGED,
        act,
        outcome: ChangeOutcome::Yes,
    }
}

/// Readings every 100 ms, from 0 to 20 s, of the settings that begin at these times.
fn history(changes: &[(u64, Settings)], acts: Vec<ActAnswer>) -> History {
    let at = |now: u64| {
        let before = changes.iter().rev().find(|(since, _)| *since <= now);
        before.unwrap().1.clone()
    };
    let readings = (0..200).map(|nth| Reading {
        called: ms(nth * 100),
        returned: ms(nth * 100 + 2),
        settings: at(nth * 100),
    });
    History {
        readings: readings.collect(),
        acts,
        lag: Duration::ZERO,
    }
}

/// Readings only at the begin and at the end, as when the database fails over.
fn rarely_read(last: Settings, acts: Vec<ActAnswer>) -> History {
    let mut history = history(&[(0, settings(1)), (19_000, last)], acts);
    history.readings.drain(1..history.readings.len() - 1);
    history
}

/// Paused from 2 to 4 s, with an allow list from 6 to 9 s, closed after 12 s. The stock was 3, is 5 from 1 s on, and 4
/// from 5 s on; the limit is 1 from 10 s on.
fn managed() -> History {
    let with = |version, change: fn(&mut Settings)| {
        let mut settings = settings(version);
        settings.total = Some(if version < 5 { 5 } else { 4 });
        change(&mut settings);
        settings
    };
    let changes = [
        (0, settings(1)),
        (1_000, with(2, |_| {})),
        (2_000, with(3, |it| it.state = "paused".to_owned())),
        (4_000, with(4, |_| {})),
        (5_000, with(5, |_| {})),
        (6_000, with(5, |it| it.list = Some(1))),
        (9_000, with(5, |_| {})),
        (10_000, with(6, |it| it.limit = 1)),
        (
            12_000,
            with(7, |it| {
                it.limit = 1;
                it.state = "closed".to_owned();
            }),
        ),
    ];
    let acts = [
        (980, Act::Stock(5)),
        (1_980, Act::Pause),
        (3_980, Act::Open),
        (4_980, Act::Stock(4)),
        (5_980, Act::Import),
        (8_980, Act::Remove),
        (9_980, Act::Limit(1)),
        (11_980, Act::Close),
    ];
    let acts = acts.into_iter().map(|(sent, of)| act(sent, of));
    history(&changes, acts.collect())
}

fn asked(user: i64, sent: u64, outcome: Outcome) -> Answer {
    let request = ParticipationRequest {
        campaign: MANAGED,
        user,
        quantity: 1,
        key: None,
        path: Path::Grouped,
    };
    Answer {
        sent: ms(sent),
        at: ms(sent + 10),
        ..answer(request, outcome)
    }
}

fn no(user: i64, sent: u64, code: &str) -> Answer {
    let code = code.to_owned();
    asked(user, sent, Outcome::No { code, first: None })
}

/// Accepted participations, and their rows.
fn accepted(evidence: &mut Evidence, requests: &[(i64, u64)]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (nth, (user, sent)) in (500..).zip(requests) {
        let row = participation(nth, MANAGED, *user, 1);
        let Outcome::Yes(yes) = yes(&row).outcome else {
            unreachable!();
        };
        answers.push(asked(*user, *sent, Outcome::Yes(yes)));
        evidence.participations.push(row);
    }
    answers
}

fn found(history: History, requests: &[(i64, u64)], refused: Vec<Answer>) -> BTreeSet<String> {
    let mut evidence = Evidence {
        settings: [(MANAGED, history)].into(),
        ..Evidence::default()
    };
    let mut answers = accepted(&mut evidence, requests);
    answers.extend(refused);
    let mut found = Found::default();
    super::super::settings::judge(&evidence, &answers, &mut found);
    let breaches = found.breaches().into_iter();
    breaches.map(|breach| breach.promise).collect()
}

#[test]
fn responses_that_match_the_settings_of_their_time_have_no_findings() {
    let refused = vec![
        no(USER, 2_100, "PAUSED"),
        no(USER, 1_985, "PAUSED"),
        // A copy of the campaign may be a second old.
        no(USER, 4_300, "PAUSED"),
        no(USER, 7_000, "NOT_ALLOWED"),
        no(USER, 9_500, "NOT_ALLOWED"),
        no(USER, 12_100, "ENDED"),
        no(USER, 500, "SOLD_OUT"),
    ];
    // The fourth unit comes after the stock was raised; a user of two keeps them when the limit is lowered.
    let accepted = [
        (15, 100),
        (17, 200),
        (19, 300),
        (LISTED, 1_500),
        // Sent before the pause and accepted in it.
        (USER, 1_975),
    ];
    assert_eq!(found(managed(), &accepted[..4], refused), BTreeSet::new());
    assert_eq!(
        found(managed(), &[(15, 100), (15, 200), accepted[4]], vec![]),
        BTreeSet::new()
    );
    assert_eq!(
        found(managed(), &[(LISTED, 8_000)], vec![]),
        BTreeSet::new()
    );
}

#[test]
fn refusals_without_their_settings_are_reported() {
    for refused in [
        no(USER, 1_500, "PAUSED"),
        no(USER, 7_000, "PAUSED"),
        no(USER, 5_000, "NOT_ALLOWED"),
        no(USER, 11_000, "NOT_ALLOWED"),
        no(LISTED, 7_000, "NOT_ALLOWED"),
        no(USER, 11_000, "ENDED"),
        no(USER, 500, "NOT_OPEN_YET"),
    ] {
        let what = format!("{refused:?}");
        assert_eq!(
            found(managed(), &[], vec![refused]),
            promises(["settings"]),
            "{what}"
        );
    }
    // Nobody administrates this campaign.
    let mut elsewhere = no(USER, 2_100, "PAUSED");
    elsewhere.request.campaign = MANAGED + 1;
    assert_eq!(
        found(managed(), &[], vec![elsewhere]),
        promises(["settings"])
    );
}

#[test]
fn acceptances_against_the_settings_are_reported() {
    // While it is paused, closed, or restricted to others.
    for sent in [2_500, 13_000, 8_000] {
        assert_eq!(
            found(managed(), &[(USER, sent)], vec![]),
            promises(["settings"]),
            "{sent}"
        );
    }
    // Before it opens.
    let mut later = settings(2);
    later.opens_ms = Some(9_000);
    let window = Act::Window {
        opens_ms: Some(9_000),
        closes_ms: None,
    };
    let opens = || {
        history(
            &[(0, settings(1)), (1_000, later.clone())],
            vec![act(980, window.clone())],
        )
    };
    assert_eq!(
        found(opens(), &[(USER, 8_900)], vec![]),
        promises(["settings"])
    );
    assert_eq!(found(opens(), &[(USER, 8_990)], vec![]), BTreeSet::new());
}

#[test]
fn an_acceptance_that_an_unknown_change_may_explain_is_no_finding() {
    // A version that nobody has read came in between: perhaps it was open for a moment.
    let mut changes = vec![(0, settings(1)), (2_000, settings(2))];
    changes[1].1.state = "paused".to_owned();
    changes.push((3_000, changes[1].1.clone()));
    let acts = || {
        vec![
            act(1_980, Act::Pause),
            act(2_950, Act::Open),
            act(2_960, Act::Pause),
        ]
    };
    let known = history(&changes, acts());
    assert_eq!(
        found(known, &[(USER, 2_500)], vec![]),
        promises(["I5", "settings"])
    );
    changes[2].1.version = 4;
    let unknown = history(&changes, acts());
    assert_eq!(found(unknown, &[(USER, 2_950)], vec![]), BTreeSet::new());
}

#[test]
fn more_units_than_the_stock_of_their_time_are_reported() {
    let four = [(15, 100), (17, 200), (19, 300), (21, 400)];
    assert_eq!(found(managed(), &four, vec![]), promises(["I1"]));
    let five = [
        (15, 100),
        (17, 1_200),
        (19, 1_300),
        (21, 1_400),
        (23, 1_500),
    ];
    assert_eq!(
        found(managed(), &five, vec![]),
        promises(["I1"]),
        "only four from 5 s on"
    );
    assert_eq!(found(managed(), &five[..4], vec![]), BTreeSet::new());
}

#[test]
fn more_units_than_the_limit_of_their_time_are_reported() {
    assert_eq!(
        found(managed(), &[(15, 100), (15, 200), (15, 4_500)], vec![]),
        promises(["I2"])
    );
    assert_eq!(
        found(managed(), &[(15, 100), (15, 10_500)], vec![]),
        promises(["I2"])
    );
    assert_eq!(
        found(managed(), &[(15, 100), (15, 9_900)], vec![]),
        BTreeSet::new()
    );
}

#[test]
fn an_act_without_effect_and_a_change_that_nobody_requested_are_reported() {
    let with = |change: fn(&mut History)| {
        let mut history = managed();
        change(&mut history);
        found(history, &[], vec![])
    };
    let nobody = |history: &mut History, of: Act| history.acts.retain(|act| act.act != of);
    assert_eq!(with(|_| {}), BTreeSet::new());
    // Answered with success, and never in force.
    assert_eq!(
        with(|it| it.acts.push(act(3_000, Act::Stock(9)))),
        promises(["I5"])
    );
    assert_eq!(
        with(|it| it.acts.push(act(9_500, Act::Import))),
        promises(["I5"])
    );
    // In force, and never requested, or before it was.
    assert_eq!(
        with(|it| it.acts[3].act = Act::Limit(2)),
        promises(["settings"])
    );
    for of in [
        Act::Pause,
        Act::Close,
        Act::Import,
        Act::Limit(1),
        Act::Stock(5),
    ] {
        let mut history = managed();
        nobody(&mut history, of.clone());
        assert_eq!(
            found(history, &[], vec![]),
            promises(["settings"]),
            "{of:?}"
        );
    }
    let late = with(|it| {
        it.acts[7].sent = ms(13_000);
        it.acts[7].at = ms(13_050);
    });
    assert_eq!(late, promises(["settings"]));
    // A committed change is lost again.
    let lost = with(|it| it.readings.last_mut().unwrap().settings = settings(1));
    assert!(lost.contains("I5"), "{lost:?}");
    // A failure, and a stock that was refused although it was enough.
    let odd = with(|it| {
        let body = "INTERNAL".to_owned();
        it.acts[0].outcome = ChangeOutcome::Odd { status: 500, body };
    });
    assert_eq!(odd, promises(["answer"]));
    let refused = with(|it| {
        let code = "INVALID".to_owned();
        it.acts.push(act(3_000, Act::Stock(2)));
        it.acts.last_mut().unwrap().outcome = ChangeOutcome::No { code };
    });
    assert_eq!(refused, promises(["settings"]));
}

#[test]
fn with_two_readings_lost_changes_and_wrong_lists_are_reported() {
    let acts = || {
        vec![
            act(1_000, Act::Pause),
            act(2_000, Act::Open),
            act(3_000, Act::Import),
            act(8_000, Act::Remove),
        ]
    };
    let with = |refused: Vec<Answer>| found(rarely_read(settings(3), acts()), &[], refused);
    assert_eq!(with(vec![]), BTreeSet::new());
    assert_eq!(
        with(vec![
            no(USER, 1_500, "PAUSED"),
            no(USER, 5_000, "NOT_ALLOWED")
        ]),
        BTreeSet::new()
    );
    for sent in [500, 12_000] {
        let refused = vec![no(USER, sent, "NOT_ALLOWED")];
        assert_eq!(with(refused), promises(["settings"]), "{sent}");
    }
    let mut acts = acts();
    acts.push(act(9_000, Act::Limit(2)));
    assert_eq!(
        found(rarely_read(settings(3), acts), &[], vec![]),
        promises(["I5"])
    );
}
