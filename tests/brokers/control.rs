//! The control: after an unclean election acknowledged records are gone. The judge must notice, `firstcome verify` must
//! name each lost event, and `firstcome outbox republish --lost` must send it again.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::evidence::Evidence;
use crate::judge::{Breach, judge};
use crate::key::Key;
use crate::replicas::all_published;
use crate::sale::round::output_of;
use crate::world::World;

/// Longest wait until the lost events are published again.
const PUBLISHING: Duration = Duration::from_secs(30);
const VERIFY: [&str; 3] = ["verify", "--topic", "--json"];

/// The lost events, and what was not as it must be.
#[derive(Debug, Default)]
pub struct Loss {
    pub events: BTreeSet<Uuid>,
    pub breaches: Vec<Breach>,
    /// Seconds from the command to the acknowledgement of the last lost event; none: not in time.
    pub republished: Option<f64>,
}

impl Loss {
    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.breaches.push(Breach::new("control", what()));
        }
    }
}

/// Finds the lost events, and sends them again.
pub async fn restore(world: &World) -> Loss {
    let evidence = world.evidence().await;
    let mut loss = Loss {
        events: missing(&evidence),
        ..Loss::default()
    };
    let count = loss.events.len();
    loss.hold(count > 0, || "no acknowledged record is gone".to_owned());
    let found = judge(&evidence, &[], &[]);
    let is_found = |one: &Breach| one.promise == "I4" && one.what.contains("never published");
    loss.hold(found.iter().any(is_found), || {
        format!("the judge found no lost event: {found:?}")
    });

    let verified = output_of(world.command(&VERIFY)).await;
    let named = named(&verified);
    loss.hold(!verified.status.success() && named == loss.events, || {
        format!("verify named {named:?}: {verified:?}")
    });

    let began = Instant::now();
    let sent = ["outbox", "republish", "--lost", "--yes"];
    let sent = output_of(world.command(&sent)).await;
    let told = String::from_utf8_lossy(&sent.stdout);
    let expected = format!("{count} published events selected, {count} will be sent again");
    loss.hold(sent.status.success() && told.contains(&expected), || {
        format!("republish: {sent:?}")
    });
    let mut mysql = world.session().await;
    loss.republished = all_published(&mut mysql, PUBLISHING, began).await;
    let is_republished = loss.republished.is_some();
    loss.hold(is_republished, || "not sent again in time".to_owned());

    let again = output_of(world.command(&VERIFY)).await;
    loss.hold(is_clean(&again, world.plan.key), || {
        format!("verify after the repair: {again:?}")
    });
    loss
}

/// Events that are not in the topic, though the outbox has nothing left to publish.
fn missing(evidence: &Evidence) -> BTreeSet<Uuid> {
    let records: BTreeSet<Uuid> = evidence.records.iter().map(|record| record.event).collect();
    let events = evidence.events.iter().map(|event| event.id);
    events.filter(|event| !records.contains(event)).collect()
}

fn campaigns(verified: &Output) -> Vec<Value> {
    let told: Value = serde_json::from_slice(&verified.stdout).unwrap_or_default();
    let campaigns = told["topic"]["verdict"]["campaigns"].as_array();
    campaigns.cloned().unwrap_or_default()
}

/// The events that `verify` names as lost.
fn named(verified: &Output) -> BTreeSet<Uuid> {
    let campaigns = campaigns(verified);
    let named = campaigns
        .iter()
        .filter_map(|one| one["lostEvents"].as_array());
    let ids = named.flatten().filter_map(|id| id.as_str()?.parse().ok());
    ids.collect()
}

/// Whether nothing is lost any more, and nothing else is wrong. What is sent again under a shared key comes after later
/// events of that key, and nobody can change that.
fn is_clean(verified: &Output, key: Key) -> bool {
    let campaigns = campaigns(verified);
    let mut breaches = campaigns
        .iter()
        .flat_map(|one| one["breaches"].as_array().into_iter().flatten());
    if key == Key::Participation {
        return verified.status.success();
    }
    !campaigns.is_empty()
        && breaches.all(|breach| {
            let breach = breach.as_str().unwrap_or_default();
            breach.starts_with("I8") && breach.contains("out of order")
        })
}

/// The violations, without those of the order of events that were sent again.
pub fn without_repairs(
    found: Vec<Breach>,
    evidence: &Evidence,
    lost: &BTreeSet<Uuid>,
) -> Vec<Breach> {
    let mut first = evidence.clone();
    first.records.retain(|record| !lost.contains(&record.event));
    let of_others = judge(&first, &[], &[]);
    let of_others = of_others.into_iter().filter(|one| one.promise == "I8");
    let found = found.into_iter().filter(|one| one.promise != "I8");
    found.chain(of_others).collect()
}
