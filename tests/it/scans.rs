//! A batch reads only its own rows, for any size of the tables and with outdated statistics: MySQL updates them
//! only after a tenth of a table has changed, and seconds later.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DurationRound, TimeDelta};
use firstcome::domain::{
    Campaign, CampaignId, Change, Consumer, EventId, KeyChoice, Participation, ParticipationId,
    RequestedChange, Reward, Status, UserId, to_stored_precision,
};
use firstcome::operate::status::{Replicas, StatusBoard};
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::{
    Applicant, ChangeRequest, Due, NewParticipation, RankPage, Rewards, Store, StoreConfig,
    TallyRow,
};
use firstcome::runtime::clock::Clock;
use firstcome::sale::meter::Meter;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

use crate::consumers::coupon_terms;
use crate::direct::{applicant, ask};
use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{campaign_of, create, mysql, unique};

const BATCH: u64 = 250;
const BATCHES: u64 = 24;
const ROWS: u64 = BATCH * BATCHES;

/// The tables of a schema.
pub struct Tables {
    db: DatabaseConnection,
    schema: String,
}

impl Tables {
    pub async fn of(url: &str) -> Self {
        let db = Database::connect(url).await.unwrap();
        let schema = url.rsplit_once('/').unwrap().1.to_owned();
        Self { db, schema }
    }

    /// These keep the statistics of empty tables.
    async fn frozen(url: &str, names: &[&str]) -> Self {
        let tables = Self::of(url).await;
        for name in names {
            let freeze = format!("ALTER TABLE {name} STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0");
            tables.db.execute_unprepared(&freeze).await.unwrap();
        }
        tables
    }

    /// The total number of rows read from it.
    pub async fn read(&self, table: &str) -> u64 {
        let of = format!(
            "performance_schema.table_io_waits_summary_by_table WHERE object_schema = '{}' AND \
             object_name = '{table}'",
            self.schema
        );
        let ask = format!("SELECT CAST(SUM(count_read) AS SIGNED) FROM {of}");
        let row = self.db.query_one_raw(statement(&ask)).await.unwrap();
        let all: i64 = row.unwrap().try_get_by_index(0).unwrap();
        all.unsigned_abs()
    }
}

fn statement(text: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(sea_orm::DbBackend::MySql, text)
}

async fn reserve(store: &Store, campaign: &Campaign) -> Vec<Participation> {
    let mut made = Vec::new();
    for batch in 0..BATCHES {
        let ranks = batch * BATCH + 1..=(batch + 1) * BATCH;
        let batch: Vec<NewParticipation> = ranks.map(|rank| reservation(campaign, rank)).collect();
        let epoch = campaign.gate_epoch;
        store
            .commit_participations(campaign, epoch, &batch)
            .await
            .unwrap();
        made.extend(
            batch
                .into_iter()
                .map(|new_participation| new_participation.participation),
        );
    }
    made
}

fn reservation(campaign: &Campaign, rank: u64) -> NewParticipation {
    let of = new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1);
    NewParticipation {
        participation: Participation {
            status: Status::Reserved,
            amount: Some(500),
            expires_at: Some(to_stored_precision(
                Clock::System.now() + TimeDelta::hours(1),
            )),
            ..of.participation.clone()
        },
        ..of
    }
}

async fn pay(store: &Store, campaign: &Campaign, batch: &[Participation]) {
    let change_requests: Vec<ChangeRequest> = batch
        .iter()
        .map(|one| ChangeRequest {
            id: one.id,
            requested: RequestedChange::Confirm {
                reference: format!("paid-{}", one.id),
            },
            traceparent: None,
            by: None,
        })
        .collect();
    let key = KeyChoice::Participation;
    let changed = store
        .change_participations(campaign.id, &change_requests, key)
        .await;
    assert_eq!(changed.unwrap().changed.len(), batch.len());
}

#[tokio::test]
async fn commit_payment_and_marking_read_only_their_own_rows() {
    let test = mysql().await;
    let store = &test.store;
    let mut new = campaign_of(Some(2 * ROWS));
    (new.price, new.per_user_limit) = (Some(500), 2);
    let campaign = create(store, new).await;
    let tables = Tables::frozen(&test.url, &["participation", "outbox_event"]).await;
    let made = reserve(store, &campaign).await;
    for batch in made.chunks(usize::try_from(BATCH).unwrap()) {
        pay(store, &campaign, batch).await;
        let ids: Vec<ParticipationId> = batch.iter().map(|one| one.id).collect();
        let marked = store.mark_rewarded(&ids).await.unwrap();
        assert_eq!(marked, BATCH);
    }
    for table in ["participation", "outbox_event"] {
        let read = tables.read(table).await;
        assert!(read < 10 * ROWS, "{table}: {read} of {ROWS} rows were read");
    }
}

