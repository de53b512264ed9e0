//! `serve`: opens the parts, starts the tasks, and stops them in order.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::outbox::OutboxRelay;
use super::process::Process;
use super::{
    aggregation, authentication, background, data_folder, edge, first_start, monitors, outbox,
    parts, payments, rewards,
};
use crate::access::limits::Limits;
use crate::config::Config;
use crate::http::{self, App};
use crate::operate::audit_retention::AuditPurger;
use crate::operate::export::Exporter;
use crate::operate::health::Need;
use crate::operate::idempotency_retention::KeyPurger;
use crate::operate::lifecycle::Lifecycle;
use crate::operate::order_retention::OrderPurger;
use crate::operate::simulate::Simulator;
use crate::operate::status::Replicas;
use crate::operate::stock_events::StockEvents;
use crate::parts::gate::{Gate, MemoryMetrics, ScriptGate};
use crate::parts::store::{Rewards, Store};
use crate::sale::admission::AdmissionBatcher;
use crate::sale::allow_list::{AllowListConfig, AllowLists};
use crate::sale::catalogue::{self, Catalogue, CatalogueConfig};
use crate::sale::changes::{self, Changes, Payments, Revocations};
use crate::sale::group_commit::{self, Writer};
use crate::sale::meter::Meter;
use crate::sale::orders::{self, OrderDependencies, Orders};
use crate::sale::participate::{Dependencies, Lookups, Participate, SyncPath};
use crate::sale::reconcile::Reconciler;
use crate::sale::relay_hints::RelayHints;

/// Serves until it is stopped.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let clock = parts::clock(&config);
    let _data_folder = data_folder::acquire(&config)?;
    let listener = parts::listener(&config)?;
    let management = parts::management_listener(&config)?;
    let store = parts::migrated_store(&config, clock.clone()).await?;
    let rewards = rewards::open_if_used(&config, &store, &clock).await?;
    let gate = parts::gate(&config, clock.clone()).await?;
    let gate = Arc::new(gate.with_breaker());

    let process = Process::new(config, clock, store).await?;
    let mut app = assemble(&process, &gate, rewards.as_ref()).await?;
    if let Some(rewards) = &rewards {
        app = reward(&process, app, rewards);
    }
    first_start::first_campaign(&process.config, &app).await?;
    let audit = AuditPurger::new(process.store.clone(), process.config.retention.clone());
    audit.start(&process.spawner);
    let keys = KeyPurger::new(
        process.store.clone(),
        process.config.idempotency.retention,
        process.config.retention.clone(),
    );
    keys.start(&process.spawner);
    let refused = OrderPurger::new(
        process.store.clone(),
        process.config.retention.refused_orders,
        process.config.retention.clone(),
    );
    refused.start(&process.spawner);
    let address = listener.local_addr()?;
    let management_address = management.as_ref().map(TcpListener::local_addr);
    let addresses = (address, management_address.transpose()?);
    first_start::announce(&process, &app, addresses);
    edge::serve(&process, app, listener, management)?;
    let ended = process.finish().await;
    if let Some(rewards) = rewards {
        rewards.close().await?;
    }
    ended
}

/// Starts the configured consumers, and lets the API show the rewards.
fn reward(process: &Process, app: App, rewards: &Rewards) -> App {
    rewards::start(process, &process.config.consumers_of_serve(), rewards);
    App {
        // Participations do not need it: their rewards are granted later.
        health: app.health.with_rewards(Some(rewards.clone()), Need::Spared),
        rewards: Some(rewards.clone()),
        ..app
    }
}

