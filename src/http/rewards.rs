//! A user's points and coupons, and using a coupon.

use std::ops::RangeInclusive;
use std::sync::Arc;

use poem::Request;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;
use uuid::Uuid;

use super::auth::Caller;
use super::fields::{Fields, FromFields, INTEGER_MAX, Said};
use super::json::{Checked, RequestBodySchema, Written};
use super::page::{Page, page_cursor, page_limit};
use super::problem::{Failure, Problem, documented};
use super::reads::{self, Read, by_admin};
use super::views::{
    CouponUseView, GrantedView, IssuedCouponView, LedgerEntryView, LedgerView, ParticipationRecord,
    ParticipationView, RewardsView, time,
};
use super::{App, Section};
use crate::domain::{
    Coupon, CouponId, CouponStatus, EventId, Instant, Participation, ParticipationId, Redeemers,
};
use crate::parts::store::{Order, Rewards, UseOutcome, Voucher};

documented! {
    /// Problems of looking at rewards.
    Looking {
        401 => "Nobody is asking (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "They are another user's (FORBIDDEN), and an admin lacks the scope to see that (MISSING_SCOPE).",
        404 => "This process has nothing to do with rewards (REWARDS_OFF).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of using a coupon.
    Using {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is asking (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "Only its owner can use a coupon (FORBIDDEN), or only shops can (SHOPS_ONLY).",
        404 => "There is no such coupon, or it is another user's (NOT_FOUND), or this process has nothing to do with rewards (REWARDS_OFF).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "Not usable (COUPON_USED, COUPON_NOT_YET_VALID, COUPON_EXPIRED, COUPON_REVOKED, ORDER_BELOW_MINIMUM).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Uses a coupon for an order.
#[derive(Object)]
#[oai(
    rename = "UseCoupon",
    rename_all = "camelCase",
    skip_serializing_if_is_none,
    example
)]
pub struct UseCouponRequest {
    /// What the order comes to, in the smallest unit of the currency.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    order_amount: u64,
    /// The shop's name of the order: asked again by the holder for the same order, the answer is the same.
    #[oai(validator(min_length = 1, max_length = 64, pattern = "^[ -~]*$"))]
    order_id: Option<String>,
}

impl Example for UseCouponRequest {
    fn example() -> Self {
        Self {
            order_amount: 12_000,
            order_id: Some("order-7731".to_owned()),
        }
    }
}

impl RequestBodySchema for UseCouponRequest {
    type Read = Order;
}

impl FromFields for Order {
    fn from_fields(fields: &mut Fields) -> Self {
        let amount = fields.integer("orderAmount", &(1..=INTEGER_MAX));
        let id = order_id(fields);
        Self {
            amount: fields.required("orderAmount", amount),
            id: fields.not_null("orderId", id),
        }
    }
}

/// Length of a shop's name of an order.
const ORDER_ID: RangeInclusive<usize> = 1..=64;

/// The shop's name of an order, in printable ASCII.
pub(super) fn order_id(fields: &mut Fields) -> Said<String> {
    let id = fields.text("orderId", &ORDER_ID);
    if let Said::This(id) = &id
        && !id.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    {
        fields.wrong("orderId", "must be printable ASCII");
    }
    id
}

/// Rewards.
pub struct RewardsApi;

#[OpenApi(tag = "Section::Rewards")]
impl RewardsApi {
    /// Look at a user's points and coupons.
    ///
    /// Points arrive a moment after the participation is confirmed. Ledger and coupons have pages of
    /// their own.
    #[oai(
        path = "/api/users/:userId/rewards",
        method = "get",
        operation_id = "listRewards"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the operation"
    )]
    async fn rewards(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Caller,
        /// Whose rewards.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Entries, and coupons, on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `ledger.nextCursor` of the page before.
        cursor: Query<Option<String>>,
        /// `nextCouponCursor` of the page before.
        #[oai(name = "couponCursor")]
        coupon_cursor: Query<Option<String>>,
    ) -> Result<Written<RewardsView>, Failure<Looking>> {
        let user = caller.seeing(user.0, "These are another user's rewards.", request)?;
        let rewards = rewards_of(&app)?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(EventId);
        let coupon_after = page_cursor(coupon_cursor.0.as_deref())
            .map_err(|_| {
                Problem::invalid_field("couponCursor", "is not the nextCouponCursor of a page")
            })?
            .map(CouponId);
        let (points, entries, coupons) = tokio::join!(
            rewards.points(user),
            rewards.ledger(user, after, limit.fetch()),
            rewards.coupons_of(user, coupon_after, limit.fetch()),
        );
        let points = points.map_err(|error| away(&error))?;
        let entries = Page::cut(entries.map_err(|error| away(&error))?, limit, |last| {
            last.event.to_string()
        });
        let coupons = Page::cut(coupons.map_err(|error| away(&error))?, limit, |last| {
            last.id.to_string()
        });
        if let Some(by) = by_admin(&caller, user, request) {
            reads::record(&app, request, by, Read::Rewards(user)).await?;
        }
        Ok(Written(RewardsView {
            user_id: user.0,
            points,
            ledger: LedgerView {
                items: entries.items.iter().map(LedgerEntryView::from).collect(),
                next_cursor: entries.next_cursor,
            },
            coupons: coupons.items.iter().map(IssuedCouponView::from).collect(),
            next_coupon_cursor: coupons.next_cursor,
        }))
    }

    /// Use a coupon for an order, as its holder.
    ///
    /// Once, whoever asks at the same time; asked again with the same `orderId` it answers the same. What is
    /// answered with 409 changed nothing. Where only shops use coupons (`rewards.redeemers`) they do so with
    /// `POST /api/admin/coupons/redeem`.
    #[oai(
        path = "/api/coupons/:id/use",
        method = "post",
        operation_id = "useCoupon"
    )]
    async fn use_coupon(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        /// Id of the coupon.
        id: Path<Uuid>,
        body: Checked<UseCouponRequest>,
    ) -> Result<Written<CouponUseView>, Failure<Using>> {
        let by = caller.user("Only its owner can use a coupon.")?;
        if app.settings.redeemers == Redeemers::Shops {
            return Err(shops_only().into());
        }
        let id = CouponId(id.0);
        let used = use_voucher(&app, &Voucher::Held { id, by }, &body.0).await?;
        Ok(Written(used))
    }
}

