//! All operations, and their OpenAPI document.

use poem_openapi::{ContactObject, LicenseObject, OpenApiService};

use super::admin::{
    AdminAccountsApi, AdminAllowListApi, AdminAuditApi, AdminBatchApi, AdminCampaignsApi,
    AdminCouponsApi, AdminDeadLettersApi, AdminExportApi, AdminGateApi, AdminKafkaApi,
    AdminOrderApi, AdminOutboxApi, AdminParticipationsApi, AdminSimulationApi, AdminStatsApi,
    AdminSystemApi,
};
use super::campaigns::CampaignsApi;
use super::health::HealthApi;
use super::openapi;
use super::orders::{CartsApi, OrdersApi};
use super::participations::{ChangesApi, ParticipationsApi};
use super::reviews::ReviewsApi;
use super::rewards::RewardsApi;
use super::sessions::{OwnAccountApi, OwnTotpApi, SessionsApi, SignUpApi};

/// Defines a tuple of unit structs, as a type and as a value.
macro_rules! apis {
    ($type:ident, $value:ident: $($api:ident),+ $(,)?) => {
        type $type = ($($api,)+);

        const fn $value() -> $type {
            ($($api,)+)
        }
    };
}

apis!(PublicApis, public: CampaignsApi, ParticipationsApi, ChangesApi, OrdersApi, CartsApi, ReviewsApi, RewardsApi, SessionsApi, OwnAccountApi, OwnTotpApi, SignUpApi);
// A tuple has at most 16 members.
apis!(AdminApis, admin: AdminAccountsApi, AdminCampaignsApi, AdminAllowListApi, AdminCouponsApi, AdminGateApi, AdminDeadLettersApi, AdminOutboxApi, AdminSystemApi, AdminKafkaApi, AdminAuditApi, AdminExportApi, AdminSimulationApi, AdminStatsApi, AdminOrderApi, AdminBatchApi, AdminParticipationsApi);

/// The OpenAPI service of all operations.
pub fn service() -> OpenApiService<(PublicApis, AdminApis, HealthApi), ()> {
    let apis = (public(), admin(), HealthApi);
    OpenApiService::new(apis, "firstcome", env!("CARGO_PKG_VERSION"))
        .description(
            "First come, first served: coupons, points, limited drops and time deals, each unit handed out exactly \
             once. Every error is an RFC 9457 problem document with a stable `code`; every response has an \
             `x-request-id`.",
        )
        .contact(ContactObject::new().name("The maintainers of firstcome"))
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server("/")
}

/// The OpenAPI document as pretty JSON: the same on every machine and in every run.
#[must_use]
pub fn openapi_document() -> String {
    let document = service().spec();
    // The framework's document is always JSON.
    openapi::complete(&document).unwrap_or(document)
}