#[tokio::test]
async fn a_page_of_participations_reads_only_its_own_rows() {
    let test = mysql().await;
    let store = &test.store;
    let mut new = campaign_of(Some(2 * ROWS));
    (new.price, new.per_user_limit) = (Some(500), 2);
    let campaign = create(store, new).await;
    let tables = Tables::frozen(&test.url, &["participation"]).await;
    let made = reserve(store, &campaign).await;
    let before = tables.read("participation").await;
    let mut page = RankPage {
        campaign: campaign.id,
        status: None,
        after: 0,
        last: store.last_rank(campaign.id).await.unwrap(),
        rows_max: 20,
    };
    let mut pages = 0;
    while page.after < page.last {
        let read = store.participations_by_rank(&page).await.unwrap();
        assert_eq!(read.rows.len(), 20);
        page.after = read.upto;
        pages += 1;
    }
    assert_eq!(pages, ROWS / 20);
    let read = tables.read("participation").await - before;
    assert!(read < 2 * ROWS, "{read} of {ROWS} rows were read");
    // No participation has this status: a statement scans ten ranks for each row of a page, not the campaign.
    page = RankPage {
        status: Some(Status::Expired),
        after: 0,
        ..page
    };
    let before = tables.read("participation").await;
    let none = store.participations_by_rank(&page).await.unwrap();
    assert_eq!((none.rows.len(), none.upto), (0, 200));
    assert!(tables.read("participation").await - before <= 201);
    // Of a user, by the index of users.
    let page = RankPage {
        status: None,
        ..page
    };
    let before = tables.read("participation").await;
    for one in made.iter().step_by(100) {
        let found = store.participations_of_user_by_rank(one.user_id, &page);
        let found = found.await.unwrap();
        let ids: Vec<ParticipationId> = found.rows.iter().map(|row| row.participation.id).collect();
        assert_eq!((ids, found.upto), (vec![one.id], page.last));
    }
    let read = tables.read("participation").await - before;
    assert!(read <= 3 * ROWS / 100, "{read} rows were read");
}

#[tokio::test]
async fn refusals_of_a_time_are_read_by_the_key() {
    let test = mysql().await;
    let store = &test.store;
    let tables = Tables::frozen(&test.url, &["rejection_tally"]).await;
    let minute = Clock::System.now().duration_trunc(TimeDelta::minutes(1));
    let minute = minute.unwrap();
    for campaign in 1..=2 {
        let refused: Vec<TallyRow> = (0..600)
            .map(|ago| TallyRow {
                campaign: CampaignId(campaign),
                minute: minute - TimeDelta::minutes(ago),
                reason: "SOLD_OUT",
                count: 2,
            })
            .collect();
        store.add_tallies(&refused).await.unwrap();
    }
    let before = tables.read("rejection_tally").await;
    let range = (minute - TimeDelta::minutes(9), minute);
    let found = store
        .refusals_by_minute(CampaignId(2), range)
        .await
        .unwrap();
    assert_eq!(found.len(), 9);
    assert_eq!(found[0].minute, range.0);
    assert!(found.iter().all(|tally| tally.count == 2));
    assert!(tables.read("rejection_tally").await - before <= 10);
}

#[tokio::test]
async fn the_database_path_reads_only_its_own_rows() {
    let test = mysql().await;
    let mut new = campaign_of(Some(2 * ROWS));
    new.per_user_limit = 2;
    let campaign = create(&test.store, new).await;
    let tables = Tables::frozen(&test.url, &["participation"]).await;
    for batch in 0..BATCHES {
        let users = batch * BATCH + 1..=(batch + 1) * BATCH;
        let batch: Vec<Applicant> = users
            .map(|user| applicant(i64::try_from(user).unwrap(), 1))
            .collect();
        ask(&test.store, &campaign, &batch).await;
    }
    let counts = test.store.counts(campaign.id).await.unwrap();
    assert_eq!(counts.participations, ROWS);
    let read = tables.read("participation").await;
    assert!(read < 10 * ROWS, "{read} of {ROWS} rows were read");
}

