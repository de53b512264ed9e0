//! Controls the real parts through the script that started them: kills, pauses and restores them, and checks
//! whether they answer.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::real;

/// How long a part may take to respond before it counts as silent.
const PROBE: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Mysql,
    Redis,
    Kafka,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Mysql, Self::Redis, Self::Kafka];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }

    /// A request without authentication; MySQL sends first.
    const fn question(self) -> &'static [u8] {
        match self {
            Self::Mysql => b"",
            Self::Redis => b"PING\r\n",
            // ApiVersions, version 0, no client id.
            Self::Kafka => &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        }
    }
}

/// The addresses of the parts, without the names of one run.
#[derive(Clone, Debug)]
pub struct Parts {
    script: String,
    /// `mysql://USER@HOST:PORT`, without a schema.
    pub mysql_url: String,
    pub redis_url: String,
    pub brokers: String,
}

impl Parts {
    /// The parts of this test. It fails if the script would affect other parts than these, because the environment
    /// has other ports than the parts were started with.
    pub async fn from_environment() -> Self {
        let script = std::env::vars()
            .find_map(|(name, value)| (name == "FIRSTCOME_PARTS_SCRIPT").then_some(value))
            .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/parts").to_owned());
        let database = real("FIRSTCOME_DATABASE_URL");
        let parts = Self {
            script,
            mysql_url: database.rsplit_once('/').unwrap().0.to_owned(),
            redis_url: real("FIRSTCOME_REDIS_URL"),
            brokers: real("FIRSTCOME_KAFKA_BROKERS"),
        };
        let exports = parts.run(&["env"]).await.unwrap();
        for ours in [&database, &parts.redis_url, &parts.brokers] {
            assert!(
                exports
                    .lines()
                    .any(|line| line.ends_with(&format!("={ours}"))),
                "{} would break other parts than {ours}: eval \"$(scripts/parts env)\" and the ports \
                 in FIRSTCOME_PARTS_… do not belong together",
                parts.script
            );
        }
        parts
    }

    pub fn address(&self, part: Part) -> SocketAddr {
        let url = match part {
            Part::Mysql => &self.mysql_url,
            Part::Redis => &self.redis_url,
            Part::Kafka => &self.brokers,
        };
        let place = url
            .rsplit_once("://")
            .map_or(url.as_str(), |(_, rest)| rest);
        let place = place.rsplit_once('@').map_or(place, |(_, rest)| rest);
        place.trim_end_matches('/').parse().unwrap()
    }

    /// Runs the script, and returns its output in either case.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let ran = Command::new(&self.script)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        if ran.status.success() {
            Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&ran.stderr).into_owned())
        }
    }

    /// Performs an action on a part, and returns whether it was possible. Faults overlap: a part that is to be paused
    /// may already be dead.
    pub async fn try_to(&self, verb: &str, part: Part) -> bool {
        self.run(&[verb, part.name()]).await.is_ok()
    }

    /// Whether a part responds.
    pub async fn answers(&self, part: Part) -> bool {
        let probe = async {
            let mut stream = TcpStream::connect(self.address(part)).await?;
            stream.write_all(part.question()).await?;
            let mut byte = [0];
            stream.read_exact(&mut byte).await
        };
        matches!(tokio::time::timeout(PROBE, probe).await, Ok(Ok(_)))
    }

    /// Continues paused parts, starts stopped ones, and waits until all answer.
    pub async fn heal(&self) {
        for part in Part::ALL {
            self.try_to("resume", part).await;
        }
        let starts = Part::ALL.map(|part| async move { self.run(&["start", part.name()]).await });
        for started in futures_util::future::join_all(starts).await {
            started.unwrap();
        }
    }

    /// The same, for the end of the test, where nothing asynchronous can be awaited.
    pub fn heal_now(&self) {
        for part in Part::ALL {
            for verb in ["resume", "start"] {
                std::process::Command::new(&self.script)
                    .args([verb, part.name()])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .ok();
            }
        }
    }
}
