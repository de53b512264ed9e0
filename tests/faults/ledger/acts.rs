//! Records what administrators did, and the responses to them.

use std::time::Duration;

use serde_json::Value;

use super::{ChangeOutcome, excerpt, parsed};

/// An action of an administrator on a campaign, and its response.
#[derive(Clone, Debug)]
pub struct ActAnswer {
    /// When it was sent, since the run began.
    pub sent: Duration,
    /// When the response arrived, since the run began.
    pub at: Duration,
    pub replica: usize,
    pub campaign: i64,
    pub act: Act,
    pub outcome: ChangeOutcome,
}

/// Times are milliseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Stock(u64),
    Limit(u64),
    Window {
        opens_ms: Option<i64>,
        closes_ms: Option<i64>,
    },
    Open,
    Pause,
    Close,
    /// Imports an allow list.
    Import,
    /// Removes the allow list.
    Remove,
    RebuildGate,
}

impl ActAnswer {
    /// For people.
    pub fn line(&self) -> String {
        let Self { sent, at, act, .. } = self;
        format!(
            "campaign {}: {act:?}, sent after {sent:.2?} to replica {}, answered after {at:.2?}: {:?}",
            self.campaign, self.replica, self.outcome
        )
    }

    /// Whether its effect may have been in force before `to`, or may come into force later than `from`.
    pub fn may_act_in(&self, from: Duration, to: Duration) -> bool {
        let ends = if self.outcome.is_definite() {
            self.at
        } else {
            Duration::MAX
        };
        self.sent <= to && ends >= from
    }

    pub fn is_done(&self) -> bool {
        self.outcome == ChangeOutcome::Yes
    }
}

impl Act {
    /// A word for statistics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Stock(_) => "stock",
            Self::Limit(_) => "limit",
            Self::Window { .. } => "window",
            Self::Open => "open",
            Self::Pause => "pause",
            Self::Close => "close",
            Self::Import => "import",
            Self::Remove => "remove list",
            Self::RebuildGate => "rebuild gate",
        }
    }

    /// Whether it changes the allow list.
    pub const fn is_of_list(&self) -> bool {
        matches!(self, Self::Import | Self::Remove)
    }

    /// Whether it raises the version of the campaign.
    pub const fn raises_version(&self) -> bool {
        !self.is_of_list() && !matches!(self, Self::RebuildGate)
    }

    /// Reads the response.
    pub fn read(
        &self,
        campaign: i64,
        (status, has_retry_after): (u16, bool),
        body: &str,
    ) -> ChangeOutcome {
        let odd = || ChangeOutcome::Odd {
            status,
            body: excerpt(body),
        };
        if (self, status) == (&Self::Remove, 204) {
            return ChangeOutcome::Yes;
        }
        let Some((value, code)) = parsed(body) else {
            return odd();
        };
        match status {
            200 if self.is_done_in(campaign, &value) => ChangeOutcome::Yes,
            404 | 409 | 422 if self.can_be_refused(status, &code, &value) => {
                ChangeOutcome::No { code }
            }
            429 | 503 if has_retry_after && !code.is_empty() => {
                ChangeOutcome::Later { status, code }
            }
            _ => odd(),
        }
    }

    fn is_done_in(&self, campaign: i64, said: &Value) -> bool {
        match self {
            Self::Import | Self::RebuildGate => said["campaignId"] == campaign,
            Self::Remove => false,
            _ => said["id"] == campaign,
        }
    }

    /// Whether the rules have this refusal. Another change of the campaign may interfere at any time.
    fn can_be_refused(&self, status: u16, code: &str, said: &Value) -> bool {
        let field = said["errors"][0]["field"].as_str().unwrap_or_default();
        match (self, status, code) {
            (Self::Open | Self::Pause | Self::Close, 409, "WRONG_STATE")
            | (Self::Import, 409, "SUPERSEDED")
            | (Self::Remove, 404, "NOT_FOUND") => true,
            (Self::Stock(_), 422, "INVALID") => ["totalStock", "id"].contains(&field),
            (
                Self::Limit(_) | Self::Window { .. } | Self::Open | Self::Pause | Self::Close,
                422,
                "INVALID",
            ) => field == "id",
            _ => false,
        }
    }
}

#[test]
fn answers_to_acts_are_distinguished() {
    let invalid = |field: &str| {
        format!(r#"{{"code":"INVALID","errors":[{{"field":"{field}","message":"no"}}]}}"#)
    };
    let campaign = r#"{"id":7,"state":"paused"}"#;
    let refused = |code: &str| format!(r#"{{"code":"{code}"}}"#);
    let read = |act: &Act, status, body: &str| act.read(7, (status, true), body);
    assert_eq!(read(&Act::Pause, 200, campaign), ChangeOutcome::Yes);
    assert_eq!(read(&Act::Remove, 204, ""), ChangeOutcome::Yes);
    assert_eq!(
        read(&Act::Import, 200, r#"{"campaignId":7,"users":3}"#),
        ChangeOutcome::Yes
    );
    for (act, status, body) in [
        (Act::Stock(3), 422, invalid("totalStock")),
        (Act::Open, 409, refused("WRONG_STATE")),
        (Act::Remove, 404, refused("NOT_FOUND")),
    ] {
        let outcome = read(&act, status, &body);
        assert!(matches!(outcome, ChangeOutcome::No { .. }), "{outcome:?}");
    }
    let busy = read(&Act::Open, 503, &refused("UNAVAILABLE"));
    assert!(matches!(busy, ChangeOutcome::Later { .. }));
    // Another campaign, a refusal that the rules do not have for this act, and a failure.
    for (act, status, body) in [
        (Act::Pause, 200, r#"{"id":8}"#.to_owned()),
        (Act::Limit(2), 422, invalid("perUserLimit")),
        (Act::Stock(3), 409, refused("WRONG_STATE")),
        (Act::Pause, 404, refused("NOT_FOUND")),
        (Act::Pause, 500, refused("INTERNAL")),
    ] {
        let outcome = read(&act, status, &body);
        assert!(matches!(outcome, ChangeOutcome::Odd { .. }), "{outcome:?}");
    }
}
