//! The gate: one suite of checks for every gate. Broken gates prove that each check can fail.

mod buckets;
mod checks;
mod checks_of_advance;
mod checks_of_keys;
mod checks_of_leases;
mod checks_of_rebuild;
mod checks_of_returns;
mod edges;
mod history;
mod leaky;
mod model;
mod recent;
mod sessions;
mod subject;

use std::sync::Arc;

use firstcome::domain::to_stored_precision;
use firstcome::parts::gate::{Gate, RedisConfig, ScriptGate};
use firstcome::runtime::clock::Clock;
use futures_util::future::BoxFuture;
use redis::AsyncTypedCommands;
use secrecy::ExposeSecret;
use uuid::Uuid;

use subject::{Subject, Verdict};

use crate::cluster;

/// One check of the suite: an error names the violation.
type Check = for<'a> fn(&'a Subject) -> BoxFuture<'a, Verdict>;

/// Declares the list of all checks, and one test of each check per gate.
macro_rules! suite {
    ($($module:ident :: $check:ident),+ $(,)?) => {
        const CHECKS: &[(&str, Check)] = &[
            $((stringify!($check), |subject| Box::pin($module::$check(subject)))),+
        ];

        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() -> super::Verdict {
                super::$module::$check(&super::in_process_subject()).await
            })+
        }

        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() -> super::Verdict {
                let (subject, prefix) = super::redis_subject().await;
                super::$module::$check(&subject).await?;
                super::forget(&prefix).await;
                Ok(())
            })+
        }

        mod in_a_cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() -> super::Verdict {
                super::$module::$check(&super::cluster_subject().await).await
            })+
        }
    };
}

suite! {
    checks::exactly_the_stock_is_admitted_by_many_at_once,
    checks::one_user_asking_many_times_at_once_is_admitted_once,
    checks::duplicates_cost_nothing,
    checks::a_user_twice_in_one_call_is_admitted_once,
    checks::quantity_is_all_or_nothing,
    checks::ranks_have_no_gaps_whatever_is_refused_between_them,
    checks::the_same_participation_gets_the_same_answer,
    checks::nobody_is_admitted_outside_the_window,
    checks::the_state_of_the_campaign_decides_before_anything_else,
    checks::nobody_holds_more_than_the_limits,
    checks::stock_without_a_limit_never_runs_out,
    checks::large_numbers_come_back_as_they_went_in,
    checks::many_entrants_in_one_call_are_answered_in_order,
    checks::a_quantity_of_nothing_is_an_error_and_changes_nothing,
    checks::campaigns_do_not_mix,
    checks_of_keys::a_key_with_a_lease_is_undecided_whatever_the_rules_say,
    checks_of_keys::a_key_whose_lease_was_released_is_decided_again,
    checks_of_keys::two_attempts_of_a_key_in_one_call_are_one,
    checks_of_keys::an_admission_tells_how_long_ago_its_key_was_refused,
    checks_of_keys::a_no_of_the_caller_is_remembered_too,
    checks_of_keys::a_no_is_said_unless_something_was_admitted_under_its_key_since,
    checks_of_keys::no_no_is_said_to_a_key_that_is_not_remembered_well_enough,
    checks_of_keys::a_rebuild_makes_every_key_one_that_may_have_been_refused,
    checks_of_leases::a_release_returns_units_and_place,
    checks_of_leases::a_second_release_returns_nothing,
    checks_of_leases::a_release_after_a_settle_returns_nothing,
    checks_of_leases::a_release_leaves_what_else_the_user_holds,
    checks_of_leases::a_released_participation_is_never_named_as_the_first,
    checks_of_leases::leases_that_ran_out_are_listed_until_they_end,
    checks_of_advance::leases_are_listed_by_owner,
    checks_of_advance::an_advance_takes_leases_along,
    checks_of_advance::the_leases_of_the_dead_stay_in_their_epoch,
    checks_of_advance::an_advance_is_refused_in_another_epoch,
    checks_of_advance::returns_count_across_an_advance,
    checks_of_advance::a_listed_lease_that_was_given_again_is_not_released,
    checks_of_returns::what_is_given_up_can_be_had_again_by_anybody,
    checks_of_returns::a_return_counts_once,
    checks_of_returns::a_return_before_its_settle_ends_the_lease,
    checks_of_returns::a_return_leaves_what_else_the_user_holds,
    checks_of_returns::a_return_that_the_rebuild_knew_of_returns_nothing,
    checks_of_returns::a_return_of_another_epoch_returns_nothing,
    checks_of_rebuild::settings_are_only_replaced_by_newer_ones,
    checks_of_rebuild::stock_is_raised_and_lowered_under_way,
    checks_of_rebuild::without_a_state_everything_is_missing,
    checks_of_rebuild::a_rebuild_only_moves_the_epoch_forward,
    checks_of_rebuild::a_rebuild_ends_all_leases,
    checks_of_rebuild::a_release_that_comes_late_leaves_a_newer_lease,
    checks_of_rebuild::a_rebuild_keeps_newer_settings,
    checks_of_rebuild::settings_of_a_later_epoch_are_newer_whatever_their_version,
    checks_of_rebuild::a_campaign_that_is_over_leaves_the_gate,
    checks_of_rebuild::a_rebuild_does_not_open_what_is_over,
    checks_of_rebuild::a_return_of_what_is_over_leaves_the_gate_too,
    checks_of_rebuild::a_rebuild_takes_many_seats,
    checks_of_rebuild::a_rebuild_with_one_user_twice_is_an_error_and_changes_nothing,
    checks_of_rebuild::a_rebuild_under_full_traffic_loses_nothing,
}

