//! The tables as the object mapper sees them. Nothing outside `store` names these.

pub mod campaign;
pub mod idempotency;
pub mod outbox_event;
pub mod outbox_pending;
pub mod participation;
