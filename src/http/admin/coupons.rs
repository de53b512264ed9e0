//! Coupons that shops redeem for their customers' orders.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use serde_json::{Value, json};

use crate::access::identity::CouponRedeem;
use crate::http::auth::Admin;
use crate::http::fields::{Fields, RequestObject};
use crate::http::json::{Json, JsonRequest};
use crate::http::problem::{Failure, documented};
use crate::http::rewards::{order_amount, order_id, redeem};
use crate::http::views::CouponUseView;
use crate::http::{App, Section};
use crate::parts::store::{Order, Voucher};

documented! {
    /// Problems of redeeming a customer's coupon.
    Redeeming: [BODY, ADMIN] {
        404 => "There is no coupon with this code (NOT_FOUND), or this process has no rewards database (REWARDS_OFF).",
        409 => "Not redeemable (COUPON_USED, COUPON_NOT_YET_VALID, COUPON_EXPIRED, COUPON_REVOKED, ORDER_BELOW_MINIMUM).",
    }
}

/// A code and the order that it is presented for.
pub struct Redemption {
    code: String,
    order: Order,
}

impl RequestObject for Redemption {
    const NAME: &'static str = "RedeemCoupon";
    const DESCRIPTION: &'static str = "Redeems a customer's coupon for an order.";

    fn example() -> Option<Value> {
        Some(json!({
            "code": "3NVK8G9M2T5QW7XHZ4RC6YJPBD",
            "orderId": "order-7731",
            "orderAmount": 12_000,
        }))
    }

    fn define(fields: &mut Fields) -> Self {
        let code = fields.text(
            "code",
            "The code that the customer shows; case is irrelevant.",
            ..,
        );
        let is_code = |code: &String| {
            code.len() == CODE_DIGITS && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let code = code
            .pattern("^[0-9A-Za-z]{26}$")
            .ensure(is_code, "must be 26 letters and digits")
            .required();
        Self {
            code: code.to_ascii_uppercase(),
            order: Order {
                id: Some(order_id(fields).required()),
                amount: order_amount(fields),
            },
        }
    }
}

/// Length of a coupon's code.
const CODE_DIGITS: usize = 26;

/// Coupons, for shops.
pub struct AdminCouponsApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminCouponsApi {
    /// Redeem a customer's coupon for an order.
    ///
    /// A coupon is redeemed once, also under concurrent requests; the same shop gets the same response for the same
    /// order again. With 409 nothing has changed.
    #[oai(
        path = "/api/admin/coupons/redeem",
        method = "post",
        operation_id = "redeemCoupon"
    )]
    async fn redeem(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CouponRedeem>,
        body: JsonRequest<Redemption>,
    ) -> Result<Json<CouponUseView>, Failure<Redeeming>> {
        let Redemption { code, order } = body.0;
        let by = admin.actor().to_string();
        let used = redeem(&app, &Voucher::Shown { code, by }, &order).await?;
        Ok(Json(used))
    }
}
