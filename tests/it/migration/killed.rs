//! `firstcome migrate` on MySQL, as a process that is killed at each of its statements: once when MySQL has answered the
//! statement, and once while MySQL executes it. The next process completes the schema, also beside another one.
//!
//! A proxy in front of MySQL reads the commands of the process, so the kill is exact.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::DbBackend;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::Empty;
use crate::service::process::command;

/// Longest run of one process.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Databases that are migrated at the same time.
const CONCURRENT: usize = 4;

/// The moment at which the process is killed, by the number of its changing statement, from 1 on.
#[derive(Clone, Copy)]
enum Kill {
    Never,
    /// MySQL has executed the statement; its answer does not reach the process.
    After(usize),
    /// MySQL has the statement.
    During(usize),
}

/// The commands of one process, as they pass the proxy.
#[derive(Default)]
struct Watch {
    /// The statements that change something, in order.
    changes: Mutex<Vec<String>>,
    /// The moment to kill has come.
    struck: Notify,
}

/// Commands of MySQL's protocol in the bytes of a connection.
#[derive(Default)]
struct Commands {
    bytes: Vec<u8>,
    /// The statement that MySQL is asked to prepare.
    preparing: Option<String>,
    /// Prepared statements by their numbers, which are MySQL's.
    prepared: BTreeMap<u32, String>,
}

