//! A user's points and coupons, and redeeming a coupon.

use serde_json::Value;
use uuid::Uuid;

use super::App;
use super::fields::{Defined, Fields, Label};
use super::problem::part_unavailable;
use super::views::{
    CouponUseView, GrantedView, IssuedCouponView, LedgerEntryView, LedgerView, ParticipationRecord,
    ParticipationView, RewardsView, format_time,
};
use crate::domain::{
    Coupon, CouponId, CouponStatus, EventId, Participation, ParticipationId, Redeemers, Timestamp,
};
use crate::http::operation::{
    AppRef, Caller, Failure, INTEGER_MAX, Json, JsonRequest, OpenApi, Page, Path, Problem, Query,
    Read, Request, Section, by_admin, documented, kind, page_cursor, page_limit, reads,
    request_object,
};
use crate::parts::store::{Order, Rewards, StoreError, UseOutcome, Voucher};
use crate::runtime::telemetry::cause;

documented! {
    Reading: [CALLER, PARAMETERS] {
        403 => "They belong to another user (FORBIDDEN), and an admin lacks the scope to read them (MISSING_SCOPE).",
        404 => "This process has no rewards database (REWARDS_OFF), or the path is not that of a user (NOT_FOUND).",
    }
    Redeeming: [BODY, CALLER, COUPON] {
        403 => "Only its owner can redeem a coupon (FORBIDDEN), or only shops can (SHOPS_ONLY); or a session request lacks its CSRF token (CSRF).",
        404 => "There is no such coupon, or it belongs to another user (NOT_FOUND), or this process has no rewards database (REWARDS_OFF).",
        409 => "Not redeemable (COUPON_USED, COUPON_NOT_YET_VALID, COUPON_EXPIRED, COUPON_REVOKED, ORDER_BELOW_MINIMUM).",
    }
}

request_object! {
    /// Redeems a coupon for an order.
    for Order as "UseCoupon" {
        /// Amount of the order, in the smallest unit of the currency.
        amount = integer("orderAmount", 1..=INTEGER_MAX).required(),
        /// The shop's id of the order. The same request for the same order gets the same response.
        id = order_id("orderId").optional(),
    }
    example { "orderAmount": 12_000, "orderId": "order-7731" }
}

impl Fields {
    /// A shop's id of an order, in printable ASCII.
    pub(super) fn order_id(&mut self, label: Label) -> Defined<'_, String> {
        let is_printable = |id: &String| id.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        self.text(label, 1..=64)
            .pattern("^[ -~]*$")
            .ensure(is_printable, "must be printable ASCII")
    }
}

pub struct RewardsApi;

#[OpenApi(tag = "Section::Rewards")]
impl RewardsApi {
    /// Get a user's points and coupons.
    ///
    /// Rewards are granted shortly after the participation is confirmed. The ledger and the coupons have separate
    /// pages.
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
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Entries, and coupons, on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `ledger.nextCursor` of the previous page.
        cursor: Query<Option<String>>,
        /// `nextCouponCursor` of the previous page.
        #[oai(name = "couponCursor")]
        coupon_cursor: Query<Option<String>>,
    ) -> Result<Json<RewardsView>, Failure<Reading>> {
        let user = caller.reading(user.0, "The rewards belong to another user.", request)?;
        let rewards = rewards_of(&app)?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(EventId);
        let coupon_after = page_cursor(coupon_cursor.0.as_deref())
            .map_err(|_| {
                Problem::invalid_field("couponCursor", "must be the nextCouponCursor of a page")
            })?
            .map(CouponId);
        let (points, entries, coupons) = tokio::join!(
            rewards.points(user),
            rewards.ledger(user, after, limit.fetch()),
            rewards.coupons_of(user, coupon_after, limit.fetch()),
        );
        let points = points.map_err(unavailable)?;
        let entries = Page::cut(entries.map_err(unavailable)?, limit, |last| {
            last.event.to_string()
        });
        let coupons = Page::cut(coupons.map_err(unavailable)?, limit, |last| {
            last.id.to_string()
        });
        if let Some(by) = by_admin(&caller, user, request) {
            reads::record(&app, request, by, Read::Rewards(user)).await?;
        }
        Ok(Json(RewardsView {
            user_id: user.0,
            points,
            ledger: LedgerView::of(entries, |entry| LedgerEntryView::from(&entry)),
            coupons: coupons.items.iter().map(IssuedCouponView::from).collect(),
            next_coupon_cursor: coupons.next_cursor,
        }))
    }

    /// Redeem a coupon for an order, as its holder.
    ///
    /// A coupon is redeemed once, also under concurrent requests; the same `orderId` gets the same response again.
    /// With 409 nothing has changed. If only shops redeem coupons (`rewards.redeemers`), they use
    /// `POST /api/admin/coupons/redeem`.
    #[oai(
        path = "/api/coupons/:id/use",
        method = "post",
        operation_id = "useCoupon"
    )]
    async fn use_coupon(
        &self,
        app: AppRef<'_>,
        caller: Caller,
        /// Id of the coupon.
        id: Path<Uuid>,
        body: JsonRequest<Order>,
    ) -> Result<Json<CouponUseView>, Failure<Redeeming>> {
        let by = caller.user("Only its owner can redeem a coupon.")?;
        if app.settings.redeemers == Redeemers::Shops {
            return Err(shops_only().into());
        }
        let id = CouponId(id.0);
        let used = redeem(&app, &Voucher::OfUser { id, by }, &body.0).await?;
        Ok(Json(used))
    }
}

