//! `outbox_pending`

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox_pending")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub bucket: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: Uuid,
    pub campaign_id: i64,
    pub hold_until: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
