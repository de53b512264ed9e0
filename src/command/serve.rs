//! `serve`: opens the parts, starts what runs, and stops it in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::{aggregation, background, parts, publishing, rewarding, verifying};
use crate::admission::Desk;
use crate::catalogue::{self, Catalogue, CatalogueConfig};
use crate::changes::{self, Changes, Committer, Payments};
use crate::clock::Clock;
use crate::config::{Config, Provider};
use crate::direct::{Direct, DirectConfig};
use crate::domain::{Fresh, Kind, Reward, State, Stream};
use crate::gate::{Gate, Guarded, ScriptGate};
use crate::health::{Health, Need};
use crate::http::{self, App};
use crate::lane::LaneConfig;
use crate::lifecycle::Lifecycle;
use crate::limits::{Limits, Rates};
use crate::meter::Meter;
use crate::participate::{Participate, Parts, SyncPath, WhenAway};
use crate::payment::Simulated;
use crate::reconcile::Reconciler;
use crate::retry;
use crate::status::StatusBoard;
use crate::store::{CampaignFilter, NewCampaign, Rewards, Store};
use crate::supervisor::{Spawner, Stage, Supervisor, process_signals};
use crate::telemetry::Telemetry;
use crate::writer::{Writer, WriterConfig};

/// What must be left of a lease when a transaction begins: longer than a transaction takes, but no more
/// than a third of the lease.
const LEASE_MARGIN_MAX: Duration = Duration::from_secs(5);

/// Serves until told to stop.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let clock = Clock::System;
    let listener = parts::listener(&config).await?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let rewards = rewarding::open_if_used(&config, &store, &clock).await?;
    let buckets = parts::gate(&config, clock.clone()).await?;
    let gate = Guarded::new(Arc::<ScriptGate>::clone(&buckets));
    let broker = parts::broker(&config).await?;

    let supervisor = Supervisor::new(config.shutdown.deadline);
    let spawner = supervisor.spawner();
    let signals = process_signals(&spawner)?;
    let auth = verifying::auth(&config, &clock, &spawner).await?;
    let telemetry = Arc::new(Telemetry::new());
    let limits = limits(&config, buckets, &gate, &telemetry);
    let gate = (&gate, limits);
    let mut app = assemble(&config, &clock, &store, gate, &broker, &spawner, &telemetry)?;
    if let http::Auth::Jwt(verifier) = &auth {
        telemetry.register(|registry| verifier.metrics().register(registry));
    }
    app.settings.auth = auth;
    if let Some(rewards) = &rewards {
        app = reward(&config, app, rewards, &broker, &spawner);
    }
    first_campaign(&config, &app).await?;
    let address = listener.local_addr()?;
    announce(&config, &app, &broker.address, address);
    // Not the threads that work for participations: a flood of requests that are all refused then stands
    // in its own way, and the system sees to it that those who were let in get their share.
    let edge = spawner.on(super::threads("edge", config.http.threads)?);
    super::serve_once(&edge, http::serve(listener, Arc::new(app)));
    let ended = super::finish(supervisor, signals, &store).await;
    if let Some(rewards) = rewards {
        rewards.close().await?;
    }
    ended
}

/// Starts the consumers, if there are to be some here, and shows what they grant.
fn reward(
    config: &Config,
    app: App,
    rewards: &Rewards,
    broker: &parts::Broker,
    spawner: &Spawner,
) -> App {
    let consumers = config.consumers_of_serve();
    let parts = (&app.store, rewards, broker);
    rewarding::start(config, &consumers, parts, spawner, &app.telemetry);
    App {
        // Participations are made without it, and what they earn is granted later.
        health: app.health.with_rewards(Some(rewards.clone()), Need::Spared),
        rewards: Some(rewards.clone()),
        ..app
    }
}

