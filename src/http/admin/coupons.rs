//! Coupons that shops redeem for their customers' orders.

use crate::access::identity::CouponRedeem;
use crate::http::operation::{
    Admin, AppRef, Failure, INTEGER_MAX, Json, JsonRequest, OpenApi, Section, documented,
    request_object,
};
use crate::http::rewards::redeem;
use crate::http::views::CouponUseView;
use crate::parts::store::{Order, Voucher};

documented! {
    Redeeming: [BODY, ADMIN, COUPON] {
        404 => "There is no coupon with this code (NOT_FOUND), or this process has no rewards database (REWARDS_OFF).",
        409 => "Not redeemable (COUPON_USED, COUPON_NOT_YET_VALID, COUPON_EXPIRED, COUPON_REVOKED, ORDER_BELOW_MINIMUM).",
    }
}

request_object! {
    /// Redeems a customer's coupon for an order.
    pub struct Redemption as "RedeemCoupon" {
        /// The code that the customer shows; case is irrelevant.
        code: String = text("code", ..)
            .pattern("^[0-9A-Za-z]{26}$")
            .ensure(|code| is_code(code), "must be 26 letters and digits")
            .required(),
        /// The shop's id of the order. The same request for the same order gets the same response.
        order_id: String = order_id("orderId").required(),
        /// Amount of the order, in the smallest unit of the currency.
        order_amount: u64 = integer("orderAmount", 1..=INTEGER_MAX).required(),
    }
    example {
        "code": "3NVK8G9M2T5QW7XHZ4RC6YJPBD",
        "orderId": "order-7731",
        "orderAmount": 12_000,
    }
}

fn is_code(code: &str) -> bool {
    code.len() == 26 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Coupons, for shops.
pub struct AdminCouponsApi;

#[OpenApi(prefix_path = "/api/admin/coupons", tag = "Section::AdminCoupons")]
impl AdminCouponsApi {
    /// Redeem a customer's coupon for an order.
    ///
    /// A coupon is redeemed once, also under concurrent requests; the same shop gets the same response for the same
    /// order again. With 409 nothing has changed.
    #[oai(path = "/redeem", method = "post", operation_id = "redeemCoupon")]
    async fn redeem(
        &self,
        app: AppRef<'_>,
        admin: Admin<CouponRedeem>,
        body: JsonRequest<Redemption>,
    ) -> Result<Json<CouponUseView>, Failure<Redeeming>> {
        let order = Order {
            amount: body.0.order_amount,
            id: Some(body.0.order_id),
        };
        let code = body.0.code.to_ascii_uppercase();
        let by = admin.actor().to_string();
        let used = redeem(&app, &Voucher::OfShop { code, by }, &order).await?;
        Ok(Json(used))
    }
}
