//! A rush on one campaign, and the checks after it.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::process::{Service, body};

/// The responses to a rush.
pub struct Sale {
    pub campaign: i64,
    pub accepted: Vec<Value>,
}

/// `users` users and `duplicates` second attempts of some of them, all at once, in a random order.
pub async fn rush(service: &Service, stock: u64, users: i64, duplicates: i64) -> Sale {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let campaign = service
        .create(json!({ "name": "a rush", "kind": "general", "totalStock": stock }))
        .await;
    let mut line: Vec<i64> = (1..=users).chain(1..=duplicates).collect();
    line.shuffle(&mut StdRng::seed_from_u64(seed));
    let answers: Vec<(u16, Value)> = futures_util::stream::iter(line)
        .map(|user| async move {
            let answer = service.take_part(campaign, user).await;
            (answer.status().as_u16(), body(answer).await)
        })
        .buffer_unordered(128)
        .collect()
        .await;
    let mut accepted = Vec::new();
    for (status, answer) in answers {
        match status {
            201 => accepted.push(answer),
            409 => {
                let code = answer["code"].as_str().unwrap();
                assert!(
                    ["SOLD_OUT", "ALREADY_PARTICIPATED"].contains(&code),
                    "{answer}"
                );
            }
            other => panic!("{other}: {answer}"),
        }
    }
    Sale { campaign, accepted }
}

impl Sale {
    /// Exactly the stock was sold, each unit to another user, with ranks 1 to n.
    pub fn is_exact(&self, stock: u64) {
        let stock = usize::try_from(stock).unwrap();
        assert_eq!(self.accepted.len(), stock);
        let users: BTreeSet<i64> = self
            .accepted
            .iter()
            .map(|yes| yes["userId"].as_i64().unwrap())
            .collect();
        assert_eq!(users.len(), stock, "nobody won twice");
        let ranks: Vec<u64> = {
            let mut ranks: Vec<u64> = self
                .accepted
                .iter()
                .map(|yes| yes["rank"].as_u64().unwrap())
                .collect();
            ranks.sort_unstable();
            ranks
        };
        assert!(
            ranks.iter().copied().eq(1..=u64::try_from(stock).unwrap()),
            "no gap, no repeat"
        );
        assert_eq!(self.ids().len(), stock);
    }

    pub fn ids(&self) -> BTreeSet<String> {
        self.accepted
            .iter()
            .map(|yes| yes["participationId"].as_str().unwrap().to_owned())
            .collect()
    }
}
