//! Checks that only one of the gates supports: exact times with a stopped clock, and a Redis that fails.

use std::sync::Arc;
use std::time::Duration;

use firstcome::domain::{Refusal, Timestamp, UserId};
use firstcome::parts::gate::{
    Digest, Entrant, GateError, Key, KeyDigest, KeyRefused, LoginBounds, LoginTry, RedisConfig,
    ScriptGate, Settings, StartError, UserUnits,
};
use firstcome::runtime::clock::Clock;
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::subject::{LEASE, Subject, already, entrant, same_again, settings, ticket};
use super::{forget, redis_config, redis_connection};

const NOON: Timestamp = Timestamp::UNIX_EPOCH;

fn at_noon() -> (Subject, Clock) {
    let clock = Clock::manual(NOON);
    let gate = ScriptGate::in_process(clock.clone(), "it").unwrap();
    (Subject::new(Arc::new(gate), NOON), clock)
}

#[tokio::test]
async fn the_window_opens_and_closes_at_its_exact_times() {
    let (subject, clock) = at_noon();
    let settings = Settings {
        opens_at: Some(subject.hours(1)),
        closes_at: Some(subject.hours(2)),
        ..settings(Some(5))
    };
    subject.start(&settings).await.unwrap();
    let not_yet = Refusal::NotOpenYet {
        opens_at: Some(subject.hours(1)),
    };
    let hour = Duration::from_secs(3_600);
    let moment = Duration::from_millis(1);
    clock.advance(hour.checked_sub(moment).unwrap());
    subject
        .refused(entrant(1, 1), not_yet, Some(5))
        .await
        .unwrap();
    clock.advance(moment);
    subject.enter(entrant(1, 1)).await.unwrap();
    clock.advance(hour.checked_sub(moment).unwrap());
    subject.enter(entrant(2, 1)).await.unwrap();
    clock.advance(moment);
    subject
        .refused(entrant(3, 1), Refusal::Ended, Some(3))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lease_expires_at_its_exact_time() {
    let (subject, clock) = at_noon();
    subject.start(&settings(Some(5))).await.unwrap();
    let first = entrant(1, 1);
    let ticket = subject.enter(first).await.unwrap();
    assert_eq!(ticket.lease_until, NOON + LEASE);
    clock.advance(LEASE.checked_sub(Duration::from_millis(1)).unwrap());
    // A repeated request gets no later deadline than the gate's own.
    let again = subject.enter(first).await.unwrap();
    assert_eq!(again.left, Duration::from_millis(1));
    assert_eq!(subject.expired(9).await.unwrap(), []);
    clock.advance(Duration::from_millis(1));
    let expired = subject.expired(9).await.unwrap();
    assert_eq!(expired[0].participation, first.participation);
    assert_eq!(expired[0].ends_at, ticket.lease_until);
}

#[tokio::test]
async fn a_rebuilt_state_stays() {
    let (subject, clock) = at_noon();
    let seat = entrant(1, 1);
    let seats = [UserUnits {
        user: seat.user,
        units: 1,
        first: seat.participation,
    }];
    let settings = settings(Some(5));
    subject.rebuild(1, &settings, &seats, 1).await.unwrap();
    clock.advance(Duration::from_secs(24 * 3_600));
    let refusal = already(seat);
    subject
        .refused(entrant(1, 1), refusal, Some(4))
        .await
        .unwrap();
}

#[test]
fn a_prefix_with_braces_is_refused() {
    let refused = ScriptGate::in_process(Clock::System, "a{b}");
    assert!(matches!(refused, Err(StartError::Prefix(_))));
}

#[tokio::test]
async fn an_unreachable_redis_is_named_at_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = RedisConfig {
        url: Some(format!("redis://user:secret@{address}").into()),
        ..RedisConfig::default()
    };
    let error = ScriptGate::redis(&config, "it").await.err().unwrap();
    assert_eq!(error.to_string(), format!("connect to Redis at {address}"));
    let bad = RedisConfig {
        url: Some("not a url".into()),
        ..RedisConfig::default()
    };
    let error = ScriptGate::redis(&bad, "it").await.err().unwrap();
    assert!(matches!(error, StartError::Url(_)));
}

#[tokio::test]
async fn a_silent_redis_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = RedisConfig {
        url: Some(format!("redis://{}", listener.local_addr().unwrap()).into()),
        connect_timeout: Duration::from_millis(50),
        response_timeout: Duration::from_millis(50),
        ..RedisConfig::default()
    };
    let connecting = ScriptGate::redis(&config, "it");
    let given_up = tokio::time::timeout(Duration::from_secs(10), connecting).await;
    assert!(matches!(given_up, Ok(Err(StartError::Connect { .. }))));
}

#[tokio::test]
async fn scripts_missing_from_redis_are_loaded_again() {
    let prefix = format!("it-{}", Uuid::now_v7());
    let gate = ScriptGate::redis(&redis_config(), &prefix).await.unwrap();
    let subject = Subject::new(Arc::new(gate), NOON);
    subject.start(&settings(Some(1))).await.unwrap();
    let mut connection = redis_connection().await;
    let mut flush = redis::cmd("SCRIPT");
    flush
        .arg("FLUSH")
        .exec_async(&mut connection)
        .await
        .unwrap();
    subject.enter(entrant(1, 1)).await.unwrap();
    forget(&prefix).await;
}

