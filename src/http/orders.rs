//! Orders of several lines, and carts.

mod carts;
mod requests;

use std::time::Instant;

use uuid::Uuid;

pub use self::carts::CartsApi;
use self::requests::OrderRequest;
use super::App;
use super::auth::{Participant, SEE_OTHERS};
use super::participations::{Accepted, ChallengeToken, IdempotencyKey};
use super::rate_limits::RateCheck;
use super::request_context::traceparent;
use super::views::{OrderList, OrderView};
use crate::access::identity::{Scope, Scopes};
use crate::domain::{CampaignId, Order, OrderId, OrderStatus, UserId};
use crate::http::operation::{
    AppRef, Caller, Failure, Json, JsonRequest, OpenApi, Page, Path, Problem, Query, Read, Request,
    Section, by_admin, documented, page_cursor, page_limit, reads,
};
use crate::parts::store::CartLine;
use crate::sale::changes::Payment;
use crate::sale::orders::{self, OrderContext, PlacedOrder};

documented! {
    Placing: [BODY] {
        401 => "The user is missing (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "userId is not the caller, or the caller is not a user (FORBIDDEN); the user is not on the allow list of a campaign (NOT_ALLOWED); a campaign needs a challenge that is missing or not passed (CHALLENGE_REQUIRED, CHALLENGE_FAILED); or a session request lacks its CSRF token (CSRF).",
        409 => "A line was rejected, and nothing was handed out: errors names it (ALREADY_PARTICIPATED, SOLD_OUT, NOT_OPEN_YET, ENDED, PAUSED, LIMIT_EXCEEDED); or the campaigns have a price and the service takes no payments (NO_PAYMENT_PROVIDER).",
        422 => "A value is not acceptable (INVALID), or the key belongs to another request (IDEMPOTENCY_KEY_REUSED).",
        429 => "A rate is used up, see Retry-After (RATE_LIMITED); or the address has reached its limit of pending bodies (ADDRESS_LIMIT).",
    }
    Reading: [CALLER, PARAMETERS] {
        403 => "They belong to another user (FORBIDDEN), and an admin lacks the scope to read them (MISSING_SCOPE).",
        404 => "There is no such order, or it belongs to another user (NOT_FOUND).",
    }
    Confirming: [BODY, CALLER, CROSS_SITE, PAYMENT] {
        402 => "The payment provider declines (PAYMENT_DECLINED).",
        404 => "There is no such order, or it belongs to another user (NOT_FOUND).",
        409 => "There is nothing to pay (NOT_PAYABLE, ALREADY_PAID, CANCELLED, EXPIRED, ORDER_REFUSED, WRONG_STATE), the payment belongs to something else (PAYMENT_REFERENCE_USED), or the service takes no payments (NO_PAYMENT_PROVIDER).",
    }
    Cancelling: [CALLER, CROSS_SITE, PARAMETERS] {
        404 => "There is no such order, or it belongs to another user (NOT_FOUND).",
        409 => "It cannot be cancelled (NOT_CANCELLABLE, EXPIRED, ORDER_REFUSED, WRONG_STATE).",
    }
}

/// Orders.
pub struct OrdersApi;

#[OpenApi(prefix_path = "/api", tag = "Section::Orders")]
impl OrdersApi {
    /// Place an order.
    ///
    /// All lines or none. Each line is a participation, which is paid and cancelled with its order only. Without a price
    /// the order is confirmed at once; otherwise it is reserved until it is paid, for as long as the shortest
    /// `holdSeconds` of its campaigns. Send an `Idempotency-Key` to retry safely after a lost response.
    #[oai(path = "/orders", method = "post", operation_id = "placeOrder")]
    async fn place(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Participant,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Proof of a passed challenge, if a campaign needs one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
        body: JsonRequest<OrderRequest>,
    ) -> Result<Accepted<OrderView>, Failure<Placing>> {
        let user = caller.0.participant(body.0.user)?;
        let lines = body.0.lines();
        let order = PlaceCall {
            app: &app,
            request,
            user,
            caller: &caller.0,
            is_cart: false,
        };
        Ok(order.place(key, &challenge, lines).await?)
    }

    /// Get an order.
    ///
    /// With its lines and their participations.
    #[oai(path = "/orders/:id", method = "get", operation_id = "getOrder")]
    async fn order(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the order.
        id: Path<Uuid>,
    ) -> Result<Json<OrderView>, Failure<Reading>> {
        let found = accessible(&app, &caller, SEE_OTHERS, id.0).await?;
        if let Some(by) = by_admin(&caller, found.user_id, request) {
            reads::record(&app, request, by, Read::History(found.user_id)).await?;
        }
        Ok(Json(OrderView::from(&found)))
    }

