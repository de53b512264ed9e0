//! The embedded store on a full disk: once because no file may grow, and once because its file system is full
//! and the process is killed in that state. Afterwards there is space again: everything must be sold, and every
//! accepted participation must exist.

use sea_orm::ConnectionTrait;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::http;
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::judge::{Breach, judge};
use crate::ledger::{Ledger, Outcome, ParticipationRequest, Path as Way, Phase};
use crate::replica::ADMIN_TOKEN;
use crate::report::{Record, Struck};

const STOCK: i64 = 500;
/// Participations before the disk is full.
const IN_PEACE: i64 = 60;
/// Free space when the disk is almost full.
const ROOM: u64 = 96 * 1024;
/// How long clients send requests while nothing can be written.
const FULL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// How the disk becomes full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// `RLIMIT_FSIZE`: a write beyond it fails, and lifting it takes effect at once.
    FileSize,
    /// A small file system is full; the process is killed before space is free again.
    FileSystem,
}

/// Both ways. They are one run in the report.
pub async fn run() -> Record {
    let began = Instant::now();
    let mut record = run_on(Bound::FileSize).await;
    if let Some(mount) = Mount::try_new() {
        let other = Scene::begin(Bound::FileSystem, mount.0.path().join("data")).await;
        merge(&mut record, other.play(Bound::FileSystem).await);
    } else {
        eprintln!("no file system of its own for the full disk: not allowed to mount one");
    }
    record.took_seconds = began.elapsed().as_secs_f64();
    record
}

async fn run_on(bound: Bound) -> Record {
    let folder = TempDir::new().unwrap();
    let scene = Scene::begin(bound, folder.path().join("data")).await;
    scene.play(bound).await
}

fn merge(record: &mut Record, other: Record) {
    record.breaches.extend(other.breaches);
    record.faults.extend(other.faults);
    record.first_yes_seconds.extend(other.first_yes_seconds);
    let both = record.all_sold_seconds.zip(other.all_sold_seconds);
    record.all_sold_seconds = both.map(|(one, other)| one.max(other));
    for (word, count) in other.answers {
        *record.answers.entry(word).or_default() += count;
    }
}

/// A file system in memory, unmounted when dropped.
struct Mount(TempDir);

impl Mount {
    fn try_new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path()).status().ok();
    }
}

