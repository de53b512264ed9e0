//! What a client is told of the rates it is held to: the fields `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10), and 429 where one is used up.

use std::borrow::Cow;
use std::time::Duration;

use poem::Request;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::App;
use super::auth::report;
use super::origin::address;
use super::problem::Problem;
use crate::access::limits::{Asker, Told};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::sale::participate;

/// The fields of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateFields {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl RateFields {
    /// None where no rate was asked.
    fn of(told: &Told) -> Option<Box<Self>> {
        let mut policy = Vec::new();
        let mut limit = Vec::new();
        for standing in &told.standings {
            let (of, rate) = (standing.of.as_str(), standing.rate);
            let window = seconds(rate.period);
            policy.push(format!("\"{of}\";q={};w={window}", rate.requests));
            let full_in = seconds(standing.full_in);
            limit.push(format!("\"{of}\";r={};t={full_in}", standing.left));
        }
        let value = |items: &[String]| HeaderValue::from_str(&items.join(", ")).ok();
        let fields = Self {
            policy: value(&policy).filter(|_| !policy.is_empty())?,
            limit: value(&limit)?,
        };
        Some(Box::new(fields))
    }

    /// Adds them to an answer.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert("ratelimit-policy", self.policy.clone());
        headers.insert("ratelimit", self.limit.clone());
    }
}

/// The rates that a request to take part is counted against.
pub struct Counting<'a> {
    app: &'a App,
    request: &'a Request,
    who: Asker,
    told: Told,
}

impl<'a> Counting<'a> {
    /// Counts the request for its address and its user, or refuses it.
    pub async fn begin(
        app: &'a App,
        request: &'a Request,
        asked: &participate::Request,
    ) -> Result<Self, Problem> {
        let who = Asker {
            address: address(request, &app.settings.proxies),
            user: asked.user,
            campaign: asked.campaign,
        };
        let told = app.limits.count(&who).await;
        within(&told, request)?;
        Ok(Self {
            app,
            request,
            who,
            told,
        })
    }

    /// Says so far how the client stands, to those who are refused for another reason.
    pub fn told(&self) -> Option<Box<RateFields>> {
        RateFields::of(&self.told)
    }

    /// Counts the request for its campaign, or refuses it. One of a user whom the campaign's list keeps out is
    /// not counted: it is refused anyway, and would take its turn from those who are in the list.
    pub async fn end(
        mut self,
        asked: &participate::Request,
    ) -> Result<Option<Box<RateFields>>, Problem> {
        let App {
            limits,
            participate,
            ..
        } = self.app;
        let is_counted = limits.limits_campaigns() && {
            // Large, and no part of requests that nothing limits.
            let kept_out = Box::pin(participate.is_not_allowed(asked)).await;
            !kept_out.map_err(|error| Problem::from(error).with_rates(self.told()))?
        };
        if is_counted {
            limits.count_campaign(&self.who, &mut self.told).await;
        }
        within(&self.told, self.request)
    }
}

/// Counts a request that reads from the API, or refuses it.
pub fn count_read(app: &App, request: &Request) -> Option<Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let address = address(request, &app.settings.proxies).filter(|_| reads)?;
    within(&app.limits.count_read(address), request).err()
}

fn within(told: &Told, request: &Request) -> Result<Option<Box<RateFields>>, Problem> {
    let fields = RateFields::of(told);
    let (Some(time), Some(last)) = (told.wait, told.standings.last()) else {
        return Ok(fields);
    };
    let (of, rate) = (last.of.as_str(), last.rate);
    report(request, SecurityEvent::RateLimited, |_| Detail {
        reason: Some(of),
        ..Detail::default()
    });
    let detail = format!(
        "More than {} requests in {} s: the limit of each {of}.",
        rate.requests,
        rate.period.as_secs_f64()
    );
    Err(wait(time, of, detail).with_rates(fields))
}

/// 429: somebody has to wait so long, because of what `limit` names.
pub fn wait(time: Duration, limit: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "RATE_LIMITED",
        "Too many requests",
        detail,
    )
    .with_header(header::RETRY_AFTER, seconds(time).max(1).into())
    .with_member("limit", limit)
}

/// Whole seconds, rounded up: who waits that long has waited long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::limits::{Of, Rate, Standing};

    #[test]
    fn each_rate_has_its_item() {
        let standing = |of, requests, left, full_ms| Standing {
            of,
            rate: Rate {
                requests,
                period: Duration::from_millis(1_500),
            },
            left,
            full_in: Duration::from_millis(full_ms),
        };
        let told = Told {
            standings: vec![
                standing(Of::User, 20, 19, 75),
                standing(Of::Campaign, 500, 0, 1_500),
            ],
            wait: None,
        };
        let fields = RateFields::of(&told).unwrap();
        assert_eq!(fields.policy, r#""user";q=20;w=2, "campaign";q=500;w=2"#);
        assert_eq!(fields.limit, r#""user";r=19;t=1, "campaign";r=0;t=2"#);
        assert_eq!(RateFields::of(&Told::default()), None);
    }
}
