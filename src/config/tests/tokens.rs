//! The settings of tokens, and secrets.

use super::*;

const JWT: (&str, &str) = ("FIRSTCOME_AUTH_MODE", "jwt");
const ISSUER: (&str, &str) = ("FIRSTCOME_AUTH_ISSUER", "https://issuer.example");
const AUDIENCE: (&str, &str) = ("FIRSTCOME_AUTH_AUDIENCE", "firstcome");
const SECRET: (&str, &str) = (
    "FIRSTCOME_AUTH_JWT_SECRET",
    "12345678901234567890123456789012",
);
const PLACE: (&str, &str) = ("FIRSTCOME_AUTH_JWKS_URL", "https://issuer.example/keys");

#[test]
fn requests_with_a_token_may_come_from_any_site() {
    let open = ("FIRSTCOME_HTTP_LISTEN", "0.0.0.0:80");
    for keys in [SECRET, PLACE] {
        assert!(load(&[JWT, ISSUER, AUDIENCE, keys, open]).is_ok());
    }
    let mistakes = rejected(&[open]);
    assert!(matches!(&mistakes[..], [one] if one.starts_with("http.listen: ")));
    assert!(load(&[open, ("FIRSTCOME_HTTP_ALLOW_TRUSTED", "true")]).is_ok());
}

#[test]
fn accepted_algorithms_default_to_those_of_the_keys() {
    let accepted = |more: &[(&str, &str)]| {
        let variables = [&[JWT, ISSUER, AUDIENCE][..], more].concat();
        load(&variables).unwrap().auth.accepted()
    };
    assert_eq!(accepted(&[SECRET]), [Hs256]);
    assert_eq!(accepted(&[PLACE]), [Rs256, Es256, EdDsa]);
    let named = ("FIRSTCOME_AUTH_ALGORITHMS", "EdDSA, RS256");
    assert_eq!(accepted(&[PLACE, named]), [EdDsa, Rs256]);
}

#[test]
fn all_errors_in_the_settings_of_tokens_are_named() {
    let check = |variables: &[(&str, &str)], mistake: &str| {
        let mistakes = rejected(variables);
        let named = mistakes.iter().any(|one| one.starts_with(mistake));
        assert!(named, "{variables:?}: {mistakes:?}");
    };
    let short = ("FIRSTCOME_AUTH_JWT_SECRET", &SECRET.1[..31]);
    let no_keys = "auth.jwt_secret, auth.jwks, auth.jwks_url: ";
    check(&[JWT, AUDIENCE, PLACE], "auth.issuer: ");
    check(&[JWT, ISSUER, PLACE], "auth.audience: ");
    check(&[JWT, ISSUER, AUDIENCE], no_keys);
    check(&[JWT, ISSUER, AUDIENCE, short], "auth.jwt_secret: ");
    check(&[ISSUER], "auth.issuer: ");
    check(&[SECRET], "auth.jwt_secret: ");
    check(&[PLACE], "auth.jwks_url: ");
    for (key, value) in [
        ("jwks_url", "http://issuer.example"),
        ("jwks_ca", "none"),
        ("algorithms", "none"),
        ("algorithms", ""),
        ("algorithms", "HS256"),
        ("algorithms", "RS256,HS256"),
        ("clock_skew", "6m"),
        ("jwks_refresh", "0s"),
        ("jwks_refresh_min", "6m"),
        ("jwks_timeout", "0s"),
        ("jwks_bytes_max", "1"),
        ("mode", "open"),
    ] {
        let variable = format!("FIRSTCOME_AUTH_{}", key.to_uppercase());
        let variables = [JWT, ISSUER, AUDIENCE, PLACE, (&variable, value)];
        check(&variables, &format!("auth.{key}: "));
    }
}

#[test]
fn all_keys_are_of_one_kind_and_at_least_one_is_usable() {
    let both = [JWT, ISSUER, AUDIENCE, PLACE, SECRET];
    assert!(load(&both).is_err(), "two kinds of keys");
    let keys = [
        JWT,
        ISSUER,
        AUDIENCE,
        ("FIRSTCOME_AUTH_JWKS", "{\"keys\": []}"),
    ];
    let mistakes = rejected(&keys);
    assert!(
        matches!(&mistakes[..], [one] if one.starts_with("auth.jwks: ")),
        "{mistakes:?}"
    );
}

#[test]
fn a_secret_is_never_printed() {
    let config = load(&[
        ("FIRSTCOME_ADMIN_TOKEN", "hush, the admin token"),
        ("FIRSTCOME_DATABASE_URL", "mysql://u:hush@h/d"),
        JWT,
        ISSUER,
        AUDIENCE,
        (
            "FIRSTCOME_AUTH_JWT_SECRET",
            "hush, this is the secret of tokens",
        ),
        ("FIRSTCOME_ALERTS_WEBHOOK_URL", "https://h/hush"),
        ("FIRSTCOME_ALERTS_SLACK_URL", "https://h/hush"),
        ("FIRSTCOME_ALERTS_SMTP_URL", "smtps://u:hush@h"),
        ("FIRSTCOME_ALERTS_MAIL_FROM", "a@example.com"),
        ("FIRSTCOME_ALERTS_MAIL_TO", "b@example.com"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}
