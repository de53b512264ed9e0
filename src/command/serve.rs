//! `serve`: opens the parts, starts what runs, and stops it in order.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::outbox::OutboxRelay;
use super::{
    aggregation, authentication, background, data_folder, edge, first_start, monitors, outbox,
    parts, payments, rewards,
};
use crate::access::accounts::Accounts;
use crate::access::limits::Limits;
use crate::config::Config;
use crate::http::{self, App};
use crate::operate::audit_retention::Keeper;
use crate::operate::export::Exporter;
use crate::operate::health::Need;
use crate::operate::idempotency_retention::KeyKeeper;
use crate::operate::lifecycle::Lifecycle;
use crate::operate::simulate::Simulator;
use crate::operate::status::Replicas;
use crate::parts::gate::{Gate, MemoryMetrics, ScriptGate};
use crate::parts::store::{Rewards, Store};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::{Spawner, Supervisor, process_signals};
use crate::runtime::telemetry::Telemetry;
use crate::sale::admission::AdmissionBatcher;
use crate::sale::allow_list::{AllowListConfig, AllowLists};
use crate::sale::catalogue::{self, Catalogue, CatalogueConfig};
use crate::sale::changes::{self, Changes, Committer, Payments, Revocations};
use crate::sale::direct::Direct;
use crate::sale::group_commit::Writer;
use crate::sale::meter::Meter;
use crate::sale::participate::{Dependencies, Lookups, Participate, SyncPath};
use crate::sale::reconcile::Reconciler;
use crate::sale::relay_hints::RelayHints;

/// Serves until it is stopped.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let clock = parts::clock(&config);
    let _data_folder = data_folder::hold(&config)?;
    let listener = parts::listener(&config)?;
    let management = parts::management_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let rewards = rewards::open_if_used(&config, &store, &clock).await?;
    let gate = parts::gate(&config, clock.clone()).await?;
    let gate = Arc::new(gate.with_breaker());
    let broker = parts::broker(&config).await?;

    let supervisor = Supervisor::new(config.shutdown.deadline);
    let spawner = supervisor.spawner();
    let signals = process_signals(&spawner)?;
    let telemetry = Arc::new(Telemetry::new());
    let reads = reads(&config, &store);
    let accounts = authentication::accounts(&config, (&store, &reads), &gate, &telemetry)?;
    let auth = authentication::auth(&config, &clock, &spawner, &accounts).await?;
    let replicas = Replicas::new(Arc::clone(&gate));
    let memory = MemoryMetrics::default();
    telemetry.register(|registry| memory.register(registry));
    background::start_memory(&spawner, Arc::clone(&gate), memory);
    let limits = limits(&config, &gate, &telemetry);
    let gate = (&gate, limits, accounts, replicas);
    let stores = (&store, reads, rewards.as_ref());
    let mut app = assemble(&config, &clock, stores, gate, &broker, &spawner, &telemetry)?;
    if let http::Auth::Jwt(verifier) = &auth {
        telemetry.register(|registry| verifier.metrics().register(registry));
    }
    app.settings.auth = auth;
    app.settings.tls = edge::tls(&config, &spawner).await?;
    if let Some(rewards) = &rewards {
        app = reward(&config, app, rewards, &broker, &spawner);
    }
    first_start::first_campaign(&config, &app).await?;
    Keeper::new(store.clone(), config.audit_retention()).start(&spawner);
    KeyKeeper::new(store.clone(), config.idempotency_retention()).start(&spawner);
    let address = listener.local_addr()?;
    let management_address = management
        .as_ref()
        .map(TcpListener::local_addr)
        .transpose()?;
    first_start::announce(
        &config,
        &app,
        &broker.address,
        (address, management_address),
    );
    edge::serve(&config, &spawner, app, listener, management)?;
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
    rewards::start(config, &consumers, parts, spawner, &app.telemetry);
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
    (store, reads, rewards): (&Store, Store, Option<&Rewards>),
    (scripts, limits, accounts, replicas): (&Arc<ScriptGate>, Limits, Arc<Accounts>, Replicas),
    broker: &parts::Broker,
    spawner: &Spawner,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<App> {
    let publisher = &broker.publisher;
    let gate: Arc<dyn Gate> = Arc::<ScriptGate>::clone(scripts);
    let gate = &gate;
    let OutboxRelay { hints, relay } =
        outbox::start(config, clock, store, publisher, spawner, telemetry)?;
    let catalogue = catalogue_of(config, store, spawner)?;
    let stores = (store, rewards);
    let changes = changes_of(config, stores, gate, &catalogue, hints.clone(), spawner);
    let reconciler = Reconciler::new(store.clone(), Arc::clone(gate))
        .with_rebuild_interval(config.gate.rebuild_interval);
    let lifecycle = lifecycle(config, store, &catalogue, &reconciler);
    let meter = Meter::new(clock.clone());
    let (admission, writer) = group_commit(config, store, gate, hints.clone(), spawner, telemetry);
    let allow_lists = allow_lists(config, store, &catalogue, spawner);
    let participate = Participate::new(Dependencies {
        catalogue: catalogue.clone(),
        allow_lists: allow_lists.clone(),
        admission,
        gate: Arc::clone(scripts),
        direct: Direct::start(
            spawner,
            store.clone(),
            clock.clone(),
            hints,
            config.direct(),
        ),
        when_away: config.gate.when_away,
        writer,
        store: store.clone(),
        lookups: Lookups::start(spawner, store.clone(), config.lookups()),
        reconciler: reconciler.clone(),
        meter: meter.clone(),
        clock: clock.clone(),
        // What comes in on the edge's threads is worked on here.
        spawner: spawner.on(Handle::current()),
        key_choice: config.kafka.key,
        pricing: payments::pricing(config),
        sync: SyncPath {
            publisher: Arc::clone(publisher),
            permits: Semaphore::new(config.writer.sync_concurrency_max),
            topic_prefix: config.kafka.topic_prefix.clone(),
        },
    });
    background::start_schedule(spawner, lifecycle.clone());
    background::start_tallies(spawner, meter.clone(), store.clone());
    keep_in_step(config, spawner, scripts, &reconciler, telemetry);
    Ok(App {
        accounts,
        aggregator: aggregation::start(config, clock, store, spawner, telemetry)?,
        status: monitors::status(store, gate, (meter, replicas), spawner, telemetry),
        system: monitors::system(store, scripts, relay, clock, telemetry),
        topics: monitors::topics(config, broker, clock),
        health: monitors::health(config, store, gate, publisher)
            .with_clock(monitors::skew(store, spawner, telemetry)),
        exporter: exporter(config, store, spawner, telemetry),
        allow_lists,
        simulator: simulator(config, &participate, clock, spawner),
        store: store.clone(),
        reads,
        rewards: None,
        catalogue,
        lifecycle,
        reconciler,
        limits,
        participate,
        changes,
        telemetry: Arc::clone(telemetry),
        clock: clock.clone(),
        settings: edge::settings(config, spawner, telemetry)?,
    })
}

