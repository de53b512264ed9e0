//! `campaign`

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "campaign")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub name: String,
    pub description: String,
    pub kind: String,
    pub state: String,
    pub total_stock: Option<i64>,
    pub committed_units: i64,
    pub participation_count: i64,
    pub per_user_limit: i32,
    pub per_user_limit_max: i32,
    pub max_quantity: i32,
    pub price: Option<i64>,
    pub hold_seconds: i32,
    pub opens_at: Option<DateTimeUtc>,
    pub closes_at: Option<DateTimeUtc>,
    pub reward: Option<String>,
    pub gate_epoch: i64,
    pub gate_closed_until: Option<DateTimeUtc>,
    pub gate_rebuild_until: Option<DateTimeUtc>,
    pub gate_expires: bool,
    pub loosened_at: Option<DateTimeUtc>,
    pub cancellable: bool,
    pub has_coupons: bool,
    pub reward_since: DateTimeUtc,
    pub allow_list_id: Option<i64>,
    pub returns: i64,
    pub version: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
