//! What clients were told of payments and of giving back, against what became of it.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::Found;
use crate::evidence::{Campaign, Evidence, Participation};
use crate::ledger::{Change, ChangeAnswer, Told};

/// The database's clock is not the one that clients measure by.
const CLOCKS_APART: Duration = Duration::from_millis(250);

pub(super) fn judge(evidence: &Evidence, changes: &[ChangeAnswer], found: &mut Found) {
    let mut asked: HashMap<Uuid, Vec<&ChangeAnswer>> = HashMap::new();
    for answer in changes {
        let of_one = asked.entry(answer.asked.participation).or_default();
        of_one.push(answer);
    }
    for row in &evidence.participations {
        let answers = asked.remove(&row.id).unwrap_or_default();
        unasked(evidence, row, &answers, found);
        unanswered(&answers, found);
        let campaigns = &evidence.campaigns;
        let Some(campaign) = campaigns.iter().find(|one| one.id == row.campaign) else {
            continue;
        };
        for answer in answers {
            odd(answer, found);
            told(campaign, row, answer, found);
            in_time(campaign, answer, found);
        }
    }
    for answer in asked.into_values().flatten() {
        odd(answer, found);
        found.hold("I5", answer.told != Told::Yes, || {
            format!("{}, and there is no such row", answer.line())
        });
    }
}

/// Whoever asks until they know is told in the end.
fn unanswered(answers: &[&ChangeAnswer], found: &mut Found) {
    for answer in answers {
        let is_known = |other: &&ChangeAnswer| {
            other.asked.change == answer.asked.change && other.told.is_definite()
        };
        found.hold(
            "answer",
            answers.iter().copied().any(|other| is_known(&other)),
            || format!("{}, and nothing better was ever said", answer.line()),
        );
    }
}

fn odd(answer: &ChangeAnswer, found: &mut Found) {
    let is_odd = matches!(answer.told, Told::Odd { .. });
    found.hold("answer", !is_odd, || answer.line());
}

/// Nothing is paid for or given back unless somebody asked for it.
fn unasked(evidence: &Evidence, row: &Participation, asked: &[&ChangeAnswer], found: &mut Found) {
    let is_asked =
        |wanted: &dyn Fn(&Change) -> bool| asked.iter().any(|answer| wanted(&answer.asked.change));
    let is_cancelled = row.status == "cancelled";
    let cancels = is_asked(&|change| *change == Change::Cancel);
    found.hold("change", !is_cancelled || cancels, || {
        format!("nobody gave {} back: {row:?}", row.id)
    });
    let is_paid = row.payment_reference.as_ref().is_none_or(|paid| {
        is_asked(&|change| matches!(change, Change::Confirm { reference } if reference == paid))
    });
    found.hold("change", is_paid, || {
        format!("nobody paid for {} so: {row:?}", row.id)
    });
    // What costs something is confirmed by its payment alone, and what was paid for does not expire.
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

/// What was said for good is how it is. What was confirmed may have been given back since: that somebody
/// asked for that, and that the campaign allows it, is judged on the row and on its events.
fn told(campaign: &Campaign, row: &Participation, answer: &ChangeAnswer, found: &mut Found) {
    let status = row.status.as_str();
    let paid = row.payment_reference.as_deref();
    match (&answer.asked.change, &answer.told) {
        (Change::Confirm { reference }, Told::Yes) => {
            let is_so = paid == Some(reference) && ["confirmed", "cancelled"].contains(&status);
            found.hold("I5", is_so, || format!("{}; kept {row:?}", answer.line()));
        }
        (Change::Cancel, Told::Yes) => {
            let is_so = status == "cancelled";
            found.hold("I5", is_so, || format!("{}; kept {row:?}", answer.line()));
        }
        (change, Told::No { code }) => {
            let is_so = match (change, code.as_str()) {
                // Too late for a payment, what is held can still be given back before it is expired.
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
                // Coupons are judged by themselves.
                (Change::Use { .. }, _) => true,
            };
            found.hold("change", is_so, || {
                format!("{}; kept {row:?}", answer.line())
            });
        }
        _ => {}
    }
}

/// It is held for as long as its campaign says: no shorter, and not for those who pay later.
fn in_time(campaign: &Campaign, answer: &ChangeAnswer, found: &mut Found) {
    let hold = campaign.hold;
    let is_expired = matches!(&answer.told, Told::No { code } if code == "EXPIRED");
    let is_early = is_expired && answer.age + CLOCKS_APART < hold;
    let is_payment = matches!(answer.asked.change, Change::Confirm { .. });
    let is_paid = is_payment && answer.told == Told::Yes;
    let is_late = is_paid && answer.asked.waited > hold + CLOCKS_APART;
    found.hold("hold", !is_early && !is_late, || {
        format!("{}; the hold is {hold:?}", answer.line())
    });
}
