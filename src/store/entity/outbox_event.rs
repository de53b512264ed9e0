//! `outbox_event`

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub bucket: i16,
    pub campaign_id: i64,
    pub aggregatetype: String,
    pub aggregateid: String,
    #[sea_orm(column_name = "type")]
    pub event_type: String,
    pub message_key: String,
    pub key_sequence: i32,
    pub rank: Option<i64>,
    pub traceparent: Option<String>,
    pub payload: String,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
