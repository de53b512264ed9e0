//! Raw and aggregated statistics agree with each other and with the rows, in every zone.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use firstcome::domain::{Campaign, CampaignId, Day, DayError, DaySums, Status, Zone};
use firstcome::operate::statistics::{AggregateError, Method};
use firstcome::parts::store::{DailyRow, NewParticipation, Redo, RunState, Store, TallyRow};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

use super::scene::{Replica, at, commit, committed, day, now, refusals, settings, standing};
use crate::support::{campaign_of, create, mysql, stores};

type Sums = BTreeMap<CampaignId, DaySums>;

/// The participations in the store, as the test wrote them.
#[derive(Default)]
struct Model {
    participations: Vec<NewParticipation>,
    refusals: Vec<TallyRow>,
}

impl Model {
    /// The sums of a day, counted one by one.
    fn of(&self, day: Day) -> Sums {
        let (start, end) = (day.start(), day.end());
        let mut all = Sums::new();
        for new_participation in &self.participations {
            let one = &new_participation.participation;
            if !(start..end).contains(&one.created_at) {
                continue;
            }
            let units = u64::from(one.quantity);
            let mut sums = DaySums {
                units,
                units_standing: if one.status.holds_units() { units } else { 0 },
                first_at: Some(one.created_at),
                last_at: Some(one.created_at),
                ..DaySums::default()
            };
            *sums.by_status.of(one.status) = 1;
            let hour = (one.created_at - start).num_hours();
            sums.count_hour(usize::try_from(hour).unwrap(), 1);
            all.entry(one.campaign_id).or_default().add(&sums);
        }
        for row in &self.refusals {
            if (start..end).contains(&row.minute) {
                let sums = all.entry(row.campaign).or_default();
                sums.refuse(row.reason, row.count);
            }
        }
        all
    }
}

fn by_campaign(rows: Vec<DailyRow>, date: NaiveDate) -> Sums {
    rows.into_iter()
        .map(|row| {
            assert_eq!((row.name.as_str(), row.date), ("a campaign", date));
            (row.campaign, row.sums)
        })
        .collect()
}

/// Inserts participations and rejections into the days around this one, mostly near midnight.
async fn fill(store: &Store, campaigns: &[Campaign], day: Day, random: &mut StdRng) -> Model {
    let mut model = Model::default();
    let statuses = [
        Status::Reserved,
        Status::Confirmed,
        Status::Cancelled,
        Status::Expired,
    ];
    let (start, end) = (day.start(), day.end());
    let limits = [
        start - TimeDelta::microseconds(1),
        start,
        end - TimeDelta::microseconds(1),
        end,
    ];
    for campaign in campaigns {
        let anywhere = (0..60).map(|_| {
            start - TimeDelta::hours(12)
                + TimeDelta::milliseconds(random.random_range(0..172_800_000))
        });
        let mut moments: Vec<_> = limits.into_iter().chain(anywhere).collect();
        moments.sort_unstable();
        // Commits follow the ranks, but not exactly.
        for pair in moments.chunks_exact_mut(2) {
            if pair[1] - pair[0] < TimeDelta::minutes(59) {
                pair.swap(0, 1);
            }
        }
        let batch: Vec<NewParticipation> = (1..)
            .zip(moments)
            .map(|(rank, moment)| {
                let status = statuses[random.random_range(0..statuses.len())];
                let quantity = random.random_range(1..=3);
                standing(committed(campaign, rank, quantity, moment), status)
            })
            .collect();
        commit(store, campaign, &batch).await;
        model.participations.extend(batch);
        for minutes in [-1, 0, 1, 700, 1_379, 1_380, 1_439, 1_440, 1_499, 1_500] {
            let minute = start + TimeDelta::minutes(minutes);
            for reason in ["SOLD_OUT", "ENDED"] {
                let count = random.random_range(1..100);
                model
                    .refusals
                    .push(refusals(campaign, minute, reason, count));
            }
        }
    }
    store.add_tallies(&model.refusals).await.unwrap();
    model
}

