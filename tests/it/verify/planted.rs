//! Every possible violation, planted in a segment that was verified before, and in the last one.

use std::sync::Arc;

use firstcome::domain::{CampaignId, EventId, State};
use firstcome::parts::gate::ScriptGate;
use firstcome::parts::store::Store;
use firstcome::sale::reconcile::Reconciler;

use super::{
    Clock, DatabaseConnection, FULL, Finding, NewParticipation, Scene, Scope, Verification,
    assert_clean, commit, hex, of, old_participation, run, vandal, verify,
};
use crate::support::{move_to, raised, spawner, stores, unique};

/// A planted violation, and its expected text.
struct Planted {
    campaign: CampaignId,
    says: Vec<String>,
}

/// The place of a scene's violation.
const PLACES: [usize; 2] = [0, 1];

struct Plot<'a> {
    db: &'a DatabaseConnection,
    store: &'a Store,
    scene: Scene,
    place: usize,
}

impl Plot<'_> {
    fn id(&self) -> CampaignId {
        self.scene.campaign.id
    }

    /// A published participation.
    fn victim(&self) -> &NewParticipation {
        &self.scene.segments[self.place][2]
    }

    /// A participation with a waiting event.
    fn waiting(&self) -> &NewParticipation {
        &self.scene.segments[self.place][0]
    }

    async fn run(&self, sql: String) {
        run(self.db, &sql).await;
    }

    fn expecting(&self, says: impl IntoIterator<Item = String>) -> Planted {
        Planted {
            campaign: self.id(),
            says: says.into_iter().collect(),
        }
    }

    /// Another event like the victim's, about change `sequence` of `rank`, at the end of the stream.
    async fn another(&self, rank: u64, sequence: u32) -> EventId {
        let (id, event) = (EventId::generate(), &self.victim().event);
        self.run(format!(
            "INSERT INTO outbox_event (id, sequence, campaign_id, aggregatetype, aggregateid, type, message_key, \
             key_sequence, `rank`, payload, created_at) SELECT {}, 9, campaign_id, aggregatetype, \
             aggregateid, type, message_key, {sequence}, {rank}, payload, created_at FROM outbox_event \
             WHERE campaign_id = {} AND aggregatetype = 'participation' AND sequence = {}",
            hex(id.0),
            self.id(),
            event.sequence
        ))
        .await;
        let of = self.id();
        self.run(format!(
            "UPDATE campaign SET event_sequence = 9 WHERE id = {of}"
        ))
        .await;
        self.run(format!(
            "UPDATE outbox_position SET published = 9 WHERE campaign_id = {of}"
        ))
        .await;
        id
    }

    /// Deletes an event.
    async fn delete_event(&self) {
        let (id, sequence) = (self.id(), self.victim().event.sequence);
        self.run(format!(
            "DELETE FROM outbox_event WHERE campaign_id = {id} AND aggregatetype = 'participation' \
             AND sequence = {sequence}"
        ))
        .await;
    }

    async fn missing_event(self) -> Planted {
        self.delete_event().await;
        self.expecting([
            format!(
                "I3 8 changes, 7 events; participations with a change that has no event: {}",
                self.victim().participation.id
            ),
            "I3 the campaign counts 8 events, its stream has 7".to_owned(),
        ])
    }

    async fn event_of_a_change_not_made(self) -> Planted {
        let id = self.another(self.victim().participation.rank, 2).await;
        self.expecting([format!(
            "I3 8 changes, 9 events; events without a change: {id}"
        )])
    }

    /// Exactly the same change twice.
    async fn event_twice(self) -> Planted {
        self.another(self.victim().participation.rank, 1).await;
        self.expecting([format!(
            "I3 8 changes, 9 events; participations with a change that has no event: {}",
            self.victim().participation.id
        )])
    }

    async fn event_of_nobody(self) -> Planted {
        let rank = self.victim().participation.rank + 1_000;
        let id = self.another(rank, 1).await;
        self.expecting([format!(
            "I3 8 changes, 9 events; events without a change: {id}"
        )])
    }

    async fn event_exchanged(self) -> Planted {
        let victim = self.victim();
        let rank = victim.participation.rank + 1_000;
        let id = self.another(rank, 1).await;
        self.delete_event().await;
        self.expecting([
            format!(
                "I3 8 changes, 8 events; participations with a change that has no event: {}; \
                 events without a change: {id}",
                victim.participation.id
            ),
            "I3 the campaign counts 9 events, its stream has 8".to_owned(),
        ])
    }

    /// Published according to the position, but missing.
    async fn position_beyond_the_stream(self) -> Planted {
        let id = self.id();
        self.run(format!(
            "UPDATE outbox_position SET published = 12 WHERE campaign_id = {id}"
        ))
        .await;
        self.expecting(["I4 the position is 12, but there are only 8 events".to_owned()])
    }

    async fn missing_participation(self) -> Planted {
        let victim = self.victim();
        let id = hex(victim.participation.id.0);
        self.run(format!("DELETE FROM participation WHERE id = {id}"))
            .await;
        self.expecting([
            "I1 the campaign counts 8 units, its participations hold 7".to_owned(),
            "I1 the campaign counts 8 participations, there are 7".to_owned(),
            format!(
                "I3 7 changes, 8 events; events without a change: {}",
                victim.event.id
            ),
        ])
    }

    async fn counter_off(self) -> Planted {
        let set = "UPDATE campaign SET committed_units = committed_units - 1 WHERE id =";
        self.run(format!("{set} {}", self.id())).await;
        self.expecting(["I1 the campaign counts 7 units, its participations hold 8".to_owned()])
    }

    async fn user_over_limit(self) -> Planted {
        let victim = &self.victim().participation;
        let id = hex(victim.id.0);
        self.run(format!(
            "UPDATE participation SET quantity = 3 WHERE id = {id}"
        ))
        .await;
        let set = "UPDATE campaign SET committed_units = committed_units + 2 WHERE id =";
        self.run(format!("{set} {}", self.id())).await;
        self.expecting([format!(
            "I2 1 users hold more than 2 units: user {}: 3",
            victim.user_id
        )])
    }

    async fn user_over_limit_by_pieces(self) -> Planted {
        // Of the same user, in the other segment, too: no single row exceeds the limit.
        let victim = &self.victim().participation;
        let other = &self.scene.segments[1 - self.place][3].participation;
        for (id, ordinal) in [(other.id, 2), (victim.id, 3)] {
            let (id, user) = (
                hex(id.0),
                self.scene.segments[1 - self.place][1].participation.user_id,
            );
            self.run(format!(
                "UPDATE participation SET user_id = {user}, ordinal = {ordinal} WHERE id = {id}"
            ))
            .await;
        }
        let user = self.scene.segments[1 - self.place][1].participation.user_id;
        self.expecting([format!("I2 1 users hold more than 2 units: user {user}: 3")])
    }

    async fn oversold(self) -> Planted {
        let off = if self.store.is_embedded() {
            "PRAGMA ignore_check_constraints = ON"
        } else {
            "ALTER TABLE campaign ALTER CHECK campaign_stock NOT ENFORCED"
        };
        run(self.db, off).await;
        let id = self.id();
        self.run(format!(
            "UPDATE campaign SET total_stock = 5 WHERE id = {id}"
        ))
        .await;
        self.expecting([
            "I1 oversold: participations hold 8 units of 5".to_owned(),
            "I1 oversold: the campaign counts 8 units of 5".to_owned(),
        ])
    }

    async fn orphan(self) -> Planted {
        let (event, id) = (EventId::generate(), self.id());
        self.run(format!(
            "INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, \
             attempts, error_class, error, parked_at) VALUES ({id}, 20, {}, 'participation', 'k', 1, 'dead', 1, \
             'record', '', '2026-01-01 00:00:00')",
            hex(event.0)
        ))
        .await;
        self.expecting([format!("I4 1 parked rows have no event: {event}")])
    }

    async fn purged_without_account(self) -> Planted {
        let id = self.id();
        self.run(format!(
            "UPDATE campaign SET purged_events = 1 WHERE id = {id}"
        ))
        .await;
        self.expecting(["I4 the campaign counts 1 purged events, its segments 0".to_owned()])
    }

    async fn overtaken(self) -> Planted {
        let first = self.waiting();
        let later = self.another(first.participation.rank, 2).await;
        let id = hex(first.participation.id.0);
        self.run(format!(
            "UPDATE participation SET version = 2 WHERE id = {id}"
        ))
        .await;
        let rank = first.participation.rank;
        let announced = self.store.invalidate_segment(self.db, self.id(), rank);
        announced.await.unwrap();
        self.expecting([format!(
            "I8 1 events were published while an earlier one of their participation waits: {later} before {}",
            first.event.id
        )])
    }
}

