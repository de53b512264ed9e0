//! Paying for a reservation, and giving a participation back.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::own;
use crate::access::identity::{Scope, Scopes};
use crate::http::auth::Caller;
use crate::http::fields::{Fields, FromFields, INTEGER_MAX, Said};
use crate::http::json::{Checked, RequestBodySchema, Written};
use crate::http::origin::traceparent;
use crate::http::problem::{Failure, documented};
use crate::http::reads::by_admin;
use crate::http::views::ParticipationView;
use crate::http::{App, Section};
use crate::sale::changes::{Payment, REFERENCE, is_reference};
use crate::sale::payment::MADE_HERE;

documented! {
    /// Problems of paying.
    Paying {
        400 => "The body is not JSON (MALFORMED).",
        401 => "Nobody is asking (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        402 => "The payment provider declines (PAYMENT_DECLINED).",
        404 => "There is no such participation, or it is another user's (NOT_FOUND).",
        408 => "The body did not come in time (REQUEST_TIMEOUT).",
        409 => "Nothing to pay, or not any more (NOT_PAYABLE, ALREADY_PAID, CANCELLED, EXPIRED); the payment is another participation's (PAYMENT_REFERENCE_USED); or no payments are taken here (NO_PAYMENT_PROVIDER).",
        413 => "The body is too large (TOO_LARGE).",
        415 => "The body is not JSON (UNSUPPORTED_MEDIA_TYPE).",
        422 => "A value cannot be accepted (INVALID).",
    }
    /// Problems of giving back.
    GivingBack {
        401 => "Nobody is asking (UNAUTHENTICATED), or the token is not accepted (INVALID_TOKEN).",
        404 => "There is no such participation, or it is another user's (NOT_FOUND).",
        409 => "It cannot be given back (NOT_CANCELLABLE, ALREADY_USED, EXPIRED).",
        422 => "A value cannot be accepted (INVALID).",
    }
}

/// Pays for a reservation.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct ConfirmRequest {
    /// What the payment provider named the payment. It pays for one participation alone. Left out, the provider
    /// is asked for what is due, and names the payment. The simulated provider does as it says: `declined…`,
    /// `unavailable…`, `slow-MILLIS…`; what begins with `simulated-` is refused.
    #[oai(validator(min_length = 1, max_length = 128, pattern = "^[!-~]([ -~]*[!-~])?$"))]
    payment_reference: Option<String>,
    /// What is paid, in the smallest unit of the currency; refused unless it is what is due.
    #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
    amount: Option<u64>,
}

impl Example for ConfirmRequest {
    fn example() -> Self {
        Self {
            payment_reference: Some("pi_3MtwBw".to_owned()),
            amount: None,
        }
    }
}

impl RequestBodySchema for ConfirmRequest {
    type Read = Payment;
}

impl FromFields for Payment {
    fn from_fields(fields: &mut Fields) -> Self {
        let reference = fields.text("paymentReference", &REFERENCE);
        if let Said::This(reference) = &reference
            && !is_reference(reference)
        {
            fields.wrong(
                "paymentReference",
                "must be printable ASCII, without spaces around it",
            );
        }
        if let Said::This(reference) = &reference
            && reference.starts_with(MADE_HERE)
        {
            fields.wrong(
                "paymentReference",
                "must not begin with simulated-, as references do that the service makes itself",
            );
        }
        let amount = fields.integer("amount", &(1..=INTEGER_MAX));
        Self {
            reference: fields.not_null("paymentReference", reference),
            amount: fields.not_null("amount", amount),
        }
    }
}

/// Changes of participations.
pub struct ChangesApi;

#[OpenApi(tag = "Section::Participations")]
impl ChangesApi {
    /// Pay for a reservation.
    ///
    /// Safe to repeat: asked again for the same payment it answers the same.
    #[oai(
        path = "/api/participations/:id/confirm",
        method = "post",
        operation_id = "confirmParticipation"
    )]
    async fn confirm(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
        body: Checked<ConfirmRequest>,
    ) -> Result<Written<ParticipationView>, Failure<Paying>> {
        let own = own(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let by = by_admin(&caller, own.user_id, request);
        let confirmed = app
            .changes
            .confirm(own, body.0, traceparent(request), by)
            .await?;
        Ok(Written(ParticipationView::record(&confirmed)))
    }

    /// Give a participation back.
    ///
    /// A reservation always; what is confirmed only where its campaign is `cancellable`, and not once a
    /// coupon that it earned was used. Its coupons can no longer be used when this is answered. Safe to repeat.
    #[oai(
        path = "/api/participations/:id/cancel",
        method = "post",
        operation_id = "cancelParticipation"
    )]
    async fn cancel(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
    ) -> Result<Written<ParticipationView>, Failure<GivingBack>> {
        let own = own(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let by = by_admin(&caller, own.user_id, request);
        let cancelled = app.changes.cancel(own, traceparent(request), by).await?;
        Ok(Written(ParticipationView::record(&cancelled)))
    }
}
