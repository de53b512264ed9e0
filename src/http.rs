//! The HTTP edge: routes, and what every request passes on its way. Requests are parsed and answers
//! written here; what happens in between belongs to the modules this one calls.

mod admin;
mod auth;
mod campaigns;
mod config;
mod cookies;
mod csrf;
mod dashboard;
mod document;
mod edge;
mod faults;
mod fields;
mod files;
mod health;
mod hosts;
mod json;
mod limited;
mod listener;
mod origin;
mod page;
mod pages;
mod parameters;
mod participations;
mod per_address;
mod probes;
mod problem;
mod reads;
mod rewards;
mod routes;
mod sessions;
mod settings;
mod stream;
mod views;

use std::io;
use std::sync::Arc;

use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use poem_openapi::{OpenApiService, Tags};
use tokio::net::TcpListener;

pub use bounded_http::listen;
pub use config::{HostNames, HttpConfig};
pub use cookies::Cookies;
pub use hosts::Hosts;
pub use per_address::BoundMetrics;
pub use probes::{Probes, serve_probes};
// Public to be measured alone.
pub use bounded_http::{CertificateFiles, Tls, TlsError};
pub use problem::{Asked, Problem};
pub use settings::{Auth, Settings, TakenPayments};

use self::admin::{
    AdminAccountsApi, AdminAllowListApi, AdminAuditApi, AdminBatchApi, AdminCampaignsApi,
    AdminCouponsApi, AdminDeadLettersApi, AdminExportApi, AdminGateApi, AdminKafkaApi,
    AdminOutboxApi, AdminSimulationApi, AdminStatsApi, AdminSystemApi,
};
use self::campaigns::CampaignsApi;
use self::dashboard::About;
use self::edge::{Edge, Room, gated_participation_in};
use self::health::HealthApi;
use self::participations::{ChangesApi, ParticipationsApi, participate_past_router};
use self::rewards::RewardsApi;
use self::routes::Routes;
use self::sessions::{OwnAccountApi, OwnTotpApi, SessionsApi};
use self::settings::Policy;
use crate::access::accounts::Accounts;
use crate::access::limits::Limits;
use crate::operate::export::Exporter;
use crate::operate::health::Health;
use crate::operate::lifecycle::Lifecycle;
use crate::operate::simulate::Simulator;
use crate::operate::statistics::Aggregator;
use crate::operate::status::StatusBoard;
use crate::operate::system::{SystemBoard, TopicBoard};
use crate::parts::store::{Rewards, Store};
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::Telemetry;
use crate::sale::allow_list::AllowLists;
use crate::sale::catalogue::Catalogue;
use crate::sale::changes::Changes;
use crate::sale::participate::Participate;
use crate::sale::reconcile::Reconciler;

/// Everything the edge calls.
pub struct App {
    /// Reads for lists and lookups of admins, and what they write.
    pub store: Store,
    /// Reads for participants: a share of the same connections, so that commits find one.
    pub reads: Store,
    /// What was granted; none: this process has nothing to do with rewards.
    pub rewards: Option<Rewards>,
    /// Campaigns from the local cache.
    pub catalogue: Catalogue,
    /// Makes, changes and moves campaigns.
    pub lifecycle: Lifecycle,
    /// Rebuilds gates.
    pub reconciler: Reconciler,
    /// How often one may ask to.
    pub limits: Limits,
    /// Takes part.
    pub participate: Participate,
    /// Confirms and cancels.
    pub changes: Changes,
    /// Exports participations.
    pub exporter: Exporter,
    /// Lists of those who may take part.
    pub allow_lists: AllowLists,
    /// Simulated participants; none: they are off.
    pub simulator: Option<Simulator>,
    /// Who may log in, and who is.
    pub accounts: Arc<Accounts>,
    /// Statistics of days.
    pub aggregator: Aggregator,
    /// Live status of campaigns.
    pub status: StatusBoard,
    /// The installation as a whole.
    pub system: SystemBoard,
    /// Its topics.
    pub topics: TopicBoard,
    /// Health of the parts.
    pub health: Health,
    /// Metrics.
    pub telemetry: Arc<Telemetry>,
    /// The time.
    pub clock: Clock,
    /// Settings of the edge.
    pub settings: Settings,
}

/// Groups of operations in the OpenAPI document.
#[derive(Tags)]
enum Section {
    /// The public catalogue.
    Campaigns,
    /// Taking part.
    Participations,
    /// What participations earned.
    Rewards,
    /// Logging in and out, where participants do that here.
    Sessions,
    /// Managing campaigns; takes the admin token, or one with the scope for it.
    Admin,
    /// Probes.
    Operations,
}

