use std::sync::Arc;

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::authenticator::Authenticator;
use super::*;
use crate::access::identity::{
    Algorithm, CampaignRead, KeySet, Keys, Rules, Scope, TokenTypes, Verifier,
};
use crate::domain::AdminToken;
use crate::http::policy::Policy;
use crate::http::problem::Problem;
use crate::http::settings::{Auth, Settings};
use crate::runtime::clock::Clock;

const ADMIN: Caller = Caller::Admin(AdminToken::Current);

fn with_token() -> Policy {
    Policy::of(&Settings {
        admin_token: Some("s3cret".into()),
        ..Settings::default()
    })
}

/// A service that verifies tokens; this test can make none.
fn with_jwt(admin_token: Option<&str>) -> Policy {
    let rules = Rules {
        issuer: "issuer".to_owned(),
        audience: "audience".to_owned(),
        algorithms: vec![Algorithm::Hs256],
        types: TokenTypes::default(),
        clock_skew: std::time::Duration::ZERO,
    };
    let keys = Keys::Fixed(Arc::new(KeySet::of_secret(&[7; 32]).unwrap()));
    Policy::of(&Settings {
        auth: Auth::Jwt(Arc::new(Verifier::new(rules, keys, Clock::System))),
        admin_token: admin_token.map(Into::into),
        ..Settings::default()
    })
}

fn authorization(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
}

fn authenticator<'a>(headers: &'a HeaderMap, policy: &'a Policy) -> Authenticator<'a> {
    Authenticator {
        method: &Method::POST,
        headers,
        address: None,
        policy,
    }
}

async fn caller(headers: &HeaderMap, policy: &Policy) -> Result<Caller, Problem> {
    Caller::with(
        authenticator(headers, policy).credentials().await?,
        &policy.auth,
    )
}

#[tokio::test]
async fn an_integer_identifies_a_user_and_the_token_an_admin() {
    let policy = with_token();
    let caller_of = async |value| caller(&authorization(value), &policy).await;
    let user = Caller::User(UserId(42), Scopes::default());
    assert_eq!(caller_of("42").await.unwrap(), user);
    assert_eq!(caller_of("Bearer s3cret").await.unwrap(), ADMIN);
    assert_eq!(caller_of("bearer s3cret").await.unwrap(), ADMIN);
    for value in [
        "Bearer s3cre",
        "Bearer s3crets",
        "Bearer ",
        "Bearer",
        "x",
        "",
    ] {
        let problem = caller_of(value).await.unwrap_err();
        assert_eq!(problem.code, "UNAUTHENTICATED", "{value}");
    }
    let nothing = caller(&HeaderMap::new(), &policy).await;
    assert_eq!(nothing.unwrap(), Caller::Anonymous);
}

#[tokio::test]
async fn with_jwt_a_request_without_a_token_gets_401() {
    let policy = with_jwt(Some("s3cret"));
    let nothing = caller(&HeaderMap::new(), &policy).await.unwrap_err();
    assert_eq!(nothing.code, "UNAUTHENTICATED", "for any body");
    for (value, code) in [
        ("42", "UNAUTHENTICATED"),
        ("Basic NDI6", "UNAUTHENTICATED"),
        ("Bearer 42", "INVALID_TOKEN"),
        ("Bearer s3cre", "INVALID_TOKEN"),
    ] {
        let problem = caller(&authorization(value), &policy).await.unwrap_err();
        assert_eq!(problem.code, code, "{value}");
        assert_eq!(problem.status, StatusCode::UNAUTHORIZED, "{value}");
        let headers = problem.headers.unwrap();
        assert!(headers.contains_key(header::WWW_AUTHENTICATE), "{value}");
    }
    let admin = caller(&authorization("Bearer s3cret"), &policy).await;
    assert_eq!(admin.unwrap(), ADMIN);
}

#[tokio::test]
async fn authorization_sent_twice_gets_401() {
    for policy in [with_token(), with_jwt(Some("s3cret"))] {
        let mut twice = authorization("Bearer s3cret");
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("42"));
        let problem = caller(&twice, &policy).await.unwrap_err();
        assert_eq!(problem.code, "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn user_ids_out_of_range_are_rejected_by_name() {
    let policy = with_token();
    for value in ["0", "-1", "9007199254740992", "99999999999999999999999"] {
        let problem = caller(&authorization(value), &policy).await.unwrap_err();
        assert_eq!(problem.errors.first().unwrap().field, "userId", "{value}");
    }
    let largest = authorization("9007199254740991");
    assert!(caller(&largest, &policy).await.is_ok());
}

#[test]
fn a_user_cannot_participate_for_another() {
    let (one, two) = (UserId(1), UserId(2));
    let user = Caller::User(one, Scopes::ALL);
    assert_eq!(user.participant(None).unwrap(), one);
    assert_eq!(user.participant(Some(one)).unwrap(), one);
    assert_eq!(Caller::Anonymous.participant(Some(two)).unwrap(), two);
    assert_eq!(ADMIN.participant(Some(two)).unwrap(), two);
    let status = |caller: Caller, named| caller.participant(named).unwrap_err().status;
    assert_eq!(status(user, Some(two)), StatusCode::FORBIDDEN);
    assert_eq!(status(Caller::Anonymous, None), StatusCode::UNAUTHORIZED);
    let service = Caller::Service("a service".into(), Scopes::ALL);
    assert_eq!(status(service, Some(two)), StatusCode::FORBIDDEN);
}

#[test]
fn data_of_another_user_needs_the_scope() {
    let owner = UserId(2);
    let other = Caller::User(UserId(1), Scopes::default());
    for scope in Scope::ALL.map(Scopes::of) {
        assert!(Caller::User(owner, Scopes::default()).may(scope, owner));
        assert!(!other.may(scope, owner), "{scope:?}");
        assert!(ADMIN.may(scope, owner));
        assert!(!Caller::Service("a service".into(), Scopes::default()).may(scope, owner));
        assert!(!Caller::Anonymous.may(scope, owner));
        assert!(Caller::Service("a service".into(), Scopes::ALL).may(scope, owner));
    }
}

mod admins {
    use super::*;

    async fn admin(headers: &HeaderMap, policy: &Policy) -> Result<String, Problem> {
        let admin = Admin::<CampaignRead>::require(&authenticator(headers, policy)).await?;
        Ok(admin.actor().to_string())
    }

    #[tokio::test]
    async fn without_a_token_the_admin_api_is_closed() {
        let closed = Policy::of(&Settings::default());
        for value in ["Bearer ", "Bearer s3cret", "1"] {
            let problem = admin(&authorization(value), &closed).await.unwrap_err();
            assert_eq!(problem.code, "ADMIN_CLOSED");
        }
        // Tokens with a scope open it.
        let problem = admin(&HeaderMap::new(), &with_jwt(None)).await.unwrap_err();
        assert_eq!(problem.code, "UNAUTHENTICATED");
    }

    #[tokio::test]
    async fn a_user_is_not_an_admin() {
        let policy = with_token();
        for (headers, status) in [
            (authorization("1"), StatusCode::FORBIDDEN),
            (HeaderMap::new(), StatusCode::UNAUTHORIZED),
            (authorization("Bearer no"), StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(admin(&headers, &policy).await.unwrap_err().status, status);
        }
    }

    #[tokio::test]
    async fn the_actor_of_the_admin_token_has_its_name() {
        for policy in [with_token(), with_jwt(Some("s3cret"))] {
            let actor = admin(&authorization("Bearer s3cret"), &policy).await;
            assert_eq!(actor.unwrap(), "admin-token");
        }
    }
}
