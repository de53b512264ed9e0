//! Three servers with group replication, one of them the primary. Each run begins with an empty group, and may end with
//! members that are dead, paused, expelled or read-only.

mod view;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sea_orm::sqlx;

pub use self::view::View;
use crate::fault::{ExitAction, Plan};
use crate::judge::Breach;
use crate::server::Server;

/// Longest wait for a primary, and for a member to join.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two attempts to join.
const RETRY: Duration = Duration::from_secs(1);

pub struct Group {
    servers: Vec<Server>,
    /// The primary since the last fault.
    primary: AtomicUsize,
    /// The statements that make a server one of this run's group: it has forgotten them when it starts again.
    settings: Mutex<Vec<String>>,
}

impl Group {
    pub async fn up() -> Self {
        let names = ["failover-g1", "failover-g2", "failover-g3"];
        let servers = names
            .iter()
            .zip(11..)
            .map(|(stem, id)| Server::up(stem, id, &OPTIONS));
        Self {
            servers: join_all(servers).await,
            primary: AtomicUsize::new(0),
            settings: Mutex::default(),
        }
    }

    fn settings(&self) -> Vec<String> {
        self.settings.lock().unwrap().clone()
    }

    /// The primary at the begin of a run.
    pub fn old(&self) -> &Server {
        &self.servers[0]
    }

    pub fn server(&self, nth: usize) -> &Server {
        &self.servers[nth]
    }

    /// The primary since the last fault.
    pub fn primary(&self) -> &Server {
        &self.servers[self.primary_nth()]
    }

    /// Which member that is.
    pub fn primary_nth(&self) -> usize {
        self.primary.load(Ordering::SeqCst)
    }

    pub fn ports(&self) -> Vec<u16> {
        let servers = self.servers.iter();
        servers.map(|server| server.address.port()).collect()
    }

    /// Removes everything of the previous run, and forms a new group.
    pub async fn begin(&self, plan: &Plan) {
        join_all(self.servers.iter().map(clean)).await;
        let clocks = self.servers.iter().enumerate();
        join_all(clocks.map(|(nth, server)| server.set_clock(plan.clock_of_member(nth)))).await;
        self.primary.store(0, Ordering::SeqCst);
        // Another name each time: a late message of the previous group is not of this one.
        let name = uuid::Uuid::now_v7();
        let seeds: Vec<String> = self
            .ports()
            .iter()
            .map(|port| member_address(*port))
            .collect();
        let settings = [
            format!("SET GLOBAL group_replication_group_name = '{name}'"),
            format!(
                "SET GLOBAL group_replication_group_seeds = '{}'",
                seeds.join(",")
            ),
            format!(
                "SET GLOBAL group_replication_exit_state_action = '{}'",
                plan.exit.value()
            ),
            format!(
                "SET GLOBAL group_replication_unreachable_majority_timeout = {}",
                plan.unreachable_majority_seconds
            ),
        ];
        *self.settings.lock().unwrap() = settings.into();
        self.form(self.old()).await;
        for secondary in &self.servers[1..] {
            self.try_start(secondary, &[START]).await.unwrap();
            self.wait_online(secondary).await;
        }
    }

    /// This server is the first member of the group.
    async fn form(&self, server: &Server) {
        let first = [
            "SET GLOBAL group_replication_bootstrap_group = ON",
            START,
            "SET GLOBAL group_replication_bootstrap_group = OFF",
        ];
        self.try_start(server, &first).await.unwrap();
    }

    /// Prepares a server in any state for this run's group, and executes the statements that start it there.
    async fn try_start(
        &self,
        server: &Server,
        start: &[&str],
    ) -> Result<(), (String, sqlx::Error)> {
        let settings = self.settings();
        let mut statements = vec![STOP, "SET GLOBAL offline_mode = OFF"];
        statements.extend(settings.iter().map(String::as_str));
        statements.extend(start);
        server.try_run(&statements).await
    }

