//! Exports what clients saw in a run as a history, which an independent checker of linearizability reads
//! (`judges/porcupine`, where `checker/history.go` explains the format).

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::evidence::{Campaign, Evidence, Participation};
use crate::ledger::{Answer, Outcome};

/// Faults last as long as they like, so a request may hold units in vain until the end of the run.
const HELD: Duration = Duration::from_secs(3_600);

/// Writes `seed-N.jsonl`.
pub fn export(folder: &str, seed: u64, evidence: &Evidence, answers: &[Answer]) {
    let lines: Vec<String> = lines(evidence, answers)
        .iter()
        .map(Value::to_string)
        .collect();
    fs::create_dir_all(folder).unwrap();
    let file = Path::new(folder).join(format!("seed-{seed}.jsonl"));
    fs::write(file, lines.join("\n") + "\n").unwrap();
}

/// The campaigns whose units nobody returns and whose settings nobody changes: the format has no payments, coupons, orders
/// and changes of settings.
fn lines(evidence: &Evidence, answers: &[Answer]) -> Vec<Value> {
    let rows = evidence.participations.iter();
    let ordered: HashSet<i64> = rows
        .filter(|row| evidence.lines.contains(&row.id))
        .map(|row| row.campaign)
        .collect();
    let campaigns = evidence.campaigns.iter().filter(|campaign| {
        let has_changes = evidence.settings.contains_key(&campaign.id);
        !campaign.is_paid
            && !campaign.has_coupons
            && !ordered.contains(&campaign.id)
            && !has_changes
    });
    campaigns
        .flat_map(|campaign| campaign_lines(campaign, evidence, answers))
        .collect()
}

fn campaign_lines(campaign: &Campaign, evidence: &Evidence, answers: &[Answer]) -> Vec<Value> {
    let id = campaign.id;
    let mut lines = vec![json!({
        "op": "campaign", "campaign": id, "stock": campaign.total, "limit": campaign.per_user_limit,
        "max": campaign.max_quantity, "hold_ns": nanos(HELD), "unsettled_ns": [[0, nanos(HELD)]],
    })];
    let answers = answers.iter();
    lines.extend(answers.filter(|one| one.request.campaign == id).map(answer));
    let rows = evidence.participations.iter();
    let rows: Vec<&Participation> = rows.filter(|row| row.campaign == id).collect();
    lines.extend(rows.iter().map(|row| {
        json!({
            "op": "row", "campaign": id, "user": row.user, "quantity": row.quantity, "id": row.id.to_string(),
            "rank": row.rank, "status": row.status,
        })
    }));
    // The evidence is read after all responses.
    let read = nanos(HELD);
    lines.push(json!({
        "op": "end", "campaign": id, "call_ns": read, "return_ns": read, "rows": rows.len(),
    }));
    lines
}

fn answer(answer: &Answer) -> Value {
    let request = &answer.request;
    let mut line = json!({
        "op": "participate", "client": answer.replica, "campaign": request.campaign, "user": request.user,
        "quantity": request.quantity, "key": request.key, "call_ns": nanos(answer.sent),
        "return_ns": nanos(answer.at), "outcome": outcome(&answer.outcome),
    });
    match &answer.outcome {
        Outcome::Yes(yes) => {
            line["id"] = json!(yes.participation.to_string());
            line["rank"] = json!(yes.rank);
        }
        Outcome::No { first, .. } => {
            line["id"] = json!(first.map(|first| first.to_string()));
        }
        Outcome::Later { .. } | Outcome::Lost(_) | Outcome::Odd { .. } => {}
    }
    line
}

/// The word of the format.
fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Yes(_) => "accepted",
        Outcome::No { code, .. } => match code.as_str() {
            "SOLD_OUT" => "sold_out",
            "ALREADY_PARTICIPATED" => "already",
            "LIMIT_EXCEEDED" => "limit",
            _ => "window",
        },
        Outcome::Later { status, code } if *status == 429 || code == "BUSY" => "nothing",
        Outcome::Later { .. } | Outcome::Lost(_) | Outcome::Odd { .. } => "unknown",
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}

#[test]
fn a_history_has_every_response_between_its_campaign_and_its_end() {
    use crate::ledger::{ParticipationRequest, Path, Phase};

    let campaign = |id, is_paid| Campaign {
        id,
        total: Some(1),
        committed: 0,
        count: 0,
        per_user_limit: 1,
        max_quantity: 1,
        returns: 0,
        is_paid,
        hold: Duration::ZERO,
        is_cancellable: false,
        has_coupons: false,
        points: 0,
        is_over: false,
    };
    let evidence = Evidence {
        campaigns: vec![campaign(1, false), campaign(2, true)],
        ..Evidence::default()
    };
    let later = |code: &str| Outcome::Later {
        status: 503,
        code: code.to_owned(),
    };
    let answered = |campaign, outcome| Answer {
        sent: Duration::from_nanos(1),
        at: Duration::from_nanos(2),
        phase: Phase::Traffic,
        replica: 0,
        request: ParticipationRequest {
            campaign,
            user: 7,
            quantity: 1,
            key: None,
            path: Path::Grouped,
        },
        outcome,
    };
    let answers = [
        answered(1, later("BUSY")),
        answered(2, later("BUSY")),
        answered(1, later("UNAVAILABLE")),
    ];
    let lines = lines(&evidence, &answers);
    let written = lines.iter();
    let words: Vec<&str> = written
        .map(|line| line["outcome"].as_str().or(line["op"].as_str()).unwrap())
        .collect();
    assert_eq!(words, ["campaign", "nothing", "unknown", "end"]);
    assert_eq!(
        (&lines[1]["call_ns"], &lines[1]["return_ns"]),
        (&json!(1), &json!(2))
    );
}
