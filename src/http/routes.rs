//! The routes of the OpenAPI document: their templates, methods and metrics.

use std::collections::HashMap;
use std::sync::Arc;

use poem::http::{HeaderValue, Method, Uri};
use serde_json::Value;

use super::parameters::Parameters;
use super::problem::Problem;
use crate::runtime::telemetry::{HttpMetrics, RouteMetrics};

/// The methods that the service knows.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// One route.
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

/// All routes, found by the router's pattern.
pub struct Routes {
    by_pattern: HashMap<String, Arc<RouteEntry>>,
    /// By the number of their segments; those with fewer parameters come first.
    by_length: HashMap<usize, Vec<Arc<RouteEntry>>>,
    /// Counts requests without a route, or with a method that the route does not have.
    unmatched: RouteMetrics,
}

impl Routes {
    /// The routes of an OpenAPI document and the pages beside it, which are all read-only.
    pub fn new(document: &str, pages: &[&'static str], metrics: &HttpMetrics) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let mut entries = Vec::new();
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
            entries.push(RouteEntry::new(template, operations.collect(), metrics));
        }
        for page in pages {
            let operations = vec![("GET", false, Parameters::default())];
            entries.push(RouteEntry::new(page, operations, metrics));
        }
        entries.sort_by_key(|entry| entry.template.matches('{').count());
        let (mut by_pattern, mut by_length) = (HashMap::new(), HashMap::new());
        for entry in entries.into_iter().map(Arc::new) {
            let of_length: &mut Vec<_> = by_length.entry(length(&entry.template)).or_default();
            of_length.push(Arc::clone(&entry));
            by_pattern.insert(pattern_of(&entry.template), entry);
        }
        let unmatched: Arc<str> = "unmatched".into();
        Self {
            by_pattern,
            by_length,
            unmatched: metrics.route(&unmatched, "other"),
        }
    }

    /// The route of the pattern that the router matched.
    pub fn by_pattern(&self, pattern: &str) -> Option<&RouteEntry> {
        self.by_pattern.get(pattern).map(Arc::as_ref)
    }

    /// The route of a path that did not pass the router.
    pub fn by_path(&self, path: &str) -> Option<&RouteEntry> {
        let routes = self.by_length.get(&length(path))?;
        let found = routes.iter().find(|route| matches(&route.template, path));
        found.map(Arc::as_ref)
    }

    /// Checks the parameters of a URL. The router rejects an unknown path or method.
    pub fn check(&self, method: &Method, uri: &Uri) -> Result<(), Fault> {
        let Some(route) = self.by_path(uri.path()) else {
            return Ok(());
        };
        match route.operation(method) {
            Some(operation) => {
                let parameters = &operation.parameters;
                let checked = parameters.check(&route.template, uri.path(), uri.query());
                checked.map_err(if operation.takes_credentials {
                    Fault::ForAuthenticated
                } else {
                    Fault::ForAll
                })
            }
            None => Ok(()),
        }
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

/// The router numbers parameters: `/api/campaigns/{id}` is `/api/campaigns/:param0`.
fn pattern_of(template: &str) -> String {
    let mut parameters = 0;
    let parts: Vec<String> = template
        .split('/')
        .map(|part| {
            if part.starts_with('{') {
                let part = format!(":param{parameters}");
                parameters += 1;
                part
            } else {
                part.to_owned()
            }
        })
        .collect();
    parts.join("/")
}

/// The number of segments of a template or a path.
fn length(path: &str) -> usize {
    path.matches('/').count()
}

fn matches(template: &str, path: &str) -> bool {
    let mut parts = template.split('/');
    let mut asked = path.split('/');
    loop {
        match (parts.next(), asked.next()) {
            (None, None) => return true,
            (Some(part), Some(asked)) if part.starts_with('{') => {
                if asked.is_empty() {
                    return false;
                }
            }
            (Some(part), Some(asked)) if part == asked => {}
            _ => return false,
        }
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
    fn routes_are_found_by_the_pattern_of_the_router() {
        let routes = routes();
        let route = routes.by_pattern("/api/campaigns/:param0").unwrap();
        assert_eq!(&*route.template, "/api/campaigns/{id}");
        assert_eq!(route.allow, "GET, HEAD, PATCH");
        assert!(routes.by_pattern("/api/campaigns/:id").is_none());
    }

    #[test]
    fn routes_are_found_by_the_path() {
        let routes = routes();
        let template = |path| routes.by_path(path).map(|route| &*route.template);
        assert_eq!(
            template("/api/campaigns/7/stock"),
            Some("/api/campaigns/{id}/stock")
        );
        assert_eq!(template("/dashboard"), Some("/dashboard"));
        assert_eq!(template("/api/campaigns/"), None);
        assert_eq!(template("/nowhere"), None);
    }
}