#[tokio::test]
async fn the_live_view_reads_neither_participations_nor_minute_counts() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = create(store, campaign_of(Some(2 * ROWS))).await;
    let tables = Tables::of(&test.url).await;
    reserve(store, &campaign).await;
    let minute = Clock::System.now().duration_trunc(TimeDelta::minutes(1));
    let minute = minute.unwrap();
    let refused: Vec<TallyRow> = (0..600)
        .map(|ago| TallyRow {
            campaign: campaign.id,
            minute: minute - TimeDelta::minutes(ago),
            reason: "SOLD_OUT",
            count: 2,
        })
        .collect();
    store.add_tallies(&refused).await.unwrap();
    let gate = Arc::new(ScriptGate::in_process(Clock::System, &unique("t")).unwrap());
    let replicas = Replicas::new(Arc::clone(&gate));
    let board = StatusBoard::new(store.clone(), gate, Meter::new(Clock::System), replicas);
    let names = ["participation", "outbox_event", "rejection_tally"];
    let mut before = Vec::new();
    for table in names {
        before.push(tables.read(table).await);
    }
    let status = board.of(campaign.id).await.unwrap().unwrap();
    assert_eq!((status.success_count, status.fail_count), (ROWS, 1_200));
    assert_eq!(status.funnel.published, 0);
    for (table, before) in names.into_iter().zip(before) {
        assert_eq!(tables.read(table).await, before, "{table}");
    }
}

#[tokio::test]
async fn a_lookup_in_a_list_reads_only_the_requested_users() {
    let test = mysql().await;
    let store = &test.store;
    let campaign = create(store, campaign_of(None)).await.id;
    let tables = Tables::frozen(&test.url, &["allow_list_user"]).await;
    let list = store.begin_allow_list(campaign, "an admin").await.unwrap();
    let users: Vec<UserId> = (1..=i64::try_from(ROWS).unwrap()).map(UserId).collect();
    let before = tables.read("allow_list_user").await;
    for batch in users.chunks(usize::try_from(BATCH).unwrap()) {
        assert!(store.add_to_allow_list(list, batch).await.unwrap());
        let found = store.allowed(list, batch).await.unwrap();
        assert_eq!(found.len(), batch.len());
    }
    let read = tables.read("allow_list_user").await - before;
    assert!(read < 10 * ROWS, "{read} of {ROWS} rows were read");
}

#[tokio::test]
async fn a_sweep_reads_each_idempotency_key_once() {
    let test = mysql().await;
    let tables = Tables::frozen(&test.url, &["idempotency"]).await;
    for batch in 0..BATCHES {
        // Every other batch is of one user.
        let rows = (1..=BATCH).map(|nth| {
            let number = batch * BATCH + nth;
            let user = if batch % 2 == 0 { BATCHES } else { number };
            format!("({user}, 'key-{number}', UUID_TO_BIN(UUID()), UTC_TIMESTAMP(6))")
        });
        let rows: Vec<String> = rows.collect();
        let insert = "INSERT INTO idempotency (user_id, idempotency_key, participation_id, created_at) VALUES ";
        let insert = format!("{insert}{}", rows.join(","));
        tables.db.execute_unprepared(&insert).await.unwrap();
    }
    let before = tables.read("idempotency").await;
    let (mut after, mut keys) = (None, 0);
    loop {
        let age = Duration::from_secs(3_600);
        let page = test.store.purge_keys(after.as_ref(), age, 100);
        let page = page.await.unwrap();
        keys += page.read;
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    let read = tables.read("idempotency").await - before;
    assert_eq!(keys, ROWS);
    assert!(read < 2 * ROWS, "{read} of {ROWS} rows were read");
}

fn due(nth: u64, reward: &Reward) -> Due {
    Due {
        change: Change {
            event: EventId::generate(),
            participation: ParticipationId::generate(),
            campaign: CampaignId(1),
            user: UserId(i64::try_from(nth).unwrap()),
            quantity: 1,
            status: Status::Confirmed,
            sequence: 1,
        },
        reward: Some(reward.clone()),
    }
}

#[tokio::test]
async fn granting_reads_only_its_own_rows() {
    let test = mysql().await;
    let url = format!("{}_rewards", test.url);
    let schema = url.rsplit_once('/').unwrap().1;
    test.store.create_schema(schema).await.unwrap();
    let rewards = Rewards::connect(&StoreConfig::new(url.as_str()), Clock::System)
        .await
        .unwrap();
    rewards.migrate().await.unwrap();
    let names = ["inbox", "ledger", "balance", "coupon"];
    let tables = Tables::frozen(&url, &names).await;
    for (consumer, reward) in [
        (Consumer::Points, Reward::Points(10)),
        (Consumer::Coupons, Reward::Coupon(coupon_terms())),
    ] {
        for _ in 0..BATCHES {
            let batch: Vec<Due> = (1..=BATCH).map(|nth| due(nth, &reward)).collect();
            let applied = rewards.apply(consumer, &batch).await.unwrap();
            assert_eq!(applied.granted, batch.len());
        }
    }
    for table in names {
        let read = tables.read(table).await;
        assert!(read < 10 * ROWS, "{table}: {read} of {ROWS} rows were read");
    }
}
