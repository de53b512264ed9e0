use std::time::Duration;

use super::*;

fn keyspace() -> (Keyspace, Clock) {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    (Keyspace::new(clock.clone(), "run".to_owned()), clock)
}

#[test]
fn an_unknown_command_and_a_wrong_number_of_arguments_are_refused() {
    let (mut keyspace, _) = keyspace();
    for words in [
        &["GET", "k"][..],
        &["HSET", "k", "field"],
        &["HMGET", "k"],
        &["SET", "k", "v", "PX", "1.5"],
        &[],
    ] {
        let error = keyspace.call(words).unwrap_err();
        assert!(error.starts_with("ERR"), "{words:?}: {error}");
    }
    assert_eq!(keyspace.call(&["EXISTS", "k"]), Ok(Answer::Integer(0)));
}

#[test]
fn a_key_of_another_type_is_rejected() {
    let (mut keyspace, _) = keyspace();
    keyspace.call(&["HSET", "hash", "f", "v"]).unwrap();
    keyspace.call(&["SET", "text", "v", "PX", "9"]).unwrap();
    for words in [
        &["HSET", "text", "f", "v"][..],
        &["HGET", "text", "f"],
        &["HDEL", "text", "f"],
    ] {
        let error = keyspace.call(words).unwrap_err();
        assert!(error.starts_with("WRONGTYPE"), "{words:?}: {error}");
    }
}

#[test]
fn a_key_whose_value_becomes_empty_is_deleted() {
    let (mut keyspace, _) = keyspace();
    keyspace.call(&["HSET", "hash", "f", "v"]).unwrap();
    keyspace.call(&["HDEL", "hash", "f"]).unwrap();
    assert_eq!(keyspace.call(&["EXISTS", "hash"]), Ok(Answer::Integer(0)));
}

#[test]
fn a_key_expires_unless_its_expiry_was_removed() {
    let (mut keyspace, clock) = keyspace();
    for key in ["goes", "stays"] {
        keyspace.call(&["HSET", key, "f", "v"]).unwrap();
        keyspace.call(&["PEXPIRE", key, "10"]).unwrap();
    }
    keyspace.call(&["RENAME", "stays", "renamed"]).unwrap();
    keyspace.call(&["PERSIST", "renamed"]).unwrap();
    clock.advance(Duration::from_millis(10));
    assert_eq!(keyspace.call(&["HGET", "goes", "f"]), Ok(Answer::Nil));
    assert_eq!(keyspace.call(&["HLEN", "renamed"]), Ok(Answer::Integer(1)));
}
