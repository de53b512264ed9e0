//! The first start on embedded parts: creates a campaign, and logs the addresses to open and the admin token.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use super::process::Process;
use crate::config::Config;
use crate::domain::{Kind, Reward, State};
use crate::http::App;
use crate::parts::store::{CampaignFilter, NewCampaign, States};

/// Creates a campaign to try, if everything is embedded and there is none.
pub(super) async fn first_campaign(config: &Config, app: &App) -> anyhow::Result<()> {
    let any = CampaignFilter {
        states: States::Any,
        kind: None,
        after: None,
        limit: 1,
    };
    if config.embedded_parts().len() < 3 || !app.store.campaigns(&any).await?.is_empty() {
        return Ok(());
    }
    let campaign = NewCampaign {
        name: "First come, first served".to_owned(),
        description:
            "A thousand times a hundred points, one each. Made at the first start, to try out."
                .to_owned(),
        kind: Kind::Points,
        state: State::Open,
        total_stock: Some(1_000),
        per_user_limit: 1,
        max_quantity: 1,
        price: None,
        hold_seconds: 120,
        opens_at: None,
        closes_at: None,
        reward: Some(Reward::Points(100)),
        cancellable: false,
    };
    app.lifecycle.create(campaign, None).await?;
    Ok(())
}

/// Logs that the service is ready and, on embedded parts, its addresses.
pub(super) fn announce(
    process: &Process,
    app: &App,
    (address, management): (SocketAddr, Option<SocketAddr>),
) {
    let config = &process.config;
    if let Some(management) = management {
        tracing::info!(listen = %management, "management listener");
    }
    tracing::info!(%address, "ready");
    let pages = management.unwrap_or(address);
    let embedded = config.embedded_parts();
    if embedded.is_empty() {
        return;
    }
    tracing::warn!(
        embedded = embedded.join(", "),
        data = %config.data.dir.display(),
        "EMBEDDED MODE: these parts run inside this process; fine for trying out, not for production"
    );
    let scheme = if app.settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!("Swagger UI  {scheme}://{pages}/swagger-ui");
    tracing::info!("Kafka       {}", process.broker.address);
    let dashboard = format!("{scheme}://{pages}/dashboard");
    if let (None, Some(token)) = (&config.admin.token, &app.settings.admin_token) {
        // The only secret that is logged: it was generated for the user who started the service. Browsers do not send
        // the part after the #, and the page removes it from its address at once.
        let token = token.expose_secret();
        tracing::info!("Admin token {token}");
        tracing::info!("Dashboard   {dashboard}#token={token}");
    } else {
        tracing::info!("Dashboard   {dashboard}");
    }
}
