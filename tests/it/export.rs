//! Exports, on both databases: their content, and their memory.

use std::io;

use firstcome::domain::{
    Campaign, CampaignId, KeyChoice, ParticipationId, RequestedChange, Status,
};
use firstcome::operate::export::{ExportConfig, ExportError, Exporter, Pieces};
use firstcome::parts::store::{ChangeRequest, NewParticipation, Store};
use firstcome::runtime::clock::Clock;
use firstcome::runtime::supervisor::{Stage, Supervisor};
use futures_util::StreamExt;
use sea_orm::{ConnectionTrait, Database};

use crate::csv::below;
use crate::groups::Groups;
use crate::store::new_participation;
use crate::support::{campaign_of, create, stores, until};

const PIECE_ROWS: u32 = 10;
const PIECES_MAX: usize = 3;

struct Bench {
    exporter: Exporter,
    supervisor: Supervisor,
}

fn bench(store: &Store) -> Bench {
    let supervisor = Supervisor::new(std::time::Duration::from_secs(5));
    let config = ExportConfig {
        concurrent_max: 2,
        piece_rows: PIECE_ROWS,
        pieces_max: PIECES_MAX,
    };
    Bench {
        exporter: Exporter::new(store.clone(), supervisor.spawner(), config),
        supervisor,
    }
}

/// Commits participations with these ranks, each by the user of that number.
async fn sell(store: &Store, campaign: &Campaign, ranks: std::ops::RangeInclusive<u64>) {
    let batch: Vec<NewParticipation> = ranks
        .map(|rank| new_participation(campaign, i64::try_from(rank).unwrap(), rank, 1))
        .collect();
    let epoch = campaign.gate_epoch;
    let committed = store.commit_participations(campaign, epoch, &batch);
    committed.await.unwrap();
}

async fn begin(bench: &Bench, campaign: CampaignId, status: Option<Status>) -> Pieces {
    let begun = bench.exporter.participations(campaign, status);
    begun.await.unwrap_or_else(|error| panic!("{error}"))
}

fn read(bytes: &[u8]) -> Vec<Vec<String>> {
    below(&[(0, "participationId"), (3, "rank")], bytes)
}

fn ranks(lines: &[Vec<String>]) -> Vec<u64> {
    lines.iter().map(|line| line[3].parse().unwrap()).collect()
}

async fn whole(mut pieces: Pieces) -> Result<Vec<u8>, io::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend(piece?);
    }
    Ok(bytes)
}

#[tokio::test]
async fn items_present_throughout_paging_appear_exactly_once() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(None);
        new.cancellable = true;
        let campaign = create(store, new).await;
        sell(store, &campaign, 1..=95).await;
        // Unused ranks.
        sell(store, &campaign, 300..=320).await;
        let bench = bench(store);
        let mut pieces = begin(&bench, campaign.id, None).await;
        let mut bytes = Vec::new();
        let mut next = 321;
        while let Some(piece) = pieces.next().await {
            bytes.extend(piece.unwrap());
            sell(store, &campaign, next..=next + 4).await;
            next += 5;
            let cancel = [ChangeRequest {
                id: ParticipationId(read(&bytes).last().unwrap()[0].parse().unwrap()),
                requested: RequestedChange::Cancel {
                    suspended_until: None,
                },
                traceparent: None,
                by: None,
            }];
            let key = KeyChoice::Participation;
            let changed = store.change_participations(campaign.id, &cancel, key);
            assert_eq!(changed.await.unwrap().changed.len(), 1);
        }
        let expected: Vec<u64> = (1..=95).chain(300..=320).collect();
        assert_eq!(ranks(&read(&bytes)), expected);
    }
}

#[tokio::test]
async fn the_read_ahead_of_a_slow_reader_is_bounded() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        sell(store, &campaign, 1..=200).await;
        let bench = bench(store);
        let piece = u64::from(PIECE_ROWS);
        let ahead = piece * u64::try_from(PIECES_MAX).unwrap();
        let mut pieces = begin(&bench, campaign.id, None).await;
        for taken in 0..=17 {
            let most = (ahead + taken * piece).min(200);
            until("it reads as far as it may", async || {
                assert!(bench.exporter.rows() <= most, "further than it may");
                bench.exporter.rows() == most
            })
            .await;
            // A producer that did not stop would have time to continue.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(bench.exporter.rows(), most);
            pieces.next().await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn an_export_of_one_status_has_only_that_status() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(None);
        new.cancellable = true;
        let campaign = create(store, new).await;
        sell(store, &campaign, 1..=250).await;
        let all = whole(begin(&bench(store), campaign.id, None).await).await;
        let all = read(&all.unwrap());
        let change_requests: Vec<ChangeRequest> = [120, 249]
            .into_iter()
            .map(|rank: usize| ChangeRequest {
                id: ParticipationId(all[rank - 1][0].parse().unwrap()),
                requested: RequestedChange::Cancel {
                    suspended_until: None,
                },
                traceparent: None,
                by: None,
            })
            .collect();
        let key = KeyChoice::Participation;
        let changed = store.change_participations(campaign.id, &change_requests, key);
        changed.await.unwrap();
        for (status, expected) in [
            (Status::Cancelled, vec![120, 249]),
            (Status::Expired, vec![]),
        ] {
            let some = whole(begin(&bench(store), campaign.id, Some(status)).await).await;
            assert_eq!(ranks(&read(&some.unwrap())), expected, "{status:?}");
        }
        let confirmed = begin(&bench(store), campaign.id, Some(Status::Confirmed)).await;
        assert_eq!(read(&whole(confirmed).await.unwrap()).len(), 248);
    }
}

