//! Everything for operators and admins: the lifecycle of campaigns, statistics, exports, checks.

pub mod alert;
pub mod audit_retention;
pub mod clock_skew;
pub mod dead_letters;
pub mod doctor;
pub mod export;
pub mod health;
pub mod idempotency_retention;
pub mod lifecycle;
pub mod order_retention;
pub mod simulate;
pub mod statistics;
pub mod status;
pub mod stock_events;
pub mod system;
pub mod table_retention;
pub mod verify;
