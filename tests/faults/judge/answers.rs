//! Compares the responses to participations with the stored participations.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::Found;
use crate::client::sends_keys;
use crate::evidence::{Evidence, Participation};
use crate::ledger::{Answer, Outcome, Phase};

pub(super) fn judge(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    yeses(evidence, answers, found);
    refusals(evidence, answers, found);
    keys(evidence, answers, found);
    refused_keys(evidence, answers, found);
}

fn yeses(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let rows: HashMap<Uuid, &Participation> = evidence
        .participations
        .iter()
        .map(|row| (row.id, row))
        .collect();
    for answer in answers {
        let Outcome::Yes(yes) = &answer.outcome else {
            continue;
        };
        let request = &answer.request;
        found.hold(
            "I5",
            (yes.campaign, yes.user, yes.quantity)
                == (request.campaign, request.user, request.quantity),
            || format!("{request:?} got the response {yes:?}"),
        );
        let Some(row) = rows.get(&yes.participation) else {
            found.hold("I5", false, || {
                format!(
                    "yes at {:.2?} by replica {}, and no such row: {yes:?}",
                    answer.at, answer.replica
                )
            });
            continue;
        };
        let is_same = (row.campaign, row.user, row.quantity, row.rank)
            == (yes.campaign, yes.user, yes.quantity, yes.rank);
        found.hold("I5", is_same, || {
            format!("response {yes:?}, stored {row:?}")
        });
    }
}

fn refusals(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let theirs: HashSet<(Uuid, i64, i64)> = evidence
        .participations
        .iter()
        .map(|row| (row.id, row.campaign, row.user))
        .collect();
    for answer in answers {
        let request = &answer.request;
        match &answer.outcome {
            Outcome::Odd { status, body } => found.hold("answer", false, || {
                format!(
                    "{status} at {:.2?} by replica {}: {body}",
                    answer.at, answer.replica
                )
            }),
            Outcome::No { code, first } if code == "ALREADY_PARTICIPATED" => {
                let is_theirs = |id: &Uuid| theirs.contains(&(*id, request.campaign, request.user));
                found.hold("I5", first.as_ref().is_some_and(is_theirs), || {
                    format!(
                        "user {} got the id {first:?}, which is not theirs",
                        request.user
                    )
                });
            }
            Outcome::No { code, .. } if answer.phase == Phase::Healing && code != "SOLD_OUT" => {
                let by_settings = ["PAUSED", "ENDED", "NOT_OPEN_YET", "NOT_ALLOWED"];
                if evidence.settings.contains_key(&request.campaign)
                    && by_settings.contains(&code.as_str())
                {
                    continue;
                }
                found.hold("answer", false, || {
                    format!(
                        "a user without participations, {}, was refused with {code}",
                        request.user
                    )
                });
            }
            _ => {}
        }
    }
}

/// A definite rejection is final for a key: nothing was or will be committed under it.
fn refused_keys(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let used = evidence.keys.iter();
    let used: HashMap<(i64, &str), Uuid> = used
        .map(|used| ((used.user, used.key.as_str()), used.participation))
        .collect();
    for answer in answers {
        let (Outcome::No { code, .. }, Some(key)) = (&answer.outcome, &answer.request.key) else {
            continue;
        };
        let led_to = used.get(&(answer.request.user, key.as_str()));
        found.hold("I10", led_to.is_none(), || {
            format!(
                "key {key} was refused with {code} at {:.2?} by replica {}, and led to {led_to:?}",
                answer.at, answer.replica
            )
        });
    }
}

/// A key leads to one participation, however often it is sent.
fn keys(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let used: HashMap<(i64, &str), Uuid> = evidence
        .keys
        .iter()
        .map(|used| ((used.user, used.key.as_str()), used.participation))
        .collect();
    let mut sent: BTreeMap<(i64, i64), BTreeSet<&str>> = BTreeMap::new();
    let mut unanswered: BTreeMap<&str, bool> = BTreeMap::new();
    for answer in answers {
        let Some(key) = &answer.request.key else {
            continue;
        };
        let request = &answer.request;
        let of_user = sent.entry((request.campaign, request.user)).or_default();
        of_user.insert(key);
        *unanswered.entry(key).or_insert(true) &= !answer.outcome.is_definite();
        if let Outcome::Yes(yes) = &answer.outcome {
            let stored = used.get(&(request.user, key.as_str()));
            found.hold("key", stored == Some(&yes.participation), || {
                format!(
                    "key {key} got {}, and its participation is {stored:?}",
                    yes.participation
                )
            });
        }
    }
    for (key, is_unanswered) in unanswered {
        found.hold("answer", !is_unanswered, || {
            format!("key {key} never got a definite response")
        });
    }
    let mut rows: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for row in &evidence.participations {
        *rows.entry((row.campaign, row.user)).or_default() += 1;
    }
    for ((campaign, user), keys) in sent.into_iter().filter(|((_, user), _)| sends_keys(*user)) {
        let made = rows.get(&(campaign, user)).copied().unwrap_or(0);
        found.hold("key", made <= keys.len(), || {
            format!(
                "user {user} sent {} keys and has {made} participations in campaign {campaign}",
                keys.len()
            )
        });
    }
}