async fn assemble(
    process: &Process,
    scripts: &Arc<ScriptGate>,
    rewards: Option<&Rewards>,
) -> anyhow::Result<App> {
    let (config, store) = (&process.config, &process.store);
    let (clock, spawner) = (&process.clock, &process.spawner);
    let reads = reads(process);
    let accounts = authentication::accounts(process, &reads, scripts)?;
    let settings = http::Settings {
        auth: authentication::auth(process, &accounts).await?,
        tls: edge::tls(process).await?,
        ..edge::settings(process)?
    };
    let gate: Arc<dyn Gate> = Arc::<ScriptGate>::clone(scripts);
    let gate = &gate;
    let OutboxRelay { hints, relay } = outbox::start(process)?;
    let catalogue = catalogue_of(process)?;
    let writer = writer(process, gate, &catalogue, hints.clone());
    let changes = changes_of(process, rewards, &writer);
    let reconciler = Reconciler::new(store.clone(), Arc::clone(gate), process.spawner_here())
        .with_rebuild_interval(config.gate.rebuild_interval);
    let pricing = payments::pricing(config);
    let lifecycle = Lifecycle::new(
        store.clone(),
        catalogue.clone(),
        reconciler.clone(),
        pricing,
    )
    .with_hints(hints.clone());
    StockEvents::new(store.clone(), hints).start(spawner);
    let meter = Meter::new(clock.clone());
    let allow_lists = allow_lists(process, &catalogue);
    let sale = (&catalogue, &allow_lists, &reconciler, &meter);
    let participate = participate(process, scripts, sale, writer.clone());
    let orders = Orders::new(OrderDependencies {
        store: store.clone(),
        participate: participate.clone(),
        writer,
        payments: payments_of(process),
        clock: clock.clone(),
        spawner: process.spawner_here(),
        transactions_max: quarter(config.database.pool_size()),
    });
    orders::start_sweep(spawner, &orders, config.payment.expiry_interval);
    background::start_schedule(spawner, lifecycle.clone());
    background::start_tallies(spawner, meter.clone(), store.clone());
    start_reconciliation(process, scripts, &reconciler);
    Ok(App {
        accounts,
        aggregator: aggregation::start(process)?,
        status: monitors::status(process, gate, meter, Replicas::new(Arc::clone(scripts))),
        system: monitors::system(process, scripts, relay),
        topics: monitors::topics(process),
        health: monitors::health(process, gate),
        exporter: exporter(process),
        allow_lists,
        simulator: simulator(process, &participate),
        store: store.clone(),
        reads,
        rewards: None,
        catalogue,
        lifecycle,
        reconciler,
        limits: limits(process, scripts),
        participate,
        changes,
        orders,
        telemetry: Arc::clone(&process.telemetry),
        clock: clock.clone(),
        settings,
    })
}

fn participate(
    process: &Process,
    gate: &Arc<ScriptGate>,
    (catalogue, allow_lists, reconciler, meter): (&Catalogue, &AllowLists, &Reconciler, &Meter),
    writer: Writer,
) -> Participate {
    let (config, store) = (&process.config, &process.store);
    let (clock, spawner) = (&process.clock, &process.spawner);
    Participate::new(Dependencies {
        catalogue: catalogue.clone(),
        allow_lists: allow_lists.clone(),
        admission: admission(process, gate),
        gate: Arc::clone(gate),
        when_away: config.gate.when_away,
        writer,
        store: store.clone(),
        lookups: Lookups::start(spawner, store.clone(), config.lookups()),
        reconciler: reconciler.clone(),
        meter: meter.clone(),
        clock: clock.clone(),
        spawner: process.spawner_here(),
        key_choice: config.kafka.key,
        pricing: payments::pricing(config),
        sync: SyncPath {
            publisher: Arc::clone(&process.broker.publisher),
            permits: Arc::new(Semaphore::new(config.writer.sync_concurrency_max)),
            topic_prefix: config.kafka.topic_prefix.clone(),
            keep_offsets: config.relay.keep_offsets,
        },
    })
}

/// The store for participants' reads and log-ins: a quarter of the connections.
fn reads(process: &Process) -> Store {
    let connections = quarter(process.config.database.connections_max);
    process.store.share(connections)
}

/// A quarter of this number of connections, at least one.
fn quarter(connections: u32) -> usize {
    usize::try_from(connections / 4).unwrap_or(1).max(1)
}

fn allow_lists(process: &Process, catalogue: &Catalogue) -> AllowLists {
    let config = AllowListConfig {
        piece_timeout: process.config.http.body_timeout,
        ..process.config.allowlist
    };
    let (store, catalogue) = (process.store.clone(), catalogue.clone());
    AllowLists::start(&process.spawner_here(), store, catalogue, config)
}

