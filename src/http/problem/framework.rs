//! The problems of requests as such, among them the web framework's own errors.

use poem::error::{
    MethodNotAllowedError, NotFoundError, ParsePathError as BadPath, ReadBodyError, SizedLimitError,
};
use poem::http::{HeaderValue, StatusCode, header};
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use super::kind::Kind;
use super::{FieldProblem, Problem, kind};

const OTHER_FORM: &str = "does not have the form that the OpenAPI document gives";

/// The problem of an error that the routes return; `allow`: the methods of the route.
pub fn from_framework(error: &poem::Error, allow: Option<&HeaderValue>) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if error.is::<NotFoundError>() || error.is::<BadPath>() {
        return Problem::not_found("There is no such path.");
    }
    if error.is::<MethodNotAllowedError>() {
        return method_not_allowed(allow);
    }
    // Parameters are already checked against the document; the text of the framework is not sent.
    if error.is::<ParsePathError>() {
        return Problem::invalid_field("path", OTHER_FORM);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return Problem::invalid_field(error.name, OTHER_FORM);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return unreadable_body(error);
    }
    if let Some(error) = error.downcast_ref::<SizedLimitError>() {
        return match error {
            SizedLimitError::PayloadTooLarge => too_large(),
            SizedLimitError::MissingContentLength => generic(StatusCode::LENGTH_REQUIRED),
        };
    }
    if error.is::<ContentTypeError>() {
        return unsupported_media_type();
    }
    if error.is::<ParseRequestPayloadError>() {
        return malformed("The body does not have the form that this operation reads.");
    }
    if error.is::<AuthorizationError>() {
        return Problem::unauthenticated("The request has no credentials.");
    }
    generic(error.status())
}

/// A body that is not JSON.
pub(in crate::http) fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    kind::MALFORMED.because(detail)
}

/// A request without exactly one host (RFC 9112, 3.2).
pub(in crate::http) fn unclear_host() -> Problem {
    malformed("The request must have one Host header with one host.")
}

/// A body over the bound.
pub(in crate::http) fn too_large() -> Problem {
    kind::TOO_LARGE
        .because("The body is larger than this service reads.")
        // The rest of the body is not read, so the connection cannot be used again.
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// A body that is not complete in time.
pub(in crate::http) fn too_slow() -> Problem {
    kind::REQUEST_TIMEOUT
        .because("The body was not complete in time.")
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// A head over the bound.
pub(in crate::http) fn head_too_large() -> Problem {
    kind::HEADERS_TOO_LARGE
        .because("The request line and the headers exceed the limits of this service.")
}

/// A request for a host that is not the service's.
pub(in crate::http) fn host_not_allowed() -> Problem {
    kind::HOST_NOT_ALLOWED.because(
        "The host is not allowed: add it to http.allowed_hosts if it belongs to the service.",
    )
}

/// A body that is not declared as CSV.
pub(in crate::http) fn no_csv() -> Problem {
    kind::UNSUPPORTED_MEDIA_TYPE.because("The body must be CSV, with Content-Type: text/csv.")
}

/// A body that is not declared as JSON.
pub(in crate::http) fn unsupported_media_type() -> Problem {
    kind::UNSUPPORTED_MEDIA_TYPE
        .because("The body must be JSON, with Content-Type: application/json.")
}

fn method_not_allowed(allow: Option<&HeaderValue>) -> Problem {
    let problem = kind::METHOD_NOT_ALLOWED.because("This path does not support the method.");
    match allow {
        Some(allow) => problem.with_header(header::ALLOW, allow.clone()),
        None => problem,
    }
}

/// A body that cannot be read.
pub(in crate::http) fn unreadable_body(error: &ReadBodyError) -> Problem {
    match error {
        ReadBodyError::PayloadTooLarge => too_large(),
        ReadBodyError::BodyHasBeenTaken => Problem::internal(),
        ReadBodyError::Utf8(_) => malformed("The body is not text in UTF-8."),
        ReadBodyError::Io(_) => malformed("The body ended before it was complete."),
    }
}

/// A status without a cause.
fn generic(status: StatusCode) -> Problem {
    if status.is_server_error() {
        return Problem::internal();
    }
    let kind = Kind {
        status,
        code: "REFUSED",
        title: status.canonical_reason().unwrap_or("Refused"),
    };
    kind.because("The request cannot be answered.")
}

impl From<FieldProblem> for Problem {
    fn from(problem: FieldProblem) -> Self {
        Self::invalid(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_does_not_reveal_its_cause() {
        let error = poem::Error::from_string("table is gone", StatusCode::BAD_GATEWAY);
        let problem = from_framework(&error, None);
        assert_eq!(problem.code, "INTERNAL");
        assert!(!problem.detail.contains("table"));
    }
}
