//! The database path: it applies the rules of the gate, and the two are never active at the same time.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{
    Campaign, KeyChoice, ParticipationId, Refusal, State, UserId, to_stored_precision,
};
use firstcome::operate::verify::Verification;
use firstcome::parts::gate::{Admission, Entrant, Gate, Key, ScriptGate};
use firstcome::parts::store::{
    Applicant, CampaignChange, Closing, Decision, Making, Mismatch, NewParticipation, Raise,
    Raised, RankAssignment, Store,
};
use firstcome::runtime::clock::Clock;
use firstcome::sale::reconcile::{Patience, Reconciler};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::groups::{BatchOutcome, DirectOutcome, Groups};
use crate::store::new_participation;
use crate::support::{campaign_of, create, move_to, mysql, spawner, stores};

const TERM: Duration = Duration::from_secs(60);

pub fn applicant(user: i64, quantity: u32) -> Applicant {
    Applicant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity,
        idempotency_key: None,
        traceparent: None,
        since: std::time::Instant::now(),
        by: None,
        order: None,
    }
}

fn making() -> Making {
    Making {
        key_choice: KeyChoice::Participation,
        now: to_stored_precision(Clock::System.now()),
        hold: None,
    }
}

pub async fn ask(store: &Store, campaign: &Campaign, applicants: &[Applicant]) -> Vec<Decision> {
    let closing = Closing::For(TERM);
    let outcome = store
        .admit_directly(campaign.id, applicants, &making(), closing)
        .await
        .unwrap();
    match outcome {
        DirectOutcome::Decided(decisions, events) => {
            let accepted = decisions.iter().filter(|one| rank(one).is_some()).count();
            assert_eq!(accepted, events.len(), "an event for each yes");
            decisions
        }
        other => panic!("not decided: {other:?}"),
    }
}

fn rank(decision: &Decision) -> Option<u64> {
    match decision {
        Decision::Accepted(participation) => Some(participation.rank),
        Decision::Refused { .. } | Decision::Outstanding => None,
    }
}

fn refusal(decision: &Decision) -> &Refusal {
    match decision {
        Decision::Refused { refusal, .. } => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_database_path_follows_the_rules_of_the_gate() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(Some(4));
        (new.per_user_limit, new.max_quantity) = (3, 2);
        let campaign = create(store, new).await;
        let batch = [
            applicant(1, 2),
            applicant(1, 2),
            applicant(2, 3),
            applicant(1, 1),
            applicant(3, 2),
            applicant(4, 1),
        ];
        let decisions = ask(store, &campaign, &batch).await;
        let ranks: Vec<_> = decisions.iter().map(rank).collect();
        assert_eq!(ranks, [Some(1), None, None, Some(2), None, Some(3)]);
        assert_eq!(refusal(&decisions[1]), &Refusal::LimitExceeded);
        assert_eq!(refusal(&decisions[2]), &Refusal::LimitExceeded);
        assert_eq!(refusal(&decisions[4]), &Refusal::SoldOut);
        let counts = store.counts(campaign.id).await.unwrap();
        assert_eq!((counts.units, counts.events, counts.pending), (4, 3, 3));
        let sold_out = ask(store, &campaign, &[applicant(5, 1)]).await;
        assert_eq!(refusal(&sold_out[0]), &Refusal::SoldOut);
        move_to(store, &campaign, State::Paused).await;
        let paused = ask(store, &campaign, &[applicant(6, 1)]).await;
        assert_eq!(refusal(&paused[0]), &Refusal::Paused);
    }
}

#[tokio::test]
async fn the_rejection_at_a_limit_of_one_names_the_first_participation() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(None)).await;
        let first = applicant(1, 1);
        let batch = [first.clone(), applicant(1, 1)];
        let mut decisions = ask(&test.store, &campaign, &batch).await;
        decisions.extend(ask(&test.store, &campaign, &[applicant(1, 1)]).await);
        let already = Refusal::AlreadyParticipated {
            first: first.participation,
        };
        assert_eq!(refusal(&decisions[1]), &already);
        assert_eq!(refusal(&decisions[2]), &already);
    }
}

#[tokio::test]
async fn a_closed_gate_commits_nothing_and_is_not_rebuilt_before_its_term() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(10))).await;
        ask(store, &campaign, &[applicant(1, 1)]).await;
        let admitted = [new_participation(&campaign, 2, 1, 1)];
        let outcome = store
            .commit_participations(&campaign, campaign.gate_epoch, &admitted)
            .await
            .unwrap();
        assert_eq!(outcome, BatchOutcome::Mismatch(Mismatch::StaleEpoch));
        let raised = store
            .raise_epoch(campaign.id, &Raise::default())
            .await
            .unwrap();
        assert!(
            matches!(raised, Raised::Closed(left) if left <= TERM && !left.is_zero()),
            "{raised:?}"
        );
        // Extending the closure does not raise the epoch again; at the end of its term the gate opens.
        let closing = Closing::For(Duration::ZERO);
        let second = [applicant(3, 1)];
        let kept = store
            .admit_directly(campaign.id, &second, &making(), closing)
            .await
            .unwrap();
        assert!(matches!(kept, DirectOutcome::Decided(_, events) if events.len() == 1));
        match store
            .raise_epoch(campaign.id, &Raise::default())
            .await
            .unwrap()
        {
            Raised::To(reopened) => assert_eq!(reopened.gate_epoch, campaign.gate_epoch + 2),
            other => panic!("not raised: {other:?}"),
        }
    }
}

