//! Confirming a reservation by its payment, and cancelling a participation.

use uuid::Uuid;

use super::accessible;
use crate::access::identity::{Scope, Scopes};
use crate::http::operation::{
    AppRef, Caller, Failure, INTEGER_MAX, Json, JsonRequest, OpenApi, Path, Request, Section,
    by_admin, documented, request_object,
};
use crate::http::request_context::traceparent;
use crate::http::views::ParticipationView;
use crate::sale::changes::{Payment, REFERENCE, is_reference};
use crate::sale::payment::MADE_HERE;

documented! {
    Confirming: [BODY, CALLER, CROSS_SITE, PAYMENT] {
        402 => "The payment provider declines (PAYMENT_DECLINED).",
        404 => "There is no such participation, or it belongs to another user (NOT_FOUND).",
        409 => "There is nothing to pay (NOT_PAYABLE, ALREADY_PAID, CANCELLED, EXPIRED), it is paid with its order (PART_OF_ORDER), the payment belongs to another participation (PAYMENT_REFERENCE_USED), or the service takes no payments (NO_PAYMENT_PROVIDER).",
    }
    Cancelling: [CALLER, CROSS_SITE, PARAMETERS] {
        404 => "There is no such participation, or it belongs to another user (NOT_FOUND).",
        409 => "It cannot be cancelled (NOT_CANCELLABLE, ALREADY_USED, EXPIRED), or only with its order (PART_OF_ORDER).",
    }
}

request_object! {
    /// Pays for a reservation.
    for Payment as "ConfirmRequest" {
        /// The payment provider's reference of the payment. It pays for one participation. When left out, the service
        /// charges the amount due at the provider, which assigns the reference. The simulated provider obeys
        /// `declined…`, `unavailable…` and `slow-MILLIS…`; `simulated-…` is not accepted.
        reference = text("paymentReference", REFERENCE)
            .pattern("^[!-~]([ -~]*[!-~])?$")
            .ensure(
                |reference| is_reference(reference),
                "must be printable ASCII, without spaces around it",
            )
            .ensure(
                |reference| !reference.starts_with(MADE_HERE),
                "must not begin with simulated-, which the service reserves for its own references",
            )
            .optional(),
        /// Amount paid, in the smallest unit of the currency. It must equal the amount due.
        amount = integer("amount", 1..=INTEGER_MAX).optional(),
    }
    example { "paymentReference": "pi_3MtwBw" }
}

/// Changes of participations.
pub struct ChangesApi;

#[OpenApi(tag = "Section::Participations")]
impl ChangesApi {
    /// Pay for a reservation.
    ///
    /// Safe to repeat: the same payment gets the same response.
    #[oai(
        path = "/api/participations/:id/confirm",
        method = "post",
        operation_id = "confirmParticipation"
    )]
    async fn confirm(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
        body: JsonRequest<Payment>,
    ) -> Result<Json<ParticipationView>, Failure<Confirming>> {
        let own = accessible(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let by = by_admin(&caller, own.user_id, request);
        let confirmed = app
            .changes
            .confirm(own, body.0, traceparent(request), by)
            .await?;
        Ok(Json(ParticipationView::record(&confirmed)))
    }

    /// Cancel a participation.
    ///
    /// A reservation can always be cancelled; a confirmed participation only if its campaign is `cancellable` and no
    /// coupon that it earned is redeemed. After the response its coupons can no longer be redeemed. Safe to repeat.
    #[oai(
        path = "/api/participations/:id/cancel",
        method = "post",
        operation_id = "cancelParticipation"
    )]
    async fn cancel(
        &self,
        app: AppRef<'_>,
        request: &Request,
        caller: Caller,
        /// Id of the participation.
        id: Path<Uuid>,
    ) -> Result<Json<ParticipationView>, Failure<Cancelling>> {
        let own = accessible(&app, &caller, Scopes::of(Scope::CampaignWrite), id.0).await?;
        let by = by_admin(&caller, own.user_id, request);
        let cancelled = app.changes.cancel(own, traceparent(request), by).await?;
        Ok(Json(ParticipationView::record(&cancelled)))
    }
}
