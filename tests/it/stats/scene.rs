//! Days with participations and rejections, and their aggregator.

use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Campaign, Day, EventId, Participation, ParticipationId, Status, Timestamp, Zone,
};
use firstcome::operate::alert::{AlertConfig, Alerts};
use firstcome::operate::statistics::{
    AggregateError, Aggregator, Beginning, Dependencies, Metrics, Schedule, Settings,
};
use firstcome::parts::store::{NewParticipation, Redo, Run, RunState, Store, TallyRow};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::retry::Policy;
use firstcome::runtime::supervisor::Supervisor;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, Value};

use crate::groups::{BatchOutcome, Groups};
use crate::store::new_participation;
use crate::support::{campaign_of, create, until};

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn day(date: &str, zone: &str) -> Day {
    Day {
        date: date.parse().unwrap(),
        zone: zone.parse().unwrap(),
    }
}

/// The current time of the tests, far from the tested days.
pub fn now() -> Timestamp {
    at("2026-11-20T12:00:00Z")
}

pub fn settings(zone: &str) -> Settings {
    let zone: Zone = zone.parse().unwrap();
    Settings {
        zone,
        schedule: Schedule::parse("0 2 * * *", zone).unwrap(),
        catch_up_days: 7,
        slice_rows: 7,
        parallel_max: 3,
        concurrency: 3,
        lease: Duration::from_secs(15),
        retry: Policy {
            initial: Duration::from_millis(5),
            max: Duration::from_millis(50),
            multiplier: 2.0,
            attempts_max: 5,
        },
        runs_kept: Duration::from_secs(90 * 24 * 60 * 60),
    }
}

/// An aggregator, and the supervisor of its tasks.
pub struct Replica {
    pub aggregator: Aggregator,
    pub metrics: Metrics,
    pub alerts: Alerts,
    pub supervisor: Supervisor,
}

impl Replica {
    pub fn of(store: &Store, settings: Settings) -> Self {
        Self::alerting(store, settings, &AlertConfig::default())
    }

    pub fn alerting(store: &Store, settings: Settings, alerts: &AlertConfig) -> Self {
        let supervisor = Supervisor::new(Duration::from_secs(5));
        let alerts = Alerts::new(alerts).unwrap();
        let metrics = Metrics::default();
        let parts = Dependencies {
            store: store.clone(),
            clock: Clock::manual(now()),
            spawner: supervisor.spawner(),
            alerts: alerts.clone(),
            metrics: metrics.clone(),
        };
        Self {
            aggregator: Aggregator::new(parts, settings),
            metrics,
            alerts,
            supervisor,
        }
    }

    /// Begins a run and returns it.
    pub async fn begin(&self, day: Day, redo: Redo) -> Result<Run, AggregateError> {
        match self.aggregator.begin(Some(day.date), redo).await? {
            Beginning::Begun(run) => Ok(*run),
            Beginning::Done(run) => panic!("done by {run:?}"),
        }
    }

    /// Waits for a run to end.
    pub async fn ended(&self, run: &Run) -> Run {
        let mut last = None;
        until("the run ends", async || {
            let found = self.aggregator.run(run.id).await.unwrap().unwrap();
            let is_over = found.state != RunState::Started;
            last = Some(found);
            is_over
        })
        .await;
        last.unwrap()
    }

    /// Aggregates a day to the end.
    pub async fn aggregate(&self, day: Day, redo: Redo) -> Run {
        let run = self.begin(day, redo).await.unwrap();
        self.ended(&run).await
    }
}

/// A participation that was committed at this time.
pub fn committed(campaign: &Campaign, rank: u64, quantity: u32, at: Timestamp) -> NewParticipation {
    let user = i64::try_from(rank).unwrap();
    let of = new_participation(campaign, user, rank, quantity);
    let made = at - TimeDelta::milliseconds(40);
    let id = EventId::made_at(made).0;
    NewParticipation {
        participation: Participation {
            id: ParticipationId(id),
            created_at: at,
            ..of.participation
        },
        ..of
    }
}

/// The same participation in a later status.
pub fn standing(new_participation: NewParticipation, status: Status) -> NewParticipation {
    NewParticipation {
        participation: Participation {
            status,
            ..new_participation.participation
        },
        ..new_participation
    }
}

pub async fn commit(store: &Store, campaign: &Campaign, batch: &[NewParticipation]) {
    let outcome = store.commit_participations(campaign, campaign.gate_epoch, batch);
    let outcome = outcome.await.unwrap();
    assert!(
        matches!(outcome, BatchOutcome::Committed { .. }),
        "{outcome:?}"
    );
}

pub fn refusals(
    campaign: &Campaign,
    minute: Timestamp,
    reason: &'static str,
    count: u64,
) -> TallyRow {
    TallyRow {
        campaign: campaign.id,
        minute,
        reason,
        count,
    }
}

/// Directly into the database, without the store.
pub struct Sql(DatabaseConnection);

impl Sql {
    pub async fn of(url: &str) -> Self {
        Self(Database::connect(url).await.unwrap())
    }

    pub async fn run(&self, text: &str) {
        self.0.execute_unprepared(text).await.unwrap();
    }

    pub async fn with(&self, text: &str, values: impl IntoIterator<Item = Value>) {
        let backend = self.0.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, text, values);
        self.0.execute_raw(statement).await.unwrap();
    }

    pub async fn number(&self, text: &str) -> i64 {
        let backend = self.0.get_database_backend();
        let statement = Statement::from_string(backend, text);
        let row = self.0.query_one_raw(statement).await.unwrap();
        row.unwrap().try_get_by_index(0).unwrap()
    }

    pub const fn connection(&self) -> &DatabaseConnection {
        &self.0
    }

    /// From now on the database rejects the campaign's rows.
    pub async fn refuse_rows_of(&self, campaign: &Campaign) {
        let id = campaign.id;
        let refuse = match self.0.get_database_backend() {
            sea_orm::DbBackend::MySql => {
                format!("ALTER TABLE daily_stat ADD CONSTRAINT refused CHECK (campaign_id <> {id})")
            }
            _ => format!(
                "CREATE TRIGGER refused BEFORE INSERT ON daily_stat WHEN NEW.campaign_id = {id} \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            ),
        };
        self.run(&refuse).await;
    }

    pub async fn refuse_no_more(&self) {
        let allow = match self.0.get_database_backend() {
            sea_orm::DbBackend::MySql => "ALTER TABLE daily_stat DROP CHECK refused",
            _ => "DROP TRIGGER refused",
        };
        self.run(allow).await;
    }
}

/// New campaigns with one participation each, an hour after the day began.
pub async fn campaigns_with_one(store: &Store, day: Day, campaigns: usize) -> Vec<Campaign> {
    let mut made = Vec::new();
    for _ in 0..campaigns {
        let campaign = create(store, campaign_of(None)).await;
        let one = committed(&campaign, 1, 1, day.start() + TimeDelta::hours(1));
        commit(store, &campaign, &[one]).await;
        made.push(campaign);
    }
    made
}
