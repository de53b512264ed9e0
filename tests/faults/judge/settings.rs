//! Compares the responses to clients with the settings of campaigns that administrators change under traffic, and these
//! settings with what was requested. The database's settings are known from readings; a participation or a refusal
//! may match any settings that can have been in force between its request and its response.

mod requested;

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::Found;
use super::windows::{EXACT_MS, first_sent, ms};
use crate::client::is_listed;
use crate::evidence::{Evidence, History, Participation, Settings};
use crate::ledger::{Act, ActAnswer, Answer, ChangeOutcome, Outcome, Yes};

/// How old a replica's copy of a campaign may be, and as much again as a request takes.
const COPY_MAX: Duration = Duration::from_millis(1_250);

pub(super) fn judge(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let rows = evidence.participations.iter();
    let rows: HashMap<Uuid, &Participation> = rows.map(|row| (row.id, row)).collect();
    let first_sent = first_sent(answers);
    for answer in answers {
        let Some(history) = evidence.settings.get(&answer.request.campaign) else {
            if let Outcome::No { code, .. } = &answer.outcome {
                let needs_admin = ["PAUSED", "NOT_ALLOWED"].contains(&code.as_str());
                found.hold("settings", !needs_admin, || {
                    format!("{code}, and no administrator acts on {:?}", answer.request)
                });
            }
            continue;
        };
        match &answer.outcome {
            Outcome::No { code, .. } => refusal(history, answer, code, found),
            Outcome::Yes(_) => {
                let key = answer.request.key.as_deref();
                let sent = key.and_then(|key| first_sent.get(key)).copied();
                acceptance(history, answer, sent.unwrap_or(answer.sent), found);
            }
            _ => {}
        }
    }
    for (campaign, history) in &evidence.settings {
        let accepted: Vec<Accepted> = answers
            .iter()
            .filter(|answer| answer.request.campaign == *campaign)
            .filter_map(|answer| Accepted::of(answer, &first_sent, &rows))
            .collect();
        stock(*campaign, history, &accepted, found);
        limits(*campaign, history, &accepted, found);
        requested::judge(evidence, *campaign, history, found);
    }
}

/// A response that accepted a participation, which has kept its units until the end.
struct Accepted<'a> {
    yes: &'a Yes,
    /// When it was requested for the first time.
    sent: Duration,
    at: Duration,
}

impl<'a> Accepted<'a> {
    fn of(
        answer: &'a Answer,
        first_sent: &HashMap<&str, Duration>,
        rows: &HashMap<Uuid, &Participation>,
    ) -> Option<Self> {
        let Outcome::Yes(yes) = &answer.outcome else {
            return None;
        };
        let stands = rows
            .get(&yes.participation)
            .is_some_and(|row| row.holds_units());
        let key = answer.request.key.as_deref();
        let sent = key.and_then(|key| first_sent.get(key)).copied();
        stands.then(|| Self {
            yes,
            sent: sent.unwrap_or(answer.sent),
            at: answer.at,
        })
    }
}

/// Whether these settings refuse with this code a request that was sent and answered at these times.
fn refuses(settings: &Settings, code: &str, sent: Duration, at: Duration) -> bool {
    match code {
        "PAUSED" => settings.is("paused"),
        "ENDED" => {
            let closes_ms = settings.closes_ms.unwrap_or(i64::MAX);
            settings.is("closed") || ms(at) >= closes_ms.saturating_sub(EXACT_MS)
        }
        "NOT_OPEN_YET" => settings
            .opens_ms
            .is_some_and(|opens_ms| ms(sent) <= opens_ms.saturating_add(EXACT_MS)),
        "NOT_ALLOWED" => settings.list.is_some(),
        _ => true,
    }
}

/// A refusal matches settings that were possible between its request and its response, or shortly before.
fn refusal(history: &History, answer: &Answer, code: &str, found: &mut Found) {
    if !["PAUSED", "ENDED", "NOT_OPEN_YET", "NOT_ALLOWED"].contains(&code) {
        return;
    }
    let (sent, at) = (answer.sent, answer.at);
    let is_possible = if code == "NOT_ALLOWED" {
        let user = answer.request.user;
        found.hold("settings", !is_listed(user), || {
            format!("user {user} is on every list, and got NOT_ALLOWED after {at:.2?}")
        });
        may_have_list(history, sent.saturating_sub(COPY_MAX), at)
    } else {
        let mut nths = 0..history.readings.len();
        nths.any(|nth| {
            let settings = &history.readings[nth].settings;
            let (since, until) = history.bounds(nth);
            since <= at
                && sent <= known_everywhere(history, until)
                && refuses(settings, code, sent, at)
        }) || history.has_gap(sent.saturating_sub(COPY_MAX), at)
    };
    found.hold("settings", is_possible, || {
        format!(
            "{code} by replica {} in campaign {}, sent after {sent:.2?} and answered after {at:.2?}: no settings \
             before that refuse it",
            answer.replica, answer.request.campaign
        )
    });
}

/// Until when settings that ended before `until` may still be used: until the gate has the next ones, as the response to a
/// later act says, and no replica has an old copy.
fn known_everywhere(history: &History, until: Duration) -> Duration {
    let acts = history.acts.iter();
    let told = acts.filter(|act| act.is_done() && !act.act.is_of_list() && act.sent >= until);
    let told = told.map(|act| act.at).min();
    told.map_or(Duration::MAX, |at| at + COPY_MAX)
}

fn may_have_list(history: &History, from: Duration, to: Duration) -> bool {
    let mut possible = history.possible(from, to);
    let mut imports = history.acts.iter().filter(|act| act.act == Act::Import);
    possible.any(|settings| settings.list.is_some())
        || imports.clone().any(|import| import.may_act_in(from, to))
        || imports.any(|import| import.is_done() && may_last(history, import, (from, to)))
}