fn limits(process: &Process, gate: &Arc<ScriptGate>) -> Limits {
    let limits = Limits::new(Arc::clone(gate), process.config.limits.clone());
    process
        .telemetry
        .register(|registry| limits.register(registry));
    limits
}

fn catalogue_of(process: &Process) -> anyhow::Result<Catalogue> {
    let (config, spawner) = (&process.config, &process.spawner);
    let catalogue = Catalogue::new(process.store.clone(), CatalogueConfig::default());
    Ok(match parts::redis_nodes(config)? {
        Some(nodes) => catalogue::share(spawner, nodes, &config.redis.prefix, catalogue),
        None => catalogue,
    })
}

/// Starts the tasks that keep the gate consistent with the store, and the metrics of the gate.
fn start_reconciliation(process: &Process, gate: &Arc<ScriptGate>, reconciler: &Reconciler) {
    let (config, spawner) = (&process.config, &process.spawner);
    let memory = MemoryMetrics::default();
    process.telemetry.register(|registry| {
        gate.register(registry);
        memory.register(registry);
        reconciler.metrics().register(registry);
    });
    background::start_memory(spawner, Arc::clone(gate), memory);
    background::start_sweeper(spawner, reconciler.clone(), config.gate.sweep_interval);
    background::start_probe(spawner, Arc::clone(gate), reconciler.clone());
    if gate.is_shared() {
        background::start_replica_lease(spawner, reconciler.clone());
    }
}

fn payments_of(process: &Process) -> Payments {
    Payments {
        provider: payments::provider(&process.config),
        timeout: process.config.payment.timeout,
    }
}

fn changes_of(process: &Process, rewards: Option<&Rewards>, writer: &Writer) -> Changes {
    let (config, store, spawner) = (&process.config, &process.store, &process.spawner);
    let revocations = rewards.map(|rewards| Revocations {
        store: store.clone(),
        rewards: rewards.clone(),
        suspend_max: config.rewards.suspend_max,
        contention: config.writer().contention,
    });
    let payments = payments_of(process);
    if let Some(revocations) = &revocations {
        changes::start_revocations(spawner, revocations.clone());
    }
    let (rows, here) = (store.clone(), process.spawner_here());
    let changes = Changes::new(rows, writer.clone(), here, payments, revocations);
    changes::start_expiry(spawner, &changes, config.payment.expiry_interval);
    changes
}

/// Simulated participants, if they are configured.
fn simulator(process: &Process, participate: &Participate) -> Option<Simulator> {
    let config = process.config.test;
    config.endpoints.then(|| {
        tracing::warn!("simulated participants are enabled (test.endpoints): not for production");
        let (participate, clock) = (participate.clone(), process.clock.clone());
        Simulator::new(participate, process.spawner_here(), clock, config)
    })
}

fn exporter(process: &Process) -> Exporter {
    let (store, config) = (process.store.clone(), process.config.export);
    let exporter = Exporter::new(store, process.spawner_here(), config);
    process
        .telemetry
        .register(|registry| exporter.register(registry));
    exporter
}

fn admission(process: &Process, scripts: &Arc<ScriptGate>) -> AdmissionBatcher {
    let (config, spawner) = (&process.config, &process.spawner);
    let gate: Arc<dyn Gate> = Arc::<ScriptGate>::clone(scripts);
    let admission = AdmissionBatcher::start(spawner, gate, config.admission(), config.gate.lease);
    process
        .telemetry
        .register(|registry| admission.register(registry));
    admission
}

fn writer(
    process: &Process,
    gate: &Arc<dyn Gate>,
    catalogue: &Catalogue,
    hints: RelayHints,
) -> Writer {
    let dependencies = group_commit::Dependencies {
        store: process.store.clone(),
        gate: Arc::clone(gate),
        catalogue: catalogue.clone(),
        hints,
        clock: process.clock.clone(),
        spawner: process.spawner_here(),
        key_choice: process.config.kafka.key,
    };
    let writer = Writer::start(&process.spawner, dependencies, process.config.writer());
    process
        .telemetry
        .register(|registry| writer.register(registry));
    writer
}
