//! The campaigns of a run.

use chrono::{DateTime, TimeDelta, Utc};
use firstcome::runtime::clock::Clock;
use serde_json::{Value, json};

use super::{HOLD, World};
use crate::administrator::LIMIT_MAX;
use crate::replica::ADMIN_TOKEN;
use crate::site::Managed;

/// A campaign of the run.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub id: i64,
    pub total: Option<u64>,
    pub max_quantity: u32,
    /// Whether its units are held until paid for.
    pub is_paid: bool,
    /// Whether its units earn coupons.
    pub has_coupons: bool,
    /// Its window.
    pub window: Window,
    /// What its administrator changes, if it has one.
    pub managed: Option<Managed>,
}

/// The first and the last moment of a campaign's window, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
}

/// When the campaign opens and closes under traffic, since its creation.
const OPENS: TimeDelta = TimeDelta::milliseconds(2_000);
const CLOSES: TimeDelta = TimeDelta::milliseconds(6_000);

impl World {
    /// Creates the campaigns.
    pub(super) async fn create_campaigns(&mut self) {
        let base = self.replicas[0].base().unwrap();
        let client = reqwest::Client::new();
        for (campaign, managed) in self.wanted() {
            let made = client
                .post(format!("{base}/api/admin/campaigns"))
                .bearer_auth(ADMIN_TOKEN)
                .json(&campaign)
                .send()
                .await
                .unwrap();
            assert_eq!(made.status(), 201);
            let made: Value = made.json().await.unwrap();
            self.offers.push(Offer {
                id: made["id"].as_i64().unwrap(),
                total: made["totalStock"].as_u64(),
                max_quantity: made["maxQuantity"].as_u64().unwrap().try_into().unwrap(),
                is_paid: made["price"].is_u64(),
                has_coupons: made["reward"]["coupon"].is_object(),
                window: Window {
                    opens_at: time(&made["opensAt"]),
                    closes_at: time(&made["closesAt"]),
                },
                managed,
            });
        }
    }

    /// Campaigns: with limited stock; with several units per user; with a price and cancellable, with some
    /// seeds also after payment; without end; sold out early; opening and closing under traffic; with
    /// coupons and cancellable; four that administrators change; and two that are ordered together, with odd
    /// seeds at a price. Two are open for hours before and after, but not for as long as a clock may be off.
    fn wanted(&self) -> Vec<(Value, Option<Managed>)> {
        let is_cancellable = self.is_cancellable();
        let now = Clock::System.now();
        let (an_hour_ago, in_an_hour) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
        let fixed = [
            json!({ "name": "limited", "kind": "general", "totalStock": 160,
                    "opensAt": an_hour_ago, "closesAt": in_an_hour }),
            json!({ "name": "several", "kind": "general", "totalStock": 130, "perUserLimit": 3, "maxQuantity": 2 }),
            json!({ "name": "paid", "kind": "time_deal", "totalStock": 70, "perUserLimit": 4, "maxQuantity": 3,
                    "price": 500, "holdSeconds": HOLD.as_secs(), "cancellable": is_cancellable,
                    "opensAt": an_hour_ago, "closesAt": in_an_hour }),
            json!({ "name": "endless", "kind": "general" }),
            json!({ "name": "small", "kind": "general", "totalStock": 20 }),
            json!({ "name": "windowed", "kind": "general", "opensAt": now + OPENS, "closesAt": now + CLOSES }),
            json!({ "name": "coupons", "kind": "coupon", "totalStock": 70, "perUserLimit": 2, "maxQuantity": 2,
                    "cancellable": true, "reward": { "coupon": { "discountAmount": 500 } } }),
        ];
        let managed = [
            (
                Managed::Stock,
                json!({ "name": "managed", "kind": "general", "totalStock": 25, "perUserLimit": LIMIT_MAX,
                                     "cancellable": true }),
            ),
            (
                Managed::Points,
                json!({ "name": "points", "kind": "points", "totalStock": 20, "perUserLimit": LIMIT_MAX,
                                      "cancellable": true, "reward": { "points": 10 } }),
            ),
            (
                Managed::Listed,
                json!({ "name": "listed", "kind": "general", "totalStock": 25,
                                      "perUserLimit": LIMIT_MAX }),
            ),
            (
                Managed::Ended,
                json!({ "name": "ended", "kind": "general", "totalStock": 60,
                                     "perUserLimit": LIMIT_MAX }),
            ),
        ];
        let mut lines = [
            json!({ "name": "one line", "kind": "general", "totalStock": 40, "perUserLimit": 3 }),
            json!({ "name": "other line", "kind": "general", "totalStock": 50, "perUserLimit": 3 }),
        ];
        if self.has_paid_orders() {
            for line in &mut lines {
                line["price"] = json!(300);
                line["holdSeconds"] = json!(HOLD.as_secs());
                line["cancellable"] = json!(is_cancellable);
            }
        }
        let managed = managed.map(|(managed, campaign)| (campaign, Some(managed)));
        let fixed = fixed.map(|campaign| (campaign, None));
        let lines = lines.map(|campaign| (campaign, None));
        fixed.into_iter().chain(managed).chain(lines).collect()
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str().map(|text| text.parse().unwrap())
}
