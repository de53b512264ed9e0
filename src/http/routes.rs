//! The routes of the OpenAPI document: their templates, methods and metrics. The edge looks a path up once, and
//! everything that depends on the path uses the result.

use std::collections::HashMap;
use std::str::Split;
use std::sync::Arc;

use poem::http::{HeaderValue, Method, Uri};
use serde_json::Value;

use super::parameters::{Parameters, canonical};
use super::problem::Problem;
use crate::domain::CampaignId;
use crate::runtime::telemetry::{HttpMetrics, RouteMetrics};

/// The methods that the service knows.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The templates of routes that the edge treats specially.
const PARTICIPATION: &str = "/api/campaigns/{id}/participation";
const SYNC_PARTICIPATION: &str = "/api/campaigns/{id}/participation-sync";
const CONFIRMATION: &str = "/api/participations/{id}/confirm";
const CANCELLATION: &str = "/api/participations/{id}/cancel";
const ORDER_CONFIRMATION: &str = "/api/orders/{id}/confirm";
const ORDER_CANCELLATION: &str = "/api/orders/{id}/cancel";
const CART: &str = "/api/users/{userId}/cart";
const CHECKOUT: &str = "/api/users/{userId}/cart/checkout";
const REVIEW: &str = "/api/participations/{id}/review";
const ALLOW_LIST: &str = "/api/admin/campaigns/{id}/allow-list";

/// The purpose of a path, as far as the edge distinguishes purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A participation in this campaign.
    Participation(CampaignId),
    /// A synchronous participation in this campaign.
    SyncParticipation(CampaignId),
    /// A confirmation, a cancellation, or another request that begins with a read.
    Change,
    /// The allow list of a campaign, whose import takes longest.
    AllowList,
    /// Any other path, also one of a participation whose campaign has no canonical id.
    Other,
}

/// The route of a path, and what the path addresses.
#[derive(Clone, Copy)]
pub struct MatchedRoute<'a> {
    /// None: the path has no route.
    pub route: Option<&'a RouteEntry>,
    /// What the path addresses.
    pub target: Target,
}

pub struct RouteEntry {
    /// `/api/campaigns/{id}`
    pub template: Arc<str>,
    /// Its methods, as `Allow` lists them.
    pub allow: HeaderValue,
    operations: Vec<Operation>,
}

/// The fault of a URL, and who learns it.
#[derive(Debug)]
pub enum Fault {
    /// Every client: the operation takes no credentials.
    ForAll(Problem),
    /// Only authenticated clients.
    ForAuthenticated(Problem),
}

/// One method of a route.
struct Operation {
    method: Method,
    takes_credentials: bool,
    parameters: Parameters,
    metrics: RouteMetrics,
}

pub struct Routes {
    templates: Node,
    /// Counts requests without a route, or with a method that the route does not have.
    unmatched: RouteMetrics,
}

/// A node of the tree of templates: one segment, and the segments that may follow.
#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    route: Option<RouteEntry>,
}

impl Node {
    fn insert(&mut self, route: RouteEntry) {
        let template = Arc::clone(&route.template);
        let mut node = self;
        for segment in template.split('/') {
            node = if segment.starts_with('{') {
                node.parameter.get_or_insert_default()
            } else {
                node.literals.entry(segment.into()).or_default()
            };
        }
        node.route = Some(route);
    }

    /// The route of these segments. A literal goes before a parameter.
    fn find(&self, mut segments: Split<'_, char>) -> Option<&RouteEntry> {
        let Some(segment) = segments.next() else {
            return self.route.as_ref();
        };
        let literal = self.literals.get(segment);
        let found = literal.and_then(|node| node.find(segments.clone()));
        found.or_else(|| match &self.parameter {
            Some(node) if !segment.is_empty() => node.find(segments),
            _ => None,
        })
    }
}

impl Routes {
    /// The routes of an OpenAPI document and the pages beside it, which are all read-only.
    pub fn new(document: &str, pages: &[&'static str], metrics: &HttpMetrics) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let mut templates = Node::default();
        let paths = document.get("paths").and_then(Value::as_object);
        for (template, operations) in paths.into_iter().flatten() {
            let operations = METHODS.into_iter().filter_map(|method| {
                let operation = operations.get(method.to_ascii_lowercase())?;
                let security = operation.get("security").and_then(Value::as_array);
                let takes_credentials = security.is_some_and(|schemes| !schemes.is_empty());
                Some((
                    method,
                    takes_credentials,
                    Parameters::of(&document, operation),
                ))
            });
            templates.insert(RouteEntry::new(template, operations.collect(), metrics));
        }
        for page in pages {
            let operations = vec![("GET", false, Parameters::default())];
            templates.insert(RouteEntry::new(page, operations, metrics));
        }
        let unmatched: Arc<str> = "unmatched".into();
        Self {
            templates,
            unmatched: metrics.route(&unmatched, "other"),
        }
    }

    /// The route of a path, and what the path addresses.
    pub fn find(&self, path: &str) -> MatchedRoute<'_> {
        let route = self.templates.find(path.split('/'));
        let target = route.map_or(Target::Other, |route| route.target(path));
        MatchedRoute { route, target }
    }

