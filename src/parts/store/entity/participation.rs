//! `participation`

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "participation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub campaign_id: i64,
    pub user_id: i64,
    pub quantity: i32,
    pub rank: i64,
    pub ordinal: Option<i32>,
    pub status: String,
    pub remaining: Option<i64>,
    pub amount: Option<i64>,
    pub payment_reference: Option<String>,
    pub version: i32,
    pub expires_at: Option<DateTimeUtc>,
    pub rewarded_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
