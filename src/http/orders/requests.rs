//! Request bodies about orders and carts.

use std::collections::BTreeSet;

use crate::domain::{CampaignId, ORDER_LINES_MAX, UserId};
use crate::http::auth::{USER_ID_RANGE, user_id};
use crate::http::fields::{Fields, INTEGER_MAX, request_object};
use crate::http::participations::QUANTITY_MAX;
use crate::parts::store::CartLine;

request_object! {
    /// A line of an order or a cart.
    #[derive(Clone, Copy, Debug)]
    pub struct LineRequest as "OrderLineRequest" {
        /// Id of the campaign.
        campaign: i64 = integer("campaignId", 1..=INTEGER_MAX)
            .try_map(|id| i64::try_from(id).map_err(|error| error.to_string()))
            .required(),
        /// Units; 1 when left out.
        quantity: u32 = integer32("quantity", 1..=QUANTITY_MAX).optional().unwrap_or(1),
    }
}

request_object! {
    /// A request to order units of several campaigns.
    #[derive(Debug)]
    pub struct OrderRequest as "OrderRequest" {
        /// Id of the user; optional where Authorization names one.
        pub user: Option<UserId> = integer("userId", 1..=INTEGER_MAX)
            .try_map(|number| user_id(number).ok_or(USER_ID_RANGE))
            .lenient()
            .value(),
        /// The lines, each of another campaign: either all of them have a price, or none.
        pub lines: Vec<LineRequest> = objects("lines", 1..=ORDER_LINES_MAX).required(),
    }
    example { "userId": 42, "lines": [{ "campaignId": 1, "quantity": 1 }, { "campaignId": 2, "quantity": 2 }] }
    check check_order
}

request_object! {
    /// The content of a cart.
    #[derive(Debug)]
    pub struct CartRequest as "CartRequest" {
        /// The lines, each of another campaign; an empty list empties the cart.
        pub lines: Vec<LineRequest> = objects("lines", 0..=ORDER_LINES_MAX).required(),
    }
    example { "lines": [{ "campaignId": 1, "quantity": 1 }] }
    check check_cart
}

impl OrderRequest {
    pub fn lines(&self) -> Vec<CartLine> {
        cart_lines(&self.lines)
    }
}

impl CartRequest {
    pub fn lines(&self) -> Vec<CartLine> {
        cart_lines(&self.lines)
    }
}

fn cart_lines(lines: &[LineRequest]) -> Vec<CartLine> {
    let line = |line: &LineRequest| CartLine {
        campaign_id: CampaignId(line.campaign),
        quantity: line.quantity,
    };
    lines.iter().map(line).collect()
}

fn check_order(fields: &mut Fields, order: &OrderRequest) {
    check_repeats(fields, &order.lines);
}

fn check_cart(fields: &mut Fields, cart: &CartRequest) {
    check_repeats(fields, &cart.lines);
}

/// Names each line whose campaign has an earlier line.
fn check_repeats(fields: &mut Fields, lines: &[LineRequest]) {
    let mut known = BTreeSet::new();
    for (nth, line) in lines.iter().enumerate() {
        if line.campaign != 0 && !known.insert(line.campaign) {
            let name = format!("lines[{nth}].campaignId");
            fields.wrong(&name, "is the campaign of an earlier line");
        }
    }
}
