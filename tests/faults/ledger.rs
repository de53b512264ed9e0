//! Records the requests of clients and the responses to them. The judge compares them with the database.

mod acts;
mod changes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

pub use self::acts::{Act, ActAnswer};
pub use self::changes::{Change, ChangeAnswer, ChangeOutcome, ChangeRequest, DECLINED};

/// A request and its response, as the client saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was sent, since the run began.
    pub sent: Duration,
    /// When the response arrived, since the run began.
    pub at: Duration,
    pub phase: Phase,
    pub replica: usize,
    pub request: ParticipationRequest,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// During the faults.
    Traffic,
    /// After all faults.
    Healing,
}

/// The request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipationRequest {
    pub campaign: i64,
    pub user: i64,
    pub quantity: u32,
    pub key: Option<String>,
    pub path: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Grouped,
    Sync,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// 201
    Yes(Yes),
    /// A refusal by the rules, with the first participation if the response names it.
    No { code: String, first: Option<Uuid> },
    /// A correct response to retry later.
    Later { status: u16, code: String },
    /// No response: the connection was lost, or the client timed out.
    Lost(String),
    /// A response that no client should ever get.
    Odd { status: u16, body: String },
}

/// The content of an accepted response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yes {
    pub participation: Uuid,
    pub campaign: i64,
    pub user: i64,
    pub quantity: u32,
    pub rank: u64,
}

/// Refusals of a campaign; those of its window and its state are correct only at certain times.
const REFUSALS: [&str; 6] = [
    "ALREADY_PARTICIPATED",
    "SOLD_OUT",
    "LIMIT_EXCEEDED",
    "NOT_OPEN_YET",
    "ENDED",
    "PAUSED",
];

impl Outcome {
    /// Reads a response.
    pub fn of(status: u16, has_retry_after: bool, body: &str) -> Self {
        let odd = || Self::Odd {
            status,
            body: excerpt(body),
        };
        let Some((value, code)) = parsed(body) else {
            return odd();
        };
        match status {
            201 => yes(&value).map_or_else(odd, Self::Yes),
            409 if REFUSALS.contains(&code.as_str()) => Self::No {
                code,
                first: uuid(&value),
            },
            403 if code == "NOT_ALLOWED" => Self::No { code, first: None },
            429 | 503 if has_retry_after && !code.is_empty() => Self::Later { status, code },
            _ => odd(),
        }
    }

    /// Whether the client knows the outcome.
    pub const fn is_definite(&self) -> bool {
        matches!(self, Self::Yes(_) | Self::No { .. } | Self::Odd { .. })
    }

    /// A word for statistics.
    pub fn word(&self) -> String {
        match self {
            Self::Yes(_) => "yes".to_owned(),
            Self::No { code, .. } => code.to_ascii_lowercase(),
            Self::Later { status, code } => format!("{status} {}", code.to_ascii_lowercase()),
            Self::Lost(_) => "lost".to_owned(),
            Self::Odd { status, .. } => format!("odd {status}"),
        }
    }
}

/// The body of a response, and its code if it is a problem.
fn parsed(body: &str) -> Option<(Value, String)> {
    let value: Value = serde_json::from_str(body).ok()?;
    let code = value["code"].as_str().unwrap_or_default().to_owned();
    Some((value, code))
}

/// The beginning of a body, for reports.
fn excerpt(body: &str) -> String {
    body.chars().take(300).collect()
}

fn uuid(value: &Value) -> Option<Uuid> {
    value["participationId"].as_str()?.parse().ok()
}

fn yes(value: &Value) -> Option<Yes> {
    Some(Yes {
        participation: uuid(value)?,
        campaign: value["campaignId"].as_i64()?,
        user: value["userId"].as_i64()?,
        quantity: value["quantity"].as_u64()?.try_into().ok()?,
        rank: value["rank"].as_u64()?,
    })
}

/// All responses of a run.
#[derive(Clone)]
pub struct Ledger {
    began: Instant,
    answers: Arc<Mutex<Vec<Answer>>>,
    changes: Arc<Mutex<Vec<ChangeAnswer>>>,
    acts: Arc<Mutex<Vec<ActAnswer>>>,
}

impl Ledger {
    pub fn new(began: Instant) -> Self {
        Self {
            began,
            answers: Arc::default(),
            changes: Arc::default(),
            acts: Arc::default(),
        }
    }

    /// Records the response to a participation that was requested at `sent`.
    pub fn write(
        &self,
        phase: Phase,
        replica: usize,
        (request, sent): (ParticipationRequest, Instant),
        outcome: Outcome,
    ) {
        self.answers.lock().unwrap().push(Answer {
            sent: sent.saturating_duration_since(self.began),
            at: self.began.elapsed(),
            phase,
            replica,
            request,
            outcome,
        });
    }

    /// Records the response to a change; `asked_at` is when the participation was first requested.
    pub fn write_change(
        &self,
        phase: Phase,
        replica: usize,
        request: ChangeRequest,
        asked_at: Instant,
        outcome: ChangeOutcome,
    ) {
        self.changes.lock().unwrap().push(ChangeAnswer {
            at: self.began.elapsed(),
            phase,
            replica,
            request,
            age: asked_at.elapsed(),
            outcome,
        });
    }

    /// Records the response to an act that was sent at `sent`.
    pub fn write_act(
        &self,
        replica: usize,
        (campaign, act): (i64, Act),
        sent: Instant,
        outcome: ChangeOutcome,
    ) {
        self.acts.lock().unwrap().push(ActAnswer {
            sent: sent.saturating_duration_since(self.began),
            at: self.began.elapsed(),
            replica,
            campaign,
            act,
            outcome,
        });
    }

    pub fn read_acts(&self) -> Vec<ActAnswer> {
        self.acts.lock().unwrap().clone()
    }

    pub fn read(&self) -> Vec<Answer> {
        self.answers.lock().unwrap().clone()
    }

    pub fn read_changes(&self) -> Vec<ChangeAnswer> {
        self.changes.lock().unwrap().clone()
    }
}

#[test]
fn answers_are_distinguished() {
    let refused = r#"{"code":"SOLD_OUT"}"#;
    assert!(matches!(
        Outcome::of(409, false, refused),
        Outcome::No { .. }
    ));
    let busy = r#"{"code":"BUSY"}"#;
    assert!(matches!(
        Outcome::of(503, true, busy),
        Outcome::Later { status: 503, .. }
    ));
    // A 503 without `Retry-After`, a 500, a refusal that no rule gives, and an acceptance without content are
    // responses that no client should get.
    for (status, retry, body) in [
        (503, false, busy),
        (500, true, r#"{"code":"INTERNAL"}"#),
        (409, true, r#"{"code":"NOT_ALLOWED"}"#),
        (403, true, r#"{"code":"PAUSED"}"#),
        (201, false, "{}"),
        (200, false, "no json"),
    ] {
        let outcome = Outcome::of(status, retry, body);
        assert!(matches!(outcome, Outcome::Odd { .. }), "{outcome:?}");
    }
}
