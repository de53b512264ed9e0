//! Compares the settings of a campaign with what its administrators requested.

use std::time::Duration;

use super::super::Found;
use super::super::windows::{EXACT_MS, ms};
use crate::evidence::{Evidence, History, Settings};
use crate::ledger::{Act, ActAnswer, ChangeOutcome};

pub(super) fn judge(evidence: &Evidence, campaign: i64, history: &History, found: &mut Found) {
    for act in &history.acts {
        let is_odd = matches!(act.outcome, ChangeOutcome::Odd { .. });
        found.hold("answer", !is_odd, || act.line());
        match &act.outcome {
            ChangeOutcome::Yes => done(history, act, found),
            ChangeOutcome::No { .. } => refused(evidence, act, found),
            _ => {}
        }
    }
    kept(campaign, history, found);
    for pair in history.readings.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        found.hold(
            "I5",
            after.settings.version >= before.settings.version,
            || format!("campaign {campaign}: a change is lost: {before:?}, then {after:?}"),
        );
        let sent = |act: &&ActAnswer| act.sent <= after.returned;
        let acts: Vec<&Act> = history
            .acts
            .iter()
            .filter(sent)
            .map(|one| &one.act)
            .collect();
        let is_requested = is_explained(&before.settings, after.returned, &after.settings, &acts);
        found.hold("settings", is_requested, || {
            format!("campaign {campaign}: nobody requested this: {before:?}, then {after:?}")
        });
    }
}

/// Every change that was answered with success has raised the version, also one without a difference: none is lost.
fn kept(campaign: i64, history: &History, found: &mut Found) {
    let (Some(first), Some(last)) = (history.readings.first(), history.readings.last()) else {
        return;
    };
    let changes = history.acts.iter();
    let changes = changes.filter(|act| act.is_done() && act.act.raises_version());
    let (changes, versions) = (
        changes.count(),
        last.settings.version - first.settings.version,
    );
    let is_kept = i64::try_from(changes).is_ok_and(|changes| changes <= versions);
    found.hold("I5", is_kept, || {
        format!(
            "campaign {campaign}: {changes} changes were done, and it has {versions} more versions"
        )
    });
}

/// An act that was answered with success was in force at some time between its request and its response.
fn done(history: &History, act: &ActAnswer, found: &mut Found) {
    if act.act.is_of_list() {
        list_done(history, act, found);
        return;
    }
    let mut possible = history.possible(act.sent, act.at);
    let is_so =
        possible.any(|settings| is_in(&act.act, settings)) || history.has_gap(act.sent, act.at);
    found.hold("I5", is_so, || {
        format!("{}, and it never was in force", act.line())
    });
}

/// A list, or its removal, is in force from the response to the next request about lists, unless an earlier one without
/// an outcome interferes.
fn list_done(history: &History, act: &ActAnswer, found: &mut Found) {
    let acts = history.acts.iter();
    let others = acts.filter(|other| other.act.is_of_list() && other.sent != act.sent);
    let mut until = Duration::MAX;
    for other in others {
        if other.sent >= act.at {
            until = until.min(other.sent);
        } else if !other.outcome.is_definite() || other.at > act.sent {
            return;
        }
    }
    let readings = history.readings.iter();
    for reading in readings.filter(|one| one.called >= act.at && one.returned <= until) {
        found.hold("I5", is_in(&act.act, &reading.settings), || {
            format!("{}, then {reading:?}", act.line())
        });
    }
}

/// Whether the settings are as the act made them.
fn is_in(act: &Act, settings: &Settings) -> bool {
    match act {
        Act::Stock(total) => settings.total == Some(*total),
        Act::Limit(limit) => settings.limit == *limit,
        Act::Window {
            opens_ms,
            closes_ms,
        } => is_time(settings.opens_ms, *opens_ms) && is_time(settings.closes_ms, *closes_ms),
        Act::Open => settings.is("open"),
        Act::Pause => settings.is("paused"),
        Act::Close => settings.is("closed"),
        Act::Import => settings.list.is_some(),
        Act::Remove => settings.list.is_none(),
        Act::RebuildGate => true,
    }
}

fn is_time(one: Option<i64>, other: Option<i64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.abs_diff(other) <= EXACT_MS.unsigned_abs(),
        (one, other) => one == other,
    }
}

/// A stock can be refused only if more units were committed.
fn refused(evidence: &Evidence, act: &ActAnswer, found: &mut Found) {
    let Act::Stock(total) = act.act else {
        return;
    };
    let rows = evidence.participations.iter();
    let rows = rows.filter(|row| row.campaign == act.campaign);
    let units: u64 = rows.map(|row| u64::from(row.quantity)).sum();
    found.hold("settings", units > total, || {
        format!("{}, and at most {units} units were committed", act.line())
    });
}

/// Whether the difference between two readings was requested, or comes from the campaign's window.
fn is_explained(before: &Settings, now: Duration, after: &Settings, acts: &[&Act]) -> bool {
    let asked = |is: &dyn Fn(&Act) -> bool| acts.iter().any(|act| is(act));
    let asked_window = |is: &dyn Fn(Option<i64>, Option<i64>) -> bool| {
        asked(
            &|act| matches!(act, Act::Window { opens_ms, closes_ms } if is(*opens_ms, *closes_ms)),
        )
    };
    let total = before.total == after.total
        || asked(&|act| matches!(act, Act::Stock(total) if after.total == Some(*total)));
    let limit = before.limit == after.limit
        || asked(&|act| matches!(act, Act::Limit(limit) if after.limit == *limit));
    // Opening a scheduled campaign removes its start.
    let opens = is_time(before.opens_ms, after.opens_ms)
        || after.opens_ms.is_none() && asked(&|act| *act == Act::Open)
        || asked_window(&|opens, _| is_time(opens, after.opens_ms));
    let closes = is_time(before.closes_ms, after.closes_ms)
        || asked_window(&|_, closes| is_time(closes, after.closes_ms));
    let list = before.list == after.list
        || asked(&|act| *act == Act::Import) && after.list.is_some()
        || asked(&|act| *act == Act::Remove) && after.list.is_none();
    let state = before.state == after.state
        || match after.state.as_str() {
            "open" => asked(&|act| matches!(act, Act::Open | Act::Window { .. })),
            "paused" => asked(&|act| *act == Act::Pause),
            "scheduled" => asked_window(&|opens, _| opens.is_some()),
            "closed" => {
                let is_past = |closes_ms: Option<i64>| {
                    closes_ms.is_some_and(|closes_ms| ms(now) >= closes_ms - EXACT_MS)
                };
                asked(&|act| *act == Act::Close)
                    || is_past(before.closes_ms)
                    || asked_window(&|_, closes| is_past(closes))
            }
            _ => false,
        };
    total && limit && opens && closes && list && state
}