/// Whether a list that was imported earlier may have been in force in this range, although no reading saw it: nothing was
/// read then, and it was not removed before for certain.
fn may_last(history: &History, import: &ActAnswer, (from, to): (Duration, Duration)) -> bool {
    let mut readings = history.readings.iter();
    let mut acts = history.acts.iter();
    let is_removed = |act: &ActAnswer| {
        act.act == Act::Remove && act.is_done() && act.sent >= import.at && act.at <= from
    };
    import.sent <= to
        && !readings.any(|reading| reading.called >= from && reading.returned <= to)
        && !acts.any(is_removed)
}

/// No request that was sent after a campaign was closed, paused or restricted for certain is accepted before it is
/// certainly so no more.
fn acceptance(history: &History, answer: &Answer, sent: Duration, found: &mut Found) {
    let (at, request) = (answer.at, &answer.request);
    let is_shut = history.acts.iter().find(|act| {
        let until = shut_until(history, act);
        until.is_some_and(|until| sent > act.at && at <= until)
    });
    found.hold("settings", is_shut.is_none(), || {
        format!(
            "{request:?} was sent after {sent:.2?}, accepted by replica {} after {at:.2?}, after {}",
            answer.replica,
            is_shut.map(ActAnswer::line).unwrap_or_default()
        )
    });
    let mut imports = history.acts.iter().filter(|act| act.act == Act::Import);
    let restricts = |act: &ActAnswer| {
        let until = restricted_until(history, act);
        until.is_some_and(|until| sent > act.at + COPY_MAX + history.lag && at <= until)
    };
    let is_restricted = !is_listed(request.user) && imports.any(restricts);
    found.hold("settings", !is_restricted, || {
        format!("{request:?} was accepted after {at:.2?}, and the user is not on the list")
    });
}

/// Until when nothing can be accepted that is sent after the response to this act; none: that is not certain.
fn shut_until(history: &History, act: &ActAnswer) -> Option<Duration> {
    let shuts = |settings: &Settings| match &act.act {
        Act::Pause => settings.is("paused"),
        Act::Close => settings.is("closed"),
        Act::Window { .. } => settings.opens_ms.is_some_and(|opens| opens > ms(act.at)),
        _ => false,
    };
    if !act.is_done() || history.has_gap(act.sent, act.at) {
        return None;
    }
    let possible = history.possible(act.sent, act.at);
    let mut versions: Vec<i64> = possible
        .filter(|one| shuts(one))
        .map(|one| one.version)
        .collect();
    versions.dedup();
    let [version] = versions[..] else {
        return None;
    };
    let (_, last, settings) = history
        .certain()
        .find(|(.., settings)| settings.version == version)?;
    let opens = settings
        .opens_ms
        .map(|opens| opens.saturating_sub(EXACT_MS));
    let opens = opens.and_then(|opens| u64::try_from(opens).ok());
    match (&act.act, opens) {
        (Act::Window { .. }, Some(opens)) => Some(last.min(Duration::from_millis(opens))),
        _ => Some(last),
    }
}

/// Until when users who are not on the list are refused, from this import on.
fn restricted_until(history: &History, import: &ActAnswer) -> Option<Duration> {
    // A definite refusal changes nothing.
    let others = history.acts.iter().filter(|other| {
        let is_refused = matches!(other.outcome, ChangeOutcome::No { .. });
        other.act.is_of_list() && other.sent != import.sent && !is_refused
    });
    let mut until = Duration::MAX;
    for other in others {
        let is_over = other.outcome.is_definite() && other.at <= import.sent;
        if other.sent >= import.at {
            until = until.min(other.sent);
        } else if !is_over {
            return None;
        }
    }
    import.is_done().then_some(until)
}

/// While a stock is certainly in force, no more units are held.
fn stock(campaign: i64, history: &History, accepted: &[Accepted<'_>], found: &mut Found) {
    for (_, last, settings) in history.certain() {
        let Some(total) = settings.total else {
            continue;
        };
        let units = distinct(accepted.iter().filter(|one| one.at <= last));
        found.hold("I1", units <= total, || {
            format!(
                "campaign {campaign}: {units} units accepted after {last:.2?}, when its stock was {total}"
            )
        });
    }
}

/// A user who takes units stays below a limit that was in force then; lowering it later takes nothing away.
fn limits(campaign: i64, history: &History, accepted: &[Accepted<'_>], found: &mut Found) {
    let mut of_user: HashMap<i64, Vec<&Accepted<'_>>> = HashMap::new();
    for one in accepted {
        of_user.entry(one.yes.user).or_default().push(one);
    }
    for (user, theirs) in of_user {
        for one in &theirs {
            if history.has_gap(one.sent, one.at) {
                continue;
            }
            let is_earlier = |other: &&&Accepted<'_>| {
                other.at < one.sent && other.yes.participation != one.yes.participation
            };
            let earlier = distinct(theirs.iter().filter(is_earlier).copied());
            let units = earlier + u64::from(one.yes.quantity);
            let possible = history.possible(one.sent, one.at);
            let limit = possible.map(|one| one.limit).max().unwrap_or(0);
            found.hold("I2", units <= limit, || {
                format!(
                    "user {user} has {units} units of campaign {campaign} after {:.2?}; the limit was {limit}",
                    one.at
                )
            });
        }
    }
}

/// Units of participations, each counted once.
fn distinct<'a>(accepted: impl Iterator<Item = &'a Accepted<'a>>) -> u64 {
    let units: HashMap<Uuid, u32> = accepted
        .map(|one| (one.yes.participation, one.yes.quantity))
        .collect();
    units.into_values().map(u64::from).sum()
}
