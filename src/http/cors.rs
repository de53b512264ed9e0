//! Cross-origin resource sharing: what pages of the configured origins may send to the API and read from its responses.
//! Every other origin gets no header, and its browser keeps the response from the page. poem's middleware does not fit:
//! it answers other origins with an error of its own, and it cannot reach the problem documents of the edge.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

use super::config::HttpConfig;
use super::origins::Origins;
use super::settings::Auth;

/// The methods of the API.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// The request headers that the API reads.
const READ: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, traceparent, x-challenge-token, x-csrf-token, x-request-id",
);

/// The response headers that a page can read, in addition to those that every page can read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "allow, content-disposition, etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, \
     www-authenticate, x-request-id",
);

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The response headers about other origins.
pub struct Cors {
    origins: Origins,
    max_age: HeaderValue,
    cookies: CookieUse,
}

/// Whether cookies authenticate requests. A browser sends them for another origin only if the response allows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CookieUse {
    Used,
    Unused,
}

/// What a request asks for on behalf of another origin.
pub enum CrossOrigin {
    /// Nothing, or the origin is not one of those configured.
    No,
    /// The response, for a page of this origin.
    Request(HeaderValue),
    /// Whether a page of this origin may send a request.
    Preflight(HeaderValue),
}

impl CrossOrigin {
    /// Whether the browser only asks whether it may send a request.
    pub const fn is_preflight(&self) -> bool {
        matches!(self, Self::Preflight(_))
    }
}

impl Cors {
    pub fn of(http: &HttpConfig, auth: &Auth) -> Self {
        Self {
            origins: http.cors_origins.clone(),
            max_age: http.cors_max_age.as_secs().into(),
            cookies: match auth {
                Auth::Sessions(..) => CookieUse::Used,
                Auth::Trusted | Auth::Jwt(_) => CookieUse::Unused,
            },
        }
    }

    /// The configured origins.
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What a request to the API asks for.
    pub fn read(&self, request: &Request) -> CrossOrigin {
        let headers = request.headers();
        match self.origins.of(headers) {
            None => CrossOrigin::No,
            Some(origin)
                if request.method() == Method::OPTIONS
                    && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) =>
            {
                CrossOrigin::Preflight(origin.clone())
            }
            Some(origin) => CrossOrigin::Request(origin.clone()),
        }
    }

    /// Adds the headers to a response of the API.
    pub fn add_to(&self, headers: &mut HeaderMap, asked: CrossOrigin) {
        if self.origins.is_empty() {
            return;
        }
        // Also without an origin: a cache must not give that response to a page that needs the headers.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let origin = match asked {
            CrossOrigin::No => return,
            CrossOrigin::Request(origin) => {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
                origin
            }
            CrossOrigin::Preflight(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, READ);
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
                origin
            }
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.cookies == CookieUse::Used {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }
}

/// The response to a preflight. It is the same for every path: the request itself learns whether there is one.
pub fn preflight_response() -> Response {
    Response::builder().status(StatusCode::NO_CONTENT).finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::openapi_document;
    use crate::http::tests::resolved;

    fn listed(headers: &HeaderValue) -> BTreeSet<String> {
        let names = headers.to_str().unwrap().split(", ");
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_documented_method_and_header_is_listed() {
        let document: Value = serde_json::from_str(&openapi_document()).unwrap();
        let (methods, read, exposed) = (listed(&METHODS), listed(&READ), listed(&EXPOSED));
        let paths = document["paths"].as_object().unwrap();
        let operations = paths
            .iter()
            .filter(|(path, _)| path.starts_with("/api/"))
            .flat_map(|(_, operations)| operations.as_object().unwrap());
        let mut headers = 0;
        for (method, operation) in operations {
            assert!(methods.contains(&method.to_uppercase()), "{method}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "header" {
                    let name = parameter["name"].as_str().unwrap().to_lowercase();
                    assert!(read.contains(&name), "{name}");
                    headers += 1;
                }
            }
            for response in operation["responses"].as_object().unwrap().values() {
                let response = resolved(&document, response);
                let named = response["headers"].as_object().into_iter().flatten();
                for (name, _) in named.filter(|(name, _)| *name != "Set-Cookie") {
                    assert!(exposed.contains(&name.to_lowercase()), "{name}");
                    headers += 1;
                }
            }
        }
        assert!(headers > 10, "{headers}");
    }
}