/// Plants every violation in a separate campaign, once in an old segment and once in the last.
async fn plant_all(store: &Store, db: &DatabaseConnection) -> Vec<Planted> {
    let mut scenes = Vec::new();
    for _ in 0..15 * PLACES.len() {
        scenes.push(Scene::new(store, 2).await);
    }
    assert_clean(&verify(store, &Scope::default()).await);
    let mut planted = Vec::new();
    for place in PLACES {
        let mut plot = || Plot {
            db,
            store,
            scene: scenes.pop().unwrap(),
            place,
        };
        planted.push(plot().missing_event().await);
        planted.push(plot().event_of_a_change_not_made().await);
        planted.push(plot().event_twice().await);
        planted.push(plot().position_beyond_the_stream().await);
        planted.push(plot().event_of_nobody().await);
        planted.push(plot().event_exchanged().await);
        planted.push(plot().missing_participation().await);
        planted.push(plot().counter_off().await);
        planted.push(plot().user_over_limit().await);
        planted.push(plot().user_over_limit_by_pieces().await);
        planted.push(plot().oversold().await);
        planted.push(plot().orphan().await);
        planted.push(plot().purged_without_account().await);
        planted.push(plot().overtaken().await);
        planted.push(plot().expecting([]));
    }
    planted
}

