//! Everything between a request and its commit. Start at `participate`. Publishes nothing.

pub mod admission;
pub mod allow_list;
pub mod catalogue;
pub mod changes;
pub mod group_commit;
pub mod meter;
pub mod orders;
pub mod participate;
pub mod payment;
pub mod reconcile;
pub mod relay_hints;