    /// Waits until a server, not the excluded one, is the primary of most members and accepts writes.
    pub async fn wait_primary(&self, excluded: Option<usize>) {
        let began = Instant::now();
        while !self.has_primary(excluded).await {
            self.assert_patience(began).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same after the loss of a majority. If the members do not hear each other soon after they continue, all of
    /// them leave the group; then an administrator has to form it again.
    pub async fn wait_primary_or_form(&self, exit: ExitAction) {
        let mut began = Instant::now();
        while !self.has_primary(None).await {
            self.assert_patience(began).await;
            if self.is_dissolved(exit).await {
                eprintln!("no server is a member of the group any more: it is formed again");
                self.form_again().await;
                began = Instant::now();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn has_primary(&self, excluded: Option<usize>) -> bool {
        for (nth, server) in self.servers.iter().enumerate() {
            let view = View::of(server.address.port()).await;
            if Some(nth) != excluded && view.is_some_and(|view| view.is_primary()) {
                self.primary.store(nth, Ordering::SeqCst);
                return true;
            }
        }
        false
    }

    async fn assert_patience(&self, began: Instant) {
        let waited = began.elapsed();
        assert!(
            waited < PATIENCE,
            "the group has no primary after {waited:?}: {:?}",
            self.views().await
        );
    }

    /// Whether every server has left the group, and those that end then have ended.
    async fn is_dissolved(&self, exit: ExitAction) -> bool {
        for server in &self.servers {
            let has_left = match View::of(server.address.port()).await {
                Some(view) if view.state == "ERROR" => exit != ExitAction::AbortServer,
                Some(view) => view.state == "OFFLINE",
                None => !server.is_running().await,
            };
            if !has_left {
                return false;
            }
        }
        true
    }

    /// The server with all transactions forms the group again.
    async fn form_again(&self) {
        join_all(self.servers.iter().map(Server::start)).await;
        for server in &self.servers {
            let all = server.executed().await;
            let others = self.servers.iter().map(|other| beyond(other, &all));
            if join_all(others).await.iter().all(Option::is_none) {
                return self.form(server).await;
            }
        }
        panic!("no server has all transactions");
    }

    /// Waits until this server does not believe any more that it is a member.
    pub async fn wait_left(&self, nth: usize) {
        let began = Instant::now();
        let port = self.servers[nth].address.port();
        while View::of(port)
            .await
            .is_some_and(|view| view.state == "ONLINE")
        {
            let waited = began.elapsed();
            assert!(waited < PATIENCE, "{port} stays: {:?}", self.views().await);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Elects this server, as planned.
    pub async fn elect(&self, nth: usize) {
        let id = self.servers[nth].text("SELECT @@server_uuid").await;
        let elect = format!("SELECT group_replication_set_as_primary('{id}')");
        self.old().run(&[&elect]).await;
    }

    /// Waits until every server is a member of the primary's group; those that are not join again.
    pub async fn reunite(&self, exit: ExitAction) -> Vec<Breach> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.wait_primary(None).await;
            let view = View::of(self.primary().address.port()).await;
            if view.is_some_and(|view| view.members == 3 && view.online == 3) {
                return Vec::new();
            }
            for server in &self.servers {
                let alone = self.join(server, exit).await;
                if alone.is_some() {
                    return alone.into_iter().collect();
                }
            }
            tokio::time::sleep(RETRY).await;
        }
        let what = format!("not all members returned: {:?}", self.views().await);
        vec![Breach::new("group", what)]
    }

    /// Begins to join, unless the server is a member, or is about to end. One with transactions of its own cannot.
    async fn join(&self, server: &Server, exit: ExitAction) -> Option<Breach> {
        let Some(view) = View::of(server.address.port()).await else {
            if !server.is_running().await {
                server.start().await;
            }
            return None;
        };
        let is_ending = view.state == "ERROR" && exit == ExitAction::AbortServer;
        if is_ending || view.state == "ONLINE" || view.state == "RECOVERING" {
            return None;
        }
        let breach = beyond(server, &self.primary().executed().await).await;
        if breach.is_none() {
            // Refused while the group changes: then it is tried again.
            self.try_start(server, &[START]).await.ok();
        }
        breach
    }

    /// After the traffic: every server is a member and has the same transactions. Returns what differs.
    pub async fn agree(&self, exit: ExitAction) -> Vec<Breach> {
        let mut breaches = self.reunite(exit).await;
        if !breaches.is_empty() {
            return breaches;
        }
        let all = self.primary().executed().await;
        for server in &self.servers {
            server.catch_up(&all).await;
            breaches.extend(beyond(server, &self.primary().executed().await).await);
        }
        breaches
    }

    async fn wait_online(&self, server: &Server) {
        let began = Instant::now();
        let port = server.address.port();
        while View::of(port)
            .await
            .is_none_or(|view| view.state != "ONLINE")
        {
            let waited = began.elapsed();
            assert!(
                waited < PATIENCE,
                "{port} does not join: {:?}",
                self.views().await
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What each server believes.
    pub async fn views(&self) -> Vec<Option<View>> {
        join_all(self.ports().into_iter().map(View::of)).await
    }
}

const START: &str = "START GROUP_REPLICATION USER = 'root'";
const STOP: &str = "STOP GROUP_REPLICATION";

/// The suspicion begins after 5 s without a message; then a member is expelled at once. One that was expelled does not
/// return by itself.
const OPTIONS: [&str; 10] = [
    "plugin-load-add=group_replication.so",
    "loose-group-replication-start-on-boot=OFF",
    "loose-group-replication-local-address=127.0.0.1:@next",
    "loose-group-replication-ip-allowlist=127.0.0.1/32",
    "loose-group-replication-recovery-get-public-key=ON",
    "loose-group-replication-consistency=BEFORE_ON_PRIMARY_FAILOVER",
    "loose-group-replication-member-expel-timeout=0",
    "loose-group-replication-autorejoin-tries=0",
    "loose-group-replication-message-cache-size=134217728",
    "report-host=127.0.0.1",
];

/// Where the members of a group talk: the port after the one for clients.
fn member_address(port: u16) -> String {
    format!("127.0.0.1:{}", port + 1)
}

/// Makes a server as empty as a new one, in any state of it.
async fn clean(server: &Server) {
    server.start().await;
    server
        .run(&[
            STOP,
            "SET GLOBAL offline_mode = OFF",
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
            "RESET REPLICA ALL",
        ])
        .await;
    server.forget().await;
}

/// Transactions of a server that are not among these: nobody else will ever have them.
async fn beyond(server: &Server, all: &str) -> Option<Breach> {
    let own = server.executed().await;
    let more = format!("SELECT GTID_SUBTRACT('{own}', '{all}')");
    let more = server.text(&more).await;
    let port = server.address.port();
    (!more.is_empty()).then(|| Breach::new("group", format!("{port} alone has committed {more}")))
}
