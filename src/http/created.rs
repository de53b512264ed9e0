//! The response to a request that creates a resource: the resource, and its path in `Location`.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::types::Type;
use serde::Serialize;

use super::json::{Json, header_of, json_response, responses};

/// A resource that has a path of its own.
pub trait Resource: Serialize + Type + Send {
    /// Status of the response.
    const STATUS: StatusCode = StatusCode::CREATED;
    /// Description of the response.
    const DESCRIPTION: &'static str = "Created.";
    /// Description of `Location`.
    const LOCATION: &'static str;

    fn path(&self) -> String;
}

/// A resource that was created.
pub struct Created<T>(pub T);

impl<T: Resource> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let path = self.0.path();
        let mut response = Json(self.0).into_response();
        response.set_status(T::STATUS);
        if let Ok(path) = HeaderValue::from_str(&path) {
            response.headers_mut().insert(header::LOCATION, path);
        }
        response
    }
}

responses!(where [T: Resource] Created<T>: [json_response::<T>(
    T::STATUS.as_u16(),
    T::DESCRIPTION,
    vec![header_of("Location", T::LOCATION)],
)], T);
