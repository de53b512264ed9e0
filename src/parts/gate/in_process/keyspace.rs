//! The part of Redis that the gate's scripts use, in memory: texts, hashes and the time. It rejects all other
//! commands, so that the first test detects a script that needs more.

mod hashes;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::runtime::clock::Clock;

/// Interval between sweeps of expired keys.
const SWEEP_MS: i64 = 1_000;

/// The reply of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Nil,
    Integer(i64),
    Text(String),
    List(Vec<Answer>),
}

/// Keys and their values.
pub(super) struct Keyspace {
    keys: HashMap<String, Key>,
    clock: Clock,
    run_id: String,
    swept_ms: i64,
}

struct Key {
    value: Value,
    expires_at_ms: Option<i64>,
}

enum Value {
    Text(String),
    Hash(HashMap<String, String>),
}

type Outcome = Result<Answer, String>;

impl Keyspace {
    /// No keys.
    pub(super) fn new(clock: Clock, run_id: String) -> Self {
        Self {
            keys: HashMap::new(),
            clock,
            run_id,
            swept_ms: 0,
        }
    }

    /// Runs one command. Errors are texts that begin with a code, as in Redis.
    pub(super) fn call(&mut self, words: &[&str]) -> Outcome {
        match words {
            ["TIME"] => Ok(self.time()),
            ["INFO", "server", "replication"] => {
                Ok(Answer::Text(format!("run_id:{}\r\n", self.run_id)))
            }
            ["MGET", keys @ ..] if !keys.is_empty() => {
                Ok(Answer::List(keys.iter().map(|key| self.get(key)).collect()))
            }
            ["SET", key, value, "PX", millis] => self.set(key, value, whole(millis)?),
            ["HGET", key, field] => {
                let value = self.hash(key)?.and_then(|hash| hash.get(*field));
                Ok(value.map_or(Answer::Nil, |value| Answer::Text(value.clone())))
            }
            ["HMGET", key, fields @ ..] if !fields.is_empty() => self.hmget(key, fields),
            ["HGETALL", key] => {
                let pairs = self.hash(key)?.into_iter().flatten();
                let items = pairs.flat_map(|(field, value)| [field, value]);
                Ok(Answer::List(
                    items.map(|text| Answer::Text(text.clone())).collect(),
                ))
            }
            ["HLEN", key] => Ok(count(self.hash(key)?.map_or(0, HashMap::len))),
            ["HSET", key, pairs @ ..] if !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
                self.hset(key, pairs)
            }
            ["HDEL", key, fields @ ..] if !fields.is_empty() => self.hdel(key, fields),
            ["EXISTS", key] => Ok(count(usize::from(self.live(key).is_some()))),
            ["DEL" | "UNLINK", keys @ ..] if !keys.is_empty() => {
                let removed = keys.iter().filter(|key| self.remove(key)).count();
                Ok(count(removed))
            }
            ["RENAME", from, to] => self.rename(from, to),
            ["PTTL", key] => Ok(Answer::Integer(self.millis_left(key))),
            ["MEMORY", "USAGE", key, "SAMPLES", _] => Ok(self.usage(key)),
            ["PEXPIRE", key, millis] => Ok(self.expire(key, whole(millis)?)),
            ["PERSIST", key] => Ok(self.persist(key)),
            [name, ..] => Err(format!("ERR unknown command or wrong arguments: {name}")),
            [] => Err("ERR no command".to_owned()),
        }
    }

    fn time(&self) -> Answer {
        let now_us = self.clock.now().timestamp_micros();
        let part = |number: i64| Answer::Text(number.to_string());
        Answer::List(vec![
            part(now_us.div_euclid(1_000_000)),
            part(now_us.rem_euclid(1_000_000)),
        ])
    }

    /// Nothing if the value has another type, as in Redis.
    fn get(&self, key: &str) -> Answer {
        match self.live(key).map(|key| &key.value) {
            Some(Value::Text(text)) => Answer::Text(text.clone()),
            Some(Value::Hash(_)) | None => Answer::Nil,
        }
    }

    fn set(&mut self, key: &str, value: &str, millis: i64) -> Outcome {
        if millis < 1 {
            return Err("ERR invalid expire time in 'set' command".to_owned());
        }
        let value = Key {
            value: Value::Text(value.to_owned()),
            expires_at_ms: None,
        };
        self.keys.insert(key.to_owned(), value);
        self.expire(key, millis);
        Ok(Answer::Text("OK".to_owned()))
    }

    fn rename(&mut self, from: &str, to: &str) -> Outcome {
        if self.live(from).is_none() {
            return Err("ERR no such key".to_owned());
        }
        if let Some(key) = self.keys.remove(from) {
            self.keys.insert(to.to_owned(), key);
        }
        Ok(Answer::Text("OK".to_owned()))
    }

    /// Deletes expired keys at intervals: only keys with an expiry can be abandoned.
    fn expire(&mut self, key: &str, millis: i64) -> Answer {
        let now_ms = self.clock.now_millis();
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
            self.swept_ms = now_ms;
            self.keys
                .retain(|_, key| key.expires_at_ms.is_none_or(|at_ms| now_ms < at_ms));
        }
        let Some(key) = self.keys.get_mut(key) else {
            return count(0);
        };
        key.expires_at_ms = Some(now_ms.saturating_add(millis));
        count(1)
    }

    /// As in Redis: -2 without such a key, -1 for a key without expiry.
    fn millis_left(&self, key: &str) -> i64 {
        match self.live(key).map(|key| key.expires_at_ms) {
            None => -2,
            Some(None) => -1,
            Some(Some(at_ms)) => at_ms - self.clock.now_millis(),
        }
    }

    /// Bytes of a key's texts, without the overhead of the tables.
    fn usage(&self, key: &str) -> Answer {
        let texts = |hash: &HashMap<String, String>| -> usize {
            hash.iter()
                .map(|(field, value)| field.len() + value.len())
                .sum()
        };
        self.live(key)
            .map_or(Answer::Nil, |found| match &found.value {
                Value::Hash(hash) => count(key.len() + texts(hash)),
                Value::Text(text) => count(key.len() + text.len()),
            })
    }

    fn persist(&mut self, key: &str) -> Answer {
        let key = self.keys.get_mut(key);
        let had_time = key.and_then(|key| key.expires_at_ms.take()).is_some();
        count(usize::from(had_time))
    }

    fn remove(&mut self, key: &str) -> bool {
        let live = self.live(key).is_some();
        self.keys.remove(key);
        live
    }

    fn live(&self, key: &str) -> Option<&Key> {
        let now_ms = || self.clock.now_millis();
        self.keys
            .get(key)
            .filter(|key| key.expires_at_ms.is_none_or(|at_ms| now_ms() < at_ms))
    }

    fn value_mut(&mut self, key: &str, empty: impl FnOnce() -> Value) -> &mut Value {
        if self.live(key).is_none() {
            self.keys.remove(key);
        }
        let key = match self.keys.entry(key.to_owned()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => slot.insert(Key {
                value: empty(),
                expires_at_ms: None,
            }),
        };
        &mut key.value
    }
}

fn count(number: usize) -> Answer {
    Answer::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn whole(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("ERR {text:?} is not a whole number"))
}

fn wrong_type() -> String {
    "WRONGTYPE Operation against a key holding the wrong kind of value".to_owned()
}

#[cfg(test)]
mod tests;