/// Uses a coupon for an order, whoever does it.
pub(super) async fn use_voucher(
    app: &App,
    voucher: &Voucher,
    order: &Order,
) -> Result<CouponUseView, Problem> {
    let used = rewards_of(app)?.use_coupon(voucher, order).await;
    let (outcome, now) = used.map_err(|error| away(&error))?;
    match outcome {
        UseOutcome::Used(coupon) => Ok(CouponUseView::of(&coupon, order.amount, now)),
        UseOutcome::OtherAmount(coupon) => {
            let amount = coupon.order_amount.unwrap_or_default();
            let problem = format!("must be {amount}: this order already used the coupon");
            Err(Problem::invalid_field("orderAmount", problem))
        }
        UseOutcome::Refused(coupon) => Err(unusable(&coupon, now)),
        UseOutcome::Unknown => Err(Problem::not_found("There is no such coupon.")),
    }
}

fn shops_only() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "SHOPS_ONLY",
        "Only shops use coupons",
        "Show the code of the coupon to the shop, which uses it for the order.",
    )
}

/// Participations as they stand now, with what they were granted: two bounded questions however many.
pub(super) async fn with_rewards(
    app: &App,
    participations: Vec<Participation>,
) -> Result<Vec<ParticipationRecord>, Problem> {
    let ids: Vec<ParticipationId> = participations.iter().map(|one| one.id).collect();
    let mut rewarded = app.reads.rewarded_at(&ids).await?;
    let marked: Vec<ParticipationId> = rewarded.keys().copied().collect();
    let mut granted = match &app.rewards {
        Some(rewards) => rewards
            .granted(&marked)
            .await
            .map_err(|error| away(&error))?,
        None => std::collections::HashMap::new(),
    };
    let record = |participation: &Participation| ParticipationRecord {
        participation: ParticipationView::record(participation),
        reward: granted.remove(&participation.id).map(GrantedView::from),
        rewarded_at: rewarded.remove(&participation.id),
    };
    Ok(participations.iter().map(record).collect())
}

fn rewards_of(app: &App) -> Result<&Rewards, Problem> {
    app.rewards.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "REWARDS_OFF",
            "Rewards are off",
            "This process has nothing to do with rewards: turn consumers on, or tell it where the \
             rewards database is.",
        )
    })
}

fn away(error: &crate::parts::store::StoreError) -> Problem {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "read or write the rewards"
    );
    Problem::unavailable(
        "REWARDS_UNAVAILABLE",
        "A part the request needs does not answer.",
    )
    .with_member("part", "rewards")
}

/// Why a coupon could not be used at `now`.
fn unusable(coupon: &Coupon, now: Instant) -> Problem {
    let conflict =
        |code, title, detail: &'static str| Problem::new(StatusCode::CONFLICT, code, title, detail);
    let moment = |at: Option<Instant>| at.map_or(Value::Null, |at| time(at).into());
    let terms = &coupon.terms;
    match coupon.status {
        CouponStatus::Used => {
            conflict("COUPON_USED", "Coupon used", "This coupon was used before.")
                .with_member("usedAt", moment(coupon.used_at))
        }
        CouponStatus::Suspended => Problem::unavailable(
            "COUPON_SUSPENDED",
            "The participation that earned this coupon is being cancelled.",
        ),
        CouponStatus::Revoked => conflict(
            "COUPON_REVOKED",
            "Coupon revoked",
            "This coupon was taken back with the participation that earned it.",
        ),
        CouponStatus::Issued if terms.valid_from.is_some_and(|from| now < from) => conflict(
            "COUPON_NOT_YET_VALID",
            "Coupon not yet valid",
            "This coupon cannot be used yet.",
        )
        .with_member("validFrom", moment(terms.valid_from)),
        CouponStatus::Issued if terms.valid_until.is_some_and(|until| now > until) => conflict(
            "COUPON_EXPIRED",
            "Coupon expired",
            "This coupon can no longer be used.",
        )
        .with_member("validUntil", moment(terms.valid_until)),
        CouponStatus::Issued => conflict(
            "ORDER_BELOW_MINIMUM",
            "Order below the minimum",
            "The order comes to less than this coupon asks for.",
        )
        .with_member("minimumOrderAmount", terms.minimum_order_amount),
    }
}
