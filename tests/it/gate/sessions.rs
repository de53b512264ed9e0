//! Sessions: one suite of checks on both engines. In one engine the clock is advanced; in the other the stored times
//! are shifted into the past.

use std::time::Duration;

use firstcome::domain::UserId;
use firstcome::parts::gate::{Digest, Lifetime, Opened, Opening, ScriptGate, Series, SeriesToken};
use firstcome::runtime::clock::Clock;
use redis::AsyncTypedCommands;
use uuid::Uuid;

use super::{forget, redis_config, redis_connection};

const ADA: UserId = UserId(7);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const IDLE: Duration = HOUR;

/// A gate whose time a test can advance.
struct Scene {
    gate: ScriptGate,
    time: Time,
}

enum Time {
    Manual(Clock),
    Redis(String),
}

impl Scene {
    fn in_process() -> Self {
        let clock = Clock::manual(Clock::System.now());
        Self {
            gate: ScriptGate::in_process(clock.clone(), "it").unwrap(),
            time: Time::Manual(clock),
        }
    }

    async fn redis() -> Self {
        let prefix = format!("it-{}", Uuid::now_v7());
        let gate = ScriptGate::redis(&redis_config(), &prefix).await.unwrap();
        Self {
            gate,
            time: Time::Redis(prefix),
        }
    }

    async fn pass(&self, time: Duration) {
        let prefix = match &self.time {
            Time::Manual(clock) => return clock.advance(time),
            Time::Redis(prefix) => prefix,
        };
        let mut redis = redis_connection().await;
        for name in ["sessions", "series"] {
            let key = format!("{prefix}:{{account:{ADA}}}:{name}");
            for (field, kept) in redis.hgetall(&key).await.unwrap() {
                let mut parts: Vec<String> = kept.splitn(3, ' ').map(str::to_owned).collect();
                for part in &mut parts[..2] {
                    let micros: u128 = part.parse().unwrap();
                    *part = (micros - time.as_micros()).to_string();
                }
                redis.hset(&key, field, parts.join(" ")).await.unwrap();
            }
        }
    }

    async fn open(&self, name: &str) -> Opened {
        let opening = opening(name);
        self.gate.open_session(ADA, opening).await.unwrap()
    }

    /// Continues the series, or begins it if no token is shown.
    async fn open_in_series(&self, name: &str, shown: &str, next: &str) -> Opened {
        let opening = Opening {
            series: Some(Series {
                series: Digest::of("a series"),
                shown: (!shown.is_empty()).then(|| Digest::of(shown)),
                next: Digest::of(next),
                lasts: 24 * HOUR,
                series_max: 3,
                grace: MINUTE,
            }),
            ..opening(name)
        };
        self.gate.open_session(ADA, opening).await.unwrap()
    }

    async fn is_open(&self, name: &str) -> bool {
        let found = self.gate.find_session(ADA, Digest::of(name), IDLE);
        let found = found.await.unwrap();
        assert!(
            found
                .iter()
                .all(|found| found.scopes == "stats:read test:run")
        );
        found.is_some()
    }
}

fn opening(name: &str) -> Opening<'_> {
    Opening {
        session: Digest::of(name),
        address: Some("192.0.2.1".to_owned()),
        lifetime: Lifetime {
            idle: IDLE,
            longest: 3 * HOUR,
        },
        scopes: "stats:read test:run",
        version: 1,
        sessions_max: 3,
        series: None,
    }
}

fn is_yes(opened: Opened) -> bool {
    matches!(opened, Opened::Session { .. })
}

/// Declares one test of each check per engine.
macro_rules! suite {
    ($($check:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $check() {
                super::$check(&super::Scene::in_process()).await;
            })+
        }

        mod in_redis {
            $(#[tokio::test]
            async fn $check() {
                let scene = super::Scene::redis().await;
                super::$check(&scene).await;
                if let super::Time::Redis(prefix) = &scene.time {
                    super::forget(prefix).await;
                }
            })+
        }
    };
}

