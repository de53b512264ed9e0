//! What clients asked and what they were told: the side of the story that the judge holds against the
//! database.

mod changes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

pub use self::changes::{AskedChange, Change, ChangeAnswer, DECLINED, Told};

/// A request and what came of it, as its client saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was sent, since the run began.
    pub sent: Duration,
    /// When the answer was there, since the run began.
    pub at: Duration,
    pub phase: Phase,
    pub replica: usize,
    pub asked: Asked,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While things break.
    Traffic,
    /// When nothing breaks any more.
    Healing,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
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
    /// A refusal by the rules, with the first participation where it names one.
    No { code: String, first: Option<Uuid> },
    /// Come back later, as it should be said.
    Later { status: u16, code: String },
    /// No answer: the connection was lost, or the client's patience.
    Lost(String),
    /// An answer that nobody should ever get.
    Odd { status: u16, body: String },
}

/// What a yes says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yes {
    pub participation: Uuid,
    pub campaign: i64,
    pub user: i64,
    pub quantity: u32,
    pub rank: u64,
}

/// Refusals that a campaign can give; those of its window are true at their time only.
const REFUSALS: [&str; 5] = [
    "ALREADY_PARTICIPATED",
    "SOLD_OUT",
    "LIMIT_EXCEEDED",
    "NOT_OPEN_YET",
    "ENDED",
];

impl Outcome {
    /// Reads an answer.
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
            429 | 503 if has_retry_after && !code.is_empty() => Self::Later { status, code },
            _ => odd(),
        }
    }

    /// Whether the client knows where it stands.
    pub const fn is_definite(&self) -> bool {
        matches!(self, Self::Yes(_) | Self::No { .. } | Self::Odd { .. })
    }

    /// A word for counting.
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

/// What an answer says, and the code it has if it is a problem.
fn parsed(body: &str) -> Option<(Value, String)> {
    let value: Value = serde_json::from_str(body).ok()?;
    let code = value["code"].as_str().unwrap_or_default().to_owned();
    Some((value, code))
}

/// As much of an answer as is worth telling.
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

/// All answers of a run.
#[derive(Clone)]
pub struct Ledger {
    began: Instant,
    answers: Arc<Mutex<Vec<Answer>>>,
    changes: Arc<Mutex<Vec<ChangeAnswer>>>,
}

impl Ledger {
    pub fn new(began: Instant) -> Self {
        Self {
            began,
            answers: Arc::default(),
            changes: Arc::default(),
        }
    }

    /// Of a participation that was asked for at `sent`.
    pub fn write(
        &self,
        phase: Phase,
        replica: usize,
        (asked, sent): (Asked, Instant),
        outcome: Outcome,
    ) {
        self.answers.lock().unwrap().push(Answer {
            sent: sent.saturating_duration_since(self.began),
            at: self.began.elapsed(),
            phase,
            replica,
            asked,
            outcome,
        });
    }

    /// Of a change; `asked_at` is when somebody first asked for the participation.
    pub fn write_change(
        &self,
        phase: Phase,
        replica: usize,
        asked: AskedChange,
        asked_at: Instant,
        told: Told,
    ) {
        self.changes.lock().unwrap().push(ChangeAnswer {
            at: self.began.elapsed(),
            phase,
            replica,
            asked,
            age: asked_at.elapsed(),
            told,
        });
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
    // A 503 that does not say when to come back, a 500, a refusal no rule of the campaign gives, and
    // a yes that names nothing are answers nobody should get.
    for (status, retry, body) in [
        (503, false, busy),
        (500, true, r#"{"code":"INTERNAL"}"#),
        (409, true, r#"{"code":"PAUSED"}"#),
        (201, false, "{}"),
        (200, false, "no json"),
    ] {
        let outcome = Outcome::of(status, retry, body);
        assert!(matches!(outcome, Outcome::Odd { .. }), "{outcome:?}");
    }
}
