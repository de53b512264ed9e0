//! The key that makes a request safe to repeat.

use poem::Request;
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};

use crate::http::extractor::extractor;
use crate::http::problem::Problem;

/// Longest idempotency key, as in the database.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters.
pub struct IdempotencyKey(pub Option<String>);

impl IdempotencyKey {
    /// The key of a request, if it has one.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let mut values = request.headers().get_all("idempotency-key").iter();
        let (Some(value), more) = (values.next(), values.next()) else {
            return Ok(Self(None));
        };
        match value.to_str() {
            Ok(key)
                if more.is_none()
                    && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
                    && key.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Self(Some(key.to_owned())))
            }
            _ => Err(Problem::invalid_field(
                "Idempotency-Key",
                "must be one value of 1 to 255 visible ASCII characters",
            )),
        }
    }
}

extractor! { IdempotencyKey as Parameter(String) {
    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            max_length: Some(IDEMPOTENCY_KEY_BYTES_MAX),
            pattern: Some("^[!-~]+$".to_owned()),
            ..MetaSchema::new("string")
        })))
    }
} |request| Self::of(request) }
