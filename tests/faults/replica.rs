//! A replica of the service as a process, with proxies in front of the database and Redis. It is restarted when
//! it ends by itself, as by an orchestrator.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::proxy::Proxy;

pub const ADMIN_TOKEN: &str = "an admin token of a test";

/// Interval at which a replica is checked.
const LOOK: Duration = Duration::from_millis(30);
/// Pause of the orchestrator before it restarts an ended process.
const RESTART_PAUSE: Duration = Duration::from_millis(400);
/// How long a stopping process may take before it is killed.
const GRACE: Duration = Duration::from_secs(8);

const SIGABRT: i32 = 6;

pub struct Replica {
    pub nth: usize,
    pub mysql: Proxy,
    pub redis: Proxy,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    child: Option<Child>,
    wanted: bool,
    /// Environment variables of this process beside the settings: fail points.
    extra: Vec<(String, String)>,
    launches: u32,
    may_start: Instant,
    base: Option<String>,
    is_ready: bool,
    ends: Vec<End>,
    last_end: Option<ExitStatus>,
}

/// A process that ended without being stopped.
#[derive(Clone, Debug)]
pub struct End {
    pub after: Duration,
    pub how: String,
    pub is_abort: bool,
}

impl Replica {
    pub fn new(
        nth: usize,
        (mysql, redis): (Proxy, Proxy),
        folder: PathBuf,
        settings: Vec<(String, String)>,
    ) -> Self {
        let inner = Inner {
            child: None,
            wanted: true,
            extra: Vec::new(),
            launches: 0,
            may_start: Instant::now(),
            base: None,
            is_ready: false,
            ends: Vec::new(),
            last_end: None,
        };
        Self {
            nth,
            mysql,
            redis,
            folder,
            settings,
            began: Instant::now(),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Its current or last address; none before its first start.
    pub fn base(&self) -> Option<String> {
        self.inner().base.clone()
    }

    /// Whether the current process has logged that it is ready.
    pub fn is_ready(&self) -> bool {
        self.inner().is_ready
    }

    /// Whether it should run.
    pub fn is_wanted(&self) -> bool {
        self.inner().wanted
    }

    /// Whether the current process has further environment variables.
    pub fn has_extra(&self) -> bool {
        !self.inner().extra.is_empty()
    }

    pub fn ends(&self) -> Vec<End> {
        self.inner().ends.clone()
    }

    /// The number of its starts.
    pub fn launches(&self) -> u32 {
        self.inner().launches
    }

    /// Supervises it until dropped.
    pub fn keep(self: Arc<Self>) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.look();
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// A command of the service with this replica's settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
        command
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn look(&self) {
        let mut inner = self.inner();
        let ended = match &mut inner.child {
            Some(child) => child.try_wait().unwrap(),
            None => None,
        };
        if let Some(status) = ended {
            let is_abort = status.signal() == Some(SIGABRT);
            if inner.wanted {
                inner.ends.push(End {
                    after: self.began.elapsed(),
                    how: status.to_string(),
                    is_abort,
                });
            }
            if is_abort {
                // It ended as intended; the next process has no fail points.
                inner.extra.clear();
            }
            inner.last_end = Some(status);
            inner.gone();
        }
        if inner.child.is_none() && inner.wanted && Instant::now() >= inner.may_start {
            self.launch(&mut inner);
        }
        if inner.child.is_some() && !inner.is_ready {
            let text = fs::read_to_string(self.log(inner.launches)).unwrap();
            let address = text.lines().find_map(|line| {
                let is_ready = line.contains("ready");
                is_ready.then(|| line.split("address=").nth(1)).flatten()
            });
            if let Some(address) = address {
                inner.base = Some(format!("http://{}", address.trim()));
                inner.is_ready = true;
            }
        }
    }

    fn launch(&self, inner: &mut Inner) {
        inner.launches += 1;
        let log = File::create(self.log(inner.launches)).unwrap();
        let child = self
            .command()
            .arg("serve")
            .envs(inner.extra.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        inner.child = Some(child);
    }

    fn log(&self, launch: u32) -> PathBuf {
        self.folder
            .join(format!("replica-{}-{launch}.log", self.nth))
    }

    /// Sends SIGKILL, and returns whether there was a process. It stays down until it is started again.
    pub fn kill(&self) -> bool {
        let mut inner = self.inner();
        inner.wanted = false;
        let Some(mut child) = inner.child.take() else {
            return false;
        };
        let was_alive = child.try_wait().unwrap().is_none();
        child.kill().ok();
        child.wait().unwrap();
        inner.gone();
        was_alive
    }

    /// Sends SIGTERM, and waits for the end. Returns the status; none: it had to be killed, or did not run. It
    /// stays down.
    pub async fn stop(&self) -> Option<ExitStatus> {
        self.inner().wanted = false;
        if !self.signal("TERM") {
            return None;
        }
        let began = Instant::now();
        while began.elapsed() < GRACE {
            {
                // The supervising task notices the end as well, and may be first.
                let mut inner = self.inner();
                let Some(child) = &mut inner.child else {
                    return inner.last_end;
                };
                if let Some(status) = child.try_wait().unwrap() {
                    inner.gone();
                    return Some(status);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill();
        None
    }

    /// Starts it (again), with these variables in addition to its settings.
    pub fn start(&self, extra: Vec<(String, String)>) {
        let mut inner = self.inner();
        inner.extra = extra;
        inner.wanted = true;
        inner.may_start = Instant::now();
    }

    /// Sends a signal, and returns whether there was a process.
    pub fn signal(&self, name: &str) -> bool {
        let inner = self.inner();
        let Some(child) = &inner.child else {
            return false;
        };
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        sent.unwrap().success()
    }

    /// Whether the process is stopped (`T` in its state).
    pub fn is_paused(&self) -> bool {
        let inner = self.inner();
        let Some(child) = &inner.child else {
            return false;
        };
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// The last lines of its logs, for the analysis of a failure.
    pub fn log_tails(&self, lines: usize) -> String {
        use std::fmt::Write as _;
        let mut tails = String::new();
        for launch in 1..=self.launches() {
            let text = fs::read_to_string(self.log(launch)).unwrap_or_default();
            let all: Vec<&str> = text.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n");
            let nth = self.nth;
            writeln!(tails, "--- replica {nth}, launch {launch}\n{tail}").unwrap();
        }
        tails
    }

    /// All of its logs.
    pub fn logs(&self) -> String {
        self.log_tails(usize::MAX)
    }
}

impl Inner {
    fn gone(&mut self) {
        self.child = None;
        self.is_ready = false;
        self.may_start = Instant::now() + RESTART_PAUSE;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // This also ends a paused process.
        self.kill();
    }
}
