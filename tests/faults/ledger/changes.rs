//! What clients asked to become of what they had, and what they were told.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{Phase, excerpt, parsed};

/// How the references of payments begin that the provider declines.
pub const DECLINED: &str = "declined";

/// A change that was asked for, and what came of it, as its client saw it.
#[derive(Clone, Debug)]
pub struct ChangeAnswer {
    /// Since the run began.
    pub at: Duration,
    pub phase: Phase,
    pub replica: usize,
    pub asked: AskedChange,
    /// From the moment somebody first asked for the participation to this answer: it is no older.
    pub age: Duration,
    pub told: Told,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedChange {
    pub participation: Uuid,
    pub user: i64,
    pub change: Change,
    /// From the yes to the moment this was first asked for: by then it was at least so old.
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
pub enum Told {
    /// 200: it is as was asked.
    Yes,
    /// A refusal by the rules.
    No { code: String },
    /// Come back later, as it should be said.
    Later { status: u16, code: String },
    /// No answer: the connection was lost, or the client's patience.
    Lost(String),
    /// An answer that nobody should ever get.
    Odd { status: u16, body: String },
}

impl ChangeAnswer {
    /// For people.
    pub fn line(&self) -> String {
        let AskedChange {
            participation,
            user,
            change,
            waited,
        } = &self.asked;
        format!(
            "at {:.2?} ({:?}) replica {} was asked by user {user} to {change:?} {participation}, \
             {waited:.2?} after the yes, and said {:?} when it was {:.2?} old at most",
            self.at, self.phase, self.replica, self.told, self.age
        )
    }
}

impl Change {
    /// A word for counting, and in the path of its request.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Confirm { .. } => "confirm",
            Self::Cancel => "cancel",
            Self::Use { .. } => "use",
        }
    }

    /// Whether the rules know this refusal of one's own participation that is to be paid for.
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

impl AskedChange {
    /// Reads an answer to it.
    pub fn read(&self, status: u16, has_retry_after: bool, body: &str) -> Told {
        let odd = || Told::Odd {
            status,
            body: excerpt(body),
        };
        let Some((value, code)) = parsed(body) else {
            return odd();
        };
        match status {
            200 if self.is_granted_in(&value) => Told::Yes,
            402 | 409 if self.change.can_be_refused(status, &code) => Told::No { code },
            429 | 503 if has_retry_after && !code.is_empty() => Told::Later { status, code },
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

impl Told {
    /// Whether the client knows where it stands.
    pub const fn is_definite(&self) -> bool {
        matches!(self, Self::Yes | Self::No { .. } | Self::Odd { .. })
    }

    /// A word for counting.
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
    let asked = |change| AskedChange {
        participation: Uuid::nil(),
        user: 7,
        change,
        waited: Duration::ZERO,
    };
    let pay = |reference: &str| {
        asked(Change::Confirm {
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
    assert_eq!(paid, Told::Yes);
    let declined = refused("PAYMENT_DECLINED");
    let no = pay("declined-1").read(402, false, &declined);
    assert!(matches!(no, Told::No { .. }));
    let busy = pay("one").read(503, true, &refused("UNAVAILABLE"));
    assert!(matches!(busy, Told::Later { .. }));
    let using = |order: &str| {
        asked(Change::Use {
            coupon: Uuid::nil(),
            order: order.to_owned(),
        })
    };
    let used = format!(r#"{{"couponId":"{}","orderId":"one"}}"#, Uuid::nil());
    assert_eq!(using("one").read(200, false, &used), Told::Yes);
    let no = asked(Change::Cancel).read(409, false, &refused("ALREADY_USED"));
    assert!(matches!(no, Told::No { .. }));
    let suspended = using("one").read(503, true, &refused("COUPON_SUSPENDED"));
    assert!(matches!(suspended, Told::Later { .. }));
    // A yes to something else or for another payment, a refusal that the rules do not know of this
    // change, and one's own participation not found.
    for (asked, status, body) in [
        (pay("one"), 200, stands("reserved")),
        (pay("two"), 200, stands("confirmed")),
        (asked(Change::Cancel), 200, stands("confirmed")),
        (pay("one"), 402, declined),
        (pay("one"), 409, refused("NOT_PAYABLE")),
        (asked(Change::Cancel), 409, refused("CANCELLED")),
        (asked(Change::Cancel), 404, refused("NOT_FOUND")),
        (using("two"), 200, used),
        (using("one"), 409, refused("COUPON_EXPIRED")),
        (using("one"), 404, refused("NOT_FOUND")),
        (pay("one"), 500, refused("INTERNAL")),
    ] {
        let told = asked.read(status, false, &body);
        assert!(matches!(told, Told::Odd { .. }), "{told:?}");
    }
}
