//! Allow-lists, on both databases: a list takes effect completely or not at all, and an import does not hold
//! the file in memory.

use std::io;
use std::time::Duration;

use firstcome::domain::{Actor, AllowListId, Campaign, CampaignId, Origin, State, UserId};
use firstcome::parts::store::Store;
use firstcome::runtime::supervisor::Supervisor;
use firstcome::sale::allow_list::{AllowListConfig, AllowListError, AllowLists};
use firstcome::sale::catalogue::{Catalogue, CatalogueConfig};
use futures_util::{StreamExt, stream};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

use crate::support::{TestStore, campaign_of, create, move_to, stores, until};

const BATCH_ROWS: usize = 10;

struct Bench {
    lists: AllowLists,
    store: Store,
    db: DatabaseConnection,
    _supervisor: Supervisor,
}

async fn bench(test: &TestStore) -> Bench {
    let supervisor = Supervisor::new(Duration::from_secs(5));
    let catalogue = Catalogue::new(test.store.clone(), CatalogueConfig::default());
    let config = AllowListConfig {
        imports_max: 2,
        users_max: 5_000,
        batch_rows_max: BATCH_ROWS,
        grace: Duration::ZERO,
        ..AllowListConfig::default()
    };
    let spawner = supervisor.spawner();
    Bench {
        lists: AllowLists::start(&spawner, test.store.clone(), catalogue, config),
        store: test.store.clone(),
        db: Database::connect(&test.url).await.unwrap(),
        _supervisor: supervisor,
    }
}

fn admin() -> Origin {
    Origin {
        actor: Actor::Subject("an admin".to_owned()),
        request_id: None,
        address: None,
    }
}

impl Bench {
    async fn replace(&self, campaign: CampaignId, file: &str) -> Result<u64, AllowListError> {
        let pieces = file.as_bytes().chunks(7);
        let pieces: Vec<io::Result<Vec<u8>>> = pieces.map(|piece| Ok(piece.to_vec())).collect();
        let mut file = stream::iter(pieces);
        let replaced = self.lists.replace(campaign, admin(), &mut file).await;
        replaced.map(|list| list.users)
    }

    async fn named(&self, campaign: CampaignId) -> Option<AllowListId> {
        let campaign = self.store.campaign(campaign).await.unwrap();
        campaign.unwrap().allow_list
    }

    /// Whether each of these is in the list that the campaign names.
    async fn has(&self, campaign: CampaignId, users: &[i64]) -> Vec<bool> {
        let list = self.named(campaign).await.unwrap();
        let mut answers = Vec::new();
        for user in users {
            let is_in = self.lists.has(campaign, list, UserId(*user)).await;
            answers.push(is_in.unwrap());
        }
        answers
    }

    async fn count(&self, of: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {of}");
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        let row = self.db.query_one_raw(statement).await.unwrap();
        row.unwrap().try_get_by_index(0).unwrap()
    }

    /// Waits until the store has only these lists and users.
    async fn until_cleared(&self, lists: i64, users: i64) {
        until("what is over is cleared away", async || {
            (
                self.count("allow_list").await,
                self.count("allow_list_user").await,
            ) == (lists, users)
        })
        .await;
    }
}

fn lines(users: std::ops::RangeInclusive<u32>) -> String {
    let lines: Vec<String> = users.map(|user| format!("{user}\n")).collect();
    lines.concat()
}

async fn open(store: &Store) -> Campaign {
    create(store, campaign_of(Some(100))).await
}

#[tokio::test]
async fn a_list_is_replaced_completely_and_the_old_one_is_deleted() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        assert_eq!(bench.named(campaign).await, None);
        let none = bench.lists.enforced(campaign).await;
        assert!(matches!(none, Err(AllowListError::NoList)));

        let file = format!("userId\n{}5\n5\n", lines(1..=35));
        assert_eq!(
            bench.replace(campaign, &file).await.unwrap(),
            35,
            "each once"
        );
        assert_eq!(
            bench.has(campaign, &[1, 35, 36, 1, 36]).await,
            [true, true, false, true, false]
        );
        let list = bench.lists.enforced(campaign).await.unwrap();
        assert_eq!((list.users, list.actor.as_str()), (35, "jwt:an admin"));

        assert_eq!(bench.replace(campaign, &lines(30..=60)).await.unwrap(), 31);
        assert_eq!(
            bench.has(campaign, &[1, 30, 60, 61]).await,
            [false, true, true, false]
        );
        bench.until_cleared(1, 31).await;

        bench.lists.remove(campaign, &admin()).await.unwrap();
        assert_eq!(bench.named(campaign).await, None);
        let again = bench.lists.remove(campaign, &admin()).await;
        assert!(matches!(again, Err(AllowListError::NoList)));
        bench.until_cleared(0, 0).await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_changes_nothing() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        bench.replace(campaign, &lines(1..=20)).await.unwrap();
        let before = bench.named(campaign).await;

        let bad = bench
            .replace(campaign, &format!("{}x\n", lines(1..=100)))
            .await;
        let Err(AllowListError::Line(line)) = bad else {
            panic!("{bad:?}");
        };
        assert_eq!((line.line, line.field.as_ref()), (101, "userId"));
        let empty = bench.replace(campaign, "userId\n").await;
        assert!(matches!(empty, Err(AllowListError::Empty)));
        let long = bench.replace(campaign, &lines(1..=5_001)).await;
        assert!(matches!(long, Err(AllowListError::TooMany(5_000))));
        let cut = lines(1..=50).into_bytes();
        let mut cut = stream::iter([Ok(cut), Err(io::Error::other("gone"))]);
        let cut = bench.lists.replace(campaign, admin(), &mut cut).await;
        assert!(matches!(cut, Err(AllowListError::Cut(_))));

        assert_eq!(bench.named(campaign).await, before);
        assert_eq!(bench.has(campaign, &[1, 20, 21]).await, [true, true, false]);
        bench.until_cleared(1, 20).await;
    }
}

