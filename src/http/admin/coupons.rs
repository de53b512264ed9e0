//! Coupons that shops use for their customers' orders.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::access::identity::CouponRedeem;
use crate::http::auth::Admin;
use crate::http::fields::{Fields, FromFields, INTEGER_MAX, Said};
use crate::http::json::{Checked, RequestBodySchema, Written};
use crate::http::problem::{Failure, documented};
use crate::http::rewards::{order_id, use_voucher};
use crate::http::views::CouponUseView;
use crate::http::{App, Section};
use crate::parts::store::{Order, Voucher};

documented! {
    /// Problems of using a customer's coupon.
    Redeeming {
        400 => "The body is not JSON (MALFORMED).",
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
        404 => "There is no coupon of this code (NOT_FOUND), or this process has nothing to do with rewards (REWARDS_OFF).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "Not usable (COUPON_USED, COUPON_NOT_YET_VALID, COUPON_EXPIRED, COUPON_REVOKED, ORDER_BELOW_MINIMUM).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Length of a coupon's code.
const CODE_DIGITS: usize = 26;

/// Uses a customer's coupon for an order.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct RedeemCoupon {
    /// The code that the customer shows; upper and lower case are the same.
    #[oai(validator(pattern = "^[0-9A-Za-z]{26}$"))]
    code: String,
    /// The shop's name of the order: asked again by the same shop for the same order, the answer is the same.
    #[oai(validator(min_length = 1, max_length = 64, pattern = "^[ -~]*$"))]
    order_id: String,
    /// What the order comes to, in the smallest unit of the currency.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    order_amount: u64,
}

impl Example for RedeemCoupon {
    fn example() -> Self {
        Self {
            code: "3NVK8G9M2T5QW7XHZ4RC6YJPBD".to_owned(),
            order_id: "order-7731".to_owned(),
            order_amount: 12_000,
        }
    }
}

impl RequestBodySchema for RedeemCoupon {
    type Read = Redemption;
}

/// A code and the order that it is shown for.
pub struct Redemption {
    code: String,
    order: Order,
}

impl FromFields for Redemption {
    fn from_fields(fields: &mut Fields) -> Self {
        let code = fields.text("code", &(CODE_DIGITS..=CODE_DIGITS));
        if let Said::This(code) = &code
            && !code.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            fields.wrong("code", "must be 26 letters and digits");
        }
        let id = order_id(fields);
        let amount = fields.integer("orderAmount", &(1..=INTEGER_MAX));
        Self {
            code: fields.required("code", code).to_ascii_uppercase(),
            order: Order {
                id: Some(fields.required("orderId", id)),
                amount: fields.required("orderAmount", amount),
            },
        }
    }
}

/// Coupons, for shops.
pub struct AdminCouponsApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminCouponsApi {
    /// Use a customer's coupon for an order.
    ///
    /// Once, whoever asks at the same time; asked again by the same shop for the same order it answers the same. What is
    /// answered with 409 changed nothing.
    #[oai(
        path = "/api/admin/coupons/redeem",
        method = "post",
        operation_id = "redeemCoupon"
    )]
    async fn redeem(
        &self,
        app: Data<&Arc<App>>,
        admin: Admin<CouponRedeem>,
        body: Checked<RedeemCoupon>,
    ) -> Result<Written<CouponUseView>, Failure<Redeeming>> {
        let Redemption { code, order } = body.0;
        let by = admin.actor().to_string();
        let used = use_voucher(&app, &Voucher::Shown { code, by }, &order).await?;
        Ok(Written(used))
    }
}
