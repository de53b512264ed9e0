//! Checks the consistency of the rewards database: no event had more than its effect (I6). It reads all rows, in one
//! snapshot. It cannot detect that an event had no effect.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryResult};
use uuid::Uuid;

use super::Rewards;
use crate::domain::{CampaignId, EntryKind};
use crate::parts::store::bounded::Tx;
use crate::parts::store::entity::{coupon, ledger};
use crate::parts::store::query::count_by;
use crate::parts::store::{StoreError, connection};

/// Maximum number of examples of one kind of violation.
const EXAMPLES_MAX: usize = 5;

/// The findings in the rewards database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewarded {
    /// The violations.
    pub breaches: Vec<String>,
    /// Participations with a granted reward, by campaign.
    pub granted: BTreeMap<CampaignId, u64>,
}

/// A rule, and the statement that finds its violations, as text.
struct Rule {
    /// The text of an example.
    broken: &'static str,
    sql: &'static str,
    /// How an example is read.
    read: fn(&QueryResult) -> Result<String, StoreError>,
}

const RULES: [Rule; 6] = [
    Rule {
        broken: "I6: the balance is not the sum of the ledger, of user",
        sql: "SELECT user_id FROM (
                SELECT user_id, points AS kept, 0 AS entered FROM balance
                UNION ALL SELECT user_id, 0, amount FROM ledger) AS sides
              GROUP BY user_id HAVING SUM(kept) <> SUM(entered)",
        read: number,
    },
    Rule {
        broken: "I6: more than one entry in the ledger of event",
        sql: "SELECT event_id FROM ledger GROUP BY event_id HAVING COUNT(*) > 1",
        read: id,
    },
    Rule {
        broken: "I6: what was taken back is not what was granted, of participation",
        sql: "SELECT back.participation_id FROM ledger back LEFT JOIN ledger gain
                ON gain.participation_id = back.participation_id AND gain.kind = 'granted'
              WHERE back.kind = 'reversed' AND COALESCE(gain.amount, 0) + back.amount <> 0",
        read: id,
    },
    Rule {
        broken: "I6: an entry in the ledger, and not in the inbox, of event",
        sql: "SELECT ledger.event_id FROM ledger LEFT JOIN inbox
                ON inbox.consumer = 'points' AND inbox.event_id = ledger.event_id
              WHERE inbox.event_id IS NULL",
        read: id,
    },
    Rule {
        broken: "I6: a gap among the coupons, or more than one owner, of participation",
        sql: "SELECT participation_id FROM coupon GROUP BY participation_id
              HAVING COUNT(*) <> MAX(nth) OR MIN(nth) <> 1 OR MIN(user_id) <> MAX(user_id)",
        read: id,
    },
    Rule {
        broken: "I6: coupons, and no event of it in the inbox, of participation",
        sql: "SELECT coupon.participation_id FROM coupon LEFT JOIN inbox
                ON inbox.consumer = 'coupons' AND inbox.participation_id = coupon.participation_id
              WHERE coupon.nth = 1 AND inbox.event_id IS NULL",
        read: id,
    },
];

impl Rewards {
    /// Reads everything, and returns the violations.
    pub async fn verify(&self) -> Result<Rewarded, StoreError> {
        use {coupon::Column as Coupon, ledger::Column as Ledger};
        let patient = self.patient();
        let tx = connection::snapshot(&patient.db).await?;
        let mut rewarded = Rewarded::default();
        for rule in &RULES {
            patient.hold(&tx, rule, &mut rewarded.breaches).await?;
        }
        let points = ledger::Entity::find().filter(Ledger::Kind.eq(EntryKind::Granted.as_str()));
        let mut granted = count_by(points, Ledger::CampaignId, &tx).await?;
        let coupons = coupon::Entity::find().filter(Coupon::Nth.eq(1));
        granted.extend(count_by(coupons, Coupon::CampaignId, &tx).await?);
        for (campaign, count) in granted {
            *rewarded.granted.entry(CampaignId(campaign)).or_default() += count;
        }
        tx.rollback().await?;
        Ok(rewarded)
    }

    async fn hold(
        &self,
        tx: &Tx,
        rule: &Rule,
        breaches: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let mut sql = self.sql(rule.sql);
        let rows = sql
            .push(" LIMIT ")
            .bind(EXAMPLES_MAX as u64)
            .rows(tx)
            .await?;
        for row in &rows {
            breaches.push(format!("{} {}", rule.broken, (rule.read)(row)?));
        }
        Ok(())
    }
}

fn number(row: &QueryResult) -> Result<String, StoreError> {
    Ok(row.try_get_by_index::<i64>(0)?.to_string())
}

fn id(row: &QueryResult) -> Result<String, StoreError> {
    Ok(row.try_get_by_index::<Uuid>(0)?.to_string())
}
