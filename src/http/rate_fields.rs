//! The fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), which state a client's
//! rates and what is left of them.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderValue};

use crate::access::limits::Counted;

/// The fields of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateFields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl RateFields {
    /// None where no rate applies.
    pub fn of(counted: &Counted) -> Option<Box<Self>> {
        let mut policy = Vec::new();
        let mut limit = Vec::new();
        for state in &counted.rates {
            let (of, rate) = (state.kind.as_str(), state.rate);
            let window = seconds(rate.period);
            policy.push(format!("\"{of}\";q={};w={window}", rate.requests));
            let full_in = seconds(state.full_in);
            limit.push(format!("\"{of}\";r={};t={full_in}", state.left));
        }
        let value = |items: &[String]| HeaderValue::from_str(&items.join(", ")).ok();
        let fields = Self {
            policy: value(&policy).filter(|_| !policy.is_empty())?,
            limit: value(&limit)?,
        };
        Some(Box::new(fields))
    }

    /// Adds them to a response.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert("ratelimit-policy", self.policy.clone());
        headers.insert("ratelimit", self.limit.clone());
    }
}

/// Whole seconds, rounded up, so that a client that waits for them has waited long enough.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::{LimitKind, Rate, RateState};

    #[test]
    fn each_rate_has_its_item() {
        let state = |kind, requests, left, full_ms| RateState {
            kind,
            rate: Rate {
                requests,
                period: Duration::from_millis(1_500),
            },
            left,
            full_in: Duration::from_millis(full_ms),
        };
        let counted = Counted {
            rates: vec![
                state(LimitKind::User, 20, 19, 75),
                state(LimitKind::Campaign, 500, 0, 1_500),
            ],
            wait: None,
        };
        let fields = RateFields::of(&counted).unwrap();
        assert_eq!(fields.policy, r#""user";q=20;w=2, "campaign";q=500;w=2"#);
        assert_eq!(fields.limit, r#""user";r=19;t=1, "campaign";r=0;t=2"#);
        assert_eq!(RateFields::of(&Counted::default()), None);
    }
}
