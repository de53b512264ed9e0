//! Carts: what a user wants to order. Nothing in a cart is reserved.

use super::PlaceCall;
use super::requests::CartRequest;
use crate::domain::{State, UserId};
use crate::http::App;
use crate::http::auth::{Participant, USER_ID_RANGE, user_id};
use crate::http::operation::{
    AppRef, Caller, Failure, Json, JsonRequest, OpenApi, Path, Problem, Request, Section,
    documented,
};
use crate::http::participations::{Accepted, ChallengeToken, IdempotencyKey};
use crate::http::views::{CartView, OrderView};
use crate::parts::store::CartLine;

documented! {
    Reading: [CALLER, PARAMETERS] {
        403 => "The cart belongs to another user (FORBIDDEN).",
    }
    Emptying: [CALLER, PARAMETERS] {
        403 => "The cart belongs to another user (FORBIDDEN); or a session request lacks its CSRF token (CSRF).",
    }
    Replacing: [BODY, CALLER] {
        403 => "The cart belongs to another user (FORBIDDEN); or a session request lacks its CSRF token (CSRF).",
        422 => "A value is not acceptable, or there is no such campaign (INVALID).",
    }
    CheckingOut: [PARAMETERS] {
        401 => "The user is missing (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        403 => "The cart belongs to another user (FORBIDDEN); the user is not on the allow list of a campaign (NOT_ALLOWED); a campaign needs a challenge that is missing or not passed (CHALLENGE_REQUIRED, CHALLENGE_FAILED); or a session request lacks its CSRF token (CSRF).",
        409 => "The cart is empty (CART_EMPTY); or a line was rejected, and nothing was handed out: errors names it (ALREADY_PARTICIPATED, SOLD_OUT, NOT_OPEN_YET, ENDED, PAUSED, LIMIT_EXCEEDED); or the campaigns have a price and the service takes no payments (NO_PAYMENT_PROVIDER).",
        422 => "A value is not acceptable (INVALID), or the key belongs to another request (IDEMPOTENCY_KEY_REUSED).",
        429 => "A rate is used up, see Retry-After (RATE_LIMITED).",
    }
}

/// Carts.
pub struct CartsApi;

#[OpenApi(prefix_path = "/api", tag = "Section::Orders")]
impl CartsApi {
    /// Get a user's cart.
    ///
    /// Only its owner can read it. A user who has put nothing into it has an empty cart.
    #[oai(path = "/users/:userId/cart", method = "get", operation_id = "getCart")]
    async fn cart(
        &self,
        app: AppRef<'_>,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
    ) -> Result<Json<CartView>, Failure<Reading>> {
        let user = own(&caller, user.0)?;
        Ok(Json(CartView::of(user, app.reads.cart(user).await?)))
    }

    /// Replace a user's cart.
    ///
    /// The lines of the request take the place of all earlier lines. An empty list empties the cart.
    #[oai(
        path = "/users/:userId/cart",
        method = "put",
        operation_id = "replaceCart"
    )]
    async fn replace(
        &self,
        app: AppRef<'_>,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
        body: JsonRequest<CartRequest>,
    ) -> Result<Json<CartView>, Failure<Replacing>> {
        let user = own(&caller, user.0)?;
        let lines = body.0.lines();
        check_campaigns(&app, &lines).await?;
        app.store.replace_cart(user, &lines).await?;
        Ok(Json(CartView::of(user, lines)))
    }

    /// Empty a user's cart.
    ///
    /// Safe to repeat.
    #[oai(
        path = "/users/:userId/cart",
        method = "delete",
        operation_id = "emptyCart"
    )]
    async fn empty(
        &self,
        app: AppRef<'_>,
        caller: Caller,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
    ) -> Result<Json<CartView>, Failure<Emptying>> {
        let user = own(&caller, user.0)?;
        app.store.replace_cart(user, &[]).await?;
        Ok(Json(CartView::of(user, Vec::new())))
    }

    /// Order what is in a user's cart.
    ///
    /// As with `POST /api/orders`: all lines or none. When the order is accepted, its lines leave the cart.
    #[oai(
        path = "/users/:userId/cart/checkout",
        method = "post",
        operation_id = "checkOutCart"
    )]
    async fn check_out(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Participant,
        /// Id of the user.
        #[oai(name = "userId")]
        user: Path<u64>,
        /// Makes the request safe to repeat.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// Proof of a passed challenge, if a campaign needs one.
        #[oai(name = "X-Challenge-Token")]
        challenge: ChallengeToken,
    ) -> Result<Accepted<OrderView>, Failure<CheckingOut>> {
        let user = own(&caller.0, user.0)?;
        let mut lines = app.reads.cart(user).await?;
        if let Some(key) = &key.0
            && let Some(earlier) = app.reads.order_by_key(user, key).await?
        {
            // The cart has changed by the first answer to the key.
            lines = earlier.lines.iter().map(CartLine::from).collect();
        }
        if lines.is_empty() {
            return Err(Problem::cart_empty().into());
        }
        let call = PlaceCall {
            app: &app,
            request,
            user,
            caller: &caller.0,
            is_cart: true,
        };
        Ok(call.place(key, &challenge, lines).await?)
    }
}

/// The user of this number, if they are the caller.
fn own(caller: &Caller, number: u64) -> Result<UserId, Problem> {
    let user = user_id(number).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
    let others = "The cart belongs to another user.";
    if caller.user(others)? == user {
        Ok(user)
    } else {
        Err(Problem::forbidden(others))
    }
}

async fn check_campaigns(app: &App, lines: &[CartLine]) -> Result<(), Problem> {
    for (nth, line) in (0..).zip(lines) {
        let campaign = app.catalogue.get(line.campaign_id).await?;
        if campaign.is_none_or(|campaign| campaign.state == State::Draft) {
            return Err(Problem::unknown_line(nth));
        }
    }
    Ok(())
}