async fn some_campaigns(store: &Store) -> Vec<Campaign> {
    let mut campaigns = Vec::new();
    for _ in 0..4 {
        let mut new = campaign_of(None);
        (new.per_user_limit, new.max_quantity) = (1, 3);
        campaigns.push(create(store, new).await);
    }
    campaigns
}

#[tokio::test]
async fn raw_and_aggregated_statistics_agree_with_the_rows_in_every_zone() {
    for (date, zone, hours) in [
        ("2026-11-18", "UTC", 24),
        ("2026-11-18", "Asia/Seoul", 24),
        ("2026-11-18", "Asia/Kolkata", 24),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-04-05", "Australia/Lord_Howe", 25),
    ] {
        for test in stores().await {
            let day = day(date, zone);
            assert_eq!(day.hours(), hours);
            let mut random = StdRng::seed_from_u64(7);
            let campaigns = some_campaigns(&test.store).await;
            let model = fill(&test.store, &campaigns[1..], day, &mut random).await;
            let replica = Replica::of(&test.store, settings(zone));
            let expected = model.of(day);
            assert_eq!(expected.len(), 3, "one had nobody");

            let raw = replica.aggregator.raw(day.date, None).await.unwrap();
            assert_eq!((raw.method, raw.done), (Method::Raw, None));
            assert_eq!(by_campaign(raw.campaigns, day.date), expected, "{zone}");

            let run = replica.aggregate(day, Redo::No).await;
            assert_eq!(run.state, RunState::Completed, "{run:?}");
            let participations: u64 = expected.values().map(|sums| sums.by_status.total()).sum();
            assert_eq!(
                (
                    run.progress.percent,
                    run.progress.participations,
                    run.progress.campaigns_done
                ),
                (100, participations, 3)
            );
            let daily = replica
                .aggregator
                .daily(day.date, Some(day.zone))
                .await
                .unwrap();
            assert_eq!(daily.method, Method::Aggregated);
            let done = daily.done.unwrap();
            assert_eq!((done.run, done.is_complete), (run.id, true));
            assert_eq!(by_campaign(daily.campaigns, day.date), expected, "{zone}");

            let other: Zone = "Pacific/Chatham".parse().unwrap();
            let elsewhere = replica.aggregator.raw(day.date, Some(other)).await.unwrap();
            let there = model.of(Day { zone: other, ..day });
            assert_eq!(by_campaign(elsewhere.campaigns, day.date), there);
        }
    }
}

#[tokio::test]
async fn statistics_of_a_period_are_the_sum_of_its_days_and_name_missing_days() {
    for test in stores().await {
        let campaigns = some_campaigns(&test.store).await;
        let middle = day("2026-11-18", "UTC");
        let mut random = StdRng::seed_from_u64(8);
        let model = fill(&test.store, &campaigns, middle, &mut random).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let mut expected = Vec::new();
        for day in [middle.minus(1), middle] {
            replica.aggregate(day, Redo::No).await;
            let sums = model.of(day).remove(&campaigns[0].id).unwrap();
            expected.push((day.date, sums));
        }
        let period = (middle.minus(2).date, middle.plus(1).date);
        let found = replica.aggregator.campaign(campaigns[0].id, period, None);
        let found = found.await.unwrap();
        let days: Vec<_> = found
            .days
            .into_iter()
            .map(|row| (row.date, row.sums))
            .collect();
        assert_eq!(days, expected);
        assert_eq!(found.missing, [period.0, period.1]);

        let backwards = (period.1, period.0);
        let refused = replica
            .aggregator
            .campaign(campaigns[0].id, backwards, None)
            .await;
        assert!(matches!(refused, Err(AggregateError::Backwards)));
        let unknown = replica
            .aggregator
            .campaign(CampaignId(999_999), period, None)
            .await;
        assert!(matches!(unknown, Err(AggregateError::UnknownCampaign)));
    }
}