fn in_process_subject() -> Subject {
    let now = to_stored_precision(Clock::System.now());
    let gate = ScriptGate::in_process(Clock::manual(now), "it").unwrap();
    Subject::new(Arc::new(gate), now)
}

async fn redis_subject() -> (Subject, String) {
    let prefix = format!("it-{}", Uuid::now_v7());
    let gate = Arc::new(redis_gate(&prefix).await);
    let subject = Subject::new(gate, to_stored_precision(Clock::System.now()));
    (subject, prefix)
}

/// Its servers end with the tests, so nothing has to be removed.
async fn cluster_subject() -> Subject {
    let prefix = format!("it-{}", Uuid::now_v7());
    let config = RedisConfig {
        url: Some(cluster::shared().await.url().into()),
        cluster: true,
        ..redis_config()
    };
    let gate = Arc::new(ScriptGate::redis(&config, &prefix).await.unwrap());
    Subject::new(gate, to_stored_precision(Clock::System.now()))
}

async fn redis_gate(prefix: &str) -> ScriptGate {
    ScriptGate::redis(&redis_config(), prefix).await.unwrap()
}

/// A missing part fails the test: a skipped suite proves nothing.
pub fn redis_config() -> RedisConfig {
    let url = std::env::var("FIRSTCOME_REDIS_URL").unwrap_or_else(|_| {
        panic!(
            "FIRSTCOME_REDIS_URL is not set: run `make test`, or `eval \"$(scripts/parts env)\"`"
        )
    });
    RedisConfig {
        url: Some(url.into()),
        // Tests share the machine with a build, so slow replies are no failure.
        response_timeout: std::time::Duration::from_secs(10),
        ..RedisConfig::default()
    }
}

pub async fn redis_connection() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(redis_config().url.unwrap().expose_secret()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Removes the data of a test from Redis. That of a failed test stays, for analysis.
pub async fn forget(prefix: &str) {
    let mut connection = redis_connection().await;
    let pattern = format!("{prefix}:*");
    let options = redis::ScanOptions::default()
        .with_pattern(pattern)
        .with_count(10_000);
    let mut found = connection.scan_options::<String>(options).await.unwrap();
    let mut keys = Vec::new();
    while let Some(key) = found.next_item().await {
        keys.push(key.unwrap());
    }
    drop(found);
    if !keys.is_empty() {
        connection.unlink(keys).await.unwrap();
    }
}

#[tokio::test]
async fn both_gates_answer_a_ping() {
    let in_process = ScriptGate::in_process(Clock::System, "it").unwrap();
    let redis = redis_gate("it").await;
    for gate in [in_process, redis] {
        gate.ping().await.unwrap();
    }
}
