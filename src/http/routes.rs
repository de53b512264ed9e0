//! The routes there are, taken from the OpenAPI document: their templates, methods and metrics.

use std::collections::HashMap;
use std::sync::Arc;

use poem::http::{HeaderValue, Method};
use serde_json::Value;

use crate::telemetry::{HttpMetrics, RouteMetrics};

/// Methods the service knows.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// One route.
pub struct RouteEntry {
    /// `/api/campaigns/{id}`
    pub template: Arc<str>,
    /// Its methods, as `Allow` lists them.
    pub allow: HeaderValue,
    methods: Vec<(Method, RouteMetrics)>,
}

/// All routes, found by the router's pattern.
pub struct Routes {
    by_pattern: HashMap<String, RouteEntry>,
    /// Counts what matched no route, or used a method that a route does not have.
    unmatched: RouteMetrics,
}

impl Routes {
    /// The routes of an OpenAPI document and the pages beside it, which are all read-only.
    pub fn new(document: &str, pages: &[&'static str], metrics: &HttpMetrics) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let mut by_pattern = HashMap::new();
        let paths = document.get("paths").and_then(Value::as_object);
        for (template, operations) in paths.into_iter().flatten() {
            let methods: Vec<&'static str> = METHODS
                .into_iter()
                .filter(|method| operations.get(method.to_ascii_lowercase()).is_some())
                .collect();
            by_pattern.insert(
                pattern_of(template),
                RouteEntry::new(template, &methods, metrics),
            );
        }
        for page in pages {
            by_pattern.insert(pattern_of(page), RouteEntry::new(page, &["GET"], metrics));
        }
        let unmatched: Arc<str> = "unmatched".into();
        Self {
            by_pattern,
            unmatched: metrics.route(&unmatched, "other"),
        }
    }

    /// The route behind the pattern the router matched.
    pub fn by_pattern(&self, pattern: &str) -> Option<&RouteEntry> {
        self.by_pattern.get(pattern)
    }

    /// The route of an address. Slower: for requests that never came back from the router.
    pub fn by_path(&self, path: &str) -> Option<&RouteEntry> {
        self.by_pattern
            .values()
            .filter(|route| matches(&route.template, path))
            .min_by_key(|route| route.template.matches('{').count())
    }

    /// Where requests of a route and method are counted.
    pub fn metrics<'a>(
        &'a self,
        route: Option<&'a RouteEntry>,
        method: &Method,
    ) -> &'a RouteMetrics {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        route
            .and_then(|route| route.methods.iter().find(|(known, _)| known == method))
            .map_or(&self.unmatched, |(_, metrics)| metrics)
    }
}

impl RouteEntry {
    fn new(template: &str, methods: &[&'static str], metrics: &HttpMetrics) -> Self {
        let template: Arc<str> = template.into();
        // What answers GET answers HEAD.
        let allow = methods.join(", ").replacen("GET", "GET, HEAD", 1);
        Self {
            allow: HeaderValue::from_str(&allow)
                .unwrap_or_else(|_| HeaderValue::from_static("GET, HEAD")),
            methods: methods
                .iter()
                .filter_map(|method| {
                    let known = Method::from_bytes(method.as_bytes()).ok()?;
                    Some((known, metrics.route(&template, method)))
                })
                .collect(),
            template,
        }
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
    use crate::telemetry::Telemetry;

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
    fn routes_are_found_by_the_address() {
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
