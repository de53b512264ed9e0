//! Records the changes that clients requested, and the responses to them.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{Phase, excerpt, parsed};

/// The prefix of payment references that the provider declines.
pub const DECLINED: &str = "declined";

/// A requested change and its response, as the client saw it.
#[derive(Clone, Debug)]
pub struct ChangeAnswer {
    /// Since the run began.
    pub at: Duration,
    pub phase: Phase,
    pub replica: usize,
    pub request: ChangeRequest,
    /// From the first request for the participation to this response: an upper bound of its age.
    pub age: Duration,
    pub outcome: ChangeOutcome,
}

/// The change that a client requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRequest {
    pub participation: Uuid,
    pub user: i64,
    pub change: Change,
    /// From the accepted response to the first request of this change: a lower bound of the participation's
    /// age.
    pub waited: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Confirm {
        reference: String,
    },
    Cancel,
    /// Uses a coupon that the participation earned.
    Use {
        coupon: Uuid,
        order: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// 200: the change is done.
    Yes,
    /// A refusal by the rules.
    No { code: String },
    /// A correct response to retry later.
    Later { status: u16, code: String },
    /// No response: the connection was lost, or the client timed out.
    Lost(String),
    /// A response that no client should ever get.
    Odd { status: u16, body: String },
}

impl ChangeAnswer {
    /// For people.
    pub fn line(&self) -> String {
        let ChangeRequest {
            participation,
            user,
            change,
            waited,
        } = &self.request;
        format!(
            "at {:.2?} ({:?}) replica {}: user {user} requested {change:?} of {participation}, \
             {waited:.2?} after it was accepted: {:?}, at an age of at most {:.2?}",
            self.at, self.phase, self.replica, self.outcome, self.age
        )
    }
}

impl Change {
    /// A word for statistics, and for the path of its request.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Confirm { .. } => "confirm",
            Self::Cancel => "cancel",
            Self::Use { .. } => "use",
        }
    }

    /// Whether the rules have this refusal for an unpaid participation of the user.
    fn can_be_refused(&self, status: u16, code: &str) -> bool {
        match (self, status) {
            (Self::Confirm { reference }, 402) => {
                code == "PAYMENT_DECLINED" && reference.starts_with(DECLINED)
            }
            (Self::Confirm { .. }, 409) => ["EXPIRED", "CANCELLED", "ALREADY_PAID"].contains(&code),
            (Self::Cancel, 409) => ["EXPIRED", "NOT_CANCELLABLE", "ALREADY_USED"].contains(&code),
            (Self::Use { .. }, 409) => ["COUPON_USED", "COUPON_REVOKED"].contains(&code),
            _ => false,
        }
    }
}

impl ChangeRequest {
    /// Reads the response.
    pub fn read(&self, status: u16, has_retry_after: bool, body: &str) -> ChangeOutcome {
        let odd = || ChangeOutcome::Odd {
            status,
            body: excerpt(body),
        };
        let Some((value, code)) = parsed(body) else {
            return odd();
        };
        match status {
            200 if self.is_granted_in(&value) => ChangeOutcome::Yes,
            402 | 409 if self.change.can_be_refused(status, &code) => ChangeOutcome::No { code },
            429 | 503 if has_retry_after && !code.is_empty() => {
                ChangeOutcome::Later { status, code }
            }
            _ => odd(),
        }
    }

    fn is_granted_in(&self, said: &Value) -> bool {
        let stands_at = |status: &str| {
            said["participationId"] == self.participation.to_string()
                && said["userId"] == self.user
                && said["status"] == status
        };
        match &self.change {
            Change::Confirm { reference } => {
                stands_at("confirmed") && said["paymentReference"] == *reference
            }
            Change::Cancel => stands_at("cancelled"),
            Change::Use { coupon, order } => {
                said["couponId"] == coupon.to_string() && said["orderId"] == *order
            }
        }
    }
}

impl ChangeOutcome {
    /// Whether the client knows the outcome.
    pub const fn is_definite(&self) -> bool {
        matches!(self, Self::Yes | Self::No { .. } | Self::Odd { .. })
    }

    /// A word for statistics.
    pub fn word(&self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::No { code } => code.to_ascii_lowercase(),
            Self::Later { status, code } => format!("{status} {}", code.to_ascii_lowercase()),
            Self::Lost(_) => "lost".to_owned(),
            Self::Odd { status, .. } => format!("odd {status}"),
        }
    }
}

#[test]
fn answers_to_changes_are_distinguished() {
    let request = |change| ChangeRequest {
        participation: Uuid::nil(),
        user: 7,
        change,
        waited: Duration::ZERO,
    };
    let pay = |reference: &str| {
        request(Change::Confirm {
            reference: reference.to_owned(),
        })
    };
    let stands = |status: &str| {
        format!(
            r#"{{"participationId":"{}","userId":7,"status":"{status}","paymentReference":"one"}}"#,
            Uuid::nil()
        )
    };
    let refused = |code: &str| format!(r#"{{"code":"{code}"}}"#);
    let paid = pay("one").read(200, false, &stands("confirmed"));
    assert_eq!(paid, ChangeOutcome::Yes);
    let declined = refused("PAYMENT_DECLINED");
    let no = pay("declined-1").read(402, false, &declined);
    assert!(matches!(no, ChangeOutcome::No { .. }));
    let busy = pay("one").read(503, true, &refused("UNAVAILABLE"));
    assert!(matches!(busy, ChangeOutcome::Later { .. }));
    let using = |order: &str| {
        request(Change::Use {
            coupon: Uuid::nil(),
            order: order.to_owned(),
        })
    };
    let used = format!(r#"{{"couponId":"{}","orderId":"one"}}"#, Uuid::nil());
    assert_eq!(using("one").read(200, false, &used), ChangeOutcome::Yes);
    let no = request(Change::Cancel).read(409, false, &refused("ALREADY_USED"));
    assert!(matches!(no, ChangeOutcome::No { .. }));
    let suspended = using("one").read(503, true, &refused("COUPON_SUSPENDED"));
    assert!(matches!(suspended, ChangeOutcome::Later { .. }));
    // An acceptance of something else or for another payment, a refusal that the rules do not have for this change,
    // or 404 for the user's own participation.
    for (request, status, body) in [
        (pay("one"), 200, stands("reserved")),
        (pay("two"), 200, stands("confirmed")),
        (request(Change::Cancel), 200, stands("confirmed")),
        (pay("one"), 402, declined),
        (pay("one"), 409, refused("NOT_PAYABLE")),
        (request(Change::Cancel), 409, refused("CANCELLED")),
        (request(Change::Cancel), 404, refused("NOT_FOUND")),
        (using("two"), 200, used),
        (using("one"), 409, refused("COUPON_EXPIRED")),
        (using("one"), 404, refused("NOT_FOUND")),
        (pay("one"), 500, refused("INTERNAL")),
    ] {
        let outcome = request.read(status, false, &body);
        assert!(matches!(outcome, ChangeOutcome::Odd { .. }), "{outcome:?}");
    }
}
