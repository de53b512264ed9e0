//! The commands of hashes.

use std::collections::HashMap;

use super::{Answer, Keyspace, Outcome, Value, count, wrong_type};

impl Keyspace {
    pub(super) fn hmget(&self, key: &str, fields: &[&str]) -> Outcome {
        let hash = self.hash(key)?;
        let value = |field: &&str| {
            hash.and_then(|hash| hash.get(*field))
                .map_or(Answer::Nil, |value| Answer::Text(value.clone()))
        };
        Ok(Answer::List(fields.iter().map(value).collect()))
    }

    pub(super) fn hset(&mut self, key: &str, pairs: &[&str]) -> Outcome {
        let hash = self.hash_mut(key)?;
        let mut added = 0;
        for pair in pairs.chunks_exact(2) {
            if let [field, value] = pair
                && hash
                    .insert((*field).to_owned(), (*value).to_owned())
                    .is_none()
            {
                added += 1;
            }
        }
        Ok(count(added))
    }

    pub(super) fn hdel(&mut self, key: &str, fields: &[&str]) -> Outcome {
        if self.hash(key)?.is_none() {
            return Ok(count(0));
        }
        let hash = self.hash_mut(key)?;
        let removed = fields
            .iter()
            .filter(|field| hash.remove(**field).is_some())
            .count();
        if hash.is_empty() {
            self.keys.remove(key);
        }
        Ok(count(removed))
    }

    pub(super) fn hash(&self, key: &str) -> Result<Option<&HashMap<String, String>>, String> {
        match self.live(key).map(|key| &key.value) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(Value::Text(_)) => Err(wrong_type()),
        }
    }

    pub(super) fn hash_mut(&mut self, key: &str) -> Result<&mut HashMap<String, String>, String> {
        match self.value_mut(key, || Value::Hash(HashMap::new())) {
            Value::Hash(hash) => Ok(hash),
            Value::Text(_) => Err(wrong_type()),
        }
    }
}
