//! Reads the database and the topic at the end of a run, without the service, because the service itself is
//! under test.

mod settings;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use firstcome::domain::Topic;
use firstcome::events::topic_check::ChangeRecord;
use firstcome::parts::broker::Consumed;
use firstcome::parts::broker::kafka::{Kafka, KafkaConfig};
use sea_orm::{ConnectionTrait, Database, DbErr, QueryResult, Statement};
use serde_json::Value;
use uuid::Uuid;

pub use self::settings::{History, Reading, Settings};
use crate::key::Key;

/// Longest reading of the topic.
const READING: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub campaigns: Vec<Campaign>,
    pub participations: Vec<Participation>,
    pub keys: Vec<UsedKey>,
    /// Participations that are lines of orders.
    pub lines: HashSet<Uuid>,
    pub events: Vec<Event>,
    /// Numbers of deleted events about participations, by campaign.
    pub purged: BTreeMap<i64, u64>,
    pub pending: Vec<String>,
    /// States of parked events.
    pub parked: Vec<String>,
    /// Events that were dead letters of the relay and were replayed, from the audit log.
    pub replayed: HashSet<Uuid>,
    pub records: Vec<Seen>,
    /// Records that are not as the relay writes them.
    pub unreadable: Vec<String>,
    /// Whether events of a campaign share keys.
    pub key: Option<Key>,
    /// Whether partitions were added, so that keys have moved to others.
    pub keys_moved: bool,
    /// Earned coupons.
    pub coupons: Vec<Coupon>,
    /// Participations with a pending revocation in the rewards database.
    pub revocations: Vec<Uuid>,
    /// The windows of campaigns, in milliseconds since the run began.
    pub windows: Vec<Hours>,
    /// The settings of the campaigns that administrators change.
    pub settings: BTreeMap<i64, History>,
    /// Entries of the ledger of points.
    pub entries: Vec<Entry>,
    /// Balances of points by user.
    pub balances: BTreeMap<i64, i64>,
}

/// Points that were granted to a participation, or taken back.
#[derive(Clone, Debug)]
pub struct Entry {
    pub participation: Uuid,
    pub kind: String,
    pub user: i64,
    pub amount: i64,
}

/// A coupon and its use.
#[derive(Clone, Debug)]
pub struct Coupon {
    pub id: Uuid,
    pub participation: Uuid,
    pub user: i64,
    pub status: String,
    pub order: Option<String>,
}

impl Coupon {
    pub fn is(&self, status: &str) -> bool {
        self.status == status
    }
}

/// The window of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Hours {
    pub campaign: i64,
    pub opens_ms: Option<i64>,
    pub closes_ms: Option<i64>,
}

#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent columns of a row"
)]
pub struct Campaign {
    pub id: i64,
    pub total: Option<u64>,
    pub committed: u64,
    pub count: u64,
    /// The highest limit so far: lowering it takes nothing away.
    pub per_user_limit: u64,
    pub max_quantity: u64,
    /// Participations whose units were returned.
    pub returns: u64,
    pub is_paid: bool,
    pub hold: Duration,
    /// Whether confirmed participations may be cancelled.
    pub is_cancellable: bool,
    /// Whether its units earn coupons.
    pub has_coupons: bool,
    /// Points that a unit earns.
    pub points: i64,
    /// Whether it is closed, so that no unit can be sold any more.
    pub is_over: bool,
}

#[derive(Clone, Debug)]
pub struct Participation {
    pub id: Uuid,
    pub campaign: i64,
    pub user: i64,
    pub quantity: u32,
    pub rank: u64,
    pub status: String,
    /// The number of its changes, the first included.
    pub version: u32,
    /// Its ordinal among the user's participations.
    pub ordinal: Option<u32>,
    pub payment_reference: Option<String>,
}

impl Participation {
    /// Whether it holds its units.
    pub fn holds_units(&self) -> bool {
        ["reserved", "confirmed"].contains(&self.status.as_str())
    }
}

/// An idempotency key and its participation.
#[derive(Clone, Debug)]
pub struct UsedKey {
    pub user: i64,
    pub key: String,
    pub participation: Uuid,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub id: Uuid,
    pub participation: String,
    /// The number of the change, from 1.
    pub sequence: u32,
    /// `firstcome.participation.` and the status after the change.
    pub kind: String,
    /// Its campaign, and its number in the stream.
    pub place: (i64, i64),
    /// Whether it was deleted, and only its record is known.
    pub is_purged: bool,
}

/// A record of the topic, in the order of its partition.
#[derive(Clone, Debug)]
pub struct Seen {
    pub partition: i32,
    pub key: String,
    pub event: Uuid,
    pub participation: Uuid,
    pub sequence: u32,
    pub campaign: i64,
    /// Its number in the campaign's stream.
    pub position: i64,
    /// `ce_type`
    pub kind: String,
}