/// Redeems a coupon for an order.
pub(super) async fn redeem(
    app: &App,
    voucher: &Voucher,
    order: &Order,
) -> Result<CouponUseView, Problem> {
    let used = rewards_of(app)?.use_coupon(voucher, order).await;
    let (outcome, now) = used.map_err(unavailable)?;
    match outcome {
        UseOutcome::Used(coupon) => Ok(CouponUseView::of(&coupon, order.amount, now)),
        UseOutcome::OtherAmount(coupon) => {
            let amount = coupon.order_amount.unwrap_or_default();
            let problem =
                format!("must be {amount}, because this order already redeemed the coupon");
            Err(Problem::invalid_field("orderAmount", problem))
        }
        UseOutcome::Refused(coupon) => Err(not_redeemable(&coupon, now)),
        UseOutcome::Unknown => Err(Problem::not_found("There is no such coupon.")),
    }
}

fn shops_only() -> Problem {
    kind::SHOPS_ONLY
        .because("Show the code of the coupon to the shop, which redeems it for the order.")
}

/// Participations with their rewards: two bounded reads, however many there are.
pub(super) async fn with_rewards(
    app: &App,
    participations: Vec<Participation>,
) -> Result<Vec<ParticipationRecord>, Problem> {
    let ids: Vec<ParticipationId> = participations.iter().map(|one| one.id).collect();
    let mut rewarded = app.reads.rewarded_at(&ids).await?;
    let marked: Vec<ParticipationId> = rewarded.keys().copied().collect();
    let mut granted = match &app.rewards {
        Some(rewards) => rewards.granted(&marked).await.map_err(unavailable)?,
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
        kind::REWARDS_OFF.because("This process has no rewards database: enable consumers, or configure the rewards database.")
    })
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err as it is")]
fn unavailable(error: StoreError) -> Problem {
    tracing::warn!(error = cause(&error), "cannot read or write the rewards");
    part_unavailable("rewards")
}

/// The reason why a coupon is not redeemable at `now`.
fn not_redeemable(coupon: &Coupon, now: Timestamp) -> Problem {
    let moment = |at: Option<Timestamp>| at.map_or(Value::Null, |at| format_time(at).into());
    let terms = &coupon.terms;
    match coupon.status {
        CouponStatus::Used => kind::COUPON_USED
            .because("The coupon is already redeemed.")
            .with_member("usedAt", moment(coupon.used_at)),
        CouponStatus::Suspended => Problem::unavailable(
            kind::COUPON_SUSPENDED,
            "The participation that earned the coupon is being cancelled.",
        ),
        CouponStatus::Revoked => {
            kind::COUPON_REVOKED.because("The participation that earned the coupon was cancelled.")
        }
        CouponStatus::Issued if terms.valid_from.is_some_and(|from| now < from) => {
            kind::COUPON_NOT_YET_VALID
                .because("The coupon is not valid yet.")
                .with_member("validFrom", moment(terms.valid_from))
        }
        CouponStatus::Issued if terms.valid_until.is_some_and(|until| now > until) => {
            kind::COUPON_EXPIRED
                .because("The coupon is no longer valid.")
                .with_member("validUntil", moment(terms.valid_until))
        }
        CouponStatus::Issued => kind::ORDER_BELOW_MINIMUM
            .because("The amount of the order is below the minimum of the coupon.")
            .with_member("minimumOrderAmount", terms.minimum_order_amount),
    }
}
