//! The settings of cookies, origins and transport security.

use super::*;

#[test]
fn cookies_are_secure_except_on_loopback() {
    let is_secure = |more: &[(&str, &str)], address: &str| {
        let mode = [("FIRSTCOME_AUTH_MODE", "sessions")];
        let mut config = load(&[&mode, more].concat()).unwrap();
        config.http.listen = (address.parse::<std::net::IpAddr>().unwrap(), 80).into();
        config.is_cookie_secure()
    };
    assert!(!is_secure(&[], "127.0.0.1") && !is_secure(&[], "::1"));
    assert!(is_secure(&[], "0.0.0.0") && is_secure(&[], "192.0.2.1"));
    let cookie_secure = |value| [("FIRSTCOME_ACCOUNTS_COOKIE_SECURE", value)];
    assert!(is_secure(&cookie_secure("true"), "127.0.0.1"));
    assert!(!is_secure(&cookie_secure("false"), "192.0.2.1"));
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    assert!(is_secure(&[at_proxy], "127.0.0.1"));
    let unless = ("FIRSTCOME_ACCOUNTS_COOKIE_SECURE", "false");
    assert!(!is_secure(&[at_proxy, unless], "127.0.0.1"));
}

#[test]
fn allowed_origins_are_exact_and_with_secure_cookies_encrypted() {
    let origins = |text| ("FIRSTCOME_HTTP_CORS_ORIGINS", text);
    assert!(load(&[]).unwrap().http.cors_origins.is_empty());
    let config = load(&[origins("https://a.example,http://localhost:5173")]).unwrap();
    assert!(!config.http.cors_origins.is_empty());
    for wrong in ["*", "null", "shop.example", "https://shop.example/"] {
        let mistakes = rejected(&[origins(wrong)]);
        assert!(
            mistakes
                .iter()
                .any(|mistake| mistake.contains("http.cors_origins")),
            "{mistakes:?}"
        );
    }
    let age = ("FIRSTCOME_HTTP_CORS_MAX_AGE", "25h");
    assert!(rejected(&[age])[0].contains("http.cors_max_age"));
    let sessions = ("FIRSTCOME_AUTH_MODE", "sessions");
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    let plain = origins("https://a.example,http://b.example");
    assert!(
        load(&[sessions, plain]).is_ok(),
        "plain cookies, on loopback"
    );
    let mistakes = rejected(&[sessions, at_proxy, plain]);
    assert!(mistakes[0].contains("http.cors_origins"), "{mistakes:?}");
    assert!(load(&[sessions, at_proxy, origins("https://a.example")]).is_ok());
}

#[test]
fn responses_over_tls_have_strict_transport_security() {
    let max_age = |more: &[(&str, &str)]| load(more).unwrap().http.strict_transport();
    let at_proxy = ("FIRSTCOME_HTTP_TLS_AT_PROXY", "true");
    let age = |text| ("FIRSTCOME_HTTP_HSTS_MAX_AGE", text);
    assert_eq!(max_age(&[]), None);
    assert_eq!(max_age(&[age("1d")]), None);
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(max_age(&[at_proxy]), Some(year));
    assert_eq!(max_age(&[at_proxy, age("0s")]), None);
    let mistakes = rejected(&[age("731d")]);
    assert!(mistakes[0].contains("http.hsts_max_age"), "{mistakes:?}");
}