impl Evidence {
    /// Reads the topic of participations below this prefix, too.
    pub async fn with_topic(self, brokers: &str, prefix: &str) -> Self {
        let kafka = Kafka::connect(KafkaConfig {
            brokers: Some(brokers.to_owned()),
            ..KafkaConfig::default()
        });
        let topic = Topic::Participation.name(prefix);
        let kafka = kafka.await.unwrap();
        let read = kafka.read_topic(&topic, READING, self, feed);
        let mut evidence = read.await.unwrap().0;
        evidence.add_purged();
        evidence
    }

    /// Adds the events that were deleted from the outbox, as the topic has them: only of campaigns with deleted events.
    pub fn add_purged(&mut self) {
        let mut known: HashSet<Uuid> = self.events.iter().map(|event| event.id).collect();
        for record in &self.records {
            let has_purged = self.purged.contains_key(&record.campaign);
            if has_purged && known.insert(record.event) {
                self.events.push(Event {
                    id: record.event,
                    participation: record.participation.to_string(),
                    sequence: record.sequence,
                    kind: record.kind.clone(),
                    place: (record.campaign, record.position),
                    is_purged: true,
                });
            }
        }
    }

    /// Reads a database, MySQL or SQLite.
    pub async fn of_database(url: &str) -> Result<Self, DbErr> {
        let db = Database::connect(url).await?;
        let rows = async |sql: &str| {
            let statement = Statement::from_string(db.get_database_backend(), sql);
            db.query_all_raw(statement).await
        };
        let mut evidence = Self::default();
        for row in rows(CAMPAIGNS).await? {
            evidence.campaigns.push(campaign(&row)?);
        }
        for row in rows(PARTICIPATIONS).await? {
            evidence.participations.push(participation(&row)?);
        }
        for row in rows("SELECT participation_id FROM order_line").await? {
            evidence.lines.insert(row.try_get_by_index(0)?);
        }
        let keys = "SELECT user_id, idempotency_key, participation_id FROM idempotency";
        for row in rows(keys).await? {
            evidence.keys.push(UsedKey {
                user: row.try_get_by_index(0)?,
                key: row.try_get_by_index(1)?,
                participation: row.try_get_by_index(2)?,
            });
        }
        // Events about campaigns themselves are not read here.
        let stream = Topic::Participation.as_str();
        let events = format!(
            "SELECT id, aggregateid, key_sequence, type, campaign_id, sequence FROM outbox_event \
             WHERE aggregatetype = '{stream}'"
        );
        for row in rows(&events).await? {
            evidence.events.push(Event {
                id: row.try_get_by_index(0)?,
                participation: row.try_get_by_index(1)?,
                sequence: row.try_get_by_index::<i32>(2)?.unsigned_abs(),
                kind: row.try_get_by_index(3)?,
                place: (row.try_get_by_index(4)?, row.try_get_by_index(5)?),
                is_purged: false,
            });
        }
        for row in rows("SELECT id, purged_events FROM campaign WHERE purged_events > 0").await? {
            let purged: i64 = row.try_get_by_index(1)?;
            let campaign = row.try_get_by_index(0)?;
            evidence.purged.insert(campaign, purged.unsigned_abs());
        }
        let behind = "SELECT e.type FROM outbox_event e LEFT JOIN outbox_position o USING (campaign_id) \
                      WHERE e.sequence > COALESCE(CASE e.aggregatetype WHEN 'campaign' THEN o.campaign_published \
                      WHEN 'order' THEN o.order_published ELSE o.published END, 0)";
        for row in rows(behind).await? {
            evidence.pending.push(row.try_get_by_index(0)?);
        }
        let parked = "SELECT state FROM outbox_parked WHERE state <> 'acknowledged'";
        for row in rows(parked).await? {
            evidence.parked.push(row.try_get_by_index(0)?);
        }
        let replays = "SELECT before_values FROM audit_entry WHERE action = 'dead_letter.replay'";
        for row in rows(replays).await? {
            let before: String = row.try_get_by_index(0)?;
            evidence.replayed.extend(replayed(&before));
        }
        db.close().await?;
        Ok(evidence)
    }

    /// Reads the rewards database.
    pub async fn read_rewards(&mut self, url: &str) -> Result<(), DbErr> {
        let db = Database::connect(url).await?;
        let rows = async |sql: &str| {
            let statement = Statement::from_string(db.get_database_backend(), sql);
            db.query_all_raw(statement).await
        };
        let coupons = "SELECT id, participation_id, user_id, status, order_id FROM coupon";
        for row in rows(coupons).await? {
            self.coupons.push(Coupon {
                id: row.try_get_by_index(0)?,
                participation: row.try_get_by_index(1)?,
                user: row.try_get_by_index(2)?,
                status: row.try_get_by_index(3)?,
                order: row.try_get_by_index(4)?,
            });
        }
        for row in rows("SELECT participation_id FROM revocation").await? {
            self.revocations.push(row.try_get_by_index(0)?);
        }
        for row in rows("SELECT participation_id, kind, user_id, amount FROM ledger").await? {
            self.entries.push(Entry {
                participation: row.try_get_by_index(0)?,
                kind: row.try_get_by_index(1)?,
                user: row.try_get_by_index(2)?,
                amount: row.try_get_by_index(3)?,
            });
        }
        for row in rows("SELECT user_id, points FROM balance").await? {
            self.balances
                .insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        }
        db.close().await
    }

