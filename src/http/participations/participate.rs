//! A participation: from the parsed request to the response.

use std::time::Instant;

use poem::Request;

use super::accepted::Accepted;
use super::challenge::ChallengeToken;
use super::idempotency::IdempotencyKey;
use crate::domain::{CampaignId, ParticipationId, Refusal, UserId};
use crate::http::App;
use crate::http::auth::{Caller, USER_ID_RANGE, user_id};
use crate::http::fields::{INTEGER_MAX, request_object};
use crate::http::problem::{Failure, Problem, documented};
use crate::http::rate_limits::RateCheck;
use crate::http::reads::by_admin;
use crate::http::request_context::traceparent;
use crate::http::views::ParticipationView;
use crate::parts::store::Applicant;
use crate::sale::participate::{self, CommitMode, Outcome};

/// Most units of one request; the limit of a campaign is usually far lower.
pub const QUANTITY_MAX: u32 = 1_000_000;

documented! {
    Participating: [BODY] {
        401 => "The user is missing (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "userId is not the caller, or the caller is not a user (FORBIDDEN); the user is not on the campaign's allow list (NOT_ALLOWED); the campaign needs a challenge that is missing or not passed (CHALLENGE_REQUIRED, CHALLENGE_FAILED); or a session request lacks its CSRF token (CSRF).",
        404 => "There is no such campaign (NOT_FOUND).",
        409 => "Rejected (ALREADY_PARTICIPATED, SOLD_OUT, NOT_OPEN_YET, ENDED, PAUSED, LIMIT_EXCEEDED), or the campaign has a price and the service takes no payments (NO_PAYMENT_PROVIDER).",
        422 => "A value is not acceptable (INVALID), or the key belongs to another request (IDEMPOTENCY_KEY_REUSED).",
        429 => "A rate is used up, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
}

request_object! {
    /// A request to participate in a campaign.
    #[derive(Debug, PartialEq, Eq)]
    pub struct ParticipationRequest as "ParticipationRequest" {
        /// Id of the user; optional where Authorization names one.
        pub user: Option<UserId> = integer("userId", 1..=INTEGER_MAX)
            .try_map(|number| user_id(number).ok_or(USER_ID_RANGE))
            .lenient()
            .value(),
        /// Units requested; 1 when left out.
        pub quantity: u32 = integer32("quantity", 1..=QUANTITY_MAX).optional().unwrap_or(1),
    }
    example { "userId": 42, "quantity": 1 }
}

/// A request to participate whose caller is authenticated.
pub struct Call<'a> {
    pub app: &'a App,
    pub request: &'a Request,
    pub caller: Caller,
    pub campaign: CampaignId,
}

impl Call<'_> {
    /// Participates: rates, challenge, then the rules and the commit.
    pub async fn participate(
        self,
        key: IdempotencyKey,
        challenge: ChallengeToken,
        body: ParticipationRequest,
        mode: CommitMode,
    ) -> Result<Accepted<ParticipationView>, Failure<Participating>> {
        let Self {
            app,
            request,
            caller,
            campaign,
        } = self;
        let quantity = body.quantity;
        let user = caller.participant(body.user)?;
        let applicant = Applicant {
            participation: ParticipationId::made_at(app.clock.now()),
            user,
            quantity,
            idempotency_key: key.0,
            traceparent: traceparent(request),
            since: Instant::now(),
            by: by_admin(&caller, user, request).map(Box::new),
            order: None,
        };
        let participation = participate::Request {
            campaign,
            applicant,
        };
        let rates = RateCheck::count_caller(app, request, (campaign, user), None).await?;
        challenge
            .check(app, campaign, user)
            .map_err(|problem| problem.with_rates(rates.fields()))?;
        let rates = rates.count_campaigns(&[campaign]).await?;
        let outcome = match app.participate.run(participation, mode).await {
            Ok(outcome) => outcome,
            Err(error) => return Err(Failure::from(error).with_rates(rates)),
        };
        match outcome {
            Outcome::Accepted {
                participation,
                replayed,
            } => Ok(Accepted {
                view: ParticipationView::from(&participation),
                replayed,
                rates,
            }),
            Outcome::Refused { refusal, remaining } => {
                let quantity_max = exceeded_max(app, campaign, quantity, &refusal).await;
                let problem = Problem::rejected(&refusal, remaining, quantity_max);
                Err(problem.with_rates(rates).into())
            }
        }
    }
}

/// The campaign's limit on one request, if a rejected request exceeds it. Otherwise the limit of the user is exceeded.
async fn exceeded_max(
    app: &App,
    campaign: CampaignId,
    quantity: u32,
    refusal: &Refusal,
) -> Option<u32> {
    if !matches!(refusal, Refusal::LimitExceeded) {
        return None;
    }
    let campaign = app.catalogue.get(campaign).await;
    let max = campaign.ok().flatten()?.max_quantity;
    (quantity > max).then_some(max)
}
