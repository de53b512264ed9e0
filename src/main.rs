//! The firstcome binary: reads the arguments and the configuration, and runs a command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use firstcome::command;
use firstcome::command::confirmation::Confirmation;
use firstcome::command::verify::Form;
use firstcome::config::Config;
use firstcome::runtime::trace::Traces;

/// How long the shutdown waits for the last spans to be exported.
const TRACES_STOP: Duration = Duration::from_secs(5);

/// A participation allocates several hundred times, mostly in libraries; the system's allocator took a third of the
/// process's time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The end of `--help`: the sources of settings, and further documentation.
const HELP: &str = "\
Settings (each is also FIRSTCOME_SECTION_KEY; secrets also as FIRSTCOME_..._FILE, the name of a file):
  FIRSTCOME_DATABASE_URL          MySQL for the events; absent: SQLite in FIRSTCOME_DATA_DIR
  FIRSTCOME_REDIS_URL             Redis for the gate; absent: in this process
  FIRSTCOME_KAFKA_BROKERS         Kafka; absent: in this process
  FIRSTCOME_REWARDS_DATABASE_URL  MySQL for what participations earn
  FIRSTCOME_HTTP_LISTEN           Address and port of the API (127.0.0.1:8080)
  FIRSTCOME_ADMIN_TOKEN           Token of the admin API
  FIRSTCOME_AUTH_MODE             How participants say who they are: trusted, jwt or sessions
  FIRSTCOME_PAYMENT_ALLOW_SIMULATED  Sells priced campaigns without moving money
  FIRSTCOME_LOG_FILTER            What is logged, as in RUST_LOG

Documents, in the folder docs of the source:
  configuration.md  all settings    operating.md  running it        admin.md        admin tasks
  authentication.md authentication  runbooks/     alerts            architecture.md how it works";

/// With the commit, if the build has it: `0.2.0+COMMIT`.
const VERSION: &str = match option_env!("FIRSTCOME_BUILD_VERSION") {
    Some(version) if !version.is_empty() => version,
    _ => env!("CARGO_PKG_VERSION"),
};

/// First come, first served: coupons, points, limited drops and time deals, handed out exactly once.
#[derive(Debug, Parser)]
#[command(version = VERSION, after_help = HELP)]
struct Arguments {
    /// A TOML file with the configuration.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that wins over the file and the environment; may be given several times.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves everything: the API, the relay, the consumers, the dashboard (the default).
    Serve,
    /// Publishes the events of other processes, which need `relay.enabled=false`.
    Relay,
    /// Grants the rewards of participations, points and coupons, from the events in Kafka.
    Consume,
    /// Brings the database's schema up to date, or deletes it.
    Migrate {
        /// `up` or `down`; `down` deletes all data.
        #[arg(default_value = "up")]
        direction: command::migrate::Direction,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Verifies the invariants on a running system; exits non-zero on a violation.
    Verify(command::verify::Options),
    /// Prints the OpenAPI document.
    Openapi,
    /// Prints the schema of the configuration file, or the effective configuration.
    Config {
        #[command(flatten)]
        output: command::config::Output,
    },
    /// Prints the AsyncAPI document: the topics and their records.
    Asyncapi,
    /// Checks the real parts for settings that can silently lose data; exits non-zero if one must change.
    Doctor {
        /// Prints JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Creates, lists, changes and disables accounts for auth.mode=sessions.
    Accounts {
        #[command(subcommand)]
        action: command::accounts::Action,
    },
    /// Lists, replays or discards dead letters: events that the relay could not publish.
    DeadLetters {
        #[command(subcommand)]
        action: command::dead_letters::Action,
    },
    /// Compares the events with their records in Kafka: sends lost ones again, and lists what the database has lost.
    Outbox {
        #[command(subcommand)]
        action: command::outbox_records::Action,
    },
    /// After a restore of MySQL to an earlier moment: removes the keys in Redis, with all sessions, sets the groups of
    /// the consumers back, and raises the numbers of new campaigns and accounts.
    Restored(command::restored::Options),
}

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _armed = firstcome::runtime::failpoint::arm();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // One line that names the part, its address, and what to try.
            eprintln!("firstcome: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let load = || Ok(Config::load(arguments.config.as_deref(), &arguments.set)?);
    match &arguments.command {
        Some(Command::Openapi) => return command::openapi::run(),
        Some(Command::Asyncapi) => return command::asyncapi::run(),
        Some(Command::Config { output }) => return command::config::run(output, load),
        _ => {}
    }
    let config = load()?;
    firstcome::runtime::telemetry::subscribe(config.log.format, &config.log.filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let traces = Traces::start(&config.traces, runtime.handle().clone())?;
    let ended = runtime.block_on(run_in(arguments, config));
    if let Some(traces) = traces {
        traces.stop(TRACES_STOP);
    }
    ended
}

async fn run_in(arguments: &Arguments, config: Config) -> anyhow::Result<ExitCode> {
    match arguments.command.as_ref().unwrap_or(&Command::Serve) {
        Command::Serve => Box::pin(command::serve::run(config)).await,
        Command::Relay => Box::pin(command::relay::run(config)).await,
        Command::Consume => Box::pin(command::consume::run(config)).await,
        Command::Migrate {
            direction,
            confirmation,
        } => command::migrate::run(&config, *direction, *confirmation).await,
        Command::Verify(options) => command::verify::run(&config, options).await,
        Command::Openapi => command::openapi::run(),
        Command::Asyncapi => command::asyncapi::run(),
        Command::Config { output } => command::config::run(output, || Ok(config)),
        Command::Doctor { json } => command::doctor::run(&config, Form::of(*json)).await,
        Command::Accounts { action } => command::accounts::run(&config, action).await,
        Command::DeadLetters { action } => command::dead_letters::run(&config, action).await,
        Command::Outbox { action } => command::outbox_records::run(&config, action).await,
        Command::Restored(options) => command::restored::run(&config, options).await,
    }
}
