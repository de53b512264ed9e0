//! HTTP: routes, requests, responses and problems. Requests are parsed and responses written here; the work between
//! belongs to the modules that this one calls.

mod admin;
mod admin_tokens;
mod apis;
mod app;
mod auth;
mod campaigns;
mod client_address;
mod concurrency_limit;
mod config;
mod cookies;
mod cors;
mod created;
mod csrf;
mod dashboard;
mod document;
mod edge;
mod extractor;
mod faults;
mod fields;
mod files;
mod health;
mod hosts;
mod json;
mod listener;
mod object_schema;
mod openapi;
mod operation;
mod orders;
mod origins;
mod page;
mod pages;
mod parameters;
mod participations;
mod policy;
mod probes;
mod problem;
mod rate_fields;
mod rate_limits;
mod reads;
mod request_context;
mod reviews;
mod rewards;
mod routes;
mod sessions;
mod settings;
mod shared_reads;
mod stream;
mod views;
mod words;

use std::io;
use std::sync::Arc;

use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use poem_openapi::Tags;
use tokio::net::TcpListener;

pub use apis::openapi_document;
use apis::service;
pub use app::{App, AppRef};
pub use bounded_http::{CertificateFiles, Tls, TlsError, listen};
pub use concurrency_limit::BoundMetrics;
pub use config::{HostNames, HttpConfig};
pub use cookies::Cookies;
pub use hosts::Hosts;
pub use probes::{Probes, serve_probes};
// Public for the benchmarks.
pub use problem::Problem;
pub use settings::{Auth, Settings};

use self::dashboard::About;
use self::edge::{Edge, HasCapacity};
use self::participations::participate_without_router;
use self::policy::Policy;
use self::request_context::RequestContext;
use self::routes::{Routes, Target};

/// Groups of operations in the OpenAPI document.
#[derive(Tags)]
enum Section {
    /// The public catalogue and its reviews.
    Campaigns,
    /// Participating, confirming and cancelling.
    Participations,
    /// Orders of several lines, and carts.
    Orders,
    /// The rewards of participations.
    Rewards,
    /// Log-ins, sign-ups, one-time codes and the own account, with `auth.mode=sessions`.
    Sessions,
    /// Probes of the process: liveness and readiness.
    Health,
    /// Accounts of `auth.mode=sessions` and their scopes, for admins.
    #[oai(rename = "Accounts (admin)")]
    AdminAccounts,
    /// Campaigns in all states, their changes, allow lists and gates, for admins.
    #[oai(rename = "Campaigns (admin)")]
    AdminCampaigns,
    /// Participations of a campaign, their events and their export, for admins.
    #[oai(rename = "Participations (admin)")]
    AdminParticipations,
    /// Redeeming the coupons of customers, for shops.
    #[oai(rename = "Coupons (admin)")]
    AdminCoupons,
    /// Records that were not published or not applied, for admins: list, replay, discard.
    #[oai(rename = "Dead letters (admin)")]
    DeadLetters,
    /// Statistics by day and campaign, their aggregation, and the order of processing, for admins.
    #[oai(rename = "Statistics (admin)")]
    Statistics,
    /// Simulated participants, with `test.endpoints`, for admins.
    #[oai(rename = "Simulations (admin)")]
    Simulations,
    /// The state of the installation, the outbox, the topics and the audit log, for admins.
    #[oai(rename = "Operations (admin)")]
    Operations,
}

/// The paths that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    Everything,
    /// The public API and the probes; another listener serves the rest.
    Public,
}

impl Surface {
    fn has(self, path: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Public => is_probe(path) || path.starts_with("/api/") && !is_admin(path),
        }
    }
}

fn is_probe(path: &str) -> bool {
    path == "/livez" || path == "/readyz"
}

fn is_admin(path: &str) -> bool {
    path.starts_with("/api/admin/")
}

/// The routes of a surface, inside the edge.
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
    let has_capacity: HasCapacity = Box::new(move |campaign| participate.has_place(campaign));
    let counted = Arc::clone(&app);
    let inner = Split {
        api: service().into_endpoint().data(Arc::clone(&app)),
        pages: pages.data(Arc::clone(&app)),
        app,
        surface,
    };
    Edge::new(inner, policy, &settings, routes, metrics)
        .with_capacity(has_capacity)
        .with_rate_limit(Box::new(move |request, target| {
            rate_limits::count_read(&counted, request, target)
        }))
}

/// Serves on a listener until `stop` of the settings is cancelled, then lets requests finish within the drain timeout.
pub async fn serve(listener: TcpListener, app: Arc<App>, surface: Surface) -> io::Result<()> {
    let settings = app.settings.clone();
    listener::serve(listener, endpoint(app, surface), &settings).await
}

/// Passes a request to the API or to the pages, by the beginning of its path. A nested router would split and join every
/// path. An operation whose path the edge has parsed is called without the router (docs/decisions/0009): participations,
/// the most frequent requests.
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
        let target = RequestContext::of(&request).map(|context| context.target);
        if request.method() == Method::POST
            && let Some(Target::Participation(campaign)) = target
        {
            participate_without_router(&self.app, campaign, request).await
        } else if !self.surface.has(path) {
            Err(Problem::not_found("There is no such path.").into())
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