    /// The metrics of a route and method.
    pub fn metrics<'a>(
        &'a self,
        route: Option<&'a RouteEntry>,
        method: &Method,
    ) -> &'a RouteMetrics {
        route
            .and_then(|route| route.operation(method))
            .map_or(&self.unmatched, |operation| &operation.metrics)
    }
}

impl RouteEntry {
    fn new(
        template: &str,
        operations: Vec<(&'static str, bool, Parameters)>,
        metrics: &HttpMetrics,
    ) -> Self {
        let template: Arc<str> = template.into();
        let methods: Vec<&str> = operations.iter().map(|(method, ..)| *method).collect();
        // Every route with GET also has HEAD.
        let allow = methods.join(", ").replacen("GET", "GET, HEAD", 1);
        Self {
            allow: HeaderValue::from_str(&allow)
                .unwrap_or_else(|_| HeaderValue::from_static("GET, HEAD")),
            operations: operations
                .into_iter()
                .filter_map(|(method, takes_credentials, parameters)| {
                    Some(Operation {
                        method: Method::from_bytes(method.as_bytes()).ok()?,
                        takes_credentials,
                        parameters,
                        metrics: metrics.route(&template, method),
                    })
                })
                .collect(),
            template,
        }
    }

    /// Checks the parameters of a URL of this route. The router rejects an unknown method.
    pub fn check(&self, method: &Method, uri: &Uri) -> Result<(), Fault> {
        let Some(operation) = self.operation(method) else {
            return Ok(());
        };
        let checked = operation
            .parameters
            .check(&self.template, uri.path(), uri.query());
        checked.map_err(if operation.takes_credentials {
            Fault::ForAuthenticated
        } else {
            Fault::ForAll
        })
    }

    fn target(&self, path: &str) -> Target {
        let participation: fn(CampaignId) -> Target = match &*self.template {
            PARTICIPATION => Target::Participation,
            SYNC_PARTICIPATION => Target::SyncParticipation,
            CONFIRMATION | CANCELLATION | ORDER_CONFIRMATION | ORDER_CANCELLATION | CART
            | CHECKOUT | REVIEW => return Target::Change,
            ALLOW_LIST => return Target::AllowList,
            _ => return Target::Other,
        };
        let mut segments = self.template.split('/').zip(path.split('/'));
        let id = segments.find(|(segment, _)| segment.starts_with('{'));
        id.and_then(|(_, id)| canonical(id))
            .map_or(Target::Other, |id| participation(CampaignId(id)))
    }

    /// Whether responses to this method are public: it only reads, and takes no credentials.
    pub fn is_public(&self, method: &Method) -> bool {
        let operation = self.operation(method);
        method.is_safe() && operation.is_some_and(|operation| !operation.takes_credentials)
    }

    fn operation(&self, method: &Method) -> Option<&Operation> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        self.operations.iter().find(|known| known.method == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::telemetry::Telemetry;

    fn routes() -> Routes {
        let document = r#"{"paths": {
            "/api/campaigns": {"get": {}},
            "/api/campaigns/{id}": {"get": {}, "patch": {}},
            "/api/campaigns/{id}/stock": {"get": {}}
        }}"#;
        Routes::new(document, &["/dashboard"], &Telemetry::new().http)
    }

    #[test]
    fn a_route_is_found_by_the_path() {
        let routes = routes();
        let template = |path| routes.find(path).route.map(|route| &*route.template);
        assert_eq!(
            template("/api/campaigns/7/stock"),
            Some("/api/campaigns/{id}/stock")
        );
        assert_eq!(template("/dashboard"), Some("/dashboard"));
        assert_eq!(template("/api/campaigns/"), None);
        assert_eq!(template("/nowhere"), None);
        let route = routes.find("/api/campaigns/7").route.unwrap();
        assert_eq!(&*route.template, "/api/campaigns/{id}");
        assert_eq!(route.allow, "GET, HEAD, PATCH");
    }

    #[test]
    fn a_literal_segment_goes_before_a_parameter() {
        let document = r#"{"paths": {
            "/api/{kind}/{id}": {"get": {}},
            "/api/users/{id}": {"get": {}},
            "/api/users/me": {"get": {}},
            "/api/{kind}/me/name": {"get": {}}
        }}"#;
        let routes = Routes::new(document, &[], &Telemetry::new().http);
        for (path, template) in [
            ("/api/users/me", "/api/users/me"),
            ("/api/users/7", "/api/users/{id}"),
            ("/api/pets/me", "/api/{kind}/{id}"),
            ("/api/users/me/name", "/api/{kind}/me/name"),
        ] {
            assert_eq!(&*routes.find(path).route.unwrap().template, template);
        }
    }
}
