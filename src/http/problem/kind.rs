//! The kinds of problems: a status, a code and a title each. The codes of rejected participations are in the domain,
//! their titles and details in `participations.rs`.

use std::borrow::Cow;

use poem::http::StatusCode;

use super::Problem;

/// A kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Status of the response.
    pub status: StatusCode,
    /// Stable code, for programs.
    pub code: &'static str,
    /// The kind, for people.
    pub title: &'static str,
}

impl Kind {
    /// A problem of this kind, with what happened this time.
    pub fn because(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status: self.status,
            code: self.code,
            title: self.title,
            detail: detail.into(),
            errors: Vec::new(),
            members: Vec::new(),
            headers: None,
        }
    }
}

macro_rules! kinds {
    ($($status:ident { $($code:ident $title:literal)+ })+) => {
        $($(
            #[doc = $title]
            pub const $code: Kind = Kind {
                status: StatusCode::$status,
                code: stringify!($code),
                title: $title,
            };
        )+)+

        /// All kinds of this table.
        #[cfg(test)]
        pub const ALL: &[Kind] = &[$($($code,)+)+];
    };
}

kinds! {
    BAD_REQUEST {
        DATE_IN_FUTURE "Date in the future"
        DATE_TOO_OLD "Date too old"
        MALFORMED "Malformed request"
    }
    UNAUTHORIZED {
        CODE_REFUSED "Not logged in"
        CODE_REQUIRED "Not logged in"
        INVALID_TOKEN "The token is not accepted"
        LOGIN_REFUSED "Not logged in"
        NOT_REMEMBERED "Not logged in"
        UNAUTHENTICATED "Not authenticated"
    }
    PAYMENT_REQUIRED {
        PAYMENT_DECLINED "Payment declined"
    }
    FORBIDDEN {
        ADMIN_CLOSED "The admin API is closed"
        CHALLENGE_FAILED "The challenge is not passed"
        CHALLENGE_REQUIRED "A challenge is required"
        CSRF "Possible cross-site request"
        FORBIDDEN "Not allowed"
        MISSING_SCOPE "A scope is missing"
        SHOPS_ONLY "Only shops redeem coupons"
    }
    NOT_FOUND {
        NOT_AGGREGATED "Not aggregated"
        NOT_FOUND "Not found"
        REWARDS_OFF "Rewards are off"
    }
    METHOD_NOT_ALLOWED {
        METHOD_NOT_ALLOWED "Method not allowed"
    }
    REQUEST_TIMEOUT {
        REQUEST_TIMEOUT "Request too slow"
    }
    CONFLICT {
        AGGREGATION_RUNNING "An aggregation is running"
        ALREADY_PAID "Already paid"
        ALREADY_REVIEWED "Already reviewed"
        ALREADY_USED "Already used"
        CANCELLED "Cancelled"
        CART_EMPTY "Cart empty"
        COUPON_EXPIRED "Coupon expired"
        COUPON_NOT_YET_VALID "Coupon not yet valid"
        COUPON_REVOKED "Coupon revoked"
        COUPON_USED "Coupon used"
        EXPIRED "Expired"
        JUST_USED "Used a moment ago"
        LOGIN_TAKEN "Login name taken"
        NOT_CANCELLABLE "Not cancellable"
        NOT_CONFIRMED "Not confirmed"
        NOT_DEAD "Not a dead letter"
        NOT_PAYABLE "Nothing to pay"
        NO_ENROLMENT "Nothing to confirm"
        NO_PAYMENT_PROVIDER "No payment provider"
        ORDER_BELOW_MINIMUM "Order below the minimum"
        ORDER_REFUSED "Order refused"
        PART_OF_ORDER "Part of an order"
        PAYMENT_REFERENCE_USED "Payment reference used"
        SUPERSEDED "Superseded"
        TOO_MANY_JOBS "Too many simulations"
        TOTP_ENABLED "One-time codes are enabled"
        TOTP_NOT_ENABLED "One-time codes are not enabled"
        UNCHANGED "Unchanged"
        WRONG_STATE "Not possible in this state"
    }
    PAYLOAD_TOO_LARGE {
        TOO_LARGE "Body too large"
    }
    UNSUPPORTED_MEDIA_TYPE {
        UNSUPPORTED_MEDIA_TYPE "Unsupported media type"
    }
    MISDIRECTED_REQUEST {
        HOST_NOT_ALLOWED "Host not allowed"
    }
    UNPROCESSABLE_ENTITY {
        IDEMPOTENCY_KEY_REUSED "Idempotency key reused"
        INVALID "The request has values that are not acceptable"
    }
    TOO_MANY_REQUESTS {
        ADDRESS_LIMIT "Too many at once from one address"
        RATE_LIMITED "Too many requests"
    }
    REQUEST_HEADER_FIELDS_TOO_LARGE {
        HEADERS_TOO_LARGE "Headers too large"
    }
    INTERNAL_SERVER_ERROR {
        INTERNAL "Internal error"
    }
    SERVICE_UNAVAILABLE {
        BROKER_UNAVAILABLE "Temporarily unavailable"
        BUSY "Temporarily unavailable"
        COUPON_SUSPENDED "Temporarily unavailable"
        GATE_UNAVAILABLE "Temporarily unavailable"
        NOT_READY "Not ready"
        PAYMENT_UNAVAILABLE "Temporarily unavailable"
        REQUEST_OUTSTANDING "Temporarily unavailable"
        REWARDS_UNAVAILABLE "Temporarily unavailable"
        STORE_UNAVAILABLE "Temporarily unavailable"
        TIMEOUT "Temporarily unavailable"
        UNAVAILABLE "Temporarily unavailable"
    }
}
