//! Orders, carts and reviews as clients see them.

use poem_openapi::types::Example;
use uuid::Uuid;

use super::{list, view};
use crate::domain::{Order, OrderLine, OrderRefusal, OrderStatus, Timestamp, UserId};
use crate::http::created::Resource;
use crate::http::words::{Word, vocabulary};
use crate::parts::store::{CartLine, Review};

vocabulary!(OrderStatus, "OrderStatus", "The status of an order.");

view! {
    /// A line of an order.
    #[derive(Clone, PartialEq, Eq)]
    pub struct OrderLineView as "OrderLine" {
        /// Id of the campaign.
        campaign_id: i64,
        /// Units.
        quantity: u32,
        /// Id of its participation; left out if nothing was handed out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        participation_id: Option<Uuid>,
    }
}

view! {
    /// The line for which an order was refused.
    #[derive(Clone, PartialEq, Eq)]
    pub struct OrderRefusalView as "OrderRefusal" from refusal: &OrderRefusal {
        /// Index of the line, from 0.
        line: u32,
        /// The code of the reason.
        code: String = refusal.code.clone(),
    }
}

view! {
    /// An order: units of several campaigns, all or nothing.
    #[derive(Clone, PartialEq, Eq)]
    pub struct OrderView as "Order", example from order: &Order {
        /// Its id, a version 7 UUID.
        order_id: Uuid = order.id.0,
        /// Id of the user.
        user_id: i64 = order.user_id.0,
        /// Its status.
        status: Word<OrderStatus> = order.status.into(),
        /// Its lines, in the order of the request.
        lines: Vec<OrderLineView> = lines(order),
        /// Price of all lines, in the smallest unit of the currency; left out if the order is free or not placed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        amount: Option<u64>,
        /// Reference of its payment; left out until it is paid.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        payment_reference: Option<String> = order.payment_reference.clone(),
        /// Why it was refused; left out for any other status.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        refusal: Option<OrderRefusalView> = order.refusal.as_ref().map(OrderRefusalView::from),
        /// When the reserved order expires; left out for any other status.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[oai(skip_serializing_if_is_none)]
        expires_at: Option<Timestamp>,
        /// When it was requested.
        created_at: Timestamp,
    }
}

fn lines(order: &Order) -> Vec<OrderLineView> {
    let is_placed = !matches!(order.status, OrderStatus::Placing | OrderStatus::Refused);
    let line = |line: &OrderLine| OrderLineView {
        campaign_id: line.campaign_id.0,
        quantity: line.quantity,
        participation_id: is_placed.then_some(line.participation_id.0),
    };
    order.lines.iter().map(line).collect()
}

impl Example for OrderView {
    fn example() -> Self {
        let id = |nth: u128| Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + nth);
        let line = |campaign_id, quantity, nth| OrderLineView {
            campaign_id,
            quantity,
            participation_id: Some(id(nth)),
        };
        Self {
            order_id: id(1),
            user_id: 42,
            status: Word(OrderStatus::Reserved),
            lines: vec![line(1, 1, 2), line(2, 2, 3)],
            amount: Some(4_500),
            payment_reference: None,
            refusal: None,
            expires_at: Some(Timestamp::UNIX_EPOCH),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Resource for OrderView {
    const DESCRIPTION: &'static str = "Accepted: all lines hold their units.";
    const LOCATION: &'static str = "Path of the order.";

    fn path(&self) -> String {
        format!("/api/orders/{}", self.order_id)
    }
}

list! {
    /// A page of orders.
    OrderList as "OrderList": OrderView, "Newest first."
}

view! {
    /// A line of a cart.
    pub struct CartLineView as "CartLine" from line: CartLine {
        /// Id of the campaign.
        campaign_id: i64 = line.campaign_id.0,
        /// Units.
        quantity: u32,
    }
}

view! {
    /// A user's cart. Nothing in it is reserved.
    pub struct CartView as "Cart" {
        /// Id of the user.
        user_id: i64,
        /// Its lines.
        lines: Vec<CartLineView>,
    }
}

impl CartView {
    /// The cart of a user.
    pub fn of(user: UserId, lines: Vec<CartLine>) -> Self {
        Self {
            user_id: user.0,
            lines: lines.into_iter().map(CartLineView::from).collect(),
        }
    }
}

view! {
    /// A review of a participation.
    pub struct ReviewView as "Review" from review: Review {
        /// Its id, a version 7 UUID.
        review_id: Uuid = review.id,
        /// Id of the campaign.
        campaign_id: i64 = review.campaign_id.0,
        /// From 1 to 5.
        rating: u32,
        /// What the user says; may be empty.
        text: String,
        /// When it was written.
        created_at: Timestamp,
    }
}

impl Resource for ReviewView {
    const LOCATION: &'static str = "Path of the reviews of the campaign.";

    fn path(&self) -> String {
        format!("/api/campaigns/{}/reviews", self.campaign_id)
    }
}

list! {
    /// A page of reviews.
    ReviewList as "ReviewList": ReviewView, "Newest first."
}
