//! Runs: idempotent, a failed campaign does not affect others, missed days are caught up, old runs are deleted.

use chrono::TimeDelta;
use firstcome::domain::{Campaign, Day};
use firstcome::operate::statistics::Beginning;
use firstcome::parts::store::{Cause, DailyRow, Redo, RunState, Store};
use sea_orm::Value;
use tokio_util::sync::CancellationToken;

use super::scene::{Replica, Sql, commit, committed, day, now, refusals, settings};
use crate::support::{campaign_of, create, stores};

/// Campaigns with participations at noon of a day, and on the days before it.
async fn some(store: &Store, day: Day, campaigns: usize) -> Vec<Campaign> {
    let mut made = Vec::new();
    for _ in 0..campaigns {
        let campaign = create(store, campaign_of(None)).await;
        let noon = day.start() + TimeDelta::hours(12);
        let batch: Vec<_> = (1..=20)
            .map(|rank| {
                let ago = TimeDelta::days(i64::try_from(rank % 3).unwrap());
                committed(&campaign, rank, 1, noon - ago)
            })
            .collect();
        commit(store, &campaign, &batch).await;
        let refused = refusals(&campaign, noon, "SOLD_OUT", 5);
        store.add_tallies(&[refused]).await.unwrap();
        made.push(campaign);
    }
    made
}

async fn rows(replica: &Replica, day: Day) -> Vec<DailyRow> {
    replica
        .aggregator
        .daily(day.date, None)
        .await
        .unwrap()
        .campaigns
}