fn assemble(
    config: &Config,
    clock: &Clock,
    store: &Store,
    (guarded, limits): (&Arc<Guarded>, Limits),
    broker: &parts::Broker,
    spawner: &Spawner,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<App> {
    let publisher = &broker.publisher;
    let gate: Arc<dyn Gate> = Arc::<Guarded>::clone(guarded);
    let gate = &gate;
    let hints = publishing::start(config, clock, store, publisher, spawner, telemetry)?;
    let catalogue = catalogue_of(config, store, spawner)?;
    let changes = changes_of(config, store, gate, &catalogue, hints.clone(), spawner);
    let reconciler = Reconciler::new(store.clone(), Arc::clone(gate));
    let lifecycle = Lifecycle::new(
        store.clone(),
        catalogue.clone(),
        reconciler.clone(),
        clock.clone(),
    );
    let meter = Meter::new(clock.clone());
    let writer = writer_config(config);
    let participate = Participate::new(Parts {
        catalogue: catalogue.clone(),
        desk: Desk::start(
            spawner,
            Arc::clone(gate),
            desk_lanes(config),
            config.gate.lease,
        ),
        gate: Arc::clone(guarded),
        direct: Direct::start(
            spawner,
            store.clone(),
            clock.clone(),
            hints.clone(),
            direct_config(config),
        ),
        when_away: config.gate.when_away,
        writer: Writer::start(spawner, store.clone(), Arc::clone(gate), hints, writer),
        store: store.clone(),
        reconciler: reconciler.clone(),
        meter: meter.clone(),
        clock: clock.clone(),
        // What comes in on the edge's threads is worked on here.
        spawner: spawner.on(Handle::current()),
        key_choice: config.kafka.key,
        sync: SyncPath {
            publisher: Arc::clone(publisher),
            permits: Semaphore::new(config.writer.sync_concurrency_max),
            topic_prefix: config.kafka.topic_prefix.clone(),
        },
    });
    background::start_schedule(spawner, lifecycle.clone());
    background::start_tallies(spawner, meter.clone(), store.clone());
    keep_in_step(config, spawner, guarded, &reconciler, telemetry);
    let topic = Stream::Participation.topic(&config.kafka.topic_prefix);
    Ok(App {
        aggregator: aggregation::start(config, clock, store, spawner, telemetry)?,
        status: StatusBoard::new(store.clone(), Arc::clone(gate), meter),
        health: Health::new(
            store.clone(),
            Some((Arc::clone(gate), gate_need(config))),
            // Without the broker, events wait in the outbox.
            (Arc::clone(publisher), Need::Spared),
            topic,
        ),
        store: store.clone(),
        rewards: None,
        catalogue,
        lifecycle,
        reconciler,
        limits,
        participate,
        changes,
        telemetry: Arc::clone(telemetry),
        clock: clock.clone(),
        settings: http_settings(config, spawner)?,
    })
}

fn limits(
    config: &Config,
    buckets: Arc<ScriptGate>,
    guard: &Arc<Guarded>,
    telemetry: &Telemetry,
) -> Limits {
    let rates = Rates {
        address: config.limits.address,
        user: config.limits.user,
        campaign: config.limits.campaign,
    };
    let limits = Limits::new(buckets, Arc::clone(guard), rates);
    telemetry.register(|registry| limits.register(registry));
    limits
}

fn catalogue_of(config: &Config, store: &Store, spawner: &Spawner) -> anyhow::Result<Catalogue> {
    let catalogue = Catalogue::new(store.clone(), CatalogueConfig::default());
    Ok(match parts::redis_client(config)? {
        Some(client) => catalogue::share(spawner, client, &config.redis.prefix, catalogue),
        None => catalogue,
    })
}

fn keep_in_step(
    config: &Config,
    spawner: &Spawner,
    gate: &Arc<Guarded>,
    reconciler: &Reconciler,
    telemetry: &Telemetry,
) {
    telemetry.register(|registry| {
        gate.register(registry);
        reconciler.metrics().register(registry);
    });
    background::start_sweeper(spawner, reconciler.clone(), config.gate.sweep_interval);
    background::start_probe(spawner, Arc::clone(gate), reconciler.clone());
}

fn changes_of(
    config: &Config,
    store: &Store,
    gate: &Arc<dyn Gate>,
    catalogue: &Catalogue,
    wake: Option<mpsc::Sender<Fresh>>,
    spawner: &Spawner,
) -> Changes {
    let writer = writer_config(config);
    let committer = Committer {
        store: store.clone(),
        gate: Arc::clone(gate),
        catalogue: catalogue.clone(),
        wake,
        spawner: spawner.on(Handle::current()),
        key_choice: config.kafka.key,
        contention: writer.contention,
    };
    let payments = Payments {
        provider: match config.payment.provider {
            Provider::Simulated => Arc::new(Simulated),
        },
        timeout: config.payment.timeout,
    };
    let changes = Changes::start(spawner, committer, payments, writer.lanes);
    changes::start_expiry(spawner, &changes, config.payment.expiry_interval);
    changes
}

/// Without the gate the database admits, if it may.
fn gate_need(config: &Config) -> Need {
    match config.gate.when_away {
        WhenAway::Database => Need::Spared,
        WhenAway::Refuse => Need::Needed,
    }
}

fn desk_lanes(config: &Config) -> LaneConfig {
    LaneConfig {
        batch_max: config.gate.batch_max,
        ..writer_config(config).lanes
    }
}

fn writer_config(config: &Config) -> WriterConfig {
    WriterConfig {
        lanes: LaneConfig {
            count: config.writer.lanes,
            capacity: config.writer.capacity,
            batch_max: config.writer.batch_rows_max,
            wait_max: config.writer.wait_max,
        },
        lease_margin: LEASE_MARGIN_MAX.min(config.gate.lease / 3),
        contention: retry::Policy {
            initial: Duration::from_millis(5),
            max: Duration::from_millis(200),
            multiplier: 2.0,
            attempts_max: 6,
        },
    }
}

fn direct_config(config: &Config) -> DirectConfig {
    let writer = writer_config(config);
    DirectConfig {
        lanes: LaneConfig {
            capacity: config.gate.away_capacity,
            ..writer.lanes
        },
        contention: writer.contention,
        transaction_max: writer.lease_margin,
        key_choice: config.kafka.key,
    }
}

fn http_settings(config: &Config, spawner: &Spawner) -> anyhow::Result<http::Settings> {
    Ok(http::Settings {
        admin_token: parts::admin_token(config)?,
        header_bytes_max: config.http.header_bytes_max,
        headers_max: config.http.headers_max,
        body_bytes_max: config.http.body_bytes_max,
        connections_max: config.http.connections_max,
        head_timeout: config.http.head_timeout,
        body_timeout: config.http.body_timeout,
        request_timeout: config.http.request_timeout,
        concurrent_requests_max: config.http.concurrent_requests_max,
        concurrent_streams_max: config.http.concurrent_streams_max,
        idle_timeout: config.http.idle_timeout,
        embedded_parts: config.embedded_parts(),
        proxies: config.http.trusted_proxies.clone(),
        stop: spawner.token(Stage::Http),
        ..http::Settings::default()
    })
}

/// With everything embedded, somebody is trying it out: gives them a campaign to try.
async fn first_campaign(config: &Config, app: &App) -> anyhow::Result<()> {
    let any = CampaignFilter {
        states: Vec::new(),
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
    app.lifecycle.create(campaign).await?;
    Ok(())
}

fn announce(config: &Config, app: &App, broker: &str, address: std::net::SocketAddr) {
    tracing::info!(%address, "ready");
    let embedded = config.embedded_parts();
    if embedded.is_empty() {
        return;
    }
    tracing::warn!(
        embedded = embedded.join(", "),
        data = %config.data.dir.display(),
        "EMBEDDED MODE: these parts run inside this process; fine for trying out, not for production"
    );
    tracing::info!("Swagger UI  http://{address}/swagger-ui");
    tracing::info!("Dashboard   http://{address}/dashboard");
    tracing::info!("Kafka       {broker}");
    if let (None, Some(token)) = (&config.admin.token, &app.settings.admin_token) {
        // The one secret that is printed: it was made here, for whoever started this.
        tracing::info!("Admin token {}", token.expose_secret());
    }
}
