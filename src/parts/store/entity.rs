//! The tables as the object mapper knows them, in the order of the migration. Nothing outside `store` names these.

use std::time::Duration;

use sea_orm::sea_query::extension::mysql::{IndexHintScope, MySqlSelectStatementExt};
use sea_orm::sea_query::{Expr, ExprTrait, InsertStatement, Query};
use sea_orm::{
    ActiveValue, ColumnTrait, EntityTrait, IdentityOf, QueryFilter, QueryOrder, QuerySelect,
    RelationDef, Select, Value,
};

use super::statement_lengths::padded;
use super::{Store, StoreError};

/// The entity of a table in a module of its own: the name, the key and the other columns.
macro_rules! table {
    (
        $(#[$module:meta])* $name:ident $table:literal $(serial($serial:ident))?
        $(key($($(#[$key_attribute:meta])* $key:ident: $key_type:ty),+))?
        { $($(#[$attribute:meta])* $column:ident: $type:ty,)* }
    ) => {
        $(#[$module])*
        pub mod $name {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                $(#[sea_orm(primary_key)] pub $serial: i64,)?
                $($(#[sea_orm(primary_key, auto_increment = false)] $(#[$key_attribute])* pub $key: $key_type,)+)?
                $($(#[$attribute])* pub $column: $type,)*
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

table! { campaign "campaign" serial(id) {
    name: String, description: String, kind: String, state: String, total_stock: Option<i64>,
    committed_units: i64, participation_count: i64, per_user_limit: i32, per_user_limit_max: i32,
    max_quantity: i32, price: Option<i64>, hold_seconds: i32, opens_at: Option<DateTimeUtc>,
    closes_at: Option<DateTimeUtc>, reward: Option<String>, gate_epoch: i64,
    gate_closed_until: Option<DateTimeUtc>, gate_rebuild_until: Option<DateTimeUtc>, gate_expires: bool,
    loosened_at: Option<DateTimeUtc>, cancellable: bool, has_coupons: bool, reward_since: DateTimeUtc,
    allow_list_id: Option<i64>, returns: i64, reviews: i64, rating_sum: i64, event_sequence: i64,
    purged_events: i64, campaign_events: i64, order_events: i64, is_sold_out: bool, version: i64, created_at: DateTimeUtc,
    updated_at: DateTimeUtc,
} }

table! { allow_list "allow_list" serial(id) {
    campaign_id: i64, state: String, users: i64, actor: String, changed_at: DateTimeUtc,
} }

table! { allow_list_user "allow_list_user" key(list_id: i64, user_id: i64) {} }

table! { participation "participation" key(campaign_id: i64, rank: i64) {
    id: Uuid, user_id: i64, quantity: i32, ordinal: Option<i32>, status: String,
    remaining: Option<i64>, amount: Option<i64>, payment_reference: Option<String>, version: i32,
    expires_at: Option<DateTimeUtc>, rewarded_at: Option<DateTimeUtc>, created_at: DateTimeUtc,
    updated_at: DateTimeUtc, last_event: Option<i64>,
} }

table! { #[allow(dead_code, reason = "the statements about it are text: see `participations`")]
reservation_due "reservation_due" key(expires_at: DateTimeUtc, campaign_id: i64, rank: i64) {} }

table! { #[allow(dead_code, reason = "the statements about keys are text: see `participations::keys`")]
idempotency "idempotency" key(user_id: i64, idempotency_key: String) {
    participation_id: Uuid, created_at: DateTimeUtc,
} }

table! { payment "payment" key(reference: String) {
    payable_id: Uuid, amount: Option<i64>, created_at: DateTimeUtc,
} }

table! { customer_order "customer_order" key(id: Uuid) {
    user_id: i64, status: String, amount: Option<i64>, payment_reference: Option<String>,
    refused_line: Option<i32>, refused_code: Option<String>, idempotency_key: Option<String>, version: i32,
    expires_at: Option<DateTimeUtc>, created_at: DateTimeUtc, updated_at: DateTimeUtc,
} }

table! { order_line "order_line" key(order_id: Uuid, line: i32) {
    campaign_id: i64, quantity: i32, participation_id: Uuid,
} }

table! { order_due "order_due" key(order_id: Uuid) { status: String, due_at: DateTimeUtc, } }

table! { cart "cart" key(user_id: i64) { lines: String, } }

table! { review "review" key(id: Uuid) {
    participation_id: Uuid, campaign_id: i64, user_id: i64, rating: i32, text: String, created_at: DateTimeUtc,
} }

table! { outbox_event "outbox_event"
key(campaign_id: i64, #[sea_orm(column_name = "aggregatetype")] aggregate_type: String, sequence: i64) {
    id: Uuid, #[sea_orm(column_name = "aggregateid")] aggregate_id: String,
    #[sea_orm(column_name = "type")] event_type: String, message_key: String, key_sequence: i32,
    rank: Option<i64>, traceparent: Option<String>, payload: String, created_at: DateTimeUtc,
    previous_event: Option<i64>,
} }

table! { outbox_position "outbox_position" key(campaign_id: i64) { published: i64, campaign_published: i64, order_published: i64, } }

table! { outbox_parked "outbox_parked" key(campaign_id: i64, topic: String, sequence: i64) {
    event_id: Uuid, message_key: String, key_hash: i32, state: String, attempts: i32,
    error_class: String, error: String, next_at: Option<DateTimeUtc>, parked_at: DateTimeUtc,
    copied_at: Option<DateTimeUtc>,
} }

table! { outbox_published "outbox_published"
key(campaign_id: i64, #[sea_orm(column_name = "aggregatetype")] aggregate_type: String, sequence: i64) {
    topic: String, partition_number: i32, record_offset: i64, published_at: DateTimeUtc,
} }

table! { consumer_dead_letter "consumer_dead_letter" key(event_id: Uuid, consumer: String) {
    campaign_id: Option<i64>, event_type: String, topic: String, partition_number: i32, record_offset: i64,
    record_key: Option<Vec<u8>>, record_headers: Vec<u8>, payload: Option<Vec<u8>>, is_whole: bool, state: String,
    attempts: i32, error_class: String, error: String, parked_at: DateTimeUtc, copied_at: Option<DateTimeUtc>,
} }

table! { outbox_lease "outbox_lease" key(bucket: i32) {
    owner: Option<String>, epoch: i64, expires_at: DateTimeUtc,
} }

table! { rejection_tally "rejection_tally" key(campaign_id: i64, minute: DateTimeUtc, reason: String) {
    count: i64,
} }

table! { rejection_total "rejection_total" key(campaign_id: i64, reason: String) { count: i64, } }
table! { rewarded_tally "rewarded_tally" key(campaign_id: i64) { count: i64, } }

table! { daily_stat "daily_stat" key(zone: String, day: Date, campaign_id: i64) {
    reserved: i64, confirmed: i64, cancelled: i64, expired: i64, units: i64, units_standing: i64, refused: i64,
    refusals: String, hours: String, first_at: Option<DateTimeUtc>, last_at: Option<DateTimeUtc>, run_id: i64,
} }

table! { daily_day "daily_day" key(zone: String, day: Date) {
    run_id: i64, aggregated_at: DateTimeUtc, is_complete: bool,
} }

table! { daily_run "daily_run" serial(id) {
    zone: String, day: Date, state: String, cause: String, owner: String, started_at: DateTimeUtc,
    finished_at: Option<DateTimeUtc>, percent: i32, participations: i64, campaigns: i64, campaigns_done: i64,
    campaigns_failed: i64, failures: Option<String>, error: Option<String>,
} }

table! { verified_segment "verified_segment" key(campaign_id: i64, segment: i64) {
    generation: i64, participations: i64, units: i64, changes: i64, digest: i64, per_user_limit: i32,
    verified_at: Option<DateTimeUtc>,
} }

table! { verified_log "verified_log" key(campaign_id: i64, segment: i64) {
    last_sequence: i64, purged_events: i64, events: i64, digest: i64, verified_at: DateTimeUtc,
} }

table! { purged_segment "purged_segment" key(campaign_id: i64, segment: i64) { events: i64, digest: i64, } }

table! { account "account" serial(id) {
    login: String, password_hash: String, scopes: String, disabled: bool, version: i64,
    totp_secret: Option<String>, totp_enabled: bool, totp_last_step: i64, created_at: DateTimeUtc,
} }

table! { account_recovery_code "account_recovery_code" key(account_id: i64, digest: String) {} }

table! { account_token "account_token" key(digest: String) {
    purpose: String, login: String, account_id: Option<i64>,
    expires_at: DateTimeUtc,
} }

table! { audit_entry "audit_entry" serial(id) {
    created_at: DateTimeUtc, actor: String, action: String, campaign_id: Option<i64>, subject: Option<String>,
    before_values: Option<String>, after_values: Option<String>, request_id: Option<String>,
    address: Option<String>,
} }

table! { duty "duty" key(name: String) { owner: String, expires_at: DateTimeUtc, } }
table! { inbox "inbox" key(event_id: Uuid, consumer: String) { participation_id: Uuid, key_sequence: i32, } }

table! { ledger "ledger" key(participation_id: Uuid, kind: String) {
    user_id: i64, campaign_id: i64, amount: i64, event_id: Uuid, created_at: DateTimeUtc,
} }

table! { balance "balance" key(user_id: i64) { points: i64, } }

table! { coupon "coupon" key(id: Uuid) {
    code: String, user_id: i64, campaign_id: i64, participation_id: Uuid, nth: i32, discount_amount: i64,
    minimum_order_amount: i64, valid_from: Option<DateTimeUtc>, valid_until: Option<DateTimeUtc>,
    status: String, used_at: Option<DateTimeUtc>, order_amount: Option<i64>, order_id: Option<String>,
    used_by: Option<String>, created_at: DateTimeUtc,
} }

table! { revocation "revocation" key(participation_id: Uuid) { undecided_until: Option<DateTimeUtc>, } }

/// A join on these columns; as a condition in a subquery, too.
fn join<E: EntityTrait, R: EntityTrait>(
    from: impl IdentityOf<E>,
    to: impl IdentityOf<R>,
) -> RelationDef {
    let relation = E::belongs_to(R::default()).from(from).to(to);
    relation.into()
}

/// From a campaign to the positions of its streams, which have no row before an event is published.
pub fn position_of_campaign() -> RelationDef {
    use {campaign::Column as Campaign, outbox_position::Column as Position};
    join::<campaign::Entity, outbox_position::Entity>(Campaign::Id, Position::CampaignId)
}

/// From a campaign to its events, of all topics.
pub fn events_of_campaign() -> RelationDef {
    use {campaign::Column as Campaign, outbox_event::Column as Event};
    join::<campaign::Entity, outbox_event::Entity>(Campaign::Id, Event::CampaignId)
}

/// From a campaign to its parked rows.
pub fn parked_of_campaign() -> RelationDef {
    use {campaign::Column as Campaign, outbox_parked::Column as Parked};
    join::<campaign::Entity, outbox_parked::Entity>(Campaign::Id, Parked::CampaignId)
}

/// From a parked row to its event.
pub fn event_of_parked() -> RelationDef {
    use {outbox_event::Column as Event, outbox_parked::Column as Parked};
    let parked = (Parked::CampaignId, Parked::Topic, Parked::Sequence);
    let event = (Event::CampaignId, Event::AggregateType, Event::Sequence);
    join::<outbox_parked::Entity, outbox_event::Entity>(parked, event)
}

/// From an event to its published position, if positions are stored.
pub fn published_of_event() -> RelationDef {
    use {outbox_event::Column as Event, outbox_published::Column as Published};
    let event = (Event::CampaignId, Event::AggregateType, Event::Sequence);
    let published = (
        Published::CampaignId,
        Published::AggregateType,
        Published::Sequence,
    );
    join::<outbox_event::Entity, outbox_published::Entity>(event, published)
}

/// Inserts a row: each column with a value, or with an expression of the database.
pub fn insert<E: EntityTrait, const COLUMNS: usize>(
    row: [(E::Column, Expr); COLUMNS],
) -> InsertStatement {
    insert_rows::<E, COLUMNS>([row])
}

/// Inserts rows, all with the same columns.
pub fn insert_rows<E: EntityTrait, const COLUMNS: usize>(
    rows: impl IntoIterator<Item = [(E::Column, Expr); COLUMNS]>,
) -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(E::default().table_ref());
    for row in rows {
        let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
        insert.columns(columns).values_panic(values);
    }
    insert
}

/// Reads, and locks, the rows by this index, as [`Db::by_index`](super::bounded::Db::by_index) does. SQLite gets no
/// hint.
pub fn by_index<E: EntityTrait>(rows: &mut Select<E>, index: &'static str) {
    QuerySelect::query(rows).force_index(index, IndexHintScope::All);
}

/// Deletes rows that are older than `age`, the oldest first, at most `rows_max`. Returns their number. Their ids are
/// read first, so that the deletion locks no other rows.
pub async fn purge<E: EntityTrait>(
    store: &Store,
    (id, date): (E::Column, E::Column),
    age: Duration,
    rows_max: u64,
) -> Result<u64, StoreError> {
    let is_old = || Expr::col(date).lt(store.before(age));
    let ids: Vec<i64> = E::find()
        .select_only()
        .column(id)
        .filter(is_old())
        .order_by_asc(date)
        .limit(rows_max)
        .into_tuple()
        .all(&store.db)
        .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let deleted = E::delete_many()
        .filter(id.is_in(padded(&ids)))
        .filter(is_old())
        .exec(&store.db)
        .await?;
    Ok(deleted.rows_affected)
}

/// A column to change; none leaves it unchanged.
pub fn set<T: Into<Value>>(value: Option<T>) -> ActiveValue<T> {
    value.map_or(ActiveValue::NotSet, ActiveValue::Set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::store::{Rewards, Store, StoreConfig};
    use crate::runtime::clock::Clock;

    #[tokio::test]
    async fn every_entity_has_the_columns_of_its_table() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::new(format!("sqlite://{}/store.db", folder.path().display()));
        let store = Store::connect(&config, Clock::System).await.unwrap();
        store.migrate().await.unwrap();
        let rewards = Rewards::connect(&config, Clock::System).await.unwrap();
        rewards.migrate().await.unwrap();
        macro_rules! read {
            ($($table:ident)*) => {
                $($table::Entity::find().one(&store.db).await.unwrap();)*
            };
        }
        read!(campaign allow_list allow_list_user participation idempotency payment);
        read!(customer_order order_line order_due cart review);
        read!(outbox_event outbox_position outbox_parked outbox_published consumer_dead_letter);
        read!(outbox_lease reservation_due);
        read!(rejection_tally rejection_total rewarded_tally daily_stat daily_day daily_run);
        read!(verified_segment verified_log purged_segment account account_recovery_code account_token audit_entry duty);
        read!(inbox ledger balance coupon revocation);
    }
}