#[tokio::test]
async fn without_permission_to_close_the_gate_a_request_is_served_only_while_it_is_closed() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(10))).await;
        let join = async |user| {
            let joiner = [applicant(user, 1)];
            store
                .admit_directly(campaign.id, &joiner, &making(), Closing::Never)
                .await
                .unwrap()
        };
        assert!(matches!(join(1).await, DirectOutcome::Open));
        ask(store, &campaign, &[applicant(2, 1)]).await;
        assert!(matches!(join(3).await, DirectOutcome::Decided(_, events) if events.len() == 1));
        assert_eq!(store.counts(campaign.id).await.unwrap().units, 2);
    }
}

pub fn keyed(user: i64) -> Applicant {
    Applicant {
        idempotency_key: Some("a key".to_owned()),
        ..applicant(user, 1)
    }
}

#[tokio::test]
async fn a_used_key_fails_the_batch_and_changes_nothing() {
    for test in stores().await {
        let campaign = create(&test.store, campaign_of(Some(10))).await;
        ask(&test.store, &campaign, &[applicant(3, 1)]).await;
        ask(&test.store, &campaign, &[keyed(1)]).await;
        let mut other = campaign_of(Some(5));
        other.name = "another".to_owned();
        let other = create(&test.store, other).await;
        ask(&test.store, &other, &[applicant(4, 1)]).await;
        let before = test.store.campaign(other.id).await.unwrap().unwrap();
        // However slow the store's clock query is, the key came after the gate was closed.
        let later = Applicant {
            since: std::time::Instant::now() + TERM,
            ..keyed(1)
        };
        let batch = [applicant(2, 1), later];
        let closing = Closing::For(TERM);
        let outcome = test
            .store
            .admit_directly(other.id, &batch, &making(), closing)
            .await
            .unwrap();
        assert!(matches!(outcome, DirectOutcome::Conflict), "{outcome:?}");
        let after = test.store.campaign(other.id).await.unwrap().unwrap();
        assert_eq!(after, before);
    }
}

/// The decision about one applicant.
pub async fn decide(store: &Store, campaign: &Campaign, applicant: &Applicant) -> Decision {
    let (making, closing) = (making(), Closing::For(TERM));
    let one = std::slice::from_ref(applicant);
    let decided = store.admit_directly(campaign.id, one, &making, closing);
    match decided.await.unwrap() {
        DirectOutcome::Decided(mut decisions, _) => decisions.remove(0),
        other => panic!("not decided: {other:?}"),
    }
}

/// A request that began earlier with the same key may be rejected in between.
#[tokio::test]
async fn a_key_that_arrived_before_the_gate_closed_is_not_admitted() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(Some(1))).await;
        // The gate was open when the request came, and may have refused the key.
        let before_closing = keyed(1);
        let decision = decide(store, &campaign, &before_closing).await;
        assert!(matches!(decision, Decision::Outstanding), "{decision:?}");
        let closed = store.campaign(campaign.id).await.unwrap().unwrap();
        assert_eq!(
            closed.gate_epoch,
            campaign.gate_epoch + 1,
            "it is closed all the same"
        );
        let decision = decide(store, &campaign, &before_closing).await;
        assert!(matches!(decision, Decision::Outstanding), "{decision:?}");
        let other = decide(store, &campaign, &applicant(2, 1)).await;
        assert!(matches!(other, Decision::Accepted(_)), "{other:?}");
        // Sold out, then available: the request from before is the first of two attempts, the second of which was
        // rejected.
        let early = keyed(3);
        let refused = decide(store, &campaign, &keyed(3)).await;
        assert!(matches!(refused, Decision::Refused { .. }), "{refused:?}");
        let more = CampaignChange {
            total_stock: Some(Some(2)),
            ..CampaignChange::default()
        };
        let now = store.campaign(campaign.id).await.unwrap().unwrap();
        assert!(
            store
                .change_campaign(now.id, now.version, &more, None)
                .await
                .unwrap()
        );
        let decision = decide(store, &campaign, &early).await;
        assert!(matches!(decision, Decision::Outstanding), "{decision:?}");
        let fresh = decide(store, &campaign, &keyed(3)).await;
        assert!(matches!(fresh, Decision::Accepted(_)), "{fresh:?}");
    }
}