#[tokio::test]
async fn an_export_line_has_the_known_fields_of_a_participation() {
    for test in stores().await {
        let store = &test.store;
        let mut new = campaign_of(Some(10));
        (new.price, new.per_user_limit, new.max_quantity) = (Some(500), 2, 2);
        let campaign = create(store, new).await;
        let mut one = new_participation(&campaign, 7, 1, 2);
        let expires_at = one.participation.created_at + chrono::TimeDelta::seconds(60);
        one.participation.status = Status::Reserved;
        one.participation.amount = Some(1_000);
        one.participation.expires_at = Some(expires_at);
        let id = one.participation.id;
        let epoch = campaign.gate_epoch;
        let made = one.participation.created_at;
        store
            .commit_participations(&campaign, epoch, &[one])
            .await
            .unwrap();
        let line = async || {
            let all = whole(begin(&bench(store), campaign.id, None).await).await;
            let all = all.unwrap();
            assert!(all.ends_with(b"\r\n"));
            read(&all).pop().unwrap()
        };
        let time = |at: firstcome::domain::Timestamp| {
            at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        };
        let number = campaign.id.to_string();
        let (id_text, made) = (id.to_string(), time(made));
        let reserved = line().await;
        // It is held for the promised time, by the database's clock.
        let until = reserved[10].clone();
        let held: firstcome::domain::Timestamp = until.parse().unwrap();
        assert!(until.ends_with('Z') && held >= expires_at - chrono::TimeDelta::seconds(5));
        let expected = [
            &id_text, &number, "7", "1", "2", "reserved", "1", "1000", "", &made, &until, "",
        ];
        assert_eq!(reserved, expected);
        let pay = [ChangeRequest {
            id,
            requested: RequestedChange::Confirm {
                reference: "=HYPERLINK(\"http://x\"),1".to_owned(),
            },
            traceparent: None,
            by: None,
        }];
        let key = KeyChoice::Participation;
        let paid = store.change_participations(campaign.id, &pay, key);
        assert_eq!(paid.await.unwrap().changed.len(), 1);
        assert_eq!(store.mark_rewarded(&[id]).await.unwrap(), 1);
        let paid = line().await;
        assert_eq!(paid[5], "confirmed");
        assert_eq!(paid[8], "'=HYPERLINK(\"http://x\"),1");
        assert_eq!(paid[10], "");
        let rewarded: chrono::DateTime<chrono::Utc> = paid[11].parse().unwrap();
        assert!(paid[11].ends_with('Z') && rewarded <= Clock::System.now());
    }
}

#[tokio::test]
async fn a_failed_export_has_no_end_marker() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        sell(store, &campaign, 1..=50).await;
        let db = Database::connect(&test.url).await.unwrap();
        let spoilt = "UPDATE participation SET status = 'nonsense' WHERE `rank` = 35";
        db.execute_unprepared(spoilt).await.unwrap();
        let bench = bench(store);
        let mut pieces = begin(&bench, campaign.id, None).await;
        let mut bytes = Vec::new();
        let failed = loop {
            match pieces.next().await.expect("it must not seem whole") {
                Ok(piece) => bytes.extend(piece),
                Err(error) => break error,
            }
        };
        assert_eq!(ranks(&read(&bytes)), (1..=30).collect::<Vec<_>>());
        assert!(failed.to_string().contains("cut off"), "{failed}");
        assert!(pieces.next().await.is_none(), "and nothing after it");
    }
}

#[tokio::test]
async fn an_export_of_a_stopping_service_has_no_end_marker() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        sell(store, &campaign, 1..=200).await;
        let bench = bench(store);
        let mut pieces = begin(&bench, campaign.id, None).await;
        pieces.next().await.unwrap().unwrap();
        bench.supervisor.spawner().token(Stage::Http).cancel();
        whole(pieces).await.unwrap_err();
    }
}

#[tokio::test]
async fn exports_are_bounded_and_need_an_existing_campaign() {
    for test in stores().await {
        let store = &test.store;
        let campaign = create(store, campaign_of(None)).await;
        let bench = bench(store);
        let first = begin(&bench, campaign.id, None).await;
        let second = begin(&bench, campaign.id, None).await;
        let third = bench.exporter.participations(campaign.id, None).await;
        assert!(matches!(third, Err(ExportError::Busy)));
        drop(first);
        let nobody = CampaignId(campaign.id.0 + 1);
        let unknown = bench.exporter.participations(nobody, None).await;
        assert!(matches!(unknown, Err(ExportError::Unknown)));
        let empty = read(&whole(second).await.unwrap());
        assert!(empty.is_empty(), "names alone");
        begin(&bench, campaign.id, None).await;
    }
}