    /// List a user's orders, newest first.
    ///
    /// In all states, with their lines.
    #[oai(
        path = "/users/:userId/orders",
        method = "get",
        operation_id = "listOrders"
    )]
    async fn orders(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Orders on a page.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `nextCursor` of the previous page.
        cursor: Query<Option<String>>,
    ) -> Result<Json<OrderList>, Failure<Reading>> {
        let user = caller.reading(user.0, "The orders belong to another user.", request)?;
        let limit = page_limit(limit.0);
        let after = page_cursor(cursor.0.as_deref())?.map(OrderId);
        let found = app.reads.orders_of(user, after, limit.fetch()).await?;
        if let Some(by) = by_admin(&caller, user, request) {
            reads::record(&app, request, by, Read::History(user)).await?;
        }
        let page = Page::cut(found, limit, |last| last.id.to_string());
        Ok(Json(OrderList::of(page, |order| OrderView::from(&order))))
    }

    /// Pay for a reserved order.
    ///
    /// One payment for all lines. Safe to repeat: the same payment gets the same response.
    #[oai(
        path = "/orders/:id/confirm",
        method = "post",
        operation_id = "confirmOrder"
    )]
    async fn confirm(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the order.
        id: Path<Uuid>,
        body: JsonRequest<Payment>,
    ) -> Result<Json<OrderView>, Failure<Confirming>> {
        let own = accessible(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let context = context(&caller, own.user_id, request);
        let confirmed = app.orders.confirm(own, body.0, context).await?;
        Ok(Json(OrderView::from(&confirmed)))
    }

    /// Cancel an order.
    ///
    /// A reserved order can always be cancelled; a confirmed one only if all its campaigns are `cancellable` and none has
    /// a coupon as its reward. Safe to repeat.
    #[oai(
        path = "/orders/:id/cancel",
        method = "post",
        operation_id = "cancelOrder"
    )]
    async fn cancel(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the order.
        id: Path<Uuid>,
    ) -> Result<Json<OrderView>, Failure<Cancelling>> {
        let own = accessible(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let context = context(&caller, own.user_id, request);
        let cancelled = app.orders.cancel(own, context).await?;
        Ok(Json(OrderView::from(&cancelled)))
    }
}

/// A request to place an order whose caller is authenticated.
struct PlaceCall<'a> {
    app: &'a App,
    request: &'a Request,
    user: UserId,
    caller: &'a Caller,
    is_cart: bool,
}

impl PlaceCall<'_> {
    /// Places an order: rates, challenges, then the rules and the commits.
    async fn place(
        self,
        key: IdempotencyKey,
        challenge: &ChallengeToken,
        lines: Vec<CartLine>,
    ) -> Result<Accepted<OrderView>, Problem> {
        let Self { app, request, .. } = self;
        let since = Instant::now();
        let campaigns: Vec<CampaignId> = lines.iter().map(|line| line.campaign_id).collect();
        let first = campaigns.first().ok_or_else(Problem::internal)?;
        let count = u32::try_from(campaigns.len()).ok();
        let rates = RateCheck::count_caller(app, request, (*first, self.user), count).await?;
        for campaign in &campaigns {
            challenge
                .check(app, *campaign, self.user)
                .map_err(|problem| problem.with_rates(rates.fields()))?;
        }
        let rates = rates.count_campaigns(&campaigns).await?;
        let order = orders::OrderRequest {
            user: self.user,
            idempotency_key: key.0,
            lines,
            is_cart: self.is_cart,
            since,
            context: context(self.caller, self.user, request),
        };
        let placed = app.orders.place(order).await;
        let PlacedOrder { order, replayed } =
            placed.map_err(|error| Problem::from(error).with_rates(rates.clone()))?;
        match &order.refusal {
            Some(refusal) if order.status == OrderStatus::Refused => {
                Err(Problem::refused_order(&order, refusal).with_rates(rates))
            }
            _ => Ok(Accepted {
                view: OrderView::from(&order),
                replayed,
                rates,
            }),
        }
    }
}

fn context(caller: &Caller, owner: UserId, request: &Request) -> OrderContext {
    OrderContext {
        traceparent: traceparent(request),
        by: by_admin(caller, owner, request),
    }
}

/// An order that the caller may access. That of another user gets the same response as one that does not exist.
async fn accessible(
    app: &App,
    caller: &Caller,
    needed: Scopes,
    id: Uuid,
) -> Result<Order, Problem> {
    let (caller, id) = (caller.identified()?, OrderId(id));
    let mut found = app.reads.order(id).await?;
    if found.is_none() {
        // A database that is the primary no more may not have it.
        found = app.reads.current_order(id).await?;
    }
    match found {
        Some(found) if caller.may(needed, found.user_id) => Ok(found),
        _ => Err(Problem::not_found("There is no such order.")),
    }
}