struct Scene {
    data: PathBuf,
    child: Child,
    base: String,
    log: Arc<Mutex<String>>,
    campaign: i64,
    http: Client,
    ledger: Ledger,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts the service on embedded parts, in a shell in which a write beyond the limit fails instead of killing the
/// process. The log goes through a pipe, so the limit does not apply to it.
async fn launch(data: &Path) -> (Child, Arc<Mutex<String>>, String) {
    let mut child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" serve"#])
        .arg(env!("CARGO_BIN_EXE_firstcome"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("FIRSTCOME_DATA_DIR", data)
        .env("FIRSTCOME_HTTP_LISTEN", "127.0.0.1:0")
        .env("FIRSTCOME_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("FIRSTCOME_GATE_LEASE", "3s")
        .env("FIRSTCOME_GATE_SWEEP_INTERVAL", "1s")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let mut pipe = child.stderr.take().unwrap();
    let writing = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(read @ 1..) = pipe.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..read]);
            writing.lock().unwrap().push_str(&text);
        }
    });
    let began = Instant::now();
    loop {
        let said = log.lock().unwrap().clone();
        let address = said.lines().find_map(|line| {
            let is_ready = line.contains("ready");
            is_ready.then(|| line.split("address=").nth(1)).flatten()
        });
        if let Some(address) = address {
            return (child, log, format!("http://{}", address.trim()));
        }
        assert!(
            began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(),
            "does not start:\n{said}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Scene {
    async fn begin(bound: Bound, data: PathBuf) -> Self {
        fs::create_dir_all(&data).unwrap();
        let (child, log, base) = launch(&data).await;
        let http = http();
        let made = http
            .post(format!("{base}/api/admin/campaigns"))
            .bearer_auth(ADMIN_TOKEN)
            .json(&json!({ "name": format!("{bound:?}"), "kind": "general", "totalStock": STOCK }))
            .send()
            .await
            .unwrap();
        let made: Value = made.json().await.unwrap();
        Self {
            data,
            child,
            base,
            log,
            campaign: made["id"].as_i64().unwrap(),
            http,
            ledger: Ledger::new(Instant::now()),
        }
    }

    async fn play(mut self, bound: Bound) -> Record {
        for user in 1..=IN_PEACE {
            let answer = self.ask(Phase::Traffic, user).await;
            assert!(matches!(answer, Outcome::Yes(_)), "{answer:?}");
        }
        let full_at = Instant::now();
        self.fill(bound);
        // More users than units; each retries.
        let mut user = 1_000;
        let mut bites = 0;
        while full_at.elapsed() < FULL {
            let asking = (0..8).map(|nth| self.ask(Phase::Traffic, user + nth));
            let answers = futures_util::future::join_all(asking).await;
            user += 8;
            let denied = |one: &&Outcome| !matches!(one, Outcome::Yes(_) | Outcome::No { .. });
            bites += answers.iter().filter(denied).count() as u64;
        }
        let lasted = full_at.elapsed();
        if bound == Bound::FileSystem {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        self.make_room(bound);
        let whole = Instant::now();
        if bound == Bound::FileSystem {
            (self.child, self.log, self.base) = launch(&self.data).await;
        }
        let (first_yes, all_sold) = self.sell_out(whole).await;
        self.published().await;
        let mut breaches = self.stop();
        breaches.extend(self.judged().await);
        if !breaches.is_empty() {
            eprintln!("{bound:?}:\n{}", self.log.lock().unwrap());
        }
        let mut answers = std::collections::BTreeMap::new();
        for answer in self.ledger.read() {
            *answers.entry(answer.outcome.word()).or_default() += 1;
        }
        Record {
            seed: 0,
            key: "participation",
            faults: vec![Struck {
                fault: Fault::DiskFull,
                name: Fault::DiskFull.name(),
                at_ms: 0,
                lasts_ms: lasted.as_millis().try_into().unwrap(),
                bites,
                what: format!("{bound:?} "),
            }],
            breaches,
            first_yes_seconds: vec![first_yes],
            all_sold_seconds: all_sold,
            all_published_seconds: all_sold,
            all_rewarded_seconds: None,
            redelivered: 0,
            oldest_event_seconds: 0.0,
            answers,
            orders: std::collections::BTreeMap::new(),
            coupons: std::collections::BTreeMap::new(),
            ends: Vec::new(),
            took_seconds: 0.0,
        }
    }

    async fn ask(&self, phase: Phase, user: i64) -> Outcome {
        let request = ParticipationRequest {
            campaign: self.campaign,
            user,
            quantity: 1,
            key: None,
            path: Way::Grouped,
        };
        let path = format!("/api/campaigns/{}/participation", self.campaign);
        let call = self
            .http
            .post(format!("{}{path}", self.base))
            .json(&json!({ "userId": user }));
        let sent = Instant::now();
        let answered = async {
            let answer = call.send().await?;
            let status = answer.status().as_u16();
            let has_retry_after = answer.headers().contains_key(RETRY_AFTER);
            let body = answer.text().await?;
            Ok::<_, reqwest::Error>(Outcome::of(status, has_retry_after, &body))
        };
        let outcome = answered
            .await
            .unwrap_or_else(|error| Outcome::Lost(format!("{error:?}")));
        self.ledger
            .write(phase, 0, (request, sent), outcome.clone());
        outcome
    }

    fn ballast(&self) -> PathBuf {
        self.data.join("ballast")
    }

    fn limit(&self, soft: &str) {
        let limited = Command::new("prlimit")
            .args(["--pid", &self.child.id().to_string()])
            .arg(format!("--fsize={soft}:unlimited"))
            .status();
        assert!(limited.unwrap().success());
    }

    fn fill(&self, bound: Bound) {
        match bound {
            Bound::FileSize => {
                let files = fs::read_dir(&self.data).unwrap();
                let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
                self.limit(&(sizes.max().unwrap() + ROOM).to_string());
            }
            Bound::FileSystem => {
                let mut ballast = fs::File::create(self.ballast()).unwrap();
                let block = [0; 4_096];
                let mut size = 0;
                while let Ok(written @ 1..) = std::io::Write::write(&mut ballast, &block) {
                    size += written as u64;
                }
                ballast.set_len(size - ROOM).unwrap();
            }
        }
    }

    fn make_room(&self, bound: Bound) {
        match bound {
            Bound::FileSize => self.limit("unlimited"),
            Bound::FileSystem => fs::remove_file(self.ballast()).unwrap(),
        }
    }

    /// Seconds until the first acceptance, and until everything is sold.
    async fn sell_out(&self, whole: Instant) -> (Option<f64>, Option<f64>) {
        let mut first = None;
        let mut user = 1_000_000;
        while whole.elapsed() < PATIENCE {
            user += 1;
            let seconds = whole.elapsed().as_secs_f64();
            match self.ask(Phase::Healing, user).await {
                Outcome::Yes(yes) => {
                    first.get_or_insert(seconds);
                    // Ranks are given once, but units may be returned: only the store knows the total.
                    if yes.rank >= STOCK.unsigned_abs() && self.is_sold_out().await {
                        return (first, Some(seconds));
                    }
                }
                Outcome::No { .. } if self.is_sold_out().await => return (first, Some(seconds)),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        (first, None)
    }

    async fn is_sold_out(&self) -> bool {
        let path = format!("/api/campaigns/{}/stock", self.campaign);
        let stock = self.http.get(format!("{}{path}", self.base)).send().await;
        let stock: Value = stock.unwrap().json().await.unwrap();
        stock["currentStock"].as_i64() == Some(0)
    }

    /// Waits until everything is published. The event about the sold-out campaign is written last and a moment
    /// later, so its existence is read before the number of pending events.
    async fn published(&self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.has_sold_out_event().await && self.is_outbox_empty().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_outbox_empty(&self) -> bool {
        let outbox = self
            .http
            .get(format!("{}/api/admin/outbox", self.base))
            .bearer_auth(ADMIN_TOKEN);
        let outbox: Value = outbox.send().await.unwrap().json().await.unwrap();
        ["pending", "retry", "blocked"]
            .iter()
            .all(|count| outbox[count] == 0)
    }

    async fn has_sold_out_event(&self) -> bool {
        let db = sea_orm::Database::connect(self.database_url())
            .await
            .unwrap();
        let count = sea_orm::Statement::from_string(
            sea_orm::DbBackend::Sqlite,
            "SELECT COUNT(*) AS events FROM outbox_event WHERE type = 'firstcome.campaign.sold_out'",
        );
        let row = db.query_one_raw(count).await.unwrap().unwrap();
        let events: i64 = row.try_get("", "events").unwrap();
        db.close().await.unwrap();
        events > 0
    }

    fn database_url(&self) -> String {
        format!("sqlite://{}", self.data.join("firstcome.db").display())
    }

    fn stop(&mut self) -> Vec<Breach> {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().unwrap();
        let status = self.child.wait().unwrap();
        let mut breaches = Vec::new();
        if !status.success() {
            breaches.push(Breach::new("stop", format!("stopped: {status}")));
        }
        let log = self.log.lock().unwrap();
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        breaches.extend(panics.map(|line| Breach::new("panic", line)));
        breaches
    }

    async fn judged(&self) -> Vec<Breach> {
        let mut evidence = Evidence::of_database(&self.database_url()).await.unwrap();
        // The first start creates a campaign; no test participates in it.
        let campaign = self.campaign;
        evidence.campaigns.retain(|one| one.id == campaign);
        judge(&evidence, &self.ledger.read(), &[])
    }
}