#[tokio::test]
async fn days_outside_the_allowed_range_are_refused() {
    let test = crate::support::sqlite().await;
    let replica = Replica::of(&test.store, settings("Asia/Seoul"));
    let aggregator = &replica.aggregator;
    let today = Day::of(now(), aggregator.zone());
    let (tomorrow, old) = (today.plus(1).date, at("2025-11-19T00:00:00Z").date_naive());
    for (date, expected) in [(tomorrow, DayError::Future), (old, DayError::TooOld)] {
        let refusals = [
            aggregator.raw(date, None).await.map(drop),
            aggregator.daily(date, None).await.map(drop),
            aggregator.begin(Some(date), Redo::No).await.map(drop),
        ];
        for refused in refusals {
            assert!(
                matches!(refused, Err(AggregateError::Day("date", error)) if error == expected),
                "{refused:?}"
            );
        }
    }
    let other = Some(Zone::UTC);
    let refused = aggregator.daily(today.date, other).await.map(drop);
    assert!(
        matches!(refused, Err(AggregateError::OtherZone(zone)) if zone == aggregator.zone()),
        "{refused:?}"
    );
    let never = aggregator.daily(today.date, None).await.map(drop);
    assert!(matches!(never, Err(AggregateError::NotAggregated)));
}

/// The total number of rows read from a table.
async fn reads(db: &DatabaseConnection, schema: &str, table: &str) -> u64 {
    let ask = format!(
        "SELECT CAST(SUM(count_read) AS SIGNED) FROM \
         performance_schema.table_io_waits_summary_by_table WHERE object_schema = '{schema}' \
         AND object_name = '{table}'"
    );
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::MySql, ask);
    let row = db.query_one_raw(statement).await.unwrap();
    let all: i64 = row.unwrap().try_get_by_index(0).unwrap();
    all.unsigned_abs()
}

#[tokio::test]
async fn reading_a_day_excludes_the_adjacent_days() {
    const OF_A_DAY: u64 = 1_000;
    let test = mysql().await;
    let db = Database::connect(&test.url).await.unwrap();
    for table in ["participation", "rejection_tally"] {
        let freeze = format!("ALTER TABLE {table} STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0");
        db.execute_unprepared(&freeze).await.unwrap();
    }
    let campaign = create(&test.store, campaign_of(None)).await;
    let wanted = day("2026-11-10", "UTC");
    let mut rank = 0;
    for ago in (0..9).rev() {
        let noon = wanted.plus(4).minus(ago).start() + TimeDelta::hours(12);
        let mut batch = Vec::new();
        let mut tallies = Vec::new();
        for nth in 0..OF_A_DAY {
            rank += 1;
            let at = noon - TimeDelta::milliseconds(i64::try_from(nth).unwrap());
            batch.push(committed(&campaign, rank, 1, at));
            let minute =
                noon - TimeDelta::minutes(500) + TimeDelta::minutes(i64::try_from(nth).unwrap());
            tallies.push(refusals(&campaign, minute, "SOLD_OUT", 1));
        }
        for some in batch.chunks(250) {
            commit(&test.store, &campaign, some).await;
        }
        for some in tallies.chunks(250) {
            test.store.add_tallies(some).await.unwrap();
        }
    }
    let schema = test.url.rsplit_once('/').unwrap().1;
    let tables = ["participation", "rejection_tally"];
    let mut before = Vec::new();
    for table in tables {
        before.push(reads(&db, schema, table).await);
    }
    let replica = Replica::of(&test.store, settings("UTC"));
    let raw = replica.aggregator.raw(wanted.date, None).await.unwrap();
    let [row] = &raw.campaigns[..] else {
        panic!("{raw:?}");
    };
    assert_eq!(
        (row.sums.by_status.total(), row.sums.refused()),
        (OF_A_DAY, OF_A_DAY)
    );
    for (table, before) in tables.into_iter().zip(before) {
        let read = reads(&db, schema, table).await - before;
        // Of participations also those of the hours around the day; of tallies the index.
        assert!(read < 3 * OF_A_DAY, "{table}: {read} rows were read");
    }
}