/// A relay in front of Redis whose connections can be cut.
struct Relay {
    listener: TcpListener,
    redis: String,
}

impl Relay {
    async fn accept_into(&self, connections: &mut JoinSet<()>) {
        let (mut near, _) = self.listener.accept().await.unwrap();
        let mut far = TcpStream::connect(&self.redis).await.unwrap();
        connections.spawn(async move {
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
    }
}

#[tokio::test]
async fn a_closed_connection_is_a_distinct_error_and_reconnects() {
    let config = redis_config();
    let url = config.url.as_ref().unwrap().expose_secret().to_owned();
    let relay = Relay {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        redis: url.trim_start_matches("redis://").to_owned(),
    };
    let near = format!("redis://{}", relay.listener.local_addr().unwrap());
    let config = RedisConfig {
        url: Some(near.into()),
        ..config
    };
    let mut connections = JoinSet::new();
    let prefix = format!("it-{}", Uuid::now_v7());
    let (gate, ()) = tokio::join!(
        ScriptGate::redis(&config, &prefix),
        relay.accept_into(&mut connections)
    );
    let subject = Subject::new(Arc::new(gate.unwrap()), NOON);
    subject.start(&settings(Some(9))).await.unwrap();
    let first = entrant(1, 1);
    let answer = subject.ask(first).await.unwrap();
    ticket(&answer).unwrap();

    connections.shutdown().await;
    let call = [first];
    let (after_the_cut, ()) = tokio::join!(
        subject.gate.admit(subject.campaign, &call, LEASE),
        relay.accept_into(&mut connections)
    );
    match &after_the_cut {
        Err(GateError::Unavailable(_)) => {}
        Ok(answers) => same_again("after the cut", &answers[0], &answer).unwrap(),
        Err(other) => panic!("{other:?}"),
    }
    let again = subject.ask(first).await.unwrap();
    same_again("asked again", &again, &answer).unwrap();
    forget(&prefix).await;
}

fn set_back_to_noon(clock: &Clock) {
    let Clock::Manual(millis) = clock else {
        panic!("{clock:?}");
    };
    millis.store(NOON.timestamp_millis(), std::sync::atomic::Ordering::SeqCst);
}

#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_ends_within_the_length_of_a_lease() {
    let (subject, clock) = at_noon();
    clock.advance(10 * LEASE);
    subject.start(&settings(Some(5))).await.unwrap();
    let first = entrant(1, 1);
    subject.enter(first).await.unwrap();
    set_back_to_noon(&clock);
    // The lease begins again: the owner may still commit, by its own clock.
    assert_eq!(subject.expired(9).await.unwrap(), []);
    clock.advance(LEASE.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(subject.expired(9).await.unwrap(), []);
    clock.advance(Duration::from_millis(1));
    let expired = subject.expired(9).await.unwrap();
    assert_eq!(expired[0].participation, first.participation);
    assert_eq!(expired[0].ends_at, NOON + LEASE);
    let released = subject
        .gate
        .release_listed(subject.campaign, &expired)
        .await;
    assert_eq!(released.unwrap(), 1);
}

#[tokio::test]
async fn a_key_from_before_the_clock_was_set_back_is_refused_again() {
    let (subject, clock) = at_noon();
    clock.advance(10 * LEASE);
    subject.start(&settings(Some(1))).await.unwrap();
    let digest = KeyDigest::of(UserId(1), "a key");
    let keyed = || Entrant {
        key: Key::Decide(digest),
        ..entrant(1, 1)
    };
    let first = keyed();
    subject.enter(first).await.unwrap();
    subject.release(&[first]).await.unwrap();
    subject.enter(entrant(2, 1)).await.unwrap();
    set_back_to_noon(&clock);
    subject
        .refused(keyed(), Refusal::SoldOut, Some(0))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(2));
    let (gate, age) = (&subject.gate, Duration::from_secs(1));
    let refused = gate.refuse_key(subject.campaign, digest, age, LEASE).await;
    assert_eq!(refused.unwrap(), KeyRefused::Done { epoch: 1 });
}

#[tokio::test]
async fn a_log_in_does_not_wait_for_a_failure_from_before_the_clock_was_set_back() {
    let clock = Clock::manual(NOON + 10 * LEASE);
    let gate = ScriptGate::in_process(clock.clone(), "it").unwrap();
    let bounds = LoginBounds {
        failures_max: 1,
        failures_all_max: 1,
        delay_max: Duration::from_secs(60),
        forget: Duration::from_secs(900),
        good: Duration::from_secs(900),
        good_failures_max: 3,
        addresses_max: 10,
    };
    let name = Digest::of("somebody");
    let attempt = async || gate.try_login(name, "192.0.2.1", &bounds).await.unwrap();
    assert_eq!(attempt().await, LoginTry::Unknown);
    assert_eq!(attempt().await, LoginTry::Unknown);
    assert!(matches!(attempt().await, LoginTry::Wait(_)));
    set_back_to_noon(&clock);
    assert_eq!(attempt().await, LoginTry::Unknown);
    // The failures still count.
    assert!(matches!(attempt().await, LoginTry::Wait(_)));
}