    /// Number of coupons by status.
    pub fn coupons_by_status(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for coupon in &self.coupons {
            *counts.entry(coupon.status.clone()).or_default() += 1;
        }
        counts
    }

    /// Units of a campaign that its participations hold.
    pub fn units(&self, campaign: i64) -> u64 {
        let holds = |row: &&Participation| row.campaign == campaign && row.holds_units();
        let rows = self.participations.iter().filter(holds);
        rows.map(|row| u64::from(row.quantity)).sum()
    }

    /// Number of participations with a price, by status.
    pub fn orders(&self) -> BTreeMap<String, u64> {
        let paid: Vec<i64> = self
            .campaigns
            .iter()
            .filter(|campaign| campaign.is_paid)
            .map(|campaign| campaign.id)
            .collect();
        let mut orders = BTreeMap::new();
        for row in &self.participations {
            if paid.contains(&row.campaign) {
                *orders.entry(row.status.clone()).or_default() += 1;
            }
        }
        orders
    }
}

const CAMPAIGNS: &str = "SELECT id, total_stock, committed_units, participation_count, per_user_limit_max, \
                         max_quantity, `returns`, price, hold_seconds, cancellable, has_coupons, reward, state \
                         FROM campaign";

fn campaign(row: &QueryResult) -> Result<Campaign, DbErr> {
    let total: Option<i64> = row.try_get_by_index(1)?;
    let price: Option<i64> = row.try_get_by_index(7)?;
    let hold_seconds = row.try_get_by_index::<i32>(8)?.unsigned_abs();
    let reward: Option<String> = row.try_get_by_index(11)?;
    let state: String = row.try_get_by_index(12)?;
    Ok(Campaign {
        id: row.try_get_by_index(0)?,
        total: total.map(i64::unsigned_abs),
        committed: row.try_get_by_index::<i64>(2)?.unsigned_abs(),
        count: row.try_get_by_index::<i64>(3)?.unsigned_abs(),
        per_user_limit: u64::from(row.try_get_by_index::<i32>(4)?.unsigned_abs()),
        max_quantity: u64::from(row.try_get_by_index::<i32>(5)?.unsigned_abs()),
        returns: row.try_get_by_index::<i64>(6)?.unsigned_abs(),
        is_paid: price.is_some(),
        hold: Duration::from_secs(hold_seconds.into()),
        is_cancellable: row.try_get_by_index(9)?,
        has_coupons: row.try_get_by_index(10)?,
        points: points(reward.as_deref()),
        is_over: ["closed", "archived"].contains(&state.as_str()),
    })
}

/// The points of a reward, which is JSON.
fn points(reward: Option<&str>) -> i64 {
    let reward = reward.map(|text| serde_json::from_str::<Value>(text).unwrap());
    reward
        .and_then(|reward| reward["points"].as_i64())
        .unwrap_or(0)
}

/// The events of an entry about a replay, which is JSON; that of a consumer's dead letters has a source.
fn replayed(before: &str) -> Vec<Uuid> {
    let before: Value = serde_json::from_str(before).unwrap();
    assert_eq!(before["state"], "dead");
    if before.get("source").is_some() {
        return Vec::new();
    }
    serde_json::from_value(before["events"].clone()).unwrap()
}

const PARTICIPATIONS: &str = "SELECT id, campaign_id, user_id, quantity, `rank`, status, version, ordinal, \
                              payment_reference FROM participation";

fn participation(row: &QueryResult) -> Result<Participation, DbErr> {
    let ordinal: Option<i32> = row.try_get_by_index(7)?;
    Ok(Participation {
        id: row.try_get_by_index(0)?,
        campaign: row.try_get_by_index(1)?,
        user: row.try_get_by_index(2)?,
        quantity: row.try_get_by_index::<i32>(3)?.unsigned_abs(),
        rank: row.try_get_by_index::<i64>(4)?.unsigned_abs(),
        status: row.try_get_by_index(5)?,
        version: row.try_get_by_index::<i32>(6)?.unsigned_abs(),
        ordinal: ordinal.map(i32::unsigned_abs),
        payment_reference: row.try_get_by_index(8)?,
    })
}

fn feed(evidence: &mut Evidence, record: &Consumed<'_>) {
    match ChangeRecord::of(record) {
        Ok(sighting) => evidence.records.push(Seen {
            partition: sighting.partition,
            key: sighting.key.to_owned(),
            event: sighting.event.0,
            participation: sighting.participation.0,
            sequence: sighting.sequence,
            campaign: sighting.campaign.0,
            position: sighting.position.cast_signed(),
            kind: record.header("ce_type").unwrap_or_default().to_owned(),
        }),
        Err(what) => evidence.unreadable.push(format!(
            "partition {} offset {}: {what}",
            record.partition, record.offset
        )),
    }
}
