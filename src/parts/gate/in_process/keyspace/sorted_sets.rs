//! The commands of sorted sets.

use std::collections::{BTreeSet, HashMap};

use super::{Answer, Keyspace, Outcome, Value, count, whole, wrong_type};

/// A sorted set; its scores here are whole numbers.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) scores: HashMap<String, i64>,
    pub(super) order: BTreeSet<(i64, String)>,
}

impl Keyspace {
    pub(super) fn zadd(&mut self, key: &str, pairs: &[&str]) -> Outcome {
        let mut members = Vec::with_capacity(pairs.len() / 2);
        for pair in pairs.chunks_exact(2) {
            if let [score, member] = pair {
                members.push((whole(score)?, (*member).to_owned()));
            }
        }
        let set = self.sorted_mut(key)?;
        let mut added = 0;
        for (score, member) in members {
            match set.scores.insert(member.clone(), score) {
                Some(old) => {
                    set.order.remove(&(old, member.clone()));
                }
                None => added += 1,
            }
            set.order.insert((score, member));
        }
        Ok(count(added))
    }

    pub(super) fn zrem(&mut self, key: &str, members: &[&str]) -> Outcome {
        if self.sorted(key)?.is_none() {
            return Ok(count(0));
        }
        let set = self.sorted_mut(key)?;
        let mut removed = 0;
        for member in members {
            if let Some(score) = set.scores.remove(*member) {
                set.order.remove(&(score, (*member).to_owned()));
                removed += 1;
            }
        }
        if set.order.is_empty() {
            self.keys.remove(key);
        }
        Ok(count(removed))
    }

    pub(super) fn zrangebyscore(&self, key: &str, max: i64, limit: i64) -> Outcome {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let members = self.sorted(key)?.map_or_else(Vec::new, |set| {
            set.order
                .iter()
                .take_while(|(score, _)| *score <= max)
                .take(limit)
                .map(|(_, member)| Answer::Text(member.clone()))
                .collect()
        });
        Ok(Answer::List(members))
    }

    pub(super) fn sorted(&self, key: &str) -> Result<Option<&Sorted>, String> {
        match self.live(key).map(|key| &key.value) {
            None => Ok(None),
            Some(Value::Sorted(set)) => Ok(Some(set)),
            Some(Value::Text(_) | Value::Hash(_)) => Err(wrong_type()),
        }
    }

    pub(super) fn sorted_mut(&mut self, key: &str) -> Result<&mut Sorted, String> {
        match self.value_mut(key, || Value::Sorted(Sorted::default())) {
            Value::Sorted(set) => Ok(set),
            Value::Text(_) | Value::Hash(_) => Err(wrong_type()),
        }
    }
}