/// The store for participants' reads and log-ins: one of four connections.
fn reads(config: &Config, store: &Store) -> Store {
    let connections = config.database.connections_max / 4;
    store.share(usize::try_from(connections).unwrap_or(1).max(1))
}

fn allow_lists(
    config: &Config,
    store: &Store,
    catalogue: &Catalogue,
    spawner: &Spawner,
) -> AllowLists {
    AllowLists::start(
        &spawner.on(Handle::current()),
        store.clone(),
        catalogue.clone(),
        AllowListConfig {
            piece_timeout: config.http.body_timeout,
            ..config.allowlist
        },
    )
}

fn limits(config: &Config, gate: &Arc<ScriptGate>, telemetry: &Telemetry) -> Limits {
    let limits = Limits::new(Arc::clone(gate), config.limits.clone());
    telemetry.register(|registry| limits.register(registry));
    limits
}

fn catalogue_of(config: &Config, store: &Store, spawner: &Spawner) -> anyhow::Result<Catalogue> {
    let catalogue = Catalogue::new(store.clone(), CatalogueConfig::default());
    Ok(match parts::redis_nodes(config)? {
        Some(nodes) => catalogue::share(spawner, nodes, &config.redis.prefix, catalogue),
        None => catalogue,
    })
}

fn keep_in_step(
    config: &Config,
    spawner: &Spawner,
    gate: &Arc<ScriptGate>,
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
    (store, rewards): (&Store, Option<&Rewards>),
    gate: &Arc<dyn Gate>,
    catalogue: &Catalogue,
    hints: RelayHints,
    spawner: &Spawner,
) -> Changes {
    let writer = config.writer();
    let committer = Committer {
        store: store.clone(),
        gate: Arc::clone(gate),
        catalogue: catalogue.clone(),
        hints,
        spawner: spawner.on(Handle::current()),
        key_choice: config.kafka.key,
        contention: writer.contention,
    };
    let revocations = rewards.map(|rewards| Revocations {
        store: store.clone(),
        rewards: rewards.clone(),
        suspend_max: config.rewards.suspend_max,
        contention: writer.contention,
    });
    let payments = Payments {
        provider: payments::provider(config),
        timeout: config.payment.timeout,
    };
    if let Some(revocations) = &revocations {
        changes::start_revocations(spawner, revocations.clone());
    }
    let changes = Changes::start(spawner, committer, payments, revocations, writer.lanes);
    changes::start_expiry(spawner, &changes, config.payment.expiry_interval);
    changes
}

fn lifecycle(
    config: &Config,
    store: &Store,
    catalogue: &Catalogue,
    reconciler: &Reconciler,
) -> Lifecycle {
    Lifecycle::new(
        store.clone(),
        catalogue.clone(),
        reconciler.clone(),
        payments::pricing(config),
    )
}

/// Simulated participants, if they are configured.
fn simulator(
    config: &Config,
    participate: &Participate,
    clock: &Clock,
    spawner: &Spawner,
) -> Option<Simulator> {
    config.test.endpoints.then(|| {
        tracing::warn!("simulated participants are on (test.endpoints): not for production");
        let spawner = spawner.on(Handle::current());
        Simulator::new(participate.clone(), spawner, clock.clone(), config.test)
    })
}

fn exporter(config: &Config, store: &Store, spawner: &Spawner, telemetry: &Telemetry) -> Exporter {
    let spawner = spawner.on(Handle::current());
    let exporter = Exporter::new(store.clone(), spawner, config.export);
    telemetry.register(|registry| exporter.register(registry));
    exporter
}

/// The batchers of admissions and of commits.
fn group_commit(
    config: &Config,
    store: &Store,
    gate: &Arc<dyn Gate>,
    hints: RelayHints,
    spawner: &Spawner,
    telemetry: &Telemetry,
) -> (AdmissionBatcher, Writer) {
    let admission = AdmissionBatcher::start(
        spawner,
        Arc::clone(gate),
        config.admission(),
        config.gate.lease,
    );
    let writer = Writer::start(
        spawner,
        store.clone(),
        Arc::clone(gate),
        hints,
        config.writer(),
    );
    telemetry.register(|registry| {
        admission.register(registry);
        writer.register(registry);
    });
    (admission, writer)
}