#[tokio::test]
async fn an_aggregated_day_is_answered_with_its_run_and_repeating_it_gives_the_same() {
    for test in stores().await {
        let day = day("2026-11-18", "UTC");
        some(&test.store, day, 3).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let run = replica.aggregate(day, Redo::No).await;
        let first = rows(&replica, day).await;
        assert_eq!(first.len(), 3);

        let asked = replica.aggregator.begin(Some(day.date), Redo::No).await;
        let Ok(Beginning::Done(done)) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!((done.id, done.state), (run.id, RunState::Completed));

        let again = replica.aggregate(day, Redo::Yes).await;
        assert!(again.id > run.id);
        assert_eq!(rows(&replica, day).await, first);
        let sql = Sql::of(&test.url).await;
        assert_eq!(sql.number("SELECT COUNT(*) FROM daily_stat").await, 3);
        assert_eq!(sql.number("SELECT COUNT(*) FROM daily_run").await, 2);
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_read_of_a_day_until_it_is_aggregated_again() {
    for test in stores().await {
        let day = day("2026-11-18", "UTC");
        let campaigns = some(&test.store, day, 2).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        replica.aggregate(day, Redo::No).await;
        let first = rows(&replica, day).await;
        let sql = Sql::of(&test.url).await;
        sql.run("UPDATE daily_stat SET units = units + 1").await;
        assert_eq!(rows(&replica, day).await, first, "kept");
        let another = Replica::of(&test.store, settings("UTC"));
        assert_ne!(rows(&another, day).await, first, "read");

        let noon = day.start() + TimeDelta::hours(12);
        let refused = refusals(&campaigns[0], noon, "ENDED", 1);
        test.store.add_tallies(&[refused]).await.unwrap();
        another.aggregate(day, Redo::Yes).await;
        let again = rows(&replica, day).await;
        assert_eq!(again[1], first[1]);
        assert_ne!(again[0], first[0], "done again, by another replica");
    }
}

#[tokio::test]
async fn the_default_day_is_yesterday() {
    for test in stores().await {
        let replica = Replica::of(&test.store, settings("Asia/Seoul"));
        let asked = replica.aggregator.begin(None, Redo::No).await.unwrap();
        let Beginning::Begun(run) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!(run.day, Day::of(now(), replica.aggregator.zone()).minus(1));
        assert_eq!(run.cause, Cause::Admin);
        assert_eq!(replica.ended(&run).await.state, RunState::Completed);
    }
}

#[tokio::test]
async fn a_campaign_that_fails_is_reported_and_the_others_are_unaffected() {
    for test in stores().await {
        let day = day("2026-11-18", "UTC");
        let campaigns = some(&test.store, day, 7).await;
        let sql = Sql::of(&test.url).await;
        sql.refuse_rows_of(&campaigns[3]).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let run = replica.aggregate(day, Redo::No).await;
        assert_eq!(
            (run.state, run.error.as_deref()),
            (RunState::Failed, Some("CAMPAIGNS_FAILED"))
        );
        let failed: Vec<_> = run
            .failures
            .iter()
            .map(|failure| failure.campaign)
            .collect();
        assert_eq!(failed, [campaigns[3].id.0]);
        assert_eq!(
            (
                run.progress.campaigns,
                run.progress.campaigns_done,
                run.progress.campaigns_failed
            ),
            (7, 6, 1)
        );
        let daily = replica.aggregator.daily(day.date, None).await.unwrap();
        assert!(!daily.done.unwrap().is_complete);
        let there: Vec<_> = daily.campaigns.iter().map(|row| row.campaign).collect();
        let mut others: Vec<_> = campaigns.iter().map(|campaign| campaign.id).collect();
        others.remove(3);
        assert_eq!(there, others);

        sql.refuse_no_more().await;
        let run = replica.aggregate(day, Redo::No).await;
        assert_eq!(run.state, RunState::Completed, "it was not done");
        assert_eq!(rows(&replica, day).await.len(), 7);
    }
}

#[tokio::test]
async fn an_unfinished_day_is_aggregated_but_not_completed() {
    for test in stores().await {
        // By the database's clock, which determines what a run has seen.
        let replica = Replica::of(&test.store, settings("UTC"));
        let today = Day::of(
            firstcome::runtime::clock::Clock::System.now(),
            replica.aggregator.zone(),
        );
        let store = &test.store;
        let first = store
            .begin_run(
                today,
                Cause::Admin,
                Redo::No,
                ("first", settings("UTC").lease),
            )
            .await
            .unwrap();
        let Some(firstcome::parts::store::Begun::Now(run, abandoned)) = first else {
            panic!("{first:?}");
        };
        assert_eq!(abandoned, []);
        let ended = firstcome::parts::store::RunResult {
            progress: firstcome::parts::store::Progress::default(),
            failures: Vec::new(),
            error: None,
            is_whole_day: run.started_at >= today.end(),
        };
        assert!(store.end_run(&run, &ended).await.unwrap());
        let done = store
            .days_done(today.zone, (today.date, today.date))
            .await
            .unwrap();
        assert_eq!((done.len(), done[0].is_complete), (1, false));
        let again = store
            .begin_run(
                today,
                Cause::Admin,
                Redo::No,
                ("second", settings("UTC").lease),
            )
            .await
            .unwrap();
        assert!(
            matches!(again, Some(firstcome::parts::store::Begun::Now(..))),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn missed_days_are_caught_up_but_none_before_the_first_data() {
    for test in stores().await {
        let yesterday = Day::of(now(), firstcome::domain::Zone::UTC).minus(1);
        let campaigns = some(&test.store, yesterday, 2).await;
        let sql = Sql::of(&test.url).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let made = async |at: firstcome::domain::Timestamp| {
            for campaign in &campaigns {
                let values = [Value::from(at), campaign.id.0.into()];
                sql.with("UPDATE campaign SET created_at = ? WHERE id = ?", values)
                    .await;
            }
        };
        let catch_up = async || {
            let stop = CancellationToken::new();
            replica.aggregator.catch_up(&stop).await.unwrap();
            let runs = replica.aggregator.runs(None, 100).await.unwrap();
            assert!(runs.iter().all(|run| run.state == RunState::Completed));
            runs.into_iter()
                .rev()
                .map(|run| (run.day.date, run.cause))
                .collect::<Vec<_>>()
        };
        made(now()).await;
        assert_eq!(catch_up().await, [], "nothing before today");

        made(yesterday.minus(1).start()).await;
        let two = [
            (yesterday.minus(1).date, Cause::CatchUp),
            (yesterday.date, Cause::Schedule),
        ];
        assert_eq!(catch_up().await, two);
        assert_eq!(catch_up().await, two, "they are done");

        made(yesterday.minus(100).start()).await;
        let all = catch_up().await;
        assert_eq!(all.len(), 7, "as many days back as are configured");
        let caught_up: Vec<_> = all[2..].iter().map(|(date, _)| *date).collect();
        let expected: Vec<_> = (2..7).rev().map(|ago| yesterday.minus(ago).date).collect();
        assert_eq!(caught_up, expected, "the oldest first");
        assert_eq!(rows(&replica, yesterday).await.len(), 2);
    }
}

#[tokio::test]
async fn old_runs_are_deleted_and_their_days_are_kept() {
    for test in stores().await {
        let day = day("2026-11-18", "UTC");
        some(&test.store, day, 1).await;
        let replica = Replica::of(&test.store, settings("UTC"));
        let old = replica.aggregate(day, Redo::No).await;
        let sql = Sql::of(&test.url).await;
        let now = test.store.time().await.unwrap();
        let ended = |days| Value::from(now - TimeDelta::days(days));
        let end = "UPDATE daily_run SET finished_at = ? WHERE id = ?";
        sql.with(end, [ended(89), old.id.0.into()]).await;
        let stop = CancellationToken::new();
        replica.aggregator.catch_up(&stop).await.unwrap();
        assert!(replica.aggregator.run(old.id).await.unwrap().is_some());
        sql.with(end, [ended(91), old.id.0.into()]).await;
        replica.aggregator.catch_up(&stop).await.unwrap();
        assert!(replica.aggregator.run(old.id).await.unwrap().is_none());
        assert_eq!(rows(&replica, day).await.len(), 1);
        let again = replica.aggregate(day, Redo::No).await;
        assert_eq!(again.state, RunState::Completed);
    }
}

#[tokio::test]
async fn history_is_listed_newest_first_in_pages() {
    for test in stores().await {
        let replica = Replica::of(&test.store, settings("UTC"));
        let mut made = Vec::new();
        for date in ["2026-11-15", "2026-11-16", "2026-11-17"] {
            made.push(replica.aggregate(day(date, "UTC"), Redo::No).await.id);
        }
        made.reverse();
        let ids = async |after, limit| {
            let runs = replica.aggregator.runs(after, limit).await.unwrap();
            runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 2).await, made[..2]);
        assert_eq!(ids(Some(made[1]), 2).await, made[2..]);
    }
}