/// A crashed import leaves an incomplete list without effect, and the next import deletes it.
#[tokio::test]
async fn an_abandoned_import_changes_nothing_and_is_deleted() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        bench.replace(campaign, &lines(1..=5)).await.unwrap();
        let left = test
            .store
            .begin_allow_list(campaign, "an admin")
            .await
            .unwrap();
        let users: Vec<UserId> = (1..=30).map(UserId).collect();
        assert!(test.store.add_to_allow_list(left, &users).await.unwrap());
        assert_eq!(bench.has(campaign, &[5, 6]).await, [true, false]);

        bench.replace(campaign, &lines(1..=7)).await.unwrap();
        bench.until_cleared(1, 7).await;
        // If the import was only slow, its further lines come too late.
        assert!(!test.store.add_to_allow_list(left, &users).await.unwrap());
        let late = test
            .store
            .enforce_allow_list(left, campaign, &admin())
            .await;
        assert_eq!(late.unwrap(), firstcome::parts::store::Enforced::Superseded);
        assert_eq!(bench.has(campaign, &[7, 8]).await, [true, false]);
        bench.until_cleared(1, 7).await;
    }
}

/// Of two concurrent imports the later one wins, and the other gets an error.
#[tokio::test]
async fn a_superseded_import_gets_an_error() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        let overtaken = &bench;
        let mut slow = stream::iter(0..2)
            .then(move |piece| async move {
                if piece == 1 {
                    overtaken.replace(campaign, &lines(1..=3)).await.unwrap();
                }
                Ok::<_, io::Error>(lines(1..=12).into_bytes())
            })
            .boxed();
        let replaced = bench.lists.replace(campaign, admin(), &mut slow).await;
        assert!(matches!(replaced, Err(AllowListError::Superseded)));
        assert_eq!(bench.has(campaign, &[3, 4]).await, [true, false]);
        bench.until_cleared(1, 3).await;
    }
}

#[tokio::test]
async fn an_upload_is_read_no_faster_than_it_is_stored() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        let (writing, piece_users) = (&bench, 25);
        let mut file = stream::iter(0..40_u32)
            .then(move |nth| async move {
                let written = writing.count("allow_list_user").await;
                let batch = i64::try_from(BATCH_ROWS).unwrap();
                let given = i64::from(nth * piece_users);
                // Less than a batch is in memory.
                assert!(given - written < batch, "{written} of {given} users");
                let users = nth * piece_users + 1..=(nth + 1) * piece_users;
                Ok::<_, io::Error>(lines(users).into_bytes())
            })
            .boxed();
        let replaced = bench.lists.replace(campaign, admin(), &mut file).await;
        assert_eq!(replaced.unwrap().users, 1_000);
    }
}

#[tokio::test]
async fn an_archived_campaign_keeps_its_list() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await;
        bench.replace(campaign.id, "1\n").await.unwrap();
        move_to(&test.store, &campaign, State::Archived).await;
        for changed in [
            bench.replace(campaign.id, "2\n").await.err(),
            bench.lists.remove(campaign.id, &admin()).await.err(),
        ] {
            assert!(
                matches!(changed, Some(AllowListError::Archived)),
                "{changed:?}"
            );
        }
        // It was archived while the file was read.
        let list = test
            .store
            .begin_allow_list(campaign.id, "an admin")
            .await
            .unwrap();
        assert!(
            test.store
                .add_to_allow_list(list, &[UserId(2)])
                .await
                .unwrap()
        );
        let late = test
            .store
            .enforce_allow_list(list, campaign.id, &admin())
            .await;
        assert_eq!(late.unwrap(), firstcome::parts::store::Enforced::Fixed);
        assert_eq!(bench.has(campaign.id, &[1, 2]).await, [true, false]);
        let unknown = bench.replace(CampaignId(999), "1\n").await;
        assert!(matches!(unknown, Err(AllowListError::Unknown)));
    }
}

/// Many concurrent requests cost a few statements, and repeated ones cost none.
#[tokio::test]
async fn known_answers_are_not_looked_up_again() {
    for test in stores().await {
        let bench = bench(&test).await;
        let campaign = open(&test.store).await.id;
        bench.replace(campaign, &lines(1..=50)).await.unwrap();
        let list = bench.named(campaign).await.unwrap();
        let ask = async || {
            let asked = (1..=100).map(|user| bench.lists.has(campaign, list, UserId(user)));
            let answers = futures_util::future::join_all(asked).await;
            answers
                .into_iter()
                .filter(|is_in| *is_in.as_ref().unwrap())
                .count()
        };
        assert_eq!(ask().await, 50);
        // Deleted from the database, and still cached.
        bench
            .db
            .execute_unprepared("DELETE FROM allow_list_user")
            .await
            .unwrap();
        assert_eq!(ask().await, 50);
    }
}
