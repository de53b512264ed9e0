//! Who is asking, and what they may do.

use std::sync::Arc;

use poem::http::{HeaderMap, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use subtle::ConstantTimeEq;

use super::fields::INTEGER_MAX;
use super::problem::{Problem, unauthenticated};
use super::settings::{Auth, Policy, digest};
use crate::domain::UserId;

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The request does not say.
    Nobody,
    /// A user.
    User(UserId),
    /// An admin.
    Admin,
}

impl Caller {
    /// The user a participation is for: the caller, or whom the body names where the caller may
    /// name somebody.
    pub fn acting(self, named: Option<UserId>) -> Result<UserId, Problem> {
        match (self, named) {
            (Self::User(caller), Some(named)) if caller != named => Err(forbidden(
                "userId names another user than the one who is asking.",
            )),
            (Self::User(user), _) | (Self::Nobody | Self::Admin, Some(user)) => Ok(user),
            (Self::Nobody, None) => Err(unauthenticated(
                "Say who takes part: a user id in Authorization, or userId in the body.",
            )),
            (Self::Admin, None) => Err(Problem::invalid_field("userId", "is missing")),
        }
    }

    /// Whether the caller may see what belongs to `owner`; nobody may see anything.
    pub fn may_see(self, owner: UserId) -> Result<bool, Problem> {
        match self {
            Self::Nobody => Err(unauthenticated(
                "Say who is asking: a user id or the admin token in Authorization.",
            )),
            Self::User(user) => Ok(user == owner),
            Self::Admin => Ok(true),
        }
    }

    /// The user of this number, whose things the caller asks to see; `others` is said where they may not.
    pub fn seeing(self, number: u64, others: &'static str) -> Result<UserId, Problem> {
        let user =
            user_id(number).ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))?;
        if self.may_see(user)? {
            Ok(user)
        } else {
            Err(forbidden(others))
        }
    }

    fn of(headers: &HeaderMap, policy: &Policy) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(Self::Nobody);
        };
        let value = value.to_str().unwrap_or_default().trim();
        if let Some(token) = bearer(value) {
            return if is_admin(token, policy) {
                Ok(Self::Admin)
            } else {
                Err(unauthenticated("The token in Authorization is not valid."))
            };
        }
        match policy.auth {
            Auth::Trusted => trusted(value).map(Self::User),
        }
    }
}

/// The token of a `Bearer` value; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

fn is_admin(token: &str, policy: &Policy) -> bool {
    policy
        .admin_digest
        .is_some_and(|admin| digest(token).ct_eq(&admin).into())
}

/// A user id as the gateway in front of the service writes it.
fn trusted(value: &str) -> Result<UserId, Problem> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unauthenticated("Authorization must be a user id."));
    }
    value
        .parse()
        .ok()
        .and_then(user_id)
        .ok_or_else(|| Problem::invalid_field("userId", USER_ID_RANGE))
}

/// What user ids must be.
pub const USER_ID_RANGE: &str = "must be between 1 and 9007199254740991";

/// A user id, if the number is one.
pub fn user_id(number: u64) -> Option<UserId> {
    let number = (1..=INTEGER_MAX).contains(&number).then_some(number)?;
    i64::try_from(number).ok().map(UserId)
}

/// Known, but not allowed.
pub fn forbidden(detail: &'static str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", "Not allowed", detail)
}

fn policy(request: &Request) -> Result<&Arc<Policy>, Problem> {
    request.data::<Arc<Policy>>().ok_or_else(Problem::internal)
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "user",
            MetaSecurityScheme {
                ty: "apiKey",
                description: Some("The id of the user who is asking: an integer from 1."),
                name: Some("Authorization"),
                key_in: Some("header"),
                scheme: None,
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
        Admin::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["user", "admin"]
    }

    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request.headers(), policy(request)?)?)
    }
}

/// Proof that an admin is asking.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl Admin {
    fn of(headers: &HeaderMap, policy: &Policy) -> Result<Self, Problem> {
        if policy.admin_digest.is_none() {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "ADMIN_CLOSED",
                "The admin API is closed",
                "No admin token is configured.",
            ));
        }
        match Caller::of(headers, policy)? {
            Caller::Admin => Ok(Self),
            Caller::User(_) => Err(forbidden("This takes an admin.")),
            Caller::Nobody => Err(unauthenticated(
                "This takes the admin token: Authorization: Bearer TOKEN.",
            )),
        }
    }
}

impl<'a> ApiExtractor<'a> for Admin {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "admin",
            MetaSecurityScheme {
                ty: "http",
                description: Some("The admin token."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["admin"]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request.headers(), policy(request)?)?)
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;
    use crate::http::settings::Settings;

    fn with_token() -> Policy {
        Policy::of(&Settings {
            admin_token: Some("s3cret".into()),
            ..Settings::default()
        })
    }

    fn authorization(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn an_integer_is_a_user_and_the_token_is_an_admin() {
        let policy = with_token();
        let caller = |value| Caller::of(&authorization(value), &policy);
        assert_eq!(caller("42").unwrap(), Caller::User(UserId(42)));
        assert_eq!(caller("Bearer s3cret").unwrap(), Caller::Admin);
        assert_eq!(caller("bearer s3cret").unwrap(), Caller::Admin);
        for value in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer ",
            "Bearer",
            "x",
            "",
        ] {
            assert_eq!(
                caller(value).unwrap_err().code,
                "UNAUTHENTICATED",
                "{value}"
            );
        }
        assert_eq!(
            Caller::of(&HeaderMap::new(), &policy).unwrap(),
            Caller::Nobody
        );
    }

    #[test]
    fn user_ids_out_of_range_are_named() {
        let policy = with_token();
        for value in ["0", "-1", "9007199254740992", "99999999999999999999999"] {
            let problem = Caller::of(&authorization(value), &policy).unwrap_err();
            assert_eq!(problem.errors.first().unwrap().field, "userId", "{value}");
        }
        assert!(Caller::of(&authorization("9007199254740991"), &policy).is_ok());
    }

    #[test]
    fn without_a_token_the_admin_api_is_closed() {
        let closed = Policy::of(&Settings::default());
        for value in ["Bearer ", "Bearer s3cret", "1"] {
            let problem = Admin::of(&authorization(value), &closed).unwrap_err();
            assert_eq!(problem.code, "ADMIN_CLOSED");
        }
    }

    #[test]
    fn a_user_is_not_an_admin() {
        let policy = with_token();
        let status = |headers| Admin::of(&headers, &policy).unwrap_err().status;
        assert_eq!(status(authorization("1")), StatusCode::FORBIDDEN);
        assert_eq!(status(HeaderMap::new()), StatusCode::UNAUTHORIZED);
        assert_eq!(status(authorization("Bearer no")), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn nobody_acts_for_somebody_else() {
        let (one, two) = (UserId(1), UserId(2));
        assert_eq!(Caller::User(one).acting(None).unwrap(), one);
        assert_eq!(Caller::User(one).acting(Some(one)).unwrap(), one);
        assert_eq!(Caller::Nobody.acting(Some(two)).unwrap(), two);
        let status = |caller: Caller, named| caller.acting(named).unwrap_err().status;
        assert_eq!(status(Caller::User(one), Some(two)), StatusCode::FORBIDDEN);
        assert_eq!(status(Caller::Nobody, None), StatusCode::UNAUTHORIZED);
    }
}
