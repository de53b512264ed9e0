//! Prepares authentication: verified tokens, or sessions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;

use super::parts::within;
use super::process::Process;
use crate::access::accounts::Accounts;
use crate::access::identity::{
    KeyLocation, KeySet, Keys, Pace, RefreshedKeys, Rules, Source, Verifier, trust,
};
use crate::config::{Auth, Config, Mode};
use crate::http::{self, Cookies};
use crate::parts::gate::ScriptGate;
use crate::parts::store::Store;
use crate::runtime::supervisor::Spawner;

/// The authentication of participants. Remote keys are fetched before the service accepts requests.
pub(super) async fn auth(
    process: &Process,
    accounts: &Arc<Accounts>,
) -> anyhow::Result<http::Auth> {
    let config = &process.config;
    let auth = &config.auth;
    match auth.mode {
        Mode::Trusted => return Ok(http::Auth::Trusted),
        Mode::Sessions => return Ok(http::Auth::Sessions(Arc::clone(accounts), cookies(config))),
        Mode::Jwt => {}
    }
    let rules = Rules {
        issuer: auth.issuer.clone().unwrap_or_default(),
        audience: auth.audience.clone().unwrap_or_default(),
        algorithms: auth.accepted(),
        types: auth.types(),
        clock_skew: auth.clock_skew,
    };
    let keys = keys(auth, &process.spawner).await?;
    let verifier = Verifier::new(rules, keys, process.clock.clone());
    let metrics = verifier.metrics();
    process
        .telemetry
        .register(|registry| metrics.register(registry));
    Ok(http::Auth::Jwt(Arc::new(verifier)))
}

/// The accounts and their sessions.
pub(super) fn accounts(
    process: &Process,
    reads: &Store,
    sessions: &Arc<ScriptGate>,
) -> anyhow::Result<Arc<Accounts>> {
    let config = &process.config;
    let accounts = Accounts::new(
        (process.store.clone(), reads.clone()),
        Arc::clone(sessions),
        config.accounts.clone(),
        config.http.request_timeout,
    )?;
    let accounts = accounts.with_messages(process.spawner_here())?;
    process
        .telemetry
        .register(|registry| accounts.metrics().register(registry));
    Ok(Arc::new(accounts))
}

fn cookies(config: &Config) -> Cookies {
    if config.is_cookie_secure() {
        Cookies::Secure
    } else {
        Cookies::Plain
    }
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
    let place = KeyLocation::parse(url).context("auth.jwks_url")?;
    let roots = trust(auth.jwks_ca.as_deref()).context("auth.jwks_ca")?;
    let bounds = (auth.jwks_timeout, auth.jwks_bytes_max);
    let source = Source::new(place, roots, algorithms, bounds).context("auth.jwks_url")?;
    let often = Pace {
        refresh: auth.jwks_refresh,
        refresh_min: auth.jwks_refresh_min,
        // A fetch that is already in progress, and the one of this request.
        wait_max: auth.jwks_timeout + Duration::from_millis(500),
    };
    let refreshed = within(RefreshedKeys::start(source, often, spawner)).await;
    let refreshed = refreshed.with_context(|| {
        format!("cannot fetch the keys of tokens from {url} (is it up, and is FIRSTCOME_AUTH_JWKS_URL right?)")
    })?;
    Ok(Keys::Refreshed(refreshed))
}
