use super::*;

fn breakers(open: &Gauge) -> Breakers {
    Breakers::new(retry::Policy::default(), open.clone(), Gauge::default())
}

/// A topic with an unknown number of partitions.
fn topic(topic: Topic) -> Target {
    Target {
        topic,
        partition: None,
    }
}

fn partition(number: u32) -> Target {
    Target {
        partition: Some(number),
        ..topic(Topic::Participation)
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time_checks_whether_the_broker_is_available() {
    let open = Gauge::default();
    let breakers = breakers(&open);
    let first = breakers.ask(topic(Topic::Participation)).unwrap();
    breakers.broker_failed(first, "test");
    assert_eq!(open.get(), 1);
    tokio::time::sleep(Duration::from_millis(101)).await;
    let probe = breakers.ask(topic(Topic::Participation)).unwrap();
    assert!(probe.is_probe());
    assert!(breakers.ask(topic(Topic::Campaign)).is_err());
    assert_eq!(breakers.states().0, BreakerState::Probing);
    breakers.answered(probe);
    assert_eq!(open.get(), 0);
    assert!(breakers.ask(topic(Topic::Campaign)).is_ok());
    assert!(breakers.closed());
    assert_eq!(breakers.states().0, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_unwritable_topic_delays_no_other() {
    let open = Gauge::default();
    let breakers = breakers(&open);
    let permission = breakers.ask(topic(Topic::Participation)).unwrap();
    breakers.destination(permission, "test");
    assert_eq!(open.get(), 1);
    let (broker, topics) = breakers.states();
    assert_eq!(broker, BreakerState::Closed);
    let held = topics
        .into_iter()
        .filter(|(_, state)| *state == BreakerState::Open);
    let held: Vec<Topic> = held.map(|(topic, _)| topic).collect();
    assert_eq!(held, [Topic::Participation]);
    assert!(breakers.ask(topic(Topic::Campaign)).is_ok());
    assert!(!breakers.closed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_accepts_nothing_delays_no_other() {
    let (open, failing) = (Gauge::default(), Gauge::default());
    let breakers = Breakers::new(retry::Policy::default(), open.clone(), failing.clone());
    let first = breakers.ask(partition(2)).unwrap();
    breakers.partition(first, None, "test");
    assert_eq!((open.get(), failing.get()), (1, 1));
    assert!(
        breakers.ask(partition(2)).is_err()
            && breakers.failing_partitions(Topic::Participation) == [2]
    );
    let other = breakers.ask(partition(1)).unwrap();
    assert!(!other.is_probe());
    assert!(!breakers.answered(other), "of partition 2 it says nothing");
    assert_eq!(breakers.states().1[0].1, BreakerState::Open);
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert_eq!(breakers.partitions_to_probe(Topic::Participation), [2]);
    let probe = breakers.ask(partition(2)).unwrap();
    assert!(probe.is_probe() && breakers.ask(partition(2)).is_err());
    assert_eq!(breakers.failing_partitions(Topic::Participation), [2]);
    assert!(breakers.answered(probe));
    assert_eq!((open.get(), failing.get()), (0, 0));
    assert!(breakers.closed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_identified_by_its_failure_is_held_back_alone() {
    let open = Gauge::default();
    let breakers = breakers(&open);
    let first = breakers.ask(topic(Topic::Participation)).unwrap();
    let second = breakers.ask(topic(Topic::Participation)).unwrap();
    breakers.partition(first, Some(2), "test");
    assert!(breakers.topic_wait(Topic::Participation).is_none());
    assert!(breakers.ask(partition(1)).is_ok() && breakers.ask(partition(2)).is_err());
    breakers.partition(second, None, "test");
    assert!(
        breakers.topic_wait(Topic::Participation).is_some(),
        "it may be any"
    );
}
