//! Checks the responses to clients around the times at which a campaign opens or closes. The parts and the
//! clients use this machine's clock; the clocks of replicas may be hours off.

use std::collections::HashMap;
use std::time::Duration;

use super::Found;
use crate::evidence::{Evidence, Hours};
use crate::ledger::{Answer, Outcome};

/// Tolerance: a campaign's times are cut to microseconds, those of clients to milliseconds.
pub(super) const EXACT_MS: i64 = 5;

pub(super) fn ms(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap()
}

pub(super) fn judge(evidence: &Evidence, answers: &[Answer], found: &mut Found) {
    let windows: HashMap<i64, Hours> = evidence
        .windows
        .iter()
        .map(|hours| (hours.campaign, *hours))
        .collect();
    let first_sent = first_sent(answers);
    // The windows of campaigns in `settings` change during the run.
    let is_fixed = |one: &&Answer| !evidence.settings.contains_key(&one.request.campaign);
    for answer in answers.iter().filter(is_fixed) {
        let hours = windows.get(&answer.request.campaign);
        let opens_ms = hours.and_then(|hours| hours.opens_ms).unwrap_or(i64::MIN);
        let closes_ms = hours.and_then(|hours| hours.closes_ms).unwrap_or(i64::MAX);
        let (sent, at) = (ms(answer.sent), ms(answer.at));
        let text = || {
            format!(
                "{} by replica {}, sent after {sent} ms and answered after {at} ms; open from {opens_ms} ms to \
                 {closes_ms} ms",
                answer.outcome.word(),
                answer.replica
            )
        };
        match &answer.outcome {
            Outcome::No { code, .. } if code == "NOT_OPEN_YET" => {
                found.hold("window", sent <= opens_ms.saturating_add(EXACT_MS), text);
            }
            Outcome::No { code, .. } if code == "ENDED" => {
                found.hold("window", at >= closes_ms.saturating_sub(EXACT_MS), text);
            }
            Outcome::Yes(_) => {
                found.hold("window", at >= opens_ms.saturating_sub(EXACT_MS), text);
                // A retry with a key gets the result of the first attempt.
                let key = answer.request.key.as_deref();
                let sent = key.and_then(|key| first_sent.get(key)).copied();
                let sent = ms(sent.unwrap_or(answer.sent));
                found.hold("window", sent <= closes_ms.saturating_add(EXACT_MS), text);
            }
            _ => {}
        }
    }
}

/// When each key was sent for the first time.
pub(super) fn first_sent(answers: &[Answer]) -> HashMap<&str, Duration> {
    let mut first: HashMap<&str, Duration> = HashMap::new();
    for answer in answers {
        if let Some(key) = &answer.request.key {
            let sent = first.entry(key).or_insert(answer.sent);
            *sent = answer.sent.min(*sent);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ledger::{ParticipationRequest, Path, Phase, Yes};

    fn answer(sent_ms: u64, at_ms: u64, key: Option<&str>, outcome: Outcome) -> Answer {
        Answer {
            sent: Duration::from_millis(sent_ms),
            at: Duration::from_millis(at_ms),
            phase: Phase::Traffic,
            replica: 0,
            request: ParticipationRequest {
                campaign: 1,
                user: 1,
                quantity: 1,
                key: key.map(str::to_owned),
                path: Path::Grouped,
            },
            outcome,
        }
    }

    fn no(code: &str) -> Outcome {
        Outcome::No {
            code: code.to_owned(),
            first: None,
        }
    }

    fn yes() -> Outcome {
        Outcome::Yes(Yes {
            participation: Uuid::nil(),
            campaign: 1,
            user: 1,
            quantity: 1,
            rank: 1,
        })
    }

    fn breaches(answers: &[Answer]) -> usize {
        let evidence = Evidence {
            windows: vec![Hours {
                campaign: 1,
                opens_ms: Some(1_000),
                closes_ms: Some(5_000),
            }],
            ..Evidence::default()
        };
        let mut found = Found::default();
        judge(&evidence, answers, &mut found);
        found.breaches().len()
    }

    #[test]
    fn answers_that_were_true_at_their_time_are_no_violation() {
        let answers = [
            answer(900, 1_100, None, no("NOT_OPEN_YET")),
            answer(900, 1_100, None, yes()),
            answer(4_900, 5_100, None, yes()),
            answer(4_900, 5_100, None, no("ENDED")),
            answer(4_900, 5_100, Some("key"), Outcome::Lost(String::new())),
            answer(6_000, 6_100, Some("key"), yes()),
        ];
        assert_eq!(breaches(&answers), 0);
    }

    #[test]
    fn early_closing_late_opening_and_sales_outside_the_window_are_reported() {
        for planted in [
            answer(1_100, 1_200, None, no("NOT_OPEN_YET")),
            answer(4_800, 4_900, None, no("ENDED")),
            answer(800, 900, None, yes()),
            answer(5_100, 5_200, None, yes()),
            answer(5_100, 5_200, Some("key"), yes()),
        ] {
            assert_eq!(breaches(std::slice::from_ref(&planted)), 1, "{planted:?}");
        }
        let mut elsewhere = answer(100, 200, None, no("ENDED"));
        elsewhere.request.campaign = 2;
        assert_eq!(breaches(&[elsewhere]), 1, "it has no end");
    }
}