impl Commands {
    /// The statements that begin to be executed with these bytes.
    fn executed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(bytes);
        let mut texts = Vec::new();
        while let [low, middle, high, sequence, rest @ ..] = self.bytes.as_slice() {
            let length = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
            let Some(packet) = rest.get(..length) else {
                break;
            };
            // The packets of the log-in have higher numbers.
            if *sequence == 0 {
                let text = || String::from_utf8_lossy(&packet[1..]).into_owned();
                match packet[0] {
                    0x03 => texts.push(text()),
                    0x16 => self.preparing = Some(text()),
                    0x17 => texts.push(self.prepared[&number(&packet[1..5])].clone()),
                    _ => {}
                }
            }
            self.bytes.drain(..4 + length);
        }
        texts
    }

    /// The client waits for each response, so these bytes begin with that to its last command.
    fn answered(&mut self, bytes: &[u8]) {
        let Some(text) = self.preparing.take() else {
            return;
        };
        // Otherwise the statement cannot be prepared, and has no number.
        if bytes[4] == 0 {
            self.prepared.insert(number(&bytes[5..9]), text);
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

fn changes_something(text: &str) -> bool {
    let verbs = [
        "CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "REPLACE",
    ];
    verbs.iter().any(|verb| text.starts_with(verb))
}

/// Forwards a connection until it is time to kill; from then on nothing reaches the process.
async fn carry(mut client: TcpStream, mut server: TcpStream, kill: Kill, watch: Arc<Watch>) {
    let (mut request, mut reply) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut commands = Commands::default();
    let mut is_last = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                for text in commands.executed(&request[..length]) {
                    if !changes_something(&text) {
                        continue;
                    }
                    let mut changes = watch.changes.lock().unwrap();
                    changes.push(text);
                    match kill {
                        Kill::During(nth) if nth == changes.len() => {
                            watch.struck.notify_one();
                            is_last = true;
                        }
                        Kill::After(nth) if nth == changes.len() => is_last = true,
                        _ => {}
                    }
                }
                if server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut reply) => {
                let Ok(length @ 1..) = read else { return };
                commands.answered(&reply[..length]);
                if is_last {
                    watch.struck.notify_one();
                    // The connection ends with the process.
                    while let Ok(1..) = client.read(&mut request).await {}
                    return;
                }
                if client.write_all(&reply[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Runs `firstcome migrate` for both schemas, in one database. Returns its end and its changing statements.
async fn migrate(url: &str, kill: Kill) -> (ExitStatus, Vec<String>) {
    let (server, schema) = url.rsplit_once('/').unwrap();
    let (user, target) = server.rsplit_once('@').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let watch = Arc::new(Watch::default());
    let mut connections = JoinSet::new();
    let (watched, target) = (Arc::clone(&watch), target.to_owned());
    connections.spawn(async move {
        let mut carried = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&target).await.unwrap();
            carried.spawn(carry(client, server, kill, Arc::clone(&watched)));
        }
    });
    let folder = TempDir::new().unwrap();
    // Without TLS, which the proxy could not read.
    let through = format!("{user}@{address}/{schema}?ssl-mode=DISABLED");
    let settings = [
        ("FIRSTCOME_DATABASE_URL", through.clone()),
        ("FIRSTCOME_REWARDS_DATABASE_URL", through),
    ];
    let mut process = tokio::process::Command::from(command(&folder, &settings));
    let mut child = process
        .arg("migrate")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = tokio::time::timeout(RUN_MAX, async {
        tokio::select! {
            ended = child.wait() => ended.unwrap(),
            () = watch.struck.notified() => {
                child.start_kill().unwrap();
                child.wait().await.unwrap()
            }
        }
    });
    let ended = ended.await.expect("`firstcome migrate` does not end");
    let changes = watch.changes.lock().unwrap().clone();
    (ended, changes)
}

fn was_killed(ended: ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&ended) == Some(9)
}

impl Empty {
    /// Each table with everything that belongs to it, the number of its rows, and the applied migrations.
    async fn definitions(&self) -> Vec<String> {
        let of_schema = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1";
        let applied =
            "SELECT version FROM seaql_migrations UNION ALL SELECT version FROM rewards_migrations";
        let mut definitions = self.column(applied, 0).await;
        for table in self.column(of_schema, 0).await {
            let create = self.column(&format!("SHOW CREATE TABLE {table}"), 1).await;
            let count = format!("SELECT CONCAT(COUNT(*), ' rows') FROM {table}");
            definitions.extend(create.into_iter().chain(self.column(&count, 0).await));
        }
        definitions
    }

    async fn column(&self, select: &str, nth: usize) -> Vec<String> {
        use sea_orm::{ConnectionTrait, Statement};
        let statement = Statement::from_string(DbBackend::MySql, select);
        let rows = self.db.query_all_raw(statement).await.unwrap();
        let values = rows.iter().map(|row| row.try_get_by_index(nth).unwrap());
        values.collect()
    }
}

/// The statements of a complete run, and their result.
struct Whole {
    /// Those of the rewards' schema, which come first.
    rewards: usize,
    all: usize,
    definitions: Vec<String>,
}

/// Two kills, and then two processes at once.
async fn complete_after_kills_at(nth: usize, whole: &Whole) {
    let database = Empty::mysql().await;
    let (ended, changes) = migrate(&database.url, Kill::After(nth)).await;
    assert!(was_killed(ended), "after statement {nth}: {ended:?}");
    assert_eq!(changes.len(), nth);
    // The next process repeats the statements of an incomplete schema, and is killed at the first one that the killed
    // process did not reach.
    let skipped = if nth < whole.rewards {
        0
    } else {
        whole.rewards
    };
    let next = nth + 1 - skipped;
    let (ended, changes) = migrate(&database.url, Kill::During(next)).await;
    if nth < whole.all {
        assert!(was_killed(ended), "during statement {}: {ended:?}", nth + 1);
        assert_eq!(changes.len(), next);
    } else {
        assert!(ended.success() && changes.is_empty(), "{changes:?}");
    }
    let both = tokio::join!(
        migrate(&database.url, Kill::Never),
        migrate(&database.url, Kill::Never)
    );
    for (ended, _) in [both.0, both.1] {
        assert!(ended.success(), "beside another one, {nth}: {ended:?}");
    }
    let definitions = database.definitions().await;
    assert_eq!(definitions, whole.definitions, "killed at statement {nth}");
    let drop = format!("DROP DATABASE {}", database.schema());
    database.run(&[drop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrator_killed_at_any_statement_is_followed_by_one_that_completes_the_schema() {
    let alone = Empty::mysql().await;
    let (ended, changes) = migrate(&alone.url, Kill::Never).await;
    assert!(ended.success(), "{ended:?}");
    let backend = DbBackend::MySql;
    let expected = [
        migration::statements(backend),
        migration::rewards::statements(backend),
    ]
    .concat();
    for statement in &expected {
        assert!(changes.contains(statement), "not seen: {statement}");
    }
    // Without changes, so the comparison below would notice a statement that is not executed.
    let (ended, none) = migrate(&alone.url, Kill::Never).await;
    assert!(ended.success() && none.is_empty(), "{ended:?}: {none:?}");
    let last_of_rewards =
        |text: &String| text.starts_with("INSERT") && text.contains("rewards_migrations");
    let whole = Arc::new(Whole {
        rewards: changes.iter().position(last_of_rewards).unwrap() + 1,
        all: changes.len(),
        definitions: alone.definitions().await,
    });
    let places = Arc::new(Semaphore::new(CONCURRENT));
    let mut runs = JoinSet::new();
    for nth in 1..=whole.all {
        let (places, whole) = (Arc::clone(&places), Arc::clone(&whole));
        runs.spawn(async move {
            let _place = places.acquire().await.unwrap();
            complete_after_kills_at(nth, &whole).await;
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}
