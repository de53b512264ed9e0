//! Counts requests against the rates of their address, user and campaign, and rejects with 429 where one is used up.

use poem::Request;
use poem::http::Method;

use super::App;
use super::client_address::client_address;
use super::problem::{Problem, rate_limited};
use super::rate_fields::RateFields;
use super::request_context::report;
use super::routes::Target;
use crate::access::limits::{Counted, LimitKeys};
use crate::access::security_events::{Detail, SecurityEvent};
use crate::domain::{CampaignId, UserId};

/// A participation that is counted against its rates.
pub struct RateCheck<'a> {
    app: &'a App,
    request: &'a Request,
    keys: LimitKeys,
    counted: Counted,
}

impl<'a> RateCheck<'a> {
    /// Counts the request for its address and its user, or rejects it. The campaign is its first one; `lines` is the
    /// number of lines of an order.
    pub async fn count_caller(
        app: &'a App,
        request: &'a Request,
        (campaign, user): (CampaignId, UserId),
        lines: Option<u32>,
    ) -> Result<Self, Problem> {
        let keys = LimitKeys {
            address: client_address(request, &app.settings.http.trusted_proxies),
            user,
            campaign,
            lines,
        };
        let counted = app.limits.count(&keys).await;
        within(&counted, request)?;
        Ok(Self {
            app,
            request,
            keys,
            counted,
        })
    }

    /// The rates so far, for a rejection that has another reason.
    pub fn fields(&self) -> Option<Box<RateFields>> {
        RateFields::of(&self.counted)
    }

    /// Counts the request for its campaigns, or rejects it. A request of a user who is not on a campaign's allow list is
    /// not counted: it is rejected anyway, and would use up the rate of those who are.
    pub async fn count_campaigns(
        mut self,
        campaigns: &[CampaignId],
    ) -> Result<Option<Box<RateFields>>, Problem> {
        for campaign in campaigns {
            self.count_campaign(*campaign).await?;
        }
        within(&self.counted, self.request)
    }

    async fn count_campaign(&mut self, campaign: CampaignId) -> Result<(), Problem> {
        let (limits, participate) = (&self.app.limits, &self.app.participate);
        let is_counted = limits.limits_campaigns() && {
            // Boxed: it is large, and most requests have no such rate.
            let is_not_allowed =
                Box::pin(participate.is_not_allowed(campaign, self.keys.user)).await;
            !is_not_allowed.map_err(|error| Problem::from(error).with_rates(self.fields()))?
        };
        if is_counted {
            self.keys.campaign = campaign;
            limits.count_campaign(&self.keys, &mut self.counted).await;
        }
        Ok(())
    }
}

/// Counts a request that reads from the API, or rejects it. A change of a participation first reads it.
pub fn count_read(app: &App, request: &Request, target: Target) -> Option<Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) || target == Target::Change;
    let address = client_address(request, &app.settings.http.trusted_proxies).filter(|_| reads)?;
    let counted = app.limits.count_read(address);
    let rejected = within(&counted, request).err()?;
    // The edge counts before a request has its context, which `within` reports by.
    let detail = Detail {
        address: Some(address),
        reason: counted.rates.last().map(|rate| rate.kind.as_str()),
        ..Detail::default()
    };
    let security = &app.settings.security;
    security.report(SecurityEvent::RateLimited, &detail);
    Some(rejected)
}

fn within(counted: &Counted, request: &Request) -> Result<Option<Box<RateFields>>, Problem> {
    let fields = RateFields::of(counted);
    let (Some(time), Some(last)) = (counted.wait, counted.rates.last()) else {
        return Ok(fields);
    };
    let (of, rate) = (last.kind.as_str(), last.rate);
    report(request, SecurityEvent::RateLimited, |_| Detail {
        reason: Some(of),
        ..Detail::default()
    });
    let noun = match rate.requests {
        1 => "request",
        _ => "requests",
    };
    let detail = format!(
        "More than {} {noun} in {} s: the limit of each {of}.",
        rate.requests,
        rate.period.as_secs_f64()
    );
    Err(rate_limited(time, of, detail).with_rates(fields))
}
