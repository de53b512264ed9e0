//! The real parts and their embedded replacements: the store (MySQL or SQLite), the gate (Redis or in process), the
//! broker (Kafka or in memory), and messages between replicas. Decides nothing about participations.

pub mod broker;
pub mod gate;
pub mod pubsub;
pub mod store;