suite! {
    a_session_ends_when_it_is_idle_or_at_its_maximum_age,
    sessions_of_others_are_not_found,
    a_session_ends_alone_and_all_end_together,
    a_log_in_with_an_outdated_account_opens_no_session,
    the_session_that_would_be_over_next_makes_room,
    a_token_is_good_once_and_its_copy_ends_everything,
    concurrent_uses_of_a_remember_token_are_no_theft,
    a_series_ends_when_it_was_to_from_the_beginning,
    a_series_can_be_ended,
    a_token_of_a_series_is_looked_at_without_being_used,
}

async fn a_session_ends_when_it_is_idle_or_at_its_maximum_age(scene: &Scene) {
    let Opened::Session {
        ends_at,
        series_ends_at,
    } = scene.open("one").await
    else {
        panic!("not opened");
    };
    assert_eq!(series_ends_at, None);
    let found = scene.gate.find_session(ADA, Digest::of("one"), IDLE).await;
    assert_eq!(found.unwrap().unwrap().ends_at, ends_at);
    // With a request every 50 minutes it lives for its three hours.
    for _ in 0..3 {
        scene.pass(50 * MINUTE).await;
        assert!(scene.is_open("one").await);
    }
    scene.pass(29 * MINUTE).await;
    assert!(scene.is_open("one").await);
    scene.pass(MINUTE).await;
    assert!(!scene.is_open("one").await, "three hours are over");
    assert!(is_yes(scene.open("two").await));
    scene.pass(59 * MINUTE).await;
    assert!(scene.is_open("two").await);
    scene.pass(HOUR).await;
    assert!(!scene.is_open("two").await, "nobody asked for an hour");
}

async fn sessions_of_others_are_not_found(scene: &Scene) {
    assert!(is_yes(scene.open("one").await));
    let (one, other) = (Digest::of("one"), UserId(8));
    let found = scene.gate.find_session(other, one, IDLE).await;
    assert_eq!(found.unwrap(), None);
    assert!(!scene.is_open("two").await);
    scene
        .gate
        .end_session(other, Some(one), None)
        .await
        .unwrap();
    assert_eq!(
        scene.gate.revoke_sessions(other, 9, MINUTE).await.unwrap(),
        0
    );
    assert!(scene.is_open("one").await);
}

async fn a_session_ends_alone_and_all_end_together(scene: &Scene) {
    for name in ["one", "two", "three"] {
        assert!(is_yes(scene.open(name).await));
    }
    let one = Some(Digest::of("one"));
    for _ in 0..2 {
        scene.gate.end_session(ADA, one, None).await.unwrap();
    }
    assert!(!scene.is_open("one").await);
    assert!(scene.is_open("two").await && scene.is_open("three").await);
    assert_eq!(scene.gate.revoke_sessions(ADA, 2, MINUTE).await.unwrap(), 2);
    assert!(!scene.is_open("two").await && !scene.is_open("three").await);
}

async fn a_log_in_with_an_outdated_account_opens_no_session(scene: &Scene) {
    let newer = |version| Opening {
        version,
        ..opening("one")
    };
    scene.gate.revoke_sessions(ADA, 3, MINUTE).await.unwrap();
    // A floor is never lowered.
    scene.gate.revoke_sessions(ADA, 2, MINUTE).await.unwrap();
    for (version, opens) in [(1, false), (2, false), (3, true), (4, true)] {
        let opened = scene.gate.open_session(ADA, newer(version)).await.unwrap();
        assert_eq!(is_yes(opened), opens, "{version}: {opened:?}");
        assert!(opens || opened == Opened::Stale);
    }
    // If the change is never committed, the account is not locked out forever.
    if let Time::Manual(clock) = &scene.time {
        clock.advance(MINUTE);
        assert!(is_yes(scene.open("one").await));
    }
}

async fn the_session_that_would_be_over_next_makes_room(scene: &Scene) {
    for name in ["one", "two", "three"] {
        assert!(is_yes(scene.open(name).await));
        scene.pass(10 * MINUTE).await;
    }
    assert!(scene.is_open("one").await, "and so it is not the next");
    assert!(is_yes(scene.open("four").await));
    let mut open = Vec::new();
    for name in ["one", "two", "three", "four"] {
        open.push(scene.is_open(name).await);
    }
    assert_eq!(open, [true, false, true, true]);
}