/// One attempt of a user through the gate, as a request makes it. Returns whether it was accepted.
async fn by_gate(gate: &ScriptGate, reconciler: &Reconciler, store: &Store, user: i64) -> bool {
    let campaign = store
        .campaigns(&crate::support::all())
        .await
        .unwrap()
        .remove(0);
    let entrant = Entrant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity: 1,
        key: Key::None,
    };
    let lease = Duration::from_secs(60);
    let answers = gate.admit(campaign.id, &[entrant], lease).await.unwrap();
    let ticket = match answers.into_iter().next().unwrap() {
        Admission::Admitted(ticket) => ticket,
        Admission::Missing => {
            reconciler
                .renew(campaign.id, None, Patience::Waits)
                .await
                .unwrap();
            return false;
        }
        _ => return false,
    };
    let applicant = Applicant {
        participation: entrant.participation,
        ..applicant(user, 1)
    };
    let assignment = RankAssignment {
        rank: ticket.rank,
        remaining: ticket.remaining,
    };
    let rows = [NewParticipation::of(
        &campaign,
        &applicant,
        assignment,
        &making(),
    )];
    let outcome = store
        .commit_participations(&campaign, ticket.epoch, &rows)
        .await
        .unwrap();
    let ids = [entrant.participation];
    if matches!(outcome, BatchOutcome::Committed { .. }) {
        gate.settle(campaign.id, &ids).await.unwrap();
        return true;
    }
    if !matches!(outcome, BatchOutcome::Mismatch(Mismatch::StaleEpoch)) {
        gate.release(campaign.id, ticket.epoch, &ids).await.unwrap();
    }
    let seen = Some(ticket.epoch);
    reconciler
        .renew(campaign.id, seen, Patience::Waits)
        .await
        .unwrap();
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_gate_and_one_without_never_hand_out_a_unit_twice() {
    const STOCK: u64 = 150;
    let seed = rand::random::<u64>();
    eprintln!("seed {seed}");
    let test = mysql().await;
    let campaign = create(&test.store, campaign_of(Some(STOCK))).await;
    let gate = Arc::new(ScriptGate::in_process(Clock::System, "it").unwrap());
    let reconciler = Reconciler::new(test.store.clone(), gate.clone(), spawner())
        .with_rebuild_interval(Duration::ZERO);
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..6 {
        let (gate, reconciler, store) = (gate.clone(), reconciler.clone(), test.store.clone());
        let id = campaign.id;
        tasks.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(nth));
            let mut yes = 0;
            for _ in 0..80 {
                let user = random.random_range(0..400);
                // Two of six cannot reach the gate, and use the database path only now and then.
                if nth >= 4 && random.random_ratio(1, 3) {
                    let closing = Closing::For(Duration::from_millis(random.random_range(0..15)));
                    let batch = [applicant(user, 1)];
                    let outcome = store.admit_directly(id, &batch, &making(), closing).await;
                    if let DirectOutcome::Decided(_, events) = outcome.unwrap() {
                        yes += events.len() as u64;
                    }
                } else if nth < 4 && by_gate(&gate, &reconciler, &store, user).await {
                    yes += 1;
                }
            }
            yes
        });
    }
    let yes: u64 = tasks.join_all().await.into_iter().sum();
    // Further users get the remaining units, through the gate only.
    let mut late = 0;
    for user in 1_000..1_000 + 2 * i64::try_from(STOCK).unwrap() {
        late += u64::from(by_gate(&gate, &reconciler, &test.store, user).await);
    }
    assert_eq!(
        yes + late,
        STOCK,
        "seed {seed}: each unit once, and all of them"
    );
    reconciler.sweep().await.unwrap();
    let verification = Verification::new(test.store.clone(), gate.clone());
    let findings = verification.run().await.unwrap();
    assert!(findings[0].breaches.is_empty(), "seed {seed}: {findings:?}");
}

#[tokio::test]
async fn holds_use_the_clock_that_ends_them() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(None);
        new.price = Some(500);
        let campaign = create(store, new).await;
        for (user, off) in [(1, -3_600), (2, 3_600)] {
            let making = Making {
                now: making().now + TimeDelta::seconds(off),
                ..making()
            };
            let closing = Closing::For(TERM);
            let asked = [applicant(user, 1)];
            let outcome = store.admit_directly(campaign.id, &asked, &making, closing);
            let DirectOutcome::Decided(decisions, _) = outcome.await.unwrap() else {
                panic!("not decided");
            };
            let [Decision::Accepted(told)] = decisions.as_slice() else {
                panic!("{decisions:?}");
            };
            let kept = store.participation(told.id).await.unwrap().unwrap();
            assert_eq!(kept.expires_at, told.expires_at);
            let left = (told.expires_at.unwrap() - Clock::System.now()).num_seconds();
            assert!((60..=121).contains(&left), "{left} s");
        }
    }
}