/// What is for everybody, what is for admins, and what is for probes: a tuple takes no more than sixteen.
type Apis = (PublicApis, AdminApis, HealthApi);
type PublicApis = (
    CampaignsApi,
    ParticipationsApi,
    ChangesApi,
    RewardsApi,
    SessionsApi,
    OwnAccountApi,
    OwnTotpApi,
);
type AdminApis = (
    AdminAccountsApi,
    AdminCampaignsApi,
    AdminAllowListApi,
    AdminCouponsApi,
    AdminGateApi,
    AdminDeadLettersApi,
    AdminOutboxApi,
    AdminSystemApi,
    AdminKafkaApi,
    AdminAuditApi,
    AdminExportApi,
    AdminSimulationApi,
    AdminStatsApi,
    AdminBatchApi,
);

fn service() -> OpenApiService<Apis, ()> {
    let public = (
        CampaignsApi,
        ParticipationsApi,
        ChangesApi,
        RewardsApi,
        SessionsApi,
        OwnAccountApi,
        OwnTotpApi,
    );
    let admin = (
        AdminAccountsApi,
        AdminCampaignsApi,
        AdminAllowListApi,
        AdminCouponsApi,
        AdminGateApi,
        AdminDeadLettersApi,
        AdminOutboxApi,
        AdminSystemApi,
        AdminKafkaApi,
        AdminAuditApi,
        AdminExportApi,
        AdminSimulationApi,
        AdminStatsApi,
        AdminBatchApi,
    );
    let apis = (public, admin, HealthApi);
    OpenApiService::new(apis, "firstcome", env!("CARGO_PKG_VERSION"))
        .description(
            "First come, first served: coupons, points, limited drops and time deals, handed out \
             exactly once. Every error is an RFC 9457 problem document with a stable `code`; every \
             answer carries `x-request-id`.",
        )
        .server("/")
}

/// The OpenAPI document, pretty JSON: the same on every machine and in every run.
#[must_use]
pub fn openapi_document() -> String {
    // The framework names the type it reads dates with; the format is called `date` (RFC 3339, full-date).
    service().spec().replace("\"naive-date\"", "\"date\"")
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything there is.
    Everything,
    /// The API for participants, and probes: the rest is on a listener of its own.
    Public,
}

impl Surface {
    fn has(self, path: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Public => is_probe(path) || path.starts_with("/api/") && !is_of_admins(path),
        }
    }
}

fn is_probe(path: &str) -> bool {
    path == "/livez" || path == "/readyz"
}

fn is_of_admins(path: &str) -> bool {
    path.starts_with("/api/admin/")
}

/// The routes of a surface and everything around them.
#[must_use]
pub fn endpoint(app: Arc<App>, surface: Surface) -> impl Endpoint<Output = Response> + 'static {
    let policy = Arc::new(Policy::of(&app.settings));
    let metrics = app.telemetry.http.clone();
    let document = openapi_document();
    let routes = Routes::new(&document, &pages::PAGES, &metrics);
    let pages = pages::pages(
        document,
        &service().swagger_ui_html(),
        &About::of(&app),
        Arc::clone(&app.telemetry),
    );
    let settings = app.settings.clone();
    let participate = app.participate.clone();
    let room: Room = Box::new(move |campaign| participate.has_place(campaign));
    let counted = Arc::clone(&app);
    let inner = Split {
        api: service().into_endpoint().data(Arc::clone(&app)),
        pages: pages.data(Arc::clone(&app)),
        app,
        surface,
    };
    Edge::new(inner, policy, &settings, routes, metrics)
        .with_room(room)
        .with_rates(Box::new(move |request| {
            limited::count_read(&counted, request)
        }))
}

/// Serves on a listener until the settings' `stop` is cancelled, then lets requests finish within
/// the drain time-out.
pub async fn serve(listener: TcpListener, app: Arc<App>, surface: Surface) -> io::Result<()> {
    let settings = app.settings.clone();
    listener::serve(listener, endpoint(app, surface), &settings).await
}

/// Sends a request to the API or to the pages by how its path begins. The router could nest one in
/// the other, but takes every address apart and together again to do so. Participations, of which there
/// are more than of all else, pass it by (docs/decisions/0009).
struct Split<A, P> {
    app: Arc<App>,
    api: A,
    pages: P,
    surface: Surface,
}

impl<A, P> Endpoint for Split<A, P>
where
    A: Endpoint<Output = Response>,
    P: Endpoint<Output = Response>,
{
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let path = request.uri().path();
        if request.method() == Method::POST
            && let Some(campaign) = gated_participation_in(path)
        {
            participate_past_router(&self.app, campaign, request).await
        } else if !self.surface.has(path) {
            Err(Problem::not_found("There is nothing at this address.").into())
        } else if path.starts_with("/api/") || is_probe(path) {
            self.api.call(request).await
        } else {
            self.pages.call(request).await
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests;