async fn a_token_is_good_once_and_its_copy_ends_everything(scene: &Scene) {
    assert!(is_yes(scene.open("elsewhere").await));
    assert!(is_yes(scene.open_in_series("one", "", "a").await));
    scene.pass(2 * MINUTE).await;
    assert!(is_yes(scene.open_in_series("two", "a", "b").await));
    scene.pass(2 * MINUTE).await;
    let copied = scene.open_in_series("three", "a", "c").await;
    assert_eq!(copied, Opened::Stolen { sessions: 3 });
    for name in ["elsewhere", "one", "two", "three"] {
        assert!(!scene.is_open(name).await, "{name}");
    }
    let honest = scene.open_in_series("four", "b", "d").await;
    assert_eq!(honest, Opened::Unknown);
}

async fn concurrent_uses_of_a_remember_token_are_no_theft(scene: &Scene) {
    assert!(is_yes(scene.open_in_series("one", "", "a").await));
    assert!(is_yes(scene.open_in_series("two", "a", "b").await));
    scene.pass(MINUTE / 2).await;
    let late = scene.open_in_series("three", "a", "c").await;
    assert_eq!(late, Opened::JustUsed);
    assert!(scene.is_open("two").await && !scene.is_open("three").await);
    // Only the previous token: an older one always counts as a copy.
    assert!(is_yes(scene.open_in_series("three", "b", "c").await));
    let older = scene.open_in_series("four", "a", "d").await;
    assert!(matches!(older, Opened::Stolen { .. }), "{older:?}");
}

async fn a_series_ends_when_it_was_to_from_the_beginning(scene: &Scene) {
    let begun = scene.open_in_series("one", "", "a").await;
    let Opened::Session {
        series_ends_at: Some(begun),
        ..
    } = begun
    else {
        panic!("not begun: {begun:?}");
    };
    scene.pass(23 * HOUR).await;
    let went_on = scene.open_in_series("two", "a", "b").await;
    let Opened::Session {
        series_ends_at: Some(ends_at),
        ..
    } = went_on
    else {
        panic!("did not go on: {went_on:?}");
    };
    let by_now = match &scene.time {
        Time::Manual(_) => begun,
        // In Redis the stored times were made older.
        Time::Redis(_) => begun - 23 * HOUR,
    };
    assert_eq!(ends_at, by_now);
    scene.pass(HOUR).await;
    let over = scene.open_in_series("three", "b", "c").await;
    assert_eq!(over, Opened::Unknown);
}

async fn a_series_can_be_ended(scene: &Scene) {
    assert!(is_yes(scene.open_in_series("one", "", "a").await));
    let series = Some(Digest::of("a series"));
    scene.gate.end_session(ADA, None, series).await.unwrap();
    assert!(scene.is_open("one").await);
    let ended = scene.open_in_series("two", "a", "b").await;
    assert_eq!(ended, Opened::Unknown);
    assert!(is_yes(scene.open_in_series("two", "", "c").await));
    scene.gate.revoke_sessions(ADA, 1, MINUTE).await.unwrap();
    let revoked = scene.open_in_series("three", "c", "d").await;
    assert_eq!(revoked, Opened::Unknown);
}

async fn a_token_of_a_series_is_looked_at_without_being_used(scene: &Scene) {
    let look = async |account, shown: &str| {
        let series = Digest::of("a series");
        let found = scene.gate.find_series(account, series, Digest::of(shown));
        found.await.unwrap()
    };
    assert_eq!(look(ADA, "a").await, SeriesToken::Unknown);
    assert!(is_yes(scene.open_in_series("one", "", "a").await));
    for _ in 0..3 {
        assert_eq!(look(ADA, "a").await, SeriesToken::Current);
    }
    assert_eq!(look(ADA, "b").await, SeriesToken::Replaced);
    assert_eq!(look(UserId(8), "a").await, SeriesToken::Unknown);
    scene.pass(2 * MINUTE).await;
    assert!(is_yes(scene.open_in_series("two", "a", "b").await));
    assert_eq!(look(ADA, "a").await, SeriesToken::Replaced);
    assert_eq!(look(ADA, "b").await, SeriesToken::Current);
    // A check of a copy ends nothing; its use does.
    assert!(scene.is_open("one").await);
    scene.pass(24 * HOUR).await;
    assert_eq!(look(ADA, "b").await, SeriesToken::Unknown);
}