#[tokio::test]
async fn every_violation_is_found_and_named_in_any_segment() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let planted = plant_all(store, &db).await;
        // Each run reads a part of the old segments again, without a request.
        let mut found = Vec::new();
        for _ in 0..=planted.len() {
            found = verify(store, &Scope::default()).await;
            if said_all(&found, &planted) {
                break;
            }
        }
        for found in [found, verify(store, &FULL).await] {
            for planted in &planted {
                assert_eq!(of(&found, planted.campaign).breaches, planted.says);
            }
        }
    }
}

fn said_all(found: &[Finding], planted: &[Planted]) -> bool {
    let mut planted = planted.iter();
    planted.all(|planted| of(found, planted.campaign).breaches == planted.says)
}

#[tokio::test]
async fn overtaking_allowed_by_the_key_policy_is_no_violation() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        let scene = Scene::new(store, 2).await;
        let id = scene.campaign.id;
        let plot = Plot {
            db: &db,
            store,
            scene,
            place: 0,
        };
        plot.overtaken().await;
        let skipped = Scope {
            order: firstcome::operate::verify::EventOrder::NotRequired,
            ..FULL
        };
        assert_eq!(of(&verify(store, &FULL).await, id).breaches.len(), 1);
        assert_clean(&verify(store, &skipped).await);
    }
}

#[tokio::test]
async fn rows_without_a_campaign_are_reported() {
    for test in stores().await {
        let (store, db) = (&test.store, vandal(&test).await);
        run(
            &db,
            "INSERT INTO outbox_position (campaign_id, published) VALUES (77, 1)",
        )
        .await;
        let found = verify(store, &Scope::default()).await;
        let says = ["I3 there are positions of a campaign that does not exist"];
        assert_eq!(of(&found, CampaignId(77)).breaches, says);
    }
}

/// A verification of the store with a gate, and what rebuilds the gate.
fn with_gate(store: &Store) -> (Verification, Reconciler) {
    let gate = ScriptGate::in_process(Clock::System, &unique("t")).unwrap();
    let gate = Arc::new(gate);
    (
        Verification::new(store.clone(), gate.clone()),
        Reconciler::new(store.clone(), gate, spawner()),
    )
}

#[tokio::test]
async fn a_gate_behind_or_ahead_of_the_store_is_reported() {
    for test in stores().await {
        let store = &test.store;
        let scene = Scene::new(store, 1).await;
        let id = scene.campaign.id;
        let (verification, reconciler) = with_gate(store);
        assert_clean(&verification.run().await.unwrap());
        reconciler.rebuild(id).await.unwrap();
        let found = verification.run().await.unwrap();
        assert_clean(&found);
        assert_eq!(
            (found[0].gate_units, found[0].gate_leases),
            (Some(4), Some(0))
        );

        let now = store.campaign(id).await.unwrap().unwrap();
        commit(store, &now, &[old_participation(&now, 100)]).await;
        let found = verification.run().await.unwrap();
        let says = ["I7 the gate counts 4 units and 0 leases, the store 5"];
        assert_eq!(found[0].breaches, says);

        // Changed only in the store, as by a process that died before it notified the gate.
        raised(store, id).await;
        assert_clean(&verification.run().await.unwrap());
        reconciler.rebuild(id).await.unwrap();
        assert_clean(&verification.run().await.unwrap());
    }
}

#[tokio::test]
async fn of_an_ended_campaign_only_the_settings_of_the_gate_are_compared() {
    for test in stores().await {
        let store = &test.store;
        let scene = Scene::new(store, 1).await;
        let id = scene.campaign.id;
        let (verification, reconciler) = with_gate(store);
        reconciler.rebuild(id).await.unwrap();
        let now = store.campaign(id).await.unwrap().unwrap();
        commit(store, &now, &[old_participation(&now, 100)]).await;
        let breaches = async || verification.run().await.unwrap().remove(0).breaches;
        assert_eq!(
            breaches().await,
            ["I7 the gate counts 4 units and 0 leases, the store 5"]
        );

        move_to(store, &now, State::Closed).await;
        let found = breaches().await;
        assert!(
            found[0].starts_with("I7 the gate's settings") && found[0].ends_with("state"),
            "{found:?}"
        );
        // The gate gets the settings. It sells nothing more, so nobody corrects what it counts.
        assert_eq!(reconciler.sweep().await.unwrap().over, 1);
        assert_clean(&verification.run().await.unwrap());
    }
}
