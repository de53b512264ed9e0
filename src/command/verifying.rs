//! Makes ready what verifies tokens, where participants show one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;

use super::parts::within;
use crate::clock::Clock;
use crate::config::{Auth, Config, Mode};
use crate::http;
use crate::identity::{KeySet, Keys, Pace, Place, Refreshed, Rules, Source, Verifier, trust};
use crate::supervisor::Spawner;

/// How participants say who they are. Keys that are elsewhere are fetched before anybody is served.
pub(super) async fn auth(
    config: &Config,
    clock: &Clock,
    spawner: &Spawner,
) -> anyhow::Result<http::Auth> {
    let auth = &config.auth;
    if auth.mode == Mode::Trusted {
        return Ok(http::Auth::Trusted);
    }
    let rules = Rules {
        issuer: auth.issuer.clone().unwrap_or_default(),
        audience: auth.audience.clone().unwrap_or_default(),
        algorithms: auth.accepted(),
        clock_skew: auth.clock_skew,
    };
    let keys = keys(auth, spawner).await?;
    Ok(http::Auth::Jwt(Arc::new(Verifier::new(
        rules,
        keys,
        clock.clone(),
    ))))
}

async fn keys(auth: &Auth, spawner: &Spawner) -> anyhow::Result<Keys> {
    if let Some(secret) = &auth.jwt_secret {
        let keys = KeySet::of_secret(secret.expose_secret().as_bytes());
        return Ok(Keys::Fixed(Arc::new(keys.context("auth.jwt_secret")?)));
    }
    let algorithms = auth.accepted();
    if let Some(document) = &auth.jwks {
        let keys = KeySet::of_document(document.as_bytes(), &algorithms);
        return Ok(Keys::Fixed(Arc::new(keys.context("auth.jwks")?)));
    }
    let url = auth.jwks_url.as_deref().unwrap_or_default();
    let place = Place::parse(url).context("auth.jwks_url")?;
    let roots = trust(auth.jwks_ca.as_deref()).context("auth.jwks_ca")?;
    let bounds = (auth.jwks_timeout, auth.jwks_bytes_max);
    let source = Source::new(place, roots, algorithms, bounds).context("auth.jwks_url")?;
    let often = Pace {
        refresh: auth.jwks_refresh,
        refresh_min: auth.jwks_refresh_min,
        // A fetch that is under way already, and one's own.
        wait_max: auth.jwks_timeout + Duration::from_millis(500),
    };
    let refreshed = within(Refreshed::start(source, often, spawner)).await;
    let refreshed = refreshed.with_context(|| {
        format!("cannot fetch the keys of tokens from {url} (is it up, and is FIRSTCOME_AUTH_JWKS_URL right?)")
    })?;
    Ok(Keys::Refreshed(refreshed))
}
