//! Everything after the commit: the relay from the outbox to Kafka, the consumers, what the topic shows.
//! Changes no participation.

pub mod asyncapi;
pub mod consumers;
pub mod relay;
pub mod topic_check;
pub mod wake;
