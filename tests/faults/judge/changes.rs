//! Compares the responses to payments and cancellations with the stored changes.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Evidence, Participation};
use crate::ledger::{Change, ChangeAnswer, ChangeOutcome};

/// Tolerance between the database's clock and that of the clients.
const CLOCKS_APART: Duration = Duration::from_millis(250);

pub(super) fn judge(evidence: &Evidence, changes: &[ChangeAnswer], found: &mut Found) {
    let mut by_participation: HashMap<Uuid, Vec<&ChangeAnswer>> = HashMap::new();
    for answer in changes {
        let of_one = by_participation
            .entry(answer.request.participation)
            .or_default();
        of_one.push(answer);
    }
    for row in &evidence.participations {
        let answers = by_participation.remove(&row.id).unwrap_or_default();
        unrequested(evidence, row, &answers, found);
        unanswered(&answers, found);
        let campaigns = &evidence.campaigns;
        let Some(campaign) = campaigns.iter().find(|one| one.id == row.campaign) else {
            continue;
        };
        for answer in answers {
            odd(answer, found);
            definite_response(campaign, row, answer, found);
            in_time(campaign, answer, found);
        }
    }
    for answer in by_participation.into_values().flatten() {
        odd(answer, found);
        found.hold("I5", answer.outcome != ChangeOutcome::Yes, || {
            format!("{}, and there is no such row", answer.line())
        });
    }
}

/// A client that retries until it knows gets a definite response in the end.
fn unanswered(answers: &[&ChangeAnswer], found: &mut Found) {
    for answer in answers {
        let is_known = |other: &&ChangeAnswer| {
            other.request.change == answer.request.change && other.outcome.is_definite()
        };
        found.hold(
            "answer",
            answers.iter().copied().any(|other| is_known(&other)),
            || format!("{}, and nothing better was ever said", answer.line()),
        );
    }
}

fn odd(answer: &ChangeAnswer, found: &mut Found) {
    let is_odd = matches!(answer.outcome, ChangeOutcome::Odd { .. });
    found.hold("answer", !is_odd, || answer.line());
}

/// A participation is paid or cancelled only if a client requested it.
fn unrequested(
    evidence: &Evidence,
    row: &Participation,
    answers: &[&ChangeAnswer],
    found: &mut Found,
) {
    // Lines follow their order, which is judged by itself.
    if evidence.lines.contains(&row.id) {
        return;
    }
    let is_asked = |wanted: &dyn Fn(&Change) -> bool| {
        answers.iter().any(|answer| wanted(&answer.request.change))
    };
    let is_cancelled = row.status == "cancelled";
    let cancels = is_asked(&|change| *change == Change::Cancel);
    found.hold("change", !is_cancelled || cancels, || {
        format!("no client cancelled {}: {row:?}", row.id)
    });
    let is_paid = row.payment_reference.as_ref().is_none_or(|paid| {
        is_asked(&|change| matches!(change, Change::Confirm { reference } if reference == paid))
    });
    found.hold("change", is_paid, || {
        format!("no client paid for {} with this reference: {row:?}", row.id)
    });
    // A participation with a price is confirmed only by its payment, and a paid one does not expire.
    let campaigns = &evidence.campaigns;
    let costs = campaigns
        .iter()
        .any(|one| one.id == row.campaign && one.is_paid);
    let has_reference = row.payment_reference.is_some();
    let is_right = match row.status.as_str() {
        "confirmed" => has_reference == costs,
        "expired" | "reserved" => !has_reference,
        _ => true,
    };
    found.hold("change", is_right, || {
        format!("{} is {} and how it was paid: {row:?}", row.id, row.status)
    });
}

/// A definite response is true. A confirmed participation may have been cancelled since; whether a client
/// requested that and the campaign allows it is checked on the row and its events.
fn definite_response(
    campaign: &Campaign,
    row: &Participation,
    answer: &ChangeAnswer,
    found: &mut Found,
) {
    let status = row.status.as_str();
    let paid = row.payment_reference.as_deref();
    match (&answer.request.change, &answer.outcome) {
        (Change::Confirm { reference }, ChangeOutcome::Yes) => {
            let is_so = paid == Some(reference) && ["confirmed", "cancelled"].contains(&status);
            found.hold("I5", is_so, || {
                format!("{}; stored: {row:?}", answer.line())
            });
        }
        (Change::Cancel, ChangeOutcome::Yes) => {
            let is_so = status == "cancelled";
            found.hold("I5", is_so, || {
                format!("{}; stored: {row:?}", answer.line())
            });
        }
        (change, ChangeOutcome::No { code }) => {
            let is_so = match (change, code.as_str()) {
                // A reservation that is too old for a payment can still be cancelled before it expires.
                (Change::Confirm { .. }, "EXPIRED") => {
                    paid.is_none() && ["expired", "cancelled"].contains(&status)
                }
                (Change::Confirm { .. }, "CANCELLED") => status == "cancelled",
                (Change::Confirm { reference }, "ALREADY_PAID") => {
                    paid.is_some_and(|paid| paid != reference)
                }
                (Change::Confirm { reference }, _) => paid != Some(reference),
                (Change::Cancel, "EXPIRED") => status == "expired",
                (Change::Cancel, "ALREADY_USED") => status == "confirmed",
                (Change::Cancel, _) => !campaign.is_cancellable && status == "confirmed",
                // Coupons are checked separately.
                (Change::Use { .. }, _) => true,
            };
            found.hold("change", is_so, || {
                format!("{}; stored: {row:?}", answer.line())
            });
        }
        _ => {}
    }
}

/// It is held for exactly the campaign's time: not shorter, and not for later payments.
fn in_time(campaign: &Campaign, answer: &ChangeAnswer, found: &mut Found) {
    let hold = campaign.hold;
    let is_expired = matches!(&answer.outcome, ChangeOutcome::No { code } if code == "EXPIRED");
    let is_early = is_expired && answer.age + CLOCKS_APART < hold;
    let is_payment = matches!(answer.request.change, Change::Confirm { .. });
    let is_paid = is_payment && answer.outcome == ChangeOutcome::Yes;
    let is_late = is_paid && answer.request.waited > hold + CLOCKS_APART;
    found.hold("hold", !is_early && !is_late, || {
        format!("{}; the hold is {hold:?}", answer.line())
    });
}
