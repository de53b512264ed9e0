//! Everything after the commit: the relay from the outbox to Kafka, the consumers, and the checks of the topic.
//! Changes no participation.

pub mod asyncapi;
pub mod consumers;
pub mod relay;
pub mod topic_check;
pub mod wake;
